/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File handles, name_to_handle_at(2). */
#pragma once

#include <fcntl.h>

/* room for any */
struct handle_room {
	struct file_handle head;
	unsigned char room[MAX_HANDLE_SZ];
};
#define HANDLE_ROOM_INIT                           \
	{                                          \
		.head.handle_bytes = MAX_HANDLE_SZ \
	}

/*
 * What is behind @fd, O_PATH or not, opened anew with @flags and close-on-exec; -1 with errno.
 * O_NOFOLLOW needs a handle, since open(2) would refuse the link in /proc, and @mount: of anything
 * on the same mount, not O_PATH; otherwise -1 will do.
 */
int handle_reopen(int fd, int flags, int mount);
