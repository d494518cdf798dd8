/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a directory that was read in part goes on. On a file system that is made anew its entries
 * have other positions; the entry that would have come next is looked for by its name.
 */
#pragma once

#include "file.pb-c.h"
#include "kind/kind.h"

/**
 * file_listing_note() - sets s->listing if the position needs it
 * @fd:		our reference, O_PATH or not, to what is open: of @inode
 * @s:		has the position
 * Nothing of the description or the directory is changed. -EOPNOTSUPP: @err is a refusal; other
 * errors: the directory cannot be read.
 */
int file_listing_note(struct checkpoint *c, int fd, const struct object *inode, FileState *s,
                      struct error *err);
/* pure: whether a record may have what it has of it */
int file_listing_validate(const FileState *s, const struct object *inode, struct error *err);
/* restart: moves @fd, just opened, there */
int file_listing_seek(struct restart *r, const FileState *s, int fd, struct error *err);
