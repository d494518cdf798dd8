/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inspect --files: the files of each process, as lsof(8) lists them. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cli/inspect.h"
#include "cli/json.h"
#include "file.pb-c.h"
#include "files.pb-c.h"
#include "fs.pb-c.h"
#include "kind/describe.h"
#include "kind/kind.h"
#include "kind/task.h"
#include "mm.pb-c.h"
#include "regfile.pb-c.h"
#include "util/cleanup.h"
#include "util/map.h"
#include "util/text.h"

static const struct object *object_of(const struct inspection *in, uint32_t id, const char *kind)
{
	const struct object *o = objects_by_id(in->contents.objects, id);

	return o && o->kind == kind_by_name(kind) ? o : NULL;
}

/* the task's own object of this kind */
static const struct object *part_of(const struct inspection *in, const TaskState *t,
                                    const char *kind)
{
	const struct object *found = NULL;

	for (size_t i = 0; i < t->n_objects && !found; i++)
		found = object_of(in, t->objects[i], kind);
	return found;
}

static const char *regfile_note(const struct object *o)
{
	if (o->kind != kind_by_name("regfile"))
		return NULL;
	if (object_state(o, RegfileState)->name == REGFILE_STATE__NAME__DELETED)
		return "deleted";
	bool linked = object_state(o, RegfileState)->name == REGFILE_STATE__NAME__LINKED;
	return linked ? "under another name" : NULL;
}

/* a line: what is open as what */
static json_object *new_line(const struct inspection *in, const char *fd, uint32_t id)
{
	json_object *line = json_object_new_object();
	const struct object *o = objects_by_id(in->contents.objects, id);
	_cleanup_(free_p) char *title = o ? object_title(in->contents.objects, o) : NULL;
	const char *note = o ? regfile_note(o) : NULL;

	json_add_text(line, "fd", fd);
	json_add_number(line, "object", id);
	json_add_text(line, "kind", o ? o->kind->name : "");
	json_add_text(line, "name", title ? title : "");
	if (note)
		json_add_text(line, "note", note);
	return line;
}

static const char *access_word(uint32_t flags)
{
	static const char *const words[] = { "r", "w", "rw", "" };

	return flags & O_PATH ? "path" : words[flags & O_ACCMODE];
}

static json_object *flags_to_json(uint32_t flags)
{
	static const struct {
		uint32_t flag;
		const char *word;
	} words[] = { { O_APPEND, "append" },       { O_NONBLOCK, "nonblock" },
		      { O_DIRECT, "direct" },       { O_ASYNC, "async" },
		      { O_NOATIME, "noatime" },     { O_DSYNC, "dsync" },
		      { O_DIRECTORY, "directory" }, { __O_TMPFILE & ~O_DIRECTORY, "tmpfile" } };
	json_object *array = json_object_new_array();

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (flags & words[i].flag)
			json_object_array_add(array, json_object_new_string(words[i].word));
	return array;
}

static json_object *descriptor_to_json(const struct inspection *in, const FilesDescriptor *d)
{
	const struct object *file = object_of(in, d->file, "file");
	const FileState *s = file ? object_state(file, FileState) : NULL;
	json_object *line;
	char fd[16];

	snprintf(fd, sizeof(fd), "%u", d->number);
	line = new_line(in, fd, s ? s->object : 0);
	json_add_number(line, "file", d->file);
	json_add_bool(line, "close_on_exec", d->close_on_exec);
	if (!s)
		return line;
	_cleanup_(free_p) char *external = text_printable(s->external.data, s->external.len);
	json_add_text(line, "access", access_word(s->flags));
	json_add(line, "flags", flags_to_json(s->flags));
	json_add_number(line, "position", s->position);
	json_add_text(line, "external", external);
	return line;
}

static json_object *lines_of(const struct inspection *in, const TaskState *t)
{
	const struct object *fs = part_of(in, t, "fs"), *mm = part_of(in, t, "mm"),
			    *files = part_of(in, t, "files");
	json_object *lines = json_object_new_array();

	if (fs) {
		const FsState *s = object_state(fs, FsState);
		json_object_array_add(lines, new_line(in, "cwd", s->cwd));
		json_object_array_add(lines, new_line(in, "rtd", s->root));
	}
	if (mm)
		json_object_array_add(lines, new_line(in, "txt", object_state(mm, MmState)->exe));
	if (!files)
		return lines;
	const FilesState *s = object_state(files, FilesState);
	for (size_t i = 0; i < s->n_descriptors; i++)
		json_object_array_add(lines, descriptor_to_json(in, s->descriptors[i]));
	return lines;
}

/* threads that share all of it with their leader are not listed once more */
static bool has_its_own(const struct inspection *in, const struct map *by_tid, const TaskState *t)
{
	const struct object *leader = map_get(by_tid, &t->tgid, sizeof(t->tgid));

	if (t->tid == t->tgid || !leader)
		return true;
	const TaskState *l = object_state(leader, TaskState);
	return part_of(in, t, "files") != part_of(in, l, "files") ||
	       part_of(in, t, "fs") != part_of(in, l, "fs");
}

struct json_object *files_to_json(const struct inspection *in)
{
	_cleanup_(map_freep) struct map *by_tid = map_new();
	json_object *array = json_object_new_array();

	for (size_t i = 0; i < in->contents.n_tasks; i++) {
		const TaskState *t = object_state(in->contents.tasks[i], TaskState);
		map_put(by_tid, &t->tid, sizeof(t->tid), in->contents.tasks[i]);
	}
	for (size_t i = 0; i < in->contents.n_tasks; i++) {
		const TaskState *t = object_state(in->contents.tasks[i], TaskState);
		_cleanup_(free_p) char *comm = text_printable(t->comm.data, t->comm.len);
		if (!t->n_objects || !has_its_own(in, by_tid, t))
			continue;
		json_object *o = json_object_new_object();
		json_add_number(o, "tid", t->tid);
		json_add_text(o, "comm", comm);
		json_add(o, "files", lines_of(in, t));
		json_object_array_add(array, o);
	}
	return array;
}

static const char *member_text(json_object *o, const char *member)
{
	json_object *value;

	return json_object_object_get_ex(o, member, &value) ? json_object_get_string(value) : "";
}

static void print_line(const char *comm, const char *tid, json_object *line)
{
	const char *note = member_text(line, "note"), *external = member_text(line, "external");
	const char *position = member_text(line, "position");

	printf("%-15s %7s %4s %-5s %-9s %12s %s", comm, tid, member_text(line, "fd"),
	       member_text(line, "access"), member_text(line, "kind"),
	       strcmp(position, "0") ? position : "", member_text(line, "name"));
	if (*note)
		printf(" (%s)", note);
	if (*external)
		printf(" (external: %s)", external);
	putchar('\n');
}

void files_print(const struct inspection *in)
{
	json_object *array = files_to_json(in), *lines;

	printf("%-15s %7s %4s %-5s %-9s %12s %s\n", "COMMAND", "PID", "FD", "MODE", "TYPE",
	       "OFFSET", "NAME");
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		json_object *task = json_object_array_get_idx(array, i);
		json_object_object_get_ex(task, "files", &lines);
		for (size_t k = 0; k < json_object_array_length(lines); k++)
			print_line(member_text(task, "comm"), member_text(task, "tid"),
			           json_object_array_get_idx(lines, k));
	}
	json_object_put(array);
}
