/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a pid namespace has besides tasks, proc_sys_kernel(5); and helpers that go into one. */
#pragma once

#include <stdint.h>

#include "util/error.h"

struct pid_ns_settings {
	uint32_t last_pid;
	uint32_t pid_max;      /* of its own since 6.14, before the host's */
	uint32_t memfd_noexec; /* 0: also where the kernel has none, before 6.3 */
};

/*
 * Each is done by a process that goes there: it takes a number in the namespace, and in all those
 * above.
 */
int pid_ns_read_settings(int fd, struct pid_ns_settings *ret, struct error *err);
/* what differs from what it has */
int pid_ns_write_settings(int fd, const struct pid_ns_settings *settings, struct error *err);
int pid_ns_write_last_pid(int fd, uint32_t last_pid, struct error *err);

/* to be made; its init has ended then */
struct pid_ns_dead {
	size_t above; /* its place in the list, before its own; of the first there is none */
	int owner;    /* the user namespace that is to own it; -1: our own */
	int fd;       /* of it, the caller's */
};

/**
 * pid_ns_make_dead() - new namespaces that are dead: the first, and those that are below it
 * @above:	the namespace that the first is below; -1: our own
 */
int pid_ns_make_dead(int above, struct pid_ns_dead *list, size_t n, struct error *err);
