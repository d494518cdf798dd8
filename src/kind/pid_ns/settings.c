/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings of pid namespaces. See settings.h. */
#include "kind/pid_ns/settings.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "host/enter.h"
#include "host/helper.h"
#include "kind/namespace/ns.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

#define LAST_PID     "/proc/sys/kernel/ns_last_pid"
#define PID_MAX      "/proc/sys/kernel/pid_max"
#define MEMFD_NOEXEC "/proc/sys/vm/memfd_noexec"

/* ---- going there ---- */

struct job {
	int fd;
	helper_fn *fn;
	struct pid_ns_settings settings;
	uint32_t host_pid_max;
};

/* setns(2) of a pid namespace is for children: the child of this helper is in it */
static int run_job(void *arg, struct error *err)
{
	struct job *job = arg;

	if (namespace_enter(job->fd, CLONE_NEWPID) < 0)
		return error_raise(err, errno, "enter a pid namespace");
	return helper_run_here(job->fn, job, err);
}

static int do_job(struct job *job, struct error *err)
{
	int r = helper_run_here(run_job, job, err);

	return r < 0 ? error_trace(err, r) : r;
}

/* ---- numbers in /proc/sys ---- */

/* that of the reader's pid namespace; 0 where there is none */
static uint32_t read_number(const char *path)
{
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[24] = "";

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 ? (uint32_t)strtoul(text, NULL, 10)
	                                                       : 0;
}

/* its own number is the next that the namespace had to give */
static int read_inside(void *arg, struct error *err)
{
	struct job *job = arg;

	job->settings = (struct pid_ns_settings){ .last_pid = (uint32_t)getpid() - 1,
		                                  .pid_max = read_number(PID_MAX),
		                                  .memfd_noexec = read_number(MEMFD_NOEXEC) };
	return 0;
}

/* pid_max is the namespace's own since 6.14: nothing else tells, if the host has the same */
static bool has_own_pid_max(uint32_t inside, uint32_t host)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	if (inside != host)
		return true;
	return uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 14));
}

static int write_last_inside(void *arg, struct error *err)
{
	const struct job *job = arg;

	return file_write(LAST_PID, err, "%u", job->settings.last_pid);
}

static int write_inside(void *arg, struct error *err)
{
	const struct job *job = arg;
	const struct pid_ns_settings *s = &job->settings;
	uint32_t pid_max = read_number(PID_MAX);
	int r = 0;

	if (s->pid_max && s->pid_max != pid_max && has_own_pid_max(pid_max, job->host_pid_max))
		r = file_write(PID_MAX, err, "%u", s->pid_max);
	if (r == 0 && s->memfd_noexec != read_number(MEMFD_NOEXEC))
		r = file_write(MEMFD_NOEXEC, err, "%u", s->memfd_noexec);
	if (r == 0)
		r = write_last_inside(arg, err);
	return r;
}

/* ---- from outside ---- */

int pid_ns_read_settings(int fd, struct pid_ns_settings *ret, struct error *err)
{
	struct job job = { .fd = fd, .fn = read_inside };
	int r = do_job(&job, err);

	*ret = job.settings;
	return r;
}

int pid_ns_write_settings(int fd, const struct pid_ns_settings *settings, struct error *err)
{
	struct job job = { .fd = fd,
		           .fn = write_inside,
		           .settings = *settings,
		           .host_pid_max = read_number(PID_MAX) };

	return do_job(&job, err);
}

int pid_ns_write_last_pid(int fd, uint32_t last_pid, struct error *err)
{
	struct job job = { .fd = fd, .fn = write_last_inside, .settings.last_pid = last_pid };

	return do_job(&job, err);
}

/* ---- dead ones: what has had an init, which is gone, is so for ever ---- */

struct dying {
	int above;
	size_t at, n;
	struct pid_ns_dead list[];
};

static int run_dying(helper_fn *fn, struct dying *d, struct error *err)
{
	return helper_run(fn, d, sizeof(*d) + d->n * sizeof(d->list[0]), err);
}

static helper_fn make_dead;

/* its init: all that are below it are made while it lives */
static int be_init(void *arg, struct error *err)
{
	struct dying *d = arg;
	size_t at = d->at;
	int r = 0;

	for (size_t i = at + 1; r == 0 && i < d->n; i++) {
		d->at = i;
		if (d->list[i].above == at)
			r = run_dying(make_dead, d, err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

/* runs in the namespace above */
static int make_dead(void *arg, struct error *err)
{
	struct dying *d = arg;
	size_t at = d->at;
	bool is_there = at && d->list[at].owner == d->list[d->list[at].above].owner;
	int r = is_there ? 0 : ns_enter_owner(d->list[at].owner, err);

	if (r == 0 && unshare(CLONE_NEWPID) < 0)
		r = error_raise(err, errno, "make a pid namespace");
	if (r == 0)
		r = run_dying(be_init, d, err);
	if (r < 0)
		return error_trace(err, r);
	int fd = open("/proc/thread-self/ns/pid_for_children", O_RDONLY | O_CLOEXEC);
	d->list[at].fd = fd;
	return fd < 0 ? error_raise(err, errno, "open a pid namespace") : 0;
}

static int make_dead_below(void *arg, struct error *err)
{
	struct dying *d = arg;

	if (namespace_enter(d->above, CLONE_NEWPID) < 0)
		return error_raise(err, errno, "enter a pid namespace");
	return run_dying(make_dead, d, err);
}

int pid_ns_make_dead(int above, struct pid_ns_dead *list, size_t n, struct error *err)
{
	_cleanup_(free_p) struct dying *d = xmalloc(sizeof(*d) + n * sizeof(*list));

	*d = (struct dying){ .above = above, .n = n };
	memcpy(d->list, list, n * sizeof(*list));
	/* not in our memory: the owner's rights are for a copy of it */
	int r = run_dying(above < 0 ? make_dead : make_dead_below, d, err);
	memcpy(list, d->list, n * sizeof(*list));
	return r < 0 ? error_trace(err, r) : 0;
}
