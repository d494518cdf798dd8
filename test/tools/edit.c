/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * edit IN OUT EDIT...: an image as its author might have wished it, with checksums that are right.
 * edit IN: all fields: KIND.N.FIELD, its protobuf type, its value; of lists the first element.
 *
 * An EDIT: OBJECT.FIELD=VALUE; -OBJECT: left out; +OBJECT: doubled, under the next free id.
 * OBJECT:  KIND; KIND.N: the Nth, from 0 on; KIND:TEXT: the first that has TEXT in a field.
 * FIELD:   NAME; NAME[I] of a list; NAME[+]: a copy of the last one is appended; parts after dots.
 * VALUE:   a number; text with \xNN; @OBJECT: its id. None for a list or a message: left out.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/image.h"
#include "kind/kind.h"
#include "util/alloc.h"

struct item {
	const struct kind *kind;
	uint32_t id, n; /* the Nth of its kind */
	ProtobufCMessage *message;
	bool left_out;
};

static struct item *items;
static size_t n_items;

static void die(const char *what, const char *about)
{
	fprintf(stderr, "edit: %s: %s\n", what, about);
	exit(2);
}

static bool has_text(const ProtobufCMessage *m, const char *text, size_t size)
{
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const ProtobufCBinaryData *bytes = (const void *)((const char *)m + f->offset);
		if (f->type == PROTOBUF_C_TYPE_BYTES && f->label != PROTOBUF_C_LABEL_REPEATED &&
		    bytes->len == size && !memcmp(bytes->data, text, size))
			return true;
	}
	return false;
}

/* "KIND", "KIND.N" or "KIND:TEXT"; what follows is left in @at */
static struct item *parse_item(const char **at)
{
	const char *name = *at, *text = NULL;
	size_t size = strcspn(name, ".:="), text_size = 0;
	char *end = (char *)name + size;
	unsigned long n = 0;

	if (*end == ':') {
		text = end + 1;
		text_size = strcspn(text, ".=");
		end = (char *)text + text_size;
	} else if (*end == '.' && end[1] >= '0' && end[1] <= '9')
		n = strtoul(end + 1, &end, 10);
	*at = end;
	for (size_t i = 0; i < n_items; i++)
		if (!strncmp(items[i].kind->name, name, size) && !items[i].kind->name[size] &&
		    (text ? has_text(items[i].message, text, text_size) : items[i].n == n))
			return &items[i];
	die("no such object", name);
	return NULL;
}

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
	static const bool long_ones[PROTOBUF_C_TYPE_MESSAGE + 1] = {
		[PROTOBUF_C_TYPE_INT64] = true,    [PROTOBUF_C_TYPE_SINT64] = true,
		[PROTOBUF_C_TYPE_SFIXED64] = true, [PROTOBUF_C_TYPE_UINT64] = true,
		[PROTOBUF_C_TYPE_FIXED64] = true,  [PROTOBUF_C_TYPE_STRING] = true,
		[PROTOBUF_C_TYPE_MESSAGE] = true,
	};

	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return sizeof(ProtobufCBinaryData);
	return long_ones[f->type] ? 8 : 4;
}

static ProtobufCBinaryData unescape(const char *text)
{
	ProtobufCBinaryData bytes = { 0, xmalloc(strlen(text) + 1) };
	unsigned byte;

	while (*text)
		if (sscanf(text, "\\x%2x", &byte) == 1) {
			bytes.data[bytes.len++] = (uint8_t)byte;
			text += 4;
		} else
			bytes.data[bytes.len++] = (uint8_t)*text++;
	bytes.data[bytes.len] = 0;
	return bytes;
}

static void set(const ProtobufCFieldDescriptor *f, void *at, const char *value)
{
	uint64_t number;

	if (f->type == PROTOBUF_C_TYPE_BYTES) {
		*(ProtobufCBinaryData *)at = unescape(value);
	} else if (f->type == PROTOBUF_C_TYPE_STRING) {
		*(char **)at = (char *)unescape(value).data;
	} else {
		if (*value == '@') {
			value++;
			number = parse_item(&value)->id;
		} else
			number = *value == '-' ? (uint64_t)strtoll(value, NULL, 0)
			                       : strtoull(value, NULL, 0);
		memcpy(at, &number, size_of(f)); /* little-endian */
	}
}

static void *element(const ProtobufCFieldDescriptor *f, ProtobufCMessage *m, const char **at)
{
	size_t *n = (size_t *)((char *)m + f->quantifier_offset), size = size_of(f), i;
	char **list = (char **)((char *)m + f->offset);

	if ((*at)[1] == '+') {
		*list = xrealloc(*list, *n + 1, size);
		if (*n)
			memcpy(*list + *n * size, *list + (*n - 1) * size, size);
		else
			memset(*list, 0, size);
		i = (*n)++;
	} else
		i = strtoul(*at + 1, NULL, 10);
	*at = strchr(*at, ']') + 1;
	if (i >= *n)
		die("no such element", f->name);
	return *list + i * size;
}

static ProtobufCMessage *new_message(const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *m = xcalloc(1, type->sizeof_message);

	type->message_init(m);
	return m;
}

/* @at: ".NAME...=VALUE" */
static void edit_field(ProtobufCMessage *m, const char *at)
{
	size_t size = strcspn(++at, ".[=");
	char name[64];

	snprintf(name, sizeof(name), "%.*s", (int)size, at);
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
	if (!f)
		die("no such field", at);
	at += size;
	char *where = (char *)m + f->offset;
	if (*at == '[')
		where = element(f, m, &at);
	else if (f->label == PROTOBUF_C_LABEL_REPEATED) { /* "=": all are left out */
		*(size_t *)((char *)m + f->quantifier_offset) = 0;
		return;
	}
	if (f->type != PROTOBUF_C_TYPE_MESSAGE) {
		set(f, where, at + 1);
		return;
	}
	ProtobufCMessage **below = (ProtobufCMessage **)(void *)where;
	if (*at == '=') {
		*below = NULL;
		return;
	}
	if (!*below)
		*below = new_message(f->descriptor);
	edit_field(*below, at);
}

static void edit(const char *text)
{
	const char *at = text + (*text == '-' || *text == '+');
	struct item *item = parse_item(&at);

	if (*text == '-') {
		item->left_out = true;
	} else if (*text == '+') {
		struct item copy = *item;
		for (size_t i = 0; i < n_items; i++) {
			copy.n += items[i].kind == item->kind && items[i].n > copy.n;
			copy.id = items[i].id > copy.id ? items[i].id : copy.id;
		}
		copy.n++;
		copy.id++;
		size_t size = protobuf_c_message_get_packed_size(item->message);
		uint8_t *packed = xmalloc(size + 1);
		protobuf_c_message_pack(item->message, packed);
		copy.message = protobuf_c_message_unpack(copy.kind->message, NULL, size, packed);
		*array_push(items, n_items) = copy;
	} else
		edit_field(item->message, at);
}

static void print(const char *path, const ProtobufCFieldDescriptor *f, const void *at)
{
	uint64_t number = 0;

	printf("%s %d ", path, (int)f->type);
	if (f->type == PROTOBUF_C_TYPE_BYTES) {
		const ProtobufCBinaryData *bytes = at;
		for (size_t i = 0; i < bytes->len; i++)
			printf(bytes->data[i] > ' ' && bytes->data[i] <= '~' ? "%c" : "\\x%02x",
			       bytes->data[i]);
	} else if (f->type == PROTOBUF_C_TYPE_STRING) {
		printf("%s", *(char *const *)at);
	} else {
		memcpy(&number, at, size_of(f));
		printf("%llu", (unsigned long long)number);
	}
	putchar('\n');
}

static void list_fields(const char *path, const ProtobufCMessage *m)
{
	char deeper[512];

	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
		size_t n = repeated ? *(const size_t *)((const char *)m + f->quantifier_offset) : 1;
		snprintf(deeper, sizeof(deeper), "%s.%s%s", path, f->name, repeated ? "[0]" : "");
		if (!n)
			continue;
		const void *at = (const char *)m + f->offset;
		if (repeated)
			at = *(const void *const *)at;
		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			print(deeper, f, at);
		else if (*(void *const *)at)
			list_fields(deeper, *(ProtobufCMessage *const *)at);
	}
}

static int fail(struct error *err)
{
	error_print(stderr, err, "edit", true);
	return 1;
}

static void add(const struct record *record, ProtobufCMessage *message)
{
	struct item *item = array_push(items, n_items);
	uint32_t n = 0;

	*item = (struct item){ kind_by_number(record->type), record->object, 0, message, false };
	for (size_t i = 0; i + 1 < n_items; i++)
		n += items[i].kind == item->kind;
	item->n = n;
}

static int write_messages(struct image_writer *w, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_items; i++)
		if (!items[i].left_out)
			r = image_writer_message(w, items[i].kind->number, items[i].id,
			                         items[i].message, err);
	return r;
}

/* the messages, then the edits, then page blocks as they are */
static int copy(struct image_reader *from, struct image_writer *to, struct error *err)
{
	static char buffer[IMAGE_BLOCK_PAGES * 4096];
	struct page_run runs[IMAGE_BLOCK_PAGES];
	struct page_block block;
	struct record record;
	int r = 0;

	while ((r = image_reader_next(from, &record, err)) > 0) {
		ProtobufCMessage *m = NULL;
		if (record.type != IMAGE_PAGES) {
			r = image_message_decode(&record, kind_by_number(record.type)->message, &m,
			                         err);
			if (r < 0)
				return r;
			add(&record, m);
		} else if (!to) {
			return 0;
		} else {
			r = image_block_decode(&record, buffer, runs, &block, err);
			if (r == 0)
				r = image_writer_block(to, &block, err);
			if (r < 0)
				return r;
		}
		record_release(&record);
	}
	return r;
}

int main(int argc, char **argv)
{
	const struct image_writer_options options = { IMAGE_RAW, 0 };
	struct error err = ERROR_INIT;
	struct image_reader *reader;
	struct image_writer *writer;

	if (argc < 2)
		die("usage", "edit IN [OUT EDIT...]");
	int in = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (in < 0 || image_reader_new(&reader, in, &err) < 0 || copy(reader, NULL, &err) < 0)
		return fail(&err);
	image_reader_free(reader);
	if (argc == 2) {
		char path[80];
		for (size_t i = 0; i < n_items; i++) {
			snprintf(path, sizeof(path), "%s.%u", items[i].kind->name, items[i].n);
			list_fields(path, items[i].message);
		}
		return 0;
	}
	for (int i = 3; i < argc; i++)
		edit(argv[i]);
	int out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out < 0 || image_writer_new(&writer, out, &options, &err) < 0 ||
	    write_messages(writer, &err) < 0)
		return fail(&err);
	n_items = 0;
	lseek(in, 0, SEEK_SET);
	if (image_reader_new(&reader, in, &err) < 0 || copy(reader, writer, &err) < 0 ||
	    image_writer_finish(writer, &err) < 0)
		return fail(&err);
	_exit(0); /* nothing has been freed, which ASan would tell */
}
