/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The phases of a restart, as core/restart.c calls them. */
#pragma once

#include "core/restart.h"
#include "util/error.h"

/* read: all metadata up to the first page block or the trailer; objects, tasks, all validated */
int restart_read(struct restart *r, struct error *err);
/* fill: the page blocks that are left, in several threads; then the trailer has been verified */
int restart_fill(struct restart *r, struct error *err);
