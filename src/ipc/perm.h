/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the three sorts of System V objects have in common, for src/ipc/ alone. */
#pragma once

#include <sys/ipc.h>

#include "ipc/ipc.h"

/* a message of its own, from what *_STAT_ANY says */
IpcPerm *ipc_perm_new(int id, const struct ipc_perm *perm);
/* sets the fields that IPC_SET takes */
void ipc_perm_set(struct ipc_perm *perm, const IpcPerm *from);
/*
 * Before the call that makes an object ("shm", "sem", "msg"): it gets the id, and we are its
 * creator until ipc_perm_made(). In between call nothing that raises errors of its own.
 */
int ipc_perm_make(const char *sort, const IpcPerm *perm, struct error *err);
/* @id: what the call has returned, with its errno; 0 if it is the object that was to be */
int ipc_perm_made(const char *sort, const IpcPerm *perm, int id, struct error *err);

/* effective ids of the calling thread, which keeps its capabilities */
int ipc_perm_become(uint32_t uid, uint32_t gid, struct error *err);
