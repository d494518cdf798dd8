/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stasis run --isolate: a small container, made of namespaces and mounts and nothing else. The
 * program is pid 1 of it. As root it is no boundary of security: root in it is root.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

/* one --tmpfs or --bind, in the order given; pointers into argv's words, or copies of them */
struct isolate_mount {
	const char *source; /* NULL: a new tmpfs */
	const char *target; /* absolute, as the container sees it */
	bool read_only;
};

struct isolate {
	bool active;
	const char *root; /* NULL: the host's */
	struct isolate_mount *mounts;
	size_t n_mounts;
	bool user; /* see isolate_prepare(): a user namespace is needed, in which these are root */
	uid_t uid;
	gid_t gid;
};

/* appends what "DIR" or "SRC:DST[:ro]" says; false when it says nothing that can be */
bool isolate_add_tmpfs(struct isolate *isolate, const char *text);
bool isolate_add_bind(struct isolate *isolate, const char *text);

/*
 * Before the clone. Returns CLONE_NEW* for the child that is to be pid 1: CLONE_NEWUSER is among
 * them without privileges; 0 when there is nothing to isolate.
 */
uint64_t isolate_prepare(struct isolate *isolate);

/**
 * isolate_enter() - make the container around the caller
 * The caller is the child that isolate_prepare() asked for, with its ids unmapped. Afterwards its
 * root, /proc, /dev and mounts are the container's; the working directory is the same path, or "/".
 */
int isolate_enter(const struct isolate *isolate, struct error *err);
