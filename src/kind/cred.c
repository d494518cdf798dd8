/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Credentials, by thread: what an image may say, and whether this restart can give it. */
#include "kind/cred.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/restart.h"
#include "host/features.h"
#include "kind/cred/parts.h"
#include "kind/user_ns.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

#define SECUREBITS_MAX 0xfffu /* those of 6.14, SECBIT_EXEC_*, included */
#define LOCKS          0xaaau /* each bit's lock is the one above it */
#define LABEL_MAX      4096

struct cred_live *cred_live_of(struct object *object)
{
	if (!object->live)
		object->live = xcalloc(1, sizeof(struct cred_live));
	return object->live;
}

static bool ids_valid(const CredIds *ids)
{
	/* UINT32_MAX means "leave it as it is" to setresuid(2) */
	return ids && ids->real != UINT32_MAX && ids->effective != UINT32_MAX &&
	       ids->saved != UINT32_MAX && ids->fs != UINT32_MAX;
}

static int cred_validate(const struct objects *objects, const struct object *object,
                         struct error *err)
{
	const CredState *s = object_state(object, CredState);

	if (!ids_valid(s->uid) || !ids_valid(s->gid))
		return error_raise(err, EBADMSG, "a user or group id is missing");
	if (s->n_groups > CRED_GROUPS_MAX)
		return error_raise(err, EBADMSG, "%zu groups", s->n_groups);
	for (size_t i = 0; i < s->n_groups; i++)
		if (s->groups[i] == UINT32_MAX)
			return error_raise(err, EBADMSG, "group %u", s->groups[i]);
	if (s->effective & ~s->permitted || s->ambient & ~(s->permitted & s->inheritable))
		return error_raise(err, EBADMSG, "capability sets contradict each other");
	if (s->securebits > SECUREBITS_MAX)
		return error_raise(err, EBADMSG, "securebits 0x%x", s->securebits);
	if (!user_ns_valid_id(objects, s->user_ns))
		return error_raise(err, EBADMSG, "object %u is no user namespace", s->user_ns);
	if (s->label.len > LABEL_MAX)
		return error_raise(err, EBADMSG, "a label of %zu bytes", s->label.len);
	return 0;
}

bool cred_ids_equal(const CredIds *ids, const uint32_t have[4])
{
	return ids->real == have[0] && ids->effective == have[1] && ids->saved == have[2] &&
	       ids->fs == have[3];
}

bool cred_groups_equal(const CredState *s, const struct cred_base *b)
{
	return s->n_groups == b->n_groups &&
	       (!s->n_groups || !memcmp(s->groups, b->groups, s->n_groups * sizeof(*s->groups)));
}

/* @mapped: our own user namespace, if we are in one, has it. @what is on the heap; taken */
static void need(struct restart *r, const struct cred_base *b, int cap, bool mapped, char *what)
{
	struct error refusal;

	if (b->own_user ? !mapped : !features_capability(cap)) {
		error_refuse(&refusal, CODE_cred_capability, "%s, which needs %s%s", what,
		             features_capability_name(cap),
		             b->own_user ? " outside of a new user namespace" : "");
		restart_refuse(r, &refusal);
	}
	free(what);
}

static bool has_ids(const struct id_map *map, const CredIds *ids)
{
	return id_map_inside(map, ids->real) != ID_NONE &&
	       id_map_inside(map, ids->effective) != ID_NONE &&
	       id_map_inside(map, ids->saved) != ID_NONE && id_map_inside(map, ids->fs) != ID_NONE;
}

static bool has_groups(const struct user_ns_data *own, const CredState *s)
{
	for (size_t i = 0; i < s->n_groups; i++)
		if (id_map_inside(&own->gid, s->groups[i]) == ID_NONE)
			return false;
	return !own->setgroups_denied;
}

static void check_ids(struct restart *r, const CredState *s, const struct cred_base *b)
{
	const struct user_ns_data *own = b->own_user;

	if (!cred_ids_equal(s->uid, b->uid))
		need(r, b, CAP_SETUID, own && has_ids(&own->uid, s->uid),
		     xasprintf("a task has the user id %u, this restart %u", s->uid->effective,
		               b->uid[1]));
	if (!cred_ids_equal(s->gid, b->gid))
		need(r, b, CAP_SETGID, own && has_ids(&own->gid, s->gid),
		     xasprintf("a task has the group id %u, this restart %u", s->gid->effective,
		               b->gid[1]));
	if (!cred_groups_equal(s, b))
		need(r, b, CAP_SETGID, own && has_groups(own, s),
		     xasprintf("a task has other supplementary groups than this restart"));
}

/* names what of @wanted is lacking */
static void check_set(struct restart *r, uint64_t wanted, uint64_t have, const char *set)
{
	struct error refusal;

	for (int cap = 0; cap < 64; cap++) {
		if (!((wanted & ~have) >> cap & 1))
			continue;
		error_refuse(&refusal, CODE_cred_capability,
		             "a task has %s in its %s set, which this restart lacks",
		             features_capability_name(cap), set);
		error_hint(&refusal, "restart with that capability");
		restart_refuse(r, &refusal);
	}
}

static void check_capabilities(struct restart *r, const CredState *s, const struct cred_base *b)
{
	uint32_t locked = (b->securebits & LOCKS) | (b->securebits & LOCKS) >> 1;
	bool setpcap = b->permitted >> CAP_SETPCAP & 1;
	struct error refusal;

	check_set(r, s->permitted, b->permitted, "permitted");
	check_set(r, s->bounding, b->bounding, "bounding");
	check_set(r, s->inheritable, b->bounding | b->inheritable, "inheritable");
	if (!setpcap && (s->bounding != b->bounding || s->securebits != b->securebits ||
	                 s->inheritable & ~(b->inheritable | b->permitted) ||
	                 (!cred_ids_equal(s->uid, b->uid) && s->permitted))) {
		error_refuse(&refusal, CODE_cred_capability,
		             "a task has other capability sets or securebits, which needs %s",
		             features_capability_name(CAP_SETPCAP));
		restart_refuse(r, &refusal);
	}
	if ((s->securebits ^ b->securebits) & locked) {
		error_refuse(&refusal, CODE_cred_capability,
		             "the securebits of this restart are locked: 0x%x, a task has 0x%x",
		             b->securebits, s->securebits);
		restart_refuse(r, &refusal);
	}
}

static uint32_t own_login_uid(void)
{
	_cleanup_(free_p) char *text = NULL;

	return file_read(AT_FDCWD, "/proc/self/loginuid", &text) < 0 ? 0 : cred_login_uid(text);
}

/* the stubs inherit it, and only one's own can be written: all must have the same */
static void check_login(struct restart *r, const CredState *s, const struct cred_base *b)
{
	size_t cursor = 0;
	const struct object *first = objects_next(r->objects, &cred_kind, &cursor);
	struct error refusal;

	if (s->login_uid != object_state(first, CredState)->login_uid) {
		error_refuse(&refusal, CODE_cred_login_uid,
		             "tasks of the tree have different login uids, %d and %d",
		             (int)(s->login_uid - 1),
		             (int)(object_state(first, CredState)->login_uid - 1));
		restart_refuse(r, &refusal);
	}
	if (s->login_uid != own_login_uid() && own_login_uid())
		need(r, b, CAP_AUDIT_CONTROL, false,
		     xasprintf("a task has the login uid %d, this restart %d",
		               (int)(s->login_uid - 1), (int)(own_login_uid() - 1)));
}

static void check_label(struct restart *r, const CredState *s)
{
	_cleanup_(free_p) char *own = NULL;
	struct error refusal;

	if (file_read(AT_FDCWD, "/proc/thread-self/attr/current", &own) < 0)
		own = xstrdup("");
	if (cred_label_size(own) == s->label.len &&
	    (!s->label.len || !memcmp(own, s->label.data, s->label.len)))
		return;
	error_refuse(&refusal, CODE_cred_label,
	             "a task has the security label '%.*s', this restart '%.*s'", (int)s->label.len,
	             s->label.len ? (const char *)s->label.data : "", (int)cred_label_size(own),
	             own);
	error_hint(&refusal, "run the restart under the same label");
	restart_refuse(r, &refusal);
}

static int cred_preflight(struct restart *r, struct object *object, struct error *err)
{
	const CredState *s = object_state(object, CredState);
	struct cred_live *live = cred_live_of(object);

	int e = cred_base_read(r, &live->base, err);
	if (e < 0)
		return error_trace(err, e);
	check_ids(r, s, &live->base);
	if (!s->user_ns) /* in there they have all */
		check_capabilities(r, s, &live->base);
	check_login(r, s, &live->base);
	check_label(r, s);
	return 0;
}

static int write_login_uid(uint32_t value, struct error *err)
{
	int e = file_write("/proc/self/loginuid", err, "%u", value - 1);

	return e < 0 ? error_trace(err, e) : 0;
}

static int cred_prepare(struct restart *r, struct object *object, struct error *err)
{
	const CredState *s = object_state(object, CredState);
	struct cred_live *live = cred_live_of(object);

	live->own_login = own_login_uid();
	if (s->login_uid == live->own_login)
		return 0;
	int e = write_login_uid(s->login_uid, err);
	if (e < 0)
		return error_trace(err, e);
	live->set_login = true;
	return 0;
}

static void cred_release(struct object *object)
{
	struct cred_live *live = object->live;
	struct error ignored;

	if (!live)
		return;
	if (live->set_login)
		write_login_uid(live->own_login, &ignored);
	free(live->to_ask);
	free(live->base.groups);
	free(live);
	object->live = NULL;
}

const struct kind cred_kind = {
	.name = "cred",
	.number = 30,
	.message = &cred_state__descriptor,
	.collect = cred_collect,
	.judge = cred_judge,
	.validate = cred_validate,
	.preflight = cred_preflight,
	.prepare = cred_prepare,
	.commit = cred_commit,
	.release = cred_release,
};
