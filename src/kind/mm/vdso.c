/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vDSO and its data pages. See vdso.h. */
#include "kind/mm/vdso.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/arch.h"
#include "core/restart.h"
#include "kind/mm.h"
#include "kind/mm/mm.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static const char *const names[] = { "[vdso]", "[vvar]", "[vvar_vclock]" };

/* where the coordinator has them, all stubs as well until they are moved */
static int own_places(struct vdso_place ret[VDSO_N], struct error *err)
{
	char line[512];
	_cleanup_(fclose_p) FILE *f = fopen("/proc/self/maps", "re");

	if (!f)
		return error_raise(err, errno, "opening /proc/self/maps");
	memset(ret, 0, VDSO_N * sizeof(ret[0]));
	while (fgets(line, sizeof(line), f)) {
		unsigned long long start, end;
		line[strcspn(line, "\n")] = '\0';
		const char *name = strrchr(line, ' ');
		if (!name || sscanf(line, "%llx-%llx", &start, &end) != 2)
			continue;
		for (size_t i = 0; i < VDSO_N; i++)
			if (!strcmp(name + 1, names[i]))
				ret[i] = (struct vdso_place){ start, end - start };
	}
	return 0;
}

static void recorded_places(const MmState *s, struct vdso_place ret[VDSO_N])
{
	memset(ret, 0, VDSO_N * sizeof(ret[0]));
	for (size_t i = 0; i < s->n_mappings; i++) {
		const Mapping *m = s->mappings[i];
		if (m->backing != MM_STATE__MAPPING__BACKING__KERNEL)
			continue;
		for (size_t k = 0; k < VDSO_N; k++)
			if (m->name.len == strlen(names[k]) &&
			    !memcmp(m->name.data, names[k], m->name.len))
				ret[k] = (struct vdso_place){ m->start, m->size };
	}
}

int vdso_fits(const MmState *s, struct error *refusal)
{
	struct vdso_place here[VDSO_N], there[VDSO_N];
	struct error err = ERROR_INIT;
	uint64_t hash = 0;

	recorded_places(s, there);
	bool same = own_places(here, &err) >= 0 && here[0].size == there[0].size &&
	            mm_vdso_hash(getpid(), here[0].start, here[0].size, &hash, &err) >= 0 &&
	            hash == s->vdso_hash;
	/*
	 * a program may have unmapped its data pages, but there must be nothing this kernel lacks
	 */
	for (size_t i = 0; i < VDSO_N && same; i++)
		same = there[i].size == 0 || there[i].size == here[i].size;
	if (same)
		return 0;
	error_refuse(refusal, CODE_mm_vdso_differs,
	             "this kernel's vDSO is not the one that the programs were using");
	error_hint(refusal,
	           "restart it under the kernel it was checkpointed under: an image does not "
	           "outlive a kernel update yet");
	return -EOPNOTSUPP;
}

int vdso_syscall(const MmState *s, uint64_t *ret, struct error *err)
{
	struct vdso_place here[VDSO_N], there[VDSO_N];
	bool pops;
	int r = own_places(here, err);

	if (r < 0)
		return error_trace(err, r);
	/* the same by content: vdso_fits() */
	ssize_t offset = arch_find_syscall((const uint8_t *)(uintptr_t)here[0].start, here[0].size,
	                                   &pops);
	if (offset < 0)
		return error_raise(err, ENOENT, "find a system call instruction in the vDSO");
	recorded_places(s, there);
	*ret = there[0].start + (uint64_t)offset;
	return 0;
}

static void queue_move(struct stub *stub, const struct vdso_place *from, uint64_t to)
{
	if (from->size && from->start != to)
		CALL(stub->calls, mremap, from->start, from->size, from->size,
		     MREMAP_MAYMOVE | MREMAP_FIXED, to);
}

static bool overlap(const struct vdso_place *a, const struct vdso_place *b)
{
	return a->size && b->size && a->start < b->start + b->size && b->start < a->start + a->size;
}

/* whether something of the coordinator's lies where this layout wants something else */
static bool in_the_way(const struct vdso_place here[VDSO_N], const struct vdso_place there[VDSO_N])
{
	for (size_t i = 0; i < VDSO_N; i++)
		for (size_t k = 0; k < VDSO_N; k++)
			if (overlap(&here[i], &there[k]) &&
			    !(i == k && here[i].start == there[k].start))
				return true;
	return false;
}

/* queues the moves into the staging area; @places: where they are, then where they come to be */
static int queue_staging(struct restart *r, struct stub *stub, struct vdso_place places[VDSO_N],
                         struct error *err)
{
	uint64_t staging = 0;
	int ret = mm_hole(r->objects, MM_PAGE, &staging, err);

	if (ret < 0)
		return error_trace(err, ret);
	staging += MM_PAGE;
	for (size_t i = 0; i < VDSO_N; i++) {
		queue_move(stub, &places[i], staging);
		places[i].start = staging;
		staging += places[i].size;
	}
	return 0;
}

int vdso_stage(struct restart *r, struct stub *stub, struct vdso_places *ret_places,
               struct error *err)
{
	int ret = own_places(ret_places->at, err);

	if (ret >= 0)
		ret = queue_staging(r, stub, ret_places->at, err);
	if (ret >= 0)
		ret = calls_run(stub->calls, err);
	return ret < 0 ? error_trace(err, ret) : 0;
}

/*
 * A mapping cannot be moved onto a place that overlaps its own, and one must not land on another:
 * then all go by way of the staging area.
 */
int vdso_move(struct restart *r, const MmState *s, struct stub *stub,
              const struct vdso_places *staged, struct error *err)
{
	struct vdso_place here[VDSO_N], there[VDSO_N];
	int ret = own_places(here, err);

	if (ret < 0)
		return error_trace(err, ret);
	recorded_places(s, there);
	if (staged)
		memcpy(here, staged->at, sizeof(here));
	else if (in_the_way(here, there))
		ret = queue_staging(r, stub, here, err);
	if (ret < 0)
		return error_trace(err, ret);
	for (size_t i = 0; i < VDSO_N; i++) {
		if (there[i].size)
			queue_move(stub, &here[i], there[i].start);
		else if (here[i].size)
			CALL(stub->calls, munmap, here[i].start, here[i].size);
	}
	ret = calls_run(stub->calls, err);
	return ret < 0 ? error_trace(err, ret) : 0;
}
