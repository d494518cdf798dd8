/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kind regfile: regular files and directories, and whatever an O_PATH descriptor refers to, by
 * path. They stand behind descriptors, mappings, exe, cwd and root links. Files that were deleted
 * travel in the image. regfile.c has the operations; the parts are in regfile/: collect
 * (checkpoint), contents (of deleted files), find (restart: files by path), make (restart: deleted
 * ones).
 */
#pragma once

#include "kind/kind.h"

extern const struct kind regfile_kind;

/*
 * checkpoint: that a task has this file open, or mapped, such that it will be opened with @flags,
 * open(2). @fd: our reference. Refused later (judge) where the file's attributes forbid it by now.
 */
void regfile_note_writer(struct object *object, const struct task *task, int fd, uint32_t flags,
                         const char *what);

struct proc_map;
/*
 * A file that was deleted, of which nobody has a descriptor that we may take: what a shared mapping
 * shows of it. Each of its mappings has to be told. *ret = NULL: it cannot be had like that.
 */
int regfile_seen_by(struct checkpoint *c, const struct task *task, const struct proc_map *map,
                    struct object **ret, struct error *err);
