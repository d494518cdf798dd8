/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices that keep no state. See chardev.h. (Terminals, /dev/tty too, are kind tty's.)
 */
#include "kind/chardev.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "chardev.pb-c.h"
#include "core/checkpoint.h"
#include "core/restart.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define MEM_MAJOR 1 /* Documentation/admin-guide/devices.txt */

static bool is_stateless(dev_t device)
{
	if (major(device) != MEM_MAJOR)
		return false;
	switch (minor(device)) {
	case 3: /* null */
	case 5: /* zero */
	case 7: /* full */
	case 8: /* random */
	case 9: /* urandom */
		return true;
	default:
		return false;
	}
}

static bool chardev_claims(const struct descriptor *d)
{
	return S_ISCHR(d->st.st_mode) && !(d->fd >= 0 && d->flags & O_PATH) && d->link[0] == '/' &&
	       is_stateless(d->st.st_rdev);
}

/* the same device may have several nodes, and be seen through other mounts */
static int chardev_collect(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                           struct error *err)
{
	_cleanup_(free_p) char *key = xasprintf("%u:%u %s", major(d->st.st_rdev),
	                                        minor(d->st.st_rdev), d->link);
	struct error refusal = ERROR_INIT;
	struct stat st;
	bool is_new = false;

	*ret = NULL;
	if (stat(d->link, &st) < 0 || st.st_rdev != d->st.st_rdev) {
		error_refuse(&refusal, CODE_chardev_changed,
		             "%s: %s is not the device %u:%u (any more)", d->what, d->link,
		             major(d->st.st_rdev), minor(d->st.st_rdev));
		error_hint(&refusal, "put the device node back");
	} else {
		*ret = objects_get(c->objects, &chardev_kind, key, strlen(key), &is_new);
	}
	if (refusal.code) {
		error_fd(&refusal, d->fd);
		refuse(c, d->task, &refusal);
	}
	if (is_new) {
		ChardevState *s = xmalloc(sizeof(*s));
		chardev_state__init(s);
		(*ret)->message = &s->base;
		s->path.len = strlen(d->link);
		s->path.data = xmemdup(d->link, s->path.len);
		s->major = major(d->st.st_rdev);
		s->minor = minor(d->st.st_rdev);
	}
	return 0;
}

static int chardev_validate(const struct objects *objects, const struct object *object,
                            struct error *err)
{
	const ChardevState *s = object_state(object, ChardevState);

	if (s->path.len == 0 || s->path.len >= PATH_MAX || s->path.data[0] != '/' ||
	    bytes_have_nul(&s->path))
		return error_raise(err, EBADMSG, "a path of %zu bytes", s->path.len);
	if (!is_stateless(makedev(s->major, s->minor)))
		return error_raise(err, EBADMSG, "the device %u:%u", s->major, s->minor);
	return 0;
}

static char *path_of(const ChardevState *s)
{
	return xasprintf("%.*s", (int)s->path.len, (const char *)s->path.data);
}

static bool is_device(const ChardevState *s, const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(s->major, s->minor);
}

static int refuse_missing(const ChardevState *s, const char *path, struct error *err)
{
	error_refuse(err, CODE_chardev_changed, "%s is not the device %u:%u here", path, s->major,
	             s->minor);
	error_hint(err, "make the device node, mknod(1)");
	return -EOPNOTSUPP;
}

static int chardev_preflight(struct restart *r, struct object *object, struct error *err)
{
	const ChardevState *s = object_state(object, ChardevState);
	_cleanup_(free_p) char *path = path_of(s);
	struct stat st;

	return stat(path, &st) < 0 || !is_device(s, &st) ? refuse_missing(s, path, err) : 0;
}

static int chardev_open(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                        struct error *err)
{
	const ChardevState *s = object_state(object, ChardevState);
	_cleanup_(free_p) char *path = path_of(s);
	_cleanup_(close_p) int fd = -1;
	struct stat st;

	if (stat(path, &st) < 0 || !is_device(s, &st)) /* opening a FIFO would block */
		return refuse_missing(s, path, err);
	fd = open(path, (int)flags | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_raise(err, errno, "open %s", path);
	if (!is_device(s, &st))
		return refuse_missing(s, path, err);
	*ret_fd = take_fd(&fd);
	return 0;
}

const struct kind chardev_kind = {
	.name = "chardev",
	.number = 21,
	.message = &chardev_state__descriptor,
	.validate = chardev_validate,
	.preflight = chardev_preflight,
	.claims = chardev_claims,
	.collect_descriptor = chardev_collect,
	.open = chardev_open,
};
