/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of files. See path.h. */
#include "util/path.h"

#include <string.h>

#include "util/alloc.h"

char *path_folder(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}
