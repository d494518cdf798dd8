/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: what stays outside. A file system that the host has mounted, too, or a mount of which
 * the user names (--external mount:[/srv]=data), is not saved: each mount of it must be found at
 * restart below one of the host's, or below what the restart is given for a name.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/external.h"
#include "host/features.h"
#include "kind/mount.h"
#include "kind/mounts/parts.h"
#include "mount/build.h"
#include "mount/class.h"
#include "mount/reach.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static int add(struct mounts *m, size_t sb, const struct mount_entry *entry, const char *name,
               int fd)
{
	*array_push(m->anchored, m->n_anchored) = (struct outside){ sb, entry, name, fd };
	return 0;
}

/* ---- names ---- */

static const char *name_of(struct checkpoint *c, const struct mount_entry *e)
{
	_cleanup_(free_p) char *by_id = xasprintf("mount:[%u]", e->old_id);
	_cleanup_(free_p) char *by_point = xasprintf("mount:[%s]", e->point);
	const char *name = externals_name(c->options->externals, by_id);

	return name ? name : externals_name(c->options->externals, by_point);
}

char *mount_key(const struct mounts *m, const struct mount_entry *e)
{
	for (size_t i = 0; i < m->table.n_mounts; i++) {
		const struct mount_entry *other = &m->table.mounts[i];
		if (!strcmp(other->point, e->point) &&
		    (other->sb != e->sb || strcmp(other->root, e->root) != 0))
			return xasprintf("mount:[%u]", e->old_id);
	}
	return xasprintf("mount:[%s]", e->point);
}

/* one key can name mounts of several namespaces, or one above the other: all must show the same */
static bool is_named(const struct mounts *m, const struct mount_entry *e, const char *name,
                     bool *ret_same)
{
	for (size_t i = 0; i < m->n_anchored; i++) {
		const struct outside *a = &m->anchored[i];
		*ret_same = a->sb == e->sb && !strcmp(a->entry->root, e->root);
		if (!strcmp(a->name, name))
			return true;
	}
	return false;
}

/* the same, as a mount of the host's shows it; -1: none does */
static int open_as_hosts(const struct mounts *m, const struct mount_entry *e)
{
	_cleanup_(close_p) int own = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
	const struct mount_sb *sb = &m->table.sbs[e->sb];
	size_t hosts = mount_table_find_sb(&m->host, sb->major, sb->minor);

	for (size_t i = MOUNT_NONE;
	     hosts != MOUNT_NONE && (i = mount_of_sb(&m->host, hosts, i)) != MOUNT_NONE;) {
		const char *path = mount_below(e->root, m->host.mounts[i].root);
		struct error ignored = ERROR_INIT;
		_cleanup_(close_p) int shown = -1;
		int fd = -1;
		if (path && mount_reach(&m->host, own, i, &shown, &ignored) == 0)
			fd = mount_open_below(shown, path, O_PATH | O_NOFOLLOW);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

/* what covers it may be locked there */
static int open_named(struct checkpoint *c, const struct mounts *m, size_t line, int *ret_fd,
                      struct error *err)
{
	int fd, r = mount_reached(c, m->mounts[line], &fd, err);

	*ret_fd = r == -EOPNOTSUPP ? open_as_hosts(m, &m->table.mounts[line])
	          : r < 0          ? -1
	                           : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return *ret_fd < 0 && r < 0 ? error_trace(err, r) : 0;
}

static int add_name(struct checkpoint *c, struct mounts *m, size_t line, const char *name,
                    struct error *err)
{
	struct mount_entry *e = &m->table.mounts[line];
	bool same;
	int fd;

	e->external = xstrdup(name);
	m->table.sbs[e->sb].class = MOUNT_EXTERNAL;
	if (is_named(m, e, name, &same)) {
		if (same)
			return 0;
		error_refuse(err, CODE_mount_ambiguous,
		             "--external %s names this mount and another that shows another thing",
		             name);
		mounts_blame(c, m, e, err);
		error_hint(err, "name one of them by its number: --external mount:[%u]=%s",
		           e->old_id, name);
		return -EOPNOTSUPP;
	}
	int r = open_named(c, m, line, &fd, err);
	return r < 0 ? error_trace(err, r) : add(m, e->sb, e, name, fd);
}

static int find_names(struct checkpoint *c, struct mounts *m, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < m->table.n_mounts; i++) {
		const char *name = name_of(c, &m->table.mounts[i]);
		struct error refusal = ERROR_INIT;
		int e = name ? add_name(c, m, i, name, &refusal) : 0;
		if (e < 0 && r == 0) {
			r = e;
			*err = refusal;
		}
	}
	return r;
}

bool sb_has_name(const struct mounts *m, size_t sb)
{
	for (size_t i = 0; i < m->n_anchored; i++)
		if (m->anchored[i].sb == sb && m->anchored[i].name)
			return true;
	return false;
}

/* ---- the host's ---- */

/* those that are covered cannot be found by their path again, and are left out */
static int find_host(struct mounts *m, struct error *err)
{
	_cleanup_(close_p) int own = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);

	if (own < 0)
		return error_raise(err, errno, "open our own mount namespace");
	for (size_t i = 0; i < m->host.n_mounts; i++) {
		const struct mount_entry *e = &m->host.mounts[i];
		const struct mount_sb *its = &m->host.sbs[e->sb];
		size_t sb = mount_table_find_sb(&m->table, its->major, its->minor);
		struct error ignored = ERROR_INIT;
		int fd = -1;
		if (sb == MOUNT_NONE || e->deleted ||
		    (m->table.sbs[sb].class != MOUNT_EXTERNAL &&
		     m->table.sbs[sb].class != MOUNT_SINGLETON) ||
		    mount_reach(&m->host, own, i, &fd, &ignored) < 0)
			continue;
		add(m, sb, e, NULL, fd);
	}
	return 0;
}

int mounts_find_outside(struct checkpoint *c, struct mounts *m, struct error *err)
{
	struct error refusal = ERROR_INIT;
	int names = find_names(c, m, &refusal);
	int r = find_host(m, err); /* all the same: it is asked for by others */

	if (names < 0) {
		r = names;
		*err = refusal;
	}
	return r < 0 ? error_trace(err, r) : 0;
}

static const struct outside *outside_of(const struct mounts *m, const struct mount_entry *e)
{
	for (size_t i = 0; i < m->n_anchored; i++)
		if (m->anchored[i].sb == e->sb && mount_below(e->root, m->anchored[i].entry->root))
			return &m->anchored[i];
	return NULL;
}

bool mount_is_outside(const struct mounts *m, const struct mount_entry *e)
{
	return outside_of(m, e);
}

bool mount_is_copied(const struct mounts *m, const struct mount_entry *e)
{
	const struct mount_sb *sb = &m->table.sbs[e->sb];
	size_t hosts = mount_table_find_sb(&m->host, sb->major, sb->minor);

	if (features_capability(CAP_SYS_ADMIN) || !m->owners[e->namespace] || hosts == MOUNT_NONE)
		return false;
	for (size_t i = MOUNT_NONE; (i = mount_of_sb(&m->host, hosts, i)) != MOUNT_NONE;)
		if (!strcmp(m->host.mounts[i].root, e->root))
			return true;
	return false;
}

int mount_open_outside(const struct mounts *m, const struct mount_entry *e)
{
	const struct outside *a = outside_of(m, e);
	const char *path = a ? mount_below(e->root, a->entry->root) : NULL;

	/* to look a name up may need a server, which may be frozen */
	if (!a || (*path && !strncmp(m->table.sbs[e->sb].type, "fuse", 4)))
		return -1;
	return mount_open_below(a->fd, path, O_PATH | O_NOFOLLOW);
}
