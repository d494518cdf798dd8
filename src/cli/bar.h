/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The progress bar: one line on stderr that is drawn over, once work takes over half a second. */
#pragma once

#include "core/progress.h"

void bar_draw(struct progress *p);  /* progress->draw */
void bar_clear(struct progress *p); /* takes the line away again, if one was drawn */
