/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where files are. See place.h. */
#include "kind/place.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "kind/mnt_ns.h"
#include "kind/mount.h"
#include "mount/build.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/path.h"

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
	_cleanup_(free_p) char *below = NULL;
	int r = 0;

	*ret = (struct place){ .base = -1 };
	if (task_object(task, &mnt_ns_kind))
		r = mount_of(c, task, fd, &ret->mount, &below, &ret->deleted, err);
	if (r < 0)
		return error_trace(err, r);
	if (!ret->mount && task_object(task, &mnt_ns_kind) && checkpoint_is_container(c)) {
		error_refuse(err, CODE_container_outside,
		             "it is on a mount of the host's, outside the container");
		error_hint(err, "if it may stay there: --subtree");
		return -EOPNOTSUPP;
	}
	if (!ret->mount) {
		r = read_link(fd, &ret->path, err);
		ret->deleted = r == 0 && path_ends_deleted(ret->path);
		return r < 0 ? error_trace(err, r) : 0;
	}
	ret->path = xasprintf("/%s", below);
	r = mount_reached(c, ret->mount, &ret->base, err);
	return r < 0 ? error_trace(err, r) : 0;
}

void place_done(struct place *place)
{
	free(place->path);
	place->path = NULL;
}

int place_open(int base, const char *path, int flags)
{
	if (base == PLACE_NOT_YET)
		return errno = ENOENT, -1;
	if (base < 0)
		return open(path, flags | O_CLOEXEC);
	return mount_open_below(base, path + strspn(path, "/"), (uint32_t)flags);
}

bool place_forbids(int fd, unsigned long flag)
{
	struct statvfs fs;

	return fstatvfs(fd, &fs) == 0 && fs.f_flag & flag;
}

int place_base(struct restart *r, uint32_t mount)
{
	int fd = mount ? mount_fd(r, objects_by_id(r->objects, mount)) : -1;

	return mount && fd < 0 ? PLACE_NOT_YET : fd;
}

bool place_is_covered(const struct restart *r, uint32_t mount, const char *path)
{
	return mount && mount_covers(r, objects_by_id(r->objects, mount), path);
}

uint32_t place_owner(const struct restart *r, uint32_t mount)
{
	return mount ? mount_owner(r, objects_by_id(r->objects, mount)) : 0;
}

bool place_is_new(const struct restart *r, uint32_t mount)
{
	return mount && mount_is_new(r, objects_by_id(r->objects, mount));
}

bool place_valid(const struct objects *objects, uint32_t mount, const ProtobufCBinaryData *path)
{
	const struct object *object = mount ? objects_by_id(objects, mount) : NULL;

	return path->len > 0 && path->len < PATH_MAX && path->data[0] == '/' &&
	       !bytes_have_nul(path) && (!mount || (object && object->kind == &mount_kind));
}
