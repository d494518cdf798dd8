/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks. See lock.h.
 *
 * One object for each task that takes locks again. POSIX locks are taken by the process that
 * F_GETLK shows as their owner, if it still shares the descriptor table; the others by any that has
 * the file open. They are taken at commit: closing any descriptor of a file drops all POSIX locks
 * that the process has on it, so the descriptors must all be in place by then, and the stubs' own
 * closed.
 *
 * Not kept: the pid that /proc/locks shows for a lock of flock(2).
 */
#include "kind/lock.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "file.pb-c.h"
#include "kind/file.h"
#include "kind/regfile.h"
#include "lock.pb-c.h"
#include "proc/fdinfo.h"
#include "proc/locks.h"
#include "regfile.pb-c.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

#define DESCRIPTOR_MAX (1u << 30)
#define TO_END         UINT64_MAX

/* object->live; what all share is with the first object of the kind */
struct locks {
	const struct task *task; /* checkpoint: who takes them again */
	struct proc_lock *where; /* checkpoint: parallel to the message's: the inodes */
	size_t n_where;
	struct map *seen;              /* first: files, by table, whose locks have been noted */
	bool have_host;                /* first: */
	struct proc_locks_entry *host; /* first: locks of this machine by inode: read_host() */
	size_t n_host;
};

static struct locks *live(struct object *object)
{
	if (!object->live)
		object->live = xcalloc(1, sizeof(struct locks));
	return object->live;
}

static struct locks *first_live(const struct objects *objects)
{
	size_t cursor = 0;

	return live(objects_next(objects, &lock_kind, &cursor));
}

static int by_inode(const void *va, const void *vb)
{
	const struct proc_lock *a = &((const struct proc_locks_entry *)va)->lock;
	const struct proc_lock *b = &((const struct proc_locks_entry *)vb)->lock;

	if (a->device != b->device)
		return a->device < b->device ? -1 : 1;
	return a->inode < b->inode ? -1 : a->inode > b->inode;
}

/* @waits: of the locks of this machine those that are waited for, otherwise those that are held */
static int read_host(struct locks *first, bool waits, struct error *err)
{
	size_t n = 0;

	if (first->have_host)
		return 0;
	int r = proc_locks_read(&first->host, &first->n_host, err);
	if (r < 0)
		return error_trace(err, r);
	for (size_t i = 0; i < first->n_host; i++)
		if (first->host[i].waits == waits)
			first->host[n++] = first->host[i];
	first->n_host = n;
	if (n)
		qsort(first->host, n, sizeof(first->host[0]), by_inode);
	first->have_host = true;
	return 0;
}

/* those of one file, *ret_n of them */
static const struct proc_locks_entry *host_locks(const struct locks *first, dev_t device,
                                                 ino_t inode, size_t *ret_n)
{
	const struct proc_locks_entry key = { .lock = { .device = device, .inode = inode } };
	size_t low = 0, high = first->n_host, n = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (by_inode(&first->host[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	while (low + n < first->n_host && by_inode(&first->host[low + n], &key) == 0)
		n++;
	*ret_n = n;
	return first->host + low;
}

/* ---- checkpoint ---- */

static bool parse_type(const struct proc_lock *lock, Lock__Type *ret)
{
	static const struct {
		const char *type, *mode;
		Lock__Type value;
	} types[] = {
		{ "POSIX", "ADVISORY", LOCK__TYPE__POSIX },
		{ "FLOCK", "ADVISORY", LOCK__TYPE__FLOCK },
		{ "OFDLCK", "ADVISORY", LOCK__TYPE__OFD },
		{ "LEASE", "ACTIVE", LOCK__TYPE__LEASE },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		*ret = types[i].value;
		if (!strcmp(lock->type, types[i].type) && !strcmp(lock->mode, types[i].mode))
			return !strcmp(lock->access, "READ") || !strcmp(lock->access, "WRITE");
	}
	return false;
}

static void refuse_lock(struct checkpoint *c, const struct task *task, int fd,
                        const struct proc_lock *lock)
{
	struct error refusal;

	if (!strcmp(lock->type, "LEASE") && !strncmp(lock->mode, "BREAK", 5)) {
		error_refuse(&refusal, CODE_lock_breaking,
		             "somebody waits for the end of a lease on it");
		error_hint(&refusal, "try again when the program has given it up");
	} else {
		error_refuse(&refusal, CODE_unknown_state,
		             "a lock \"%s %s %s\" on it, which this version does not know",
		             lock->type, lock->mode, lock->access);
	}
	error_fd(&refusal, fd);
	refuse(c, task, &refusal);
}

static bool shares_table(const struct task *a, const struct task *b)
{
	return a == b || syscall(SYS_kcmp, a->tid, b->tid, KCMP_FILES, 0, 0) == 0;
}

/* the process that has made it, so that F_GETLK shows its pid; or else one that has the table */
static struct task *find_owner(const struct checkpoint *c, const struct task *task,
                               const struct proc_lock *lock, Lock__Type type)
{
	struct task *t = type == LOCK__TYPE__POSIX ? checkpoint_process(c, lock->pid) : NULL;

	for (; t; t = t->next_thread) {
		bool alive = t->state == TASK_HELD || t->state == TASK_STOPPED;
		if (alive && shares_table(t, task))
			return t;
	}
	return checkpoint_task(c, task->tid);
}

static void add_lock(struct checkpoint *c, struct task *owner, int fd, const struct object *file,
                     const struct proc_lock *lock, Lock__Type type)
{
	struct object *object = objects_get(c->objects, &lock_kind, &owner->tid, sizeof(owner->tid),
	                                    NULL);
	struct locks *l = live(object);
	LockState *s = object_state(object, LockState);

	if (!s) {
		s = xmalloc(sizeof(*s));
		lock_state__init(s);
		object->message = &s->base;
		l->task = owner;
		task_refer(owner, object);
	}
	Lock *new = xmalloc(sizeof(*new));
	lock__init(new);
	new->type = type;
	new->descriptor = (uint32_t)fd;
	new->file = file->id;
	new->write = !strcmp(lock->access, "WRITE");
	new->start = lock->start;
	new->size = lock->end == TO_END ? 0 : lock->end - lock->start + 1;
	*array_push(s->locks, s->n_locks) = new;
	*array_push(l->where, l->n_where) = *lock;
}

/*
 * Whether this file's locks are new: descriptors of one file show the same ones, those of the table
 * or those of the description.
 */
static bool is_news(struct checkpoint *c, pid_t table, const struct object *file)
{
	const uint32_t key[] = { (uint32_t)table, file->id };
	struct locks *first = first_live(c->objects);

	if (!first->seen)
		first->seen = map_new();
	if (map_get(first->seen, key, sizeof(key)))
		return false;
	map_put(first->seen, key, sizeof(key), first);
	return true;
}

void lock_collect(struct checkpoint *c, const struct task *task, int fd, const struct object *file,
                  const struct proc_fdinfo *info)
{
	bool table_news, file_news;

	/* the first object of the kind must be there, to remember with */
	objects_get(c->objects, &lock_kind, &task->tid, sizeof(task->tid), NULL);
	table_news = is_news(c, task->tid, file);
	file_news = is_news(c, 0, file);
	for (size_t i = 0; i < info->n_locks; i++) {
		const struct proc_lock *lock = &info->locks[i];
		Lock__Type type;
		bool known = parse_type(lock, &type);
		if (known && !(type == LOCK__TYPE__POSIX ? table_news : file_news))
			continue;
		struct task *owner = known ? find_owner(c, task, lock, type) : NULL;
		if (owner)
			add_lock(c, owner, fd, file, lock, type);
		else
			refuse_lock(c, task, fd, lock);
	}
}

static bool in_set(struct checkpoint *c, pid_t pid)
{
	/* -1, of an OFD lock, may be anybody; those of the set do not wait while they are held */
	if (pid < 0)
		check_unexamined(c, NULL, "who waits for an OFD lock", CODE_lock_waiter);
	return pid < 0 ? !c->tracer : checkpoint_task(c, pid) != NULL;
}

/* somebody outside would get the lock when the set is gone, and the set would not get it back */
static void judge_waiters(struct checkpoint *c, const struct task *task, int fd,
                          const struct proc_lock *lock, const struct locks *first)
{
	struct error refusal;
	size_t n;
	const struct proc_locks_entry *e = host_locks(first, lock->device, lock->inode, &n);

	for (; n > 0; e++, n--) {
		if (in_set(c, e->lock.pid))
			continue;
		if (e->lock.pid > 0)
			error_refuse(&refusal, CODE_lock_waiter,
			             "pid %d, outside the set, waits for a lock on it",
			             (int)e->lock.pid);
		else
			error_refuse(&refusal, CODE_lock_waiter,
			             "a process outside the set waits for a lock on it");
		error_hint(&refusal, "end that process, or checkpoint a tree that it belongs to");
		error_fd(&refusal, fd);
		refuse(c, task, &refusal);
	}
}

static int lock_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const LockState *s = object_state(object, LockState);
	struct locks *l = live(object), *first = first_live(c->objects);
	int r = read_host(first, true, err);

	if (r < 0)
		return error_trace(err, r);
	for (size_t i = 0; s && i < s->n_locks; i++)
		judge_waiters(c, l->task, (int)s->locks[i]->descriptor, &l->where[i], first);
	return 0;
}

/* one that was only made to remember with */
static int lock_save(struct checkpoint *c, struct object *object, struct error *err)
{
	LockState *s = xmalloc(sizeof(*s));

	lock_state__init(s);
	object->message = &s->base;
	return 0;
}

/* ---- restart ---- */

static int validate_lock(const struct objects *objects, const Lock *lock, struct error *err)
{
	const struct object *file = objects_by_id(objects, lock->file);
	bool ranged = lock->type == LOCK__TYPE__POSIX || lock->type == LOCK__TYPE__OFD;

	if (lock->type > LOCK__TYPE__LEASE || (int)lock->type < 0)
		return error_refuse(err, CODE_image_invalid, "lock: type %d", lock->type);
	if (lock->descriptor >= DESCRIPTOR_MAX || !file || file->kind != &file_kind)
		return error_refuse(err, CODE_image_invalid, "lock: descriptor %u of object %u",
		                    lock->descriptor, lock->file);
	if (!ranged && (lock->start || lock->size))
		return error_refuse(err, CODE_image_invalid, "lock: a range");
	if (lock->start > INT64_MAX || lock->size > INT64_MAX - lock->start)
		return error_refuse(err, CODE_image_invalid, "lock: out of range");
	return 0;
}

static int lock_validate(const struct objects *objects, const struct object *object,
                         struct error *err)
{
	const LockState *s = object_state(object, LockState);

	for (size_t i = 0; i < s->n_locks; i++) {
		int r = validate_lock(objects, s->locks[i], err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

/* the file that would be locked; false if it is not one that others can have */
static bool find_file(struct restart *r, const Lock *lock, char **ret_path, struct stat *ret)
{
	const FileState *f = object_state(objects_by_id(r->objects, lock->file), FileState);
	const struct object *inode = objects_by_id(r->objects, f->object);

	if (!inode || inode->kind != &regfile_kind)
		return false;
	const RegfileState *s = object_state(inode, RegfileState);
	*ret_path = bytes_text(&s->path);
	if (s->name == REGFILE_STATE__NAME__HERE && stat(*ret_path, ret) == 0)
		return true;
	ret->st_dev = s->device;
	ret->st_ino = s->inode;
	return s->name == REGFILE_STATE__NAME__LINKED;
}

static bool conflicts(const Lock *lock, const struct proc_lock *other)
{
	bool ranged = lock->type == LOCK__TYPE__POSIX || lock->type == LOCK__TYPE__OFD;
	uint64_t end = lock->size ? lock->start + lock->size - 1 : TO_END;

	if (!lock->write && strcmp(other->access, "WRITE") != 0)
		return false;
	if (lock->type == LOCK__TYPE__FLOCK)
		return !strcmp(other->type, "FLOCK");
	if (lock->type == LOCK__TYPE__LEASE)
		return !strcmp(other->type, "LEASE");
	return ranged && (!strcmp(other->type, "POSIX") || !strcmp(other->type, "OFDLCK")) &&
	       lock->start <= other->end && other->start <= end;
}

static void refuse_conflict(struct restart *r, const char *path, const struct proc_lock *other)
{
	struct error refusal;

	if (other->pid > 0)
		error_refuse(&refusal, CODE_lock_conflict,
		             "pid %d holds a lock on it that conflicts with one of the set's",
		             (int)other->pid);
	else
		error_refuse(&refusal, CODE_lock_conflict,
		             "somebody holds a lock on it that conflicts with one of the set's");
	error_object(&refusal, "%s", path);
	error_hint(&refusal, "end that process, or wait until it gives up the lock");
	restart_refuse(r, &refusal);
}

static int lock_preflight(struct restart *r, struct object *object, struct error *err)
{
	const LockState *s = object_state(object, LockState);
	struct locks *first = first_live(r->objects);
	int e = read_host(first, false, err);

	if (e < 0)
		return error_trace(err, e);
	for (size_t i = 0; i < s->n_locks; i++) {
		_cleanup_(free_p) char *path = NULL;
		struct stat st;
		if (!find_file(r, s->locks[i], &path, &st))
			continue;
		size_t n;
		const struct proc_locks_entry *other = host_locks(first, st.st_dev, st.st_ino, &n);
		for (; n > 0; other++, n--)
			if (conflicts(s->locks[i], &other->lock))
				refuse_conflict(r, path, &other->lock);
	}
	return 0;
}

static void take_range(struct stub *stub, const Lock *lock)
{
	bool ofd = lock->type == LOCK__TYPE__OFD;
	struct flock range = { .l_type = lock->write ? F_WRLCK : F_RDLCK,
		               .l_whence = SEEK_SET,
		               .l_start = (off_t)lock->start,
		               .l_len = (off_t)lock->size };

	calls_reserve(stub->calls, 1, sizeof(range) + 16);
	calls_add(stub->calls,
	          &(struct call){ .nr = __NR_fcntl,
	                          .arg = { lock->descriptor, ofd ? F_OFD_SETLK : F_SETLK,
	                                   calls_copy(stub->calls, &range, sizeof(range)) },
	                          .what = ofd ? "F_OFD_SETLK" : "F_SETLK" });
}

static void take(struct stub *stub, const Lock *lock)
{
	if (lock->type == LOCK__TYPE__FLOCK)
		CALL(stub->calls, flock, lock->descriptor,
		     (lock->write ? LOCK_EX : LOCK_SH) | LOCK_NB);
	else if (lock->type == LOCK__TYPE__LEASE)
		calls_add(stub->calls, &(struct call){ .nr = __NR_fcntl,
		                                       .arg = { lock->descriptor, F_SETLEASE,
		                                                lock->write ? F_WRLCK : F_RDLCK },
		                                       .what = "F_SETLEASE" });
	else
		take_range(stub, lock);
}

static int lock_commit(struct restart *r, struct object *object, struct stub *stub,
                       struct error *err)
{
	const LockState *s = object_state(object, LockState);

	for (size_t i = 0; i < s->n_locks; i++)
		take(stub, s->locks[i]);
	int e = calls_run(stub->calls, err);
	if (e == -EAGAIN || e == -EACCES)
		error_hint(err, "another process has a conflicting lock, or the file open");
	return e < 0 ? error_trace(err, e) : 0;
}

static void lock_release(struct object *object)
{
	struct locks *l = object->live;

	if (!l)
		return;
	map_free(l->seen);
	free(l->where);
	free(l->host);
	free(l);
	object->live = NULL;
}

const struct kind lock_kind = {
	.name = "lock",
	.number = 26,
	.message = &lock_state__descriptor,
	.judge = lock_judge,
	.save = lock_save,
	.validate = lock_validate,
	.preflight = lock_preflight,
	.commit = lock_commit,
	.release = lock_release,
};
