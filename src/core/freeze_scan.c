/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The set is found by walking /proc/PID/task/TID/children from the root, and from what has entered
 * its pid namespace.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/entered.h"
#include "core/freeze_private.h"
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

/* adds a process, its leader first; nothing when it has gone meanwhile */
static int scan_process(struct freezer *f, struct scan *s, pid_t tgid, pid_t parent, size_t caller,
                        struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task", tgid);
	_cleanup_(closedir_p) DIR *dir = opendir(path);
	size_t first = s->n;

	while (dir) {
		const struct dirent *entry = readdir(dir);
		if (!entry)
			break;
		pid_t tid = atoi(entry->d_name);
		if (tid <= 0)
			continue;
		struct found *item = array_push(s->items, s->n);
		*item = (struct found){
			.tid = tid, .tgid = tgid, .parent = parent, .caller = caller
		};
		if (freeze_hold(f, tid))
			continue;
		struct proc_stat stat;
		int r = freeze_read_stat(tgid, tid, &stat, err);
		if (r == -ENOENT || r == -ESRCH)
			s->n--;
		else if (r < 0)
			return error_trace(err, r);
		else
			item->dead = freeze_is_dead(stat.state);
	}
	if (s->n == first)
		return 0;
	qsort(s->items + first, s->n - first, sizeof(*s->items), compare_tids);
	for (size_t i = first; i < s->n; i++) /* the leader's pid may have wrapped around */
		if (s->items[i].tid == tgid) {
			struct found leader = s->items[i];
			memmove(s->items + first + 1, s->items + first,
			        (i - first) * sizeof(*s->items));
			s->items[first] = leader;
		}
	return 0;
}

static int scan_children(struct freezer *f, struct scan *s, size_t index, struct error *err)
{
	const struct found item = s->items[index];
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task/%d/children", item.tgid, item.tid);
	_cleanup_(free_p) char *text = NULL;
	ssize_t n = file_read(AT_FDCWD, path, &text);

	if (n == -ENOENT && freeze_hold(f, item.tid))
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

/* those that were found in the set otherwise are held, or not, as such */
static void add_unseen(struct scan *s, const struct entered *entered)
{
	struct map *found = map_new();

	for (size_t i = 0; entered->n_unseen && i < s->n; i++)
		map_put(found, &s->items[i].tid, sizeof(pid_t), &s->items[i]);
	for (size_t i = 0; i < entered->n_unseen; i++)
		if (!map_get(found, &entered->unseen[i], sizeof(pid_t)))
			*array_push(s->unseen, s->n_unseen) =
				(struct unseen){ entered->unseen[i],
				                 "it is in the set's pid namespace, but may not be "
				                 "looked at" };
	map_free(found);
}

/* the root with all below it; then what has entered its pid namespace, each with the same */
int freeze_scan(struct freezer *f, struct error *err)
{
	struct entered entered = { 0 };
	struct scan s = { 0 };
	pid_t root = f->c->options->root;
	size_t at = 0;
	int r = scan_process(f, &s, root, 0, SIZE_MAX, err);

	if (r == 0)
		r = entered_find(root, &entered, err);
	if (r == -EPERM) {
		s.blind = EPERM;
		r = 0;
	}
	for (size_t i = 0; r == 0 && i <= entered.n; i++) {
		for (; r == 0 && at < s.n; at++)
			r = scan_children(f, &s, at, err);
		if (r == 0 && i < entered.n)
			r = scan_process(f, &s, entered.pids[i], 0, SIZE_MAX, err);
	}
	if (r == 0 && s.n == 0)
		r = error_raise(err, ESRCH, "there is no process %d", root);
	if (r == 0)
		add_unseen(&s, &entered);
	free(entered.pids);
	free(entered.unseen);
	freeze_scan_free(&f->scan);
	f->scan = s;
	return r < 0 ? error_trace(err, r) : 0;
}
