/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptions opened early. See opened.h. */
#include "kind/opened.h"

#include <fcntl.h>
#include <stdlib.h>

#include "util/alloc.h"
#include "util/cleanup.h"

/* registered later, by a task: kind/file.c */
#define LATER ((uint32_t)(O_ASYNC | O_CLOEXEC))

void opened_add(struct opened *o, uint32_t flags, int fd)
{
	*array_push(o->files, o->n) = (struct opened_file){ flags & ~LATER, fd };
}

int opened_take(struct opened *o, uint32_t flags)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->files[i].fd >= 0 && o->files[i].flags == (flags & ~LATER))
			return take_fd(&o->files[i].fd);
	return -1;
}

void opened_done(struct opened *o)
{
	for (size_t i = 0; i < o->n; i++)
		close_p(&o->files[i].fd);
	free(o->files);
	*o = (struct opened){ 0 };
}
