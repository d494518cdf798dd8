/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The set's own cgroups: restart. See cgroup_tree.h; checkpoint is cgroup/collect.c, what can be
 * said beforehand cgroup/check.c, and where a tree goes cgroup/make.c.
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
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "core/journal.h"
#include "core/restart.h"
#include "kind/cgroup.h"
#include "kind/cgroup/files.h"
#include "kind/cgroup/parts.h"
#include "kind/cgroup/programs.h"
#include "util/alloc.h"
#include "util/cleanup.h"

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

/* ---- making ---- */

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
	struct tree *tree = cgroup_tree_of(object);

	if (r->options->cgroup == CGROUP_IGNORE)
		return 0;
	int e = cgroup_choose_root(r, object, err);
	for (size_t i = 1; e == 0 && i < s->n_groups; i++) {
		_cleanup_(free_p) char *directory = directory_of(tree, s->groups[i]);
		e = cgroup_make_directory(r, directory, &tree->made[i], err);
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

	struct cgroup_trees *trees = cgroup_trees_kept(r);

	if (!trees || trees->settled)
		return 0;
	trees->settled = true;
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

/* from now on the groups may be a running tree's */
static int launch(struct restart *r, void *data, struct error *err)
{
	struct cgroup_trees *trees = data;
	int e = journal_note_tree(trees->journal, r->root, err);

	return e < 0 ? error_trace(err, e) : 0;
}

/* so are the groups that it made */
static void undo(struct restart *r, void *data)
{
	struct cgroup_trees *trees = data;
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(r->objects, &cgroup_tree_kind, &cursor));) {
		const CgroupTreeState *s = object_state(o, CgroupTreeState);
		const struct tree *tree = o->live;
		for (size_t i = s->n_groups; tree && tree->directory && i-- > 0;) {
			_cleanup_(free_p) char *directory = directory_of(tree, s->groups[i]);
			if (tree->made[i] && !remove_directory(directory))
				trees->left = true;
		}
	}
}

static void done(void *data)
{
	struct cgroup_trees *trees = data;

	if (trees->left)
		journal_leave(trees->journal);
	else
		journal_free(trees->journal);
	free(trees);
}

const struct kept_type cgroup_trees_kept_type = { .done = done, .launch = launch, .undo = undo };

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
	.validate = cgroup_tree_validate,
	.preflight = cgroup_tree_preflight,
	.restore = restore,
	.finish = finish,
	.release = release,
};
