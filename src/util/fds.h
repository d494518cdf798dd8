/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors on their way to other processes, unix(7) SCM_RIGHTS. */
#pragma once

#include <stddef.h>

#define FDS_MAX 250 /* at once; SCM_MAX_FD is 253 */

/* with one byte of data; 0, or -1 with errno */
int fds_send(int socket, const int *fds, size_t n);
/* the one that comes next, close-on-exec; -1: none */
int fd_receive(int socket);
