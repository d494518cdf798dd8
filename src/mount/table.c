/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of mounts: what is derived and looked up. See table.h. */
#include "mount/table.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/features.h"
#include "mount/below.h"
#include "mount/read.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/map.h"
#include "util/uapi.h"

const char *mount_sb_option(const struct mount_sb *sb, const char *name)
{
	size_t size = strlen(name);

	for (size_t i = 0; i < sb->n_options; i++) {
		const char *option = sb->options[i];
		if (!strncmp(option, name, size) && (option[size] == '=' || !option[size]))
			return option[size] ? option + size + 1 : "";
	}
	return NULL;
}

size_t mount_table_ns(const struct mount_table *t, uint64_t inode)
{
	for (size_t i = 0; i < t->n_namespaces; i++)
		if (t->namespaces[i].inode == inode)
			return i;
	return MOUNT_NONE;
}

/* ---- found by what identifies them: maps to the line + 1 ---- */

static size_t look_up(const struct map *map, const void *key, size_t size)
{
	return map ? (size_t)(uintptr_t)map_get(map, key, size) - 1 : MOUNT_NONE;
}

static void enter_line(struct map **map, const void *key, size_t size, size_t line)
{
	if (!*map)
		*map = map_new();
	map_put(*map, key, size, (void *)(uintptr_t)(line + 1));
}

size_t mount_table_find(const struct mount_table *t, uint64_t id)
{
	return look_up(t->by_id, &id, sizeof(id));
}

bool mount_is_locked(const struct mount_entry *m)
{
	uint64_t times = MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME;

	return m->locked || m->holds || m->locked_attributes & m->attributes & ~times;
}

/* ---- found by where they are: the mount and the path below its root, one behind the other ---- */

struct place {
	char *key;
	size_t start; /* where the path begins in it */
};

static void place_done(struct place *place)
{
	free(place->key);
}

static struct place place_new(size_t parent, const char *path)
{
	struct place place = { xmalloc(sizeof(parent) + strlen(path) + 1), sizeof(parent) };

	memcpy(place.key, &parent, sizeof(parent));
	strcpy(place.key + sizeof(parent), path);
	return place;
}

/* the first one that is mounted on the first @size bytes of the path */
static size_t find_place(const struct mount_table *t, const struct place *place, size_t size)
{
	return look_up(t->by_place, place->key, place->start + size);
}

static void enter_place(struct mount_table *t, size_t line)
{
	struct mount_entry *m = &t->mounts[line];
	_cleanup_(place_done) struct place place = place_new(m->parent, m->rel);
	size_t size = strlen(m->rel), first = find_place(t, &place, size);

	if (first == MOUNT_NONE) {
		enter_line(&t->by_place, place.key, place.start + size, line);
		return;
	}
	m->next_at = t->mounts[first].next_at;
	t->mounts[first].next_at = line + 1;
}

static bool has_locked_at(const struct mount_table *t, const struct place *place, size_t size)
{
	for (size_t i = find_place(t, place, size); i != MOUNT_NONE; i = t->mounts[i].next_at - 1)
		if (t->mounts[i].locked)
			return true;
	return false;
}

bool mount_is_hidden(const struct mount_table *t, const struct mount_entry *m)
{
	_cleanup_(place_done) struct place place = place_new(m->parent, m->rel);

	for (size_t i = 1; *m->rel && m->rel[i]; i++)
		if (m->rel[i] == '/' && has_locked_at(t, &place, i))
			return true;
	return false;
}

size_t mount_table_cover(const struct mount_table *t, size_t mount)
{
	const struct place place = { (char *)&mount, sizeof(mount) };

	return find_place(t, &place, 0);
}

size_t mount_table_find_peer(const struct mount_table *t, uint64_t group)
{
	return look_up(t->by_group, &group, sizeof(group));
}

size_t mount_table_find_sb(const struct mount_table *t, uint32_t major, uint32_t minor)
{
	const uint32_t key[2] = { major, minor };

	return look_up(t->by_device, key, sizeof(key));
}

size_t mount_table_top(const struct mount_table *t, size_t mount)
{
	for (size_t cover; (cover = mount_table_cover(t, mount)) != MOUNT_NONE;)
		mount = cover;
	return mount;
}

size_t mount_of_sb(const struct mount_table *t, size_t sb, size_t previous)
{
	return (previous == MOUNT_NONE ? t->sbs[sb].first_mount : t->mounts[previous].next_of_sb) -
	       1;
}

static void enter_mount(struct mount_table *t, size_t line)
{
	const struct mount_entry *m = &t->mounts[line];
	struct mount_sb *sb = &t->sbs[m->sb];

	enter_line(&t->by_id, &m->id, sizeof(m->id), line);
	enter_place(t, line);
	if (m->peer_group && mount_table_find_peer(t, m->peer_group) == MOUNT_NONE)
		enter_line(&t->by_group, &m->peer_group, sizeof(m->peer_group), line);
	*(sb->last_mount ? &t->mounts[sb->last_mount - 1].next_of_sb : &sb->first_mount) = line + 1;
	sb->last_mount = line + 1;
}

uint64_t mount_id_of(int fd)
{
	unsigned mask = feature(FEATURE_statmount_ns) ? STATX_MNT_ID_UNIQUE : STATX_MNT_ID;
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, mask, &sx) < 0 ||
	    !(sx.stx_mask & mask))
		return 0;
	return sx.stx_mnt_id;
}

size_t mount_table_sb(struct mount_table *t, uint32_t major, uint32_t minor)
{
	const uint32_t key[2] = { major, minor };
	size_t line = mount_table_find_sb(t, major, minor);

	if (line != MOUNT_NONE)
		return line;
	struct mount_sb *sb = array_push(t->sbs, t->n_sbs);
	sb->major = major;
	sb->minor = minor;
	enter_line(&t->by_device, key, sizeof(key), t->n_sbs - 1);
	return t->n_sbs - 1;
}

/* ---- what follows from ids and paths ---- */

static int by_id(const void *a, const void *b)
{
	const struct mount_entry *const *x = a, *const *y = b;

	return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

static int id_to_entry(const void *key, const void *element)
{
	uint64_t id = *(const uint64_t *)key;
	const struct mount_entry *m = *(struct mount_entry *const *)element;

	return (id > m->id) - (id < m->id);
}

/*
 * A mount's path is its parent's and what follows it: the kernel puts names together and looks
 * nothing up, so this holds for covered mounts, too.
 */
static int relate_path(const struct mount_table *t, struct mount_entry *m, struct error *err)
{
	const char *above = t->mounts[m->parent].point;
	size_t size = strcmp(above, "/") ? strlen(above) : 0;
	const char *rest = m->point + size;

	if (strncmp(m->point, above, size) || (*rest && *rest != '/'))
		return error_raise(err, EBADMSG, "mount %u at %s is not below its parent's %s",
		                   m->old_id, m->point, above);
	while (*rest == '/')
		rest++;
	free(m->rel);
	m->rel = xstrdup(rest);
	return 0;
}

int mount_table_relate(struct mount_table *t, size_t ns, struct error *err)
{
	struct mount_ns *n = &t->namespaces[ns];
	_cleanup_(free_p) struct mount_entry **ids = xcalloc(n->n + 1, sizeof(*ids));
	size_t n_roots = 0;
	int r = 0;

	for (size_t i = 0; i < n->n; i++)
		ids[i] = &t->mounts[n->first + i];
	qsort(ids, n->n, sizeof(*ids), by_id);
	for (size_t i = n->first; r == 0 && i < n->first + n->n; i++) {
		struct mount_entry *m = &t->mounts[i];
		struct mount_entry **up = bsearch(&m->parent_id, ids, n->n, sizeof(*ids),
		                                  id_to_entry);
		m->namespace = ns;
		m->parent = up && *up != m ? (size_t)(*up - t->mounts) : MOUNT_NONE;
		if (m->parent == MOUNT_NONE) {
			n->root = i;
			n_roots++;
			free(m->rel);
			m->rel = xstrdup("");
		} else {
			r = relate_path(t, m, err);
		}
	}
	if (r == 0 && n_roots != 1)
		return error_raise(err, EBADMSG, "%zu mounts have no parent", n_roots);
	for (size_t i = n->first; r == 0 && i < n->first + n->n; i++)
		enter_mount(t, i);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- reading ---- */

static void entry_done(struct mount_entry *m)
{
	free(m->point);
	free(m->rel);
	free(m->root);
	free(m->source);
	free(m->external);
	free(m->uid_map);
	free(m->gid_map);
}

/* what could not be read as a whole; superblocks stay, they do no harm */
static void remove_last(struct mount_table *t)
{
	const struct mount_ns *ns = &t->namespaces[--t->n_namespaces];

	while (t->n_mounts > ns->first)
		entry_done(&t->mounts[--t->n_mounts]);
}

static uint64_t owner_of(int nsfd)
{
	_cleanup_(close_p) int fd = ioctl(nsfd, NS_GET_USERNS);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? st.st_ino : 0;
}

int mount_refuse_hidden(struct error *err)
{
	return error_refuse(err, CODE_mount_hidden,
	                    "it has mounts that nothing leads to: its root directory is covered");
}

/* ---- ids in options ---- */

/* what our user namespace calls an id of the one above it; itself if it has no name for it */
static unsigned long own_id(const char *map, unsigned long id)
{
	_cleanup_(free_p) char *text = NULL;
	unsigned long inside, outside, count;
	int used;

	if (file_read(AT_FDCWD, map, &text) < 0)
		return id;
	for (const char *at = text;
	     sscanf(at, " %lu %lu %lu%n", &inside, &outside, &count, &used) == 3; at += used)
		if (id >= outside && id - outside < count)
			return inside + (id - outside);
	return id;
}

/* the kernel shows everybody those of the initial user namespace, but takes the mounter's own */
static void name_ids(struct mount_sb *sb)
{
	for (size_t i = 0; i < sb->n_options; i++) {
		char *option = sb->options[i];
		bool user = !strncmp(option, "uid=", 4);
		if (!user && strncmp(option, "gid=", 4) != 0)
			continue;
		sb->options[i] =
			xasprintf("%.4s%lu", option,
		                  own_id(user ? "/proc/self/uid_map" : "/proc/self/gid_map",
		                         strtoul(option + 4, NULL, 10)));
		free(option);
	}
}

/* mountinfo only: what is below the root that is seen, if that is not the lowest of all */
static int look_below(const struct mount_table *t, const struct mount_ns *ns, int nsfd,
                      struct error *err)
{
	const struct mount_entry *root = &t->mounts[ns->root];

	if (root->parent_id == root->id)
		return 0;
	int r = mount_look_below(nsfd, ns->by_member ? ns->member : 0, err);
	if (r > 0)
		return mount_refuse_hidden(err);
	return r < 0 ? error_trace(err, r) : 0;
}

int mount_table_add(struct mount_table *t, int nsfd, pid_t member, size_t *ret, struct error *err)
{
	struct stat st;
	size_t i;

	if (fstat(nsfd, &st) < 0)
		return error_raise(err, errno, "look at a mount namespace");
	i = mount_table_ns(t, st.st_ino);
	if (ret)
		*ret = i == MOUNT_NONE ? t->n_namespaces : i;
	if (i != MOUNT_NONE)
		return 0;
	struct mount_ns *ns = array_push(t->namespaces, t->n_namespaces);
	ns->device = st.st_dev;
	ns->inode = st.st_ino;
	ns->owner = owner_of(nsfd);
	ns->member = member;
	ns->first = t->n_mounts;
	size_t first_sb = t->n_sbs;
	int r = feature(FEATURE_statmount_ns) ? mount_read_statmount(t, nsfd, member, err)
	                                      : mount_read_mountinfo(t, nsfd, member, err);
	ns->n = t->n_mounts - ns->first;
	for (; first_sb < t->n_sbs && !features_initial_user_namespace(); first_sb++)
		name_ids(&t->sbs[first_sb]);
	if (r == 0)
		r = mount_table_relate(t, t->n_namespaces - 1, err);
	if (r == -EBADMSG) /* something between what is seen is not */
		r = mount_refuse_hidden(err);
	if (r == 0 && t->whole && !feature(FEATURE_statmount_ns))
		r = look_below(t, &t->namespaces[t->n_namespaces - 1], nsfd, err);
	if (r < 0) {
		error_object(err, "mnt:[%llu]", (unsigned long long)ns->inode);
		remove_last(t);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- the end ---- */

static void sb_done(struct mount_sb *sb)
{
	for (size_t i = 0; i < sb->n_options; i++)
		free(sb->options[i]);
	free(sb->options);
	free(sb->type);
	free(sb->subtype);
	free(sb->through);
}

void mount_table_done(struct mount_table *t)
{
	for (size_t i = 0; i < t->n_mounts; i++)
		entry_done(&t->mounts[i]);
	for (size_t i = 0; i < t->n_sbs; i++)
		sb_done(&t->sbs[i]);
	free(t->mounts);
	free(t->sbs);
	free(t->namespaces);
	map_free(t->by_id);
	map_free(t->by_device);
	map_free(t->by_group);
	map_free(t->by_place);
	*t = (struct mount_table){ 0 };
}

void mount_error(struct error *err, const struct mount_table *t, const struct mount_entry *m)
{
	const struct mount_sb *sb = &t->sbs[m->sb];

	error_object(err, "mnt:[%llu] mount %u %s (%s, root %s, dev %u:%u)",
	             (unsigned long long)t->namespaces[m->namespace].inode, m->old_id, m->point,
	             sb->type, m->root, sb->major, sb->minor);
}

const char *mount_below(const char *path, const char *root)
{
	size_t size = strcmp(root, "/") ? strlen(root) : 0;

	if (strncmp(path, root, size) || (path[size] && path[size] != '/'))
		return NULL;
	path += size;
	while (*path == '/')
		path++;
	return path;
}

bool mount_table_covers(const struct mount_table *t, size_t line, const char *path)
{
	const char *rel = path + strspn(path, "/");
	_cleanup_(place_done) struct place place = place_new(line, rel);
	size_t size = strlen(rel);

	for (size_t i = 1; i <= size; i++)
		if ((i == size || rel[i] == '/') && find_place(t, &place, i) != MOUNT_NONE)
			return true;
	return false;
}
