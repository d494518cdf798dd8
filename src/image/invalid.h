/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the reader says that an image is not one. */
#pragma once

#include "util/error.h"

/* starts an error with one of the image's codes; returns -EBADMSG */
#define invalid(err, code, ...) \
	error_raise_at((err), EBADMSG, CODE_##code, __func__, __LINE__, __VA_ARGS__)
