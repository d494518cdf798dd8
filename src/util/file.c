/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small files of the kernel's. See file.h. */
#include "util/file.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/cleanup.h"

ssize_t file_read(int dir, const char *path, char **ret)
{
	_cleanup_(close_p) int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	size_t size = 0, room = 4096;

	if (fd < 0)
		return -errno;
	_cleanup_(free_p) char *text = xmalloc(room);
	for (;;) {
		ssize_t n = read(fd, text + size, room - size - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size += (size_t)n;
		if (room - size < 2048)
			text = xrealloc(text, room *= 2, 1);
	}
	text[size] = 0;
	*ret = take_ptr(text);
	return (ssize_t)size;
}

int file_write(const char *path, struct error *err, const char *format, ...)
{
	_cleanup_(close_p) int fd = open(path, O_WRONLY | O_CLOEXEC);
	int open_errno = errno;
	_cleanup_(free_p) char *text = NULL;
	va_list ap;

	va_start(ap, format);
	text = xvasprintf(format, ap);
	va_end(ap);
	if (fd < 0)
		return error_raise(err, open_errno, "open %s", path);
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return error_raise(err, errno, "write '%.*s' to %s", (int)strcspn(text, "\n"), text,
		                   path);
	return 0;
}

static bool is_id(unsigned shown, unsigned wanted)
{
	const unsigned overflow = 65534; /* fs.overflowuid */

	return shown == wanted || (shown == overflow && wanted == 0);
}

int file_give(int fd, uid_t uid, gid_t gid, mode_t mode)
{
	char link[40];
	struct stat st;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((!is_id(st.st_uid, uid) || !is_id(st.st_gid, gid)) &&
	    fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
		return -errno;
	return (st.st_mode & 07777) != mode && chmod(link, mode) < 0 ? -errno : 0;
}
