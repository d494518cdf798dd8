/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of kind regfile know of each other. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "kind/kind.h"
#include "kind/regfile/names.h"
#include "kind/shmem/seen.h"
#include "regfile.pb-c.h"

#define REGFILE_ATTRIBUTES 0x008000f9u /* what ioctl_iflags(2) can set: s, S, i, a, d, A, C... */
#define REGFILE_LOCKED     0x00000030u /* of these i and a, which forbid the rest: set last */

/* object->live */
struct regfile {
	/* checkpoint */
	char *source; /* deleted: a /proc link through which its contents can be read; NULL: seen */
	struct shmem_seen seen;
	const struct task *writer; /* who has it open or mapped for what attributes forbid by now */
	char *written;             /* and by what; NULL: nobody */

	/* restart */
	int base;   /* what path is below: place_open() */
	char *path; /* where it was found; NULL before */
	dev_t device;
	ino_t inode;  /* of what was found there */
	int keep;     /* O_PATH: what was made, or found by handle; -1 none */
	int made;     /* the open file description of open(O_TMPFILE); -1 none */
	int contents; /* open for writing while the contents come; -1 otherwise */
	int ahead;    /* the contents, which came before there was a place for the file; -1 none */
	struct old_name name; /* open as long as other names are to be given to it: n_more */
	uint32_t n_more;
	struct opened opened; /* RegfileState.nofollow */
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
 * What it has besides its contents. Files and directories are opened for reading through @source,
 * which changes nothing of them. -EOPNOTSUPP: @err is a refusal.
 */
int regfile_collect_deleted(int live, const char *source, RegfileState *s, struct error *err);
bool regfile_is_unnamed(const RegfileState *s); /* by its name: of O_TMPFILE */
/* what of it only mappings show; and what comes with its file system, which others refer to as well
 */
int regfile_judge(struct checkpoint *c, struct object *object, struct error *err);
int regfile_judge_seen(struct checkpoint *c, struct object *object, struct error *err);
bool regfile_is_supported(uint32_t magic); /* of its file system */
int regfile_save_bulk(struct checkpoint *c, struct object *object, struct error *err);
uint64_t regfile_bulk_bytes(struct object *object);

/* restart */
int regfile_validate(const struct objects *objects, const struct object *object, struct error *err);
/* finds a file that should still be there; -EOPNOTSUPP: @err is a refusal */
int regfile_find(struct restart *r, struct object *object, struct error *err);
int regfile_look(struct restart *r, struct object *object, struct error *err);
/* pure: what @object's `same` means; NULL: it is not valid */
struct object *regfile_same(const struct objects *objects, const struct object *object);
/* opens what the handle of @s names, of the file system that @path below @base is on; -1 with
 * errno */
int regfile_open_handle(const RegfileState *s, int base, const char *path, int flags);
/* makes what was deleted, with all its contents; or hides a name again (LINKED, same) */
int regfile_make(struct restart *r, struct object *object, struct error *err);
/* times, and attributes that forbid changes */
int regfile_finish(struct restart *r, struct object *object, struct error *err);
int regfile_restore_bulk(struct restart *r, struct object *object, const struct page_block *block,
                         struct error *err);
int regfile_open(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                 struct error *err);
