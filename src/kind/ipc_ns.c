/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IPC namespaces. One visit finds everything in it at checkpoint; one helper makes everything
 * again, with all limits open wide; the settings are written when all else is done.
 */
#include "kind/ipc_ns.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/shm.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/enter.h"
#include "host/features.h"
#include "host/helper.h"
#include "ipc/ipc.h"
#include "kind/namespace/ns.h"
#include "kind/user_ns.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static const struct ns_type type = { "ipc", CLONE_NEWIPC, "IPC" };

struct visit {
	int fd;
	helper_fn *fn;
	void *arg;
};

static int enter_and_run(void *arg, struct error *err)
{
	const struct visit *v = arg;

	if (namespace_enter(v->fd, CLONE_NEWIPC) < 0)
		return error_raise(err, errno, "enter an IPC namespace");
	return v->fn(v->arg, err);
}

static int visit(const struct object *object, helper_fn *fn, void *arg, struct error *err)
{
	struct visit v = { ((const struct ns *)object->live)->fd, fn, arg };
	int r = helper_run_here(enter_and_run, &v, err);

	return r < 0 ? error_trace(err, r) : r;
}

int ipc_ns_visit(const struct objects *objects, uint32_t ns, helper_fn *fn, void *arg,
                 struct error *err)
{
	return visit(objects_by_id(objects, ns), fn, arg, err);
}

/* ---- checkpoint ---- */

struct finding {
	struct checkpoint *c;
	struct object *object;
	const struct user_ns_data *view; /* whose names ids have; NULL: ours */
};

static int name_outside(const struct id_map *map, uint32_t *id, struct error *err)
{
	*id = id_map_outside(map, *id);
	return *id != ID_NONE ? 0
	                      : error_refuse(err, CODE_user_ns_ids,
	                                     "what lies in it belongs to an id that its user "
	                                     "namespace has no name for");
}

static int name_owner(const struct finding *f, uint32_t *uid, uint32_t *gid, struct error *err)
{
	int r = f->view ? name_outside(&f->view->uid, uid, err) : 0;

	return r == 0 && f->view ? name_outside(&f->view->gid, gid, err) : r;
}

static int name_perm(const struct finding *f, IpcPerm *perm, struct error *err)
{
	int r = name_owner(f, &perm->uid, &perm->gid, err);

	return r == 0 ? name_owner(f, &perm->cuid, &perm->cgid, err) : r;
}

/* takes the message */
static void add(const struct finding *f, const struct kind *kind, int32_t id,
                ProtobufCMessage *message)
{
	const struct ipc_key key = { f->object->id, id };

	objects_get(f->c->objects, kind, &key, sizeof(key), NULL)->message = message;
}

static int find_shm(const struct finding *f, struct error *err)
{
	_cleanup_(free_p) IpcShmState **items = NULL;
	size_t n = 0;
	int r = ipc_shm_list(&items, &n, err);

	for (size_t i = 0; i < n; i++) {
		items[i]->ns = f->object->id;
		add(f, &ipc_shm_kind, items[i]->perm->id, &items[i]->base);
		r = r < 0 ? r : name_perm(f, items[i]->perm, err);
	}
	return r;
}

static int find_sem(const struct finding *f, struct error *err)
{
	_cleanup_(free_p) IpcSemState **items = NULL;
	size_t n = 0;
	int r = ipc_sem_list(&items, &n, err);

	for (size_t i = 0; i < n; i++) {
		items[i]->ns = f->object->id;
		add(f, &ipc_sem_kind, items[i]->perm->id, &items[i]->base);
		r = r < 0 ? r : name_perm(f, items[i]->perm, err);
	}
	return r;
}

static int find_msg(const struct finding *f, struct error *err)
{
	_cleanup_(free_p) IpcMsgState **items = NULL;
	size_t n = 0;
	int r = ipc_msg_list(&items, &n, err);

	for (size_t i = 0; i < n; i++) {
		items[i]->ns = f->object->id;
		add(f, &ipc_msg_kind, items[i]->perm->id, &items[i]->base);
		r = r < 0 ? r : name_perm(f, items[i]->perm, err);
	}
	return r;
}

static int find_mq(const struct finding *f, struct error *err)
{
	_cleanup_(free_p) IpcMqState **items = NULL;
	size_t n = 0;
	int r = ipc_mq_list(&items, &n, err);

	for (size_t i = 0; i < n; i++) {
		const struct ipc_mq_key key = { items[i]->device, items[i]->inode };
		items[i]->ns = f->object->id;
		objects_get(f->c->objects, &ipc_mq_kind, &key, sizeof(key), NULL)->message =
			&items[i]->base;
		r = r < 0 ? r : name_owner(f, &items[i]->uid, &items[i]->gid, err);
	}
	return r;
}

static int find_directory(const struct finding *f, struct error *err)
{
	IpcNsState *s = object_state(f->object, IpcNsState);
	int r = ipc_mq_read_directory(s, err);

	return r == 0 && s->queues ? name_owner(f, &s->queues->uid, &s->queues->gid, err) : r;
}

static int find_contents(void *arg, struct error *err)
{
	const struct finding *f = arg;
	int r = ipc_settings_read(object_state(f->object, IpcNsState), err);

	if (r == 0)
		r = find_directory(f, err);
	if (r == 0)
		r = find_shm(f, err);
	if (r == 0)
		r = find_sem(f, err);
	if (r == 0)
		r = find_msg(f, err);
	if (r == 0)
		r = find_mq(f, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int find_all(struct checkpoint *c, struct object *object, struct error *err)
{
	if (!object || object->message)
		return 0;
	IpcNsState *s = xmalloc(sizeof(*s));
	ipc_ns_state__init(s);
	object->message = &s->base;
	s->owner = ns_owner(object);
	const struct object *owner = ((const struct ns *)object->live)->owner;
	bool as_owner = owner && !features_capability(CAP_SYS_ADMIN);
	struct finding f = { c, object, as_owner ? user_ns_data(owner) : NULL };
	return visit(object, find_contents, &f, err);
}

static int collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object;
	int r = ns_collect(c, task, &ipc_ns_kind, &type, &object, err);

	if (r == 0)
		r = find_all(c, object, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int ipc_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                      struct error *err)
{
	int r = ns_collect_fd(c, task, nsfd, &ipc_ns_kind, &type, ret, NULL, err);

	if (r == 0)
		r = find_all(c, *ret, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const IpcNsState *s = object_state(object, IpcNsState);

	for (size_t i = 0; i < s->n_settings; i++)
		if (!ipc_setting_valid(s->settings[i]))
			return error_raise(err, EBADMSG, "a setting of an IPC namespace is none");
	if (s->queues && s->queues->mode & ~07777u)
		return error_raise(err, EBADMSG, "message queues with mode %o", s->queues->mode);
	if (!user_ns_valid_id(objects, s->owner))
		return error_raise(err, EBADMSG, "an IPC namespace of object %u", s->owner);
	return 0;
}

int ipc_ns_validate(const struct objects *objects, uint32_t ns, const IpcPerm *perm, uint32_t modes,
                    struct error *err)
{
	const struct object *object = objects_by_id(objects, ns);

	if (!object || object->kind != &ipc_ns_kind)
		return error_raise(err, EBADMSG, "object %u is no IPC namespace", ns);
	if (!perm || perm->id < 0 || perm->mode & ~modes)
		return error_raise(err, EBADMSG, "it has no id or mode that it can have");
	return 0;
}

int ipc_ns_check_stub(const struct stub *stub, uint32_t ns, struct error *err)
{
	const struct object *object = stub_object(stub, &ipc_ns_kind);

	if (!object || object->id != ns)
		return error_raise(err, EBADMSG,
		                   "an object of IPC namespace %u is used outside of it", ns);
	return 0;
}

struct making {
	const struct objects *objects;
	const struct object *object;
	int fd;
};

/* a key or name may have been another's before, which was removed: queues are removed at once */
static size_t turn_of(const struct object *o)
{
	if (o->kind == &ipc_shm_kind)
		return object_state(o, IpcShmState)->perm->mode & SHM_DEST ? 2 : 1;
	return o->kind == &ipc_mq_kind && object_state(o, IpcMqState)->n_unlinked ? 0 : 1;
}

static int make_one(struct object *o, uint32_t ns, struct error *err)
{
	const IpcShmState *shm = o->kind == &ipc_shm_kind ? object_state(o, IpcShmState) : NULL;
	const IpcSemState *sem = o->kind == &ipc_sem_kind ? object_state(o, IpcSemState) : NULL;
	const IpcMsgState *msg = o->kind == &ipc_msg_kind ? object_state(o, IpcMsgState) : NULL;
	const IpcMqState *mq = o->kind == &ipc_mq_kind ? object_state(o, IpcMqState) : NULL;
	int r = 0;

	if (shm && shm->ns == ns)
		r = ipc_shm_make(shm, err);
	else if (sem && sem->ns == ns)
		r = ipc_sem_make(sem, err);
	else if (msg && msg->ns == ns)
		r = ipc_msg_make(msg, err);
	else if (mq && mq->ns == ns)
		r = ipc_mq_make(mq, err);
	if (r == 0 && mq && mq->ns == ns && mq->n_unlinked)
		r = ipc_mq_made(o, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int make_in_helper(void *arg, struct error *err)
{
	enum { N_MADE = 4 };
	static const struct kind *const made[N_MADE] = { &ipc_shm_kind, &ipc_sem_kind,
		                                         &ipc_msg_kind, &ipc_mq_kind };
	const struct making *m = arg;

	if (setns(m->fd, CLONE_NEWIPC) < 0)
		return error_raise(err, errno, "enter the new IPC namespace");
	for (size_t k = 0; k < 3 * N_MADE; k++) {
		size_t cursor = 0;
		for (struct object *o; (o = objects_next(m->objects, made[k % N_MADE], &cursor));) {
			int r = turn_of(o) == k / N_MADE ? make_one(o, m->object->id, err) : 0;
			if (r < 0)
				return error_trace(err, r);
		}
	}
	return 0;
}

static int open_wide(const struct object *object, struct error *err)
{
	int r = ipc_settings_open_wide(err);

	return r < 0 ? error_trace(err, r) : 0;
}

static int restore(struct restart *r, struct object *object, struct error *err)
{
	int owner = user_ns_fd(r, object_state(object, IpcNsState)->owner);
	int e = ns_make(object, &type, owner, open_wide, err);

	if (e < 0)
		return error_trace(err, e);
	struct making m = { r->objects, object, ((struct ns *)object->live)->fd };
	e = helper_run_here(make_in_helper, &m, err);
	return e < 0 ? error_trace(err, e) : 0;
}

struct settling {
	const struct object *object;
	int fd, owner;
};

/* returns the directory of message queues, 0: there is none */
static int settle_in_helper(void *arg, struct error *err)
{
	const struct settling *s = arg;
	int e = ns_enter_owner(s->owner, err);

	if (e == 0 && setns(s->fd, CLONE_NEWIPC) < 0)
		e = error_raise(err, errno, "enter the new IPC namespace");
	if (e == 0)
		e = ipc_settings_write(object_state(s->object, IpcNsState), err);
	if (e == 0 && object_state(s->object, IpcNsState)->queues)
		e = ipc_mq_open_directory(err);
	return e < 0 ? error_trace(err, e) : e;
}

static int finish(struct restart *r, struct object *object, struct error *err)
{
	struct settling s = { object, ((struct ns *)object->live)->fd,
		              user_ns_fd(r, object_state(object, IpcNsState)->owner) };
	int e = ns_run(s.owner, settle_in_helper, &s, err);
	_cleanup_(close_p) int queues = e > 0 ? e : -1;

	if (queues >= 0) /* here, where ids are those of the image */
		e = ipc_mq_write_directory(object_state(object, IpcNsState), queues, err);
	return e < 0 ? error_trace(err, e) : 0;
}

const struct kind ipc_ns_kind = {
	.name = "ipc_ns",
	.number = 80,
	.message = &ipc_ns_state__descriptor,
	.collect = collect,
	.judge = ns_judge,
	.validate = validate,
	.restore = restore,
	.enter = ns_enter,
	.finish = finish,
	.release = ns_release,
};
