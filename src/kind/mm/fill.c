/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restart: contents of memory, straight from the image into the stubs. See fill.h. */
#include "kind/mm/fill.h"

#include <sys/uio.h>
#include <unistd.h>

#include "core/progress.h"
#include "core/restart.h"
#include "kind/mm/mm.h"
#include "kind/mm/share.h"
#include "task/stub.h"

#define RUNS_MAX IMAGE_BLOCK_PAGES

/* through /proc/PID/mem, which writes to private pages whatever their protection */
static int write_forced(const struct fill_target *target, uint64_t address, const char *data,
                        size_t size, struct error *err)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pwrite(target->mem, data + done, size - done, (off_t)(address + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_raise(err, n < 0 ? errno : EIO, "writing memory at %llx of %d",
			                   (unsigned long long)(address + done), (int)target->pid);
		done += (size_t)n;
	}
	return 0;
}

int fill_data(const struct fill_target *target, const struct page_run *runs, uint32_t n,
              const void *data, struct error *err)
{
	struct iovec remote[RUNS_MAX];
	const char *at = data;

	while (n > 0) {
		size_t size = 0;
		for (uint32_t i = 0; i < n; i++) {
			remote[i] = (struct iovec){ (void *)(uintptr_t)(runs[i].start * MM_PAGE),
				                    runs[i].n_pages * MM_PAGE };
			size += remote[i].iov_len;
		}
		struct iovec local = { (void *)at, size };
		ssize_t got = process_vm_writev(target->pid, &local, 1, remote, n, 0);
		if (got == (ssize_t)size)
			return 0;
		size_t done = got < 0 ? 0 : (size_t)got;
		for (; n > 0 && done >= runs->n_pages * MM_PAGE; n--, runs++) {
			done -= runs->n_pages * MM_PAGE;
			at += runs->n_pages * MM_PAGE;
		}
		if (n == 0)
			return 0;
		int r = write_forced(target, runs->start * MM_PAGE, at, runs->n_pages * MM_PAGE,
		                     err);
		if (r < 0)
			return error_trace(err, r);
		at += runs->n_pages * MM_PAGE;
		runs++;
		n--;
	}
	return 0;
}

int fill_touch(const struct fill_target *target, uint64_t start, uint64_t n_pages)
{
	char byte[RUNS_MAX] = "";
	struct iovec remote[RUNS_MAX];

	for (uint64_t page = 0; page < n_pages;) {
		unsigned n = 0;
		for (; n < RUNS_MAX && page < n_pages; n++, page++)
			remote[n] = (struct iovec){ (void *)(uintptr_t)(start + page * MM_PAGE),
				                    1 };
		struct iovec local = { byte, n };
		/*
		 * what cannot be read (PROT_NONE) is as good untouched: it reads as zero then, too
		 */
		(void)process_vm_readv(target->pid, &local, 1, remote, n, 0);
	}
	return 0;
}

int fill_zero(const struct fill_target *target, uint64_t start, uint64_t n_pages, struct error *err)
{
	static const char zeros[16 * MM_PAGE];

	while (n_pages > 0) {
		uint32_t n = n_pages < 16 ? (uint32_t)n_pages : 16;
		struct page_run run = { start / MM_PAGE, n, 0 };
		int r = fill_data(target, &run, 1, zeros, err);
		if (r < 0)
			return error_trace(err, r);
		start += n * MM_PAGE;
		n_pages -= n;
	}
	return 0;
}

/* every page of a run must lie in mappings that have pages in the image; they may be several */
static int check_run(const MmState *s, const struct page_run *run, struct error *err)
{
	uint64_t at = run->start * MM_PAGE, end = at + run->n_pages * MM_PAGE;

	while (at < end) {
		const Mapping *m = mm_mapping_at(s, at, at + MM_PAGE);
		if (!m || !mm_has_pages(m))
			return error_raise(err, EBADMSG, "a page at %llx that no mapping has",
			                   (unsigned long long)at);
		at = m->start + m->size;
	}
	return 0;
}

/* a run of zero pages, mapping by mapping */
static int restore_zeros(const MmState *s, const struct fill_target *target,
                         const struct page_run *run, struct error *err)
{
	uint64_t at = run->start * MM_PAGE, end = at + run->n_pages * MM_PAGE;

	while (at < end) {
		const Mapping *m = mm_mapping_at(s, at, at + MM_PAGE);
		uint64_t stop = m->start + m->size < end ? m->start + m->size : end;
		int r = m->backing == MM_STATE__MAPPING__BACKING__ANONYMOUS
		                ? fill_touch(target, at, (stop - at) / MM_PAGE)
		                : fill_zero(target, at, (stop - at) / MM_PAGE, err);
		if (r < 0)
			return error_trace(err, r);
		at = stop;
	}
	return 0;
}

int mm_fill_block(struct object *object, const struct page_block *block, struct error *err)
{
	const MmState *s = object_state(object, MmState);
	const struct mm *mm = mm_live(object);
	struct page_run data[RUNS_MAX];
	uint32_t n = 0;
	int ret = 0;

	if (!mm->stub)
		return error_raise(err, EBADMSG, "no task has address space %u", object->id);
	struct fill_target target = { mm->stub->host_tid, mm->mem };
	for (uint32_t i = 0; i < block->n_runs && ret >= 0; i++) {
		ret = check_run(s, &block->runs[i], err);
		if (ret >= 0 && block->runs[i].zero)
			ret = restore_zeros(s, &target, &block->runs[i], err);
		else
			data[n++] = block->runs[i];
	}
	if (ret >= 0)
		ret = fill_data(&target, data, n, block->data, err);
	return ret < 0 ? error_trace(err, ret) : 0;
}

int mm_restore_bulk(struct restart *r, struct object *object, const struct page_block *block,
                    struct error *err)
{
	int ret = block->page_set ? mm_share_block(r, object, block, err)
	                          : mm_fill_block(object, block, err);

	return ret < 0 ? error_trace(err, ret) : 0;
}
