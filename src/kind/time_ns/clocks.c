/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clocks and their offsets. See clocks.h. */
#include "kind/time_ns/clocks.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "host/enter.h"
#include "host/helper.h"
#include "kind/time_ns/parts.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/file.h"

int offsets_read(const char *path, struct offsets *ret, struct error *err)
{
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct offset *m = &ret->monotonic, *b = &ret->boottime;
	char text[256];
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (size < 0)
		return error_raise(err, errno, "read %s", path);
	text[size] = 0;
	/* "monotonic SECONDS NANOSECONDS", "boottime ..." */
	int n = sscanf(text, "monotonic %lld %lld boottime %lld %lld", &m->s, &m->ns, &b->s,
	               &b->ns);
	return n == 4 ? 0 : error_raise(err, EBADMSG, "parse %s", path);
}

int offsets_write(const char *path, const struct offsets *o, struct error *err)
{
	return file_write(path, err, "monotonic %lld %lld\nboottime %lld %lld\n", o->monotonic.s,
	                  o->monotonic.ns, o->boottime.s, o->boottime.ns);
}
struct asking {
	int fd;
	struct offsets offsets;
};

static int ask_in_helper(void *arg, struct error *err)
{
	struct asking *a = arg;

	if (namespace_enter(a->fd, CLONE_NEWTIME) < 0)
		return error_raise(err, errno, "enter a time namespace");
	return offsets_read("/proc/self/timens_offsets", &a->offsets, err);
}

int offsets_ask(int nsfd, struct offsets *ret, struct error *err)
{
	struct asking a = { .fd = nsfd };
	int r = helper_run(ask_in_helper, &a, sizeof(a), err);

	*ret = a.offsets;
	return r < 0 ? error_trace(err, r) : 0;
}

/* our own: before Linux 6.3 unshare(1) without --fork leaves us another one for our children */
static int read_own(struct offsets *ret, struct error *err)
{
	_cleanup_(close_p) int fd = open("/proc/thread-self/ns/time", O_RDONLY | O_CLOEXEC);
	int r = namespace_is_own(fd, "time_for_children")
	                ? offsets_read("/proc/self/timens_offsets", ret, err)
	                : offsets_ask(fd, ret, err);

	return r < 0 ? error_trace(err, r) : 0;
}

int clocks_read(struct clocks *ret, struct error *err)
{
	int r = read_own(&ret->own, err);

	if (r < 0)
		return error_trace(err, r);
	if (clock_gettime(CLOCK_MONOTONIC, &ret->monotonic) < 0 ||
	    clock_gettime(CLOCK_BOOTTIME, &ret->boottime) < 0)
		return error_raise(err, errno, "read the clocks");
	return 0;
}

static uint64_t clock_of(const struct timespec *now, const struct offset *own,
                         const struct offset *its)
{
	return (uint64_t)(timespec_to_ns(now) + (its->s - own->s) * (int64_t)SECOND_NS + its->ns -
	                  own->ns);
}

void clocks_there(const struct clocks *c, const struct offsets *there, uint64_t *ret_monotonic,
                  uint64_t *ret_boottime)
{
	*ret_monotonic = clock_of(&c->monotonic, &c->own.monotonic, &there->monotonic);
	*ret_boottime = clock_of(&c->boottime, &c->own.boottime, &there->boottime);
}

/* the offset with which a clock that shows @now with @own comes to show @want */
static struct offset offset_to(const struct offset *own, const struct timespec *now, uint64_t want)
{
	struct offset o = { own->s + (long long)(want / SECOND_NS) - now->tv_sec,
		            own->ns + (long long)(want % SECOND_NS) - now->tv_nsec };

	while (o.ns < 0) {
		o.ns += SECOND_NS;
		o.s--;
	}
	while (o.ns >= SECOND_NS) {
		o.ns -= SECOND_NS;
		o.s++;
	}
	return o;
}

struct offsets clocks_offsets(const struct clocks *c, uint64_t monotonic, uint64_t boottime)
{
	return (struct offsets){ offset_to(&c->own.monotonic, &c->monotonic, monotonic),
		                 offset_to(&c->own.boottime, &c->boottime, boottime) };
}
