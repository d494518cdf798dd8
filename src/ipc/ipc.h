/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What lies in an IPC namespace: settings, System V shared memory, semaphores and message queues,
 * POSIX message queues. No kinds and no tasks here: every function works in the IPC namespace of
 * the calling thread, from and into the plain messages of ipc_ns.proto, which the caller frees
 * (protobuf_c_message_free_unpacked). Ids of users are as the caller's user namespace has them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc_ns.pb-c.h"
#include "util/error.h"

/* ---- settings ---- */

/* fills @state with all that differ between IPC namespaces */
int ipc_settings_read(IpcNsState *state, struct error *err);
/* whether a name and a value are such that ipc_settings_write() takes them */
bool ipc_setting_valid(const IpcNsState__Setting *setting);
int ipc_settings_write(const IpcNsState *state, struct error *err);
/* raises every limit, so that whatever has been in the namespace can be put into it again */
int ipc_settings_open_wide(struct error *err);
/*
 * Raises one limit of a namespace in use for a moment. @before: IPC_SETTING_MAX bytes, what it was
 * goes there; empty: it was not raised, and ipc_setting_restore() does nothing.
 */
#define IPC_SETTING_MAX 64
int ipc_setting_raise(const char *name, char *before, struct error *err);
int ipc_setting_restore(const char *name, const char *before, struct error *err);
/* kernel.shm_rmid_forced: segments that nobody has attached do not last; 0, 1 or -errno */
int ipc_shm_forced(struct error *err);

/* ---- System V ---- */

/*
 * The objects of the namespace in order of index; appended to *ret. Nothing is changed, and no
 * permission is needed, but to read semaphores. Other contents come later, by the functions below.
 */
int ipc_shm_list(IpcShmState ***ret, size_t *ret_n, struct error *err);
int ipc_sem_list(IpcSemState ***ret, size_t *ret_n, struct error *err);
int ipc_msg_list(IpcMsgState ***ret, size_t *ret_n, struct error *err);

/* each set of semaphores; a negative return ends it */
struct semid_ds;
typedef int (*ipc_sem_visit)(void *context, int id, const struct semid_ds *ds, struct error *err);
int ipc_sem_each(ipc_sem_visit visit, void *context, struct error *err);

/* how many mappings there are of a segment, in all processes; -errno */
int ipc_shm_attached(int id, struct error *err);

/* a segment that is open */
struct ipc_segment {
	int fd;              /* pread(2), pwrite(2) (but for huge pages) and SEEK_DATA work on it */
	void *map;           /* where fd does not do: it is -1, or pages are huge; else NULL */
	uint32_t huge_shift; /* log2 of the size of huge pages; 0: none */
};
#define IPC_SEGMENT_INIT ((struct ipc_segment){ .fd = -1 })

/*
 * The file behind a segment; without CAP_CHECKPOINT_RESTORE only the memory of it, which reading
 * fills. The segment's times and last pid change, which nothing can prevent.
 */
int ipc_shm_open(int id, bool writable, struct ipc_segment *ret, struct error *err);
void ipc_shm_close(struct ipc_segment *segment); /* takes one that is not open */

/* messages as one stream, see IpcMsgState */
struct ipc_stream {
	unsigned char *data;
	size_t size, room;
	uint64_t n; /* messages */
};
void ipc_stream_free(struct ipc_stream *stream); /* its data; takes an empty one */
/* whether size and n are such that a queue can have them; IPC_STREAM_MAX bounds memory */
#define IPC_STREAM_MAX (1ull << 30)
bool ipc_stream_valid(uint64_t size, uint64_t n, uint64_t max_message);

/*
 * Copies of all messages, which stay where they are (MSG_COPY). Where a message is larger than
 * kernel.msgmax is by now, that limit is raised meanwhile.
 */
int ipc_msg_read(int id, uint64_t n, struct ipc_stream *ret, struct error *err);
/* sends them, in order */
int ipc_msg_write(int id, const struct ipc_stream *stream, struct error *err);

/*
 * New objects with exactly the id, key, owner, creator and mode of @state, empty. The caller is a
 * helper of its own (its effective ids change meanwhile) with all limits open wide. SHM_DEST is
 * not set, and segments are anybody's: see ipc_shm_settle(). Those that have SHM_DEST come last,
 * for their keys may be others' now.
 */
int ipc_shm_make(const IpcShmState *state, struct error *err);
int ipc_sem_make(const IpcSemState *state, struct error *err); /* values included */
int ipc_msg_make(const IpcMsgState *state, struct error *err);
/*
 * What must wait until it is attached where it is to be, by stubs, which may have no rights to it
 * any more: the mode; and a segment that has SHM_DEST is removed.
 */
int ipc_shm_settle(const IpcShmState *state, struct error *err);
/* what must wait until the messages are in: a limit below what the queue holds */
int ipc_msg_limit(const IpcMsgState *state, struct error *err);

/* ---- POSIX message queues ---- */

/* all that have a name */
int ipc_mq_list(IpcMqState ***ret, size_t *ret_n, struct error *err);
/* of the directory that they are in: who it belongs to */
int ipc_mq_read_directory(IpcNsState *state, struct error *err);
int ipc_mq_open_directory(struct error *err); /* for a helper in the namespace; 0: there is none */
int ipc_mq_write_directory(const IpcNsState *state, int fd, struct error *err);
char *ipc_mq_name(const IpcMqState *state); /* a string, the caller's */
int ipc_mq_open(const IpcMqState *state, int flags, struct error *err);
int ipc_mq_unlink(const IpcMqState *state, struct error *err);
/* all but the name, by a descriptor */
int ipc_mq_look(int fd, IpcMqState *state, struct error *err);
/*
 * Copies of all messages. They are taken out and sent back, so nobody may use the queue meanwhile
 * or wait for it. Who is to be notified of the next one (state->notify) is, then, and not of others
 * any more; if by a signal, of one that comes and goes where there are none. @fd: open for both,
 * with O_NONBLOCK.
 */
struct ipc_mq_watch {
	int (*begin)(void *arg); /* in the process that takes them, which cannot be stopped after */
	int (*end)(void *arg, struct error *err); /* when that process has ended, well or not */
	void *arg;
};
int ipc_mq_read(const IpcMqState *state, int fd, const struct ipc_mq_watch *watch,
                struct ipc_stream *ret, struct error *err);
int ipc_mq_write(int fd, const struct ipc_stream *stream, struct error *err);
/* a new one, empty; in a helper, as ipc_shm_make() */
int ipc_mq_make(const IpcMqState *state, struct error *err);
