/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a tree of cgroups goes, and its directories. See parts.h and kind/cgroup_tree.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/journal.h"
#include "core/kept.h"
#include "core/restart.h"
#include "kind/cgroup.h"
#include "kind/cgroup/parts.h"
#include "kind/cgroup/walk.h"
#include "proc/cgroup.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define NAMES_MAX 10000 /* tried for one tree */

struct tree *cgroup_tree_of(struct object *object)
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

int cgroup_make_directory(struct restart *r, const char *directory, bool *ret_made,
                          struct error *err)
{
	int e = 0;

	*ret_made = false;
	if (access(directory, F_OK) == 0)
		return 0;
	struct cgroup_trees *trees = cgroup_trees_kept(r);
	if (!trees) {
		trees = kept_add(&r->kept, &cgroup_trees_kept_type, xcalloc(1, sizeof(*trees)));
		trees->journal = journal_new();
	}
	e = journal_note(trees->journal, JOURNAL_GROUP, directory, NULL, err);
	if (e < 0)
		return error_trace(err, e);
	*ret_made = mkdir(directory, 0755) == 0;
	if (!*ret_made && errno != EEXIST)
		return error_raise(err, errno, "make the cgroup %s", directory);
	if (!*ret_made)
		e = journal_note(trees->journal, JOURNAL_FOUND, directory, NULL, err);
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

bool cgroup_is_usable(const char *directory)
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
	int e = cgroup_make_directory(r, directory, &tree->made[0], err);

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
	} else if (!tree->made[0] && !cgroup_is_usable(directory)) {
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
		e = journal_note(cgroup_trees_kept(r)->journal, JOURNAL_FOUND, directory, NULL,
		                 err);
	return e < 0 ? error_trace(err, e) : TRY_TAKEN;
}

/* takes the root under that name: TRY_TAKEN, TRY_OURS, or an error */
static int try_name(struct restart *r, struct object *object, const char *path, struct error *err)
{
	const CgroupTreeState *s = object_state(object, CgroupTreeState);
	_cleanup_(free_p) char *hierarchy = bytes_text(&s->root->hierarchy);
	_cleanup_(free_p) char *directory = cgroup_directory(hierarchy, path);
	struct tree *tree = cgroup_tree_of(object);
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

int cgroup_choose_root(struct restart *r, struct object *object, struct error *err)
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
