/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the kind tty: what a checkpoint finds out of terminals (collect.c), how new tasks
 * get theirs as the controlling one (session.c), and how descriptors of it are opened (open.c).
 */
#pragma once

#include "kind/kind.h"
#include "tty.pb-c.h"

#define TTY_MAJOR      4      /* virtual consoles and serial lines */
#define TTYAUX_MAJOR   5      /* 0 = /dev/tty, 1 = /dev/console, 2 = /dev/ptmx */
#define PTS_NUMBER_MAX 0xffff /* of those that are made again; kernel.pty.max is 4096 */

/* object->live */
struct tty {
	dev_t device;             /* checkpoint */
	dev_t filesystem;         /* of a pty: its devpts */
	int fd;                   /* restart: the terminal that takes its place; -1 none yet */
	bool ours;                /* it is the slave of a new pty */
	bool made;                /* of one that tty_restore() has made */
	struct stub *leader;      /* whose session has taken it as its controlling terminal */
	uint32_t stands_for;      /* checkpoint: /dev/tty; the id of the terminal that it means */
	const struct task *first; /* checkpoint: that has it as its controlling terminal, or NULL */
	struct tty *alike;        /* checkpoint: another one of the same device, or NULL */
	bool foreground_set;
};

/* a new object->live without a descriptor; both 0 at restart */
struct tty *tty_new(dev_t filesystem, dev_t device);
/* whether it is the slave of a Unix98 pty */
bool tty_is_pts(dev_t device);

/* operations of the kind, see kind.h */
int tty_collect(struct checkpoint *c, struct task *task, struct error *err);
int tty_collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                           struct error *err);
int tty_judge(struct checkpoint *c, struct object *object, struct error *err);
int tty_before_clone(struct restart *r, struct stub *parent, struct stub *child, struct error *err);
int tty_install(struct restart *r, struct object *object, struct stub *stub, struct error *err);
int tty_commit(struct restart *r, struct object *object, struct stub *stub, struct error *err);
int tty_open(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
             struct error *err);

/* whose place the new pty takes: of those that --external does not supply, a session's own first */
const struct object *tty_heir(const struct restart *r);
