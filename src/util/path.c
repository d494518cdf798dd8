/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of files. See path.h. */
#include "util/path.h"

#include <string.h>

#include "util/alloc.h"

bool path_ends_deleted(const char *path)
{
	size_t size = strlen(path), suffix = strlen(PATH_DELETED);

	return size > suffix && !strcmp(path + size - suffix, PATH_DELETED);
}

char *path_folder(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

char *path_unescape(char *text)
{
	char *to = text;

	for (const char *s = text; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = 0;
	return text;
}
