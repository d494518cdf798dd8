/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checksums keep a fuzzer out, and a hostile image has them right: so they are put right before
 * the reader sees the bytes. The code under test stays as it is.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "image/format.h"

/* where a record lies in a buffer */
struct span {
	struct image_record_header header;
	size_t at, body, end;
};

/* the record at @at; 0 when it does not lie wholly within the buffer */
int span_at(const uint8_t *data, size_t size, size_t at, struct span *ret);
/* puts right all checksums, as far as the records can be followed, and the index, counts and footer
 * if there is room for them */
void repair(uint8_t *data, size_t size);
/* a file with these bytes, at its start; ends the process when it cannot be had */
int file_of(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
