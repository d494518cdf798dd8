/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New overlays. See overlay_make.h. */
#include "mount/overlay_make.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/helper.h"
#include "mount/overlay.h"
#include "mount/superblock.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define MOUNT_DATA_MAX 4095 /* of mount(2): a page, its last byte is 0 */

static bool has_bare_comma(const char *text)
{
	for (; *text; text++) {
		if (*text == ',')
			return true;
		if (*text == '\\' && text[1])
			text++;
	}
	return false;
}

/* before Linux 6.5 fsconfig(2) takes no commas for overlays, escaped or not */
static bool needs_mount(const struct mount_sb *sb)
{
	bool is_long = false, comma = false, bare = false;

	for (size_t i = 0; i < sb->n_options; i++) {
		is_long |= strlen(sb->options[i]) > OVERLAY_OPTION_MAX;
		comma |= strchr(sb->options[i], ',') != NULL;
		bare |= has_bare_comma(sb->options[i]);
	}
	return is_long || (comma && !bare);
}

static int join_options(const struct mount_sb *sb, char **ret, struct error *err)
{
	_cleanup_(free_p) char *data = xstrdup("");

	for (size_t i = 0; i < sb->n_options; i++) {
		if (has_bare_comma(sb->options[i]))
			return error_refuse(err, CODE_mount_overlay,
			                    "a long option of an overlay has a comma in it");
		char *longer = xasprintf("%s%s%s", data, i ? "," : "", sb->options[i]);
		free(data);
		data = longer;
	}
	if (strlen(data) > MOUNT_DATA_MAX)
		return error_refuse(err, CODE_mount_overlay,
		                    "the options of an overlay are %zu bytes, of which mount(2) "
		                    "takes %d",
		                    strlen(data), MOUNT_DATA_MAX);
	*ret = take_ptr(data);
	return 0;
}

/* by mount(2), which takes a page of options: below where we are, which is outside of the root */
static int make_long(const struct mount_sb *sb, const char *source, struct error *err)
{
	/* MS_* are the same numbers */
	uint32_t flags = sb->class == MOUNT_EXTERNAL ? sb->flags : sb->flags & ~MOUNT_SB_RDONLY;
	_cleanup_(free_p) char *data = NULL;
	int r = join_options(sb, &data, err);

	if (r < 0)
		return error_trace(err, r);
	if (mount(source, "x", "overlay", flags, data) < 0)
		return error_raise(err, errno, "make an overlay");
	int fd = open_tree(AT_FDCWD, "x", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	r = fd < 0 ? error_raise(err, errno, "use a new overlay") : fd;
	umount2("x", MNT_DETACH);
	return r;
}

int overlay_check_options(const struct mount_sb *sb, struct error *err)
{
	_cleanup_(free_p) char *data = NULL;
	int r = needs_mount(sb) ? join_options(sb, &data, err) : 0;

	return r < 0 ? error_trace(err, r) : 0;
}

int overlay_make(const struct mount_sb *sb, const char *source, struct error *err)
{
	int fd = -1;
	int r = needs_mount(sb) ? make_long(sb, source, err)
	                        : mount_superblock_make(sb, source, -1, -1, &fd, err);

	return r < 0 ? error_trace(err, r) : r > 0 ? r : fd;
}

/* ---- elsewhere ---- */

struct job {
	const struct mount_sb *sb;
	const char *source;
	int nsfd, owner;
	bool exclusive;
};

/* whether another overlay has a layer as its upper one, which the kernel tells who mounts with
 * index=on; that nothing comes of it, since a work directory that is not beside the upper one is
 * refused later (fs/overlayfs/super.c, ovl_get_upper() and ovl_get_workdir()) */
static bool is_in_use(const char *option)
{
	_cleanup_(free_p) char *data = xasprintf("lowerdir=x,%s,workdir=x,index=on", option);

	if (mount("overlay", "x", "overlay", 0, data) < 0)
		return errno == EBUSY;
	umount2("x", MNT_DETACH);
	return false;
}

static int check_upper(const struct mount_sb *sb, struct error *err)
{
	for (size_t i = 0; i < sb->n_options; i++)
		if (!strncmp(sb->options[i], "upperdir=", 9) && is_in_use(sb->options[i]))
			return error_raise(err, EBUSY, "use the upper layer of an overlay");
	return 0;
}

/* a tmpfs over our root directory, which we stay below: the working directory for overlay_make() */
static int make_place(struct error *err)
{
	const struct mount_sb tmpfs = { .type = (char *)"tmpfs", .class = MOUNT_INSTANCE };
	_cleanup_(close_p) int fd = -1;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_raise(err, errno, "make a copy of our mounts private");
	int r = mount_superblock_make(&tmpfs, "stasis", -1, -1, &fd, err);
	if (r < 0)
		return error_trace(err, r);
	if (move_mount(fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(fd) < 0 ||
	    mkdir("x", 0700) < 0)
		return error_raise(err, errno, "make a place to mount on");
	return 0;
}

static int make_there(void *arg, struct error *err)
{
	const struct job *job = arg;
	int r;

	if (setns(job->nsfd, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter our own mount namespace");
	if (job->owner >= 0)
		r = mount_superblock_become(job->owner, "overlay", err);
	else if (unshare(CLONE_NEWNS) < 0)
		r = error_raise(err, errno, "copy our own mount namespace");
	else
		r = 0;
	if (r == 0)
		r = make_place(err);
	if (r == 0 && job->exclusive)
		r = check_upper(job->sb, err);
	if (r == 0)
		r = overlay_make(job->sb, job->source, err);
	return r < 0 ? error_trace(err, r) : r;
}

int overlay_make_at(int nsfd, const struct mount_sb *sb, const char *source, int owner,
                    bool exclusive, struct error *err)
{
	struct job job = { sb, source, nsfd, owner, exclusive };
	int fd = helper_run(make_there, &job, 0, err);

	return fd < 0 ? error_trace(err, fd) : fd;
}
