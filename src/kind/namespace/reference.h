/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What refers to a namespace without being in it: a descriptor of a file of nsfs, or such a file
 * bound to another. A namespace that nothing but that keeps alive is of the set all the same.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

struct checkpoint;
struct object;
struct objects;
struct restart;
struct task;

/* CLONE_NEW*, and the inode of the file: together they are a namespace */
struct ns_reference {
	uint32_t type;
	uint64_t inode;
};

/* by the name of its link, "uts:[4026532211]"; false: that is none */
bool ns_reference_parse(const char *text, struct ns_reference *ret);

/**
 * ns_reference_collect() - for a kind's collect()
 * @fd:	of nsfs, open; adds the namespace to the set unless it is the coordinator's own
 * @task:	whose it is, for messages
 */
int ns_reference_collect(struct checkpoint *c, const struct task *task, int fd,
                         struct ns_reference *ret, struct error *err);
/*
 * for a kind's judge(), when all namespaces of the set are known: its object's id; 0: our own.
 * Refuses (namespace.reference) what is neither, and in a container what is outside of it.
 */
int ns_reference_judge(struct checkpoint *c, const struct ns_reference *ref, uint32_t *ret_id,
                       struct error *err);

/* checkpoint: the namespace of the set, other than of the network; NULL: it is none */
const struct object *ns_reference_find(const struct checkpoint *c, const struct ns_reference *ref);

/* pure: whether that id, or 0, can be a namespace of the type */
bool ns_reference_valid(const struct objects *objects, uint32_t type, uint32_t id);
/* restart: its file, the caller's; with errno -1 and ENOENT when it is not there yet */
int ns_reference_open(struct restart *r, uint32_t type, uint32_t id);
