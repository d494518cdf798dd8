/* SPDX-License-Identifier: GPL-2.0-or-later */
/* POSIX timers of a process, timer_create(2), under their ids. */
#pragma once

#include "kind/kind.h"

struct stub;

extern const struct kind posix_timer_kind;

/* whether a timer on this clock can be saved; /proc/PID/timers has its number */
int posix_timer_check_clock(int clock, struct error *err);

/**
 * posix_timer_expire() - arm a timer so that it expires now, from a stub of its process
 * @timer, @signal:	from the siginfo of its pending signal
 * @ret_armed:	false when no such timer's signal was pending: a program may send a siginfo like
 * that
 */
int posix_timer_expire(struct restart *r, struct stub *stub, uint32_t timer, int signal,
                       bool *ret_armed, struct error *err);
