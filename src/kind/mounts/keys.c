/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which namespace a file system belongs to: proc to a pid namespace, which its /1/ns/pid names;
 * sysfs to a network namespace and mqueue to an IPC namespace, which have one each: what is mounted
 * in the namespace anew is the same one.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/enter.h"
#include "host/features.h"
#include "host/helper.h"
#include "kind/ipc_ns.h"
#include "kind/mounts/parts.h"
#include "kind/namespace/ns.h"
#include "kind/net_ns.h"
#include "kind/pid_ns.h"
#include "mount/superblock.h"
#include "superblock.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static const struct kind *kind_of(const char *type, size_t size)
{
	static const struct {
		const char *type;
		const struct kind *kind;
	} keyed[] = { { "proc", &pid_ns_kind },
		      { "sysfs", &net_ns_kind },
		      { "mqueue", &ipc_ns_kind } };

	for (size_t i = 0; i < sizeof(keyed) / sizeof(keyed[0]); i++)
		if (strlen(keyed[i].type) == size && !memcmp(keyed[i].type, type, size))
			return keyed[i].kind;
	return NULL;
}

const struct kind *superblock_key_kind(const SuperblockState *s)
{
	return kind_of((const char *)s->type.data, s->type.len);
}

uint32_t mount_awaits(const struct mounts *m, size_t line)
{
	const struct mount_entry *e = &m->table.mounts[line];
	const struct mount_sb *sb = &m->table.sbs[e->sb];

	if (sb->class == MOUNT_NSFS)
		return e->bound_type == CLONE_NEWPID ? e->bound : 0;
	return !strcmp(sb->type, "proc") ? (uint32_t)sb->key : 0;
}

/* ---- checkpoint ---- */

/* what a file system of the type is in this process' own namespaces; a descriptor of its root */
static int look_at_own(const char *type, struct error *err)
{
	const struct mount_sb sb = { .type = (char *)type, .class = MOUNT_KEYED };
	int fd = -1, r = mount_superblock_make(&sb, "none", -1, -1, &fd, err);

	return r < 0 ? r : fd;
}

struct visit {
	const char *type;
	int ns; /* -1: our own */
};

static int visit(void *arg, struct error *err)
{
	const struct visit *v = arg;

	if (v->ns >= 0 && namespace_enter(v->ns, 0) < 0)
		return error_raise(err, errno, "enter a namespace");
	return look_at_own(v->type, err);
}

static bool is_of(const struct mount_sb *sb, int ns)
{
	struct visit v = { sb->type, ns };
	struct error ignored = ERROR_INIT;
	_cleanup_(close_p) int fd = helper_run_here(visit, &v, &ignored);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && major(st.st_dev) == sb->major &&
	       minor(st.st_dev) == sb->minor;
}

static int refuse_key(const struct mount_sb *sb, struct error *err)
{
	error_refuse(err, CODE_mount_namespace,
	             "a %s is mounted of a namespace that no task of the set is in", sb->type);
	return -EOPNOTSUPP;
}

static int find_keyed(struct checkpoint *c, struct mount_sb *sb, struct error *err)
{
	const struct kind *kind = kind_of(sb->type, strlen(sb->type));
	size_t cursor = 0;

	/* who may not mount one sees whether it is the host's */
	if (features_capability(CAP_SYS_ADMIN)
	            ? is_of(sb, -1)
	            : mount_table_find_sb(&mounts_kept(c->kept)->host, sb->major, sb->minor) !=
	                      MOUNT_NONE)
		return 0;
	for (struct object *o; (o = objects_next(c->objects, kind, &cursor));) {
		if (is_of(sb, ((struct ns *)o->live)->fd)) {
			sb->key = o->id;
			return 0;
		}
	}
	return refuse_key(sb, err);
}

/* @root: of the proc, and of nothing below it */
static int find_proc(struct checkpoint *c, struct mount_sb *sb, int root, struct error *err)
{
	struct stat st, own;

	if (fstatat(root, "1/ns/pid", &st, 0) < 0)
		return refuse_key(sb, err);
	if (stat("/proc/self/ns/pid", &own) == 0 && own.st_ino == st.st_ino)
		return 0;
	const struct object *o = objects_find(c->objects, &pid_ns_kind, &st.st_ino,
	                                      sizeof(st.st_ino));
	if (!o)
		return refuse_key(sb, err);
	sb->key = o->id;
	return 0;
}

int mounts_find_key(struct checkpoint *c, struct mount_sb *sb, int root, struct error *err)
{
	if (sb->class == MOUNT_KEYED)
		return find_keyed(c, sb, err);
	if (sb->class == MOUNT_INSTANCE && !strcmp(sb->type, "proc"))
		return find_proc(c, sb, root, err);
	return 0;
}

/* ---- restart ---- */

int mounts_key_fd(struct restart *r, uint32_t id)
{
	struct object *o = objects_by_id(r->objects, id);
	struct error later = ERROR_INIT;
	const struct ns *ns = o->live;

	if (ns && ns->fd >= 0)
		return fcntl(ns->fd, F_DUPFD_CLOEXEC, 3);
	if (o->kind != &pid_ns_kind)
		return -1;
	int fd = pid_ns_fd(r, o, &later); /* made by the clone of its init */
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}
