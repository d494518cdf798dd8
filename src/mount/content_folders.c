/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See content_folders.h. */
#include "mount/content_folders.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/helper.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/text.h"

#define OPEN_FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC)
#define STRIDE_MAX  4000u /* bytes of a path that one openat2 follows; below PATH_MAX */
#define SHOWN_MAX   16u   /* directories in a message's path */

struct opening {
	int owner, folder;
	const char *name;
	struct open_how how;
};

/* -1 with errno */
static int open_here(const struct opening *o)
{
	long fd;

	do
		fd = syscall(SYS_openat2, o->folder, o->name, &o->how, sizeof(o->how));
	while (fd < 0 && errno == EINTR);
	return (int)fd;
}

static int open_as_owner(void *arg, struct error *err)
{
	const struct opening *o = arg;
	int fd = setns(o->owner, CLONE_NEWUSER) < 0 ? -1 : open_here(o);

	return fd < 0 ? error_raise(err, errno, "open it as the owner of the file system") : fd;
}

int folders_openat(const struct folders *f, int folder, const char *name, int flags, unsigned mode)
{
	struct opening o = {
		.owner = f->owner,
		.folder = folder,
		.name = name,
		.how.flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
		.how.mode = mode,
		.how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV |
		               RESOLVE_NO_MAGICLINKS,
	};
	struct error ignored = ERROR_INIT;
	int fd = open_here(&o);

	if (fd >= 0 || errno != EACCES || f->owner < 0)
		return fd;
	fd = helper_run_here(open_as_owner, &o, &ignored);
	errno = fd < 0 ? -fd : 0;
	return fd < 0 ? -1 : fd;
}

int folders_init(struct folders *f, int root, int owner, struct error *err)
{
	*f = (struct folders){ .owner = owner };
	f->root = folders_openat(f, root, ".", OPEN_FOLDER, 0);
	for (unsigned i = 0; i < FOLDERS_KEPT; i++)
		f->kept[i].fd = -1;
	if (f->root < 0)
		return error_raise(err, errno, "open the root directory of a file system");
	array_push(f->items, f->n);
	return 0;
}

void folders_done(struct folders *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->items[i].name);
	free(f->items);
	for (unsigned i = 0; i < FOLDERS_KEPT; i++)
		close_p(&f->kept[i].fd);
	close_p(&f->root);
	f->items = NULL;
	f->n = 0;
}

uint32_t folders_add(struct folders *f, uint32_t parent, const char *name)
{
	struct folder folder = { .parent = parent,
		                 .depth = f->items[parent].depth + 1,
		                 .name = xstrdup(name) };

	*array_push(f->items, f->n) = folder;
	return (uint32_t)(f->n - 1);
}

static struct folder_kept *slot(struct folders *f, uint32_t folder)
{
	return &f->kept[f->items[folder].depth % FOLDERS_KEPT];
}

void folders_keep(struct folders *f, uint32_t folder, int fd)
{
	struct folder_kept *k = slot(f, folder);

	close_p(&k->fd);
	*k = (struct folder_kept){ folder, fd };
}

static int kept(struct folders *f, uint32_t folder)
{
	const struct folder_kept *k = slot(f, folder);

	if (folder == 0)
		return f->root;
	return k->folder == folder ? k->fd : -1;
}

/* opens @chain[0] in @from, [1] in that, and so on, in one go as far as it fits; how many */
static size_t stride(const struct folders *f, int from, const uint32_t *chain, size_t n,
                     int *ret_fd)
{
	char path[STRIDE_MAX + 1];
	size_t size = 0, i = 0;

	for (; i < n; i++) {
		const char *name = f->items[chain[i]].name;
		size_t length = strlen(name);
		if (size + length + 1 > STRIDE_MAX)
			break;
		if (i)
			path[size++] = '/';
		memcpy(path + size, name, length);
		size += length;
	}
	path[size] = 0;
	*ret_fd = folders_openat(f, from, path, OPEN_FOLDER, 0);
	return i;
}

/* from @from down @chain; what comes near the end is kept */
static int descend(struct folders *f, int from, const uint32_t *chain, size_t n, int *ret,
                   struct error *err)
{
	_cleanup_(close_p) int passing = -1; /* a descriptor that is not kept */

	for (size_t i = 0, step; i < n; i += step) {
		size_t far = n - i > FOLDERS_KEPT ? n - i - FOLDERS_KEPT : 1;
		int fd;
		step = stride(f, from, chain + i, far, &fd);
		uint32_t reached = chain[i + step - 1];
		if (fd < 0) {
			_cleanup_(free_p) char *path = folders_path(f, reached, NULL);
			return error_raise(err, errno, "open the directory %s", path);
		}
		close_p(&passing);
		from = fd;
		if (n - i - step >= FOLDERS_KEPT) {
			passing = fd;
			continue;
		}
		folders_keep(f, reached, fd);
	}
	*ret = from;
	return 0;
}

int folders_open(struct folders *f, uint32_t folder, int *ret, struct error *err)
{
	uint32_t above = folder;
	size_t n = 0;

	while (kept(f, above) < 0) {
		above = f->items[above].parent;
		n++;
	}
	if (n == 0) {
		*ret = kept(f, folder);
		return 0;
	}
	_cleanup_(free_p) uint32_t *chain = xcalloc(n, sizeof(*chain));
	for (uint32_t i = folder, at = (uint32_t)n; at > 0; i = f->items[i].parent)
		chain[--at] = i;
	int r = descend(f, kept(f, above), chain, n, ret, err);
	return r < 0 ? error_trace(err, r) : 0;
}

char *folders_path(const struct folders *f, uint32_t folder, const char *name)
{
	char *path = name ? text_printable(name, strlen(name)) : xstrdup("");
	unsigned shown = 0;

	for (uint32_t i = folder; f->items[i].name; i = f->items[i].parent) {
		bool enough = shown++ == SHOWN_MAX;
		const char *part = enough ? "..." : f->items[i].name;
		_cleanup_(free_p) char *printable = text_printable(part, strlen(part));
		char *longer = xasprintf("%s%s%s", printable, path[0] ? "/" : "", path);
		free(path);
		path = longer;
		if (enough)
			return path;
	}
	char *whole = xasprintf("/%s", path);
	free(path);
	return whole;
}
