/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: what is locked in namespaces of other user namespaces in a way that a restart could
 * not build again, see mount/build_owned.c: what is locked there comes by copies, and of what is
 * covered in these nothing can be changed afterwards.
 */
#include <stdlib.h>
#include <string.h>

#include "core/checkpoint.h"
#include "kind/fs.h"
#include "kind/mnt_ns.h"
#include "kind/mounts/parts.h"
#include "kind/pid_ns.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

/* what is known of each line */
struct shapes {
	const struct mount_table *t;
	size_t *over;     /* what is locked on the root of it; MOUNT_NONE: nothing */
	bool *covered;    /* it is behind what is locked */
	size_t *above;    /* where that ends, from above; itself if it is not covered */
	bool *private;    /* one that is not shared is covered there */
	struct map *ties; /* peer group -> how many are in it, or receive from it */
};

static bool is_covered(const struct shapes *s, size_t line)
{
	const struct mount_table *t = s->t;
	const struct mount_entry *e = &t->mounts[line];

	while (e->locked) {
		if (s->over[line] != MOUNT_NONE)
			return true;
		while (e->locked && !*e->rel) { /* the topmost of a stack, to what that is on */
			line = e->parent;
			e = &t->mounts[line];
		}
		if (e->locked && mount_is_hidden(t, e))
			return true;
		line = e->locked ? e->parent : line;
		e = &t->mounts[line];
	}
	return false;
}

static size_t uncovered_above(const struct shapes *s, size_t line)
{
	while (s->covered[line] && s->above[line] == MOUNT_NONE)
		line = s->t->mounts[line].parent;
	return s->covered[line] ? s->above[line] : line;
}

static void find_above(struct shapes *s, size_t line)
{
	size_t above = uncovered_above(s, line);

	for (; s->above[line] == MOUNT_NONE; line = s->t->mounts[line].parent) {
		s->above[line] = above;
		if (line == above)
			return;
	}
}

static void count_tie(struct map *ties, uint64_t group)
{
	uintptr_t n = group ? (uintptr_t)map_get(ties, &group, sizeof(group)) : 0;

	if (group)
		map_put(ties, &group, sizeof(group), (void *)(n + 1));
}

static void shapes_fill(struct shapes *s, const struct mount_table *t)
{
	size_t size = t->n_mounts + 1;

	*s = (struct shapes){ .t = t,
		              .over = xcalloc(size, sizeof(*s->over)),
		              .covered = xcalloc(size, sizeof(*s->covered)),
		              .above = xcalloc(size, sizeof(*s->above)),
		              .private = xcalloc(size, sizeof(*s->private)),
		              .ties = map_new() };
	memset(s->over, 0xff, size * sizeof(*s->over)); /* MOUNT_NONE */
	memset(s->above, 0xff, size * sizeof(*s->above));
	for (size_t i = 0; i < t->n_mounts; i++) {
		const struct mount_entry *e = &t->mounts[i];
		if (e->locked && !*e->rel)
			s->over[e->parent] = i;
		count_tie(s->ties, e->peer_group);
		if (e->master != e->peer_group)
			count_tie(s->ties, e->master);
	}
	for (size_t i = 0; i < t->n_mounts; i++)
		s->covered[i] = is_covered(s, i);
	for (size_t i = 0; i < t->n_mounts; i++) {
		find_above(s, i);
		if (s->covered[i] && !t->mounts[i].peer_group)
			s->private[s->above[i]] = true;
	}
}

static void shapes_done(struct shapes *s)
{
	free(s->over);
	free(s->covered);
	free(s->above);
	free(s->private);
	map_free(s->ties);
}

/* shared with, or a slave of, another one than itself */
static bool has_relatives(const struct shapes *s, const struct mount_entry *e)
{
	return e->master || (e->peer_group && (uintptr_t)map_get(s->ties, &e->peer_group,
	                                                         sizeof(e->peer_group)) > 1);
}

/*
 * What would have to be done to the copy of one that is covered there; NULL: nothing. A shared one
 * becomes so with all that is covered around it.
 */
static const char *beyond_reach(const struct shapes *s, size_t line)
{
	const struct mount_entry *e = &s->t->mounts[line];

	if (!(e->unbindable || e->peer_group || e->master) || !s->covered[line])
		return NULL;
	if (e->unbindable)
		return "it is unbindable, locked, and covered by what is locked";
	if (has_relatives(s, e))
		return "it is locked, covered by what is, and others receive its mounts, or it "
		       "does";
	return s->private[s->above[line]] ? "it is locked, covered by what is, and shared, "
	                                    "and another one there is not"
	                                  : NULL;
}

static void refuse_shape(struct checkpoint *c, const struct mounts *m, size_t line,
                         const char *what)
{
	struct error refusal;

	error_refuse(&refusal, CODE_mount_lock_shape, "%s", what);
	mounts_blame(c, m, &m->table.mounts[line], &refusal);
	refuse(c, NULL, &refusal);
}

void mounts_judge_stacks(struct checkpoint *c)
{
	const struct mounts *m = mounts_kept(c->kept);
	_cleanup_(shapes_done) struct shapes shapes;

	shapes_fill(&shapes, &m->table);
	for (size_t i = 0; i < m->table.n_mounts; i++) {
		const char *what = beyond_reach(&shapes, i);
		if (what)
			refuse_shape(c, m, i, what);
	}
}

/* ---- what must come after a pid namespace ---- */

/*
 * Whether it can enter a mount namespace when all tasks have been cloned, setns(2): not if it
 * shares its fs_struct, as threads do.
 */
static bool enters_late(const struct task *task)
{
	const struct object *fs = task_object(task, &fs_kind);

	return !fs || fs->n_users < 2;
}

/*
 * A task in the namespace of a mount that cannot come there after that pid namespace has begun: it
 * is not in it, nor below it, and must enter the other one before it makes its threads.
 */
static const struct task *find_too_early(const struct checkpoint *c, const struct mount_entry *e,
                                         const struct object *pid_ns)
{
	for (size_t i = 0; i < c->n_tasks; i++)
		if (task_object(c->tasks[i], &mnt_ns_kind) ==
		            mounts_kept(c->kept)->namespaces[e->namespace] &&
		    !pid_ns_contains(pid_ns, c->tasks[i]) && !enters_late(c->tasks[i]))
			return c->tasks[i];
	return NULL;
}

/*
 * What is locked comes with the namespace, and that is made when all pid namespaces have begun that
 * are to be seen in such a way: those who are in it must come later.
 */
int mount_judge_lock(const struct checkpoint *c, size_t line, struct error *err)
{
	const struct object *root = task_object(c->tasks[0], &pid_ns_kind);
	const struct mount_entry *e = &mounts_kept(c->kept)->table.mounts[line];
	uint32_t pid_ns = mount_awaits(mounts_kept(c->kept), line);

	if (!mounts_kept(c->kept)->owners[e->namespace] || !mount_is_locked(e) || !pid_ns ||
	    (root && pid_ns == root->id))
		return 0;
	const struct task *task = find_too_early(c, e, objects_by_id(c->objects, pid_ns));
	if (!task)
		return 0;
	error_refuse(err, CODE_mount_lock_shape,
	             "it is locked in a user namespace, and of a pid namespace that task %d, which "
	             "has it mounted and shares its working directory with a thread or another "
	             "process (CLONE_FS), is not in",
	             task->tid);
	error_hint(err, "have it unmounted before the user namespace is made");
	return -EOPNOTSUPP;
}
