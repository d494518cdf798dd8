/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/locks. See locks.h. */
#include "proc/locks.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

/* "1: FLOCK  ADVISORY  WRITE 255 08:04:1234 0 EOF"; a waiter's has "-> " after the number */
static bool parse_line(const char *line, struct proc_locks_entry *ret)
{
	const char *text = line + strcspn(line, ":");

	if (*text != ':')
		return false;
	text += 1 + strspn(text + 1, " ");
	ret->waits = !strncmp(text, "->", 2);
	if (ret->waits)
		text += 2 + strspn(text + 2, " ");
	return proc_lock_parse(text, &ret->lock);
}

int proc_locks_parse(const char *text, struct proc_locks_entry **ret, size_t *ret_n,
                     struct error *err)
{
	_cleanup_(free_p) char *copy = xstrdup(text);
	struct proc_locks_entry *entries = NULL;
	char *save = NULL;
	size_t n = 0;

	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (parse_line(line, array_push(entries, n)))
			continue;
		free(entries);
		return error_raise(err, EBADMSG, "/proc/locks: \"%.60s\" is malformed", line);
	}
	*ret = entries;
	*ret_n = n;
	return 0;
}

int proc_locks_read(struct proc_locks_entry **ret, size_t *ret_n, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	ssize_t size = file_read(AT_FDCWD, "/proc/locks", &text);

	if (size < 0)
		return error_raise(err, (int)-size, "read /proc/locks");
	int r = proc_locks_parse(text, ret, ret_n, err);
	return r < 0 ? error_trace(err, r) : 0;
}
