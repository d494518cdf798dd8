/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event counters. See eventfd.h. Each has one open file description, which nobody can open again.
 */
#include "kind/eventfd.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "eventfd.pb-c.h"
#include "kind/anonymous.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static bool claims(const struct descriptor *d)
{
	return !strcmp(d->link, "anon_inode:[eventfd]");
}

/*
 * Linux before 6.5 does not show EFD_SEMAPHORE. Of a count of two or more a semaphore gives one,
 * another all; the count is what it was, then. Whoever waits for it is held.
 */
static int probe_semaphore(int fd, uint64_t count, bool *ret, struct error *err)
{
	uint64_t more = count < 2 ? 2 - count : 0, got;

	if ((more && write(fd, &more, sizeof(more)) < 0) || read(fd, &got, sizeof(got)) < 0)
		return error_raise(err, errno, "try whether an eventfd is a semaphore");
	*ret = got == 1;
	/* back to what it was */
	for (uint64_t left = count + more - got; left > count;) {
		if (read(fd, &got, sizeof(got)) < 0)
			return error_raise(err, errno, "put an eventfd back");
		left -= got;
	}
	got = *ret ? 0 : count;
	if (*ret && count >= 2)
		got = 1;
	if (got && write(fd, &got, sizeof(got)) < 0)
		return error_raise(err, errno, "put an eventfd back");
	return 0;
}

static int describe_live(struct checkpoint *c, const struct descriptor *d, const char *info,
                         EventfdState *s, struct error *err)
{
	uint64_t semaphore = 0;
	bool known = anonymous_number(info, "eventfd-semaphore:", 10, &semaphore);

	if (!anonymous_number(info, "eventfd-count:", 16, &s->count))
		return error_raise(err, EBADMSG, "fdinfo of an eventfd is not of the known form");
	s->semaphore = semaphore;
	if (known || d->live < 0 || !c->tracer)
		return 0;
	bool is;
	int r = probe_semaphore(d->live, s->count, &is, err);
	s->semaphore = r == 0 && is;
	return r < 0 ? error_trace(err, r) : 0;
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
		r = describe_live(c, d, info, &state, err);
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
