/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IPC namespaces: settings, and all that lies in them, as objects of kinds ipc_*. */
#pragma once

#include "host/helper.h"
#include "kind/kind.h"

extern const struct kind ipc_ns_kind, ipc_shm_kind, ipc_sem_kind, ipc_msg_kind, ipc_mq_kind;

/* one that a descriptor or bind mount refers to; NULL: the coordinator's own */
int ipc_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                      struct error *err);

struct IpcPerm; /* ipc_ns.proto */
struct IpcMqState;

/* the ids of the ipc_ns and, in it, of the System V object: the key of the object table */
struct ipc_key {
	uint32_t ns;
	int32_t id;
};

/* the same for POSIX message queues: their files */
struct ipc_mq_key {
	uint64_t device, inode;
};

/*
 * Runs fn(arg) in the namespace of that object, in our memory (helper_run_here()). Without
 * CAP_SYS_ADMIN it is its owner who enters, host/enter.h, and ids are those of his user namespace.
 */
int ipc_ns_visit(const struct objects *objects, uint32_t ns, helper_fn *fn, void *arg,
                 struct error *err);
/* for validate(): whether @ns is an IPC namespace, and the rest a System V object can have */
int ipc_ns_validate(const struct objects *objects, uint32_t ns, const struct IpcPerm *perm,
                    uint32_t modes, struct error *err);

/* before a stub uses an id of that namespace: -EBADMSG if it is in another one */
int ipc_ns_check_stub(const struct stub *stub, uint32_t ns, struct error *err);

/*
 * In the namespace: the queue, for both, with O_NONBLOCK. @queue: any descriptor of it, -1: by name
 */
int ipc_mq_reopen(const struct IpcMqState *state, int queue, struct error *err);
/* in a helper that has just made one that is to have no name: opens it for all, and unlinks it */
int ipc_mq_made(struct object *object, struct error *err);

struct proc_map;
/*
 * The segment that a task has attached, in its IPC namespace, whose mappings are counted; NULL if
 * it is of no namespace of the set. @fd: the mapped file; -1 if it could not be opened.
 */
struct object *ipc_shm_attached_by(struct checkpoint *c, struct task *task, int fd,
                                   const struct proc_map *map);
