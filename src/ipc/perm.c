/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ids, keys, owners, creators. See perm.h. */
#include "ipc/perm.h"

#include <fcntl.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

IpcPerm *ipc_perm_new(int id, const struct ipc_perm *perm)
{
	IpcPerm *p = xmalloc(sizeof(*p));

	ipc_perm__init(p);
	p->id = id;
	p->key = (uint32_t)perm->__key;
	p->uid = perm->uid;
	p->gid = perm->gid;
	p->cuid = perm->cuid;
	p->cgid = perm->cgid;
	p->mode = perm->mode;
	return p;
}

void ipc_perm_set(struct ipc_perm *perm, const IpcPerm *from)
{
	perm->uid = from->uid;
	perm->gid = from->gid;
	perm->mode = from->mode & 0777;
}

static int next_id(const char *sort, int id, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/sys/kernel/%s_next_id", sort);
	int r = file_write(path, err, "%d", id);

	return r < 0 ? error_trace(err, r) : 0;
}

/* by system calls, for the C library's functions are for all threads */
int ipc_perm_become(uint32_t uid, uint32_t gid, struct error *err)
{
	if (prctl(PR_SET_SECUREBITS, prctl(PR_GET_SECUREBITS) | SECBIT_NO_SETUID_FIXUP) < 0)
		return error_raise(err, errno, "keep capabilities under other user ids");
	if (syscall(SYS_setresgid, -1, gid, -1) < 0 || syscall(SYS_setresuid, -1, uid, -1) < 0)
		return error_raise(err, errno, "become user %u, group %u", uid, gid);
	return 0;
}

int ipc_perm_make(const char *sort, const IpcPerm *perm, struct error *err)
{
	int r = next_id(sort, perm->id, err);

	if (r == 0)
		r = ipc_perm_become(perm->cuid, perm->cgid, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int ipc_perm_made(const char *sort, const IpcPerm *perm, int id, struct error *err)
{
	int saved = errno;
	int r = ipc_perm_become(getuid(), getgid(), err);

	if (r < 0)
		return error_trace(err, r);
	if (id < 0)
		return error_raise(err, saved, "make the %s object %d, key %x", sort, perm->id,
		                   perm->key);
	if (id != perm->id)
		return error_raise(err, EEXIST, "the %s object %d, key %x, got the id %d", sort,
		                   perm->id, perm->key, id);
	return 0;
}
