/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the kind file: collect.c is the checkpoint, kind/file.c the restart. */
#pragma once

#include <fcntl.h>

#include "file.pb-c.h"
#include "kind/kind.h"
#include "task/kcmp.h"

#define FILE_LARGEFILE 0100000u   /* the kernel's O_LARGEFILE; the C library's is 0 */
#define FILE_UNNAMED   020000000u /* the kernel's __O_TMPFILE */
#define FILE_FLAGS_KNOWN                                                                   \
	((uint32_t)(O_ACCMODE | O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_DIRECTORY | \
	            O_NOFOLLOW | O_NOATIME | O_SYNC | O_PATH) |                            \
	 FILE_LARGEFILE | FILE_UNNAMED)

/* object->live */
struct file {
	/* checkpoint */
	struct kcmp_set group; /* of the first of its group */
	uint32_t n_group;
	const struct task *holder; /* the first that has it, which sets the owner at restart */
	const struct task *owner;  /* or a member of the group; NULL: none */
	int number;                /* of the first descriptor */
	bool renumbered;           /* there are some of other numbers */
	bool numbered;             /* it may send signals with it: no regular file, or a lease */
	/* restart */
	int fd;
	size_t n_expected;
	bool installed; /* its owner has been set, by a task */
	bool async;     /* O_ASYNC is still to be set, by a task */
};

/* object->live, made if need be */
struct file *file_live(struct object *object);
int file_judge(struct checkpoint *c, struct object *object, struct error *err); /* see kind.h */
