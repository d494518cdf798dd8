/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inspect --records: the framing alone, nothing is decoded. */
#include <stdio.h>

#include "cli/inspect.h"
#include "cli/json.h"
#include "image/image.h"
#include "kind/kind.h"

static const char *record_name(uint32_t type)
{
	const struct kind *kind = kind_by_number(type);

	return type == IMAGE_PAGES ? "pages" : kind ? kind->name : "?";
}

static const char *record_compression(const struct record *record)
{
	static const char *const names[] = { "none", "lz4", "zstd" };

	return record->type == IMAGE_PAGES && record->flags < 3 ? names[record->flags] : NULL;
}

static json_object *record_to_json(const struct record *record)
{
	json_object *o = json_object_new_object();
	const char *compression = record_compression(record);

	json_add_number(o, "offset", record->offset);
	json_add_number(o, "type", record->type);
	json_add_text(o, "name", record_name(record->type));
	json_add_number(o, "object", record->object);
	json_add_number(o, "bytes", record->size);
	if (compression)
		json_add_text(o, "compression", compression);
	return o;
}

static void record_print(const struct record *record)
{
	const char *compression = record_compression(record);

	printf("%12llu %5u %-12s %8u %10zu  %s\n", (unsigned long long)record->offset, record->type,
	       record_name(record->type), record->object, record->size,
	       compression ? compression : "");
}

static int records(int fd, json_object *array, struct error *err)
{
	struct image_reader *reader;
	struct record record;
	int r = image_reader_new(&reader, fd, err);

	if (r < 0)
		return error_trace(err, r);
	if (!array)
		printf("%12s %5s %-12s %8s %10s\n", "OFFSET", "TYPE", "NAME", "OBJECT", "BYTES");
	while ((r = image_reader_next(reader, &record, err)) > 0) {
		if (array)
			json_object_array_add(array, record_to_json(&record));
		else
			record_print(&record);
		record_release(&record);
	}
	image_reader_free(reader);
	return r < 0 ? error_trace(err, r) : 0;
}

int records_show(int fd, bool json, struct error *err)
{
	json_object *array = json ? json_object_new_array() : NULL;
	int r = records(fd, array, err);

	if (array)
		json_print(array);
	return r < 0 ? error_trace(err, r) : 0;
}
