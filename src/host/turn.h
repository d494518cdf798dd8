/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Turns of several of us on one machine. Who looks through all mount namespaces holds, and enters,
 * each of them for a moment. A checkpoint of what is in one that looks for those who hold it just
 * then would refuse it.
 */
#pragma once

#include <stdbool.h>

/**
 * turn_take() - wait until nobody's look at the machine disturbs one's own
 * @alone:	that look takes hold of what others may be asking about; else it only sees who does
 * Returns what ends the turn when it is closed; -1 without one: /proc, which is locked for it, is
 * not there, or it was held for two seconds. Only who sees the same /proc waits for each other.
 */
int turn_take(bool alone);
