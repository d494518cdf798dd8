/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Contents of shared memory. See contents.h. */
#include "kind/shmem/contents.h"

#include <sys/uio.h>
#include <unistd.h>

#include "kind/bulk.h"

int shmem_contents_save(struct checkpoint *c, const struct object *object, int fd, uint64_t size,
                        struct error *err)
{
	return bulk_save_file(c, object, fd, size, "shared memory", err);
}

/* to ourselves: where no huge page is to be had this is an error and no SIGBUS */
static int put_in_map(void *context, uint64_t start, const char *at, size_t size, struct error *err)
{
	for (size_t done = 0; done < size;) {
		struct iovec from = { (void *)(at + done), size - done },
			     to = { (char *)context + start + done, size - done };
		ssize_t n = process_vm_writev(getpid(), &from, 1, &to, 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_raise(err, n < 0 ? errno : EIO, "writing shared memory");
		done += (size_t)n;
	}
	return 0;
}

int shmem_contents_write(int fd, char *map, uint64_t size_bytes, const struct page_block *block,
                         struct error *err)
{
	return bulk_restore(block, size_bytes, "shared memory", map ? put_in_map : bulk_put_file,
	                    map ? (void *)map : (void *)&fd, err);
}
