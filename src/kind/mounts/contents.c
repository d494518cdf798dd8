/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is in file systems that are made anew (tmpfs, ramfs): a stream for each part that is
 * mounted and lies in no other part that is. What is mounted nowhere cannot be reached by the tasks
 * either. Both sides find the same parts, in the order of their names: page set 0, 1... What has no
 * name there (ghosts.c) comes last, when everything else has its names.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/external.h"
#include "core/restart.h"
#include "core/stream.h"
#include "host/features.h"
#include "kind/mount.h"
#include "kind/mounts/parts.h"
#include "kind/namespace/ns.h"
#include "kind/user_ns.h"
#include "mount/build.h"
#include "mount/content.h"
#include "mount/ghosts.h"
#include "superblock.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"
#include "util/path.h"

static bool has_contents(const struct mount_table *t, size_t sb)
{
	return t->sbs[sb].class == MOUNT_CONTENT && !t->sbs[sb].dead;
}

/* mounts that show the parts, one each, in the order of their names */
struct parts {
	size_t *mounts, n;
};

static void parts_done(struct parts *p)
{
	free(p->mounts);
}

/* names in order; @low is the character that comes before all others, 0 none */
static int compare_names(const char *a, const char *b, char low)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	int x = *a == low && low ? 1 : (unsigned char)*a + (*a ? 1 : 0);
	int y = *b == low && low ? 1 : (unsigned char)*b + (*b ? 1 : 0);

	return x - y;
}

/* what lies in a directory follows it at once */
static int by_tree(const void *a, const void *b, void *arg)
{
	const struct mount_table *t = arg;
	const size_t x = *(const size_t *)a, y = *(const size_t *)b;
	int order = compare_names(t->mounts[x].root, t->mounts[y].root, '/');

	/* that which shows more comes first */
	if (!order)
		order = t->mounts[x].holds - t->mounts[y].holds;
	return order ? order : (x > y) - (x < y);
}

static int by_name(const void *a, const void *b, void *arg)
{
	const struct mount_table *t = arg;

	return strcmp(t->mounts[*(const size_t *)a].root, t->mounts[*(const size_t *)b].root);
}

/* whether @root is @other or lies in it */
static bool is_in(const char *root, const char *other)
{
	size_t size = other[1] ? strlen(other) : 0;

	return !strncmp(root, other, size) && (!root[size] || root[size] == '/');
}

/* whether what is locked to @mount hides @root, which is below the mount's: nobody sees it there */
static bool is_hidden(const struct mount_table *t, size_t mount, const char *root)
{
	const struct mount_ns *ns = &t->namespaces[t->mounts[mount].namespace];
	const char *below = mount_below(root, t->mounts[mount].root);

	for (size_t i = ns->first; t->mounts[mount].holds && i < ns->first + ns->n; i++) {
		const struct mount_entry *m = &t->mounts[i];
		size_t size = strlen(m->rel);
		if (m->parent == mount && m->locked && size && !strncmp(below, m->rel, size) &&
		    (!below[size] || below[size] == '/'))
			return true;
	}
	return false;
}

/* of those in order, the ones that show what none before them shows; @open: room for as many */
static size_t keep_parts(const struct mount_table *t, size_t *mounts, size_t n, size_t *open)
{
	size_t kept = 0, depth = 0;

	for (size_t i = 0; i < n; i++) {
		const char *root = t->mounts[mounts[i]].root;
		while (depth && !is_in(root, t->mounts[open[depth - 1]].root))
			depth--;
		if (depth && !is_hidden(t, open[depth - 1], root))
			continue;
		open[depth++] = mounts[i];
		mounts[kept++] = mounts[i];
	}
	return kept;
}

static struct parts find_parts(const struct mount_table *t, size_t sb)
{
	struct parts p = { 0 };

	for (size_t i = MOUNT_NONE;
	     has_contents(t, sb) && (i = mount_of_sb(t, sb, i)) != MOUNT_NONE;)
		if (!t->mounts[i].deleted && !t->mounts[i].ghost)
			*array_push(p.mounts, p.n) = i;
	if (!p.n)
		return p;
	qsort_r(p.mounts, p.n, sizeof(*p.mounts), by_tree, (void *)t);
	_cleanup_(free_p) size_t *open = xcalloc(p.n, sizeof(*open));
	p.n = keep_parts(t, p.mounts, p.n, open);
	qsort_r(p.mounts, p.n, sizeof(*p.mounts), by_name, (void *)t);
	return p;
}

/* ---- checkpoint ---- */

static int by_line(const void *a, const void *b)
{
	const size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return (x > y) - (x < y);
}

void superblocks_reach_contents(struct mounts *m)
{
	size_t *lines = NULL, n = 0;

	for (size_t sb = 0; sb < m->n_sbs; sb++) {
		_cleanup_(parts_done) struct parts parts = find_parts(&m->table, sb);
		for (size_t i = 0; i < parts.n; i++)
			if (parts.mounts[i] >= m->n_reached || m->reached[parts.mounts[i]] < 0)
				*array_push(lines, n) = parts.mounts[i];
	}
	if (n) {
		qsort(lines, n, sizeof(*lines), by_line);
		mounts_reach(m, lines, n);
	}
	free(lines);
}

/* it could only be had as it is, and something is mounted on it: what is below is not to be seen */
static bool has_locked(const struct mount_table *t, size_t mount, int fd)
{
	const struct mount_ns *ns = &t->namespaces[t->mounts[mount].namespace];

	if (mount_id_of(fd) != t->mounts[mount].id)
		return false;
	for (size_t i = ns->first; i < ns->first + ns->n; i++)
		if (t->mounts[i].parent == mount)
			return true;
	return false;
}

static int refuse_locked(const struct mounts *m, size_t mount, struct error *err)
{
	error_refuse(err, CODE_mount_unreachable,
	             "what is in a %s cannot be read: mounts on it are locked, or shared",
	             m->table.sbs[m->table.mounts[mount].sb].type);
	error_object(err, "%s", m->table.mounts[mount].point);
	return -EOPNOTSUPP;
}

int superblock_check_contents(struct checkpoint *c, size_t sb, struct error *err)
{
	struct mounts *m = mounts_kept(c->kept);
	_cleanup_(parts_done) struct parts parts = find_parts(&m->table, sb);
	struct stat st;
	int fd;

	for (size_t i = 0; i < parts.n; i++) {
		int r = mount_reached(c, m->mounts[parts.mounts[i]], &fd, err);
		if (r < 0)
			return error_trace(err, r);
		if (has_locked(&m->table, parts.mounts[i], fd))
			return refuse_locked(m, parts.mounts[i], err);
		if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
			mounts_add_stray(m, parts.mounts[i], &st, fd);
	}
	return 0;
}

struct part {
	struct checkpoint *c;
	struct object *object;
	size_t sb;
	bool survey;
	struct map *linked; /* content_request */
};

/* whether the user says so */
static bool leaves_socket(void *context, uint64_t inode)
{
	const struct part *p = context;
	const struct mount_sb *sb = &mounts_kept(p->c->kept)->table.sbs[p->sb];
	_cleanup_(free_p) char *key = xasprintf("file:[%u:%u:%llu]", sb->major, sb->minor,
	                                        (unsigned long long)inode);

	return externals_name(p->c->options->externals, key);
}

static void name_refusal(const struct part *p, struct error *err)
{
	const struct mounts *m = mounts_kept(p->c->kept);
	size_t line = mount_of_sb(&m->table, p->sb, MOUNT_NONE);

	if (line != MOUNT_NONE)
		mounts_blame(p->c, m, &m->table.mounts[line], err);
}

static void refused(void *context, const struct error *refusal)
{
	const struct part *p = context;
	struct error copy = *refusal;

	name_refusal(p, &copy);
	refuse(p->c, NULL, &copy);
}

/* a part into its page set, or a look through it */
static int walk(struct part *p, int root, uint32_t part, struct content_request *request,
                struct error *err)
{
	request->leaves = leaves_socket;
	request->refused = refused;
	request->context = p;
	if (p->survey)
		return content_save(root, NULL, request, NULL, err);
	struct stream_out *out = stream_out_new(p->c->image, p->object->id, part,
	                                        p->c->options->progress);
	const struct byte_sink sink = stream_out_sink(out);
	int r = content_save(root, &sink, request, NULL, err);

	if (r == 0)
		r = stream_out_end(out, err);
	stream_out_free(out);
	return r;
}

/* only with what is locked; not when it could only be had as it is, with all that is on it */
static bool may_be_covered(const struct mounts *m, size_t sb, int root)
{
	bool holds = false;

	for (size_t i = MOUNT_NONE; (i = mount_of_sb(&m->table, sb, i)) != MOUNT_NONE;)
		holds |= m->table.mounts[i].holds;
	return holds && mount_table_find(&m->table, mount_id_of(root)) == MOUNT_NONE;
}

/* all that an overlay shows: it may be mounted in parts, its root is what was looked at */
static int save_flattened(struct part *p, struct error *err)
{
	int root = mounts_kept(p->c->kept)->roots[p->sb];
	struct content_request request = { .covered = may_be_covered(mounts_kept(p->c->kept), p->sb,
		                                                     root) };
	int r = root < 0 ? 0 : walk(p, root, 0, &request, err); /* it was refused */

	return r < 0 ? error_trace(err, r) : 0;
}

/* what is wanted, and what of it has been found */
struct search {
	struct content_wanted *wanted;
	size_t n;
};

static void search_done(struct search *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->wanted[i].path);
	free(s->wanted);
}

/* what has been found in a part, as paths from the root of the file system */
static void note_found(struct search *s, struct search *found, const char *root)
{
	for (size_t i = 0; i < s->n; i++)
		if (!s->wanted[i].path && found->wanted[i].path)
			s->wanted[i].path = xasprintf("%s%s", root[1] ? root : "",
			                              found->wanted[i].path);
}

/* without CAP_DAC_OVERRIDE here we have it there, if it is ours */
int mounts_owner_fd(const struct mounts *m, size_t mount)
{
	const struct object *owner = m->owners[m->table.mounts[mount].namespace];

	return owner && !features_capability(CAP_DAC_OVERRIDE)
	               ? ((const struct ns *)owner->live)->fd
	               : -1;
}

static int save_part(struct part *p, size_t mount, uint32_t number, struct search *search,
                     struct error *err)
{
	_cleanup_(search_done) struct search found = { 0 };
	const struct mounts *m = mounts_kept(p->c->kept);
	int root, r = mount_reached(p->c, m->mounts[mount], &root, err);

	if (r < 0)
		return error_trace(err, r);
	/* reading symbolic links sets their times of access, which nothing but this prevents */
	struct mount_attr quiet = { .attr_set = MOUNT_ATTR_NOATIME, .attr_clr = MOUNT_ATTR__ATIME };
	mount_setattr(root, "", AT_EMPTY_PATH, &quiet, sizeof(quiet));
	for (size_t i = 0; i < search->n; i++)
		(*array_push(found.wanted, found.n)).inode = search->wanted[i].inode;
	struct content_request request = { .wanted = found.wanted,
		                           .n_wanted = found.n,
		                           .linked = p->linked,
		                           .part = number + 1,
		                           .owner = mounts_owner_fd(m, mount),
		                           .covered = m->table.mounts[mount].holds };
	r = walk(p, root, number, &request, err);
	note_found(search, &found, m->table.mounts[mount].root);
	return r < 0 ? error_trace(err, r) : 0;
}

static int save_ghosts(struct part *p, uint32_t number, const struct search *search,
                       struct error *err)
{
	const struct content_request request = { .refused = refused, .context = p };

	return p->survey ? ghosts_survey(p->c, p->object, search->wanted, search->n, &request, err)
	                 : ghosts_save(p->c, p->object, number, search->wanted, search->n, err);
}

static int save_all(struct part *p, struct error *err)
{
	const struct mounts *m = mounts_kept(p->c->kept);
	_cleanup_(parts_done) struct parts parts = find_parts(&m->table, p->sb);
	_cleanup_(search_done) struct search search = { 0 };
	int r = 0;

	if (m->table.sbs[p->sb].flattened)
		return save_flattened(p, err);
	_cleanup_(map_freep) struct map *linked = parts.n > 1 ? map_new() : NULL;
	p->linked = linked;
	search.n = ghosts_wanted(m, p->sb, &search.wanted);
	for (size_t i = 0; r == 0 && i < parts.n; i++)
		r = save_part(p, parts.mounts[i], (uint32_t)i, &search, err);
	if (r == 0)
		r = save_ghosts(p, (uint32_t)parts.n, &search, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int superblock_save_bulk(struct checkpoint *c, struct object *object, struct error *err)
{
	struct part p = { c, object, mounts_index(mounts_kept(c->kept), object), false, NULL };
	int r = save_all(&p, err);

	if (r < 0)
		name_refusal(&p, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int superblock_survey(struct checkpoint *c, struct object *object, struct error *err)
{
	struct part p = { c, object, mounts_index(mounts_kept(c->kept), object), true, NULL };
	int r = mounts_kept(c->kept)->classified && mounts_kept(c->kept)->roots ? save_all(&p, err)
	                                                                        : 0;

	if (r == -EOPNOTSUPP && err->code != CODE_NONE)
		refused(&p, err);
	else if (r < 0)
		check_unexamined(c, NULL, "all that is in a tmpfs", CODE_content_socket,
		                 CODE_content_lease, CODE_content_attributes);
	return 0;
}

/* ---- restart ---- */

/* the directory @path of a new file system, and all above it that are not there */
static int make_directory(int top, const char *path, int *ret_fd, struct error *err)
{
	_cleanup_(free_p) char *above = path_folder(path);
	_cleanup_(close_p) int fd = -1;

	if (path[1]) {
		int e = make_directory(top, above, &fd, err);
		if (e < 0)
			return e;
		if (mkdirat(fd, strrchr(path, '/') + 1, 0755) < 0 && errno != EEXIST)
			return error_raise(err, errno, "make the directory %s", path);
	}
	*ret_fd = mount_open_below(top, path + 1, O_RDONLY | O_DIRECTORY);
	return *ret_fd < 0 ? error_raise(err, errno, "open the directory %s", path) : 0;
}

struct content **add_filled(struct mounts *m, size_t sb)
{
	struct filled *f = array_push(m->filled, m->n_filled);

	f->sb = sb;
	return &f->content;
}

static int fill_part(struct mounts *m, size_t mount, const struct byte_source *source,
                     struct error *err)
{
	const struct mount_entry *entry = &m->table.mounts[mount];
	_cleanup_(close_p) int root = -1;
	int e = make_directory(mount_build_sb(m->build, entry->sb), entry->root, &root, err);
	if (e < 0)
		return error_trace(err, e);
	e = content_restore(root, source, add_filled(m, entry->sb), err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int fill_flattened(struct restart *r, struct mounts *m, struct object *object,
                          struct error *err)
{
	int root, e = mount_build_layers(m->build, mounts_index(m, object), &root, err);

	if (e < 0)
		return error_trace(err, e);
	struct stream_in *in = stream_in_new(&r->image, object->id, 1, r->options->progress);
	const struct byte_source source = stream_in_source(in);
	e = content_restore(root, &source, add_filled(m, mounts_index(m, object)), err);
	r->memory_bytes += stream_in_bytes(in);
	stream_in_free(in);
	return e < 0 ? error_trace(err, e) : 0;
}

int superblock_fill(struct restart *r, struct mounts *m, struct object *object, struct error *err)
{
	_cleanup_(parts_done) struct parts parts = find_parts(&m->table, mounts_index(m, object));
	size_t sb = mounts_index(m, object);
	bool ghosts = m->table.sbs[sb].n_ghosts;
	_cleanup_(user_ns_author_end) struct user_ns_author author = { 0 };

	if (!parts.n && !ghosts && !m->table.sbs[sb].flattened)
		return 0;
	int e = user_ns_author_begin(r, (uint32_t)m->table.sbs[sb].owner, &author, err);
	if (e == 0 && m->table.sbs[sb].flattened)
		return fill_flattened(r, m, object, err);
	if (e < 0)
		return error_trace(err, e);
	struct stream_in *in = stream_in_new(&r->image, object->id, (uint32_t)parts.n + ghosts,
	                                     r->options->progress);
	const struct byte_source source = stream_in_source(in);
	for (size_t i = 0; e == 0 && i < parts.n; i++, stream_in_go_on(in))
		e = fill_part(m, parts.mounts[i], &source, err);
	if (e == 0 && ghosts)
		e = ghosts_fill(m, sb, &source, err);
	r->memory_bytes += stream_in_bytes(in);
	stream_in_free(in);
	return e < 0 ? error_trace(err, e) : 0;
}

/* @next: the first of its parts */
static int settle_one(struct restart *r, struct mounts *m, size_t sb, size_t *next,
                      struct error *err)
{
	_cleanup_(user_ns_author_end) struct user_ns_author author = { 0 };
	int e = user_ns_author_begin(r, (uint32_t)m->table.sbs[sb].owner, &author, err);

	if (e == 0)
		e = superblock_restore_nodes(object_state(m->sbs[sb], SuperblockState),
		                             mount_build_sb(m->build, sb), err);
	for (size_t i = *next; e == 0 && i < m->n_filled && m->filled[i].sb == sb; i++)
		e = content_hold(m->filled[i].content, err);
	if (e == 0)
		e = mount_ghosts_bury(m->build, sb, err);
	for (; e == 0 && *next < m->n_filled && m->filled[*next].sb == sb; ++*next)
		e = content_settle(m->filled[*next].content, err);
	return e < 0 ? error_trace(err, e) : 0;
}

int superblock_settle(struct restart *r, struct mounts *m, struct error *err)
{
	size_t next = 0;
	int e = 0;

	for (size_t sb = 0; e == 0 && sb < m->n_sbs; sb++)
		e = settle_one(r, m, sb, &next, err);
	/* a deleted directory that we have open would count */
	while (e == 0 && m->n_filled)
		content_free(m->filled[--m->n_filled].content);
	mount_ghosts_forget(m->build);
	return e < 0 ? error_trace(err, e) : 0;
}
