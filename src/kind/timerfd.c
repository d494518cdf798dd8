/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Timers as descriptors. See timerfd.h. They are armed last, with the time that was left; one for a
 * time of day, for that.
 */
#include "kind/timerfd.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "kind/anonymous.h"
#include "timerfd.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define KNOWN_FLAGS ((uint32_t)(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET))
#define TIME_MAX    (INT64_MAX / 2)

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t) /* 3.17, linux/timerfd.h */
#endif

static bool is_known_clock(uint32_t clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
	       clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM;
}

static bool is_time_of_day(const TimerfdState *s)
{
	return s->flags & TFD_TIMER_ABSTIME &&
	       (s->clock == CLOCK_REALTIME || s->clock == CLOCK_REALTIME_ALARM);
}

/* ---- checkpoint ---- */

static bool claims(const struct descriptor *d)
{
	return !strcmp(d->link, "anon_inode:[timerfd]");
}

/*
 * An expired periodic timer stands still until it is read, or asked: then it knows how often it has
 * expired since, and when it will again; fs/timerfd.c.
 */
static int read_state(const struct descriptor *d, char **ret_info, TimerfdState *s,
                      struct error *err)
{
	struct itimerspec value = { 0 };
	uint64_t clock, flags;
	struct timespec now;

	if (d->live >= 0 && timerfd_gettime(d->live, &value) < 0)
		return error_raise(err, errno, "timerfd_gettime");
	int r = anonymous_read(d, ret_info, err);
	if (r < 0)
		return error_trace(err, r);
	if (!anonymous_number(*ret_info, "clockid:", 10, &clock) || !is_known_clock(clock) ||
	    !anonymous_number(*ret_info, "ticks:", 10, &s->ticks) ||
	    !anonymous_number(*ret_info, "settime flags:", 8, &flags) || flags & ~KNOWN_FLAGS)
		return error_raise(err, EBADMSG, "fdinfo of a timerfd is not of the known form");
	/* that the clock was set and has not been told yet counts as one, too; fs/timerfd.c */
	if (flags & TFD_TIMER_CANCEL_ON_SET && s->ticks) {
		error_refuse(err, CODE_timerfd_cancel,
		             "it has expired, or its clock was set: which of both is not shown");
		error_hint(err, "try again when the program has read it");
		return -EOPNOTSUPP;
	}
	s->clock = (uint32_t)clock;
	s->flags = (uint32_t)flags;
	s->remaining_ns = timespec_to_ns(&value.it_value);
	s->interval_ns = timespec_to_ns(&value.it_interval);
	if (s->remaining_ns && is_time_of_day(s)) {
		clock_gettime(CLOCK_REALTIME, &now);
		s->deadline_ns = timespec_to_ns(&now) + s->remaining_ns;
	}
	return 0;
}

static int collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                              struct error *err)
{
	_cleanup_(free_p) char *info = NULL;
	TimerfdState *s = xmalloc(sizeof(*s));

	*ret = NULL;
	timerfd_state__init(s);
	int r = read_state(d, &info, s, err);
	if (r == 0)
		r = anonymous_judge(c, d, info, err);
	if (r < 0) {
		timerfd_state__free_unpacked(s, NULL);
		return error_trace(err, r);
	}
	*ret = objects_get_equal(c->objects, &timerfd_kind, &s->base);
	return 0;
}

/* ---- restart ---- */

/* object->live: those that are to be armed. Timers that were alike are one object. */
struct timerfd {
	int *fds;
	size_t n;
};

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const TimerfdState *s = object_state(object, TimerfdState);

	if (!is_known_clock(s->clock) || s->flags & ~KNOWN_FLAGS)
		return error_raise(err, EBADMSG, "clock %u, flags %x", s->clock, s->flags);
	if (s->remaining_ns > TIME_MAX || s->interval_ns > TIME_MAX || s->deadline_ns > TIME_MAX ||
	    (s->deadline_ns && (!s->remaining_ns || !is_time_of_day(s))))
		return error_raise(err, EBADMSG, "a time that is too far");
	return 0;
}

static int open_new(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                    struct error *err)
{
	const TimerfdState *s = object_state(object, TimerfdState);
	_cleanup_(close_p) int fd = timerfd_create((int)s->clock, TFD_CLOEXEC);

	if (fd < 0)
		return error_raise(err, errno, "make a timerfd");
	if (fcntl(fd, F_SETFL, (int)flags) < 0)
		return error_raise(err, errno, "give a timerfd the flags %o", flags);
	int later = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (later < 0)
		return error_raise(err, errno, "keep a timerfd");
	if (!object->live)
		object->live = xcalloc(1, sizeof(struct timerfd));
	struct timerfd *t = object->live;
	*array_push(t->fds, t->n) = later;
	*ret_fd = take_fd(&fd);
	return 0;
}

static int arm(const TimerfdState *s, int fd, struct error *err)
{
	struct itimerspec value = { timespec_from_ns(s->interval_ns),
		                    timespec_from_ns(s->remaining_ns) };
	struct timespec now;

	if (s->deadline_ns) {
		value.it_value = timespec_from_ns(s->deadline_ns);
	} else if (s->remaining_ns && s->flags & TFD_TIMER_ABSTIME) {
		clock_gettime((clockid_t)s->clock, &now);
		value.it_value = timespec_from_ns(timespec_to_ns(&now) + s->remaining_ns);
	}
	if ((s->remaining_ns || s->interval_ns || s->flags) &&
	    timerfd_settime(fd, (int)s->flags, &value, NULL) < 0)
		return error_raise(err, errno, "timerfd_settime");
	if (s->ticks && ioctl(fd, TFD_IOC_SET_TICKS, &s->ticks) < 0)
		return error_raise(err, errno,
		                   "set a timerfd's expirations (that takes a kernel "
		                   "with CONFIG_CHECKPOINT_RESTORE)");
	return 0;
}

static int finish(struct restart *r, struct object *object, struct error *err)
{
	struct timerfd *t = object->live;
	int e = 0;

	for (size_t i = 0; e == 0 && t && i < t->n; i++) {
		e = arm(object_state(object, TimerfdState), t->fds[i], err);
		close_p(&t->fds[i]);
	}
	return e < 0 ? error_trace(err, e) : 0;
}

static void release(struct object *object)
{
	struct timerfd *t = object->live;

	for (size_t i = 0; t && i < t->n; i++)
		close_p(&t->fds[i]);
	if (t)
		free(t->fds);
	free(t);
	object->live = NULL;
}

const struct kind timerfd_kind = {
	.name = "timerfd",
	.number = 92,
	.message = &timerfd_state__descriptor,
	.claims = claims,
	.collect_descriptor = collect_descriptor,
	.validate = validate,
	.open = open_new,
	.finish = finish,
	.release = release,
};
