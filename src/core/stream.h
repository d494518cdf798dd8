/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stream of bytes as page blocks of one object: for bulk data that is no pages by itself. It
 * fills the pages of one page set from 0 on, the last one up with zeros; where it ends, it must
 * say itself. Compressed and decompressed by all processors, in order on both sides, and neither
 * holds more than a few blocks of 1 MiB per processor.
 */
#pragma once

#include <stdint.h>

#include "util/bytes.h"

struct contents;
struct image_writer;
struct progress;

struct stream_out;

/**
 * stream_out_new() - begin to write
 * @progress:	may be NULL
 * One thread uses it: fills room, and ends it.
 */
struct stream_out *stream_out_new(struct image_writer *image, uint32_t object, uint32_t page_set,
                                  struct progress *progress);
struct byte_sink stream_out_sink(struct stream_out *s);
/* the last bytes go out; the first failure of all is returned here if not before */
int stream_out_end(struct stream_out *s, struct error *err);
void stream_out_free(struct stream_out *s); /* takes NULL; ended or not */

struct stream_in;

/**
 * stream_in_new() - the page blocks of @object, which come next in the image; hostile
 * @n:		so many streams follow each other, in page sets 0 to @n - 1
 * @progress:	may be NULL
 */
struct stream_in *stream_in_new(struct contents *contents, uint32_t object, uint32_t n,
                                struct progress *progress);
/* ends where this stream's blocks end: the last page may have been filled up with zeros */
struct byte_source stream_in_source(struct stream_in *s);
/* to the next stream, when the source has ended; the source stays the same */
void stream_in_go_on(struct stream_in *s);
uint64_t stream_in_bytes(const struct stream_in *s); /* what has come so far, of all streams */
void stream_in_free(struct stream_in *s);            /* takes NULL; read to its end or not */
