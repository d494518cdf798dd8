/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the processes outside the set refer to. See references.h. */
#include "task/references.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "task/outside.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

const char *const namespace_types[N_NAMESPACE_TYPES] = { "cgroup", "ipc",  "mnt",  "net",
	                                                 "pid",    "time", "user", "uts" };

/* ---- one ---- */

static struct reference_group *get_group(struct map *map, const struct inode_key *key)
{
	struct reference_group *group = map_get(map, key, sizeof(*key));

	if (!group) {
		group = xcalloc(1, sizeof(*group));
		map_put(map, key, sizeof(*key), group);
	}
	return group;
}

/* @what: NULL for a descriptor */
static void add(struct references *refs, struct map *map, const struct inode_key *key,
                const struct process *p, pid_t tid, int fd, const char *what)
{
	struct reference_group *group = get_group(map, key);
	struct reference *ref = xcalloc(1, sizeof(*ref));

	ref->process = p;
	ref->dev = key->dev;
	ref->holder = (struct holder){ .pid = p->pid, .tid = tid, .fd = fd };
	memcpy(ref->holder.comm, p->comm, sizeof(p->comm));
	if (what)
		snprintf(ref->holder.what, sizeof(ref->holder.what), "%s", what);
	else
		snprintf(ref->holder.what, sizeof(ref->holder.what), "fd %d", fd);
	*array_push(refs->all, refs->n) = ref;
	if (group->last)
		group->last->next = ref;
	else
		group->first = ref;
	group->last = ref;
}

/* without asking a server: a dead one would keep us for ever */
static int stat_link(int dir, const char *path, struct inode_key *ret)
{
	struct statx st;

	if (statx(dir, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &st) < 0)
		return -errno;
	*ret = (struct inode_key){ makedev(st.stx_dev_major, st.stx_dev_minor), st.stx_ino };
	return 0;
}

static bool is_forbidden(int r)
{
	return r == -EACCES || r == -EPERM;
}

/* one descriptor table; false when it may not be looked at */
static bool read_table(struct references *refs, const struct process *p, pid_t tid)
{
	char path[64];
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd", (int)p->pid, (int)tid);
	_cleanup_(closedir_p) DIR *dir = opendir(path);
	if (!dir)
		return !is_forbidden(-errno);
	while ((entry = readdir(dir))) {
		struct inode_key key = UNKNOWN_INODE;
		if (entry->d_name[0] == '.')
			continue;
		int r = stat_link(dirfd(dir), entry->d_name, &key);
		if (r == -ENOENT)
			continue; /* closed meanwhile */
		/* the link or, of a FUSE of another user's, what it leads to? */
		if (is_forbidden(r) && readlinkat(dirfd(dir), entry->d_name, path, 1) < 0)
			return false;
		add(refs, refs->descriptors, &key, p, tid, atoi(entry->d_name), NULL);
	}
	return true;
}

/*
 * All descriptor tables of a process: threads may have their own, and after the leader has exited
 * its own looks empty.
 */
static bool read_tables(struct references *refs, const struct process *p)
{
	char path[40];
	struct dirent *entry;

	if (!read_table(refs, p, p->pid))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)p->pid);
	_cleanup_(closedir_p) DIR *dir = p->threaded ? opendir(path) : NULL;
	while (dir && (entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);
		if (tid > 0 && tid != p->pid &&
		    syscall(SYS_kcmp, p->pid, tid, KCMP_FILES, 0, 0) != 0)
			read_table(refs, p, tid);
	}
	return true;
}

/* the number in "mnt:[4026531841]" */
bool reference_namespace(pid_t pid, pid_t tid, size_t type, uint64_t *ret)
{
	char path[64], link[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/ns/%s", (int)pid, (int)tid,
	         namespace_types[type]);
	ssize_t n = readlink(path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = 0;
	return sscanf(link, "%*[a-z]:[%" SCNu64, ret) == 1;
}

/* ---- other references ---- */

/*
 * "7f0000000000-7f0000001000 rw-s 00000000 00:01 4711   /dev/zero (deleted)". The inode is taken
 * from map_files where possible: the device in maps is that of the file system below an overlay.
 * The first System V segment of a namespace has the inode number 0; what is no file has no device.
 */
static void read_mapping(struct references *refs, const struct process *p, const char *line)
{
	char range[40], mode[8], path[96];
	unsigned major_number, minor_number;
	unsigned long long inode;
	size_t size = strlen(line);
	bool deleted = size > 11 && !strcmp(line + size - 11, " (deleted)\n");
	struct inode_key key = { 0 };

	if (sscanf(line, "%39s %7s %*s %x:%x %llu", range, mode, &major_number, &minor_number,
	           &inode) != 5 ||
	    (!inode && !major_number && !minor_number) || (mode[3] != 's' && !deleted))
		return;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%s", (int)p->pid, range);
	if (stat_link(AT_FDCWD, path, &key) < 0)
		key = (struct inode_key){ makedev(major_number, minor_number), inode };
	add(refs, refs->others, &key, p, p->pid, -1, "mapping");
}

/* after the leader has exited, what belongs to the process is seen through another thread only */
static pid_t speaking_thread(const struct process *p)
{
	char path[64], text[8];
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)p->pid);
	_cleanup_(closedir_p) DIR *dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%.20s/cwd", entry->d_name);
		if (atoi(entry->d_name) > 0 && readlinkat(dirfd(dir), path, text, sizeof(text)) > 0)
			return atoi(entry->d_name);
	}
	return p->pid;
}

static void read_mappings(struct references *refs, const struct process *p, pid_t tid)
{
	char path[64], *line = NULL;
	size_t room = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/maps", (int)p->pid, (int)tid);
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	while (f && getline(&line, &room, f) > 0)
		read_mapping(refs, p, line);
	free(line);
}

static void read_places(struct references *refs, const struct process *p, pid_t tid)
{
	static const char *const names[] = { "cwd", "root", "exe" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[64];
		struct inode_key key = { 0 };
		snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)p->pid, (int)tid,
		         names[i]);
		if (stat_link(AT_FDCWD, path, &key) == 0)
			add(refs, refs->others, &key, p, tid, -1, names[i]);
	}
}

struct map *references_others(struct references *refs, const struct outside *o)
{
	if (refs->others)
		return refs->others;
	refs->others = map_new();
	for (size_t i = 0; i < o->n; i++) {
		const struct process *p = o->items[i];
		if (!p->visible)
			continue;
		pid_t tid = p->threaded ? speaking_thread(p) : p->pid;
		read_places(refs, p, tid);
		read_mappings(refs, p, tid);
	}
	return refs->others;
}

/* ---- namespaces ---- */

/*
 * Not what "/proc/PID/ns/pid_for_children" names: the pid namespace that a process made for its
 * children is over when its init is, and a time namespace that it has for its children only is
 * nothing that it shares with them.
 */
static void read_namespace_of(struct references *refs, size_t type, const struct process *p,
                              pid_t tid)
{
	struct inode_key key = { 0 };
	char what[24];

	if (!reference_namespace(p->pid, tid, type, &key.ino))
		return;
	snprintf(what, sizeof(what), "%s namespace", namespace_types[type]);
	add(refs, refs->namespaces[type], &key, p, tid, -1, what);
}

/* of all threads: each may be in its own */
static void read_namespaces(struct references *refs, size_t type, const struct process *p)
{
	char path[40];
	struct dirent *entry;

	if (!p->threaded) {
		read_namespace_of(refs, type, p, p->pid);
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/task", (int)p->pid);
	_cleanup_(closedir_p) DIR *dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			read_namespace_of(refs, type, p, atoi(entry->d_name));
}

struct map *references_namespaces(struct references *refs, const struct outside *o, size_t type)
{
	if (refs->namespaces[type])
		return refs->namespaces[type];
	refs->namespaces[type] = map_new();
	for (size_t i = 0; i < o->n; i++)
		if (o->items[i]->visible)
			read_namespaces(refs, type, o->items[i]);
	return refs->namespaces[type];
}

/* ---- all ---- */

bool references_read(struct references *refs, const struct process *p)
{
	for (size_t type = 0; type < N_NAMESPACE_TYPES; type++)
		if (refs->namespaces[type])
			read_namespaces(refs, type, p);
	return read_tables(refs, p);
}

struct map *references_devices(struct references *refs, const struct outside *o)
{
	if (refs->devices)
		return refs->devices;
	references_others(refs, o);
	refs->devices = map_new();
	for (size_t i = 0; i < refs->n; i++) {
		struct reference *ref = refs->all[i];
		if (ref->process->visible && !map_get(refs->devices, &ref->dev, sizeof(ref->dev)))
			map_put(refs->devices, &ref->dev, sizeof(ref->dev), ref);
	}
	return refs->devices;
}

static void free_groups(struct map *map)
{
	size_t cursor = 0;
	struct reference_group *group;

	if (!map)
		return;
	while ((group = map_next(map, &cursor))) {
		kcmp_set_done(&group->files);
		free(group);
	}
	map_free(map);
}

void references_done(struct references *refs)
{
	for (size_t i = 0; i < refs->n; i++)
		free(refs->all[i]);
	free(refs->all);
	free_groups(refs->descriptors);
	free_groups(refs->others);
	map_free(refs->devices);
	for (size_t i = 0; i < N_NAMESPACE_TYPES; i++)
		free_groups(refs->namespaces[i]);
}
