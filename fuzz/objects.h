/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The input of fuzz_objects, which fuzz_seed makes of images: messages one after the other. */
#pragma once

#include <stdint.h>

struct fuzz_message {
	uint16_t kind, object;
	uint32_t size; /* of the packed message that follows */
};
