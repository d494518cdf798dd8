/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the processes outside the set refer to, by inode, as /proc shows it: descriptors at once,
 * the rest when somebody asks for it. Only for holders.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "task/holders.h"
#include "task/kcmp.h"

struct map;
struct outside;
struct process;

#define N_NAMESPACE_TYPES 8
extern const char *const namespace_types[N_NAMESPACE_TYPES]; /* as in /proc/PID/ns */

struct inode_key {
	uint64_t dev, ino;
};

/* what the only file system of the processes of a user, FUSE, does not tell others */
static const struct inode_key UNKNOWN_INODE = { 0 };

struct reference {
	const struct process *process; /* not visible any more: what it held is read anew */
	struct holder holder;
	uint64_t dev;
	struct reference *next;
};

/* all references to one inode */
struct reference_group {
	struct reference *first, *last;
	bool sorted;
	struct kcmp_set files; /* its open file descriptions; value NULL: one of the set */
};

struct references {
	struct reference **all;
	size_t n;
	struct map *descriptors; /* struct inode_key -> struct reference_group; the caller's
	                            map_new() */
	struct map *others;      /* mappings, cwd, root, exe; NULL: not looked at yet */
	struct map *devices;     /* uint64_t dev -> struct reference, the first; NULL as well */
	struct map *namespaces[N_NAMESPACE_TYPES]; /* who is in them; NULL as well */
};

/* the descriptors of a process, and the namespaces it is in; false: it may not be looked at */
bool references_read(struct references *refs, const struct process *p);
/* the maps of the same names, made on first use */
struct map *references_others(struct references *refs, const struct outside *o);
struct map *references_devices(struct references *refs, const struct outside *o);
struct map *references_namespaces(struct references *refs, const struct outside *o, size_t type);
/* the number in "mnt:[4026531841]" of a thread; false when it cannot be read */
bool reference_namespace(pid_t pid, pid_t tid, size_t type, uint64_t *ret);
void references_done(struct references *refs);
