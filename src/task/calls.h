/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists of system calls for a stub. The coordinator writes entries {nr, arguments} and buffers into
 * memory that it shares with the stub; the stub executes them in order and wakes the coordinator.
 * An entry may take the result of an earlier one as argument; a list stops at the first failure
 * unless the entry may fail. Kinds add calls and need not care when the list is run: a full list
 * is run at once, a failure sticks and is reported by calls_run().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

struct calls;

struct call {
	long nr;
	uint64_t arg[6];
	uint32_t result_args; /* bit i: arg[i] is the index of an earlier call of the same list,
	                         whose result is passed */
	bool may_fail;        /* go on when it fails */
	const char *what;     /* for the error: "mprotect", a literal; NULL = "system call NR" */
};

#define CALLS_MAX      256   /* entries in one list */
#define CALLS_DATA_MAX 49152 /* bytes of buffers in one list */

/* makes sure that n entries and size bytes of data go into one list; runs the list if need be */
void calls_reserve(struct calls *calls, unsigned n, size_t size);
/* adds a call; returns its index in the current list, for result_args and calls_result() */
unsigned calls_add(struct calls *calls, const struct call *call);
#define CALL(calls, name, ...) \
	calls_add((calls),     \
	          &(struct call){ .nr = __NR_##name, .arg = { __VA_ARGS__ }, .what = #name })
/* room in the shared buffer, 16-byte aligned, zeroed; *ret_addr is its address in the stub */
void *calls_data(struct calls *calls, size_t size, uint64_t *ret_addr);
/* the same, filled with a copy */
uint64_t calls_copy(struct calls *calls, const void *data, size_t size);
/* runs what is queued and waits; the error names the call that failed */
int calls_run(struct calls *calls, struct error *err);
/* after calls_run(), until the next calls_add(): the result of an entry (-errno on failure) */
int64_t calls_result(const struct calls *calls, unsigned index);

/* ---- for those who make and end stubs (task/stub.c, core/spawn.c) ---- */

/* asked when a list does not come back: whether a stub has died that should not have */
struct watch {
	pid_t (*casualty)(void *arg,
	                  int *ret_status); /* its tid, 0 = none; NULL: nobody is asked */
	/* a pid is taken: waits a moment and says whether it is worth another try; may be NULL */
	bool (*lingers)(void *arg, pid_t pid);
	void *arg;
};

/**
 * calls_new() - lists for the stub of a slot
 * @slot:	its address, the same here and in the stub (task/area.h)
 * @watch:	the caller's, not copied; may be NULL
 * @tid:	for errors
 */
struct calls *calls_new(uint64_t slot, const struct watch *watch, pid_t tid);
void calls_free(struct calls *calls);                       /* takes NULL */
void calls_set_comm(struct calls *calls, const char *comm); /* for errors */
/* adds a clone3 (struct clone_args, copied) whose child waits at @slot; returns its index */
unsigned calls_add_clone(struct calls *calls, const void *args, size_t args_size, uint64_t slot);
/*
 * adds, as the last of a list, that the stub ends itself if nobody has the other end of @socket any
 * more, from which nothing is to be read
 */
void calls_add_guard(struct calls *calls, int socket);
/* starts what is queued without waiting; calls_run() or calls_finish() waits */
void calls_start(struct calls *calls);
int calls_finish(struct calls *calls, struct error *err);
/* starts a list that the stub does not survive */
void calls_leave(struct calls *calls);
/* after calls_leave(): the error of the list if the stub has come back from it after all; 0: not */
int calls_came_back(struct calls *calls, struct error *err);
/* the stub has ended; another is going to wait at the slot in its stead */
void calls_renew(struct calls *calls);
/* this stub is to end: its death is no casualty */
bool calls_left(const struct calls *calls);
