/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stub, or a helper that makes one, becomes who the task was. */
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/restart.h"
#include "kind/cred.h"
#include "kind/cred/parts.h"
#include "kind/user_ns.h"
#include "task/stub.h"

static void set_capabilities(struct stub *stub, uint64_t inheritable, uint64_t permitted,
                             uint64_t effective)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(permitted >> 32),
		  (uint32_t)(inheritable >> 32) },
	};

	calls_reserve(stub->calls, 1, sizeof(header) + sizeof(data) + 32);
	uint64_t address = calls_copy(stub->calls, &header, sizeof(header));
	CALL(stub->calls, capset, address, calls_copy(stub->calls, data, sizeof(data)));
}

static void drop_bounding(struct stub *stub, uint64_t drop)
{
	for (unsigned cap = 0; cap < 64; cap++)
		if (drop >> cap & 1)
			CALL(stub->calls, prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
}

/* @id as the user namespace with @map calls it, NULL: ours; one that is @have already can stay */
static int name_id(const struct id_map *map, uint32_t id, uint32_t have, uint32_t *ret,
                   struct error *err)
{
	*ret = id == have ? UINT32_MAX : map ? id_map_inside(map, id) : id;
	if (*ret != UINT32_MAX || id == have)
		return 0;
	error_refuse(err, CODE_user_ns_ids,
	             "it has the id %u, which its user namespace has no name for", id);
	return -EOPNOTSUPP;
}

static int name_ids(const struct id_map *map, const CredIds *ids, const uint32_t have[4],
                    uint32_t ret[4], struct error *err)
{
	const uint32_t want[4] = { ids->real, ids->effective, ids->saved, ids->fs };
	int e = 0;

	for (int i = 0; e == 0 && i < 3; i++)
		e = name_id(map, want[i], have[i], &ret[i], err);
	/* the one for files follows the effective one, where that is set */
	ret[3] = map ? id_map_inside(map, ids->fs) : ids->fs;
	if (e == 0 && ret[3] == UINT32_MAX)
		e = name_id(map, ids->fs, ids->effective, &ret[3], err);
	return e;
}

static int set_groups(struct stub *stub, const CredState *s, const struct id_map *map,
                      struct error *err)
{
	size_t size = s->n_groups * sizeof(*s->groups);
	uint64_t address;
	int e = 0;

	calls_reserve(stub->calls, 1, size + 16);
	uint32_t *groups = calls_data(stub->calls, size, &address);
	for (size_t i = 0; e == 0 && i < s->n_groups; i++)
		e = name_id(map, s->groups[i], UINT32_MAX, &groups[i], err);
	if (e == 0)
		CALL(stub->calls, setgroups, s->n_groups, size ? address : 0);
	return e;
}

/* @ns: where the stub is, NULL: in our user namespace */
static int set_ids(struct stub *stub, const CredState *s, const struct cred_base *b,
                   const struct user_ns_data *ns, struct error *err)
{
	uint32_t id[4];
	int e = 0;

	if (!cred_groups_equal(s, b))
		e = set_groups(stub, s, ns ? &ns->gid : NULL, err);
	if (e == 0 && !cred_ids_equal(s->gid, b->gid)) {
		e = name_ids(ns ? &ns->gid : NULL, s->gid, b->gid, id, err);
		CALL(stub->calls, setresgid, id[0], id[1], id[2]);
		CALL(stub->calls, setfsgid, id[3]);
	}
	if (e == 0 && !cred_ids_equal(s->uid, b->uid)) {
		e = name_ids(ns ? &ns->uid : NULL, s->uid, b->uid, id, err);
		CALL(stub->calls, setresuid, id[0], id[1], id[2]);
		CALL(stub->calls, setfsuid, id[3]);
	}
	return e < 0 ? error_trace(err, e) : 0;
}

/* what the stub has by now: what we have; or the ids it has assumed, and all that entering gives */
static const struct cred_base *base_of(struct object *object, const struct stub *stub)
{
	struct cred_live *live = cred_live_of(object);
	struct cred_base *b = &live->inside;

	if (!stub->assumed)
		return &live->base;
	const CredState *s = object_state(stub->assumed, CredState);
	*b = (struct cred_base){
		.uid = { s->uid->real, s->uid->effective, s->uid->saved, s->uid->fs },
		.gid = { s->gid->real, s->gid->effective, s->gid->saved, s->gid->fs },
		.groups = s->groups,
		.n_groups = s->n_groups,
		.permitted = cred_all_capabilities(),
		.bounding = cred_all_capabilities(),
	};
	return b;
}

static const struct user_ns_data *place_of(const struct restart *r, const struct stub *stub)
{
	return stub->user_ns ? user_ns_find(r->objects, stub->user_ns->id) : NULL;
}

void cred_of_stub(const struct stub *stub, uint32_t ret[2])
{
	const CredState *s = stub->assumed ? object_state(stub->assumed, CredState) : NULL;

	ret[0] = s ? s->uid->real : getuid();
	ret[1] = s ? s->uid->effective : geteuid();
}

int cred_of_dead(const struct restart *r, struct stub *stub, uint32_t uid, uint32_t gid,
                 struct error *err)
{
	const CredState *s = stub->assumed ? object_state(stub->assumed, CredState) : NULL;
	const struct user_ns_data *ns = place_of(r, stub);
	uint32_t id;
	int e = name_id(ns ? &ns->gid : NULL, gid, s ? s->gid->real : getgid(), &id, err);

	if (e == 0 && id != UINT32_MAX)
		CALL(stub->calls, setresgid, id, id, id);
	if (e == 0)
		e = name_id(ns ? &ns->uid : NULL, uid, s ? s->uid->real : getuid(), &id, err);
	if (e == 0 && id != UINT32_MAX)
		CALL(stub->calls, setresuid, id, id, id);
	return e < 0 ? error_trace(err, e) : 0;
}

uint32_t cred_name(const struct restart *r, const struct stub *stub, uint32_t uid)
{
	const struct user_ns_data *ns = place_of(r, stub);

	return ns ? id_map_inside(&ns->uid, uid) : uid;
}

uint32_t cred_other_name(const struct restart *r, const struct stub *stub, uint32_t uid)
{
	const struct user_ns_data *ns = place_of(r, stub);

	if (!ns)
		return uid + 1;
	for (uint32_t i = 0; i < ns->uid.n; i++) {
		const struct id_range *range = &ns->uid.ranges[i];
		if (range->outside != uid)
			return range->inside;
		if (range->count > 1)
			return range->inside + 1;
	}
	return UINT32_MAX;
}

/* by system calls, for the C library's functions are for all threads */
int cred_become(const struct stub *stub, struct error *err)
{
	const struct object *object = stub_object(stub, &cred_kind);

	if (!object)
		return 0;
	const CredState *s = object_state(object, CredState);
	struct cred_base *b = &((struct cred_live *)object->live)->base;
	const CredIds *uid = s->uid, *gid = s->gid;
	bool failed = false;

	if (b->permitted >> CAP_SETPCAP & 1)
		failed = prctl(PR_SET_SECUREBITS, b->securebits | SECBIT_NO_SETUID_FIXUP) < 0;
	if (!failed && !cred_groups_equal(s, b))
		failed = syscall(SYS_setgroups, s->n_groups, s->groups) < 0;
	if (!failed && !cred_ids_equal(gid, b->gid))
		failed = syscall(SYS_setresgid, gid->real, gid->effective, gid->saved) < 0;
	if (!failed && !cred_ids_equal(uid, b->uid))
		failed = syscall(SYS_setresuid, uid->real, uid->effective, uid->saved) < 0;
	syscall(SYS_setfsgid, gid->fs);
	syscall(SYS_setfsuid, uid->fs);
	return failed ? error_raise(err, errno, "become user %u, group %u", uid->effective,
	                            gid->effective)
	              : 0;
}

int cred_assume(struct restart *r, struct stub *stub, struct error *err)
{
	struct object *object = stub_object(stub, &cred_kind);

	if (!object) /* it is dead */
		return 0;
	const struct cred_base *b = base_of(object, stub);
	if (b->permitted >> CAP_SETPCAP & 1)
		CALL(stub->calls, prctl, PR_SET_SECUREBITS,
		     b->securebits | 1u << SECURE_NO_SETUID_FIXUP, 0, 0, 0);
	int e = set_ids(stub, object_state(object, CredState), b, place_of(r, stub), err);
	stub->assumed = object;
	return e < 0 ? error_trace(err, e) : 0;
}

static void set_ambient(struct stub *stub, uint64_t ambient, uint64_t have)
{
	if (have & ~ambient)
		CALL(stub->calls, prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned cap = 0; cap < 64; cap++)
		if (ambient >> cap & 1)
			CALL(stub->calls, prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
}

/*
 * The order: inheritable capabilities while the bounding set still has them; then the bounding set
 * itself; ids under securebits that let the capabilities survive; ambient ones before a securebit
 * can forbid it; securebits while CAP_SETPCAP is there; the final sets last.
 */
int cred_commit(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	const CredState *s = object_state(object, CredState);
	const struct cred_base *b = base_of(object, stub);
	bool keep = !cred_ids_equal(s->uid, b->uid) && b->permitted >> CAP_SETPCAP & 1;
	uint32_t securebits = b->securebits;

	if (s->inheritable != b->inheritable)
		set_capabilities(stub, s->inheritable, b->permitted, b->permitted);
	drop_bounding(stub, b->bounding & ~s->bounding);
	if (keep) {
		securebits |= 1u << SECURE_NO_SETUID_FIXUP | 1u << SECURE_KEEP_CAPS;
		CALL(stub->calls, prctl, PR_SET_SECUREBITS, securebits, 0, 0, 0);
	}
	int e = set_ids(stub, s, b, place_of(r, stub), err);
	if (e < 0)
		return error_trace(err, e);
	set_ambient(stub, s->ambient, b->ambient);
	if (securebits != s->securebits)
		CALL(stub->calls, prctl, PR_SET_SECUREBITS, s->securebits, 0, 0, 0);
	if (keep || s->permitted != b->permitted || s->effective != s->permitted)
		set_capabilities(stub, s->inheritable, s->permitted, s->effective);
	return 0;
}
