/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event counters. See eventfd.h. Each has one open file description, which nobody can open again.
 */
#include "kind/eventfd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "eventfd.pb-c.h"
#include "host/features.h"
#include "kind/anonymous.h"
#include "util/cleanup.h"

static bool claims(const struct descriptor *d)
{
	return !strcmp(d->link, "anon_inode:[eventfd]");
}

static int describe_live(const char *info, EventfdState *s, struct error *err)
{
	uint64_t semaphore = 0;

	if (!anonymous_number(info, "eventfd-count:", 16, &s->count))
		return error_raise(err, EBADMSG, "fdinfo of an eventfd is not of the known form");
	/* only a read would tell, which takes something from it */
	if (!feature(FEATURE_eventfd_semaphore) ||
	    !anonymous_number(info, "eventfd-semaphore:", 10, &semaphore)) {
		error_refuse(err, CODE_eventfd_semaphore,
		             "this kernel does not show whether it is a semaphore");
		error_hint(err, "Linux 6.5 or newer does");
		return -EOPNOTSUPP;
	}
	s->semaphore = semaphore;
	return 0;
}

static int collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                              struct error *err)
{
	_cleanup_(free_p) char *info = NULL;
	EventfdState state = EVENTFD_STATE__INIT;
	struct error refusal;
	uint64_t id = 0;

	*ret = NULL;
	int r = anonymous_read(d, &info, err);
	if (r == 0)
		r = describe_live(info, &state, err);
	if (r == 0)
		r = anonymous_judge(c, d, info, err);
	if (r < 0)
		return error_trace(err, r);
	if (state.count == UINT64_MAX) { /* only the kernel can bring it there */
		error_refuse(&refusal, CODE_fd_unsupported, "an eventfd that has overflowed");
		error_fd(&refusal, d->fd);
		refuse(c, d->task, &refusal);
		return 0;
	}
	anonymous_number(info, "eventfd-id:", 10, &id);
	*ret = objects_get(c->objects, &eventfd_kind, &id, sizeof(id), NULL);
	(*ret)->message = protobuf_c_message_unpack(&eventfd_state__descriptor, NULL, 0, NULL);
	object_state(*ret, EventfdState)->count = state.count;
	object_state(*ret, EventfdState)->semaphore = state.semaphore;
	return 0;
}

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	if (object_state(object, EventfdState)->count == UINT64_MAX)
		return error_raise(err, EBADMSG, "a count that cannot be");
	return 0;
}

static int open_new(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                    struct error *err)
{
	const EventfdState *s = object_state(object, EventfdState);
	_cleanup_(close_p) int fd = eventfd(0, EFD_CLOEXEC | (s->semaphore ? EFD_SEMAPHORE : 0));

	if (fd < 0)
		return error_raise(err, errno, "make an eventfd");
	if (s->count && write(fd, &s->count, sizeof(s->count)) < 0)
		return error_raise(err, errno, "give an eventfd its count");
	if (fcntl(fd, F_SETFL, (int)flags) < 0)
		return error_raise(err, errno, "give an eventfd the flags %o", flags);
	*ret_fd = take_fd(&fd);
	return 0;
}

const struct kind eventfd_kind = {
	.name = "eventfd",
	.number = 90,
	.message = &eventfd_state__descriptor,
	.claims = claims,
	.collect_descriptor = collect_descriptor,
	.validate = validate,
	.open = open_new,
};
