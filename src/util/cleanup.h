/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ownership made visible: _cleanup_(fn) runs fn on the variable when it leaves its scope. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void free_p(void *p)
{
	free(*(void **)p);
}

static inline void fclose_p(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void closedir_p(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* closes, and keeps errno; takes -1 */
static inline void close_p(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
	*fd = -1;
}

/* hands a descriptor over: returns it and leaves -1 behind */
static inline int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

/* hands a pointer over: returns it and leaves NULL behind */
#define take_ptr(p)                     \
	({                              \
		typeof(p) *_p = &(p);   \
		typeof(p) _taken = *_p; \
		*_p = NULL;             \
		_taken;                 \
	})
