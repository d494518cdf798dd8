/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * External objects: what the user says stays outside the set. At checkpoint KEY=NAME, where KEY is
 * exactly what the leak's hint prints (`pipe:[INO]`, `tty:[DEV]`, `file:[DEV:INO]`, `eventfd:[ID]`,
 * `mount:[/PATH]` or `mount:[ID]`); at restart NAME=fd:N or NAME=PATH. NAME is [A-Za-z0-9_.-]+, or
 * at restart mount:[/PATH], of a mount of the host's that the checkpoint gave no name.
 */
#pragma once

#include <stdbool.h>

#include "util/error.h"

struct externals;

struct externals *externals_new(void);
void externals_free(struct externals *e); /* takes NULL */
/* parses one --external argument; -EINVAL on bad grammar or a duplicate */
int externals_add_key(struct externals *e, const char *argument, struct error *err); /* KEY=NAME */
int externals_add_supply(struct externals *e, const char *argument,
                         struct error *err); /* NAME=... */
/* checkpoint: the name for a key, marking it used; NULL when it was not declared */
const char *externals_name(struct externals *e, const char *key);
/* checkpoint: what begins so may be used yet, when it is too late to refuse those that are not */
void externals_expect(struct externals *e, const char *prefix);
/* checkpoint: a declared key that nothing used, NULL if none: an error, the user mistyped */
const char *externals_unused(const struct externals *e);
/* restart: whether the user has supplied it */
bool externals_supplied(const struct externals *e, const char *name);
/* restart: a supplied name that nothing used, NULL if none */
const char *externals_unused_name(const struct externals *e);
/*
 * restart, preflight: is what was supplied for this name there? Marks it used and opens nothing;
 * @ret may be NULL. -EOPNOTSUPP external.missing when it is not.
 */
struct stat;
int externals_check(struct externals *e, const char *name, struct stat *ret, struct error *err);
/*
 * restart: a new descriptor for a name (F_DUPFD_CLOEXEC of fd:N, or open(2) of PATH with @flags);
 * -ENOENT external.missing when it was not supplied
 */
int externals_open(struct externals *e, const char *name, int flags, int *ret_fd,
                   struct error *err);
/* the same where a socket was supplied: fd:N is connected, what listens at PATH will be */
int externals_connect(struct externals *e, const char *name, int *ret_fd, struct error *err);
