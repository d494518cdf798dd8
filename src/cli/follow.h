/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Being a process that runs elsewhere: signals go to it, and its end is ours. */
#pragma once

#include <signal.h>
#include <sys/types.h>

/* the signals that a follower hands on: all that ask something of a program from outside */
void follow_signals(sigset_t *ret);

/**
 * follow() - wait for a child, handing signals on to it
 * @pid:	a child of the caller; its exit signal may be any
 * A job-control stop that we handed on stops the caller too, so that a shell sees it. Leaves the
 * signals blocked, for end_as(). Returns the wait status, or a negative errno.
 */
int follow(pid_t pid);

/* ends the calling process with the exit status, or by the signal, of a wait status */
void end_as(int status) __attribute__((noreturn));

/*
 * The standard descriptors that are no terminal are the program's now: here /dev/null takes their
 * place. A copy held here would be a leak at its checkpoint, and a pipe would not see its EOF.
 */
void forget_standard_files(void);
