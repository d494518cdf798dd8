/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the stream to validated objects. Nothing in an image is trusted. See contents.h. */
#include "core/contents.h"

#include <stdlib.h>

#include "core/drop.h"
#include "core/tree.h"
#include "kind/kind.h"
#include "kind/pid_ns.h"
#include "kind/task.h"
#include "task/plan.h"
#include "util/alloc.h"

int contents_open(struct contents *c, int fd, struct error *err)
{
	*c = (struct contents){ .objects = objects_new() };
	int r = image_reader_new(&c->reader, fd, err);

	return r < 0 ? error_trace(err, r) : 0;
}

void contents_close(struct contents *c)
{
	plan_free(c->plan);
	tree_namespaces_done(&c->namespaces);
	free(c->plan_tasks);
	free(c->tasks);
	objects_free(c->objects);
	if (c->ahead.type)
		record_release(&c->ahead);
	image_reader_free(c->reader);
	*c = (struct contents){ 0 };
}

/* ---- read ---- */

static int bad_record(const struct record *record, struct error *err, const char *why)
{
	return error_refuse(err, CODE_image_invalid, "record of type %u, object %u: %s",
	                    record->type, record->object, why);
}

static int read_object(struct contents *c, const struct record *record, struct error *err)
{
	const struct kind *kind = kind_by_number(record->type);
	ProtobufCMessage *message = NULL;
	struct object *object;

	if (!kind)
		return bad_record(record, err, "unknown type");
	if (!kind->message)
		return bad_record(record, err, "a kind without a message");
	int r = image_message_decode(record, kind->message, &message, err);
	if (r < 0)
		return error_trace(err, r);
	drop_fields(kind, message);
	object = objects_insert(c->objects, record->object, kind, message);
	if (!object) {
		protobuf_c_message_free_unpacked(message, NULL);
		return bad_record(record, err, "object id 0, or used twice");
	}
	if (kind == &task_kind)
		*array_push(c->tasks, c->n_tasks) = object;
	return 0;
}

static int read_records(struct contents *c, struct error *err)
{
	struct record record;
	int r;

	while ((r = image_reader_next(c->reader, &record, err)) > 0) {
		if (record.type == IMAGE_PAGES) {
			c->ahead = record;
			return 0;
		}
		r = read_object(c, &record, err);
		record_release(&record);
		if (r < 0)
			break;
	}
	if (r < 0)
		return error_trace(err, r);
	c->ended = true;
	return 0;
}

/*
 * A file without an end is a copy that is not complete, or was left by a checkpoint that failed
 * and says why in its last record: then that is the error.
 */
static int check_complete(struct contents *c, struct error *err)
{
	struct error why = ERROR_INIT;
	struct record record;

	int r = image_reader_complete(c->reader, err);
	if (r == 0)
		return 0;
	int e;
	while ((e = image_reader_next(c->reader, &record, &why)) > 0)
		record_release(&record);
	if (e < 0 && why.code == CODE_image_failed)
		*err = why;
	return error_trace(err, r);
}

int contents_read(struct contents *c, struct error *err)
{
	int r = read_records(c, err);

	if (r == 0 && !c->ended)
		r = check_complete(c, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- check ---- */

/* what a validate() refuses without a code of its own is an invalid image */
static int validate_object(const struct contents *c, const struct object *object, struct error *err)
{
	if (!object->kind->validate)
		return 0;
	*err = ERROR_INIT;
	int r = object->kind->validate(c->objects, object, err);
	if (r == 0)
		return 0;
	if (err->code == CODE_NONE)
		err->code = CODE_image_invalid;
	error_object(err, "%s %u", object->kind->name, object->id);
	return error_trace(err, r);
}

static int validate_all(const struct contents *c, struct error *err)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(c->objects, NULL, &cursor));) {
		int r = validate_object(c, o, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* at most one object of each kind that clone shares, or the planner would see one only */
static int count_users(const struct contents *c, const struct object *task, struct error *err)
{
	const TaskState *t = object_state(task, TaskState);
	uint64_t seen = 0;

	for (size_t i = 0; i < t->n_objects; i++) {
		struct object *o = objects_by_id(c->objects, t->objects[i]);
		o->n_users++;
		if (o->kind->clone_flag & seen)
			return error_refuse(err, CODE_image_invalid,
			                    "task %u refers to two objects of kind %s", t->tid,
			                    o->kind->name);
		seen |= o->kind->clone_flag;
	}
	return 0;
}

int contents_check(struct contents *c, struct error *err)
{
	int r = validate_all(c, err);

	for (size_t i = 0; r == 0 && i < c->n_tasks; i++)
		r = count_users(c, c->tasks[i], err);
	if (r < 0)
		return error_trace(err, r);
	r = tree_from_objects(c->objects, c->tasks, c->n_tasks, &c->plan_tasks, &c->namespaces,
	                      err);
	if (r == 0)
		r = plan_make(c->plan_tasks, c->n_tasks, &c->plan, err);
	if (r == 0)
		r = pid_ns_check(c, err);
	return r < 0 ? error_trace(err, r) : 0;
}
