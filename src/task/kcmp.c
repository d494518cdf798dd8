/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sorted sets over kcmp(2). See kcmp.h. */
#include "task/kcmp.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/kind.h"
#include "task/task.h"
#include "util/alloc.h"

#define NOBODY_STACK 4096

/* the first member that is not before (tid, index); *ret_equal = it is the same thing */
static int lower_bound(const struct kcmp_set *set, int type, pid_t tid, unsigned long index,
                       size_t *ret, bool *ret_equal, struct error *err)
{
	size_t low = 0, high = set->n;

	*ret_equal = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct kcmp_member *m = &set->members[middle];
		long order = syscall(SYS_kcmp, m->tid, tid, type, m->index, index);

		if (order < 0)
			return error_raise(err, errno, "kcmp type %d of %d and %d", type,
			                   (int)m->tid, (int)tid);
		if (order == 0) {
			*ret = middle;
			*ret_equal = true;
			return 0;
		}
		if (order == 1)
			low = middle + 1;
		else
			high = middle;
	}
	*ret = low;
	return 0;
}

int kcmp_find(struct kcmp_set *set, int type, pid_t tid, unsigned long index,
              struct kcmp_member **ret, bool *ret_new, struct error *err)
{
	size_t at = 0;
	bool equal = false;
	int r = lower_bound(set, type, tid, index, &at, &equal, err);

	if (r < 0)
		return error_trace(err, r);
	if (ret_new)
		*ret_new = !equal;
	if (!equal) {
		(void)array_push(set->members, set->n);
		memmove(&set->members[at + 1], &set->members[at],
		        (set->n - 1 - at) * sizeof(set->members[0]));
		set->members[at] = (struct kcmp_member){ .tid = tid, .index = index };
	}
	*ret = &set->members[at];
	return 0;
}

void kcmp_set_done(struct kcmp_set *set)
{
	free(set->members);
	*set = (struct kcmp_set){ 0 };
}

int kcmp_object(struct checkpoint *c, const struct kind *kind, int type, const struct task *task,
                struct object **ret, bool *ret_new, struct error *err)
{
	struct kcmp_member *member = NULL;
	bool is_new = false;
	int r = kcmp_find(&c->kcmp[type], type, task->tid, 0, &member, &is_new, err);

	if (r < 0)
		return error_trace(err, r);
	if (is_new) /* the first task seen stands for all that share it */
		member->value = objects_get(c->objects, kind, &task->tid, sizeof(task->tid), NULL);
	*ret = member->value;
	if (ret_new)
		*ret_new = is_new;
	return 0;
}

static int end_at_once(void *unused)
{
	(void)unused;
	return 0; /* clone(2): that is its end */
}

/* makes a zombie; with our memory, since to copy that would take the most time by far */
static int make_nobody(struct checkpoint *c, struct error *err)
{
	static char stack[NOBODY_STACK] __attribute__((aligned(16)));
	siginfo_t info;
	pid_t pid = clone(end_at_once, stack + sizeof(stack), CLONE_VM, NULL); /* no SIGCHLD */

	if (pid < 0)
		return error_raise(err, errno, "make a process to compare with");
	c->nobody = pid;
	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | __WALL) < 0 && errno == EINTR)
		;
	return 0;
}

void kcmp_reap_nobody(struct checkpoint *c)
{
	while (c->nobody && waitpid(c->nobody, NULL, __WALL) < 0 && errno == EINTR)
		;
	c->nobody = 0;
}

/* puts it into a set, where what compares as equal to it has nothing */
static int add_nobody(struct checkpoint *c, int type, struct error *err)
{
	struct kcmp_set *set = &c->kcmp[type];
	struct kcmp_member *member;
	bool is_new;
	int r = c->nobody ? 0 : make_nobody(c, err);

	if (r == 0)
		r = kcmp_find(set, type, c->nobody, 0, &member, &is_new, err);
	set->has_nobody = r == 0;
	return r < 0 ? error_trace(err, r) : 0;
}

int kcmp_object_or_none(struct checkpoint *c, const struct kind *kind, int type,
                        const struct task *task, struct object **ret, bool *ret_new,
                        struct error *err)
{
	struct kcmp_set *set = &c->kcmp[type];
	struct kcmp_member *member = NULL;
	bool is_new = false;
	int r = set->has_nobody ? 0 : add_nobody(c, type, err);

	if (r < 0)
		return error_trace(err, r);
	r = kcmp_find(set, type, task->tid, 0, &member, &is_new, err);
	if (r < 0)
		return error_trace(err, r);
	if (is_new)
		member->value = objects_get(c->objects, kind, &task->tid, sizeof(task->tid), NULL);
	*ret = member->value;
	*ret_new = is_new;
	return 0;
}
