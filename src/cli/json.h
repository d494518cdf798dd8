/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON objects that are made member by member, and printed. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

static inline void json_add(json_object *o, const char *key, json_object *value)
{
	json_object_object_add(o, key, value);
}

static inline void json_add_text(json_object *o, const char *key, const char *text)
{
	json_add(o, key, json_object_new_string(text));
}

static inline void json_add_number(json_object *o, const char *key, uint64_t number)
{
	json_add(o, key, json_object_new_uint64(number));
}

static inline void json_add_bool(json_object *o, const char *key, bool value)
{
	json_add(o, key, json_object_new_boolean(value));
}

/* on one line; frees @o */
static inline void json_print_line(FILE *to, json_object *o)
{
	fprintf(to, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

/* indented, on standard output; frees @o */
static inline void json_print(json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
	                                               JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}
