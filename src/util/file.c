/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small files of the kernel's. See file.h. */
#include "util/file.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/cleanup.h"

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
