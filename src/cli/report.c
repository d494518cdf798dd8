/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors and refusals on stderr: for people, or one JSON object a line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "core/checkpoint.h"

static void add_text(json_object *o, const char *key, const char *text)
{
	if (text && text[0])
		json_add_text(o, key, text);
}

static void add_code(json_object *o, const struct error *err)
{
	char code[24];

	if (!err->code)
		return;
	snprintf(code, sizeof(code), "STASIS-E%04d", err->code);
	add_text(o, "code", code);
	add_text(o, "name", code_name(err->code));
}

static void add_frames(json_object *o, const struct error *err)
{
	json_object *frames = json_object_new_array();

	for (uint32_t i = 0; i < err->n_frames; i++) {
		char frame[64];
		snprintf(frame, sizeof(frame), "%s:%u", err->frames[i].function,
		         err->frames[i].line);
		json_object_array_add(frames, json_object_new_string(frame));
	}
	json_add(o, "at", frames);
}

json_object *error_to_json(const struct error *err, const char *level, const char *phase)
{
	json_object *o = json_object_new_object();

	add_text(o, "level", level);
	add_text(o, "phase", phase);
	add_code(o, err);
	if (err->pid)
		json_add(o, "pid", json_object_new_int(err->pid));
	add_text(o, "comm", err->comm);
	if (err->fd >= 0)
		json_add(o, "fd", json_object_new_int(err->fd));
	add_text(o, "object", err->object);
	add_text(o, "cause", err->cause);
	if (!err->code && strcmp(level, "not-examined")) {
		add_text(o, "errno", strerrorname_np(err->errnum));
		add_text(o, "errno_text", strerror(err->errnum));
	}
	add_text(o, "hint", err->hint);
	add_frames(o, err);
	return o;
}

static void report(const struct error *err, const char *level, const char *phase, bool json,
                   bool verbose)
{
	if (!json) {
		error_print(stderr, err, phase, verbose);
		return;
	}
	json_object *o = error_to_json(err, level, phase);
	json_print_line(stderr, o);
}

void report_error(const struct error *err, const char *phase, bool json, bool verbose)
{
	report(err, "error", phase, json, verbose);
}

void report_refusals(const struct refusals *refusals, const char *phase, bool json, bool verbose)
{
	for (size_t i = 0; i < refusals->n; i++)
		report(&refusals->items[i], "refusal", phase, json, verbose);
}

struct human human_bytes(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	struct human h;
	double value = (double)bytes;
	unsigned unit = 0;

	while (value >= 1024 && unit < 6) {
		value /= 1024;
		unit++;
	}
	snprintf(h.text, sizeof(h.text), "%.*f %s", unit ? 1 : 0, value, units[unit]);
	return h;
}

struct human human_time(uint64_t us)
{
	struct human h;

	if (us < 1000)
		snprintf(h.text, sizeof(h.text), "%u us", (unsigned)us);
	else if (us < 1000000)
		snprintf(h.text, sizeof(h.text), "%.1f ms", (double)us / 1e3);
	else
		snprintf(h.text, sizeof(h.text), "%.2f s", (double)us / 1e6);
	return h;
}
