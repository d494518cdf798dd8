/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: what /proc and the task itself tell of an address space becomes its message. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/checkpoint.h"
#include "host/features.h"
#include "kind/mm.h"
#include "kind/mm/collect.h"
#include "kind/mm/numa.h"
#include "kind/mm/pkeys.h"
#include "kind/mount.h"
#include "kind/place.h"
#include "kind/regfile.h"
#include "kind/shmem.h"
#include "task/task.h"
#include "task/tracer.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define LARGE (1ull << 30) /* bytes */

static bool is_kernels_own(const struct proc_map *map)
{
	if (map->inode || map->dev)
		return false;
	return !strcmp(map->name, "[vdso]") || !strcmp(map->name, "[vvar]") ||
	       !strcmp(map->name, "[vvar_vclock]");
}

/* the name that the program gave it (PR_SET_VMA_ANON_NAME), NULL if none */
static char *given_name(const struct proc_map *map)
{
	const char *prefixes[] = { "[anon:", "[anon_shmem:" };

	for (size_t i = 0; i < 2; i++) {
		size_t n = strlen(prefixes[i]), size = strlen(map->name);
		if (!strncmp(map->name, prefixes[i], n) && size > n)
			return xstrndup(map->name + n, size - n - 1);
	}
	return NULL;
}

void mm_refuse_mapping(struct collector *l, const struct proc_map *map, struct error *refusal)
{
	error_object(refusal, "mapping %llx-%llx %s", (unsigned long long)map->start,
	             (unsigned long long)map->end, map->name);
	refuse(l->c, l->task, refusal);
}

/* a name of the kernel's own, of a file that no user's directory has */
static bool is_named(const struct proc_map *map, const char *prefix)
{
	const char *end = " (deleted)";
	size_t n = strlen(map->name), size = strlen(end);

	return !strncmp(map->name, prefix, strlen(prefix)) && n > size &&
	       !strcmp(map->name + n - size, end);
}

/* shm_mnt of the kernel holds both shared anonymous memory and System V segments */
static bool is_segment(const struct proc_map *map)
{
	return is_named(map, "/SYSV") && (map->dev == shmem_device() || proc_map_flag(map, "ht"));
}

/*
 * Mappings that are refused by a name of their own, before VmFlags is looked at: the kernel marks
 * most of them as special in there, too.
 */
static int special_mapping(const struct proc_map *map, struct error *refusal)
{
	if (!strcmp(map->name, "[uprobes]")) {
		error_refuse(refusal, CODE_mm_uprobes, "uprobes are set in it");
		error_hint(refusal, "end the tracing (perf, bpftrace...) that set them");
		return -EOPNOTSUPP;
	}
	if (is_named(map, "/[aio]") && proc_map_flag(map, "de")) {
		error_refuse(refusal, CODE_mm_aio,
		             "an asynchronous I/O context (io_setup) is open");
		error_hint(refusal, "let the program call io_destroy first");
		return -EOPNOTSUPP;
	}
	if (proc_map_flag(map, "ht") && !is_segment(map) &&
	    strcmp(map->name, "/anon_hugepage (deleted)") != 0)
		return error_refuse(
			refusal, CODE_mm_hugetlbfs,
			"it maps a file of hugetlbfs; only anonymous huge pages are supported");
	return 0;
}

static uint32_t protection(const struct proc_map *map)
{
	return (map->read ? PROT_READ : 0) | (map->write ? PROT_WRITE : 0) |
	       (map->exec ? PROT_EXEC : 0);
}

static void set_bytes(ProtobufCBinaryData *ret, const char *text)
{
	if (!text)
		return;
	ret->len = strlen(text);
	ret->data = xmemdup(text, ret->len);
}

/* mappings with a backing object or of the kernel; anonymous ones need no more */
static int collect_backing(struct collector *l, struct proc_map *map, Mapping *m, struct error *err)
{
	if (is_kernels_own(map)) {
		m->backing = MM_STATE__MAPPING__BACKING__KERNEL;
		set_bytes(&m->name, map->name);
		if (strcmp(map->name, "[vdso]") != 0)
			return 0;
		int r = mm_vdso_hash(l->task->tid, map->start, map->end - map->start,
		                     &l->state->vdso_hash, err);
		return r < 0 ? error_trace(err, r) : 0;
	}
	char *name = given_name(map);
	set_bytes(&m->name, name);
	free(name);
	if (!map->inode && !map->dev)
		return 0;
	if (m->flags & MM_HUGETLB && !map->shared)
		return 0;
	int r = mm_collect_file(l, map, m, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int collect_mapping(struct collector *l, struct proc_map *map, struct error *err)
{
	struct error refusal = ERROR_INIT;
	uint64_t flags = 0;

	if (map->start >= MM_TASK_END) /* [vsyscall]: the kernel's, the same everywhere */
		return 0;
	if (map->unknown[0]) {
		error_refuse(&refusal, CODE_unknown_state,
		             "smaps shows \"%s\", which this version does not know", map->unknown);
		mm_refuse_mapping(l, map, &refusal);
	}
	if (special_mapping(map, &refusal) < 0 ||
	    mm_flags(map, is_kernels_own(map), &flags, &refusal) < 0) {
		mm_refuse_mapping(l, map, &refusal);
		return 0;
	}
	Mapping *m = xmalloc(sizeof(*m));
	mm_state__mapping__init(m);
	m->start = map->start;
	m->size = map->end - map->start;
	m->prot = protection(map);
	m->flags = flags;
	m->pkey = map->protection_key > 0 ? (uint32_t)map->protection_key : 0;
	if (m->pkey && !feature(FEATURE_pkeys)) {
		error_refuse(&refusal, CODE_not_supported,
		             "memory protection key %u is in use, but the keys cannot be examined",
		             m->pkey);
		mm_refuse_mapping(l, map, &refusal);
	}
	if (flags & MM_HUGETLB)
		m->huge_shift = (uint32_t)__builtin_ctzll(map->kernel_page_size | 1ull << 40);
	size_t n = l->state->n_mappings;
	array_push(l->mm->told, n);
	l->mm->told[n - 1].may_share = map->anonymous && map->pss < map->rss;
	l->mm->told[n - 1].has_huge = map->anon_huge_pages;
	l->mm->told[n - 1].is_empty = m->size >= LARGE && !(flags & MM_HUGETLB) && !map->rss &&
	                              !map->swap;
	*array_push(l->state->mappings, l->state->n_mappings) = m;
	if (is_segment(map)) {
		mm_collect_segment(l, map, m);
		return 0;
	}
	int r = collect_backing(l, map, m, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int collect_mappings(struct collector *l, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	struct proc_map *maps = NULL;
	size_t n = 0;
	int r = mm_read_smaps(l->c, l->task, &text, err);

	if (r < 0)
		return error_trace(err, r);
	r = proc_maps_parse(text, &maps, &n, err);
	for (size_t i = 0; i < n && r >= 0; i++)
		r = collect_mapping(l, &maps[i], err);
	proc_maps_free(maps, n);
	return r < 0 ? error_trace(err, r) : 0;
}

static int collect_layout(struct collector *l, struct error *err)
{
	const struct proc_stat *stat = &l->task->stat;
	MmState *s = l->state;
	char *auxv = NULL;
	size_t size = 0;

	s->start_code = stat->start_code;
	s->end_code = stat->end_code;
	s->start_data = stat->start_data;
	s->end_data = stat->end_data;
	s->start_brk = stat->start_brk;
	s->start_stack = stat->start_stack;
	s->arg_start = stat->arg_start;
	s->arg_end = stat->arg_end;
	s->env_start = stat->env_start;
	s->env_end = stat->env_end;
	int r = task_read(l->task, "auxv", &auxv, &size, err);
	if (r < 0)
		return error_trace(err, r);
	s->auxv.data = (uint8_t *)auxv;
	s->auxv.len = size;
	return 0;
}

static int collect_exe(struct collector *l, struct error *err)
{
	_cleanup_(free_p) char *link = NULL;
	struct object *object = NULL;
	int r = task_readlink(l->task, "exe", &link, err);

	if (r < 0)
		return error_trace(err, r);
	_cleanup_(close_p) int fd = task_openat(l->task, "exe", O_PATH | O_CLOEXEC);
	if (fd < 0)
		return error_raise(err, -fd, "opening the exe link");
	const struct descriptor d = { .task = l->task, .live = fd, .what = "exe", .link = link };
	r = link_collect(l->c, &d, &object, err);
	if (r < 0)
		return error_trace(err, r);
	l->state->exe = object ? object->id : 0;
	if (!object || object->kind != &regfile_kind || !place_forbids(fd, ST_NOEXEC))
		return 0;
	struct error refusal;
	error_refuse(&refusal, CODE_mount_forbids,
	             "its program was started before the mount that it is on became noexec");
	error_object(&refusal, "exe %s", link);
	refuse(l->c, l->task, &refusal);
	return 0;
}

/* VmLck of /proc/PID/status, bytes; what mm->locked_vm counts */
static uint64_t locked_bytes(const struct task *task)
{
	_cleanup_(free_p) char *text = NULL;
	struct error ignored;

	if (task_read(task, "status", &text, NULL, &ignored) < 0)
		return 0;
	const char *line = strstr(text, "\nVmLck:");
	return line ? strtoull(line + 7, NULL, 10) * 1024 : 0;
}

/* whether a page that was just mapped for reading is there: mlockall without MCL_ONFAULT */
static int page_present(const struct task *task, uint64_t address, bool *ret, struct error *err)
{
	uint64_t entry = 0;
	_cleanup_(close_p) int fd = task_openat(task, "pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_raise(err, -fd, "opening pagemap");
	int r = pagemap_entries(fd, address, &entry, 1, err);
	*ret = entry & PAGEMAP_PRESENT;
	return r < 0 ? error_trace(err, r) : 0;
}

/*
 * The kernel tells nobody whether mlockall(MCL_FUTURE) is in force. A page mapped by the task
 * itself shows it: VmLck grows, and without MCL_ONFAULT the page is there at once. It is unmapped
 * again, by the tracer if we fail meanwhile; if that dies in between, one inert page stays.
 */
static int collect_lock_future(struct collector *l, long probe, uint64_t locked_before,
                               struct error *err)
{
	struct injection unmap = { .nr = SYS_munmap, .arg = { (uint64_t)probe, MM_PAGE } };
	struct error refusal = ERROR_INIT;
	bool present = false;
	int r = 0;

	if (probe < 0) {
		error_refuse(&refusal, CODE_mm_lock_future,
		             "a page cannot be mapped to see whether mlockall(MCL_FUTURE) is in "
		             "force: %s",
		             strerror((int)-probe));
		error_hint(&refusal,
		           "give it room for one more page: prlimit --pid %d --as or "
		           "--data, or as root, who has CAP_IPC_LOCK, --memlock",
		           l->task->tgid);
		refuse(l->c, l->task, &refusal);
		return 0;
	}
	if (locked_bytes(l->task) > locked_before) {
		l->state->lock_future = MCL_FUTURE;
		r = page_present(l->task, (uint64_t)probe, &present, err);
		if (!present)
			l->state->lock_future |= MCL_ONFAULT;
	}
	int r2 = tracer_inject(l->c->tracer, l->task->tid, &unmap, 1, NULL, r < 0 ? &refusal : err);
	return r < 0 || r2 < 0 ? error_trace(err, r < 0 ? r : r2) : 0;
}

/* what only the task itself can ask */
static int collect_inside(struct collector *l, struct error *err)
{
	struct injection calls[2 + MM_PKEYS] = {
		{ .nr = SYS_brk },
		{ .nr = SYS_mmap,
		  .arg = { 0, MM_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		           (uint64_t)-1 } },
	};
	size_t n = feature(FEATURE_pkeys) ? 2 + MM_PKEYS : 2;

	if (!l->c->tracer) {
		check_unexamined(l->c, l->task, "brk and mlockall(MCL_FUTURE)",
		                 CODE_mm_lock_future);
		return 0;
	}
	uint64_t locked = locked_bytes(l->task);
	mm_pkeys_ask(calls + 2);
	int r = tracer_inject(l->c->tracer, l->task->tid, calls, n, NULL, err);
	if (r == -EOPNOTSUPP) {
		refuse(l->c, l->task, err);
		return 0;
	}
	if (r < 0)
		return error_trace(err, r);
	l->state->brk = (uint64_t)calls[0].result;
	l->state->pkeys = mm_pkeys_answer(calls + 2);
	return collect_lock_future(l, calls[1].result, locked, err);
}

static bool has_vdso(const MmState *s)
{
	for (size_t i = 0; i < s->n_mappings; i++)
		if (s->mappings[i]->backing == MM_STATE__MAPPING__BACKING__KERNEL &&
		    s->mappings[i]->name.len == 6 &&
		    !memcmp(s->mappings[i]->name.data, "[vdso]", 6))
			return true;
	return false;
}

/* a check, which holds nobody, may meet a program that execve(2) is loading: it gets one then */
static bool gets_vdso(const struct checkpoint *c, const struct task *task)
{
	for (unsigned looks = 0; !c->tracer && looks < 20; looks++) {
		_cleanup_(free_p) char *text = NULL;
		struct error ignored;
		if (task_read(task, "maps", &text, NULL, &ignored) < 0 || strstr(text, "[vdso]"))
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return false;
}

static void collector_done(struct collector *l)
{
	close_p(&l->merged);
	close_p(&l->file);
}

int mm_collect_state(struct checkpoint *c, struct task *task, struct object *object,
                     struct error *err)
{
	_cleanup_(collector_done) struct collector l = {
		.c = c, .task = task, .state = xmalloc(sizeof(*l.state)), .merged = -1, .file = -1
	};
	struct error refusal = ERROR_INIT;

	mm_state__init(l.state);
	object->message = &l.state->base;
	l.mm = mm_live(object);
	l.mm->task = task;
	int r = collect_mappings(&l, err);
	if (r >= 0)
		r = collect_layout(&l, err);
	if (r >= 0)
		r = collect_exe(&l, err);
	if (r >= 0)
		r = mm_collect_policies(c, task, l.state, err);
	if (r >= 0)
		r = collect_inside(&l, err);
	if (r < 0)
		return error_trace(err, r);
	if (!has_vdso(l.state) && !gets_vdso(c, task)) {
		error_refuse(&refusal, CODE_mm_vdso, "the program has unmapped its vDSO");
		refuse(c, task, &refusal);
	}
	return 0;
}

int mm_vdso_hash(pid_t pid, uint64_t start, uint64_t size, uint64_t *ret, struct error *err)
{
	if (size > MM_STAGING)
		return error_raise(err, EINVAL, "a vDSO of %llu bytes", (unsigned long long)size);
	_cleanup_(free_p) void *buffer = xmalloc(size);
	struct iovec local = { buffer, size }, remote = { (void *)(uintptr_t)start, size };
	ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);

	if (n != (ssize_t)size)
		return error_raise(err, n < 0 ? errno : EFAULT, "reading the vDSO of %d", (int)pid);
	*ret = XXH3_64bits(buffer, size);
	return 0;
}
