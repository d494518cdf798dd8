/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared anonymous memory. The kernel makes a file without a name for it; map_files gives a
 * descriptor of that, which every address space that shares it maps again at restart. To whom
 * map_files is closed, it is what the tasks have mapped; and at restart all stubs inherit it, and
 * map it where it was once more.
 */
#include "kind/shmem.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/features.h"
#include "image/image.h"
#include "kind/mm.h"
#include "kind/mm/flags.h"
#include "kind/shmem/contents.h"
#include "kind/shmem/seen.h"
#include "mm.pb-c.h"
#include "proc/maps.h"
#include "shmem.pb-c.h"
#include "task/holders.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define PAGE           4096ull
#define SIZE_MAX_BYTES (1ull << 46)

static const char shared_name[] = "/dev/zero (deleted)";
static const char huge_name[] = "/anon_hugepage (deleted)";

/* object->live */
struct shmem {
	/* checkpoint */
	const struct task *task; /* one that maps it */
	dev_t dev;
	ino_t ino;
	char *path;             /* its map_files link; NULL: seen */
	struct shmem_seen seen; /* without that */
	/* restart */
	int fd;    /* the file; -1 = none (yet) */
	char *map; /* of huge pages, which write(2) does not take, or inherited */
	size_t size;
	bool inherited;
	bool mapped, reserve; /* by a mapping; it is not MAP_NORESERVE */
};

static struct shmem *live(struct object *object)
{
	if (!object->live) {
		struct shmem *m = xcalloc(1, sizeof(*m));
		m->fd = -1;
		object->live = m;
	}
	return object->live;
}

dev_t shmem_device(void)
{
	static dev_t device;
	char line[512];
	unsigned major_number, minor_number;
	unsigned long long start;

	if (device)
		return device;
	void *page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	_cleanup_(fclose_p) FILE *f = fopen("/proc/self/maps", "re");
	while (page != MAP_FAILED && f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx-%*x %*s %*x %x:%x", &start, &major_number, &minor_number) ==
		            3 &&
		    start == (uintptr_t)page)
			device = makedev(major_number, minor_number);
	if (page != MAP_FAILED)
		munmap(page, PAGE);
	return device;
}

static bool claims(const struct descriptor *d)
{
	if (d->fd >= 0)
		return false;
	if (!strcmp(d->link, huge_name))
		return true; /* only mm asks, after a look at VmFlags */
	return !strcmp(d->link, shared_name) && d->st.st_dev == shmem_device();
}

static int collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                              struct error *err)
{
	const uint64_t key[] = { d->st.st_dev, d->st.st_ino };
	bool is_new = false;
	struct object *object = objects_get(c->objects, &shmem_kind, key, sizeof(key), &is_new);

	*ret = object;
	if (!is_new)
		return 0;
	ShmemState *s = xmalloc(sizeof(*s));
	shmem_state__init(s);
	object->message = &s->base;
	s->size = (uint64_t)d->st.st_size;
	if (!strcmp(d->link, huge_name)) {
		s->huge_shift = (uint32_t)__builtin_ctzll((uint64_t)d->st.st_blksize | 1ull << 40);
	}
	live(object)->task = d->task;
	live(object)->dev = d->st.st_dev;
	live(object)->ino = d->st.st_ino;
	live(object)->path = xstrdup(d->source);
	return 0;
}

static bool has_no_file(const struct proc_map *map)
{
	/* the second is what the program has called it, PR_SET_VMA_ANON_NAME */
	return map->shared && map->dev == shmem_device() &&
	       (!strcmp(map->name, shared_name) || !strncmp(map->name, "[anon_shmem:", 12));
}

struct object *shmem_seen_by(struct checkpoint *c, const struct task *task,
                             const struct proc_map *map)
{
	const uint64_t key[] = { map->dev, map->inode };
	bool is_new = false;

	if (!has_no_file(map))
		return NULL;
	struct object *object = objects_get(c->objects, &shmem_kind, key, sizeof(key), &is_new);
	struct shmem *m = live(object);
	if (is_new) {
		ShmemState *s = xmalloc(sizeof(*s));
		shmem_state__init(s);
		object->message = &s->base;
		m->task = task;
		m->dev = map->dev;
		m->ino = map->inode;
	}
	shmem_seen_add(&m->seen, task, map, true);
	return object;
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	ShmemState *s = object_state(object, ShmemState);
	struct shmem *m = live(object);
	const struct holder *holder;
	int r = holders_find(c, m->dev, m->ino, &holder, err);

	if (r > 0)
		refuse_leak(c, m->task, "shared anonymous memory", NULL, holder);
	if (r >= 0 && !m->path)
		r = shmem_seen_judge(c, &m->seen, "shared anonymous memory", &s->size, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static uint64_t bulk_bytes(struct object *object)
{
	struct stat st;

	if (!live(object)->path)
		return shmem_seen_bytes(&live(object)->seen);
	return stat(live(object)->path, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

static int save_bulk(struct checkpoint *c, struct object *object, struct error *err)
{
	const ShmemState *s = object_state(object, ShmemState);
	struct shmem *m = live(object);

	if (!m->path) {
		int r = shmem_seen_save(c, object, &m->seen, err);
		return r < 0 ? error_trace(err, r) : 0;
	}
	_cleanup_(close_p) int fd = open(m->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		int r = error_raise(err, errno, "opening shared memory %s", m->path);
		error_task(err, m->task->tid, m->task->comm);
		return r;
	}
	int r = shmem_contents_save(c, object, fd, s->size, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const ShmemState *s = object_state(object, ShmemState);
	bool huge = s->huge_shift != 0;

	if (s->size == 0 || s->size % PAGE || s->size > SIZE_MAX_BYTES)
		return error_raise(err, EBADMSG, "shared memory of %llu bytes",
		                   (unsigned long long)s->size);
	if (huge &&
	    (s->huge_shift < 16 || s->huge_shift > 34 || s->size & ((1ull << s->huge_shift) - 1)))
		return error_raise(err, EBADMSG, "shared memory of pages of 2^%u bytes",
		                   s->huge_shift);
	return 0;
}

/* ---- restart, where map_files is closed to us ---- */

static bool is_first(const struct restart *r, const struct object *object)
{
	size_t cursor = 0;

	return objects_next(r->objects, &shmem_kind, &cursor) == object;
}

static void refuse_mapping(struct restart *r, const char *what)
{
	struct error refusal = ERROR_INIT;

	error_refuse(&refusal, CODE_not_supported,
	             "%s needs CAP_CHECKPOINT_RESTORE (for /proc/PID/map_files)", what);
	restart_refuse(r, &refusal);
}

/* mappings that are made of the inherited one are as that is */
static void note_mapping(struct restart *r, const MmState__Mapping *m)
{
	struct object *o = m->object ? objects_by_id(r->objects, m->object) : NULL;
	bool reserve = !(m->flags & MM_NORESERVE);

	if (!o || o->kind != &shmem_kind)
		return;
	struct shmem *shmem = live(o);
	if (!(m->flags & MM_SHARED) || !(m->flags & MM_MAY_WRITE))
		refuse_mapping(r,
		               "shared anonymous memory that is mapped privately or for reading");
	else if (shmem->mapped && shmem->reserve != reserve)
		refuse_mapping(r, "shared anonymous memory with and without MAP_NORESERVE");
	shmem->mapped = true;
	shmem->reserve = reserve;
}

static int preflight(struct restart *r, struct object *object, struct error *err)
{
	size_t cursor = 0;

	if (feature(FEATURE_map_files))
		return 0;
	live(object)->inherited = true;
	if (object_state(object, ShmemState)->huge_shift)
		refuse_mapping(r, "shared anonymous memory of huge pages");
	if (!is_first(r, object))
		return 0;
	for (struct object *o; (o = objects_next(r->objects, &mm_kind, &cursor));) {
		const MmState *s = object_state(o, MmState);
		for (size_t i = 0; i < s->n_mappings; i++)
			note_mapping(r, s->mappings[i]);
	}
	return 0;
}

/* all of it together, where it is in nobody's way */
static int prepare(struct restart *r, struct object *object, struct error *err)
{
	uint64_t at, size = 0;
	size_t cursor = 0;

	if (!live(object)->inherited || !is_first(r, object))
		return 0;
	for (struct object *o; (o = objects_next(r->objects, &shmem_kind, &cursor));)
		size += object_state(o, ShmemState)->size;
	int e = mm_hole(r->objects, size, &at, err);
	if (e < 0)
		return error_trace(err, e);
	r->inherited = (struct range){ at, at + size };
	cursor = 0;
	for (struct object *o; (o = objects_next(r->objects, &shmem_kind, &cursor));) {
		struct shmem *m = live(o);
		m->size = object_state(o, ShmemState)->size;
		m->map = mmap((void *)at, m->size, PROT_READ | PROT_WRITE,
		              MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE |
		                      (m->reserve ? 0 : MAP_NORESERVE),
		              -1, 0);
		if (m->map == MAP_FAILED) {
			m->map = NULL;
			return error_raise(err, errno, "mapping %zu bytes of shared memory",
			                   m->size);
		}
		at += m->size;
	}
	return 0;
}

static bool is_inherited(const struct object *object)
{
	return ((const struct shmem *)object->live)->inherited;
}

static int attach(struct restart *r, struct object *object, struct stub *stub,
                  const struct attachment *a, struct error *err)
{
	const struct shmem *m = live(object);

	if (a->offset >= m->size)
		return error_raise(err, EBADMSG,
		                   "a mapping of shared memory begins behind its end");
	CALL(stub->calls, mremap, (uintptr_t)m->map + a->offset, 0, a->size,
	     MREMAP_MAYMOVE | MREMAP_FIXED, a->start);
	if (a->prot != (PROT_READ | PROT_WRITE))
		CALL(stub->calls, mprotect, a->start, a->size, (uint64_t)a->prot);
	return 0;
}

/* ---- restart ---- */

static int restore(struct restart *r, struct object *object, struct error *err)
{
	const ShmemState *s = object_state(object, ShmemState);
	char path[64];
	int flags = MAP_SHARED | MAP_ANONYMOUS;

	if (live(object)->inherited)
		return 0;
	if (s->huge_shift)
		flags |= MAP_HUGETLB | (int)(s->huge_shift << 26);
	char *p = mmap(NULL, s->size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (p == MAP_FAILED && errno == ENOMEM) /* more than there is: it was not reserved either */
		p = mmap(NULL, s->size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return error_raise(err, errno, "mapping %llu bytes of shared memory",
		                   (unsigned long long)s->size);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)p,
	         (unsigned long)(p + s->size));
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int saved = errno;
	if (s->huge_shift) {
		live(object)->map = p;
		live(object)->size = s->size;
	} else {
		munmap(p, s->size);
	}
	if (fd < 0)
		return error_raise(err, saved, "opening %s", path);
	live(object)->fd = fd;
	return 0;
}

static int restore_bulk(struct restart *r, struct object *object, const struct page_block *block,
                        struct error *err)
{
	const ShmemState *s = object_state(object, ShmemState);
	const struct shmem *m = live(object);
	int e = shmem_contents_write(m->fd, m->map, s->size, block, err);

	return e < 0 ? error_trace(err, e) : 0;
}

static int open_shmem(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
                      struct error *err)
{
	int fd = fcntl(live(object)->fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return error_raise(err, errno, "duplicating shared memory");
	*ret_fd = fd;
	return 0;
}

static void release(struct object *object)
{
	struct shmem *m = object->live;

	if (!m)
		return;
	close_p(&m->fd);
	if (m->map)
		munmap(m->map, m->size);
	shmem_seen_done(&m->seen);
	free(m->path);
	free(m);
	object->live = NULL;
}

const struct kind shmem_kind = {
	.name = "shmem",
	.number = 11,
	.message = &shmem_state__descriptor,
	.judge = judge,
	.save_bulk = save_bulk,
	.bulk_bytes = bulk_bytes,
	.validate = validate,
	.preflight = preflight,
	.prepare = prepare,
	.restore = restore,
	.restore_bulk = restore_bulk,
	.release = release,
	.claims = claims,
	.collect_descriptor = collect_descriptor,
	.open = open_shmem,
	.attach = attach,
	.is_inherited = is_inherited,
};
