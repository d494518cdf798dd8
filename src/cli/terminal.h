/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pseudoterminal of our own between the user's terminal and a process tree, as script(1) has. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

/*
 * The terminal that the command is used on, a descriptor of its own; -1 when there is none.
 * Standard input is it; or, where the image comes from there, what standard output shows.
 */
int terminal_find(bool image_on_stdin);

/**
 * terminal_run() - run a function in a child, a session leader with a new pty
 * @terminal:	the user's, from terminal_find(); closed
 * @child:	gets the slave (close-on-exec, not yet anyone's controlling terminal) and a
 *		descriptor that it closes when the tree runs: until then the user's terminal stays
 *		as it is, so that messages look right. Its return value is the exit status.
 * @flags:	CLONE_NEW* for the child
 * Relays bytes, window size and signals until the child ends. Returns the child's wait status, or
 * a negative errno with @err filled.
 */
int terminal_run(int terminal, int (*child)(void *data, int slave, int ready), void *data,
                 uint64_t flags, struct error *err);

/* fork(2), with the child in new namespaces: CLONE_NEW* */
pid_t fork_into(uint64_t flags);

/**
 * terminal_move() - in the child: a pty of another devpts takes the place of the one it got
 * @slave:	is closed, and becomes the new one, with the same settings
 * @ptmx:	a path of that devpts' multiplexor
 */
int terminal_move(int *slave, int ready, const char *ptmx, struct error *err);
