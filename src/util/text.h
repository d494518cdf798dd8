/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes from elsewhere as text for a terminal or JSON. */
#pragma once

#include <stddef.h>

/**
 * text_printable() - bytes as UTF-8 that is safe to print
 * Well-formed UTF-8 stays, but for what a terminal acts upon: control characters and those that
 * change the direction of writing. They, stray bytes and the backslash become \xNN, so that the
 * bytes can be told from the text. Returns a string that the caller frees.
 */
char *text_printable(const void *data, size_t size);
