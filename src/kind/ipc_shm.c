/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System V shared memory of an IPC namespace that goes along; kind/ipc_ns.c makes the segments.
 * Tasks that have one attached refer to it as a mapping's object.
 */
#include <stdlib.h>
#include <sys/shm.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "ipc/ipc.h"
#include "kind/ipc_ns.h"
#include "kind/shmem/contents.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define PAGE           4096ull
#define SIZE_MAX_BYTES (1ull << 46)

/* object->live, at restart */
struct segment {
	int fd;
	void *map; /* of huge pages; shmdt(2) */
};

/* whole pages of its size */
static uint64_t rounded(const IpcShmState *s)
{
	uint64_t page = s->huge_shift ? 1ull << s->huge_shift : PAGE;

	return (s->size + page - 1) & ~(page - 1);
}

static int save_bulk(struct checkpoint *c, struct object *object, struct error *err)
{
	_cleanup_(ipc_leave) struct ipc_visit visit;
	const IpcShmState *s = object_state(object, IpcShmState);
	int r = ipc_ns_visit(c->objects, s->ns, &visit, err);

	if (r < 0)
		return error_trace(err, r);
	_cleanup_(close_p) int fd = ipc_shm_open(s->perm->id, false, NULL, NULL, err);
	r = fd < 0 ? fd : shmem_contents_save(c, object, fd, rounded(s), err);
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

/* what pages it has only attaching tells, which leaves traces */
static int find_pages(IpcShmState *s, struct error *err)
{
	_cleanup_(close_p) int fd = ipc_shm_open(s->perm->id, false, NULL, &s->huge_shift, err);

	return fd < 0 ? error_trace(err, fd) : 0;
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	_cleanup_(ipc_leave) struct ipc_visit visit;
	IpcShmState *s = object_state(object, IpcShmState);
	int r = ipc_ns_visit(c->objects, s->ns, &visit, err);
	int forced = r < 0 ? r : ipc_shm_forced(err);
	int n = forced < 0 ? forced : ipc_shm_attached(s->perm->id, err);

	if (n < 0)
		return error_trace(err, n);
	if (n == 0 && forced)
		return refuse_segment(c, s, CODE_ipc_shm_forced,
		                      "nobody has it attached, and kernel.shm_rmid_forced is on",
		                      "it would be removed at once; turn that off in the "
		                      "namespace, or attach it");
	r = c->tracer ? find_pages(s, err) : 0;
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

static int restore(struct restart *r, struct object *object, struct error *err)
{
	_cleanup_(ipc_leave) struct ipc_visit visit;
	const IpcShmState *s = object_state(object, IpcShmState);
	struct segment *segment = object->live = xcalloc(1, sizeof(*segment));
	int e = ipc_ns_visit(r->objects, s->ns, &visit, err);

	segment->fd = -1;
	if (e < 0)
		return error_trace(err, e);
	segment->fd = ipc_shm_open(s->perm->id, true, s->huge_shift ? &segment->map : NULL, NULL,
	                           err);
	return segment->fd < 0 ? error_trace(err, segment->fd) : 0;
}

static int restore_bulk(struct restart *r, struct object *object, const struct page_block *block,
                        struct error *err)
{
	const IpcShmState *s = object_state(object, IpcShmState);
	const struct segment *segment = object->live;
	int e = shmem_contents_write(object, segment->fd, segment->map, rounded(s), block, err);

	return e < 0 ? error_trace(err, e) : 0;
}

static void release(struct object *object)
{
	struct segment *segment = object->live;

	if (segment && segment->map)
		shmdt(segment->map);
	if (segment)
		close_p(&segment->fd);
	free(segment);
	object->live = NULL;
}

static int finish(struct restart *r, struct object *object, struct error *err)
{
	_cleanup_(ipc_leave) struct ipc_visit visit;
	const IpcShmState *s = object_state(object, IpcShmState);
	int e = ipc_ns_visit(r->objects, s->ns, &visit, err);

	release(object);
	if (e == 0)
		e = ipc_shm_remove(s, err);
	return e < 0 ? error_trace(err, e) : 0;
}

const struct kind ipc_shm_kind = {
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
