/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: which mount, and what of it, a descriptor is on; what is known of file systems. */
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/mnt_ns.h"
#include "kind/mount.h"
#include "kind/mounts/parts.h"
#include "kind/namespace/ns.h"
#include "kind/superblock.h"
#include "mount/reach.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/still.h"

#define DELETED " (deleted)"

/* where it is, as the kernel shows it from the root of whatever namespace: of an O_PATH copy */
static int read_link(int fd, char *text, size_t size, struct error *err)
{
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, text, size - 1);
	if (n <= 0 || (size_t)n >= size - 1)
		return error_raise(err, n < 0 ? errno : ENAMETOOLONG, "read %s", link);
	text[n] = 0;
	return 0;
}

static bool leads_to(int root, const char *path, int fd)
{
	_cleanup_(close_p) int there = mount_open_below(root, path, O_PATH | O_NOFOLLOW);
	struct stat a, b;

	return there >= 0 && still_fstat(there, &a) == 0 && still_fstat(fd, &b) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* cuts " (deleted)" off, unless that is how a name ends */
static int cut_deleted(struct checkpoint *c, struct object *mount, char *below, int fd, bool *ret,
                       struct error *err)
{
	size_t size = strlen(below), cut = strlen(DELETED);
	int root, r;

	*ret = false;
	if (size < cut || strcmp(below + size - cut, DELETED) != 0)
		return 0;
	r = mount_reached(c, mount, &root, err);
	if (r < 0)
		return error_trace(err, r);
	*ret = !leads_to(root, below + strspn(below, "/"), fd);
	if (*ret)
		below[size - cut] = 0;
	return 0;
}

static int refuse_detached(const char *text, struct error *err)
{
	error_refuse(err, CODE_mount_detached,
	             "it is on a mount that is in no mount namespace of the set");
	error_object(err, "%s", text);
	error_hint(err, "it was unmounted lazily, is of open_tree(2), or of another namespace");
	return -EOPNOTSUPP;
}

/*
 * What a task has open may be of the namespace of one whose turn has not come: all are looked at
 * then, once. What is wrong with one is told when its turn comes.
 */
static size_t find_line(struct checkpoint *c, struct mounts *m, uint64_t id)
{
	size_t line = mount_table_find(&m->table, id);

	if (line != MOUNT_NONE || m->all_looked || mount_table_find(&m->host, id) != MOUNT_NONE)
		return line;
	m->all_looked = true;
	for (size_t i = 0; i < c->n_tasks; i++) {
		struct error ignored = ERROR_INIT;
		struct object *ns;
		if (c->tasks[i]->state != TASK_ZOMBIE && c->tasks[i]->state != TASK_DEAD_LEADER)
			(void)mnt_ns_collect(c, c->tasks[i], &ns, &ignored);
	}
	return mount_table_find(&m->table, id);
}

int mount_of(struct checkpoint *c, const struct task *task, int fd, struct object **ret,
             char **ret_path, bool *ret_deleted, struct error *err)
{
	char text[PATH_MAX + 16];
	struct mounts *m = mounts_of_checkpoint(c);
	uint64_t id = mount_id_of(fd);
	int r = mounts_read_host(m, err);
	size_t line;

	*ret = NULL;
	*ret_path = NULL;
	*ret_deleted = false;
	if (r >= 0)
		r = read_link(fd, text, sizeof(text), err);
	if (r < 0)
		return error_trace(err, r);
	line = find_line(c, m, id);
	if (line == MOUNT_NONE)
		return mount_table_find(&m->host, id) != MOUNT_NONE ? 0
		                                                    : refuse_detached(text, err);
	const char *point = m->table.mounts[line].point;
	size_t size = strcmp(point, "/") ? strlen(point) : 0;
	if (strncmp(text, point, size))
		return refuse_detached(text, err);
	r = cut_deleted(c, m->mounts[line], text + size, fd, ret_deleted, err);
	if (r < 0)
		return error_trace(err, r);
	if (text[size] && text[size] != '/')
		return refuse_detached(text, err);
	*ret = m->mounts[line];
	*ret_path = xstrdup(text + size + strspn(text + size, "/"));
	return 0;
}

int mount_path_within(struct checkpoint *c, const struct object *mount, int fd, const char *path,
                      char **ret, struct error *err)
{
	struct mounts *m = mounts_of_checkpoint(c);
	int r = mount ? 0 : mounts_read_host(m, err);

	if (r < 0)
		return error_trace(err, r);
	size_t line = mount ? mounts_index(m, mount) : mount_table_find(&m->host, mount_id_of(fd));
	if (line == MOUNT_NONE)
		return refuse_detached(path, err);
	const struct mount_entry *e = mount ? &m->table.mounts[line] : &m->host.mounts[line];
	const char *below = mount ? path + 1 : mount_below(path, e->point);
	if (!below)
		return refuse_detached(path, err);
	*ret = xasprintf("%s%s%s", e->root, strcmp(e->root, "/") && *below ? "/" : "", below);
	return 0;
}

bool mount_hides(struct checkpoint *c, const struct object *mount, const char *path)
{
	const struct mounts *m = mounts_of_checkpoint(c);

	return mount_table_covers(&m->table, mounts_index(m, mount), path);
}

/* those which somebody else answers for */
bool mounts_type_may_wait(const char *type)
{
	static const char *const types[] = { "fuse", "fuseblk", "virtiofs", "9p",  "nfs",   "nfs4",
		                             "cifs", "smb3",    "ceph",     "afs", "autofs" };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i], type))
			return true;
	return false;
}

/* what a superblock that is mounted in the set or by the host is; NULL: it is mounted in neither */
static const char *type_of_device(struct checkpoint *c, dev_t device)
{
	struct mounts *m = mounts_of_checkpoint(c);
	struct error ignored = ERROR_INIT;
	size_t line = mount_table_find_sb(&m->table, major(device), minor(device));

	if (line != MOUNT_NONE)
		return m->table.sbs[line].type;
	if (!m->host_tried)
		mounts_read_host(m, &ignored);
	m->host_tried = true;
	line = mount_table_find_sb(&m->host, major(device), minor(device));
	return line != MOUNT_NONE ? m->host.sbs[line].type : NULL;
}

struct object *superblock_of_set(struct checkpoint *c, dev_t device)
{
	struct mounts *m = mounts_of_checkpoint(c);
	size_t line = mount_table_find_sb(&m->table, major(device), minor(device));

	if (line == MOUNT_NONE || (m->classified && m->table.sbs[line].class == MOUNT_EXTERNAL) ||
	    mount_table_find_sb(&m->host, major(device), minor(device)) != MOUNT_NONE)
		return NULL;
	return m->sbs[line];
}

/* of one that is mounted nowhere any more, or by the kernel only: is a server asked, and held? */
static bool is_silent(struct checkpoint *c, dev_t device, int fd)
{
	struct mounts *m = mounts_of_checkpoint(c);

	for (size_t i = 0; i < m->n_asked; i++)
		if (m->asked[i].device == device)
			return m->asked[i].silent;
	struct silence *s = array_push(m->asked, m->n_asked);
	*s = (struct silence){ device, !still_answers(fd) };
	return s->silent;
}

bool mount_may_wait(struct checkpoint *c, dev_t device, const char *path)
{
	const char *type = type_of_device(c, device);

	if (type)
		return mounts_type_may_wait(type);
	_cleanup_(close_p) int fd = open(path, O_PATH | O_CLOEXEC);
	return fd >= 0 && is_silent(c, device, fd);
}

/* by the superblock's number: that which stat(2) shows can be another (btrfs, overlay) */
static const char *type_of_mount(struct checkpoint *c, int fd)
{
	const struct mounts *m = mounts_kept(c->kept);
	uint64_t id = mount_id_of(fd);
	size_t line = mount_table_find(&m->table, id);

	if (line != MOUNT_NONE)
		return m->table.sbs[m->table.mounts[line].sb].type;
	line = mount_table_find(&m->host, id);
	return line != MOUNT_NONE ? m->host.sbs[m->host.mounts[line].sb].type : NULL;
}

uint32_t mount_magic(struct checkpoint *c, int fd)
{
	const char *type;
	struct statfs fs;
	struct stat st;

	if (still_fstat(fd, &st) < 0)
		return 0;
	type = type_of_device(c, st.st_dev);
	if (!type)
		type = type_of_mount(c, fd);
	if (type ? mounts_type_may_wait(type) : is_silent(c, st.st_dev, fd))
		return FUSE_SUPER_MAGIC; /* all that anybody does is refuse it */
	return fstatfs(fd, &fs) < 0 ? 0 : (uint32_t)fs.f_type;
}
