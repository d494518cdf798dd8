/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tells a directory or file of the host from another that has its name now. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "kind/mounts/parts.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/handle.h"
#include "util/uapi.h"

/* neither call asks the server of a file system, which may be frozen */
static bool look(int fd, struct statx *sx)
{
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, sx) == 0;
}

static bool read_handle(int fd, struct handle_room *room)
{
	int mount_id;

	room->head.handle_bytes = MAX_HANDLE_SZ;
	return name_to_handle_at(fd, "", &room->head, &mount_id, AT_EMPTY_PATH) == 0;
}

void identity_read(int fd, struct identity *ret)
{
	struct handle_room room;
	struct statx sx;

	*ret = (struct identity){ 0 };
	if (look(fd, &sx)) {
		ret->mode = sx.stx_mode;
		ret->inode = sx.stx_ino;
	}
	if (read_handle(fd, &room)) {
		ret->handle_type = room.head.handle_type;
		ret->handle.len = room.head.handle_bytes;
		ret->handle.data = xmemdup(room.head.f_handle, room.head.handle_bytes);
	}
}

bool identity_read_uuid(int fd, unsigned char uuid[UUID_SIZE])
{
	static const unsigned char none[UUID_SIZE];
	struct fsuuid2 answer = { 0 };
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	_cleanup_(close_p) int open_fd = open(link, O_RDONLY | O_NONBLOCK | O_NOATIME | O_CLOEXEC);
	if (open_fd < 0 || ioctl(open_fd, FS_IOC_GETFSUUID, &answer) < 0 ||
	    answer.len != UUID_SIZE || !memcmp(answer.uuid, none, UUID_SIZE))
		return false;
	memcpy(uuid, answer.uuid, UUID_SIZE);
	return true;
}

bool identity_is(int fd, const struct identity *identity)
{
	struct handle_room room;
	struct statx sx;

	if (!look(fd, &sx) || (sx.stx_mode & S_IFMT) != (identity->mode & S_IFMT))
		return false;
	if (!identity->handle.len)
		return sx.stx_ino == identity->inode;
	return read_handle(fd, &room) && room.head.handle_type == identity->handle_type &&
	       room.head.handle_bytes == identity->handle.len &&
	       !memcmp(room.head.f_handle, identity->handle.data, identity->handle.len);
}
