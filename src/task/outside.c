/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The processes of the system. See outside.h. */
#include "task/outside.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proc/read.h"
#include "proc/stat.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h; a kernel thread holds nothing */

/* ---- whether it has run ---- */

/*
 * How long it has run, in ns, and how often: both grow when it leaves the processor. A kernel
 * without CONFIG_SCHED_INFO says "0 0 0".
 */
static void read_runs(pid_t pid, char *runs, size_t size)
{
	if (proc_read(pid, "schedstat", runs, size) <= 0 || !strcmp(runs, "0 0 0\n"))
		*runs = 0;
}

/*
 * schedstat tells nothing of who runs all the time. So it is seen first that it does not: only of
 * who is off the processor "syscall" says more than "running".
 */
static bool has_run(const struct process *p)
{
	char text[sizeof(p->runs)];

	if (!*p->runs || proc_read(p->pid, "syscall", text, sizeof(text)) <= 0 ||
	    !strncmp(text, "running", 7))
		return true;
	read_runs(p->pid, text, sizeof(text));
	return strcmp(text, p->runs) != 0;
}

/* ---- the list ---- */

static struct process *read_process(struct outside *o, pid_t pid)
{
	char text[2048], runs[sizeof(((struct process *)0)->runs)];
	struct proc_stat stat;
	struct error ignored;

	read_runs(pid, runs, sizeof(runs)); /* before all else of it */
	if (proc_read(pid, "stat", text, sizeof(text)) <= 0 ||
	    proc_stat_parse(text, &stat, &ignored) < 0)
		return NULL;
	struct process *p = *array_push(o->made, o->n_made) = xcalloc(1, sizeof(*p));
	p->pid = pid;
	p->ppid = stat.ppid;
	snprintf(p->comm, sizeof(p->comm), "%.*s", (int)sizeof(p->comm) - 1, stat.comm);
	p->visible = !(stat.flags & PF_KTHREAD) && stat.state != 'X';
	p->threaded = stat.num_threads > 1;
	p->fresh = true;
	if (!p->threaded) /* to ask each thread would take as long as to look at them all */
		memcpy(p->runs, runs, sizeof(runs));
	return p;
}

static int by_pid(const void *a, const void *b)
{
	const struct process *const *x = a, *const *y = b;

	return ((*x)->pid > (*y)->pid) - ((*x)->pid < (*y)->pid);
}

struct process *outside_find(const struct outside *o, pid_t pid)
{
	struct process key = { .pid = pid }, *p = &key;
	struct process **found = o->n ? bsearch(&p, o->items, o->n, sizeof(p), by_pid) : NULL;

	return found ? *found : NULL;
}

int outside_read(struct outside *o, const struct map *inside, struct error *err)
{
	_cleanup_(closedir_p) DIR *dir = opendir("/proc");
	struct process **items = NULL;
	size_t n = 0;
	struct dirent *entry;

	if (!dir)
		return error_raise(err, errno, "open /proc");
	for (size_t i = 0; i < o->n_made; i++)
		o->made[i]->there = o->made[i]->fresh = false;
	while ((entry = readdir(dir))) {
		pid_t pid = atoi(entry->d_name);
		if (pid <= 0 || map_get(inside, &pid, sizeof(pid)))
			continue;
		struct process *p = outside_find(o, pid);
		if (!p || has_run(p))
			p = read_process(o, pid);
		if (!p)
			continue; /* it has ended meanwhile */
		p->there = true;
		*array_push(items, n) = p;
	}
	for (size_t i = 0; i < o->n_made; i++)
		o->made[i]->visible = o->made[i]->visible && o->made[i]->there;
	free(o->items);
	o->items = items;
	o->n = n;
	if (n)
		qsort(items, n, sizeof(items[0]), by_pid);
	return 0;
}

void outside_forget(struct process *p)
{
	*p->runs = 0;
}

/* the way up is short, and bounded in case pids changed hands */
bool outside_is_below(const struct outside *o, const struct process *p, pid_t ancestor)
{
	for (int depth = 0; p && depth < 64; depth++) {
		if (p->pid == ancestor)
			return true;
		p = outside_find(o, p->ppid);
	}
	return false;
}

void outside_done(struct outside *o)
{
	for (size_t i = 0; i < o->n_made; i++)
		free(o->made[i]);
	free(o->made);
	free(o->items);
}
