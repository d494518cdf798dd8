/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors of signals. See signalfd.h. */
#include "kind/signalfd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "kind/anonymous.h"
#include "signalfd.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static bool claims(const struct descriptor *d)
{
	return !strcmp(d->link, "anon_inode:[signalfd]");
}

static int collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                              struct error *err)
{
	_cleanup_(free_p) char *info = NULL;
	uint64_t mask = 0;

	*ret = NULL;
	int r = anonymous_read(d, &info, err);
	if (r == 0 && !anonymous_number(info, "sigmask:", 16, &mask))
		r = error_raise(err, EBADMSG, "fdinfo of a signalfd is not of the known form");
	if (r == 0)
		r = anonymous_judge(c, d, info, err);
	if (r < 0)
		return error_trace(err, r);
	SignalfdState *s = xmalloc(sizeof(*s));
	signalfd_state__init(s);
	s->mask = mask;
	*ret = objects_get_equal(c->objects, &signalfd_kind, &s->base);
	return 0;
}

static int open_new(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                    struct error *err)
{
	const uint64_t mask = object_state(object, SignalfdState)->mask;
	/* the C library would leave its own signals out */
	_cleanup_(close_p) int fd = (int)syscall(SYS_signalfd4, -1, &mask, sizeof(mask),
	                                         SFD_CLOEXEC);

	if (fd < 0)
		return error_raise(err, errno, "make a signalfd");
	if (fcntl(fd, F_SETFL, (int)flags) < 0)
		return error_raise(err, errno, "give a signalfd the flags %o", flags);
	*ret_fd = take_fd(&fd);
	return 0;
}

const struct kind signalfd_kind = {
	.name = "signalfd",
	.number = 91,
	.message = &signalfd_state__descriptor,
	.claims = claims,
	.collect_descriptor = collect_descriptor,
	.open = open_new,
};
