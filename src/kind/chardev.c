/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices that keep no state. See chardev.h. (Terminals, /dev/tty too, are kind tty's.)
 */
#include "kind/chardev.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "chardev.pb-c.h"
#include "core/checkpoint.h"
#include "core/restart.h"
#include "kind/place.h"
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

static bool is_device(const struct stat *st, dev_t device)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == device;
}

/*
 * whether the node is there: opening a FIFO that has taken its place would block; *ret_nodev: but
 * may not be opened. It may be NULL.
 */
static bool leads_there(int base, const char *path, dev_t device, bool *ret_nodev)
{
	_cleanup_(close_p) int fd = place_open(base, path, O_PATH);
	struct stat st;

	if (ret_nodev)
		*ret_nodev = fd >= 0 && place_forbids(fd, ST_NODEV);
	return fd >= 0 && fstat(fd, &st) == 0 && is_device(&st, device);
}

static void refuse_node(struct checkpoint *c, const struct descriptor *d)
{
	struct error refusal;

	error_refuse(&refusal, CODE_chardev_changed, "%s: %s is not the device %u:%u (any more)",
	             d->what, d->link, major(d->st.st_rdev), minor(d->st.st_rdev));
	error_hint(&refusal, "put the device node back");
	error_fd(&refusal, d->fd);
	refuse(c, d->task, &refusal);
}

static void refuse_nodev(struct checkpoint *c, const struct descriptor *d)
{
	struct error refusal;

	error_refuse(&refusal, CODE_mount_forbids,
	             "it was opened before the mount that it is on became nodev");
	error_object(&refusal, "%s", d->link);
	error_fd(&refusal, d->fd);
	refuse(c, d->task, &refusal);
}

static ChardevState *describe(const struct place *place, dev_t device)
{
	ChardevState *s = xmalloc(sizeof(*s));

	chardev_state__init(s);
	s->path = bytes_of_text(place->path);
	s->major = major(device);
	s->minor = minor(device);
	s->mount = place->mount ? place->mount->id : 0;
	return s;
}

/* the same device may have several nodes, and be seen through other mounts */
static int chardev_collect(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                           struct error *err)
{
	_cleanup_(place_done) struct place place = { .base = -1 };
	bool is_new = false, nodev;

	*ret = NULL;
	int r = d->live >= 0 ? place_find(c, d->task, d->live, &place, err) : 0;
	if (r < 0 && r != -EOPNOTSUPP)
		return error_trace(err, r);
	/* on a mount outside a container, or of another namespace: through a device without state
	 * nobody shares anything, so ours will do */
	if (d->live < 0 || r < 0) {
		place_done(&place);
		place = (struct place){ .base = -1, .path = xstrdup(d->link) };
	}
	if (!leads_there(place.base, place.path, d->st.st_rdev, &nodev)) {
		refuse_node(c, d);
		return 0;
	}
	if (nodev) {
		refuse_nodev(c, d);
		return 0;
	}
	_cleanup_(free_p) char *key = xasprintf("%u:%u %u %s", major(d->st.st_rdev),
	                                        minor(d->st.st_rdev),
	                                        place.mount ? place.mount->id : 0, place.path);
	*ret = objects_get(c->objects, &chardev_kind, key, strlen(key), &is_new);
	if (is_new)
		(*ret)->message = &describe(&place, d->st.st_rdev)->base;
	return 0;
}

static int chardev_validate(const struct objects *objects, const struct object *object,
                            struct error *err)
{
	const ChardevState *s = object_state(object, ChardevState);

	if (!place_valid(objects, s->mount, &s->path))
		return error_raise(err, EBADMSG, "a path of %zu bytes", s->path.len);
	if (!is_stateless(makedev(s->major, s->minor)))
		return error_raise(err, EBADMSG, "the device %u:%u", s->major, s->minor);
	return 0;
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
	_cleanup_(free_p) char *path = bytes_text(&s->path);

	/* a mount of its own is not there yet: then chardev_open() sees */
	if (s->mount || leads_there(-1, path, makedev(s->major, s->minor), NULL))
		return 0;
	return refuse_missing(s, path, err);
}

/* before other mounts cover it */
static int chardev_restore(struct restart *r, struct object *object, struct error *err)
{
	const ChardevState *s = object_state(object, ChardevState);
	_cleanup_(free_p) char *path = bytes_text(&s->path);

	if (!place_is_covered(r, s->mount, path))
		return 0;
	int base = place_base(r, s->mount);
	if (base == PLACE_NOT_YET)
		return RESTORE_LATER;
	int *kept = object->live = xmalloc(sizeof(*kept));
	*kept = place_open(base, path, O_PATH);
	return *kept < 0 ? refuse_missing(s, path, err) : 0;
}

static void chardev_release(struct object *object)
{
	if (object->live)
		close_p(object->live);
	free(take_ptr(object->live));
}

static int chardev_open(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                        struct error *err)
{
	const ChardevState *s = object_state(object, ChardevState);
	_cleanup_(free_p) char *path = bytes_text(&s->path);
	_cleanup_(close_p) int fd = -1;
	dev_t device = makedev(s->major, s->minor);
	int base = object->live ? *(int *)object->live : place_base(r, s->mount);
	const char *below = object->live ? "/" : path;
	struct stat st;

	if (!leads_there(base, below, device, NULL))
		return refuse_missing(s, path, err);
	fd = place_open(base, below, (int)flags | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_raise(err, errno, "open %s", path);
	if (!is_device(&st, device))
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
	.restore = chardev_restore,
	.release = chardev_release,
	.claims = chardev_claims,
	.collect_descriptor = chardev_collect,
	.open = chardev_open,
};
