/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any JSON as text for people: a member per line, lists of records as one line each. */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cli/inspect.h"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

/* large numbers are addresses and masks, unless they count something */
static bool is_address(const char *name, uint64_t value)
{
	static const char *const counts[] = { "_ns",      "_us",   "size", "bytes", "offset",
		                              "position", "limit", "soft", "hard",  "inode" };

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (ends_with(name, counts[i]))
			return false;
	return value >= 1u << 24;
}

static bool is_empty(json_object *o)
{
	switch (json_object_get_type(o)) {
	case json_type_null:
		return true;
	case json_type_boolean:
		return !json_object_get_boolean(o);
	case json_type_int:
		return json_object_get_uint64(o) == 0 && json_object_get_int64(o) == 0;
	case json_type_double:
		return false;
	case json_type_string:
		return json_object_get_string_len(o) == 0;
	case json_type_array:
		return json_object_array_length(o) == 0;
	case json_type_object:
		return json_object_object_length(o) == 0;
	}
	return false;
}

/* of an id map the first line would not say what it is of */
static bool is_left_out(const char *name, json_object *o)
{
	return is_empty(o) && strcmp(name, "inside") != 0 && strcmp(name, "outside") != 0;
}

/* long ones are registers and the like, which nobody reads here: --json has them whole */
static void print_string(const char *text)
{
	enum { SHOWN = 300 };
	size_t size = strlen(text);
	const char *quote = strchr(text, ' ') ? "\"" : "";

	if (size <= SHOWN)
		printf("%s%s%s", quote, text, quote);
	else
		printf("%s%.*s%s... and %zu characters more", quote, SHOWN / 5, text, quote,
		       size - SHOWN / 5);
}

static void print_scalar(const char *name, json_object *o)
{
	if (json_object_is_type(o, json_type_int) && json_object_get_int64(o) >= 0 &&
	    is_address(name, json_object_get_uint64(o)))
		printf("0x%llx", (unsigned long long)json_object_get_uint64(o));
	else if (json_object_is_type(o, json_type_string))
		print_string(json_object_get_string(o));
	else if (o)
		fputs(json_object_get_string(o), stdout);
	else
		fputs("-", stdout);
}

static void print_inline(const char *name, json_object *o)
{
	bool first = true;

	if (json_object_is_type(o, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(o); i++) {
			if (i)
				putchar(' ');
			print_inline(name, json_object_array_get_idx(o, i));
		}
	} else if (json_object_is_type(o, json_type_object)) {
		json_object_object_foreach(o, key, value)
		{
			if (is_left_out(key, value))
				continue;
			bool nested = json_object_is_type(value, json_type_object) ||
			              json_object_is_type(value, json_type_array);
			printf("%s%s %s", first ? "" : ", ", key, nested ? "(" : "");
			print_inline(key, value);
			if (nested)
				putchar(')');
			first = false;
		}
	} else {
		print_scalar(name, o);
	}
}

static bool is_list_of_records(json_object *o)
{
	return json_object_is_type(o, json_type_array) && json_object_array_length(o) > 0 &&
	       json_object_is_type(json_object_array_get_idx(o, 0), json_type_object);
}

static void print_list(const char *name, json_object *o, int indent)
{
	printf("%*s%s\n", indent, "", name);
	for (size_t i = 0; i < json_object_array_length(o); i++) {
		printf("%*s", indent + 2, "");
		print_inline(name, json_object_array_get_idx(o, i));
		putchar('\n');
	}
}

void outline_print(json_object *o, int indent)
{
	if (!json_object_is_type(o, json_type_object))
		return;
	json_object_object_foreach(o, key, value)
	{
		if (is_empty(value))
			continue;
		if (is_list_of_records(value)) {
			print_list(key, value, indent);
			continue;
		}
		printf("%*s%-18s ", indent, "", key);
		print_inline(key, value);
		putchar('\n');
	}
}
