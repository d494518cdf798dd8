/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kind file: open file descriptions. They are found through descriptor tables (kind files), once
 * each by kcmp(2), and refer to the object that is open. At restart the coordinator makes each when
 * the first table needs it and closes it after the last.
 */
#pragma once

#include "kind/kind.h"

struct calls;

extern const struct kind file_kind;

/**
 * file_collect() - the open file description of a descriptor
 * @pidfd:	of the task, for pidfd_getfd(2); -1 for `check`
 * @ret:	its object; NULL when it was refused, or has gone (check)
 * @ret_cloexec: FD_CLOEXEC, which is the descriptor's and not the description's
 */
int file_collect(struct checkpoint *c, const struct task *task, int fd, int pidfd,
                 struct object **ret, bool *ret_cloexec, struct error *err);

/* whether all flags of a description (fdinfo) are known; no kernel of today has others */
int file_check_flags(uint32_t flags, struct error *err);

/* restart: one more descriptor will want it */
void file_expect(struct object *object);
/*
 * restart: the coordinator's descriptor of it, which stays the object's; when all tasks are there
 */
int file_get(struct restart *r, struct object *object, int *ret_fd, struct error *err);
/* restart: a descriptor that was expected has got it; the last one closes it here */
void file_put(struct object *object);
/* restart: adds the calls that a task must make on its descriptor @fd, once for each object */
void file_install(struct restart *r, struct object *object, struct stub *stub, int fd);
void file_commit(struct object *object, struct calls *calls, int fd);
