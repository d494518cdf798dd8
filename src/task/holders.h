/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who outside the set holds an object: leaks. One pass over the descriptors of all processes in
 * /proc, made on first use and kept in c->holders; further passes only for what asks for them
 * (mappings, cwd, root and exe links; namespaces of a type). The set itself, the
 * coordinator and its children (the tracer) are not counted.
 *
 * What cannot be seen: processes that the caller may not trace, or of a pid namespace that is not
 * below ours, and descriptors that nobody has in a table (in flight over a unix socket).
 */
#pragma once

#include <sys/types.h>

#include "util/error.h"

struct checkpoint;
struct descriptor;
struct holders;
struct task;

struct holder {
	pid_t pid; /* the process */
	pid_t tid; /* the thread whose descriptor table it is, mostly the same */
	int fd;    /* -1 when it is no descriptor */
	char comm[20];
	char what[24]; /* "fd 9", "mapping", "cwd", "root", "exe", "net namespace" */
};

/*
 * To be called before the set is frozen: looks already, if it seems that somebody will ask. What
 * has changed until then is looked at again by the first who asks.
 */
void holders_look_ahead(struct checkpoint *c);
/**
 * holders_find_open() - who has a descriptor of an inode: a pipe, say
 * @ret:	the first holder found; owned by c->holders
 * Returns 1 if there is one, 0 if not, or an error.
 */
int holders_find_open(struct checkpoint *c, dev_t dev, ino_t ino, const struct holder **ret,
                      struct error *err);
/* the same, and shared or deleted mappings, cwd, root and exe links */
int holders_find(struct checkpoint *c, dev_t dev, ino_t ino, const struct holder **ret,
                 struct error *err);
/* the same for all inodes of a file system */
int holders_find_on(struct checkpoint *c, dev_t dev, const struct holder **ret, struct error *err);
/* the same for "mnt:[4026531841]": descriptors, and who is in it */
int holders_find_namespace(struct checkpoint *c, const char *link, const struct holder **ret,
                           struct error *err);
/*
 * Who holds the very same open file description as descriptor @d (kcmp): inherited by fork, or sent
 * over a socket.
 */
int holders_find_file(struct checkpoint *c, const struct descriptor *d, const struct holder **ret,
                      struct error *err);

/**
 * refuse_leak() - refuse() an object that something outside the set holds as well
 * @task:	a task of the set that refers to it
 * @object:	text: "pipe:[7]"
 * @key:	what `--external KEY=NAME` would lift the refusal; NULL if nothing would
 */
void refuse_leak(struct checkpoint *c, const struct task *task, const char *object, const char *key,
                 const struct holder *holder);

void holders_free(struct holders *holders); /* takes NULL */
