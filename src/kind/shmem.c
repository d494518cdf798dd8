/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared anonymous memory. The kernel makes a file without a name for it; map_files gives a
 * descriptor of that, which every address space that shares it maps again at restart.
 */
#include "kind/shmem.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/features.h"
#include "image/image.h"
#include "kind/shmem/contents.h"
#include "shmem.pb-c.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define PAGE           4096ull
#define SIZE_MAX_BYTES (1ull << 46)

static const char shared_name[] = "/dev/zero (deleted)";
static const char huge_name[] = "/anon_hugepage (deleted)";

/* object->live */
struct shmem {
	const struct task *task; /* checkpoint: one that maps it */
	char *path;              /* checkpoint: its map_files link */
	int fd;                  /* restart: the file; -1 = none yet */
	char *huge;              /* restart: of huge pages, which write(2) does not take */
	size_t size;             /* of huge */
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

/* "mapping 7f...-7f..." as mm calls it */
static char *map_file_path(const struct descriptor *d)
{
	return xasprintf("/proc/%d/map_files/%s", (int)d->task->tgid, strrchr(d->what, ' ') + 1);
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
	live(object)->path = map_file_path(d);
	return 0;
}

static uint64_t bulk_bytes(struct object *object)
{
	struct stat st;

	return stat(live(object)->path, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

static int save_bulk(struct checkpoint *c, struct object *object, struct error *err)
{
	const ShmemState *s = object_state(object, ShmemState);
	struct shmem *m = live(object);
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

static int preflight(struct restart *r, struct object *object, struct error *err)
{
	struct error refusal = ERROR_INIT;

	if (feature(FEATURE_cap_checkpoint_restore) || feature(FEATURE_cap_sys_admin))
		return 0;
	error_refuse(
		&refusal, CODE_not_supported,
		"shared anonymous memory needs CAP_CHECKPOINT_RESTORE (for /proc/PID/map_files)");
	restart_refuse(r, &refusal);
	return 0;
}

static int restore(struct restart *r, struct object *object, struct error *err)
{
	const ShmemState *s = object_state(object, ShmemState);
	char path[64];
	int flags = MAP_SHARED | MAP_ANONYMOUS;

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
		live(object)->huge = p;
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
	int e = shmem_contents_write(m->fd, m->huge, s->size, block, err);

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
	if (m->huge)
		munmap(m->huge, m->size);
	free(m->path);
	free(m);
	object->live = NULL;
}

const struct kind shmem_kind = {
	.name = "shmem",
	.number = 11,
	.message = &shmem_state__descriptor,
	.save_bulk = save_bulk,
	.bulk_bytes = bulk_bytes,
	.validate = validate,
	.preflight = preflight,
	.restore = restore,
	.restore_bulk = restore_bulk,
	.release = release,
	.claims = claims,
	.collect_descriptor = collect_descriptor,
	.open = open_shmem,
};
