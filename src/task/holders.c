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
#include <unistd.h>

#include "core/checkpoint.h"
#include "host/turn.h"
#include "kind/kind.h"
#include "task/kcmp.h"
#include "task/outside.h"
#include "task/references.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

struct holders {
	struct outside outside;
	bool ahead; /* looked at before the set was frozen, and not since */
	struct references refs;
};

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
static int look_in_turn(struct checkpoint *c, struct holders *h, struct error *err)
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
		if (!references_read(&h->refs, p))
			unseen++;
	}
	if (unseen)
		check_unexamined(c, NULL, "what other users' processes hold", CODE_leak);
	return 0;
}

static int look(struct checkpoint *c, struct holders *h, struct error *err)
{
	int turn = turn_take(false);
	int r = look_in_turn(c, h, err);

	close_p(&turn);
	return r < 0 ? error_trace(err, r) : 0;
}

static struct holders *new_holders(struct checkpoint *c)
{
	c->holders = xcalloc(1, sizeof(*c->holders));
	c->holders->refs.descriptors = map_new();
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
		if (!reference_namespace(root, root, type, &its) ||
		    !reference_namespace(getpid(), getpid(), type, &ours) || its == ours)
			continue;
		h->refs.namespaces[type] = map_new();
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
	const struct reference_group *group = map_get(map, key, sizeof(*key));
	const struct reference *held = group ? group->first : NULL;

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

	return r < 0 ? error_trace(err, r) : answer(h->refs.descriptors, &key, ret);
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
	return answer(references_others(&c->holders->refs, &c->holders->outside), &key, ret);
}

int holders_find_on(struct checkpoint *c, dev_t dev, const struct holder **ret, struct error *err)
{
	const uint64_t key = dev;
	struct holders *h;
	int r = get_holders(c, &h, err);

	*ret = NULL;
	if (r < 0)
		return error_trace(err, r);
	const struct reference *held = map_get(references_devices(&h->refs, &h->outside), &key,
	                                       sizeof(key));
	*ret = held ? &held->holder : NULL;
	return held ? 1 : 0;
}

int holders_find_namespace(struct checkpoint *c, const char *link, const struct holder **ret,
                           struct error *err)
{
	struct inode_key key = { 0 };
	struct stat st;
	size_t type = 0, size = strcspn(link, ":");
	char path[32];

	while (strncmp(namespace_types[type], link, size) != 0)
		type++;
	snprintf(path, sizeof(path), "/proc/self/ns/%s", namespace_types[type]);
	if (stat(path, &st) < 0)
		return error_raise(err, errno, "look at %s", path);
	if (sscanf(link + size, ":[%" SCNu64, &key.ino) != 1)
		return error_raise(err, EBADMSG, "look at namespace %s", link);
	int r = holders_find_open(c, st.st_dev, key.ino, ret, err);
	if (r < 0)
		return error_trace(err, r);
	if (r > 0)
		return r;
	return answer(references_namespaces(&c->holders->refs, &c->holders->outside, type), &key,
	              ret);
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

static void sort_group(struct reference_group *group)
{
	if (group->sorted)
		return;
	group->sorted = true;
	for (struct reference *held = group->first; held; held = held->next) {
		struct kcmp_member *member = held->process->visible
		                                     ? find_running(&group->files, held->holder.tid,
		                                                    held->holder.fd)
		                                     : NULL;
		if (member)
			member->value = held;
	}
}

static const struct reference *find_in_group(struct reference_group *group,
                                             const struct descriptor *d)
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
	const struct reference *held =
		find_in_group(map_get(h->refs.descriptors, &key, sizeof(key)), d);
	if (!held)
		held = find_in_group(
			map_get(h->refs.descriptors, &UNKNOWN_INODE, sizeof(UNKNOWN_INODE)), d);
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
	else if (c->n_tasks && holder->pid == c->tasks[0]->stat.ppid)
		error_hint(&refusal,
		           "it is the parent of this tree: checkpoint %d instead, or end it",
		           (int)holder->pid);
	else
		error_hint(&refusal, "end that process, or checkpoint a tree that it belongs to");
	refuse(c, task, &refusal);
}

/* ---- the end ---- */

void holders_free(struct holders *h)
{
	if (!h)
		return;
	outside_done(&h->outside);
	references_done(&h->refs);
	free(h);
}
