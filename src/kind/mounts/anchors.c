/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart: what the host, or the user, has to supply. An external file system is looked for where
 * it was; it must be the same one, which the file handle of the root that is seen there tells.
 * What the user gives, by --external or --root, is taken as it is. What the kernel has one of is
 * looked for among our own mounts, by type.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/external.h"
#include "core/restart.h"
#include "host/features.h"
#include "kind/cgroup_tree.h"
#include "kind/mnt_ns.h"
#include "kind/mounts/parts.h"
#include "mount.pb-c.h"
#include "mount/build.h"
#include "mount/reach.h"
#include "mount/superblock.h"
#include "superblock.pb-c.h"
#include "task.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

static char *anchor_key(size_t sb, const char *root)
{
	return xasprintf("%zu %s", sb, root);
}

static bool has_anchor(const struct mounts *m, size_t sb, const char *root)
{
	_cleanup_(free_p) char *key = anchor_key(sb, root);

	return map_get(m->anchor_roots, key, strlen(key));
}

/* "": there is any */
static void note_anchor(struct mounts *m, size_t sb, const char *root)
{
	_cleanup_(free_p) char *key = anchor_key(sb, root), *any = anchor_key(sb, "");

	map_put(m->anchor_roots, key, strlen(key), m);
	map_put(m->anchor_roots, any, strlen(any), m);
}

void mounts_add_host(struct mounts *m, size_t sb, const char *root, int fd,
                     const struct mount_entry *from)
{
	note_anchor(m, sb, root);
	*array_push(m->anchors, m->n_anchors) = (struct mount_anchor){
		.sb = sb, .root = xstrdup(root), .fd = fd, .source = from->source
	};
}

/*
 * A mount of ours that cannot be cloned, since others are locked on it: those parts of it that are
 * needed and have none; without a descriptor those that cannot be cloned either. @fd: it in place;
 * taken.
 */
static void add_parts(struct mounts *m, size_t sb, const char *root, int fd,
                      const struct mount_entry *from)
{
	for (size_t i = MOUNT_NONE; (i = mount_of_sb(&m->table, sb, i)) != MOUNT_NONE;) {
		const char *part = m->table.mounts[i].root, *below = mount_below(part, root);
		if (!below || has_anchor(m, sb, part))
			continue;
		_cleanup_(close_p) int at = mount_open_below(fd, below, O_PATH | O_NOFOLLOW);
		if (at >= 0)
			mounts_add_host(m, sb, part, mount_clone(at), from);
	}
	close_p(&fd);
}

/* takes @fd, of mount_reach() */
static void add_reached(struct mounts *m, size_t sb, const char *root, int fd,
                        const struct mount_entry *from)
{
	if (mount_id_of(fd) == from->id) {
		mounts_add_trees(m, sb, fd, from);
		add_parts(m, sb, root, fd, from);
	} else
		mounts_add_host(m, sb, root, fd, from);
}

/* ---- of the user ---- */

/* a clone of what was supplied for @root of a superblock; it must be of the type that was there */
static int supply(struct mounts *m, size_t sb, const char *root, uint32_t mode, int fd,
                  const char *name, struct error *err)
{
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &sx) < 0)
		return error_raise(err, errno, "look at what was supplied");
	if ((sx.stx_mode & S_IFMT) != (mode & S_IFMT))
		return error_refuse(err, CODE_external_missing,
		                    "what was supplied is no %s, as it was",
		                    S_ISDIR(mode) ? "directory" : "file of the same type");
	int clone = mount_clone(fd);
	if (clone < 0)
		return error_raise(err, errno, "clone the mount that was supplied");
	note_anchor(m, sb, root);
	*array_push(m->anchors,
	            m->n_anchors) = (struct mount_anchor){ .sb = sb,
		                                           .root = xstrdup(root),
		                                           .fd = clone,
		                                           .supplied = true,
		                                           .name = name ? xstrdup(name) : NULL };
	return 0;
}

static int supply_name(struct restart *r, struct mounts *m, size_t sb, const char *root,
                       uint32_t mode, const char *name, struct error *err)
{
	_cleanup_(close_p) int fd = -1;
	int e = externals_open(r->options->externals, name, O_PATH, &fd, err);

	if (e == 0)
		e = supply(m, sb, root, mode, fd, name, err);
	if (e < 0)
		error_object(err, "%s", name);
	return e;
}

static int supply_anchor(struct restart *r, struct mounts *m, size_t sb, const SuperblockAnchor *a,
                         struct error *err)
{
	_cleanup_(free_p) char *name = xstrndup((const char *)a->name.data, a->name.len);
	_cleanup_(free_p) char *root = xstrndup((const char *)a->root.data, a->root.len);

	/* not supplied, or without a name: where it was, if it is there */
	return externals_supplied(r->options->externals, name)
	               ? supply_name(r, m, sb, root, a->mode, name, err)
	               : 0;
}

/* the line of the mount that the root task's namespace has at "/", on top of others */
static size_t root_mount(const struct restart *r, const struct mounts *m)
{
	const TaskState *t = object_state(r->tasks[0], TaskState);

	for (size_t i = 0; i < t->n_objects; i++) {
		const struct object *o = objects_by_id(r->objects, t->objects[i]);
		if (o->kind == &mnt_ns_kind)
			return mount_table_top(&m->table,
			                       m->table.namespaces[mounts_index(m, o)].root);
	}
	return MOUNT_NONE;
}

/* --root */
static int supply_root(const struct restart *r, struct mounts *m, struct error *err)
{
	const char *path = r->options->root;
	size_t mount = root_mount(r, m);
	const struct mount_entry *e = mount == MOUNT_NONE ? NULL : &m->table.mounts[mount];

	if (!e)
		return error_refuse(err, CODE_root_unused,
		                    "the image's root task has no mount namespace of its own");
	if (m->table.sbs[e->sb].class != MOUNT_EXTERNAL)
		return error_refuse(err, CODE_root_unused,
		                    "the image brings its root file system along, a %s",
		                    m->table.sbs[e->sb].type);
	_cleanup_(close_p) int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return error_refuse(err, CODE_external_missing, "the new root is not there: %s",
		                    strerror(errno));
	int r2 = supply(m, e->sb, e->root, S_IFDIR, fd, NULL, err);
	return r2 < 0 ? error_trace(err, r2) : 0;
}

/* mount:[/PATH], of which nothing was said at the checkpoint */
static int supply_point(struct restart *r, struct mounts *m, size_t mount, struct error *err)
{
	struct mount_entry *e = &m->table.mounts[mount];
	_cleanup_(free_p) char *key = xasprintf("mount:[%s]", e->point);

	if (m->table.sbs[e->sb].class != MOUNT_EXTERNAL || e->external ||
	    !externals_supplied(r->options->externals, key))
		return 0;
	e->external = take_ptr(key);
	const MountState *s = object_state(m->mounts[mount], MountState);
	return supply_name(r, m, e->sb, e->root, s->root_mode, e->external, err);
}

static void find_supplies(struct restart *r, struct mounts *m)
{
	struct error refusal = ERROR_INIT;

	if (r->options->root && supply_root(r, m, &refusal) < 0) {
		error_object(&refusal, "--root %s", r->options->root);
		if (refusal.code == CODE_external_missing)
			error_hint(&refusal,
			           "--root DIR: where the container's root directory is now");
		restart_refuse(r, &refusal);
	}
	for (size_t i = 0; i < m->n_sbs; i++) {
		const SuperblockState *s = object_state(m->sbs[i], SuperblockState);
		for (size_t k = 0; k < s->n_anchors; k++)
			if (supply_anchor(r, m, i, s->anchors[k], &refusal) < 0)
				restart_refuse(r, &refusal);
	}
	for (size_t i = 0; i < m->n_mounts; i++)
		if (supply_point(r, m, i, &refusal) < 0)
			restart_refuse(r, &refusal);
}

/* ---- of the host ---- */

/* the mounts of our own namespace by their place */
struct places {
	struct map *last; /* path -> line + 1 */
	size_t *before;   /* per line: another one there, + 1 */
};

static void find_places(const struct mount_table *host, struct places *ret)
{
	*ret = (struct places){ map_new(), xcalloc(host->n_mounts + 1, sizeof(*ret->before)) };
	for (size_t i = 0; i < host->n_mounts; i++) {
		const char *point = host->mounts[i].point;
		ret->before[i] = (uintptr_t)map_get(ret->last, point, strlen(point));
		map_put(ret->last, point, strlen(point), (void *)(uintptr_t)(i + 1));
	}
}

static void places_done(struct places *places)
{
	map_free(places->last);
	free(places->before);
}

/* the mount of ours that shows the anchor, of those that are at its path, one above the other */
static const struct mount_entry *open_anchor(const struct mounts *m, const struct places *places,
                                             int own, const char *path, const SuperblockAnchor *a,
                                             int *ret_fd)
{
	const struct identity id = { a->mode, a->inode, a->handle_type, a->handle };
	struct error ignored = ERROR_INIT;

	size_t i = (uintptr_t)map_get(places->last, path, strlen(path));
	for (; i; i = places->before[i - 1]) {
		if (mount_reach(&m->host, own, i - 1, ret_fd, &ignored) < 0)
			continue;
		if (identity_is(*ret_fd, &id))
			return &m->host.mounts[i - 1];
		close_p(ret_fd);
	}
	return NULL;
}

static void find_external(struct restart *r, struct mounts *m, const struct places *places, int own,
                          size_t sb, const SuperblockState *s)
{
	size_t n_before = m->n_anchors;

	for (size_t i = 0; i < s->n_anchors; i++) {
		const SuperblockAnchor *a = s->anchors[i];
		_cleanup_(free_p) char *path = xstrndup((const char *)a->path.data, a->path.len);
		_cleanup_(free_p) char *root = xstrndup((const char *)a->root.data, a->root.len);
		int fd = -1;
		const struct mount_entry *from =
			a->name.len ? NULL : open_anchor(m, places, own, path, a, &fd);
		if (from)
			add_reached(m, sb, root, fd, from);
	}
	if (!s->n_anchors)
		mounts_add_covered(m, own, sb);
	if (m->n_anchors == n_before && !strcmp(m->table.sbs[sb].type, "overlay") &&
	    !has_anchor(m, sb, ""))
		mounts_mount_again(r, m, own, sb);
}

bool sb_same_options(const struct mount_sb *a, const struct mount_sb *b)
{
	if (a->n_options != b->n_options)
		return false;
	for (size_t i = 0; i < a->n_options; i++)
		if (strcmp(a->options[i], b->options[i]) != 0)
			return false;
	return true;
}

/*
 * Mounted nowhere here: made as mount(8) would do it. Not with options or flags, nor a cgroup's:
 * there is one for all namespaces, and it would get them.
 */
static void make_singleton(struct mounts *m, size_t sb)
{
	const struct mount_sb *want = &m->table.sbs[sb];
	size_t first = mount_of_sb(&m->table, sb, MOUNT_NONE);
	struct error ignored = ERROR_INIT;
	int fd = -1;

	if (first == MOUNT_NONE || want->n_options || want->flags ||
	    !strncmp(want->type, "cgroup", 6))
		return;
	const struct mount_entry *e = &m->table.mounts[first];
	if (mount_superblock_make(want, e->source, -1, -1, &fd, &ignored) == 0)
		mounts_add_host(m, sb, "/", fd, e);
}

static void find_singleton(struct mounts *m, int own, size_t sb)
{
	const struct mount_sb *want = &m->table.sbs[sb];
	bool by_options = !strcmp(want->type, "cgroup"); /* one per hierarchy */
	size_t n_before = m->n_anchors;

	for (size_t i = 0; i < m->host.n_mounts; i++) {
		const struct mount_entry *e = &m->host.mounts[i];
		const struct mount_sb *have = &m->host.sbs[e->sb];
		if (strcmp(have->type, want->type) != 0 || e->deleted ||
		    (by_options && !sb_same_options(have, want)))
			continue;
		struct error ignored = ERROR_INIT;
		int fd = -1;
		if (mount_reach(&m->host, own, i, &fd, &ignored) < 0)
			continue;
		add_reached(m, sb, e->root, fd, e);
	}
	if (m->n_anchors == n_before)
		make_singleton(m, sb);
}

/* made again, if it is missing */
static bool is_own_cgroup(const struct restart *r, const struct mounts *m,
                          const struct mount_entry *e)
{
	const struct mount_sb *sb = &m->table.sbs[e->sb];
	_cleanup_(free_p) char *root = cgroup_tree_mount_root(r->objects, sb->type, sb->options,
	                                                      sb->n_options, e->root);

	return root && r->options->cgroup != CGROUP_IGNORE;
}

/* the same handles are in every file system that has been made alike */
static bool is_other_disk(const SuperblockState *s, int fd)
{
	unsigned char uuid[UUID_SIZE];

	return s->uuid.len == UUID_SIZE && identity_read_uuid(fd, uuid) &&
	       memcmp(uuid, s->uuid.data, UUID_SIZE) != 0;
}

/* whether the host's file system is read-only where it was not, or the other way round */
static bool differs_read_only(const struct mounts *m, const struct mount_sb *want, int fd)
{
	struct statx sx;
	size_t line = statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &sx) < 0
	                      ? MOUNT_NONE
	                      : mount_table_find_sb(&m->host, sx.stx_dev_major, sx.stx_dev_minor);

	return line != MOUNT_NONE && (want->flags ^ m->host.sbs[line].flags) & MOUNT_SB_RDONLY;
}

static const char no_file_system[] = "it shows a file system of the host that is not there";

/* why a mount cannot show what it showed; NULL: it can */
static const char *why_missing(const struct restart *r, const struct mounts *m,
                               const struct anchor_index *anchors, size_t mount)
{
	const struct mount_entry *e = &m->table.mounts[mount];
	const MountState *s = object_state(m->mounts[mount], MountState);
	const struct identity id = { s->root_mode, s->root_inode, s->root_handle_type,
		                     s->root_handle };
	const struct mount_anchor *a = mount_anchor_of(anchors, e);

	if (mount_anchor_tree(anchors, &m->table, mount) != MOUNT_NONE)
		return NULL; /* mounts_add_trees() has compared it */
	if (!a)
		return m->again[e->sb] ? m->again[e->sb] : no_file_system;
	if (a->fd < 0)
		return "to leave out what is mounted on it here takes CAP_SYS_ADMIN";
	if (is_own_cgroup(r, m, e))
		return NULL;
	if (!a->supplied && is_other_disk(object_state(m->sbs[e->sb], SuperblockState), a->fd))
		return "another file system is mounted in the place of one that it shows";
	if (!a->supplied && m->table.sbs[e->sb].class == MOUNT_EXTERNAL &&
	    differs_read_only(m, &m->table.sbs[e->sb], a->fd))
		return "the file system is read-only now, or was";
	_cleanup_(close_p) int fd = mount_open_below(a->fd, mount_below(e->root, a->root),
	                                             O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return "what it shows is not there any more";
	/* then its layers have been looked at, and it may give numbers as they come */
	bool is_known = id.mode && !(a->again && !id.handle.len);
	if (is_known && !a->supplied && !r->options->files_changed_allow && !identity_is(fd, &id))
		return "what it shows has been replaced by another of the same name";
	return NULL;
}

static bool is_locked(const struct anchor_index *anchors, const struct mount_entry *e)
{
	const struct mount_anchor *a = mount_anchor_of(anchors, e);

	return a && a->fd < 0;
}

static void refuse_missing(struct restart *r, const struct mounts *m,
                           const struct anchor_index *anchors, const struct mount_entry *e,
                           const char *why)
{
	struct error refusal;

	error_refuse(&refusal, CODE_mount_external_missing, "%s: %s of a %s", why, e->root,
	             m->table.sbs[e->sb].type);
	mount_error(&refusal, &m->table, e);
	if (e->external)
		error_hint(&refusal, "--external %s=PATH", e->external);
	else if (is_locked(anchors, e))
		error_hint(&refusal, "unmount that, or run stasis as root");
	else if ((size_t)(e - m->table.mounts) == root_mount(r, m))
		error_hint(&refusal, "--root DIR: where it is now (or --files-changed allow, if it "
		                     "was made anew under its name)");
	else if (m->table.sbs[e->sb].class == MOUNT_EXTERNAL)
		error_hint(&refusal,
		           "--external mount:[%s]=PATH: what takes its place (or "
		           "--files-changed allow, if it was made anew under its name)",
		           e->point);
	restart_refuse(r, &refusal);
}

/*
 * Whether that is new: not of what a mount before it shows, too, nor of a file system that is
 * missing as a whole.
 */
static bool note_refusal(struct map *refused, const struct mounts *m, const struct mount_entry *e,
                         const char *why)
{
	bool is_whole = why == no_file_system || why == m->again[e->sb];
	_cleanup_(free_p) char *key = xasprintf("%p %zu %s", (const void *)why, e->sb,
	                                        is_whole ? "" : e->root);
	bool is_new = !map_get(refused, key, strlen(key));

	map_put(refused, key, strlen(key), refused);
	return is_new;
}

static void check_anchors(struct restart *r, const struct mounts *m)
{
	_cleanup_(anchor_index_freep) struct anchor_index *anchors = anchor_index_new(m->anchors,
	                                                                              m->n_anchors);
	_cleanup_(map_freep) struct map *refused = map_new();

	for (size_t i = 0; i < m->n_mounts; i++) {
		const struct mount_entry *e = &m->table.mounts[i];
		enum mount_class class = m->table.sbs[e->sb].class;
		const char *why = class == MOUNT_EXTERNAL || class == MOUNT_SINGLETON
		                          ? why_missing(r, m, anchors, i)
		                          : NULL;
		if (why && note_refusal(refused, m, e, why))
			refuse_missing(r, m, anchors, e, why);
	}
}

static void check_layers(struct restart *r, const struct mounts *m)
{
	for (size_t i = 0; i < m->n_sbs; i++) {
		const struct mount_sb *sb = &m->table.sbs[i];
		_cleanup_(free_p) char *missing =
			sb->outside ? superblock_missing_layer(
					      sb, object_state(m->sbs[i], SuperblockState))
				    : NULL;
		size_t first = mount_of_sb(&m->table, i, MOUNT_NONE);
		struct error refusal;
		if (!missing)
			continue;
		error_refuse(&refusal, CODE_mount_external_missing,
		             "a layer of an overlay is not there, or has been replaced: %s",
		             missing);
		if (first != MOUNT_NONE)
			mount_error(&refusal, &m->table, &m->table.mounts[first]);
		error_hint(&refusal,
		           "put it back where it was: nothing else can be supplied for it");
		restart_refuse(r, &refusal);
	}
}

/* a user may make no sysfs of a network namespace that is not his: there is but the host's */
static void take_keyed(struct mounts *m)
{
	for (size_t i = 0; i < m->n_sbs; i++)
		if (m->table.sbs[i].class == MOUNT_KEYED && !m->table.sbs[i].key)
			m->table.sbs[i].class = MOUNT_SINGLETON;
}

int mounts_find_anchors(struct restart *r, struct mounts *m, struct error *err)
{
	_cleanup_(close_p) int own = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int e = own < 0 ? error_raise(err, errno, "open our own mount namespace")
	                : mount_table_add(&m->host, own, 0, NULL, err);

	if (e < 0)
		return error_trace(err, e);
	_cleanup_(places_done) struct places places;
	find_places(&m->host, &places);
	m->anchor_roots = map_new();
	if (r->own_user)
		take_keyed(m);
	find_supplies(r, m);
	for (size_t i = 0; i < m->n_sbs; i++) {
		if (m->table.sbs[i].class == MOUNT_EXTERNAL)
			find_external(r, m, &places, own, i,
			              object_state(m->sbs[i], SuperblockState));
		else if (m->table.sbs[i].class == MOUNT_SINGLETON)
			find_singleton(m, own, i);
	}
	/* who may mount nothing is refused as a whole: that nothing was found would mislead him */
	if (r->own_user || features_capability(CAP_SYS_ADMIN))
		check_anchors(r, m);
	check_layers(r, m);
	mounts_find_groups(r, m, own);
	return 0;
}
