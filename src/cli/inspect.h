/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The views of `stasis inspect`: each as text, or as one JSON value. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/contents.h"

struct json_object;
struct map;
struct object;

struct holders_of { /* the tasks that refer to one object */
	struct object **tasks;
	size_t n;
};

/* what the views look at; the image may be invalid, so nothing that it says of itself is sure */
struct inspection {
	struct contents contents;
	struct map *holders; /* object id -> struct holders_of */
};

/* never NULL; lent */
const struct holders_of *inspection_holders(const struct inspection *in, uint32_t object);
/* "4711 bash, 4712 sleep and 3 more"; the caller frees it */
char *inspection_holders_text(const struct inspection *in, uint32_t object);
struct json_object *inspection_holders_json(const struct inspection *in, uint32_t object);

/* The views; what X_to_json() returns is the caller's (json_object_put). */
void tree_print(const struct inspection *in);
struct json_object *tree_to_json(const struct inspection *in);

/* Reads the page blocks, to say which of them belong to which mapping. */
int memory_print(struct inspection *in, struct error *err);
int memory_to_json(struct inspection *in, struct json_object **ret, struct error *err);

void files_print(const struct inspection *in);
struct json_object *files_to_json(const struct inspection *in);

void mounts_print(const struct inspection *in);
struct json_object *mounts_to_json(const struct inspection *in);

void namespaces_print(const struct inspection *in);
struct json_object *namespaces_to_json(const struct inspection *in);

void objects_print(const struct inspection *in);
struct json_object *objects_to_json(const struct inspection *in);

/* the records of an image, in either form, up to where it is invalid; @fd: its beginning */
int records_show(int fd, bool json, struct error *err);

/* JSON as indented text, members that are empty left out */
void outline_print(struct json_object *o, int indent);
