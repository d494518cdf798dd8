/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Resource limits, read from /proc/PID/limits (prlimit(2) would need CAP_SYS_RESOURCE for another
 * user's) and set by the new process itself, for the same reason. Only those that differ from what
 * it has inherited are set: raising a hard limit needs CAP_SYS_RESOURCE, leaving it does not.
 */
#include "kind/rlimit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/features.h"
#include "rlimit.pb-c.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#ifndef CAP_SYS_RESOURCE
#define CAP_SYS_RESOURCE 24
#endif
#define N_LIMITS   16 /* RLIM_NLIMITS of Linux 6.1 to 6.18 */
#define NAME_WIDTH 25 /* columns of /proc/PID/limits before the first number */

/* as /proc/PID/limits calls them, by RLIMIT_* */
static const char *const names[N_LIMITS] = {
	[RLIMIT_CPU] = "Max cpu time",
	[RLIMIT_FSIZE] = "Max file size",
	[RLIMIT_DATA] = "Max data size",
	[RLIMIT_STACK] = "Max stack size",
	[RLIMIT_CORE] = "Max core file size",
	[RLIMIT_RSS] = "Max resident set",
	[RLIMIT_NPROC] = "Max processes",
	[RLIMIT_NOFILE] = "Max open files",
	[RLIMIT_MEMLOCK] = "Max locked memory",
	[RLIMIT_AS] = "Max address space",
	[RLIMIT_LOCKS] = "Max file locks",
	[RLIMIT_SIGPENDING] = "Max pending signals",
	[RLIMIT_MSGQUEUE] = "Max msgqueue size",
	[RLIMIT_NICE] = "Max nice priority",
	[RLIMIT_RTPRIO] = "Max realtime priority",
	[RLIMIT_RTTIME] = "Max realtime timeout",
};

/* ---- checkpoint ---- */

static bool parse_value(const char **p, uint64_t *ret)
{
	char *end;

	*p += strspn(*p, " ");
	if (!strncmp(*p, "unlimited", 9)) {
		*p += 9;
		*ret = RLIM64_INFINITY;
		return true;
	}
	errno = 0;
	*ret = strtoull(*p, &end, 10);
	if (end == *p || errno)
		return false;
	*p = end;
	return true;
}

static void refuse_line(struct checkpoint *c, const struct task *task, const char *line)
{
	struct error refusal;

	error_refuse(&refusal, CODE_unknown_state, "a limit that is not known: %.60s", line);
	refuse(c, task, &refusal);
}

/* one line; false when it is none that is known */
static bool parse_line(const char *line, RlimitLimit *limits)
{
	for (uint32_t i = 0; i < N_LIMITS; i++) {
		size_t size = strlen(names[i]);
		if (strncmp(line, names[i], size) != 0 ||
		    strspn(line + size, " ") < NAME_WIDTH - size)
			continue;
		const char *p = line + size;
		limits[i].resource = i + 1; /* seen */
		return parse_value(&p, &limits[i].soft) && parse_value(&p, &limits[i].hard);
	}
	return false;
}

static int parse_limits(struct checkpoint *c, const struct task *task, char *text,
                        RlimitLimit *limits, struct error *err)
{
	char *save = NULL;

	(void)strtok_r(text, "\n", &save); /* the heading */
	for (char *line; (line = strtok_r(NULL, "\n", &save));)
		if (!parse_line(line, limits))
			refuse_line(c, task, line);
	for (uint32_t i = 0; i < N_LIMITS; i++)
		if (limits[i].resource-- == 0)
			return error_raise(err, EBADMSG, "/proc/%d/limits lacks \"%s\"", task->tid,
			                   names[i]);
	return 0;
}

static int rlimit_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	RlimitLimit limits[N_LIMITS];

	if (!task->speaks)
		return 0;
	for (uint32_t i = 0; i < N_LIMITS; i++)
		rlimit_limit__init(&limits[i]);
	int r = task_read(task, "limits", &text, NULL, err);
	if (r == 0)
		r = parse_limits(c, task, text, limits, err);
	if (r < 0)
		return error_trace(err, r);
	RlimitState *s = xmalloc(sizeof(*s));
	rlimit_state__init(s);
	for (uint32_t i = 0; i < N_LIMITS; i++)
		*array_push(s->limits, s->n_limits) = xmemdup(&limits[i], sizeof(limits[i]));
	task_refer(task, objects_get_equal(c->objects, &rlimit_kind, &s->base));
	return 0;
}

/* ---- restart ---- */

static int rlimit_validate(const struct objects *objects, const struct object *object,
                           struct error *err)
{
	const RlimitState *s = object_state(object, RlimitState);

	if (s->n_limits != N_LIMITS)
		return error_raise(err, EBADMSG, "%zu limits", s->n_limits);
	for (uint32_t i = 0; i < N_LIMITS; i++) {
		if (s->limits[i]->resource != i)
			return error_raise(err, EBADMSG, "limit %u is out of order",
			                   s->limits[i]->resource);
		if (s->limits[i]->soft > s->limits[i]->hard)
			return error_raise(err, EBADMSG, "the soft limit %u is above the hard one",
			                   i);
	}
	return 0;
}

static uint64_t number_in(const char *path)
{
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	unsigned long long n;

	return f && fscanf(f, "%llu", &n) == 1 ? n : UINT64_MAX;
}

static void refuse_limit(struct restart *r, enum code code, const RlimitLimit *l, uint64_t own,
                         const char *hint)
{
	struct error refusal;

	error_refuse(&refusal, code, "%s: the hard limit was %llu and here it is %llu",
	             names[l->resource] + strlen("Max "), (unsigned long long)l->hard,
	             (unsigned long long)own);
	error_hint(&refusal, "%s", hint);
	restart_refuse(r, &refusal);
}

static int rlimit_preflight(struct restart *r, struct object *object, struct error *err)
{
	const RlimitState *s = object_state(object, RlimitState);
	uint64_t nr_open = number_in("/proc/sys/fs/nr_open");

	for (uint32_t i = 0; i < N_LIMITS; i++) {
		const RlimitLimit *l = s->limits[i];
		struct rlimit64 own;
		if (getrlimit64((int)i, &own) < 0)
			return error_raise(err, errno, "read the limit of %s", names[i]);
		if (l->hard <= own.rlim_max)
			continue;
		if (!features_capability(CAP_SYS_RESOURCE))
			refuse_limit(r, CODE_rlimit_raise, l, own.rlim_max,
			             "raising it needs CAP_SYS_RESOURCE; or start the restart "
			             "where the limit is as high (ulimit -H)");
		else if (i == RLIMIT_NOFILE && l->hard > nr_open)
			refuse_limit(r, CODE_rlimit_nr_open, l, nr_open,
			             "raise /proc/sys/fs/nr_open");
	}
	return 0;
}

/* the stubs inherit ours until the end: a soft limit, of a shell for example, must not be in the
 * way */
static int rlimit_prepare(struct restart *r, struct object *object, struct error *err)
{
	for (int i = 0; i < (int)N_LIMITS; i++) {
		struct rlimit64 own;
		if (getrlimit64(i, &own) < 0)
			return error_raise(err, errno, "read the limit of %s", names[i]);
		own.rlim_cur = own.rlim_max;
		if (setrlimit64(i, &own) < 0)
			return error_raise(err, errno, "raise the soft limit of %s", names[i]);
	}
	return 0;
}

static int rlimit_commit(struct restart *r, struct object *object, struct stub *stub,
                         struct error *err)
{
	const RlimitState *s = object_state(object, RlimitState);

	for (uint32_t i = 0; i < N_LIMITS; i++) {
		struct rlimit64 want = { s->limits[i]->soft, s->limits[i]->hard }, own;
		/* ours, as the stub has inherited them */
		if (getrlimit64((int)i, &own) < 0)
			return error_raise(err, errno, "read the limit of %s", names[i]);
		if (want.rlim_cur == own.rlim_cur && want.rlim_max == own.rlim_max)
			continue;
		calls_reserve(stub->calls, 1, sizeof(want));
		CALL(stub->calls, prlimit64, 0, i, calls_copy(stub->calls, &want, sizeof(want)), 0);
	}
	return 0;
}

const struct kind rlimit_kind = {
	.name = "rlimit",
	.number = 33,
	.message = &rlimit_state__descriptor,
	.collect = rlimit_collect,
	.validate = rlimit_validate,
	.preflight = rlimit_preflight,
	.prepare = rlimit_prepare,
	.commit = rlimit_commit,
};
