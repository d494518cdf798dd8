/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the stream of content.h consists of; little-endian, as it lies in memory:
 *
 *   struct content_header
 *   { struct content_entry, name, target, data of a file, { struct content_xattr, name, value }...
 * }... struct content_entry of type CONTENT_END
 *
 * The first entry is the root, a directory without a name. A directory comes before what lies in
 * it, which refers to it by number: the root is 0, the next directory 1, and so on. What lies in it
 * comes in the order in which it is to be made, so that listings are as before. An inode with
 * several names is numbered when it first comes, from 1, and its other names are CONTENT_LINKs.
 *
 * Data of a file: { struct content_extent, padding, bytes }... in ascending order, extents with
 * CONTENT_UNWRITTEN, which nothing follows, and one of size 0 at the end. Large extents' bytes
 * begin at a multiple of CONTENT_ALIGN in the stream.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define CONTENT_MAGIC      "STASISfs"
#define CONTENT_VERSION    2u
#define CONTENT_ALIGN      4096u
#define CONTENT_ALIGN_FROM 65536u /* extents of at least so many bytes are aligned */
#define CONTENT_NAME_MAX   255u   /* NAME_MAX, XATTR_NAME_MAX */
#define CONTENT_TARGET_MAX 4095u  /* PATH_MAX with its NUL */
#define CONTENT_XATTR_MAX  65536u /* XATTR_SIZE_MAX */
#define CONTENT_XATTRS_MAX 65536u /* of one inode: XATTR_LIST_MAX, were names one byte long */

/* ioctl_iflags(2) that a tmpfs has: immutable, append-only, no dump, no atime */
#define CONTENT_ATTRIBUTES 0xf0u

enum content_type {
	CONTENT_END,
	CONTENT_FOLDER,
	CONTENT_FILE,
	CONTENT_SYMLINK,
	CONTENT_FIFO,
	CONTENT_CHARDEV,
	CONTENT_BLOCKDEV,
	CONTENT_SOCKET,
	CONTENT_LINK,
};

struct content_header {
	uint8_t magic[8];
	uint32_t version;
	uint32_t reserved; /* 0 */
};
static_assert(sizeof(struct content_header) == 16, "no padding");

/* fields that do not apply to the type are 0; of a CONTENT_LINK only folder, name, link do */
struct content_entry {
	uint32_t type;        /* enum content_type */
	uint32_t folder;      /* number of the directory that it lies in */
	uint32_t name_size;   /* bytes, 1 to CONTENT_NAME_MAX; the root: 0 */
	uint32_t target_size; /* symbolic links: bytes, 1 to CONTENT_TARGET_MAX */
	uint32_t n_xattrs;
	uint32_t mode; /* 07777 */
	uint32_t uid, gid;
	uint32_t major, minor; /* devices */
	uint32_t attributes;   /* CONTENT_ATTRIBUTES */
	uint32_t link;         /* number of an inode with several names; 0 = it has one */
	uint32_t atime_ns, mtime_ns;
	int64_t atime, mtime; /* seconds since the epoch */
	uint64_t size;        /* of a file */
};
static_assert(sizeof(struct content_entry) == 80, "no padding");

/*
 * In the size of an extent: it is to be allocated only, fallocate(2), so that no write fails for
 * want of space. It may lie beyond the end of the file, and over data.
 */
#define CONTENT_UNWRITTEN (1ull << 63)

struct content_extent {
	uint64_t offset, size; /* bytes */
};
static_assert(sizeof(struct content_extent) == 16, "no padding");

struct content_xattr {
	uint32_t name_size;  /* bytes, 1 to CONTENT_NAME_MAX */
	uint32_t value_size; /* bytes, up to CONTENT_XATTR_MAX */
};
static_assert(sizeof(struct content_xattr) == 8, "no padding");
