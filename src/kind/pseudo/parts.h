/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the kind pseudo: plain.c is the table, collect.c the checkpoint. */
#pragma once

#include "kind/kind.h"
#include "pseudo.pb-c.h"

/* what a file is to whoever has it open; 0: every open file description of it is like another */
enum {
	PLAIN_TO_READ = 1, /* unless it was opened for writing */
	PLAIN_RIGHTS = 2,  /* it remembers what its opener might do */
	PLAIN_WRITTEN = 4, /* the same, but for writing only */
	PLAIN_MEMORY = 8,  /* it belongs to the memory that the task had when it was opened */
	PLAIN_MOUNTS = 16, /* poll(2) tells once of a change of the mounts */
	PLAIN_NAMES = 32,  /* the same of the host's or domain's name */
	PLAIN_NEVER = 128, /* nor can its name be opened: it may not be there yet */
	PLAIN_NOT = 64     /* there is more behind it, or it is not known */
};

struct pseudo_fs {
	const char *name;
	unsigned (*file)(const char *path); /* PLAIN_*; NULL: only directories */
	uint32_t magic;
	bool notifies; /* poll(2) tells of changes without forgetting them: fs/kernfs */
};

const struct pseudo_fs *pseudo_fs(uint32_t magic); /* NULL: it is none */
/* how many bytes of a path of a proc name the directory of a task; *ret: its number. 0: none */
size_t pseudo_task(const char *path, pid_t *ret);

bool pseudo_claims(const struct descriptor *d);
/* whether poll(2) says that a file of @fs has changed since it was last read */
bool pseudo_has_news(const struct pseudo_fs *fs, int fd);
