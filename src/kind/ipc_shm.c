/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System V shared memory of an IPC namespace that goes along; kind/ipc_ns.c makes the segments.
 * Tasks that have one attached refer to it as a mapping's object.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "ipc/ipc.h"
#include "kind/bulk.h"
#include "kind/ipc_ns.h"
#include "kind/shmem/contents.h"
#include "proc/maps.h"
#include "task/calls.h"
#include "task/holders.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define PAGE           4096ull
#define SIZE_MAX_BYTES (1ull << 46)

static uint64_t rounded_to(uint64_t size, uint64_t page)
{
	return (size + page - 1) & ~(page - 1);
}

/* whole pages of its size */
static uint64_t rounded(const IpcShmState *s)
{
	return rounded_to(s->size, s->huge_shift ? 1ull << s->huge_shift : PAGE);
}

/* what tells one file from another, also of the same number in another namespace */
struct identity {
	uint32_t size;
	int32_t type;
	unsigned char bytes[32];
};

/* object->live */
struct segment {
	/* checkpoint */
	uint64_t n_mappings; /* of tasks of the set */
	struct identity mapped;
	struct ipc_segment open; /* restart */
};

static struct segment *live(struct object *object)
{
	if (!object->live) {
		struct segment *segment = object->live = xcalloc(1, sizeof(*segment));
		segment->open = IPC_SEGMENT_INIT;
	}
	return object->live;
}

/* all zero where the file system has none, hugetlbfs, or the file may not be had: @fd is -1 */
static void identify(int fd, struct identity *ret)
{
	struct {
		struct file_handle head;
		unsigned char bytes[sizeof(ret->bytes)];
	} handle = { .head.handle_bytes = sizeof(handle.bytes) };
	int mount;

	*ret = (struct identity){ 0 };
	if (fd < 0 || name_to_handle_at(fd, "", &handle.head, &mount, AT_EMPTY_PATH) < 0)
		return;
	ret->size = handle.head.handle_bytes;
	ret->type = handle.head.handle_type;
	memcpy(ret->bytes, handle.bytes, ret->size);
}

struct object *ipc_shm_attached_by(struct checkpoint *c, struct task *task, int fd,
                                   const struct proc_map *map)
{
	const struct object *ns = task_object(task, &ipc_ns_kind);
	/* the kernel numbers the file as the segment */
	const struct ipc_key key = { ns ? ns->id : 0, (int32_t)map->inode };
	struct object *object = ns ? objects_find(c->objects, &ipc_shm_kind, &key, sizeof(key))
	                           : NULL;
	struct identity identity;

	if (!object ||
	    map->offset + (map->end - map->start) >
	            rounded_to(object_state(object, IpcShmState)->size, map->kernel_page_size))
		return NULL;
	struct segment *segment = live(object);
	identify(fd, &identity);
	if (segment->n_mappings && memcmp(&identity, &segment->mapped, sizeof(identity)) != 0)
		return NULL;
	/* its key is nobody's any more, but still in its name */
	IpcShmState *s = object_state(object, IpcShmState);
	if (s->perm->mode & SHM_DEST)
		sscanf(map->name, "/SYSV%x", &s->perm->key);
	segment->mapped = identity;
	segment->n_mappings++;
	return object;
}

/* what a visit to the namespace needs */
struct visit {
	struct checkpoint *c;
	struct object *object;
	bool outside; /* judge_inside(): others have it attached, too */
};

static int save_inside(void *arg, struct error *err)
{
	const struct visit *v = arg;
	const IpcShmState *s = object_state(v->object, IpcShmState);
	_cleanup_(ipc_shm_close) struct ipc_segment segment;
	int r = ipc_shm_open(s->perm->id, false, &segment, err);

	if (r == 0 && segment.fd < 0)
		r = bulk_save_bytes(v->c, v->object, segment.map, rounded(s), err);
	else if (r == 0)
		r = shmem_contents_save(v->c, v->object, segment.fd, rounded(s), err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int save_bulk(struct checkpoint *c, struct object *object, struct error *err)
{
	struct visit v = { c, object };
	int r = ipc_ns_visit(c->objects, object_state(object, IpcShmState)->ns, save_inside, &v,
	                     err);

	return r < 0 ? error_trace(err, r) : 0;
}

static int refuse_segment(struct checkpoint *c, const IpcShmState *s, enum code code,
                          const char *what, const char *hint)
{
	struct error refusal;

	error_refuse(&refusal, code, "%s", what);
	error_object(&refusal, "shared memory %d, key %#x", s->perm->id, s->perm->key);
	error_hint(&refusal, "%s", hint);
	refuse(c, NULL, &refusal);
	return 0;
}

/*
 * The kernel tells how many have it attached, not who. All namespaces have their segments on one
 * device, with the ids as inode numbers: whom /proc shows with that number may mean another one.
 */
static int refuse_attached(struct checkpoint *c, const IpcShmState *s, struct error *err)
{
	_cleanup_(close_p) int fd = memfd_create("stasis", MFD_CLOEXEC); /* is there, too */
	const struct holder *holder;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_raise(err, errno, "find the device of shared memory");
	int r = holders_find(c, st.st_dev, (ino_t)s->perm->id, &holder, err);
	if (r < 0)
		return error_trace(err, r);
	_cleanup_(free_p) char *hint =
		r > 0 ? xasprintf("end pid %d (%s), if the segment of this number that it has "
	                          "attached is this one, or checkpoint a common ancestor",
	                          (int)holder->pid, holder->comm)
		      : xstrdup("checkpoint a common ancestor, or end the other one (see "
	                        "/proc/*/maps)");
	return refuse_segment(c, s, CODE_leak, "a process outside the set has it attached, too",
	                      hint);
}

/*
 * What pages it has, and whether it is what tasks have mapped: only attaching tells, which leaves
 * traces.
 */
static int look_inside(const struct segment *segment, IpcShmState *s, struct error *err)
{
	_cleanup_(ipc_shm_close) struct ipc_segment open;
	struct identity identity;
	int r = ipc_shm_open(s->perm->id, false, &open, err);

	if (r < 0)
		return error_trace(err, r);
	s->huge_shift = open.huge_shift;
	identify(open.fd, &identity);
	if (segment->n_mappings && memcmp(&identity, &segment->mapped, sizeof(identity)) != 0)
		return error_refuse(err, CODE_mm_sysv_shm,
		                    "segment %d that is attached is of another IPC namespace",
		                    s->perm->id);
	return 0;
}

static int judge_inside(void *arg, struct error *err)
{
	struct visit *v = arg;
	struct checkpoint *c = v->c;
	IpcShmState *s = object_state(v->object, IpcShmState);
	const struct segment *segment = live(v->object);
	int forced = ipc_shm_forced(err);
	int n = forced < 0 ? forced : ipc_shm_attached(s->perm->id, err);

	if (n < 0)
		return error_trace(err, n);
	if (n == 0 && forced)
		return refuse_segment(c, s, CODE_ipc_shm_forced,
		                      "nobody has it attached, and kernel.shm_rmid_forced is on",
		                      "it would be removed at once; turn that off in the "
		                      "namespace, or attach it");
	v->outside = (uint64_t)n != segment->n_mappings;
	if (v->outside)
		return 0;
	int r = c->tracer ? look_inside(segment, s, err) : 0;
	return r < 0 ? error_trace(err, r) : 0;
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	struct visit v = { c, object };
	int r = ipc_ns_visit(c->objects, object_state(object, IpcShmState)->ns, judge_inside, &v,
	                     err);

	if (r == 0 && v.outside)
		r = refuse_attached(c, object_state(object, IpcShmState), err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const IpcShmState *s = object_state(object, IpcShmState);
	int r = ipc_ns_validate(objects, s->ns, s->perm, 0777 | SHM_DEST | SHM_LOCKED, err);

	if (r < 0)
		return error_trace(err, r);
	if (s->size == 0 || s->size > SIZE_MAX_BYTES)
		return error_raise(err, EBADMSG, "shared memory of %llu bytes",
		                   (unsigned long long)s->size);
	if (s->huge_shift && (s->huge_shift < 16 || s->huge_shift > 34))
		return error_raise(err, EBADMSG, "shared memory of pages of 2^%u bytes",
		                   s->huge_shift);
	return 0;
}

static int open_inside(void *arg, struct error *err)
{
	struct object *object = arg;
	const IpcShmState *s = object_state(object, IpcShmState);
	int e = ipc_shm_open(s->perm->id, true, &live(object)->open, err);

	return e < 0 ? error_trace(err, e) : 0;
}

static int restore(struct restart *r, struct object *object, struct error *err)
{
	int e = ipc_ns_visit(r->objects, object_state(object, IpcShmState)->ns, open_inside, object,
	                     err);

	return e < 0 ? error_trace(err, e) : 0;
}

static int restore_bulk(struct restart *r, struct object *object, const struct page_block *block,
                        struct error *err)
{
	const IpcShmState *s = object_state(object, IpcShmState);
	const struct ipc_segment *open = &live(object)->open;
	int e = shmem_contents_write(open->fd, open->map, rounded(s), block, err);

	return e < 0 ? error_trace(err, e) : 0;
}

static void release(struct object *object)
{
	struct segment *segment = object->live;

	if (segment)
		ipc_shm_close(&segment->open);
	free(segment);
	object->live = NULL;
}

static int settle_inside(void *arg, struct error *err)
{
	struct object *object = arg;
	int e = ipc_shm_settle(object_state(object, IpcShmState), err);

	return e < 0 ? error_trace(err, e) : 0;
}

static int finish(struct restart *r, struct object *object, struct error *err)
{
	release(object);
	int e = ipc_ns_visit(r->objects, object_state(object, IpcShmState)->ns, settle_inside,
	                     object, err);
	return e < 0 ? error_trace(err, e) : 0;
}

/* ---- attaching, in a stub ---- */

static int shmat_flags(const struct attachment *a)
{
	return (a->writable ? 0 : SHM_RDONLY) | (a->prot & PROT_EXEC ? SHM_EXEC : 0);
}

static void queue_protection(struct stub *stub, const struct attachment *a)
{
	int given = PROT_READ | (a->writable ? PROT_WRITE : 0) | (a->prot & PROT_EXEC);

	if (a->prot != given)
		CALL(stub->calls, mprotect, a->start, a->size, (uint64_t)a->prot);
}

static bool overlap(uint64_t start, uint64_t size, const struct attachment *a)
{
	return start < a->start + a->size && a->start < start + size;
}

/* a whole segment somewhere else than at @a; where: *ret */
static int attach_aside(struct stub *stub, const IpcShmState *s, const struct attachment *a,
                        uint64_t *ret, struct error *err)
{
	uint64_t wrong[2];
	unsigned n = 0;

	/* of places that do not overlap each other the third at the latest is free */
	for (;;) {
		unsigned index = CALL(stub->calls, shmat, (uint64_t)s->perm->id, 0,
		                      (uint64_t)shmat_flags(a));
		int e = calls_run(stub->calls, err);
		if (e < 0)
			return error_trace(err, e);
		*ret = (uint64_t)calls_result(stub->calls, index);
		if (!overlap(*ret, rounded(s), a))
			break;
		if (n == 2)
			return error_raise(err, ENOMEM, "no room to attach segment %d",
			                   s->perm->id);
		wrong[n++] = *ret;
	}
	while (n-- > 0)
		CALL(stub->calls, shmdt, wrong[n]);
	return 0;
}

/* a part: the rest has been detached, or is protected otherwise */
static int attach_part(struct stub *stub, const IpcShmState *s, const struct attachment *a,
                       struct error *err)
{
	uint64_t aside, end = a->offset + a->size;
	int e = attach_aside(stub, s, a, &aside, err);

	if (e < 0)
		return error_trace(err, e);
	CALL(stub->calls, mremap, aside + a->offset, a->size, a->size,
	     MREMAP_MAYMOVE | MREMAP_FIXED, a->start);
	if (a->offset)
		CALL(stub->calls, munmap, aside, a->offset);
	if (end < rounded(s))
		CALL(stub->calls, munmap, aside + end, rounded(s) - end);
	queue_protection(stub, a);
	e = calls_run(stub->calls, err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int attach(struct restart *r, struct object *object, struct stub *stub,
                  const struct attachment *a, struct error *err)
{
	const IpcShmState *s = object_state(object, IpcShmState);
	int e = ipc_ns_check_stub(stub, s->ns, err);

	if (e < 0)
		return error_trace(err, e);
	if (a->offset > rounded(s) || a->size > rounded(s) - a->offset)
		return error_raise(err, EBADMSG, "more is attached than segment %d has",
		                   s->perm->id);
	if (a->size != rounded(s)) {
		e = attach_part(stub, s, a, err);
		return e < 0 ? error_trace(err, e) : 0;
	}
	CALL(stub->calls, shmat, (uint64_t)s->perm->id, a->start, (uint64_t)shmat_flags(a));
	queue_protection(stub, a);
	return 0;
}

const struct kind ipc_shm_kind = {
	.attach = attach,
	.name = "ipc_shm",
	.number = 81,
	.message = &ipc_shm_state__descriptor,
	.judge = judge,
	.save_bulk = save_bulk,
	.validate = validate,
	.restore = restore,
	.restore_bulk = restore_bulk,
	.finish = finish,
	.release = release,
};
