/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Credentials at checkpoint. Nearly all stands in /proc/PID/status; securebits are asked from
 * inside.
 *
 * Keyrings are not saved: one of a thread or process is refused. The session keyring cannot even be
 * looked for, since the call that tells makes one; a task comes back with the restart's own.
 */
#include <linux/keyctl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/cred.h"
#include "kind/cred/landlock.h"
#include "kind/cred/parts.h"
#include "kind/namespace/ns.h"
#include "kind/user_ns.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"

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

int cred_collect(struct checkpoint *c, struct task *task, struct error *err)
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
		check_unexamined(c, task, "securebits, keyrings, Landlock", CODE_cred_keyring,
		                 CODE_cred_landlock);
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
		struct cred_live *live = cred_live_of(object);
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

int cred_judge(struct checkpoint *c, struct object *object, struct error *err)
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
