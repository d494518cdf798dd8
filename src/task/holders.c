/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who outside the set holds an object. See holders.h. */
#include "task/holders.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/kind.h"
#include "task/kcmp.h"
#include "task/outside.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

/* one reference to something, from outside */
struct held {
	const struct process *process; /* not visible any more: what it held is read anew */
	struct holder holder;
	uint64_t dev;
	struct held *next;
};

/* all references to one inode */
struct group {
	struct held *first, *last;
	bool sorted;
	struct kcmp_set files; /* its open file descriptions; value NULL: one of the set */
};

struct inode_key {
	uint64_t dev, ino;
};

/* what the only file system of the processes of a user, FUSE, does not tell others */
static const struct inode_key UNKNOWN = { 0 };

static const char *const namespace_types[] = { "cgroup", "ipc",  "mnt",  "net",
	                                       "pid",    "time", "user", "uts" };
#define N_NAMESPACE_TYPES (sizeof(namespace_types) / sizeof(namespace_types[0]))

struct holders {
	struct outside outside;
	bool ahead; /* looked at before the set was frozen, and not since */
	struct held **all;
	size_t n;
	struct map *descriptors; /* struct inode_key -> struct group */
	struct map *others;      /* mappings, cwd, root, exe; NULL: not looked at yet */
	struct map *devices;     /* uint64_t dev -> struct held, the first; NULL as well */
	struct map *namespaces[N_NAMESPACE_TYPES]; /* who is in them; NULL as well */
};

/* ---- references ---- */

static struct group *get_group(struct map *map, const struct inode_key *key)
{
	struct group *group = map_get(map, key, sizeof(*key));

	if (!group) {
		group = xcalloc(1, sizeof(*group));
		map_put(map, key, sizeof(*key), group);
	}
	return group;
}

/* @what: NULL for a descriptor */
static void add_held(struct holders *h, struct map *map, const struct inode_key *key,
                     const struct process *p, pid_t tid, int fd, const char *what)
{
	struct group *group = get_group(map, key);
	struct held *held = xcalloc(1, sizeof(*held));

	held->process = p;
	held->dev = key->dev;
	held->holder = (struct holder){ .pid = p->pid, .tid = tid, .fd = fd };
	memcpy(held->holder.comm, p->comm, sizeof(p->comm));
	if (what)
		snprintf(held->holder.what, sizeof(held->holder.what), "%s", what);
	else
		snprintf(held->holder.what, sizeof(held->holder.what), "fd %d", fd);
	*array_push(h->all, h->n) = held;
	if (group->last)
		group->last->next = held;
	else
		group->first = held;
	group->last = held;
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
static bool read_table(struct holders *h, const struct process *p, pid_t tid)
{
	char path[64];
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd", (int)p->pid, (int)tid);
	_cleanup_(closedir_p) DIR *dir = opendir(path);
	if (!dir)
		return !is_forbidden(-errno);
	while ((entry = readdir(dir))) {
		struct inode_key key = UNKNOWN;
		if (entry->d_name[0] == '.')
			continue;
		int r = stat_link(dirfd(dir), entry->d_name, &key);
		if (r == -ENOENT)
			continue; /* closed meanwhile */
		/* the link or, of a FUSE of another user's, what it leads to? */
		if (is_forbidden(r) && readlinkat(dirfd(dir), entry->d_name, path, 1) < 0)
			return false;
		add_held(h, h->descriptors, &key, p, tid, atoi(entry->d_name), NULL);
	}
	return true;
}

/*
 * All descriptor tables of a process: threads may have their own, and after the leader has exited
 * its own looks empty.
 */
static bool read_tables(struct holders *h, const struct process *p)
{
	char path[40];
	struct dirent *entry;

	if (!read_table(h, p, p->pid))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)p->pid);
	_cleanup_(closedir_p) DIR *dir = p->threaded ? opendir(path) : NULL;
	while (dir && (entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);
		if (tid > 0 && tid != p->pid &&
		    syscall(SYS_kcmp, p->pid, tid, KCMP_FILES, 0, 0) != 0)
			read_table(h, p, tid);
	}
	return true;
}

/* the number in "mnt:[4026531841]" */
static bool read_namespace(pid_t pid, pid_t tid, size_t type, uint64_t *ret)
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
 */
static void read_mapping(struct holders *h, const struct process *p, const char *line)
{
	char range[40], mode[8], path[96];
	unsigned major_number, minor_number;
	unsigned long long inode;
	size_t size = strlen(line);
	bool deleted = size > 11 && !strcmp(line + size - 11, " (deleted)\n");
	struct inode_key key = { 0 };

	if (sscanf(line, "%39s %7s %*s %x:%x %llu", range, mode, &major_number, &minor_number,
	           &inode) != 5 ||
	    !inode || (mode[3] != 's' && !deleted))
		return;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%s", (int)p->pid, range);
	if (stat_link(AT_FDCWD, path, &key) < 0)
		key = (struct inode_key){ makedev(major_number, minor_number), inode };
	add_held(h, h->others, &key, p, p->pid, -1, "mapping");
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

static void read_mappings(struct holders *h, const struct process *p, pid_t tid)
{
	char path[64], *line = NULL;
	size_t room = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/maps", (int)p->pid, (int)tid);
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	while (f && getline(&line, &room, f) > 0)
		read_mapping(h, p, line);
	free(line);
}

static void read_places(struct holders *h, const struct process *p, pid_t tid)
{
	static const char *const names[] = { "cwd", "root", "exe" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[64];
		struct inode_key key = { 0 };
		snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)p->pid, (int)tid,
		         names[i]);
		if (stat_link(AT_FDCWD, path, &key) == 0)
			add_held(h, h->others, &key, p, tid, -1, names[i]);
	}
}

static void read_others(struct holders *h)
{
	if (h->others)
		return;
	h->others = map_new();
	for (size_t i = 0; i < h->outside.n; i++) {
		const struct process *p = h->outside.items[i];
		if (!p->visible)
			continue;
		pid_t tid = p->threaded ? speaking_thread(p) : p->pid;
		read_places(h, p, tid);
		read_mappings(h, p, tid);
	}
}

/* ---- namespaces ---- */

/*
 * Not what "/proc/PID/ns/pid_for_children" names: the pid namespace that a process made for its
 * children is over when its init is, and a time namespace that it has for its children only is
 * nothing that it shares with them.
 */
static void read_namespace_of(struct holders *h, size_t type, const struct process *p, pid_t tid)
{
	struct inode_key key = { 0 };
	char what[24];

	if (!read_namespace(p->pid, tid, type, &key.ino))
		return;
	snprintf(what, sizeof(what), "%s namespace", namespace_types[type]);
	add_held(h, h->namespaces[type], &key, p, tid, -1, what);
}

/* of all threads: each may be in its own */
static void read_namespaces(struct holders *h, size_t type, const struct process *p)
{
	char path[40];
	struct dirent *entry;

	if (!p->threaded) {
		read_namespace_of(h, type, p, p->pid);
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/task", (int)p->pid);
	_cleanup_(closedir_p) DIR *dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			read_namespace_of(h, type, p, atoi(entry->d_name));
}

static struct map *namespaces_of_type(struct holders *h, size_t type)
{
	if (h->namespaces[type])
		return h->namespaces[type];
	h->namespaces[type] = map_new();
	for (size_t i = 0; i < h->outside.n; i++)
		if (h->outside.items[i]->visible)
			read_namespaces(h, type, h->outside.items[i]);
	return h->namespaces[type];
}

/* ---- looking ---- */

/* ahead of the freeze nobody knows yet which processes the set will be: they are read again */
static void mark_inside(const struct holders *h, const struct checkpoint *c)
{
	const struct outside *o = &h->outside;

	for (size_t i = 0; i < o->n; i++) {
		struct process *p = o->items[i];
		bool inside = h->ahead && outside_is_below(o, p, c->options->root);
		if (inside)
			outside_forget(p);
		if (inside || outside_is_below(o, p, getpid()))
			p->visible = false;
	}
}

/* at all that has not been looked at before */
static int look(struct checkpoint *c, struct holders *h, struct error *err)
{
	size_t unseen = 0;
	int r = outside_read(&h->outside, c->by_tid, err);

	if (r < 0)
		return error_trace(err, r);
	mark_inside(h, c);
	for (size_t i = 0; i < h->outside.n; i++) {
		const struct process *p = h->outside.items[i];
		if (!p->fresh || !p->visible)
			continue;
		if (!read_tables(h, p))
			unseen++;
		for (size_t type = 0; type < N_NAMESPACE_TYPES; type++)
			if (h->namespaces[type])
				read_namespaces(h, type, p);
	}
	if (unseen)
		check_unexamined(c, NULL, "what other users' processes hold");
	return 0;
}

static struct holders *new_holders(struct checkpoint *c)
{
	c->holders = xcalloc(1, sizeof(*c->holders));
	c->holders->descriptors = map_new();
	return c->holders;
}

static int get_holders(struct checkpoint *c, struct holders **ret, struct error *err)
{
	bool current = c->holders && !c->holders->ahead;
	struct holders *h = *ret = c->holders ? c->holders : new_holders(c);

	h->ahead = false;
	int r = current ? 0 : look(c, h, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- ahead ---- */

/* it shares no namespace of a type with us: whether others are in it will be asked */
static bool has_own_namespaces(struct holders *h, pid_t root)
{
	bool ret = false;

	for (size_t type = 0; type < N_NAMESPACE_TYPES; type++) {
		uint64_t its, ours;
		if (!read_namespace(root, root, type, &its) ||
		    !read_namespace(getpid(), getpid(), type, &ours) || its == ours)
			continue;
		h->namespaces[type] = map_new();
		ret = true;
	}
	return ret;
}

/* of all but devices it will be asked who has them open, too */
static bool has_open(pid_t root)
{
	char path[40];
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)root);
	_cleanup_(closedir_p) DIR *dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		struct statx st;
		if (entry->d_name[0] != '.' &&
		    statx(dirfd(dir), entry->d_name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
		          STATX_TYPE, &st) == 0 &&
		    !S_ISCHR(st.stx_mode))
			return true;
	}
	return false;
}

/* what a process holds can be changed by one that shares its descriptor table */
static void forget_sharing(const struct outside *o)
{
	struct kcmp_set tables = { 0 };
	struct error ignored;

	for (size_t i = 0; i < o->n; i++) {
		struct kcmp_member *member;
		bool is_new;
		struct process *p = o->items[i];
		if (!p->visible)
			continue;
		if (kcmp_find(&tables, KCMP_FILES, p->pid, 0, &member, &is_new, &ignored) < 0)
			outside_forget(p);
		else if (is_new)
			member->value = p;
		else {
			outside_forget(p);
			outside_forget(member->value);
		}
	}
	kcmp_set_done(&tables);
}

static bool has_children(pid_t root)
{
	char path[64], c;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)root, (int)root);
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, &c, 1) == 1;
}

void holders_look_ahead(struct checkpoint *c)
{
	struct holders *h = new_holders(c);
	struct error ignored;

	h->ahead = true;
	if (!has_own_namespaces(h, c->options->root) && !has_children(c->options->root) &&
	    !has_open(c->options->root))
		return;
	if (look(c, h, &ignored) == 0)
		forget_sharing(&h->outside);
}

/* ---- the questions ---- */

static int answer(const struct map *map, const struct inode_key *key, const struct holder **ret)
{
	const struct group *group = map_get(map, key, sizeof(*key));
	const struct held *held = group ? group->first : NULL;

	while (held && !held->process->visible)
		held = held->next;
	*ret = held ? &held->holder : NULL;
	return held ? 1 : 0;
}

int holders_find_open(struct checkpoint *c, dev_t dev, ino_t ino, const struct holder **ret,
                      struct error *err)
{
	const struct inode_key key = { dev, ino };
	struct holders *h;
	int r = get_holders(c, &h, err);

	return r < 0 ? error_trace(err, r) : answer(h->descriptors, &key, ret);
}

int holders_find(struct checkpoint *c, dev_t dev, ino_t ino, const struct holder **ret,
                 struct error *err)
{
	const struct inode_key key = { dev, ino };
	int r = holders_find_open(c, dev, ino, ret, err);

	if (r < 0)
		return error_trace(err, r);
	if (r > 0)
		return r;
	read_others(c->holders);
	return answer(c->holders->others, &key, ret);
}

static void sort_by_device(struct holders *h)
{
	if (h->devices)
		return;
	h->devices = map_new();
	for (size_t i = 0; i < h->n; i++)
		if (h->all[i]->process->visible &&
		    !map_get(h->devices, &h->all[i]->dev, sizeof(h->all[i]->dev)))
			map_put(h->devices, &h->all[i]->dev, sizeof(h->all[i]->dev), h->all[i]);
}

int holders_find_on(struct checkpoint *c, dev_t dev, const struct holder **ret, struct error *err)
{
	const uint64_t key = dev;
	struct holders *h;
	int r = get_holders(c, &h, err);

	*ret = NULL;
	if (r < 0)
		return error_trace(err, r);
	read_others(h);
	sort_by_device(h);
	const struct held *held = map_get(h->devices, &key, sizeof(key));
	*ret = held ? &held->holder : NULL;
	return held ? 1 : 0;
}

int holders_find_namespace(struct checkpoint *c, const char *link, const struct holder **ret,
                           struct error *err)
{
	struct inode_key key = { 0 }, open = { 0 };
	size_t type = 0, size = strcspn(link, ":");
	char path[32];

	while (strncmp(namespace_types[type], link, size) != 0)
		type++;
	snprintf(path, sizeof(path), "/proc/self/ns/%s", namespace_types[type]);
	int r = stat_link(AT_FDCWD, path, &open);
	if (r < 0 || sscanf(link + size, ":[%" SCNu64, &key.ino) != 1)
		return error_raise(err, r < 0 ? -r : EBADMSG, "look at namespace %s", link);
	r = holders_find_open(c, (dev_t)open.dev, key.ino, ret, err);
	if (r < 0)
		return error_trace(err, r);
	if (r > 0)
		return r;
	return answer(namespaces_of_type(c->holders, type), &key, ret);
}

static bool is_there(const struct kcmp_member *m)
{
	return syscall(SYS_kcmp, m->tid, m->tid, KCMP_FILE, m->index, m->index) == 0;
}

static void drop_ended(struct kcmp_set *set)
{
	size_t kept = 0;

	for (size_t i = 0; i < set->n; i++)
		if (is_there(&set->members[i]))
			set->members[kept++] = set->members[i];
	set->n = kept;
}

/*
 * kcmp_find() among files of processes that run and may close them: those are dropped. Returns
 * NULL if the file asked for is itself gone.
 */
static struct kcmp_member *find_running(struct kcmp_set *set, pid_t tid, int fd)
{
	const struct kcmp_member self = { .tid = tid, .index = (unsigned long)fd };
	struct kcmp_member *member;
	struct error ignored;

	for (int attempt = 0; attempt < 8 && is_there(&self); attempt++) {
		if (kcmp_find(set, KCMP_FILE, tid, (unsigned long)fd, &member, NULL, &ignored) == 0)
			return member;
		drop_ended(set);
	}
	return NULL;
}

static void sort_group(struct group *group)
{
	if (group->sorted)
		return;
	group->sorted = true;
	for (struct held *held = group->first; held; held = held->next) {
		struct kcmp_member *member = held->process->visible
		                                     ? find_running(&group->files, held->holder.tid,
		                                                    held->holder.fd)
		                                     : NULL;
		if (member)
			member->value = held;
	}
}

static const struct held *find_in_group(struct group *group, const struct descriptor *d)
{
	if (!group)
		return NULL;
	sort_group(group);
	const struct kcmp_member *member = find_running(&group->files, d->task->tid, d->fd);
	return member ? member->value : NULL;
}

int holders_find_file(struct checkpoint *c, const struct descriptor *d, const struct holder **ret,
                      struct error *err)
{
	const struct inode_key key = { d->st.st_dev, d->st.st_ino };
	struct holders *h;
	int r = get_holders(c, &h, err);

	*ret = NULL;
	if (r < 0)
		return error_trace(err, r);
	const struct held *held = find_in_group(map_get(h->descriptors, &key, sizeof(key)), d);
	if (!held)
		held = find_in_group(map_get(h->descriptors, &UNKNOWN, sizeof(UNKNOWN)), d);
	*ret = held ? &held->holder : NULL;
	return held ? 1 : 0;
}

void refuse_leak(struct checkpoint *c, const struct task *task, const char *object, const char *key,
                 const struct holder *holder)
{
	struct error refusal;

	error_refuse(&refusal, CODE_leak, "also held by pid %d (%s) %s, outside the set",
	             (int)holder->pid, holder->comm, holder->what);
	error_object(&refusal, "%s", object);
	if (key)
		error_hint(&refusal,
		           "end that process, or declare it to stay outside: --external %s=NAME",
		           key);
	else
		error_hint(&refusal, "end that process, or checkpoint a tree that it belongs to");
	refuse(c, task, &refusal);
}

/* ---- the end ---- */

static void free_groups(struct map *map)
{
	size_t cursor = 0;
	struct group *group;

	if (!map)
		return;
	while ((group = map_next(map, &cursor))) {
		kcmp_set_done(&group->files);
		free(group);
	}
	map_free(map);
}

void holders_free(struct holders *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n; i++)
		free(h->all[i]);
	free(h->all);
	outside_done(&h->outside);
	free_groups(h->descriptors);
	free_groups(h->others);
	map_free(h->devices);
	for (size_t i = 0; i < N_NAMESPACE_TYPES; i++)
		free_groups(h->namespaces[i]);
	free(h);
}
