/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The set is found by walking /proc/PID/task/TID/children from the root, and from what has entered
 * its pid namespace.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/entered.h"
#include "core/freeze_private.h"
#include "core/unseen.h"
#include "proc/hidden.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

struct hold *freeze_hold(const struct freezer *f, pid_t tid)
{
	struct hold *hold = map_get(f->held, &tid, sizeof(tid));

	return hold && hold->state != HOLD_GONE ? hold : NULL;
}

int freeze_read_stat(pid_t tgid, pid_t tid, struct proc_stat *ret, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task/%d/stat", tgid, tid);
	_cleanup_(free_p) char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text);

	if (n < 0)
		return (int)n;
	int r = proc_stat_parse(text, ret, err);
	return r < 0 ? error_trace(err, r) : 0;
}

bool freeze_is_dead(char state)
{
	return state == 'Z' || state == 'X' || state == 'x';
}

static int compare_tids(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

/*
 * In execve(2) of a thread that is not the leader there is a moment in which /proc shows none of
 * the process' threads, or its leader as dead, which is released while its state is read: it has no
 * threads at all then. So it is looked at again; what stays so is hidden (mounted with hidepid).
 */
#define LOOKS_MAX 50

static void wait_to_look(int looks)
{
	nanosleep(&(struct timespec){ .tv_nsec = looks * 10000l }, NULL); /* 12 ms altogether */
}

static bool is_replaced(const struct proc_stat *stat)
{
	return freeze_is_dead(stat->state) && stat->num_threads == 0;
}

int freeze_read_leader(pid_t tgid, struct proc_stat *ret, struct error *err)
{
	for (int looks = 0; looks < LOOKS_MAX; looks++) {
		int r = freeze_read_stat(tgid, tgid, ret, err);
		if (r == 0 && !is_replaced(ret))
			return 0;
		if (r < 0 && r != -ENOENT && r != -ESRCH)
			return r;
		if (!proc_exists(tgid))
			return -ESRCH;
		wait_to_look(looks);
	}
	return -EACCES;
}

/* the leader first: its pid may have wrapped around */
static void sort_threads(struct found *items, size_t n, pid_t tgid)
{
	qsort(items, n, sizeof(*items), compare_tids);
	for (size_t i = 0; i < n; i++)
		if (items[i].tid == tgid) {
			struct found leader = items[i];
			memmove(items + 1, items, i * sizeof(*items));
			items[0] = leader;
		}
}

/* adds the threads that are there; 1: its leader is among them, as it must be; -EACCES */
static int list_threads(struct freezer *f, struct scan *s, const struct found *process,
                        struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task", process->tgid);
	_cleanup_(closedir_p) DIR *dir = opendir(path);
	bool has_leader = false;

	if (!dir && (errno == EPERM || errno == EACCES))
		return -EACCES;
	while (dir) {
		const struct dirent *entry = readdir(dir);
		struct proc_stat stat = { .num_threads = 1 };
		if (!entry)
			break;
		pid_t tid = atoi(entry->d_name);
		if (tid <= 0)
			continue;
		int r = freeze_hold(f, tid) ? 0 : freeze_read_stat(process->tgid, tid, &stat, err);
		if (r == -ENOENT || r == -ESRCH || (tid == process->tgid && is_replaced(&stat))) {
			s->vanished = true;
			continue;
		}
		if (r < 0)
			return error_trace(err, r);
		struct found *item = array_push(s->items, s->n);
		*item = *process;
		item->tid = tid;
		item->dead = freeze_is_dead(stat.state);
		has_leader |= tid == process->tgid;
	}
	return has_leader;
}

/* adds a process, its leader first; nothing when it has gone meanwhile */
static int scan_process(struct freezer *f, struct scan *s, pid_t tgid, pid_t parent, size_t caller,
                        struct error *err)
{
	const struct found process = { .tgid = tgid, .parent = parent, .caller = caller };
	size_t first = s->n;
	int r = 0;

	for (int looks = 0; r == 0 && looks < LOOKS_MAX; looks++) {
		if (looks > 0)
			wait_to_look(looks);
		s->n = first;
		r = list_threads(f, s, &process, err);
		if (r == 0 && !proc_exists(tgid)) {
			s->n = first;
			s->vanished = true;
			return 0;
		}
	}
	if (r == 0 || r == -EACCES) {
		s->n = first;
		*array_push(s->unseen, s->n_unseen) =
			(struct unseen){ tgid, "it is in the set, but /proc does not show it" };
		return 0;
	}
	if (r < 0)
		return error_trace(err, r);
	sort_threads(s->items + first, s->n - first, tgid);
	return 0;
}

static int scan_children(struct freezer *f, struct scan *s, size_t index, struct error *err)
{
	const struct found item = s->items[index];
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task/%d/children", item.tgid, item.tid);
	_cleanup_(free_p) char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text);

	if (n == -ENOENT && access("/proc/thread-self/children", F_OK) < 0)
		return error_raise(err, ENOENT, "read %s, which needs CONFIG_PROC_CHILDREN", path);
	if (n <= 0 || !text)
		return 0; /* it has none, or has gone: the next scan sorts that out */
	for (char *p = text; *p;) {
		char *end;
		long tid = strtol(p, &end, 10);
		if (end == p)
			break;
		int r = scan_process(f, s, (pid_t)tid, item.tid, index, err);
		if (r < 0)
			return error_trace(err, r);
		p = end + strspn(end, " ");
	}
	return 0;
}

void freeze_scan_free(struct scan *scan)
{
	free(scan->items);
	free(scan->unseen);
	*scan = (struct scan){ 0 };
}

/* what was found in the set otherwise is held, or not, as such */
static int add_unseen(struct scan *s, struct error *err)
{
	_cleanup_(map_freep) struct map *found = map_new();
	_cleanup_(free_p) pid_t *set = xcalloc(s->n, sizeof(*set)), *unseen = NULL;
	size_t n = 0, n_unseen = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->items[i].tid == s->items[i].tgid)
			set[n++] = s->items[i].tgid;
	int r = unseen_find(set, n, &unseen, &n_unseen, err);
	if (r == -EPERM)
		s->blind = EPERM;
	else if (r < 0)
		return error_trace(err, r);
	for (size_t i = 0; n_unseen && i < n; i++)
		map_put(found, &set[i], sizeof(pid_t), s);
	for (size_t i = 0; n_unseen && i < s->n_unseen; i++)
		map_put(found, &s->unseen[i].pid, sizeof(pid_t), s);
	for (size_t i = 0; i < n_unseen; i++)
		if (!map_get(found, &unseen[i], sizeof(pid_t)))
			*array_push(s->unseen, s->n_unseen) =
				(struct unseen){ unseen[i],
				                 "it is in the set's pid namespace, but may not be "
				                 "looked at" };
	return 0;
}

/* the root with all below it; then what has entered its pid namespace, each with the same */
int freeze_scan(struct freezer *f, struct error *err)
{
	_cleanup_(free_p) pid_t *entered = NULL;
	struct scan s = { 0 };
	pid_t root = f->c->options->root;
	size_t n = 0, at = 0;
	int r = scan_process(f, &s, root, 0, SIZE_MAX, err);

	if (r == 0)
		r = entered_find(root, &entered, &n, err);
	for (size_t i = 0; r == 0 && i <= n; i++) {
		for (; r == 0 && at < s.n; at++)
			r = scan_children(f, &s, at, err);
		if (r == 0 && i < n)
			r = scan_process(f, &s, entered[i], 0, SIZE_MAX, err);
	}
	if (r == 0 && s.n == 0 && s.n_unseen == 0)
		r = error_raise(err, ESRCH, "there is no process %d", root);
	if (r == 0)
		r = add_unseen(&s, err);
	freeze_scan_free(&f->scan);
	f->scan = s;
	return r < 0 ? error_trace(err, r) : 0;
}
