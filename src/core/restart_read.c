/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restart, phase read: from the stream to validated objects. Nothing in an image is trusted. */
#include <string.h>

#include "core/drop.h"
#include "core/restart_parts.h"
#include "core/tree.h"
#include "image/image.h"
#include "kind/kind.h"
#include "kind/task.h"
#include "task/plan.h"
#include "util/alloc.h"

static int bad_record(const struct record *record, struct error *err, const char *why)
{
	error_refuse(err, CODE_image_invalid, "record of type %u, object %u: %s", record->type,
	             record->object, why);
	return -EOPNOTSUPP;
}

static int read_object(struct restart *r, const struct record *record, struct error *err)
{
	const struct kind *kind = kind_by_number(record->type);
	ProtobufCMessage *message = NULL;
	struct object *object;

	if (!kind)
		return bad_record(record, err, "unknown type");
	if (!kind->message)
		return bad_record(record, err, "a kind without a message");
	int e = image_message_decode(record, kind->message, &message, err);
	if (e < 0)
		return error_trace(err, e);
	drop_fields(kind, message);
	object = objects_insert(r->objects, record->object, kind, message);
	if (!object) {
		protobuf_c_message_free_unpacked(message, NULL);
		return bad_record(record, err, "object id 0, or used twice");
	}
	if (kind == &task_kind)
		*array_push(r->tasks, r->n_tasks) = object;
	return 0;
}

static int read_records(struct restart *r, struct error *err)
{
	struct record record;
	int e;

	while ((e = image_reader_next(r->reader, &record, err)) > 0) {
		if (record.type == IMAGE_PAGES) {
			r->next_record = record;
			return 0;
		}
		e = read_object(r, &record, err);
		record_release(&record);
		if (e < 0)
			break;
	}
	if (e < 0)
		return error_trace(err, e);
	r->verified = true;
	return 0;
}

/* what a validate() refuses without a code of its own is an invalid image */
static int validate_object(struct restart *r, struct object *object, struct error *err)
{
	int e;

	if (!object->kind->validate)
		return 0;
	*err = ERROR_INIT;
	e = object->kind->validate(r->objects, object, err);
	if (e == 0)
		return 0;
	if (err->code == CODE_NONE)
		err->code = CODE_image_invalid;
	error_object(err, "%s %u", object->kind->name, object->id);
	return error_trace(err, e);
}

static int validate_all(struct restart *r, struct error *err)
{
	size_t cursor = 0;

	for (struct object *o; (o = objects_next(r->objects, NULL, &cursor));) {
		int e = validate_object(r, o, err);
		if (e < 0)
			return e;
	}
	return 0;
}

/* at most one object of each kind that clone shares, or the planner would see one only */
static int count_users(struct restart *r, struct object *task, struct error *err)
{
	const TaskState *t = object_state(task, TaskState);
	uint64_t seen = 0;

	for (size_t i = 0; i < t->n_objects; i++) {
		struct object *o = objects_by_id(r->objects, t->objects[i]);
		o->n_users++;
		if (o->kind->clone_flag & seen) {
			error_refuse(err, CODE_image_invalid,
			             "task %u refers to two objects of kind %s", t->tid,
			             o->kind->name);
			return -EOPNOTSUPP;
		}
		seen |= o->kind->clone_flag;
	}
	return 0;
}

int restart_read(struct restart *r, struct error *err)
{
	int e = read_records(r, err);

	if (e == 0)
		e = validate_all(r, err);
	for (size_t i = 0; e == 0 && i < r->n_tasks; i++)
		e = count_users(r, r->tasks[i], err);
	if (e < 0)
		return error_trace(err, e);
	tree_from_objects(r->objects, r->tasks, r->n_tasks, &r->plan_tasks);
	e = plan_make(r->plan_tasks, r->n_tasks, &r->plan, err);
	return e < 0 ? error_trace(err, e) : 0;
}
