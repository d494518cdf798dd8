/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User namespaces. See user_ns.h. They are made before the first task, parents first; a task goes
 * into its own as late as it can (kind.h: enter_last), since it has no right left outside of it
 * from then on.
 */
#include "kind/user_ns.h"

#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/restart.h"
#include "kind/cred.h"
#include "kind/user_ns/parts.h"
#include "task/stub.h"
#include "user_ns.pb-c.h"
#include "util/alloc.h"

#define DEPTH_MAX 32 /* user_namespaces(7) */

static const struct ns_type type = { "user", CLONE_NEWUSER, "user" };

struct user_ns *user_ns_live(struct object *object)
{
	if (!object->live) {
		struct user_ns *live = object->live = xcalloc(1, sizeof(*live));
		live->ns.fd = -1;
		live->ns.type = &type;
	}
	return object->live;
}

static bool take_map(UserNsRange *const *list, size_t n, struct id_map *ret)
{
	ret->n = 0;
	if (n > ID_MAP_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		ret->ranges[ret->n++] = (struct id_range){ list[i]->inside, list[i]->outside,
			                                   list[i]->count };
	return id_map_valid(ret);
}

static bool take_limits(const UserNsState *s, struct user_limits *ret)
{
	ret->n = 0;
	if (s->n_limits > USER_LIMITS_MAX)
		return false;
	for (size_t i = 0; i < s->n_limits; i++) {
		struct user_limit *limit = &ret->list[ret->n++];
		if (!user_limit_valid(s->limits[i]->name, s->limits[i]->value))
			return false;
		snprintf(limit->name, sizeof(limit->name), "%s", s->limits[i]->name);
		limit->value = s->limits[i]->value;
	}
	return true;
}

static bool take_data(const UserNsState *s, struct user_ns_data *ret)
{
	ret->owner = s->owner;
	ret->setgroups_denied = s->setgroups_denied;
	return s->owner != ID_NONE && take_map(s->uid_map, s->n_uid_map, &ret->uid) &&
	       take_map(s->gid_map, s->n_gid_map, &ret->gid) &&
	       take_map(s->projid_map, s->n_projid_map, &ret->projid) &&
	       take_limits(s, &ret->limits);
}

/* the one above; NULL: the coordinator's */
static const struct object *above(const struct objects *objects, const struct object *object)
{
	uint32_t parent = object_state(object, UserNsState)->parent;

	return parent ? objects_by_id(objects, parent) : NULL;
}

static int check_parent(const struct objects *objects, const struct object *object,
                        const struct user_ns_data *data, struct error *err)
{
	const struct object *up = above(objects, object);
	struct user_ns_data outer;

	if (!take_data(object_state(up, UserNsState), &outer))
		return error_raise(err, EBADMSG, "the maps or limits of the user namespace above");
	if (id_map_inside(&outer.uid, data->owner) == ID_NONE ||
	    !id_map_within(&data->uid, &outer.uid) || !id_map_within(&data->gid, &outer.gid) ||
	    !id_map_within(&data->projid, &outer.projid) ||
	    (outer.setgroups_denied && !data->setgroups_denied))
		return error_raise(err, EBADMSG, "it has ids that the one above has not");
	return 0;
}

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const UserNsState *s = object_state(object, UserNsState);
	const struct object *up = object;
	struct user_ns_data data;
	unsigned depth = 0;

	if (!take_data(s, &data))
		return error_raise(err, EBADMSG, "an id map or a limit of a user namespace");
	/* each comes after the one above: no rings */
	for (const struct object *at = object; object_state(at, UserNsState)->parent; at = up) {
		uint32_t parent = object_state(at, UserNsState)->parent;
		up = objects_by_id(objects, parent);
		if (!up || up->kind != &user_ns_kind || !up->message || up->id >= at->id ||
		    ++depth >= DEPTH_MAX)
			return error_raise(err, EBADMSG, "a user namespace in object %u", parent);
	}
	return s->parent ? check_parent(objects, object, &data, err) : 0;
}

bool user_ns_valid_id(const struct objects *objects, uint32_t id)
{
	const struct object *o = id ? objects_by_id(objects, id) : NULL;

	return !id || (o && o->kind == &user_ns_kind);
}

bool user_ns_is_below(const struct objects *objects, uint32_t id, uint32_t above_id)
{
	const struct object *o = id ? objects_by_id(objects, id) : NULL;

	while (o && o->id != above_id)
		o = above(objects, o);
	return o || !above_id;
}

const struct user_ns_data *user_ns_find(const struct objects *objects, uint32_t id)
{
	struct object *object = id ? objects_by_id(objects, id) : NULL;

	if (!object)
		return NULL;
	struct user_ns *live = user_ns_live(object);
	take_data(object_state(object, UserNsState), &live->data);
	return &live->data;
}

int user_ns_fd(const struct restart *r, uint32_t id)
{
	const struct object *object = id ? objects_by_id(r->objects, id) : NULL;

	return object && object->live ? ((const struct user_ns *)object->live)->ns.fd : -1;
}

static uint32_t root_of(const struct id_map *map)
{
	for (uint32_t i = 0; i < map->n; i++)
		if (map->ranges[i].inside == 0)
			return map->ranges[i].outside;
	return map->n ? map->ranges[0].outside : 0;
}

int user_ns_author_begin(const struct restart *r, uint32_t owner, struct user_ns_author *ret,
                         struct error *err)
{
	const struct user_ns_data *ns = user_ns_find(r->objects, owner);

	*ret = (struct user_ns_author){ 0 };
	if (!ns)
		return 0;
	ret->securebits = prctl(PR_GET_SECUREBITS);
	if (prctl(PR_SET_SECUREBITS, ret->securebits | SECBIT_NO_SETUID_FIXUP) < 0)
		return error_raise(err, errno, "keep capabilities under other user ids");
	ret->other = true;
	syscall(SYS_setfsgid, root_of(&ns->gid));
	syscall(SYS_setfsuid, root_of(&ns->uid));
	return 0;
}

void user_ns_author_end(const struct user_ns_author *author)
{
	if (!author->other)
		return;
	syscall(SYS_setfsuid, geteuid());
	syscall(SYS_setfsgid, getegid());
	prctl(PR_SET_SECUREBITS, author->securebits);
}

static int prepare(struct restart *r, struct object *object, struct error *err)
{
	const UserNsState *s = object_state(object, UserNsState);
	const struct user_ns_data *data = user_ns_find(r->objects, object->id);
	int e = user_ns_make(data, user_ns_fd(r, s->parent), user_ns_find(r->objects, s->parent),
	                     &user_ns_live(object)->ns.fd, err);

	return e < 0 ? error_trace(err, e) : 0;
}

/*
 * Ids first, while any can be had: those that the namespace has no name for cannot be set in it.
 * What is entered gives every capability in it, and takes all others.
 */
static int enter_last(struct restart *r, struct object *object, struct stub *stub,
                      struct error *err)
{
	int e = cred_assume(r, stub, err);

	if (e == 0)
		e = ns_enter(r, object, stub, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* what they limit has been made */
static int finish(struct restart *r, struct object *object, struct error *err)
{
	const struct user_ns_data *data = user_ns_find(r->objects, object->id);
	int e = user_limits_write(user_ns_live(object)->ns.fd, &data->limits, err);

	return e < 0 ? error_trace(err, e) : 0;
}

const struct kind user_ns_kind = {
	.name = "user_ns",
	.number = 64,
	.message = &user_ns_state__descriptor,
	.collect = user_ns_collect_task,
	.judge = user_ns_judge,
	.save = user_ns_save,
	.validate = validate,
	.prepare = prepare,
	.enter_last = enter_last,
	.finish = finish,
	.release = ns_release,
};
