/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stasis inspect: what an image holds. It shows what it can, also of an image that is invalid: then
 * the error follows, and the exit status is 1. Nothing here relies on what validate() checks.
 */
#include "cli/inspect.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "kind/describe.h"
#include "kind/kind.h"
#include "kind/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"
#include "util/text.h"

enum view {
	VIEW_SUMMARY,
	VIEW_TREE,
	VIEW_MEMORY,
	VIEW_FILES,
	VIEW_MOUNTS,
	VIEW_NAMESPACES,
	VIEW_OBJECTS,
	VIEW_RECORDS
};
enum { OPTION_JSON = OPTION_LAST, OPTION_VIEW };

static const struct option long_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "tree", no_argument, NULL, OPTION_VIEW + VIEW_TREE },
	{ "memory", no_argument, NULL, OPTION_VIEW + VIEW_MEMORY },
	{ "files", no_argument, NULL, OPTION_VIEW + VIEW_FILES },
	{ "mounts", no_argument, NULL, OPTION_VIEW + VIEW_MOUNTS },
	{ "namespaces", no_argument, NULL, OPTION_VIEW + VIEW_NAMESPACES },
	{ "objects", no_argument, NULL, OPTION_VIEW + VIEW_OBJECTS },
	{ "records", no_argument, NULL, OPTION_VIEW + VIEW_RECORDS },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ 0 },
};

struct arguments {
	const char *path;
	enum view view;
	bool json;
};

/* ---- who refers to what ---- */

static void note_holders(struct inspection *in)
{
	in->holders = map_new();
	for (size_t i = 0; i < in->contents.n_tasks; i++) {
		const TaskState *t = object_state(in->contents.tasks[i], TaskState);
		for (size_t k = 0; k < t->n_objects; k++) {
			uint32_t id = t->objects[k];
			struct holders_of *h = map_get(in->holders, &id, sizeof(id));
			if (!h) {
				h = xcalloc(1, sizeof(*h));
				map_put(in->holders, &id, sizeof(id), h);
			}
			*array_push(h->tasks, h->n) = in->contents.tasks[i];
		}
	}
}

static void inspection_done(struct inspection *in)
{
	size_t cursor = 0;

	if (in->holders)
		for (struct holders_of *h; (h = map_next(in->holders, &cursor));) {
			free(h->tasks);
			free(h);
		}
	map_free(in->holders);
	contents_close(&in->contents);
}

const struct holders_of *inspection_holders(const struct inspection *in, uint32_t object)
{
	static const struct holders_of none;
	const struct holders_of *h = map_get(in->holders, &object, sizeof(object));

	return h ? h : &none;
}

char *inspection_holders_text(const struct inspection *in, uint32_t object)
{
	const struct holders_of *h = inspection_holders(in, object);
	char *text = xstrdup(h->n ? "" : "no task");
	size_t shown = h->n > 4 ? 3 : h->n;

	for (size_t i = 0; i < shown; i++) {
		const TaskState *t = object_state(h->tasks[i], TaskState);
		_cleanup_(free_p) char *before = text;
		_cleanup_(free_p) char *comm = text_printable(t->comm.data, t->comm.len);
		text = xasprintf("%s%s%u %s", before, i ? ", " : "", t->tid, comm);
	}
	if (shown < h->n) {
		_cleanup_(free_p) char *before = text;
		text = xasprintf("%s and %zu more", before, h->n - shown);
	}
	return text;
}

struct json_object *inspection_holders_json(const struct inspection *in, uint32_t object)
{
	const struct holders_of *h = inspection_holders(in, object);
	json_object *array = json_object_new_array();

	for (size_t i = 0; i < h->n; i++) {
		const TaskState *t = object_state(h->tasks[i], TaskState);
		json_object_array_add(array, json_object_new_uint64(t->tid));
	}
	return array;
}

/* ---- objects ---- */

void objects_print(const struct inspection *in)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(in->contents.objects, NULL, &cursor));) {
		_cleanup_(free_p) char *tasks = inspection_holders_text(in, o->id);
		json_object *state = object_describe(in->contents.objects, o);
		printf("%u %s", o->id, o->kind->name);
		if (inspection_holders(in, o->id)->n)
			printf(" of %s", tasks);
		putchar('\n');
		outline_print(state, 2);
		json_object_put(state);
	}
}

struct json_object *objects_to_json(const struct inspection *in)
{
	json_object *array = json_object_new_array();
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(in->contents.objects, NULL, &cursor));) {
		json_object *entry = json_object_new_object();
		json_add_number(entry, "id", o->id);
		json_add_text(entry, "kind", o->kind->name);
		json_add(entry, "tasks", inspection_holders_json(in, o->id));
		json_add(entry, "state", object_describe(in->contents.objects, o));
		json_object_array_add(array, entry);
	}
	return array;
}

/* ---- summary ---- */

static void format_id(const uint8_t id[16], char text[37])
{
	char *to = text;

	for (int i = 0; i < 16; i++)
		to += sprintf(to, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
		              id[i]);
}

static void format_time(uint64_t us, char text[32])
{
	time_t t = (time_t)(us / 1000000);
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm))
		strcpy(text, "?");
}

static json_object *info_to_json(const struct contents *c)
{
	const struct image_info *info = image_reader_info(c->reader);
	const struct image_totals *totals = image_reader_totals(c->reader);
	json_object *o = json_object_new_object();
	char id[37], created[32], version[24];

	format_id(info->id, id);
	format_time(info->created_us, created);
	snprintf(version, sizeof(version), "%u.%u", info->version_major, info->version_minor);
	json_add_text(o, "format", version);
	json_add_text(o, "id", id);
	json_add_text(o, "created", created);
	json_add_number(o, "created_us", info->created_us);
	json_add_text(o, "kernel", info->kernel_release);
	json_add_text(o, "stasis", info->stasis_version);
	json_add_number(o, "tasks", c->n_tasks);
	json_add_number(o, "objects", objects_count(c->objects));
	json_add_bool(o, "complete", totals != NULL);
	if (!totals)
		return o;
	json_add_number(o, "bytes", totals->size);
	json_add_number(o, "saved_pages", totals->n_data_pages);
	json_add_number(o, "zero_pages", totals->n_zero_pages);
	return o;
}

static void print_info(const struct contents *c)
{
	const struct image_info *info = image_reader_info(c->reader);
	const struct image_totals *totals = image_reader_totals(c->reader);
	char id[37], created[32];

	format_id(info->id, id);
	format_time(info->created_us, created);
	printf("image %s, format %u.%u\n", id, info->version_major, info->version_minor);
	printf("written %s by stasis %s on Linux %s\n", created, info->stasis_version,
	       info->kernel_release);
	printf("%zu task%s, %zu objects", c->n_tasks, c->n_tasks == 1 ? "" : "s",
	       objects_count(c->objects));
	if (totals)
		printf("; %s, with %s of memory and files", human_bytes(totals->size).text,
		       human_bytes(totals->n_data_pages * 4096).text);
	puts("\n");
}

static void print_kinds(const struct contents *c)
{
	const char *before = "\nobjects: ";

	for (size_t i = 0; i < n_kinds; i++) {
		size_t cursor = 0, n = 0;
		while (objects_next(c->objects, kinds[i], &cursor))
			n++;
		if (n == 0)
			continue;
		printf("%s%zu %s", before, n, kinds[i]->name);
		before = ", ";
	}
	putchar('\n');
}

static const char *const lost[][2] = {
#define LOST(name, text) { name, text },
#include "core/lost.def"
#undef LOST
};
#define N_LOST (sizeof(lost) / sizeof(lost[0]))

static json_object *lost_to_json(void)
{
	json_object *o = json_object_new_object();

	for (size_t i = 0; i < N_LOST; i++)
		json_add_text(o, lost[i][0], lost[i][1]);
	return o;
}

static void print_lost(void)
{
	puts("\nWhat cannot come back:");
	for (size_t i = 0; i < N_LOST; i++)
		printf("  - %s\n", lost[i][1]);
}

static int summary_print(struct inspection *in, struct error *err)
{
	int r = contents_skip_blocks(&in->contents, err);

	print_info(&in->contents);
	tree_print(in);
	print_kinds(&in->contents);
	print_lost();
	return r < 0 ? error_trace(err, r) : 0;
}

static int summary_to_json(struct inspection *in, json_object **ret, struct error *err)
{
	int r = memory_to_json(in, ret, err);

	json_add(*ret, "image", info_to_json(&in->contents));
	json_add(*ret, "tasks", tree_to_json(in));
	json_add(*ret, "files", files_to_json(in));
	json_add(*ret, "objects", objects_to_json(in));
	json_add(*ret, "cannot_come_back", lost_to_json());
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- the command ---- */

static int view_json(struct inspection *in, enum view view, json_object **ret, struct error *err)
{
	switch (view) {
	case VIEW_MEMORY:
		return memory_to_json(in, ret, err);
	case VIEW_TREE:
		*ret = tree_to_json(in);
		break;
	case VIEW_FILES:
		*ret = files_to_json(in);
		break;
	case VIEW_MOUNTS:
		*ret = mounts_to_json(in);
		break;
	case VIEW_NAMESPACES:
		*ret = namespaces_to_json(in);
		break;
	case VIEW_OBJECTS:
		*ret = objects_to_json(in);
		break;
	case VIEW_SUMMARY:
	case VIEW_RECORDS:
		return summary_to_json(in, ret, err);
	}
	return 0;
}

static int view_text(struct inspection *in, enum view view, struct error *err)
{
	switch (view) {
	case VIEW_MEMORY:
		return memory_print(in, err);
	case VIEW_TREE:
		tree_print(in);
		break;
	case VIEW_FILES:
		files_print(in);
		break;
	case VIEW_MOUNTS:
		mounts_print(in);
		break;
	case VIEW_NAMESPACES:
		namespaces_print(in);
		break;
	case VIEW_OBJECTS:
		objects_print(in);
		break;
	case VIEW_SUMMARY:
	case VIEW_RECORDS:
		return summary_print(in, err);
	}
	return 0;
}

/* the view, and then what is wrong with the image; the first error that is met is the one told */
static int show(const struct arguments *a, int fd, struct error *err)
{
	struct inspection in = { 0 };
	json_object *o = NULL;
	struct error later;

	int r = contents_open(&in.contents, fd, err);
	if (r < 0) {
		inspection_done(&in);
		return error_trace(err, r);
	}
	r = contents_read(&in.contents, err);
	if (r == 0)
		r = contents_check(&in.contents, err);
	note_holders(&in);
	int e = a->json ? view_json(&in, a->view, &o, r < 0 ? &later : err)
	                : view_text(&in, a->view, r < 0 ? &later : err);
	if (o)
		json_print(o);
	inspection_done(&in);
	return r < 0 ? r : e;
}

static int inspect_file(const struct arguments *a)
{
	struct error err = ERROR_INIT;
	_cleanup_(close_p) int fd = -1;
	int r = image_open(a->path, &fd, &err);

	if (r == 0)
		r = a->view == VIEW_RECORDS ? records_show(fd, a->json, &err) : show(a, fd, &err);
	if (finish_output(&err) < 0)
		r = -EIO;
	if (r < 0)
		report_error(&err, "inspect", false, false);
	return r < 0 ? EXIT_REFUSED : EXIT_DONE;
}

/* 0, an exit code, or -1 when --help was all that was asked */
static int parse(int argc, char **argv, struct arguments *a)
{
	int option, exit_code = EXIT_DONE;

	while ((option = next_option(&inspect_command, argc, argv, ":h", long_options,
	                             &exit_code)) >= 0) {
		if (option == OPTION_JSON)
			a->json = true;
		else if (a->view != VIEW_SUMMARY)
			return usage_error(&inspect_command, "it shows one view at a time");
		else
			a->view = (enum view)(option - OPTION_VIEW);
	}
	if (option == -2)
		return exit_code == EXIT_DONE ? -1 : exit_code;
	return image_operand(&inspect_command, argc, argv, &a->path);
}

static int inspect_main(int argc, char **argv)
{
	struct arguments a = { 0 };
	int exit_code = parse(argc, argv, &a);

	if (exit_code == 0)
		exit_code = inspect_file(&a);
	return exit_code < 0 ? EXIT_DONE : exit_code;
}

const struct command inspect_command = {
	.name = "inspect",
	.run = inspect_main,
	.summary = "show what an image holds",
	.help = "usage: stasis inspect FILE [VIEW] [--json]\n"
		"\n"
		"Shows what an image holds; '-' is standard input. Without a view: when and where "
		"it\n"
		"was written, its processes, and what cannot come back. An image that is invalid "
		"is\n"
		"shown as far as it can be, and the error follows.\n"
		"\n"
		"      --tree            the processes and threads\n"
		"      --memory          the mappings of each address space, and what is saved of "
		"them\n"
		"      --files           the open files of each process\n"
		"      --mounts          the mounts of each mount namespace, as findmnt shows "
		"them\n"
		"      --namespaces      the namespaces, and who is in them\n"
		"      --objects         every object with its state\n"
		"      --records         the framing: offset, type and size of each record\n"
		"      --json            the view as JSON; without a view, all of them but "
		"--records\n"
		"\n"
		"exit status: 0 shown, 1 the image is invalid or cannot be read, 2 usage\n"
		"\n"
		"example: which files would job.stasis need?\n"
		"  stasis inspect job.stasis --files\n",
};
