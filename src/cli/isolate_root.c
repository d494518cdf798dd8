/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A user's container on the host's root. The mounts that it was copied with are locked together
 * (user_namespaces(7)): none can be taken away, none cloned without what is on it. So its root is a
 * new tmpfs, where every directory of the host that has nothing mounted below is bound by itself;
 * what the host has in memory is left out.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/isolate.h"
#include "cli/isolate_parts.h"
#include "util/alloc.h"
#include "util/cleanup.h"

/* one directory entry: in the host's directory and in the new one */
struct place {
	const struct mount_table *t;
	int old, new;
	const char *path; /* of the host */
	const char *name;
};

static bool is_mounted_below(const struct mount_table *t, const char *path)
{
	for (size_t i = 0; i < t->n_mounts; i++) {
		const char *below = mount_below(t->mounts[i].point, path);
		if (below && *below)
			return true;
	}
	return false;
}

static bool is_in_memory(const struct mount_table *t, const char *path)
{
	for (size_t i = 0; i < t->n_mounts; i++)
		if (!strcmp(t->mounts[i].point, path) && isolate_in_memory(t, &t->mounts[i]))
			return true;
	return false;
}

static int make_link(const struct place *p, struct error *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(p->old, p->name, target, sizeof(target) - 1);

	if (n < 0)
		return error_raise(err, errno, "read the link %s", p->path);
	target[n] = 0;
	return symlinkat(target, p->new, p->name) < 0
	               ? error_raise(err, errno, "make the link %s", p->path)
	               : 0;
}

static int bind_entry(const struct place *p, struct error *err)
{
	_cleanup_(close_p) int fd = open_tree(
		p->old, p->name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);

	if (fd < 0 || move_mount(fd, "", p->new, p->name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_raise(err, errno, "bind %s", p->path);
	return 0;
}

static int make_entries(const struct mount_table *t, int old, int new, const char *path,
                        struct error *err);

/* with each of its entries; of what may not be read, nothing is there */
static int make_directory(const struct place *p, struct error *err)
{
	_cleanup_(close_p) int old = openat(p->old, p->name,
	                                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_(close_p) int new = openat(p->new, p->name, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (old < 0 && errno == EACCES)
		return 0;
	if (old < 0 || new < 0)
		return error_raise(err, errno, "open %s", p->path);
	int r = make_entries(p->t, old, new, p->path, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int make_entry(const struct place *p, struct error *err)
{
	struct stat st;
	int r = 0;

	if (fstatat(p->old, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : error_raise(err, errno, "look at %s", p->path);
	if (S_ISLNK(st.st_mode))
		return make_link(p, err);
	if (S_ISDIR(st.st_mode))
		r = mkdirat(p->new, p->name, st.st_mode & 0777);
	else
		r = mknodat(p->new, p->name, S_IFREG | 0444, 0);
	if (r < 0)
		return error_raise(err, errno, "make the mount point %s", p->path);
	if (is_in_memory(p->t, p->path))
		return 0;
	return S_ISDIR(st.st_mode) && is_mounted_below(p->t, p->path) ? make_directory(p, err)
	                                                              : bind_entry(p, err);
}

static int make_entries(const struct mount_table *t, int old, int new, const char *path,
                        struct error *err)
{
	int fd = openat(old, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closedir_p) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int r = dir ? 0 : error_raise(err, errno, "read %s", path);

	for (struct dirent *e; r == 0 && (e = readdir(dir));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		_cleanup_(free_p) char *name = xasprintf("%s/%s", path, e->d_name);
		r = make_entry(&(struct place){ t, old, new, name, e->d_name }, err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

int isolate_own_root(struct error *err)
{
	_cleanup_(mount_table_done) struct mount_table t = { 0 };
	_cleanup_(close_p) int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	_cleanup_(close_p) int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(close_p) int new = isolate_make_fs("tmpfs", "mode=0755", 0, err);

	if (new < 0)
		return error_trace(err, new);
	if (own < 0 || old < 0)
		return error_raise(err, errno, "open the root");
	int r = mount_table_add(&t, own, 0, NULL, err);
	if (r == 0 && move_mount(new, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = error_raise(err, errno, "attach the new root");
	if (r == 0)
		r = make_entries(&t, old, new, "", err);
	return r < 0 ? error_trace(err, r) : take_fd(&new);
}
