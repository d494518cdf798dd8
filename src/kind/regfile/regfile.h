/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of kind regfile know of each other. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "kind/kind.h"
#include "regfile.pb-c.h"

#define REGFILE_ATTRIBUTES 0x008000c9u /* what ioctl_iflags(2) can set: s, S, d, A, C, c... */

/* object->live */
struct regfile {
	/* checkpoint */
	char *source; /* deleted: a /proc link through which its contents can be read */

	/* restart */
	int base;   /* what path is below: place_open() */
	char *path; /* where it was found; NULL before */
	dev_t device;
	ino_t inode;  /* of what was found there */
	int keep;     /* O_PATH: what was made, or found by handle; -1 none */
	int made;     /* the open file description of open(O_TMPFILE); -1 none */
	int contents; /* open for writing while the contents come; -1 otherwise */
};

struct regfile *regfile_live(struct object *object); /* made on first use */
char *regfile_path(const RegfileState *s);           /* as a string; the caller frees it */

static inline bool regfile_is_empty(const ProtobufCBinaryData *bytes)
{
	return bytes->len == 0;
}

/* checkpoint */
bool regfile_claims(const struct descriptor *d);
int regfile_collect_descriptor(struct checkpoint *c, const struct descriptor *d,
                               struct object **ret, struct error *err);
/*
 * What a deleted file has besides its contents. Opens it for reading through @source, which
 * changes nothing of it. -EOPNOTSUPP: @err is a refusal.
 */
int regfile_collect_deleted(int live, const char *source, RegfileState *s, struct error *err);
int regfile_save_bulk(struct checkpoint *c, struct object *object, struct error *err);
uint64_t regfile_bulk_bytes(struct object *object);

/* restart */
int regfile_validate(const struct objects *objects, const struct object *object, struct error *err);
/* finds a file that should still be there; -EOPNOTSUPP: @err is a refusal */
int regfile_find(struct restart *r, struct object *object, struct error *err);
int regfile_look(struct restart *r, struct object *object, struct error *err);
/* opens what the handle of @s names, of the file system that @path below @base is on; -1 with
 * errno */
int regfile_open_handle(const RegfileState *s, int base, const char *path, int flags);
/* makes a deleted file with all its contents, or directory; or hides a name again (LINKED) */
int regfile_make(struct restart *r, struct object *object, struct error *err);
int regfile_restore_bulk(struct restart *r, struct object *object, const struct page_block *block,
                         struct error *err);
int regfile_open(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                 struct error *err);
