/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The end of content_restore(): what has waited until nothing changes any more in the file system.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "mount/content_data.h"
#include "mount/content_restored.h"
#include "util/alloc.h"
#include "util/cleanup.h"

const char content_default_acl[] = "system.posix_acl_default";

int content_fail_at(const struct content *c, uint32_t folder, const char *name, const char *what,
                    struct error *err)
{
	int errnum = errno;
	_cleanup_(free_p) char *path = folders_path(&c->folders, folder, name);
	int r = error_raise(err, errnum, "%s %s", what, path);

	if (errnum == ENOSPC)
		error_hint(err, "the file system is smaller than it was: its options, or memory");
	return r;
}

static int set_attributes(int fd, uint32_t attributes)
{
	unsigned now = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &now) < 0)
		return -1;
	now = (now & ~CONTENT_ATTRIBUTES) | attributes;
	return ioctl(fd, FS_IOC_SETFLAGS, &now);
}

static int open_flagged(struct content *c, const struct place *p, int *ret, struct error *err)
{
	int dir;
	int r = folders_open(&c->folders, p->folder, &dir, err);

	if (r < 0)
		return r;
	*ret = folders_openat(&c->folders, dir, p->name, O_RDONLY | O_NOATIME | O_NONBLOCK, 0);
	return *ret < 0 ? content_fail_at(c, p->folder, p->name, "open", err) : 0;
}

static int settle_file(struct content *c, const struct place *p, struct error *err)
{
	_cleanup_(close_p) int fd = -1;
	int r = open_flagged(c, p, &fd, err);

	if (r == 0 && set_attributes(fd, p->attributes) < 0)
		r = content_fail_at(c, p->folder, p->name, "set the attributes of", err);
	return r;
}

static int settle_folder(struct content *c, uint32_t folder, int fd, struct error *err)
{
	const struct late_folder *late = &c->late[folder];

	if (late->acl && fsetxattr(fd, content_default_acl, late->acl, late->acl_size, 0) < 0)
		return content_fail_at(c, folder, NULL, "set the default ACL of", err);
	if (futimens(fd, late->times) < 0)
		return content_fail_at(c, folder, NULL, "set the times of", err);
	return 0;
}

static int settle_all(struct content *c, struct error *err)
{
	int fd, r = 0;

	for (size_t i = 0; r == 0 && i < c->n_flagged; i++)
		r = settle_file(c, &c->flagged[i], err);
	for (uint32_t i = 0; r == 0 && i < c->n_late; i++) {
		r = folders_open(&c->folders, i, &fd, err);
		if (r == 0)
			r = settle_folder(c, i, fd, err);
		if (r == 0 && c->late[i].attributes &&
		    set_attributes(fd, c->late[i].attributes) < 0)
			r = content_fail_at(c, i, NULL, "set the attributes of", err);
	}
	return r;
}

static void hold(struct content *c, int fd, uint32_t attributes)
{
	*array_push(c->held, c->n_held) = (struct held){ fd, attributes };
}

int content_hold(struct content *c, struct error *err)
{
	int fd, r = 0;

	for (size_t i = 0; r == 0 && c->singles && i < c->n_flagged; i++) {
		r = open_flagged(c, &c->flagged[i], &fd, err);
		if (r == 0)
			hold(c, fd, c->flagged[i].attributes);
	}
	for (uint32_t i = 1; r == 0 && c->singles && i < c->n_late; i++) {
		r = folders_open(&c->folders, i, &fd, err);
		if (r == 0)
			r = settle_folder(c, i, fd, err);
		if (r < 0 || !c->late[i].attributes)
			continue;
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			r = content_fail_at(c, i, NULL, "keep a descriptor of", err);
		else
			hold(c, fd, c->late[i].attributes);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

int content_settle(struct content *c, struct error *err)
{
	int r = c->singles ? 0 : settle_all(c, err);

	for (size_t i = 0; r == 0 && i < c->n_held; i++)
		if (set_attributes(c->held[i].fd, c->held[i].attributes) < 0)
			r = error_raise(err, errno, "set the attributes of what has been deleted");
	return r < 0 ? error_trace(err, r) : 0;
}

const struct content_totals *content_totals(const struct content *c)
{
	return &c->totals;
}

static void free_places(struct place *places, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(places[i].name);
	free(places);
}

void content_free(struct content *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_late; i++)
		free(c->late[i].acl);
	free(c->late);
	for (size_t i = 0; i < c->n_held; i++)
		close_p(&c->held[i].fd);
	free(c->held);
	free_places(c->flagged, c->n_flagged);
	free_places(c->linked, c->n_linked);
	folders_done(&c->folders);
	free(c);
}
