/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/PID/fdinfo/N. See fdinfo.h. */
#include "proc/fdinfo.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "util/alloc.h"

/* "1: POSIX  ADVISORY  WRITE 1234 fd:01:5678 0 EOF", fs/locks.c lock_get_status() */
static int parse_lock(const char *text, struct proc_lock *ret)
{
	unsigned major, minor;
	unsigned long long inode, start;
	char end[24];

	if (sscanf(text, " %*u: %7s %11s %7s %d %x:%x:%llu %llu %23s", ret->type, ret->mode,
	           ret->access, &ret->pid, &major, &minor, &inode, &start, end) != 9)
		return -EBADMSG;
	ret->device = makedev(major, minor);
	ret->inode = inode;
	ret->start = start;
	ret->end = strcmp(end, "EOF") ? strtoull(end, NULL, 10) : UINT64_MAX;
	return 0;
}

static int parse_number(const char *text, int base, uint64_t *ret)
{
	char *end;

	text += strspn(text, " \t");
	errno = 0;
	*ret = strtoull(text, &end, base);
	return end == text || *end || errno ? -EBADMSG : 0;
}

/* one line "key:\tvalue" */
static int parse_line(const char *key, const char *value, struct proc_fdinfo *ret)
{
	uint64_t number = 0;
	int r = 0;

	if (!strcmp(key, "pos")) {
		r = parse_number(value, 10, &number);
		ret->pos = (int64_t)number;
	} else if (!strcmp(key, "flags")) {
		r = parse_number(value, 8, &number);
		ret->flags = (uint32_t)number;
	} else if (!strcmp(key, "mnt_id")) {
		r = parse_number(value, 10, &number);
		ret->mnt_id = (uint32_t)number;
	} else if (!strcmp(key, "ino")) { /* 5.14 */
		r = parse_number(value, 10, &ret->ino);
	} else if (!strcmp(key, "lock")) {
		r = parse_lock(value, array_push(ret->locks, ret->n_locks));
	} else if (!ret->unknown[0]) {
		snprintf(ret->unknown, sizeof(ret->unknown), "%.63s", key);
	}
	return r;
}

int proc_fdinfo_parse(const char *text, struct proc_fdinfo *ret, struct error *err)
{
	*ret = (struct proc_fdinfo){ 0 };
	while (*text) {
		char line[256];
		size_t n = strcspn(text, "\n");
		snprintf(line, sizeof(line), "%.*s", (int)(n < sizeof(line) ? n : sizeof(line) - 1),
		         text);
		text += n + (text[n] == '\n');
		char *colon = strchr(line, ':');
		if (colon)
			*colon = 0;
		/* lines without a key continue one that is unknown (epoll's, inotify's) */
		if (parse_line(line, colon ? colon + 1 : "", ret) < 0) {
			proc_fdinfo_done(ret);
			return error_raise(err, EBADMSG, "parse the line \"%s\" of fdinfo", line);
		}
	}
	return 0;
}

void proc_fdinfo_done(struct proc_fdinfo *info)
{
	free(info->locks);
	info->locks = NULL;
	info->n_locks = 0;
}
