/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mounts by listmount(2) and statmount(2). A namespace can be read from outside, by its id; where
 * the kernel finds no root in it then (the root mount is older than the namespace), from inside;
 * where the root is covered, from inside with the root of a task that is below the cover. What is
 * complete can be told: NS_MNT_GET_INFO gives the number of mounts.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/enter.h"
#include "host/helper.h"
#include "mount/read.h"
#include "mount/table.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/uapi.h"

#define WANTED                                                                                 \
	(STATMOUNT_SB_BASIC | STATMOUNT_MNT_BASIC | STATMOUNT_PROPAGATE_FROM |                 \
	 STATMOUNT_MNT_ROOT | STATMOUNT_MNT_POINT | STATMOUNT_FS_TYPE | STATMOUNT_FS_SUBTYPE | \
	 STATMOUNT_SB_SOURCE | STATMOUNT_OPT_ARRAY | STATMOUNT_OPT_SEC_ARRAY |                 \
	 STATMOUNT_MNT_UIDMAP | STATMOUNT_MNT_GIDMAP)

/* one way to look at a namespace; the answers are statmount structs in a file, each of its size */
struct view {
	int nsfd;
	uint64_t ns_id; /* 0: the caller's own */
	int root;       /* a directory to take as root first; -1 none */
	uint32_t n;     /* how many mounts there are */
	int out;
};

static int put_mount(const struct view *v, uint64_t id, struct statmount **room, size_t *size,
                     struct error *err)
{
	struct mnt_id_req req = {
		.size = MNT_ID_REQ_SIZE_VER1, .mnt_id = id, .param = WANTED, .mnt_ns_id = v->ns_id
	};

	memset(*room, 0, sizeof(**room));
	while (syscall(__NR_statmount, &req, *room, *size, 0) < 0) {
		if (errno != EOVERFLOW || *size > 1 << 24)
			return error_raise(err, errno, "statmount of %llx", (unsigned long long)id);
		*size *= 2;
		*room = xrealloc(*room, *size, 1);
		memset(*room, 0, sizeof(**room));
	}
	if (write(v->out, *room, (*room)->size) != (ssize_t)(*room)->size)
		return error_raise(err, errno, "keep what statmount has said");
	return 0;
}

/* 1: all mounts are there; 0: some are hidden from this view */
static int put_all(const struct view *v, struct error *err)
{
	struct mnt_id_req req = { .size = MNT_ID_REQ_SIZE_VER1,
		                  .mnt_id = LSMT_ROOT,
		                  .mnt_ns_id = v->ns_id };
	_cleanup_(free_p) uint64_t *ids = xcalloc(v->n + 1, sizeof(*ids));
	size_t size = 4096;
	_cleanup_(free_p) struct statmount *room = xmalloc(size);
	uint32_t n = 0;

	for (long got = 1; n <= v->n && got > 0; n += (uint32_t)got) {
		req.param = n ? ids[n - 1] : 0;
		got = syscall(__NR_listmount, &req, ids + n, v->n + 1 - n, 0);
		if (got < 0 && errno == ENOENT)
			return 0;
		if (got < 0)
			return error_raise(err, errno, "list mounts");
	}
	if (n != v->n)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		int r = put_mount(v, ids[i], &room, &size, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 1;
}

static int put_inside(void *arg, struct error *err)
{
	const struct view *v = arg;

	if (namespace_enter(v->nsfd, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter a mount namespace");
	if (v->root >= 0 && (fchdir(v->root) < 0 || chroot(".") < 0))
		return error_raise(err, errno, "take a task's root directory");
	int r = put_all(v, err);
	return r < 0 ? error_trace(err, r) : r;
}

static int put_from_member(struct view *v, pid_t member, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/root", member);
	_cleanup_(close_p) int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return 0;
	v->root = root;
	int r = helper_run_here(put_inside, v, err);
	v->root = -1;
	return r;
}

static int put_somehow(struct view *v, pid_t member, struct error *err)
{
	int r = put_all(v, err);

	v->ns_id = 0;
	if (r == 0)
		r = helper_run_here(put_inside, v, err);
	if (r == 0 && member)
		r = put_from_member(v, member, err);
	if (r == 0)
		return mount_refuse_hidden(err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- answers into the table ---- */

bool mount_cut_deleted(char *path)
{
	static const char suffix[] = "//deleted";
	size_t size = strlen(path), cut = sizeof(suffix) - 1;

	if (size < cut || strcmp(path + size - cut, suffix) != 0)
		return false;
	path[size - cut] = 0;
	if (!*path)
		strcpy(path, "/"); /* cannot be: the root of a file system is never deleted */
	return true;
}

/* lines of "inner outer count" from strings that follow each other */
static char *join_map(const char *text, uint32_t n)
{
	char *map = xstrdup("");

	for (uint32_t i = 0; i < n; i++, text += strlen(text) + 1) {
		char *longer = xasprintf("%s%s\n", map, text);
		free(map);
		map = longer;
	}
	return map;
}

static void fill_sb(struct mount_sb *sb, const struct statmount *s)
{
	const char *option = s->str + s->opt_array;

	if (sb->type)
		return;
	sb->magic = s->sb_magic;
	sb->flags = s->sb_flags & MOUNT_SB_FLAGS;
	sb->type = xstrdup(s->str + s->fs_type);
	if (s->mask & STATMOUNT_FS_SUBTYPE)
		sb->subtype = xstrdup(s->str + s->fs_subtype);
	for (uint32_t i = 0; s->mask & STATMOUNT_OPT_ARRAY && i < s->opt_num; i++) {
		*array_push(sb->options, sb->n_options) = xstrdup(option);
		option += strlen(option) + 1;
	}
	option = s->str + s->opt_sec_array;
	for (uint32_t i = 0; s->mask & STATMOUNT_OPT_SEC_ARRAY && i < s->opt_sec_num; i++) {
		*array_push(sb->options, sb->n_options) = xstrdup(option);
		option += strlen(option) + 1;
	}
}

static void add_mount(struct mount_table *t, const struct statmount *s)
{
	struct mount_entry *m = array_push(t->mounts, t->n_mounts);

	m->id = s->mnt_id;
	m->old_id = s->mnt_id_old;
	m->parent_id = s->mnt_parent_id;
	m->point = xstrdup(s->mask & STATMOUNT_MNT_POINT ? s->str + s->mnt_point : "/");
	m->root = xstrdup(s->mask & STATMOUNT_MNT_ROOT ? s->str + s->mnt_root : "/");
	m->deleted = mount_cut_deleted(m->root);
	m->attributes = s->mnt_attr;
	m->unbindable = s->mnt_propagation & MS_UNBINDABLE;
	m->peer_group = s->mnt_propagation & MS_SHARED ? s->mnt_peer_group : 0;
	m->master = s->mnt_master;
	m->source = xstrdup(s->mask & STATMOUNT_SB_SOURCE ? s->str + s->sb_source : "");
	if (s->mnt_attr & MOUNT_ATTR_IDMAPPED) {
		m->uid_map = join_map(s->str + s->mnt_uidmap, s->mnt_uidmap_num);
		m->gid_map = join_map(s->str + s->mnt_gidmap, s->mnt_gidmap_num);
	}
	m->sb = mount_table_sb(t, s->sb_dev_major, s->sb_dev_minor);
	fill_sb(&t->sbs[m->sb], s);
}

static int take_all(struct mount_table *t, int fd, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !st.st_size)
		return error_raise(err, ENODATA, "read back what statmount has said");
	char *all = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (all == MAP_FAILED)
		return error_raise(err, errno, "map what statmount has said");
	for (off_t at = 0; at < st.st_size;) {
		uint32_t size; /* its first member */
		memcpy(&size, all + at, sizeof(size));
		_cleanup_(free_p) struct statmount *s = xmemdup(all + at, size);
		add_mount(t, s);
		at += size;
	}
	munmap(all, (size_t)st.st_size);
	return 0;
}

int mount_read_statmount(struct mount_table *t, int nsfd, pid_t member, struct error *err)
{
	struct mnt_ns_info info = { .size = sizeof(info) };
	_cleanup_(close_p) int out = memfd_create("mounts", MFD_CLOEXEC);
	struct view v = { .nsfd = nsfd, .root = -1, .out = out };

	if (out < 0)
		return error_raise(err, errno, "make room for mounts");
	if (ioctl(nsfd, NS_MNT_GET_INFO, &info) < 0)
		return error_raise(err, errno, "ask for the number of mounts");
	v.n = info.nr_mounts;
	v.ns_id = info.mnt_ns_id;
	t->namespaces[t->n_namespaces - 1].id = info.mnt_ns_id;
	int r = put_somehow(&v, member, err);
	if (r == 0)
		r = take_all(t, out, err);
	return r < 0 ? error_trace(err, r) : 0;
}
