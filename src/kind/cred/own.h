/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Credentials as /proc/PID/status and attr/ show them; what a restart starts from. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define CRED_GROUPS_MAX 12000 /* what fits into one list of calls (the kernel's limit: 65536) */

struct restart;
struct user_ns_data;

/* the credentials that the stubs inherit */
struct cred_base {
	uint32_t uid[4], gid[4]; /* real, effective, saved, fs */
	uint32_t *groups;        /* ascending, as the kernel keeps them; owned */
	size_t n_groups;
	uint64_t inheritable, permitted, bounding, ambient;
	uint32_t securebits;
	const struct user_ns_data *own_user; /* restart.h: where they have every capability */
};

/* the line "Groups:" of /proc/PID/status; *ret on the heap; -EBADMSG */
int cred_parse_groups(const char *status, uint32_t **ret, size_t *ret_n, struct error *err);
/* of this process, as the stubs of @r will have them; call before any namespace is entered */
int cred_base_read(const struct restart *r, struct cred_base *ret, struct error *err);
/* every capability that this kernel has: what a task has in a user namespace that it has entered */
uint64_t cred_all_capabilities(void);
/* /proc/thread-self/loginuid plus 1; 0 when it is not set or not there */
uint32_t cred_login_uid(const char *text);
/* a security module's label without a NUL or newline at its end: its length */
size_t cred_label_size(const char *text);
