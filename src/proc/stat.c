/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/PID/stat. See stat.h. */
#include "proc/stat.h"

#include <stdlib.h>
#include <string.h>

/* fields after the state, numbered as in proc_pid_stat(5): [4] = ppid ... [52] = exit_code */
#define FIRST 4
#define LAST  52

static int parse_fields(const char *p, int64_t field[LAST + 1])
{
	for (unsigned i = FIRST; i <= LAST; i++) {
		char *end;
		/* some are unsigned long (ULONG_MAX as rsslim): strtoull takes both */
		errno = 0;
		unsigned long long v = strtoull(p, &end, 10);
		if (end == p || errno)
			return -EBADMSG;
		field[i] = (int64_t)v;
		p = end;
	}
	return 0;
}

static void fill(struct proc_stat *s, const int64_t f[LAST + 1])
{
	s->ppid = (pid_t)f[4];
	s->pgrp = (pid_t)f[5];
	s->session = (pid_t)f[6];
	s->tty_nr = (uint32_t)f[7];
	s->tpgid = (pid_t)f[8];
	s->flags = (uint64_t)f[9];
	s->priority = f[18];
	s->nice = f[19];
	s->num_threads = f[20];
	s->starttime = (uint64_t)f[22];
	s->start_code = (uint64_t)f[26];
	s->end_code = (uint64_t)f[27];
	s->start_stack = (uint64_t)f[28];
	s->exit_signal = (int)f[38];
	s->rt_priority = (uint32_t)f[40];
	s->policy = (uint32_t)f[41];
	s->start_data = (uint64_t)f[45];
	s->end_data = (uint64_t)f[46];
	s->start_brk = (uint64_t)f[47];
	s->arg_start = (uint64_t)f[48];
	s->arg_end = (uint64_t)f[49];
	s->env_start = (uint64_t)f[50];
	s->env_end = (uint64_t)f[51];
	s->exit_code = (int)f[52];
}

int proc_stat_parse(const char *text, struct proc_stat *ret, struct error *err)
{
	int64_t field[LAST + 1] = { 0 };
	char *end;

	memset(ret, 0, sizeof(*ret));
	const char *open = strchr(text, '(');
	const char *close = strrchr(text, ')'); /* the name may hold parentheses and newlines */
	if (!open || !close || close < open || close[1] != ' ' || !close[2] || close[3] != ' ')
		return error_raise(err, EBADMSG, "/proc/PID/stat is not of the known form");
	size_t size = (size_t)(close - open - 1);
	if (size >= sizeof(ret->comm))
		return error_raise(err, EBADMSG, "/proc/PID/stat: name of %zu bytes", size);
	ret->pid = (pid_t)strtol(text, &end, 10);
	if (end == text)
		return error_raise(err, EBADMSG, "/proc/PID/stat does not begin with a pid");
	memcpy(ret->comm, open + 1, size);
	ret->state = close[2];
	if (parse_fields(close + 4, field) < 0)
		return error_raise(err, EBADMSG, "/proc/PID/stat has fewer fields than known");
	fill(ret, field);
	return 0;
}
