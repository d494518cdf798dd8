/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where files are. See place.h. */
#include "kind/place.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/restart.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define DELETED " (deleted)"

static bool ends_deleted(const char *text)
{
	size_t size = strlen(text), suffix = strlen(DELETED);

	return size > suffix && !strcmp(text + size - suffix, DELETED);
}

/* the text of the link, which need not be true */
static int read_link(int fd, char **ret, struct error *err)
{
	char link[40], text[PATH_MAX + 16];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, text, sizeof(text) - 1);
	if (n <= 0 || text[0] != '/' || (size_t)n == sizeof(text) - 1)
		return error_refuse(err, CODE_regfile_path, "the kernel shows no path for it");
	text[n] = 0;
	*ret = xstrdup(text);
	return 0;
}

int place_find(struct checkpoint *c, const struct task *task, int fd, struct place *ret,
               struct error *err)
{
	*ret = (struct place){ .base = -1 };
	int r = read_link(fd, &ret->path, err);

	if (r < 0)
		return error_trace(err, r);
	ret->deleted = ends_deleted(ret->path);
	return 0;
}

void place_done(struct place *place)
{
	free(place->path);
	place->path = NULL;
}

int place_open(int base, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC),
		                .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS |
		                           RESOLVE_NO_MAGICLINKS };

	if (base < 0)
		return open(path, flags | O_CLOEXEC);
	return (int)syscall(SYS_openat2, base, path[1] ? path + 1 : ".", &how, sizeof(how));
}

int place_base(struct restart *r, uint32_t mount)
{
	return -1;
}

bool place_is_new(const struct restart *r, uint32_t mount)
{
	return false;
}

bool place_valid(const struct objects *objects, uint32_t mount, const ProtobufCBinaryData *path)
{
	return path->len > 0 && path->len < PATH_MAX && path->data[0] == '/' &&
	       !bytes_have_nul(path) && mount == 0;
}
