/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open file descriptions that could only be made at a moment long before their turn: kept until a
 * kind's open() is asked for one with their flags.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct opened {
	struct opened_file {
		uint32_t flags; /* open(2), without what belongs to descriptors */
		int fd;
	} * files;
	size_t n;
};

void opened_add(struct opened *o, uint32_t flags, int fd); /* takes @fd */
int opened_take(struct opened *o, uint32_t flags);         /* the caller's; -1: none */
void opened_done(struct opened *o);
