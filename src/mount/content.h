/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contents of a tmpfs or ramfs as one stream of bytes, and back into an empty one: directories,
 * files with their holes, symbolic links, FIFOs, device nodes, sockets (as nodes), hard links,
 * owners, modes, times in nanoseconds, extended attributes (ACLs and file capabilities are such),
 * attributes of chattr(1). Names are bytes. Not kept, since nobody can give them: inode numbers,
 * change and birth times; and before Linux 6.5 (cachestat(2)) which pages of a file with holes, or
 * beyond its end, are allocated without having been written.
 *
 * The format is ours (content_format.h) and not a pax archive, because pax cannot carry it all:
 * it has no sockets; libarchive's reader refuses more than 1 MiB of extended attributes per
 * inode, and recodes names by locale; and a path per entry makes deep trees quadratic, where a
 * directory's number does not. What is left of such a library would be its parser, as root, in
 * front of a hostile image.
 *
 * All work with the file system is done by the calling thread, through descriptors beneath the
 * given one: openat2(2) with RESOLVE_BENEATH, NO_SYMLINKS, NO_XDEV and NO_MAGICLINKS. /proc must be
 * there: attributes of what cannot be opened go through /proc/self/fd.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/bytes.h"
#include "util/error.h"

struct map;

struct content_totals {
	uint64_t n_inodes; /* the root directory included */
	uint64_t bytes;    /* of file data, holes not counted */
};

/* an inode, one name of which is asked for */
struct content_wanted {
	uint64_t inode;
	char *path; /* from the root of what is saved, absolute; the caller's; NULL: not seen */
};

struct content_request {
	struct content_wanted *wanted; /* looked for meanwhile; found ones keep their path */
	size_t n_wanted;
	/*
	 * Inodes with several names, by number: the part of the file system that they have been
	 * found in, which is saved by itself. NULL: this is all of it.
	 */
	struct map *linked;
	uintptr_t part; /* this one, from 1 */
	int owner; /* the user namespace whose it is, if only its owner may open all; -1 none */
	/* what is mounted on stays so: what is below is nobody's to see, and comes empty */
	bool covered;
	/* whether a socket that is bound to this inode may be left behind; NULL: none may */
	bool (*leaves)(void *context, uint64_t inode);
	/* of a survey: each refusal */
	void (*refused)(void *context, const struct error *refusal);
	void *context;
};

/**
 * content_save() - read all of a file system
 * @root:	a directory, O_PATH or not, of a mount that covers all and has none on it
 * @sink:	NULL for a survey: no data is read and nothing written, but all that would be
 *		refused is found, not only the first of it; others may be changing the file system
 * @request:	may be NULL
 * @ret:	may be NULL
 *
 * Nobody may be changing it meanwhile, but for a survey. -EOPNOTSUPP: @err is a
 * refusal (content.*). Reading a symbolic link sets its access time, so let the mount be noatime;
 * nothing else is changed.
 */
int content_save(int root, const struct byte_sink *sink, const struct content_request *request,
                 struct content_totals *ret, struct error *err);

/* an inode by itself: what lies in it, if it is a directory, does not come along */
struct content_inode {
	int fd;             /* O_PATH or not */
	const char *target; /* not NULL: a symbolic link with this target is written instead */
};

/* the same of single inodes: a stream whose root has them as "1", "2"... */
int content_save_inodes(const struct content_inode *inodes, size_t n, const struct byte_sink *sink,
                        const struct content_request *request, struct error *err);

struct content;

/**
 * content_restore() - make all that content_save() has written in an empty file system
 * @root:	the root directory of a mount that nobody else uses yet
 * @source:	hostile; is read to its end
 * @ret:	what content_settle() needs; content_free() it. Set on failure too, or NULL.
 * The calling thread does it with the fsuid of @root's owner, so that the file system may belong to
 * another user namespace.
 */
int content_restore(int root, const struct byte_source *source, struct content **ret,
                    struct error *err);
/*
 * The same for content_save_inodes(), in a directory of the caller's, which stays whose it is: the
 * stream knows nobody whom the file system's user namespace knows for certain.
 */
int content_restore_inodes(int folder, const struct byte_source *source, struct content **ret,
                           struct error *err);

/*
 * Before what content_restore_inodes() has made loses its names: what content_settle() could not
 * find any more is done or kept open. Nothing for the contents of a file system.
 */
int content_hold(struct content *c, struct error *err);
/**
 * content_settle() - what changes in directories would undo or be stopped by
 * Times and default ACLs of directories, immutable and append-only attributes. When nothing is
 * going to be made or deleted in the file system any more.
 */
int content_settle(struct content *c, struct error *err);
const struct content_totals *content_totals(const struct content *c);
void content_free(struct content *c); /* takes NULL */
