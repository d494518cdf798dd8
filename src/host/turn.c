/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One after the other. See turn.h. */
#include "host/turn.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>

#include "util/cleanup.h"

#define STEP_NS 500000
#define STEPS   4000 /* anybody can lock it: two seconds, and then without */

int turn_take(bool alone)
{
	_cleanup_(close_p) int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct timespec step = { .tv_nsec = STEP_NS };

	for (int i = 0; fd >= 0 && i < STEPS; i++) {
		if (flock(fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0)
			return take_fd(&fd);
		if (errno != EWOULDBLOCK && errno != EINTR)
			break;
		nanosleep(&step, NULL);
	}
	return -1;
}
