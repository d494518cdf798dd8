/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checksums put right. See repair.h. */
#include "repair.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "util/alloc.h"

int span_at(const uint8_t *data, size_t size, size_t at, struct span *ret)
{
	if (at > size || size - at < sizeof(ret->header))
		return 0;
	memcpy(&ret->header, data + at, sizeof(ret->header));
	ret->at = at;
	ret->body = at + sizeof(ret->header) + ret->header.padding;
	if (ret->header.padding >= IMAGE_PAGE_SIZE || ret->body > size ||
	    ret->header.length > size - ret->body)
		return 0;
	ret->end = ret->body + ret->header.length;
	return 1;
}

static void repair_header(uint8_t *data)
{
	uint64_t sum = XXH3_64bits(data, offsetof(struct image_header, checksum));

	memcpy(data + offsetof(struct image_header, checksum), &sum, sizeof(sum));
}

static void repair_record(uint8_t *data, struct span *s)
{
	const uint8_t *id = data + offsetof(struct image_header, id);

	s->header.body_checksum = XXH3_64bits(data + s->body, s->header.length);
	s->header.checksum = XXH3_64bits_withSeed(&s->header,
	                                          offsetof(struct image_record_header, checksum),
	                                          image_record_seed(id, s->at));
	memcpy(data + s->at, &s->header, sizeof(s->header));
}

/* counts, index and footer that fit what came before; pages are not counted, the reader does not */
static void repair_trailer(uint8_t *data, size_t size, struct span *s,
                           const struct image_index_entry *index, size_t n)
{
	struct image_footer footer = { .trailer_offset = s->at };
	struct image_trailer t;

	if (s->header.length != sizeof(t) + n * sizeof(*index))
		return;
	memcpy(&t, data + s->body, sizeof(t));
	t.n_messages = t.n_blocks = 0;
	for (size_t i = 0; i < n; i++)
		*(index[i].type == IMAGE_PAGES ? &t.n_blocks : &t.n_messages) += 1;
	t.index_checksum = XXH3_64bits(index, n * sizeof(*index));
	memcpy(data + s->body, &t, sizeof(t));
	if (n)
		memcpy(data + s->body + sizeof(t), index, n * sizeof(*index));
	repair_record(data, s);
	if (size - s->end < sizeof(footer))
		return;
	memcpy(footer.magic, IMAGE_FOOTER_MAGIC, sizeof(footer.magic));
	footer.checksum = XXH3_64bits_withSeed(
		&footer, offsetof(struct image_footer, checksum),
		image_record_seed(data + offsetof(struct image_header, id), s->end));
	memcpy(data + s->end, &footer, sizeof(footer));
}

void repair(uint8_t *data, size_t size)
{
	struct image_index_entry *index = NULL;
	struct span s;
	size_t n = 0;

	if (size < sizeof(struct image_header))
		return;
	repair_header(data);
	for (size_t at = sizeof(struct image_header); span_at(data, size, at, &s); at = s.end) {
		if (s.header.type == IMAGE_TRAILER) {
			repair_trailer(data, size, &s, index, n);
			break;
		}
		repair_record(data, &s);
		*array_push(index, n) = (struct image_index_entry){
			.offset = s.at,
			.body_checksum = s.header.body_checksum,
			.type = s.header.type,
			.object = s.header.object,
			.flags = s.header.flags,
			.length = (uint32_t)s.header.length,
		};
	}
	free(index);
}

int file_of(const uint8_t *data, size_t size)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	return fd;
}
