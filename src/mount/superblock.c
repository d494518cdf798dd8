/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New superblocks. See superblock.h. */
#include "mount/superblock.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/features.h"
#include "host/helper.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/uapi.h"

/* what a file system shows and does not take, or takes from us in another way */
static const char *const not_given[] = { "seclabel" };

static bool is_given(const char *option)
{
	for (size_t i = 0; i < sizeof(not_given) / sizeof(not_given[0]); i++)
		if (!strcmp(not_given[i], option))
			return false;
	return true;
}

/* a failure, with what the kernel has logged in the context: "e tmpfs: Bad value for 'size'" */
static int raise_logged(struct error *err, int errnum, int context, const char *type,
                        const char *what)
{
	char text[256];
	ssize_t n = read(context, text, sizeof(text) - 1);

	while (n > 0 && text[n - 1] == '\n')
		n--;
	text[n > 0 ? n : 0] = 0;
	return error_raise(err, errnum, "make a %s: %s%s%s", type, what, n > 2 ? ": " : "",
	                   n > 2 ? text + 2 : "");
}

/*
 * Limits come last, when what is only needed meanwhile has gone again (mount_superblock_seal).
 * Until then there is one, too, since there can be none later where there was none.
 */
static const struct limit {
	const char *name, *most;
} limits[] = { { "size", "1048576g" }, { "nr_inodes", "1000000000" } };

static const struct limit *find_limit(const struct mount_sb *sb, const char *name)
{
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (sb->class == MOUNT_CONTENT && !strcmp(limits[i].name, name))
			return &limits[i];
	return NULL;
}

static int set_option(int context, const struct mount_sb *sb, const char *option, struct error *err)
{
	_cleanup_(free_p) char *key = xstrdup(option);
	char *value = strchr(key, '=');
	int r;

	if (!is_given(option))
		return 0;
	if (value) {
		*value++ = 0;
		const struct limit *limit = find_limit(sb, key);
		r = fsconfig(context, FSCONFIG_SET_STRING, key, limit ? limit->most : value, 0);
	} else {
		r = fsconfig(context, FSCONFIG_SET_FLAG, key, NULL, 0);
	}
	return r < 0 ? raise_logged(err, errno, context, sb->type, option) : 0;
}

bool mount_superblock_is_shared(const struct mount_sb *sb)
{
	return sb->class == MOUNT_KEYED && (!sb->key || strcmp(sb->type, "mqueue") != 0);
}

static int set_flags(int context, const struct mount_sb *sb, struct error *err)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} flags[] = {
		{ MOUNT_SB_SYNCHRONOUS, "sync" },
		{ MOUNT_SB_DIRSYNC, "dirsync" },
		{ MOUNT_SB_LAZYTIME, "lazytime" },
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (sb->flags & flags[i].flag &&
		    fsconfig(context, FSCONFIG_SET_FLAG, flags[i].name, NULL, 0) < 0)
			return raise_logged(err, errno, context, sb->type, flags[i].name);
	/* the kernel gives it to a new one only; and what is the host's is sealed by nobody */
	if ((mount_superblock_is_shared(sb) || sb->class == MOUNT_EXTERNAL) &&
	    sb->flags & MOUNT_SB_RDONLY && fsconfig(context, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0)
		return raise_logged(err, errno, context, sb->type, "ro");
	return 0;
}

/* content is never to land in a superblock that others have: one of our own, where it can be asked
 * for */
static int create(int context, const struct mount_sb *sb, struct error *err)
{
	if (sb->class == MOUNT_CONTENT) {
		if (fsconfig(context, FSCONFIG_CMD_CREATE_EXCL_NR, NULL, NULL, 0) == 0)
			return 0;
		if (errno == EBUSY)
			return error_refuse(err, CODE_mount_exclusive,
			                    "a new %s is one that others have mounted", sb->type);
		if (errno != EINVAL && errno != EOPNOTSUPP)
			return raise_logged(err, errno, context, sb->type, "create");
	}
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return raise_logged(err, errno, context, sb->type, "create");
	return 0;
}

static int make_here(const struct mount_sb *sb, const char *source, int pidns, struct error *err)
{
	_cleanup_(free_p) char *type = sb->subtype ? xasprintf("%s.%s", sb->type, sb->subtype)
	                                           : xstrdup(sb->type);
	_cleanup_(close_p) int context = fsopen(type, FSOPEN_CLOEXEC);
	int r = 0;

	if (context < 0)
		return error_raise(err, errno, "make a file system of type %s", type);
	if (fsconfig(context, FSCONFIG_SET_STRING, "source", source, 0) < 0)
		return raise_logged(err, errno, context, sb->type, "source");
	if (pidns >= 0 && fsconfig(context, FSCONFIG_SET_FD, "pidns", NULL, pidns) < 0)
		return raise_logged(err, errno, context, sb->type, "pidns");
	for (size_t i = 0; r == 0 && i < sb->n_options; i++)
		r = set_option(context, sb, sb->options[i], err);
	if (r == 0)
		r = set_flags(context, sb, err);
	if (r == 0)
		r = create(context, sb, err);
	if (r < 0)
		return error_trace(err, r);
	int fd = fsmount(context, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? raise_logged(err, errno, context, sb->type, "mount") : fd;
}

/* ---- in the namespace that it belongs to ---- */

struct job {
	const struct mount_sb *sb;
	const char *source;
	int key, owner;
};

static int make_own(void *arg, struct error *err)
{
	const struct job *job = arg;
	int fd = make_here(job->sb, job->source, -1, err);

	return fd < 0 ? error_trace(err, fd) : fd;
}

static int make_inside(void *arg, struct error *err)
{
	const struct job *job = arg;
	int r;

	if (setns(job->key, 0) < 0)
		return error_raise(err, errno, "enter the namespace of a %s", job->sb->type);
	/* who enters a pid namespace stays outside: his children are in it */
	r = strcmp(job->sb->type, "proc") ? make_own(arg, err)
	                                  : helper_run_here(make_own, arg, err);
	return r < 0 ? error_trace(err, r) : r;
}

/* as its root, if it has one: the root directory is his */
int mount_superblock_become(int owner, const char *type, struct error *err)
{
	if (setns(owner, CLONE_NEWUSER) < 0 || unshare(CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter the user namespace of a %s", type);
	if (syscall(SYS_setresgid, 0, 0, 0) == 0)
		syscall(SYS_setresuid, 0, 0, 0);
	return 0;
}

static int make_owned(void *arg, struct error *err)
{
	const struct job *job = arg;
	int r = mount_superblock_become(job->owner, job->sb->type, err);

	if (r == 0)
		r = make_here(job->sb, job->source, -1, err);
	return r < 0 ? error_trace(err, r) : r;
}

int mount_superblock_make(const struct mount_sb *sb, const char *source, int key, int owner,
                          int *ret_fd, struct error *err)
{
	struct job job = { sb, source, key, owner };
	int fd;

	if (owner >= 0 && key < 0)
		fd = helper_run(make_owned, &job, 0, err);
	else if (key < 0)
		fd = make_here(sb, source, -1, err);
	else if (!strcmp(sb->type, "proc") && feature(FEATURE_proc_pidns))
		fd = make_here(sb, source, key, err);
	else
		fd = helper_run_here(make_inside, &job, err);
	if (fd < 0)
		return error_trace(err, fd);
	*ret_fd = fd;
	return 0;
}

/* 1: there is one */
static int set_limits(const struct mount_sb *sb, int context)
{
	int found = 0;

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		const char *value = mount_sb_option(sb, limits[i].name);
		if (!value || !find_limit(sb, limits[i].name))
			continue;
		found = 1;
		if (context >= 0 &&
		    fsconfig(context, FSCONFIG_SET_STRING, limits[i].name, value, 0) < 0)
			return -1;
	}
	return found;
}

int mount_superblock_seal(const struct mount_sb *sb, int fd, struct error *err)
{
	bool read_only = sb->flags & MOUNT_SB_RDONLY;

	if (!read_only && !set_limits(sb, -1))
		return 0;
	_cleanup_(close_p) int context = fspick(fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
	if (context < 0)
		return error_raise(err, errno, "limit a %s, or make it read-only", sb->type);
	if (set_limits(sb, context) < 0 ||
	    (read_only && fsconfig(context, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0) ||
	    fsconfig(context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		return raise_logged(err, errno, context, sb->type,
		                    "limit it, or make it read-only");
	return 0;
}
