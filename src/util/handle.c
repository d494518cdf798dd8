/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File handles. See handle.h. */
#include "util/handle.h"

#include <stdio.h>

int handle_reopen(int fd, int flags, int mount)
{
	struct handle_room handle = HANDLE_ROOM_INIT;
	char link[40];
	int mount_id;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (!(flags & O_NOFOLLOW))
		return open(link, flags | O_CLOEXEC);
	if (name_to_handle_at(fd, "", &handle.head, &mount_id, AT_EMPTY_PATH) < 0)
		return -1;
	return open_by_handle_at(mount, &handle.head, flags | O_CLOEXEC);
}
