/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The set's own cgroups: restart. See cgroup_tree.h; checkpoint is cgroup/collect.c.
 *
 * A group that is there already is taken as it is. Where the name is free to choose, the whole tree
 * gets another one if there are processes in the group, or another restart has it: so an image can
 * be restarted many times side by side, each with its own limits. Directories come first, then
 * namespaces (a task must be in the group that is to be the root, which it may not be once that
 * hands controllers on), then what tasks need, and the limits when all are there.
 */
#include "kind/cgroup_tree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "core/journal.h"
#include "core/restart.h"
#include "kind/cgroup.h"
#include "kind/cgroup/files.h"
#include "kind/cgroup/programs.h"
#include "kind/cgroup/walk.h"
#include "proc/cgroup.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define PATH_SIZE_MAX 4096
#define GROUPS_MAX    100000
#define NAMES_MAX     10000 /* tried for one tree */

/* object->live */
struct tree {
	char *here;      /* the path of its root; NULL: not chosen yet */
	char *directory; /* of that */
	int lock;        /* the root, locked: it is ours until there are processes in it */
	bool *made;      /* which groups were missing */
};

struct cgroup_trees {
	struct journal *journal;
	bool settled;
	bool left; /* a group could not be removed */
};

/* ---- paths ---- */

/* the rest of @path below @root, NULL if it is not below */
static const char *below(const char *path, const char *root)
{
	size_t size = strlen(root);

	if (strncmp(path, root, size) != 0 || (path[size] && path[size] != '/'))
		return NULL;
	return path + size;
}

static struct object *find_tree(const struct objects *objects, const CgroupMembership *group)
{
	_cleanup_(free_p) char *path = bytes_text(&group->path);
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(objects, &cgroup_tree_kind, &cursor));) {
		const CgroupTreeState *s = object_state(o, CgroupTreeState);
		if (!s || !cgroup_same(&s->root->hierarchy, &group->hierarchy))
			continue;
		_cleanup_(free_p) char *root = bytes_text(&s->root->path);
		if (below(path, root))
			return o;
	}
	return NULL;
}

bool cgroup_tree_covers(const struct objects *objects, const CgroupMembership *group)
{
	return find_tree(objects, group);
}

static char *moved(const struct object *object, const char *path)
{
	const CgroupTreeState *s = object_state(object, CgroupTreeState);
	const struct tree *tree = object->live;
	_cleanup_(free_p) char *root = bytes_text(&s->root->path);

	return tree && tree->here ? xasprintf("%s%s", tree->here, below(path, root))
	                          : xstrdup(path);
}

char *cgroup_tree_here(const struct objects *objects, const CgroupMembership *group)
{
	const struct object *object = find_tree(objects, group);
	_cleanup_(free_p) char *path = bytes_text(&group->path);

	return object ? moved(object, path) : take_ptr(path);
}

static bool is_hierarchy(const CgroupMembership *root, const char *type, char *const *options,
                         size_t n_options)
{
	_cleanup_(free_p) char *hierarchy = bytes_text(&root->hierarchy);
	char *save = NULL;

	if (strcmp(type, *hierarchy ? "cgroup" : "cgroup2") != 0)
		return false;
	for (char *word = strtok_r(hierarchy, ",", &save); word;
	     word = strtok_r(NULL, ",", &save)) {
		bool found = false;
		for (size_t i = 0; i < n_options; i++)
			found |= !strcmp(options[i], word);
		if (!found)
			return false;
	}
	return true;
}

char *cgroup_tree_mount_root(const struct objects *objects, const char *type, char *const *options,
                             size_t n_options, const char *root)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(objects, &cgroup_tree_kind, &cursor));) {
		const CgroupTreeState *s = object_state(o, CgroupTreeState);
		_cleanup_(free_p) char *top = bytes_text(&s->root->path);
		if (is_hierarchy(s->root, type, options, n_options) && below(root, top))
			return moved(o, root);
	}
	return NULL;
}

/* ---- what an image may say ---- */

static bool is_sound_path(const ProtobufCBinaryData *bytes)
{
	_cleanup_(free_p) char *path = bytes_text(bytes);

	return bytes->len < PATH_SIZE_MAX && !bytes_have_nul(bytes) && !cgroup_is_outside(path) &&
	       !strstr(path, "//") && !strstr(path, "/./") && path[bytes->len - 1] != '/' &&
	       (bytes->len < 2 || memcmp(path + bytes->len - 2, "/.", 2) != 0);
}

static bool is_file_name(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/') && strlen(name) < 256;
}

static int validate_group(const CgroupGroup *g, struct error *err)
{
	for (size_t i = 0; i < g->n_files; i++) {
		const struct cgroup_file *file = cgroup_file_find(g->files[i]->name);
		if (!file || !is_file_name(g->files[i]->name) ||
		    cgroup_file_phase(file) > CGROUP_LATE || bytes_have_nul(&g->files[i]->value))
			return error_raise(err, EBADMSG, "a setting '%.40s'", g->files[i]->name);
	}
	for (size_t i = 0; i < g->n_owners; i++)
		if (g->owners[i]->mode > 07777 ||
		    (*g->owners[i]->name && !is_file_name(g->owners[i]->name)))
			return error_raise(err, EBADMSG, "an owner of '%.40s'", g->owners[i]->name);
	for (size_t i = 0; i < g->n_xattrs; i++)
		if (!strncmp(g->xattrs[i]->name, "security.", 9) ||
		    !strncmp(g->xattrs[i]->name, "system.", 7))
			return error_raise(err, EBADMSG, "an attribute '%.40s'",
			                   g->xattrs[i]->name);
	return 0;
}

/* those of v1 have none */
static int validate_programs(const CgroupTreeState *s, const CgroupGroup *g, struct error *err)
{
	if (s->root->hierarchy.len && g->n_filters)
		return error_raise(err, EBADMSG, "device filters of a group of v1");
	int r = cgroup_programs_validate(g, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const CgroupTreeState *s = object_state(object, CgroupTreeState);

	if (!s->root || !is_sound_path(&s->root->path) || s->root->path.len < 2)
		return error_raise(err, EBADMSG, "a tree of cgroups without a root");
	int r = cgroup_validate_memberships(&s->root, 1, err);
	if (r < 0)
		return error_trace(err, r);
	if (!s->n_groups || s->n_groups > GROUPS_MAX || s->groups[0]->path.len)
		return error_raise(err, EBADMSG, "%zu cgroups in a tree", s->n_groups);
	for (size_t i = 0; r == 0 && i < s->n_groups; i++) {
		if (i && !is_sound_path(&s->groups[i]->path))
			return error_raise(err, EBADMSG, "the path of a cgroup in a tree");
		r = validate_group(s->groups[i], err);
		if (r == 0)
			r = validate_programs(s, s->groups[i], err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- before anything is made ---- */

/* the kernel's verifier looks at what an image brings; and who may load programs may attach them */
static void check_programs(struct restart *r, const CgroupTreeState *s)
{
	struct error why, refusal;
	int e = 0;

	for (size_t i = 0; e == 0 && i < s->n_groups; i++)
		e = cgroup_programs_try(s->groups[i], &why);
	if (e == 0)
		return;
	if (e == -EPERM)
		error_refuse(&refusal, CODE_capability,
		             "CAP_BPF and CAP_NET_ADMIN are needed to give a cgroup its device "
		             "filters");
	else
		error_refuse(&refusal, CODE_cgroup_program,
		             "this kernel does not take a device filter of its (%s)", strerror(-e));
	error_object(&refusal, "cgroup v2:%.*s", (int)s->root->path.len,
	             (const char *)s->root->path.data);
	error_hint(&refusal, "make the groups beforehand, or restart with --cgroup ignore");
	restart_refuse(r, &refusal);
}

static int preflight(struct restart *r, struct object *object, struct error *err)
{
	const CgroupTreeState *s = object_state(object, CgroupTreeState);
	_cleanup_(free_p) char *hierarchy = bytes_text(&s->root->hierarchy);
	_cleanup_(free_p) char *path = bytes_text(&s->root->path);
	_cleanup_(free_p) char *directory = cgroup_directory(hierarchy, path);

	if (r->options->cgroup == CGROUP_IGNORE)
		return 0;
	if (!directory) {
		cgroup_refuse(r, CODE_cgroup_mount, hierarchy, path,
		              "its hierarchy is not mounted here");
		return 0;
	}
	bool there = access(directory, F_OK) == 0;
	if (there && cgroup_is_frozen(directory)) {
		cgroup_refuse(r, CODE_cgroup_frozen, hierarchy, path, "the group is frozen");
		return 0;
	}
	if (there && !s->movable)
		return 0;
	*strrchr(directory, '/') = 0;
	if (access(directory, F_OK) < 0)
		cgroup_refuse(r, CODE_cgroup_path, hierarchy, path,
		              "the cgroup above it does not exist here");
	else if (access(directory, W_OK) < 0)
		cgroup_refuse(r, CODE_cgroup_permission, hierarchy, path,
		              "this user may not make cgroups there");
	check_programs(r, s);
	return 0;
}

/* ---- making ---- */

static struct tree *tree_of(struct object *object)
{
	const CgroupTreeState *s = object_state(object, CgroupTreeState);
	struct tree *tree = object->live;

	if (!tree) {
		tree = object->live = xcalloc(1, sizeof(*tree));
		tree->lock = -1;
		tree->made = xcalloc(s->n_groups, sizeof(*tree->made));
	}
	return tree;
}

static int make_directory(struct restart *r, const char *directory, bool *ret_made,
                          struct error *err)
{
	int e = 0;

	*ret_made = false;
	if (access(directory, F_OK) == 0)
		return 0;
	if (!r->cgroups) {
		r->cgroups = xcalloc(1, sizeof(*r->cgroups));
		r->cgroups->journal = journal_new();
	}
	e = journal_note(r->cgroups->journal, JOURNAL_GROUP, directory, NULL, err);
	if (e < 0)
		return error_trace(err, e);
	*ret_made = mkdir(directory, 0755) == 0;
	if (!*ret_made && errno != EEXIST)
		return error_raise(err, errno, "make the cgroup %s", directory);
	if (!*ret_made)
		e = journal_note(r->cgroups->journal, JOURNAL_FOUND, directory, NULL, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* > 0: it hands controllers on, so no process may be in it, cgroups(7), "no internal processes" */
static int hands_on(int dir, const char *path, void *arg, struct error *err)
{
	_cleanup_(close_p) int fd = openat(dir, "cgroup.subtree_control", O_RDONLY | O_CLOEXEC);
	char first;

	return fd >= 0 && read(fd, &first, 1) == 1;
}

/* those that the tree has, as far as they are empty; false if one stays, or another is below it */
static bool remove_groups(const CgroupTreeState *s, const char *root)
{
	for (size_t i = s->n_groups; i-- > 0;) {
		_cleanup_(free_p) char *below = bytes_text(&s->groups[i]->path);
		_cleanup_(free_p) char *directory = xasprintf("%s%s", root, below);
		if (rmdir(directory) < 0 && errno != ENOENT)
			return false;
	}
	return true;
}

/*
 * A group that was left, and hands controllers on, cannot be entered to make a namespace that
 * begins there: the tree is made anew.
 */
static bool is_usable(const char *directory)
{
	struct error ignored = ERROR_INIT;

	return cgroup_walk(directory, hands_on, NULL, &ignored) == 0;
}

static bool is_there(const char *directory, int fd)
{
	struct stat here, there;

	return stat(directory, &there) == 0 && fstat(fd, &here) == 0 &&
	       here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

/* TRY_TAKEN: others have it. Who has locked the directory is about to fill it, or has. */
enum { TRY_TAKEN, TRY_OURS, TRY_AGAIN };

static int try_directory(struct restart *r, const CgroupTreeState *s, const char *directory,
                         struct tree *tree, struct error *err)
{
	int e = make_directory(r, directory, &tree->made[0], err);

	if (e < 0)
		return error_trace(err, e);
	_cleanup_(close_p) int lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0)
		return errno == ENOENT ? TRY_AGAIN
		                       : error_raise(err, errno, "open the cgroup %s", directory);
	if (flock(lock, LOCK_EX | LOCK_NB) < 0 && s->movable)
		return TRY_TAKEN;
	if (!is_there(directory, lock))
		return TRY_AGAIN;
	if (cgroup_populated(directory)) {
		if (s->movable)
			return TRY_TAKEN;
	} else if (!tree->made[0] && !is_usable(directory)) {
		return remove_groups(s, directory) ? TRY_AGAIN : TRY_TAKEN;
	}
	tree->lock = take_fd(&lock);
	return TRY_OURS;
}

/* if we made it, another restart was quicker, or we have failed; returns TRY_TAKEN or the error @e
 */
static int not_ours(struct restart *r, struct tree *tree, const char *directory, int e,
                    struct error *err)
{
	bool made = tree->made[0];

	tree->made[0] = false;
	if (e < 0) {
		if (made)
			rmdir(directory);
		return error_trace(err, e);
	}
	if (made)
		e = journal_note(r->cgroups->journal, JOURNAL_FOUND, directory, NULL, err);
	return e < 0 ? error_trace(err, e) : TRY_TAKEN;
}

/* takes the root under that name: TRY_TAKEN, TRY_OURS, or an error */
static int try_name(struct restart *r, struct object *object, const char *path, struct error *err)
{
	const CgroupTreeState *s = object_state(object, CgroupTreeState);
	_cleanup_(free_p) char *hierarchy = bytes_text(&s->root->hierarchy);
	_cleanup_(free_p) char *directory = cgroup_directory(hierarchy, path);
	struct tree *tree = tree_of(object);
	int e = TRY_AGAIN;

	if (!directory)
		return error_raise(err, ENOENT, "find the cgroup hierarchy %s", hierarchy);
	for (unsigned i = 0; e == TRY_AGAIN && i < 100; i++)
		e = try_directory(r, s, directory, tree, err);
	if (e != TRY_OURS)
		return not_ours(r, tree, directory, e, err);
	tree->directory = take_ptr(directory);
	tree->here = xstrdup(path);
	return TRY_OURS;
}

static int choose_root(struct restart *r, struct object *object, struct error *err)
{
	const CgroupTreeState *s = object_state(object, CgroupTreeState);
	_cleanup_(free_p) char *path = bytes_text(&s->root->path);
	int e = try_name(r, object, path, err);

	for (unsigned i = 1; e == TRY_TAKEN && s->movable && i < NAMES_MAX; i++) {
		_cleanup_(free_p) char *other = xasprintf("%s.%u", path, i);
		e = try_name(r, object, other, err);
	}
	if (e == TRY_TAKEN)
		return error_raise(err, EEXIST, "find a name for the cgroup %s", path);
	return e < 0 ? error_trace(err, e) : 0;
}

static char *directory_of(const struct tree *tree, const CgroupGroup *group)
{
	return xasprintf("%s%.*s", tree->directory, (int)group->path.len,
	                 group->path.len ? (const char *)group->path.data : "");
}

static int open_group(const struct tree *tree, const CgroupGroup *group, int *ret,
                      struct error *err)
{
	_cleanup_(free_p) char *directory = directory_of(tree, group);

	*ret = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? error_raise(err, errno, "open the cgroup %s", directory) : 0;
}

static int write_files(const struct tree *tree, const CgroupGroup *group, enum cgroup_phase phase,
                       struct error *err)
{
	_cleanup_(close_p) int dir = -1;
	int e = open_group(tree, group, &dir, err);

	for (size_t i = 0; e == 0 && i < group->n_files; i++) {
		const CgroupFile *file = group->files[i];
		_cleanup_(free_p) char *value = bytes_text(&file->value);
		if (cgroup_file_phase(cgroup_file_find(file->name)) == phase)
			e = cgroup_file_write(dir, file->name, value, err);
	}
	if (e < 0 && group->n_files)
		error_object(err, "cgroup %s%.*s", tree->here, (int)group->path.len,
		             group->path.len ? (const char *)group->path.data : "");
	return e < 0 ? error_trace(err, e) : 0;
}

/* of the groups that were made; a parent's come before its children's */
static int write_phase(struct object *object, enum cgroup_phase phase, struct error *err)
{
	const CgroupTreeState *s = object_state(object, CgroupTreeState);
	const struct tree *tree = object->live;
	int e = 0;

	for (size_t i = 0; e == 0 && i < s->n_groups; i++)
		if (tree->made[i])
			e = write_files(tree, s->groups[i], phase, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static bool is_v1(const struct object *object)
{
	return object_state(object, CgroupTreeState)->root->hierarchy.len > 0;
}

static int restore(struct restart *r, struct object *object, struct error *err)
{
	const CgroupTreeState *s = object_state(object, CgroupTreeState);
	struct tree *tree = tree_of(object);

	if (r->options->cgroup == CGROUP_IGNORE)
		return 0;
	int e = choose_root(r, object, err);
	for (size_t i = 1; e == 0 && i < s->n_groups; i++) {
		_cleanup_(free_p) char *directory = directory_of(tree, s->groups[i]);
		e = make_directory(r, directory, &tree->made[i], err);
	}
	/* no task can be in a cpuset without CPUs; and v1 has nothing that would keep tasks out */
	if (e == 0 && is_v1(object))
		e = write_phase(object, CGROUP_EARLY, err);
	return e < 0 ? error_trace(err, e) : 0;
}

int cgroup_tree_settle(struct restart *r, struct error *err)
{
	size_t cursor = 0;
	int e = 0;

	if (!r->cgroups || r->cgroups->settled)
		return 0;
	r->cgroups->settled = true;
	for (struct object *o;
	     e == 0 && (o = objects_next(r->objects, &cgroup_tree_kind, &cursor));)
		if (!is_v1(o))
			e = write_phase(o, CGROUP_EARLY, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* ---- the end ---- */

static int hand_over(int dir, const CgroupOwner *owner, struct error *err)
{
	const char *name = *owner->name ? owner->name : ".";

	if (fchownat(dir, name, owner->uid, owner->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(dir, name, owner->mode, 0) < 0)
		return error_raise(err, errno, "hand the cgroup's %s over to user %u", name,
		                   owner->uid);
	return 0;
}

static int finish_group(const struct tree *tree, const CgroupGroup *group, struct error *err)
{
	_cleanup_(close_p) int dir = -1;
	int e = write_files(tree, group, CGROUP_LATE, err);

	if (e == 0)
		e = open_group(tree, group, &dir, err);
	for (size_t i = 0; e == 0 && i < group->n_xattrs; i++) {
		const CgroupXattr *x = group->xattrs[i];
		if (fsetxattr(dir, x->name, x->value.data, x->value.len, 0) < 0)
			e = error_raise(err, errno, "set the cgroup's attribute %s", x->name);
	}
	for (size_t i = 0; e == 0 && i < group->n_owners; i++)
		e = hand_over(dir, group->owners[i], err);
	return e < 0 ? error_trace(err, e) : 0;
}

/*
 * Those below come first: a group may have been given a program that forbids others below it when
 * they had theirs already.
 */
static int attach_programs(const struct tree *tree, const CgroupTreeState *s, struct error *err)
{
	int e = 0;

	for (size_t i = s->n_groups; e == 0 && i-- > 0;) {
		_cleanup_(close_p) int dir = -1;
		if (!tree->made[i] || !s->groups[i]->n_filters)
			continue;
		e = open_group(tree, s->groups[i], &dir, err);
		if (e == 0)
			e = cgroup_programs_attach(dir, s->groups[i], err);
	}
	return e < 0 ? error_trace(err, e) : 0;
}

/* all tasks are there: nothing that the restart does counts against the limits any more */
static int finish(struct restart *r, struct object *object, struct error *err)
{
	const CgroupTreeState *s = object_state(object, CgroupTreeState);
	const struct tree *tree = object->live;
	int e = 0;

	for (size_t i = 0; e == 0 && tree && i < s->n_groups; i++)
		if (tree->made[i])
			e = finish_group(tree, s->groups[i], err);
	if (e == 0 && tree)
		e = attach_programs(tree, s, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* the last task has just been reaped: it may take a moment until the group is empty */
static bool remove_directory(const char *directory)
{
	bool gone;

	for (unsigned i = 0; !(gone = rmdir(directory) == 0 || errno == ENOENT) && i < 1000; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	return gone;
}

int cgroup_trees_commit(struct restart *r, struct error *err)
{
	int e = r->cgroups ? journal_note_tree(r->cgroups->journal, r->root, err) : 0;

	return e < 0 ? error_trace(err, e) : 0;
}

void cgroup_trees_undo(struct restart *r)
{
	size_t cursor = 0;

	if (!r->cgroups)
		return;
	for (struct object *o; (o = objects_next(r->objects, &cgroup_tree_kind, &cursor));) {
		const CgroupTreeState *s = object_state(o, CgroupTreeState);
		const struct tree *tree = o->live;
		for (size_t i = s->n_groups; tree && tree->directory && i-- > 0;) {
			_cleanup_(free_p) char *directory = directory_of(tree, s->groups[i]);
			if (tree->made[i] && !remove_directory(directory))
				r->cgroups->left = true;
		}
	}
}

void cgroup_trees_free(struct cgroup_trees *trees)
{
	if (trees && trees->left)
		journal_leave(trees->journal);
	else if (trees)
		journal_free(trees->journal);
	free(trees);
}

static void release(struct object *object)
{
	struct tree *tree = object->live;

	if (tree) {
		close_p(&tree->lock);
		free(tree->here);
		free(tree->directory);
		free(tree->made);
	}
	free(tree);
	object->live = NULL;
}

const struct kind cgroup_tree_kind = {
	.name = "cgroup_tree",
	.number = 65,
	.message = &cgroup_tree_state__descriptor,
	.validate = validate,
	.preflight = preflight,
	.restore = restore,
	.finish = finish,
	.release = release,
};
