/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the kind cred: what a checkpoint finds out (collect.c), and how a stub becomes who
 * its task was (commit.c).
 */
#pragma once

#include "cred.pb-c.h"
#include "kind/cred/own.h"
#include "kind/kind.h"

/* object->live */
struct cred_live {
	/* checkpoint: tasks that may not look at us, for Landlock or for their user */
	pid_t *to_ask;
	size_t n_to_ask;
	/* restart: what we have, and what a stub has that has entered its user namespace */
	struct cred_base base, inside;
	bool set_login; /* our loginuid was changed from... */
	uint32_t own_login;
};

/* object->live, made if need be */
struct cred_live *cred_live_of(struct object *object);

/* whether nothing needs to be set */
bool cred_ids_equal(const CredIds *ids, const uint32_t have[4]);
bool cred_groups_equal(const CredState *s, const struct cred_base *b);

/* operations of the kind, see kind.h */
int cred_collect(struct checkpoint *c, struct task *task, struct error *err);
int cred_judge(struct checkpoint *c, struct object *object, struct error *err);
int cred_commit(struct restart *r, struct object *object, struct stub *stub, struct error *err);
