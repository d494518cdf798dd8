/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Identity by kcmp(2): what tasks share in the kernel, found in n log n comparisons because kcmp
 * gives an order. Note that tasks without an io context, or without a SysV undo list, all compare
 * as equal (the kernel compares two NULLs): kinds must rule those out first.
 */
#pragma once

#include <linux/kcmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "util/error.h"

struct checkpoint;
struct kind;
struct object;
struct task;

struct kcmp_member {
	pid_t tid;
	unsigned long index; /* KCMP_FILE: descriptor number in tid; otherwise 0 */
	void *value;         /* the caller's */
};

/* distinct things of one kcmp type, sorted in the kernel's order; zeroed = empty */
struct kcmp_set {
	struct kcmp_member *members;
	size_t n;
	bool has_nobody; /* kcmp_object_or_none() has added its dead process */
};

/**
 * kcmp_find() - find the member that is the same as (@tid, @index), or add it
 * @type:	enum kcmp_type; always the same for one set
 * @ret:	the member; valid until the next kcmp_find() of this set. A new one has value NULL.
 * @ret_new:	whether it was added now; may be NULL
 * Errors: that of kcmp(2), -EPERM without ptrace access to either task.
 */
int kcmp_find(struct kcmp_set *set, int type, pid_t tid, unsigned long index,
              struct kcmp_member **ret, bool *ret_new, struct error *err);
void kcmp_set_done(struct kcmp_set *set); /* frees the array, not the values */

/**
 * kcmp_object() - find or add the object of @kind that @task has in the sense of KCMP_@type
 * For KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND, KCMP_IO, KCMP_SYSVSEM; one kind per type.
 * The set is kept in @c->kcmp[@type]; checkpoint_free calls kcmp_set_done() on each.
 */
int kcmp_object(struct checkpoint *c, const struct kind *kind, int type, const struct task *task,
                struct object **ret, bool *ret_new, struct error *err);
/**
 * kcmp_object_or_none() - the same for what a task may lack: KCMP_IO, KCMP_SYSVSEM
 * @ret:	NULL when @task has none. The dead have none, so a dead child of ours is compared
 *		with; it stays a zombie until kcmp_reap_nobody().
 */
int kcmp_object_or_none(struct checkpoint *c, const struct kind *kind, int type,
                        const struct task *task, struct object **ret, bool *ret_new,
                        struct error *err);
void kcmp_reap_nobody(struct checkpoint *c); /* does nothing if it was not needed */
