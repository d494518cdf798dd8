/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What clocks show in a time namespace, and by which offsets they do: time_namespaces(7). */
#pragma once

#include <stdint.h>
#include <time.h>

#include "util/error.h"

struct offset {
	long long s, ns; /* ns from 0 to 1e9 */
};

/* from the clocks of the initial namespace */
struct offsets {
	struct offset monotonic, boottime;
};

/* our own, at one moment */
struct clocks {
	struct offsets own;
	struct timespec monotonic, boottime;
};

int clocks_read(struct clocks *ret, struct error *err);
/* what they show at that moment in a namespace with these offsets, in ns */
void clocks_there(const struct clocks *c, const struct offsets *there, uint64_t *ret_monotonic,
                  uint64_t *ret_boottime);
/* the offsets with which they show that */
struct offsets clocks_offsets(const struct clocks *c, uint64_t monotonic, uint64_t boottime);

/* @path: timens_offsets of a process, of the namespace that it has for its children */
int offsets_read(const char *path, struct offsets *ret, struct error *err);
int offsets_write(const char *path, const struct offsets *o, struct error *err);
/*
 * of a namespace. What has been entered is frozen, which makes no difference if nobody can set it
 * any more.
 */
int offsets_ask(int nsfd, struct offsets *ret, struct error *err);
