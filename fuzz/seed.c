/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_seed IMAGE > INPUT: the messages of an image as input of fuzz_objects. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/contents.h"
#include "kind/kind.h"
#include "objects.h"

static void put(const struct object *object)
{
	size_t size = protobuf_c_message_get_packed_size(object->message);
	uint8_t *body = malloc(size + 1);
	struct fuzz_message m = { (uint16_t)object->kind->number, (uint16_t)object->id,
		                  (uint32_t)size };

	if (!body)
		exit(1);
	protobuf_c_message_pack(object->message, body);
	fwrite(&m, sizeof(m), 1, stdout);
	fwrite(body, size, 1, stdout);
	free(body);
}

int main(int argc, char **argv)
{
	struct contents contents;
	struct error err = ERROR_INIT;
	size_t cursor = 0;
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0) {
		fprintf(stderr, "usage: fuzz_seed IMAGE\n");
		return 2;
	}
	if (contents_open(&contents, fd, &err) < 0 || contents_read(&contents, &err) < 0) {
		error_print(stderr, &err, "fuzz_seed", true);
		return 1;
	}
	for (struct object *o; (o = objects_next(contents.objects, NULL, &cursor));)
		put(o);
	contents_close(&contents);
	return 0;
}
