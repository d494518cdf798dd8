/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System V shared memory. A segment is a file of the kernel's own tmpfs (or hugetlbfs); attaching
 * it for a moment gives a link in map_files, and so the file, whose holes can be seen.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/shm.h>

#include "host/features.h"
#include "ipc/ipc.h"
#include "ipc/perm.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15 /* 4.17 */
#endif
#define PAGE 4096ul

int ipc_shm_list(IpcShmState ***ret, size_t *ret_n, struct error *err)
{
	struct shm_info info;
	int last = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);

	if (last < 0)
		return error_raise(err, errno, "shmctl SHM_INFO");
	for (int i = 0; i <= last; i++) {
		struct shmid_ds ds;
		int id = shmctl(i, SHM_STAT_ANY, &ds);
		if (id < 0 && errno == EINVAL)
			continue;
		if (id < 0)
			return error_raise(err, errno, "shmctl SHM_STAT_ANY");
		IpcShmState *s = xmalloc(sizeof(*s));
		ipc_shm_state__init(s);
		s->perm = ipc_perm_new(id, &ds.shm_perm);
		s->size = ds.shm_segsz;
		*array_push(*ret, *ret_n) = s;
	}
	return 0;
}

static int stat_segment(int id, struct shmid_ds *ret, struct error *err)
{
	if (shmctl(id, IPC_STAT, ret) < 0)
		return error_raise(err, errno, "look at segment %d", id);
	return 0;
}

int ipc_shm_attached(int id, struct error *err)
{
	struct shmid_ds ds;
	int r = stat_segment(id, &ds, err);

	return r < 0 ? error_trace(err, r) : (int)ds.shm_nattch;
}

/* the mapping at @map, as /proc shows it: its end, and how large its pages are */
static uint64_t find_mapping(const void *map, uint64_t *ret_page)
{
	_cleanup_(fclose_p) FILE *f = fopen("/proc/thread-self/smaps", "re");
	unsigned long long start, at_end, end = 0, page;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx", &start, &at_end) == 2 && start == (uintptr_t)map)
			end = at_end;
		if (end && sscanf(line, "KernelPageSize: %llu kB", &page) == 1) {
			*ret_page = page << 10;
			return end;
		}
	}
	return 0;
}

/* -1: it may not be opened */
static int open_map(const void *map, uint64_t end, int flags, struct error *err)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%llx", (unsigned long)map,
	         (unsigned long long)end);
	int fd = open(path, flags | O_CLOEXEC);
	if (fd < 0 && errno == EPERM && !features_capability(CAP_CHECKPOINT_RESTORE) &&
	    !features_capability(CAP_SYS_ADMIN))
		return -1;
	return fd < 0 ? error_raise(err, errno, "open %s", path) : fd;
}

int ipc_shm_open(int id, bool writable, struct ipc_segment *ret, struct error *err)
{
	uint64_t page = PAGE;

	*ret = IPC_SEGMENT_INIT;
	ret->map = shmat(id, NULL, writable ? 0 : SHM_RDONLY);
	if (ret->map == (void *)-1) {
		ret->map = NULL;
		return error_raise(err, errno, "attach segment %d", id);
	}
	uint64_t end = find_mapping(ret->map, &page);
	int r = end ? open_map(ret->map, end, writable ? O_RDWR : O_RDONLY, err)
	            : error_raise(err, ENODATA, "find segment %d in our memory", id);
	if (r < -1) {
		ipc_shm_close(ret);
		return error_trace(err, r);
	}
	ret->fd = r;
	ret->huge_shift = page > PAGE ? (uint32_t)__builtin_ctzll(page) : 0;
	if (ret->fd >= 0 && !ret->huge_shift) {
		shmdt(ret->map);
		ret->map = NULL;
	}
	return 0;
}

void ipc_shm_close(struct ipc_segment *segment)
{
	if (segment->map)
		shmdt(segment->map);
	segment->map = NULL;
	close_p(&segment->fd);
}

static int get(const IpcShmState *s)
{
	int flags = IPC_CREAT | IPC_EXCL | (int)(s->perm->mode & 0777);

	if (s->huge_shift)
		flags |= SHM_HUGETLB | (int)(s->huge_shift << 26); /* SHM_HUGE_SHIFT */
	int id = shmget((key_t)s->perm->key, s->size, flags);
	if (id < 0 && errno == EEXIST && s->perm->mode & SHM_DEST) {
		flags &= ~IPC_EXCL;
		id = shmget(IPC_PRIVATE, s->size, flags); /* the key is another's now */
	}
	if (id < 0 && errno == ENOMEM) /* more than there is: it was not reserved either */
		id = shmget((key_t)s->perm->key, s->size, flags | SHM_NORESERVE);
	return id;
}

int ipc_shm_make(const IpcShmState *s, struct error *err)
{
	struct shmid_ds ds;
	int r = ipc_perm_make("shm", s->perm, err);

	if (r == 0)
		r = ipc_perm_made("shm", s->perm, get(s), err);
	if (r == 0)
		r = stat_segment(s->perm->id, &ds, err);
	if (r < 0)
		return error_trace(err, r);
	ipc_perm_set(&ds.shm_perm, s->perm);
	ds.shm_perm.mode |= 0777; /* for stubs, which may have no rights here any more */
	if (shmctl(s->perm->id, IPC_SET, &ds) < 0)
		return error_raise(err, errno, "set the owner of segment %d", s->perm->id);
	if (s->perm->mode & SHM_LOCKED && shmctl(s->perm->id, SHM_LOCK, NULL) < 0)
		return error_raise(err, errno, "lock segment %d", s->perm->id);
	return 0;
}

static int set_mode(const IpcPerm *perm, struct error *err)
{
	struct shmid_ds ds;
	int r = stat_segment(perm->id, &ds, err);

	if (r < 0)
		return error_trace(err, r);
	ds.shm_perm.mode = perm->mode & 0777;
	if (shmctl(perm->id, IPC_SET, &ds) < 0)
		return error_raise(err, errno, "set the mode of segment %d", perm->id);
	return 0;
}

int ipc_shm_settle(const IpcShmState *s, struct error *err)
{
	int r = set_mode(s->perm, err);

	if (r < 0)
		return error_trace(err, r);
	int n = s->perm->mode & SHM_DEST ? ipc_shm_attached(s->perm->id, err) : 0;

	if (n < 0)
		return error_trace(err, n);
	/* nobody has it: then it is no more, as soon as we are gone */
	if (s->perm->mode & SHM_DEST && shmctl(s->perm->id, IPC_RMID, NULL) < 0)
		return error_raise(err, errno, "remove segment %d", s->perm->id);
	return 0;
}
