/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small files of the kernel's, which take a value. */
#pragma once

#include "util/error.h"

/* writes a text in one go to a file that is there: printf */
int file_write(const char *path, struct error *err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
