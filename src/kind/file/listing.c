/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Positions in directories. See listing.h. */
#include "kind/file/listing.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/restart.h"
#include "kind/file.h"
#include "kind/mount.h"
#include "kind/place.h"
#include "kind/regfile.h"
#include "regfile.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/listing.h"

/* a description of our own, by which reading leaves no trace where that can be had */
static int open_again(int fd, int flags)
{
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return open(link, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
}

static int refuse_position(const char *what, struct error *err)
{
	error_refuse(err, CODE_file_listing, "it is a directory that was read in part, and %s",
	             what);
	error_hint(err, "try again when the program has read it to its end");
	return -EOPNOTSUPP;
}

static int refuse_open(struct error *err)
{
	int errnum = errno;

	if (errnum != EACCES && errnum != EPERM)
		return error_raise(err, errnum, "open a directory again");
	error_refuse(err, CODE_capability,
	             "it is a directory that was read in part, and where it goes on cannot be "
	             "read: %s",
	             strerror(errnum));
	error_hint(err, "run stasis as root, or let the program read it to its end");
	return -EOPNOTSUPP;
}

/* an overlay merges anew whenever a directory is opened; on the others of ours nothing changes */
static bool is_made_anew(const RegfileState *of, uint32_t magic)
{
	return magic == OVERLAYFS_SUPER_MAGIC ||
	       (of->mount && (magic == TMPFS_MAGIC || magic == RAMFS_MAGIC));
}

/* something comes next, but what the kernel goes on with need not be what it would have been */
static int check_position(int fd, uint32_t magic, off_t position, struct error *err)
{
	_cleanup_(listing_done) struct listing l;
	int r = listing_read(fd, &l);

	if (r < 0)
		return error_raise(err, -r, "list a directory");
	if (listing_is_counted(magic) || (magic == OVERLAYFS_SUPER_MAGIC && listing_counts(&l)))
		return refuse_position("its file system does not tell where it goes on", err);
	if (listing_goes_down(&l) && !listing_has(&l, position))
		return refuse_position("the entry that it would have gone on with is gone", err);
	return 0;
}

int file_listing_note(struct checkpoint *c, int fd, const struct object *inode, FileState *s,
                      struct error *err)
{
	const RegfileState *of = inode->kind == &regfile_kind ? object_state(inode, RegfileState)
	                                                      : NULL;
	char name[NAME_MAX + 1];

	if (!s->position || !of || !S_ISDIR(of->mode) || of->name != REGFILE_STATE__NAME__HERE)
		return 0;
	uint32_t magic = mount_magic(c, fd);
	if (!is_made_anew(of, magic))
		return 0;
	_cleanup_(close_p) int again = open_again(fd, O_NOATIME);
	if (again < 0)
		return refuse_open(err);
	int more = listing_next(again, (off_t)s->position, name);
	if (more < 0)
		return error_raise(err, -more, "list a directory");
	int r = more ? check_position(again, magic, (off_t)s->position, err) : 0;
	if (r < 0)
		return error_trace(err, r);
	s->listing = xmalloc(sizeof(*s->listing));
	file_listing__init(s->listing);
	s->listing->next = bytes_of_text(name);
	return 0;
}

int file_listing_validate(const FileState *s, const struct object *inode, struct error *err)
{
	if (!s->listing)
		return 0;
	if (inode->kind != &regfile_kind || !S_ISDIR(object_state(inode, RegfileState)->mode) ||
	    !s->position)
		return error_raise(err, EBADMSG, "what is no directory is listed");
	if (s->listing->next.len > NAME_MAX || bytes_have_nul(&s->listing->next))
		return error_raise(err, EBADMSG, "a name of %zu bytes", s->listing->next.len);
	return 0;
}

/* where @wanted comes next: at the same position as before, if need be at another */
static int find_position(const FileState *s, int fd, const char *wanted, off_t *ret)
{
	char name[NAME_MAX + 1];

	*ret = (off_t)s->position;
	int r = listing_next(fd, *ret, name);
	return r >= 0 && !strcmp(name, wanted) ? 1 : listing_find(fd, wanted, ret);
}

int file_listing_seek(struct restart *r, const FileState *s, int fd, struct error *err)
{
	const RegfileState *of = object_state(objects_by_id(r->objects, s->object), RegfileState);
	_cleanup_(free_p) char *wanted = bytes_text(&s->listing->next);
	off_t position;

	_cleanup_(close_p) int again = open_again(fd, O_NOATIME);
	if (again < 0 && errno == EPERM)
		again = open_again(fd, 0);
	if (again < 0)
		return error_raise(err, errno, "open a directory again");
	int found = find_position(s, again, wanted, &position);
	if (found < 0)
		return error_raise(err, -found, "list a directory");
	if (!found && place_is_new(r, of->mount))
		return error_raise(err, ENOENT, "find the entry %s that it goes on with", wanted);
	if (!found) /* of the host's, where it was deleted meanwhile */
		position = (off_t)s->position;
	if (lseek(fd, position, SEEK_SET) != position)
		return error_raise(err, errno, "move it to position %lld", (long long)position);
	return 0;
}
