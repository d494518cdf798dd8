/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Credentials, by thread. Nearly all stands in /proc/PID/status; securebits are asked from inside.
 *
 * Keyrings are not saved: one of a thread or process is refused. The session keyring cannot even be
 * looked for, since the call that tells makes one; a task comes back with the restart's own.
 */
#include "kind/cred.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "cred.pb-c.h"
#include "host/features.h"
#include "kind/cred/landlock.h"
#include "kind/cred/own.h"
#include "kind/namespace/ns.h"
#include "kind/user_ns.h"
#include "task/stub.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define SECUREBITS_MAX 0xfffu /* those of 6.14, SECBIT_EXEC_*, included */
#define LOCKS          0xaaau /* each bit's lock is the one above it */
#define LABEL_MAX      4096

/* object->live */
struct cred_live {
	pid_t *to_ask; /* checkpoint: tasks that may not look at us, for Landlock or for their user
	                */
	size_t n_to_ask;
	struct cred_base base; /* restart: ours */
	struct cred_base
		inside; /* what a stub has that has entered its user namespace with these */
	bool set_login; /* restart: our loginuid was changed from... */
	uint32_t own_login;
};

static struct cred_live *live_of(struct object *object)
{
	if (!object->live)
		object->live = xcalloc(1, sizeof(struct cred_live));
	return object->live;
}

/* ---- checkpoint ---- */

static CredIds *new_ids(const uint32_t from[4])
{
	CredIds *ids = xmalloc(sizeof(*ids));

	cred_ids__init(ids);
	ids->real = from[0];
	ids->effective = from[1];
	ids->saved = from[2];
	ids->fs = from[3];
	return ids;
}

static int read_status(const struct task *task, CredState *s, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	size_t n = 0;

	int r = task_read(task, "status", &text, NULL, err);
	if (r == 0)
		r = cred_parse_groups(text, &s->groups, &n, err);
	if (r < 0)
		return error_trace(err, r);
	s->n_groups = n;
	s->uid = new_ids(task->status.uid);
	s->gid = new_ids(task->status.gid);
	s->inheritable = task->status.cap_inheritable;
	s->permitted = task->status.cap_permitted;
	s->effective = task->status.cap_effective;
	s->bounding = task->status.cap_bounding;
	s->ambient = task->status.cap_ambient;
	if (n > CRED_GROUPS_MAX)
		return error_refuse(err, CODE_not_supported, "it has %zu supplementary groups", n);
	return 0;
}

/* labels that a module gives to what the task makes next */
static int check_attributes(const struct task *task, struct error *err)
{
	static const char *const names[] = { "attr/exec", "attr/fscreate", "attr/keycreate",
		                             "attr/sockcreate" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		_cleanup_(free_p) char *text = NULL;
		if (task_read(task, names[i], &text, NULL, err) == 0 && cred_label_size(text))
			return error_refuse(err, CODE_cred_label, "%s is set, to %.80s", names[i],
			                    text);
	}
	return 0;
}

static int read_others(const struct task *task, CredState *s, struct error *err)
{
	_cleanup_(free_p) char *login = NULL, *label = NULL;

	if (task_read(task, "loginuid", &login, NULL, err) == 0) /* else: no CONFIG_AUDIT */
		s->login_uid = cred_login_uid(login);
	/* EINVAL: no module keeps labels */
	if (task_read(task, "attr/current", &label, NULL, err) < 0 || !cred_label_size(label))
		return 0;
	s->label.len = cred_label_size(label);
	s->label.data = xmemdup(label, s->label.len);
	return check_attributes(task, err);
}

static int check_keyrings(const struct injection calls[3], struct error *err)
{
	static const char *const whose[] = { "thread", "process" };

	for (int i = 0; i < 2; i++)
		if (calls[i].result >= 0)
			return error_refuse(err, CODE_cred_keyring, "it has a keyring of its %s",
			                    whose[i]);
	if (calls[2].result > KEY_REQKEY_DEFL_DEFAULT)
		return error_refuse(err, CODE_cred_keyring,
		                    "requested keys go to another keyring than the default one");
	return 0;
}

/* *ret_free: whether Landlock can be ruled out */
static int ask(struct checkpoint *c, const struct task *task, CredState *s, bool *ret_free,
               struct error *err)
{
	struct injection calls[] = {
		{ .nr = __NR_keyctl,
		  .arg = { KEYCTL_GET_KEYRING_ID, (uint64_t)KEY_SPEC_THREAD_KEYRING, 0 } },
		{ .nr = __NR_keyctl,
		  .arg = { KEYCTL_GET_KEYRING_ID, (uint64_t)KEY_SPEC_PROCESS_KEYRING, 0 } },
		{ .nr = __NR_keyctl,
		  .arg = { KEYCTL_SET_REQKEY_KEYRING, (uint64_t)KEY_REQKEY_DEFL_NO_CHANGE } },
		{ .nr = __NR_prctl, .arg = { PR_GET_SECUREBITS } },
		landlock_question(getpid()),
	};
	bool landlock = landlock_exists();

	int r = tracer_inject(c->tracer, task->tid, calls, landlock ? 5 : 4, NULL, err);
	if (r < 0)
		return error_trace(err, r);
	r = check_keyrings(calls, err);
	if (r < 0)
		return r;
	if (calls[3].result < 0)
		return error_raise(err, (int)-calls[3].result, "PR_GET_SECUREBITS");
	s->securebits = (uint32_t)calls[3].result;
	*ret_free = !landlock || calls[4].result != -EPERM;
	return 0;
}

bool cred_may_be_named(const struct task *task, uint32_t uid)
{
	const struct object *ns = user_ns_of(task);

	return !ns || (uid == task->status.uid[0] && uid == task->status.uid[1]) ||
	       id_map_inside(&user_ns_data(ns)->uid, uid) != ID_NONE;
}

static bool ids_nameable(const struct id_map *map, const CredIds *ids, const CredIds *have)
{
	const uint32_t want[4] = { ids->real, ids->effective, ids->saved, ids->fs };
	const uint32_t old[4] = { have->real, have->effective, have->saved, have->fs };

	for (int i = 0; i < 4; i++)
		if (want[i] != old[i] && id_map_inside(map, want[i]) == ID_NONE)
			return false;
	return true;
}

static bool groups_nameable(const struct user_ns_data *ns, const CredState *s,
                            const CredState *have)
{
	if (s->n_groups == have->n_groups &&
	    (!s->n_groups || !memcmp(s->groups, have->groups, s->n_groups * sizeof(*s->groups))))
		return true;
	for (size_t i = 0; i < s->n_groups; i++)
		if (id_map_inside(&ns->gid, s->groups[i]) == ID_NONE)
			return false;
	return !ns->setgroups_denied;
}

/*
 * What it can be given when it is made: a thread, and any task of a container that belongs to a
 * user namespace, is in one already, with the ids of the leader or of the root.
 */
static bool may_be_given(const struct checkpoint *c, const struct task *task, const CredState *s)
{
	bool is_thread = task->leader != task;
	const struct object *in = is_thread ? user_ns_of(task) : user_ns_of_container(c);
	const struct task *maker = is_thread && !user_ns_of_container(c) ? task->leader
	                                                                 : c->tasks[0];
	const struct object *had = task_object(maker, &cred_kind);

	if (!in || maker == task || !had)
		return true;
	const struct user_ns_data *ns = user_ns_data(in);
	const CredState *have = object_state(had, CredState);
	return ids_nameable(&ns->uid, s->uid, have->uid) &&
	       ids_nameable(&ns->gid, s->gid, have->gid) && groups_nameable(ns, s, have);
}

static int cred_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	CredState *s = xmalloc(sizeof(*s));
	bool is_free = true;

	cred_state__init(s);
	s->user_ns = user_ns_of(task) ? user_ns_of(task)->id : 0;
	int r = read_status(task, s, err);
	if (r == 0)
		r = read_others(task, s, err);
	if (r == 0 && c->tracer)
		r = ask(c, task, s, &is_free, err);
	else
		check_unexamined(c, task, "securebits, keyrings, Landlock");
	if (r < 0) {
		cred_state__free_unpacked(s, NULL);
		return error_trace(err, r);
	}
	struct object *object = objects_get_equal(c->objects, &cred_kind, &s->base);
	task_refer(task, object);
	if (!may_be_given(c, task, object_state(object, CredState))) {
		struct error refusal;
		error_refuse(&refusal, CODE_user_ns_ids,
		             "it has ids that its user namespace has no name for, or groups that "
		             "cannot be set in it");
		refuse(c, task, &refusal);
	}
	if (!is_free) {
		struct cred_live *live = live_of(object);
		*array_push(live->to_ask, live->n_to_ask) = task->tid;
	}
	return 0;
}

static int ask_about(struct checkpoint *c, pid_t tid, pid_t helper, struct error *err)
{
	struct injection question = landlock_question(helper);
	struct error refusal;

	int r = tracer_inject(c->tracer, tid, &question, 1, NULL, err);
	if (r < 0)
		return error_trace(err, r);
	if (question.result != -EPERM)
		return 0;
	error_refuse(&refusal, CODE_cred_landlock,
	             "it is confined by Landlock, or another security module: it may not look at "
	             "a process of its own user");
	refuse(c, checkpoint_task(c, tid), &refusal);
	return 0;
}

static int cred_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const CredState *s = object_state(object, CredState);
	struct cred_live *live = object->live;
	struct error refusal;
	int r = 0;

	if (!live || !live->n_to_ask)
		return 0;
	const struct object *ns = s->user_ns ? objects_by_id(c->objects, s->user_ns) : NULL;
	pid_t helper = landlock_helper(s->uid->real, s->gid->real,
	                               ns ? ((const struct ns *)ns->live)->fd : -1);
	if (helper < 0) {
		error_refuse(&refusal, CODE_cred_landlock,
		             "whether Landlock confines it cannot be told: no process with its "
		             "user and group can be made");
		refuse(c, checkpoint_task(c, live->to_ask[0]), &refusal);
		return 0;
	}
	for (size_t i = 0; r == 0 && i < live->n_to_ask; i++)
		r = ask_about(c, live->to_ask[i], helper, err);
	landlock_helper_end(helper);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

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

static bool ids_equal(const CredIds *ids, const uint32_t have[4])
{
	return ids->real == have[0] && ids->effective == have[1] && ids->saved == have[2] &&
	       ids->fs == have[3];
}

static bool groups_equal(const CredState *s, const struct cred_base *b)
{
	return s->n_groups == b->n_groups &&
	       (!s->n_groups || !memcmp(s->groups, b->groups, s->n_groups * sizeof(*s->groups)));
}

/* @what is on the heap; taken */
static void need(struct restart *r, const struct cred_base *b, int cap, char *what)
{
	struct error refusal;

	if (b->new_user || !features_capability(cap)) {
		error_refuse(&refusal, CODE_cred_capability, "%s, which needs %s%s", what,
		             features_capability_name(cap),
		             b->new_user ? " outside of a new user namespace" : "");
		restart_refuse(r, &refusal);
	}
	free(what);
}

static void check_ids(struct restart *r, const CredState *s, const struct cred_base *b)
{
	if (!ids_equal(s->uid, b->uid))
		need(r, b, CAP_SETUID,
		     xasprintf("a task has the user id %u, this restart %u", s->uid->effective,
		               b->uid[1]));
	if (!ids_equal(s->gid, b->gid))
		need(r, b, CAP_SETGID,
		     xasprintf("a task has the group id %u, this restart %u", s->gid->effective,
		               b->gid[1]));
	if (!groups_equal(s, b))
		need(r, b, CAP_SETGID,
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
	                 (!ids_equal(s->uid, b->uid) && s->permitted))) {
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

/* a small file of our own in /proc */
static void read_own(const char *path, char *text, size_t size)
{
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);

	text[n > 0 ? n : 0] = 0;
}

static uint32_t own_login_uid(void)
{
	char text[32];

	read_own("/proc/self/loginuid", text, sizeof(text));
	return cred_login_uid(text);
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
		             (int)s->login_uid - 1,
		             (int)object_state(first, CredState)->login_uid - 1);
		restart_refuse(r, &refusal);
	}
	if (s->login_uid != own_login_uid() && own_login_uid())
		need(r, b, CAP_AUDIT_CONTROL,
		     xasprintf("a task has the login uid %d, this restart %d",
		               (int)s->login_uid - 1, (int)own_login_uid() - 1));
}

static void check_label(struct restart *r, const CredState *s)
{
	char own[LABEL_MAX];
	struct error refusal;

	read_own("/proc/thread-self/attr/current", own, sizeof(own));
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
	struct cred_live *live = live_of(object);

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
	_cleanup_(close_p) int fd = open("/proc/self/loginuid", O_WRONLY | O_CLOEXEC);
	char text[16];
	int size = snprintf(text, sizeof(text), "%u", value - 1);

	if (fd < 0 || write(fd, text, (size_t)size) < 0)
		return error_raise(err, errno, "write %u to /proc/self/loginuid", value - 1);
	return 0;
}

static int cred_prepare(struct restart *r, struct object *object, struct error *err)
{
	const CredState *s = object_state(object, CredState);
	struct cred_live *live = live_of(object);

	live->own_login = own_login_uid();
	if (s->login_uid == live->own_login)
		return 0;
	int e = write_login_uid(s->login_uid, err);
	if (e < 0)
		return error_trace(err, e);
	live->set_login = true;
	return 0;
}

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

	if (!groups_equal(s, b))
		e = set_groups(stub, s, ns ? &ns->gid : NULL, err);
	if (e == 0 && !ids_equal(s->gid, b->gid)) {
		e = name_ids(ns ? &ns->gid : NULL, s->gid, b->gid, id, err);
		CALL(stub->calls, setresgid, id[0], id[1], id[2]);
		CALL(stub->calls, setfsgid, id[3]);
	}
	if (e == 0 && !ids_equal(s->uid, b->uid)) {
		e = name_ids(ns ? &ns->uid : NULL, s->uid, b->uid, id, err);
		CALL(stub->calls, setresuid, id[0], id[1], id[2]);
		CALL(stub->calls, setfsuid, id[3]);
	}
	return e < 0 ? error_trace(err, e) : 0;
}

/* what the stub has by now: what we have; or the ids it has assumed, and all that entering gives */
static const struct cred_base *base_of(struct object *object, const struct stub *stub)
{
	struct cred_live *live = live_of(object);
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
	if (!failed && !groups_equal(s, b))
		failed = syscall(SYS_setgroups, s->n_groups, s->groups) < 0;
	if (!failed && !ids_equal(gid, b->gid))
		failed = syscall(SYS_setresgid, gid->real, gid->effective, gid->saved) < 0;
	if (!failed && !ids_equal(uid, b->uid))
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
static int cred_commit(struct restart *r, struct object *object, struct stub *stub,
                       struct error *err)
{
	const CredState *s = object_state(object, CredState);
	const struct cred_base *b = base_of(object, stub);
	bool keep = !ids_equal(s->uid, b->uid) && b->permitted >> CAP_SETPCAP & 1;
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
