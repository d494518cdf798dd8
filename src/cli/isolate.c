/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The container's mounts. Everything is done by descriptors in the new mount namespace, where
 * nothing propagates out: the new root is attached over the old one, filled, and then takes its
 * place. No file or directory of the host is created.
 */
#include "cli/isolate.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cli/isolate_parts.h"
#include "host/features.h"
#include "mount/class.h"
#include "mount/table.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

enum { CAP_SYS_ADMIN_NUMBER = 21 };

static struct isolate_mount *push(struct isolate *isolate)
{
	return array_push(isolate->mounts, isolate->n_mounts);
}

bool isolate_add_tmpfs(struct isolate *isolate, const char *text)
{
	if (text[0] != '/')
		return false;
	push(isolate)->target = text;
	return true;
}

bool isolate_add_bind(struct isolate *isolate, const char *text)
{
	const char *target = strchr(text, ':');
	const char *end = target ? strchr(target + 1, ':') : NULL;

	if (!target || target == text || target[1] != '/' || (end && strcmp(end, ":ro")))
		return false;
	*push(isolate) = (struct isolate_mount){
		.source = xstrndup(text, (size_t)(target - text)),
		.target = end ? xstrndup(target + 1, (size_t)(end - target - 1)) : target + 1,
		.read_only = end != NULL,
	};
	return true;
}

uint64_t isolate_prepare(struct isolate *isolate)
{
	uint64_t flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;

	if (!isolate->active)
		return 0;
	isolate->user = !features_capability(CAP_SYS_ADMIN_NUMBER);
	isolate->uid = geteuid();
	isolate->gid = getegid();
	return isolate->user ? flags | CLONE_NEWUSER : flags;
}

/* ---- a user of the host is root inside ---- */

static int map_ids(const struct isolate *isolate, struct error *err)
{
	_cleanup_(free_p) char *users = xasprintf("0 %u 1\n", isolate->uid);
	_cleanup_(free_p) char *groups = xasprintf("0 %u 1\n", isolate->gid);
	int r = file_write("/proc/self/setgroups", err, "deny");

	if (r == 0)
		r = file_write("/proc/self/uid_map", err, "%s", users);
	if (r == 0)
		r = file_write("/proc/self/gid_map", err, "%s", groups);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- mounts by descriptor ---- */

static int open_root(const char *path, struct error *err)
{
	int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	return fd < 0 ? error_raise(err, errno, "bind %s", path) : fd;
}

/* a path of the container, whatever its symbolic links say; an O_PATH descriptor */
static int open_inside(int root, const char *path, struct error *err)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));

	if (fd >= 0)
		return fd;
	int r = error_raise(err, errno, "find the mount point %s in the container", path);
	error_hint(err, "make it first: run creates nothing on the host");
	return r;
}

/* the kernel says EINVAL to a directory on a file, and to a file on a directory */
static int refuse_mount(int mount, int point, const char *target, struct error *err)
{
	struct stat what, where;
	int r = error_raise(err, errno, "mount on %s", target);

	if (fstat(mount, &what) == 0 && fstat(point, &where) == 0 &&
	    S_ISDIR(what.st_mode) != S_ISDIR(where.st_mode))
		error_hint(err, "it must be %s directory, as what is mounted there",
		           S_ISDIR(what.st_mode) ? "a" : "no");
	return r;
}

static int attach(int mount, int root, const char *target, struct error *err)
{
	_cleanup_(close_p) int point = open_inside(root, target, err);

	if (point < 0)
		return error_trace(err, point);
	if (move_mount(mount, "", point, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return refuse_mount(mount, point, target, err);
	return 0;
}

int isolate_make_fs(const char *type, const char *options, unsigned attributes, struct error *err)
{
	_cleanup_(close_p) int context = fsopen(type, FSOPEN_CLOEXEC);
	_cleanup_(free_p) char *copy = xstrdup(options);
	char *state = NULL;

	if (context < 0)
		return error_raise(err, errno, "make a file system of type %s", type);
	fsconfig(context, FSCONFIG_SET_STRING, "source", type, 0);
	for (char *key = strtok_r(copy, ",", &state); key; key = strtok_r(NULL, ",", &state)) {
		char *value = strchr(key, '=');
		*value++ = 0;
		if (fsconfig(context, FSCONFIG_SET_STRING, key, value, 0) < 0)
			return error_raise(err, errno, "%s: option %s=%s", type, key, value);
	}
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return error_raise(err, errno, "make a file system of type %s", type);
	int fd = fsmount(context, FSMOUNT_CLOEXEC, attributes);
	return fd < 0 ? error_raise(err, errno, "mount a new %s", type) : fd;
}

static int mount_new(int root, const char *target, const char *type, const char *options,
                     unsigned attributes, struct error *err)
{
	_cleanup_(close_p) int fd = isolate_make_fs(type, options, attributes, err);
	int r = fd < 0 ? fd : attach(fd, root, target, err);

	return r < 0 ? error_trace(err, r) : 0;
}

static int mount_bind(int fd, int root, const struct isolate_mount *m, struct error *err)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

	if (m->read_only &&
	    mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return error_raise(err, errno, "make the bind of %s read-only", m->source);
	int r = attach(fd, root, m->target, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- /proc and /dev ---- */

/*
 * What the host has mounted there is of other namespaces. Where it cannot be taken away (locked,
 * user_namespaces(7)) the new one covers it. Relative to the new root.
 */
static void detach_host(const char *target)
{
	while (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
}

static int make_node(int dev, const char *name, unsigned minor_number, struct error *err)
{
	unsigned major_number = strcmp(name, "tty") ? 1 : 5;
	_cleanup_(free_p) char *host = xasprintf("/dev/%s", name);
	struct isolate_mount bind = { .source = host, .target = name };

	if (mknodat(dev, name, S_IFCHR | 0666, makedev(major_number, minor_number)) == 0)
		return fchmodat(dev, name, 0666, 0) < 0
		               ? error_raise(err, errno, "chmod /dev/%s", name)
		               : 0;
	/* a user may make none, and gets the host's */
	_cleanup_(close_p) int file = openat(dev, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
	if (file < 0)
		return error_raise(err, errno, "make /dev/%s", name);
	_cleanup_(close_p) int fd = open_root(host, err);
	int r = fd < 0 ? fd : mount_bind(fd, dev, &bind, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int fill_dev(int dev, struct error *err)
{
	static const struct {
		const char *name;
		unsigned minor_number;
	} nodes[] = { { "null", 3 }, { "zero", 5 },    { "full", 7 },
		      { "tty", 0 },  { "urandom", 9 }, { "random", 8 } };
	static const char *const links[][2] = { { "/proc/self/fd", "fd" },
		                                { "/proc/self/fd/0", "stdin" },
		                                { "/proc/self/fd/1", "stdout" },
		                                { "/proc/self/fd/2", "stderr" },
		                                { "pts/ptmx", "ptmx" } };

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		int r = make_node(dev, nodes[i].name, nodes[i].minor_number, err);
		if (r < 0)
			return error_trace(err, r);
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlinkat(links[i][0], dev, links[i][1]) < 0)
			return error_raise(err, errno, "make /dev/%s", links[i][1]);
	if (mkdirat(dev, "pts", 0755) < 0 || mkdirat(dev, "shm", 0755) < 0 ||
	    mkdirat(dev, "mqueue", 0755) < 0)
		return error_raise(err, errno, "make directories in /dev");
	return 0;
}

/* a root without the directory /dev does without */
static int mount_dev(int root, struct error *err)
{
	/* the group tty; a user namespace need not have it */
	const char *options = !features_initial_user_namespace() ? "ptmxmode=0666,mode=0620"
	                                                         : "ptmxmode=0666,mode=0620,gid=5";
	unsigned common = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;

	if (faccessat(root, "dev", F_OK, 0) < 0)
		return 0;
	detach_host("dev");
	_cleanup_(close_p) int dev = isolate_make_fs("tmpfs", "mode=0755", common, err);
	int r = dev < 0 ? dev : attach(dev, root, "dev", err);
	if (r == 0)
		r = fill_dev(dev, err);
	if (r == 0)
		r = mount_new(dev, "pts", "devpts", options, common, err);
	if (r == 0)
		r = mount_new(dev, "shm", "tmpfs", "mode=1777", common | MOUNT_ATTR_NODEV, err);
	if (r == 0)
		r = mount_new(dev, "mqueue", "mqueue", "", common | MOUNT_ATTR_NODEV, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int mount_proc(int root, struct error *err)
{
	detach_host("proc");
	int r = mount_new(root, "proc", "proc", "",
	                  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- the whole ---- */

static int mount_rest(const struct isolate *isolate, const int *sources, int root,
                      struct error *err)
{
	for (size_t i = 0; i < isolate->n_mounts; i++) {
		const struct isolate_mount *m = &isolate->mounts[i];
		int r = m->source ? mount_bind(sources[i], root, m, err)
		                  : mount_new(root, m->target, "tmpfs", "mode=1777",
		                              MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

/* the new root, with the working directory in it, takes the place of the old one */
static int pivot(struct error *err)
{
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return error_raise(err, errno, "pivot_root");
	/* both are on "/" now, and the old one is on top */
	if (umount2(".", MNT_DETACH) < 0)
		return error_raise(err, errno, "detach the old root");
	return 0;
}

bool isolate_in_memory(const struct mount_table *t, const struct mount_entry *e)
{
	enum mount_class class = mount_class_of_type(t->sbs[e->sb].type);

	return class == MOUNT_CONTENT || class == MOUNT_INSTANCE;
}

/*
 * What the host has in memory (tmpfs, terminals) would be shared with the container, and such a one
 * cannot be checkpointed as a whole: it is taken away, but for what --bind has brought in.
 */
static int leave_memory(struct error *err)
{
	_cleanup_(mount_table_done) struct mount_table t = { 0 };
	_cleanup_(close_p) int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int r = own < 0 ? error_raise(err, errno, "open the mount namespace")
	                : mount_table_add(&t, own, 0, NULL, err);

	/* the last first: what is above is taken before what is below */
	for (size_t i = r < 0 ? 0 : t.n_mounts; i-- > 0;)
		if (isolate_in_memory(&t, &t.mounts[i]) && strcmp(t.mounts[i].point, "/") != 0 &&
		    strcmp(t.mounts[i].point, "/proc") != 0)
			umount2(t.mounts[i].point, MNT_DETACH | UMOUNT_NOFOLLOW);
	return r < 0 ? error_trace(err, r) : 0;
}

static int make_mounts(const struct isolate *isolate, const int *sources, struct error *err)
{
	bool own = isolate->user && !isolate->root;
	_cleanup_(close_p) int root = own ? isolate_own_root(err)
	                                  : open_root(isolate->root ? isolate->root : "/", err);

	if (root < 0)
		return error_trace(err, root);
	if ((!own && move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0) ||
	    fchdir(root) < 0)
		return error_raise(err, errno, "attach %s as root",
		                   isolate->root ? isolate->root : "/");
	int r = mount_proc(root, err);
	if (r == 0)
		r = mount_dev(root, err);
	if (r == 0)
		r = mount_rest(isolate, sources, root, err);
	if (r == 0)
		r = pivot(err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* before the root changes, since the sources are paths of the host */
static int open_sources(const struct isolate *isolate, int *sources, struct error *err)
{
	for (size_t i = 0; i < isolate->n_mounts; i++) {
		if (!isolate->mounts[i].source)
			continue;
		sources[i] = open_root(isolate->mounts[i].source, err);
		if (sources[i] < 0)
			return error_trace(err, sources[i]);
	}
	return 0;
}

int isolate_enter(const struct isolate *isolate, struct error *err)
{
	_cleanup_(free_p) char *directory = getcwd(NULL, 0);
	_cleanup_(free_p) int *sources = xcalloc(isolate->n_mounts + 1, sizeof(*sources));

	int r = isolate->user ? map_ids(isolate, err) : 0;
	if (r == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		r = error_raise(err, errno, "make all mounts private");
	if (r == 0)
		r = open_sources(isolate, sources, err);
	if (r == 0 && !isolate->root && !isolate->user)
		r = leave_memory(err);
	if (r == 0)
		r = make_mounts(isolate, sources, err);
	if (r < 0)
		return error_trace(err, r);
	/* those that were bound are attached by now; exec closes them */
	if ((isolate->root || !directory || chdir(directory) < 0) && chdir("/") < 0)
		return error_raise(err, errno, "chdir /");
	return 0;
}
