/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Credentials of threads, credentials(7), capabilities(7). */
#pragma once

#include "kind/kind.h"

extern const struct kind cred_kind;

/* checkpoint: whether a task can have that user id, in its user namespace, when it is made */
bool cred_may_be_named(const struct task *task, uint32_t uid);
/* the real and effective user id that a stub has until its credentials are committed */
void cred_of_stub(const struct stub *stub, uint32_t ret[2]);
/* restart: the user and group id that one has whom nobody has waited for yet: adds the calls */
int cred_of_dead(const struct restart *r, struct stub *stub, uint32_t uid, uint32_t gid,
                 struct error *err);
/* an id as the user namespace that a stub is in calls it; UINT32_MAX: it has no name there */
uint32_t cred_name(const struct restart *r, const struct stub *stub, uint32_t uid);
/* another user id, of those that have a name there, as it is called; UINT32_MAX: there is none */
uint32_t cred_other_name(const struct restart *r, const struct stub *stub, uint32_t uid);
/*
 * Restart, before a stub enters the user namespace that its credentials are of: gives it their user
 * and group ids, of which the namespace need not have names, and lets it keep its capabilities.
 */
int cred_assume(struct restart *r, struct stub *stub, struct error *err);
/* the same of the calling process, a helper that is going to clone @stub */
int cred_become(const struct stub *stub, struct error *err);
