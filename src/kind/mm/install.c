/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart: the mappings of an address space are made in its stub by lists of system calls. At
 * install they are made so that they can be filled; protections, advice, locks and seals follow at
 * commit, when all is in.
 */
#include <fcntl.h>
#include <linux/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/restart.h"
#include "host/features.h"
#include "kind/mm.h"
#include "kind/mm/huge.h"
#include "kind/mm/mm.h"
#include "kind/mm/numa.h"
#include "kind/mm/pkeys.h"
#include "kind/mm/share.h"
#include "kind/mm/vdso.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/uapi.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA           0x53564d41 /* 5.17 */
#define PR_SET_VMA_ANON_NAME 0
#endif
#define FDS_BATCH \
	200 /* descriptors in a stub at a time: RLIMIT_NOFILE and stub_send_fds bound it */

/* descriptors that one batch of mappings needs */
struct batch {
	struct {
		uint32_t object, flags;
	} keys[FDS_BATCH];
	int fds[FDS_BATCH];
	size_t n;
};

static uint32_t open_flags(const Mapping *m)
{
	return (m->flags & MM_SHARED && m->flags & MM_MAY_WRITE) ? O_RDWR : O_RDONLY;
}

/* the number the descriptor gets in the stub; -EAGAIN when the batch is full */
static int batch_descriptor(struct restart *r, struct batch *b, const Mapping *m, struct error *err)
{
	uint32_t flags = open_flags(m);

	for (size_t i = b->n; i-- > 0;) /* neighbours mostly map the same file */
		if (b->keys[i].object == m->object && b->keys[i].flags == flags)
			return (int)i;
	if (b->n == FDS_BATCH)
		return -EAGAIN;
	struct object *o = objects_by_id(r->objects, m->object);
	int ret = o->kind->open(r, o, flags, &b->fds[b->n], err);
	if (ret < 0)
		return error_trace(err, ret);
	b->keys[b->n].object = m->object;
	b->keys[b->n].flags = flags;
	return (int)b->n++;
}

static void batch_close(struct batch *b)
{
	while (b->n > 0)
		close(b->fds[--b->n]);
}

uint32_t mm_fill_protection(const Mapping *m)
{
	if (!mm_fill_writable(m) && m->prot == PROT_EXEC) /* which takes a protection key */
		return PROT_READ | PROT_EXEC;
	if (!mm_fill_writable(m) || m->prot & PROT_WRITE)
		return m->prot;
	return PROT_READ | PROT_WRITE;
}

static int map_flags(const Mapping *m)
{
	int flags = MAP_FIXED_NOREPLACE;

	if (m->flags & MM_DROPPABLE)
		flags |= MAP_DROPPABLE;
	else
		flags |= m->flags & MM_SHARED ? MAP_SHARED : MAP_PRIVATE;
	if (m->backing == MM_STATE__MAPPING__BACKING__ANONYMOUS)
		flags |= MAP_ANONYMOUS;
	if (m->flags & MM_GROWSDOWN)
		flags |= MAP_GROWSDOWN;
	if (m->flags & MM_NORESERVE)
		flags |= MAP_NORESERVE;
	if (m->flags & MM_HUGETLB && m->backing == MM_STATE__MAPPING__BACKING__ANONYMOUS)
		flags |= MAP_HUGETLB | (int)(m->huge_shift << 26); /* MAP_HUGE_SHIFT */
	return flags;
}

void mm_queue_map(struct stub *stub, const Mapping *m, uint64_t start, uint64_t end, int fd)
{
	CALL(stub->calls, mmap, start, end - start, mm_fill_protection(m), (uint64_t)map_flags(m),
	     (uint64_t)(int64_t)fd, fd < 0 ? 0 : m->offset + (start - m->start));
}

static int end_batch(struct restart *r, struct stub *stub, struct batch *b, struct error *err)
{
	if (b->n > 0)
		CALL(stub->calls, close_range, 0, b->n - 1, 0);
	int ret = calls_run(stub->calls, err);
	batch_close(b);
	return ret < 0 ? error_trace(err, ret) : 0;
}

/* the object, if it is one that maps itself: System V shared memory, what stubs inherit */
static struct object *attached(const struct restart *r, const Mapping *m)
{
	struct object *o = m->backing == MM_STATE__MAPPING__BACKING__OBJECT
	                           ? objects_by_id(r->objects, m->object)
	                           : NULL;

	return o && o->kind->attach && (!o->kind->is_inherited || o->kind->is_inherited(o)) ? o
	                                                                                    : NULL;
}

static int attach_all(struct restart *r, const MmState *s, struct stub *stub, struct error *err)
{
	for (size_t i = 0; i < s->n_mappings; i++) {
		const Mapping *m = s->mappings[i];
		struct object *o = attached(r, m);
		const struct attachment a = { .start = m->start,
			                      .size = m->size,
			                      .offset = m->offset,
			                      .prot = (int)m->prot,
			                      .writable = m->flags & MM_MAY_WRITE };
		int ret = o ? o->kind->attach(r, o, stub, &a, err) : 0;
		if (ret < 0)
			return error_trace(err, ret);
	}
	if (r->inherited.start < r->inherited.end) /* nobody needs it there any more */
		CALL(stub->calls, munmap, r->inherited.start,
		     r->inherited.end - r->inherited.start);
	return 0;
}

/*
 * Makes the mappings from *first on, as many as one batch of descriptors allows. The descriptors
 * must be in the stub before the first call that uses them, hence two passes.
 */
static int map_batch(struct restart *r, struct mm *mm, const MmState *s, size_t *first,
                     struct error *err)
{
	struct batch b = { .n = 0 };
	struct stub *stub = mm->stub;
	size_t end = *first;
	int ret = 0;

	for (; end < s->n_mappings; end++) {
		if (s->mappings[end]->backing != MM_STATE__MAPPING__BACKING__OBJECT ||
		    attached(r, s->mappings[end]))
			continue;
		ret = batch_descriptor(r, &b, s->mappings[end], err);
		if (ret < 0)
			break;
	}
	if (ret < 0 && ret != -EAGAIN) {
		batch_close(&b);
		return error_trace(err, ret);
	}
	if (b.n > 0) {
		ret = stub_send_fds(r, stub, b.fds, b.n, err);
		if (ret < 0) {
			batch_close(&b);
			return error_trace(err, ret);
		}
	}
	for (; *first < end; (*first)++) {
		const Mapping *m = s->mappings[*first];
		int fd = -1;

		if (m->backing == MM_STATE__MAPPING__BACKING__KERNEL || attached(r, m))
			continue;
		if (m->backing == MM_STATE__MAPPING__BACKING__OBJECT)
			fd = batch_descriptor(r, &b, m, err);
		mm_share_map(mm, stub, m, fd);
	}
	return end_batch(r, stub, &b, err);
}

static void queue_advice(struct stub *stub, const Mapping *m, uint64_t flag, int advice)
{
	if (m->flags & flag)
		calls_add(stub->calls,
		          &(struct call){ .nr = __NR_madvise,
		                          .arg = { m->start, m->size, (uint64_t)advice },
		                          .what = "madvise" });
}

/* what decides about the pages that the fill makes */
static void queue_fill_advice(struct stub *stub, const MmState *s)
{
	for (size_t i = 0; i < s->n_mappings; i++) {
		queue_advice(stub, s->mappings[i], MM_HUGEPAGE, MADV_HUGEPAGE);
		queue_advice(stub, s->mappings[i], MM_NOHUGEPAGE, MADV_NOHUGEPAGE);
	}
	mm_install_policies(s, stub);
}

int mm_send_object(struct restart *r, uint32_t id, struct stub *stub, struct error *err)
{
	struct object *o = objects_by_id(r->objects, id);
	int fd = -1;
	int ret = o->kind->open(r, o, O_RDONLY, &fd, err);

	if (ret < 0)
		return error_trace(err, ret);
	ret = stub_send_fds(r, stub, &fd, 1, err);
	close(fd);
	return ret < 0 ? error_trace(err, ret) : 0;
}

/* PR_SET_MM_MAP: brk, arguments, auxiliary vector, exe link, prctl(2) */
static int install_layout(struct restart *r, const MmState *s, struct stub *stub, struct error *err)
{
	uint64_t address;
	int ret = mm_send_object(r, s->exe, stub, err);

	if (ret < 0)
		return error_trace(err, ret);
	calls_reserve(stub->calls, 2, sizeof(struct prctl_mm_map) + s->auxv.len + 64);
	struct prctl_mm_map *map = calls_data(stub->calls, sizeof(*map), &address);
	*map = (struct prctl_mm_map){
		.start_code = s->start_code,
		.end_code = s->end_code,
		.start_data = s->start_data,
		.end_data = s->end_data,
		.start_brk = s->start_brk,
		.brk = s->brk,
		.start_stack = s->start_stack,
		.arg_start = s->arg_start,
		.arg_end = s->arg_end,
		.env_start = s->env_start,
		.env_end = s->env_end,
		.auxv_size = (uint32_t)s->auxv.len,
		.exe_fd = 0,
	};
	if (s->auxv.len)
		map->auxv = (void *)(uintptr_t)calls_copy(stub->calls, s->auxv.data, s->auxv.len);
	calls_add(stub->calls,
	          &(struct call){ .nr = __NR_prctl,
	                          .arg = { PR_SET_MM, PR_SET_MM_MAP, address, sizeof(*map), 0 },
	                          .what = "prctl(PR_SET_MM_MAP)" });
	CALL(stub->calls, close, 0);
	ret = calls_run(stub->calls, err);
	return ret < 0 ? error_trace(err, ret) : 0;
}

int mm_install(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	struct mm *mm = mm_live(object);
	const MmState *s = object_state(object, MmState);
	char path[32];
	int ret;

	mm->stub = stub;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)stub->host_tid);
	mm->mem = open(path, O_RDWR | O_CLOEXEC);
	if (mm->mem < 0)
		return error_raise(err, errno, "opening %s", path);
	mm_huge_allow(stub, true);
	ret = mm_share_adopt(r, object, stub, err);
	if (ret >= 0)
		ret = vdso_move(r, s, stub, mm_share_vdso(stub), err);
	for (size_t next = 0; next < s->n_mappings && ret >= 0;)
		ret = map_batch(r, mm, s, &next, err);
	if (ret >= 0)
		ret = attach_all(r, s, stub, err);
	if (ret < 0)
		return error_trace(err, ret);
	queue_fill_advice(stub, s);
	ret = mm_huge_make(s, stub, mm->mem, err);
	if (ret >= 0)
		ret = install_layout(r, s, stub, err);
	return ret < 0 ? error_trace(err, ret) : 0;
}

static void queue_name(struct stub *stub, const Mapping *m)
{
	if (!m->name.len)
		return;
	calls_reserve(stub->calls, 1, m->name.len + 17);
	uint64_t address;
	char *name = calls_data(stub->calls, m->name.len + 1, &address);
	memcpy(name, m->name.data, m->name.len);
	calls_add(stub->calls, &(struct call){ .nr = __NR_prctl,
	                                       .arg = { PR_SET_VMA, PR_SET_VMA_ANON_NAME, m->start,
	                                                m->size, address },
	                                       .what = "prctl(PR_SET_VMA_ANON_NAME)" });
}

static void queue_protection(struct stub *stub, const Mapping *m)
{
	/* with protection keys, plain mprotect(2) makes PROT_EXEC alone mean not readable */
	if (m->pkey || (m->prot == PROT_EXEC && feature(FEATURE_pkeys)))
		CALL(stub->calls, pkey_mprotect, m->start, m->size, m->prot, m->pkey);
	else if (mm_fill_protection(m) != m->prot)
		CALL(stub->calls, mprotect, m->start, m->size, m->prot);
}

static void queue_lock(struct stub *stub, const Mapping *m)
{
	if (!(m->flags & MM_LOCKED))
		return;
	/* without populating: only a missing limit or capability can make it fail */
	CALL(stub->calls, mlock2, m->start, m->size, MLOCK_ONFAULT);
	/* populating fails on PROT_NONE and guard regions, after the lock is set: as it was */
	if (!(m->flags & MM_LOCKONFAULT))
		calls_add(stub->calls, &(struct call){ .nr = __NR_mlock,
		                                       .arg = { m->start, m->size },
		                                       .may_fail = true,
		                                       .what = "mlock" });
}

static void queue_final(struct stub *stub, const MmState *s, const Mapping *m)
{
	static const struct {
		uint64_t flag;
		int advice;
	} advice[] = {
		{ MM_SEQUENTIAL, MADV_SEQUENTIAL }, { MM_RANDOM, MADV_RANDOM },
		{ MM_DONTFORK, MADV_DONTFORK },     { MM_DONTDUMP, MADV_DONTDUMP },
		{ MM_WIPEONFORK, MADV_WIPEONFORK }, { MM_MERGEABLE, MADV_MERGEABLE },
	};

	if (m->backing == MM_STATE__MAPPING__BACKING__KERNEL)
		return;
	for (size_t i = 0; i < sizeof(advice) / sizeof(advice[0]); i++)
		if (!(m->flags & MM_DROPPABLE)) /* MAP_DROPPABLE implies some, forbids the rest */
			queue_advice(stub, m, advice[i].flag, advice[i].advice);
	queue_name(stub, m);
	if (!mm_pkeys_execute_only(s, m))
		queue_protection(stub, m);
	queue_lock(stub, m);
}

int mm_commit(struct restart *r, struct object *object, struct stub *stub, struct error *err)
{
	const struct mm *mm = mm_live(object);
	const MmState *s = object_state(object, MmState);

	int ret = vdso_syscall(s, &stub->launch.syscall_ip, err);
	if (ret < 0)
		return error_trace(err, ret);
	if (mm->stub != stub) /* the rest is done once per address space */
		return 0;
	ret = mm_share_flush(r, object, err);
	if (ret < 0)
		return error_trace(err, ret);
	for (size_t i = 0; i < s->n_guards; i++)
		calls_add(stub->calls,
		          &(struct call){ .nr = __NR_madvise,
		                          .arg = { s->guards[i]->start, s->guards[i]->size,
		                                   MADV_GUARD_INSTALL },
		                          .what = "madvise(MADV_GUARD_INSTALL)" });
	mm_pkeys_allocate(stub, s);
	for (size_t i = 0; i < s->n_mappings; i++)
		queue_final(stub, s, s->mappings[i]);
	mm_pkeys_settle(stub, s);
	if (s->lock_future)
		CALL(stub->calls, mlockall, s->lock_future);
	for (size_t i = 0; i < s->n_mappings; i++)
		if (s->mappings[i]->flags & MM_SEALED &&
		    s->mappings[i]->backing != MM_STATE__MAPPING__BACKING__KERNEL)
			CALL(stub->calls, mseal, s->mappings[i]->start, s->mappings[i]->size, 0);
	ret = calls_run(stub->calls, err);
	return ret < 0 ? error_trace(err, ret) : 0;
}
