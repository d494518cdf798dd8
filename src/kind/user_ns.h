/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User namespaces, user_namespaces(7): maps, owner, and which is in which. Ids are recorded as the
 * coordinator's namespace has them, everywhere; who must set them inside of another translates.
 */
#pragma once

#include "kind/kind.h"
#include "kind/user_ns/maps.h"

extern const struct kind user_ns_kind;

/**
 * user_ns_collect() - the object of the user namespace that @nsfd refers to, and all those above
 * @task:	for messages
 * @ret:	NULL: it is the coordinator's own
 * Refuses one that is not below the coordinator's.
 */
int user_ns_collect(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                    struct error *err);
/* the same for the owner of the namespace that @nsfd refers to */
int user_ns_collect_owner(struct checkpoint *c, const struct task *task, int nsfd,
                          struct object **ret, struct error *err);
/* that of a task, NULL: the coordinator's; and what it is. Both at checkpoint. */
struct object *user_ns_of(const struct task *task);
/* checkpoint: the one that owns the root's pid namespace; NULL: ours, or there is none */
const struct object *user_ns_of_container(const struct checkpoint *c);
/*
 * checkpoint: whether the root's pid namespace belongs to a user namespace which @ns (NULL: ours)
 * is neither, nor below: tasks are born in that one, and have no rights outside of it
 */
bool user_ns_out_of_reach(const struct checkpoint *c, const struct object *ns);
const struct user_ns_data *user_ns_data(const struct object *object);
/* checkpoint: the one above; NULL: ours */
const struct object *user_ns_above(const struct object *ns);

/* checkpoint: whether the namespace is @below or one above it; NULL: ours */
bool user_ns_is_above(const struct object *ns, const struct object *below);

/* an id of an image: 0, or a user namespace */
bool user_ns_valid_id(const struct objects *objects, uint32_t id);
/* whether the namespace is @above or one below it; ids of objects, 0: the coordinator's */
bool user_ns_is_below(const struct objects *objects, uint32_t id, uint32_t above);
/*
 * restart: who makes files in a file system must have a name in the user namespace that it belongs
 * to. This thread has one between begin and end, and keeps all its rights.
 * @owner:	0: ours, nothing is changed
 */
struct user_ns_author {
	bool other;
	int securebits;
};
int user_ns_author_begin(const struct restart *r, uint32_t owner, struct user_ns_author *ret,
                         struct error *err);
void user_ns_author_end(const struct user_ns_author *author);
/* restart: its descriptor, lent, from prepare() on; -1: ours */
int user_ns_fd(const struct restart *r, uint32_t id);
/* restart: what it is, from validated messages; NULL: ours */
const struct user_ns_data *user_ns_find(const struct objects *objects, uint32_t id);
