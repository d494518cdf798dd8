/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /proc/PID/fdinfo/N. See fdinfo.h. Four keys are of every descriptor, "lock" of every file with
 * locks or leases; all others belong to one sort of descriptor (eventfd-count, tfd, sigmask,
 * inotify, Pid, clockid, scm_fds...) and are reported as unknown until its kind is there.
 */
#include "proc/fdinfo.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "util/alloc.h"

/* the end of a number, or NULL when there is none or it is too large */
static const char *parse_number(const char *text, int base, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, base);
	return end == text || errno || *text == '-' ? NULL : end;
}

static bool parse_plain(const char *text, int base, uint64_t max, uint64_t *ret)
{
	const char *end = parse_number(text, base, ret);

	return end && *end == '\0' && *ret <= max;
}

/* "08:04:1234"; who waits for the end of a lease is shown with no file */
static bool parse_file(const char *text, struct proc_lock *ret)
{
	unsigned major_number = 0, minor_number = 0;
	unsigned long long inode = 0;
	int n = 0;

	if (strcmp(text, "<none>:0") &&
	    (sscanf(text, "%x:%x:%llu%n", &major_number, &minor_number, &inode, &n) != 3 ||
	     text[n] != '\0'))
		return false;
	ret->device = makedev(major_number, minor_number);
	ret->inode = inode;
	return true;
}

/* proc_locks(5) */
bool proc_lock_parse(const char *text, struct proc_lock *ret)
{
	unsigned long long start, last;
	char file[48] = "", end[24] = "";
	int n = 0;

	if (sscanf(text, "%7s %11s %7s %d %47s %llu %23s%n", ret->type, ret->mode, ret->access,
	           &ret->pid, file, &start, end, &n) != 7 ||
	    text[n] != '\0' || !parse_file(file, ret))
		return false;
	ret->start = start;
	ret->end = UINT64_MAX;
	if (!strcmp(end, "EOF"))
		return true;
	if (sscanf(end, "%llu%n", &last, &n) != 1 || end[n] != '\0')
		return false;
	ret->end = last;
	return true;
}

/* "1: POSIX ..." */
static bool parse_numbered(const char *text, struct proc_lock *ret)
{
	text += strspn(text, "0123456789");
	return *text == ':' && proc_lock_parse(text + 1 + strspn(text + 1, " "), ret);
}

static bool parse_position(const char *text, int64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoll(text, &end, 10);
	return end != text && !errno && *end == '\0';
}

/* what some anonymous inodes show, and their kinds read for themselves */
static bool is_of_kind(const char *key)
{
	static const char *const keys[] = { "eventfd-count", "eventfd-id", "eventfd-semaphore",
		                            "sigmask",       "clockid",    "ticks",
		                            "settime",       "it_value",   "it_interval" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(key, keys[i]))
			return true;
	return false;
}

/* @value: without the white space around it */
static bool parse_key(const char *key, const char *value, struct proc_fdinfo *ret)
{
	uint64_t number = 0;
	bool good = true;

	if (!strcmp(key, "pos"))
		return parse_position(value, &ret->pos);
	if (!strcmp(key, "flags")) {
		good = parse_plain(value, 8, UINT32_MAX, &number);
		ret->flags = (uint32_t)number;
	} else if (!strcmp(key, "mnt_id")) {
		good = parse_plain(value, 10, UINT32_MAX, &number);
		ret->mnt_id = (uint32_t)number;
	} else if (!strcmp(key, "ino")) { /* 5.14 */
		good = parse_plain(value, 10, UINT64_MAX, &ret->ino);
	} else if (!strcmp(key, "lock")) {
		good = parse_numbered(value, array_push(ret->locks, ret->n_locks));
	} else if (!ret->unknown[0] && !is_of_kind(key)) {
		snprintf(ret->unknown, sizeof(ret->unknown), "%s", key);
	}
	return good;
}

/* a key ends at a colon, or at white space in the lines of inotify and fanotify */
static bool parse_line(char *line, struct proc_fdinfo *ret)
{
	size_t size = strcspn(line, ": \t");
	char *value = line + size;

	if (size == 0)
		return true; /* a list goes on: "bufs: ..." of io_uring */
	if (*value)
		*value++ = '\0';
	value += strspn(value, " \t");
	for (char *end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t');)
		*--end = '\0';
	return parse_key(line, value, ret);
}

int proc_fdinfo_parse(const char *text, struct proc_fdinfo *ret, struct error *err)
{
	char *copy = xstrdup(text), *save = NULL;
	int r = 0;

	*ret = (struct proc_fdinfo){ 0 };
	for (char *line = strtok_r(copy, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save))
		if (!parse_line(line, ret))
			r = error_raise(err, EBADMSG, "fdinfo key \"%.40s\" is malformed", line);
	free(copy);
	if (r < 0)
		proc_fdinfo_done(ret);
	return r;
}

void proc_fdinfo_done(struct proc_fdinfo *info)
{
	free(info->locks);
	info->locks = NULL;
	info->n_locks = 0;
}
