/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of kinds, made from kinds.def, and the walk over those behind descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/checkpoint.h"
#include "kind/kind.h"
#include "kind/mnt_ns.h"
#include "kind/mount.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"
#include "util/still.h"

#define KIND(number, name, covers) extern const struct kind name##_kind;
#include "kind/kinds.def"
#undef KIND

const struct kind *const kinds[] = {
#define KIND(number, name, covers) &name##_kind,
#include "kind/kinds.def"
#undef KIND
};
const size_t n_kinds = sizeof(kinds) / sizeof(kinds[0]);

const struct kind *kind_by_number(uint32_t number)
{
	for (size_t i = 0; i < n_kinds; i++)
		if (kinds[i]->number == number)
			return kinds[i];
	return NULL;
}

const struct kind *kind_by_name(const char *name)
{
	for (size_t i = 0; i < n_kinds; i++)
		if (!strcmp(kinds[i]->name, name))
			return kinds[i];
	return NULL;
}

int descriptor_collect(struct checkpoint *c, const struct descriptor *given, struct object **ret,
                       struct error *err)
{
	struct descriptor with_magic = *given;
	const struct descriptor *d = &with_magic;
	struct error refusal;

	if (d->live >= 0 && d->link[0] == '/')
		with_magic.magic = mount_magic(c, d->live);

	for (size_t i = 0; i < n_kinds; i++) {
		if (!kinds[i]->claims || !kinds[i]->claims(d))
			continue;
		int r = kinds[i]->collect_descriptor(c, d, ret, err);
		return r < 0 ? error_trace(err, r) : 0;
	}
	*ret = NULL;
	if (d->fd >= 0)
		error_refuse(&refusal, CODE_fd_unsupported, "%s is not supported", d->link);
	else
		error_refuse(&refusal, CODE_fd_unsupported, "%s: %s is not supported", d->what,
		             d->link);
	error_fd(&refusal, d->fd);
	refuse(c, d->task, &refusal);
	return 0;
}

/* a program's files are mapped by all who run it */
struct link_key {
	uint64_t mount, inode;
	uint32_t major, minor;
	const struct object *ns; /* of the set, in which the task looks at it */
	char text[];
};

static struct link_key *link_key(const struct task *task, const struct statx *sx, const char *link)
{
	struct link_key *key = xcalloc(1, sizeof(*key) + strlen(link));

	key->mount = sx->stx_mnt_id;
	key->inode = sx->stx_ino;
	key->major = sx->stx_dev_major;
	key->minor = sx->stx_dev_minor;
	key->ns = task_object(task, &mnt_ns_kind);
	memcpy(key->text, link, strlen(link));
	return key;
}

int link_collect(struct checkpoint *c, const struct descriptor *given, struct object **ret,
                 struct error *err)
{
	struct descriptor d = *given;
	unsigned mask = STATX_BASIC_STATS | STATX_MNT_ID;
	struct statx sx;

	if (statx(d.live, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, &sx) < 0)
		return error_raise(err, errno, "statx of %s", d.link);
	_cleanup_(free_p) struct link_key *key = link_key(d.task, &sx, d.link);
	size_t key_size = sizeof(*key) + strlen(d.link);
	if ((*ret = map_get(c->links, key, key_size)))
		return 0;
	if (still_fstat(d.live, &d.st) < 0)
		return error_raise(err, errno, "fstat of %s", d.link);
	d.fd = -1;
	d.flags = O_PATH;
	d.mnt_id = (uint32_t)sx.stx_mnt_id;
	int r = descriptor_collect(c, &d, ret, err);
	if (r < 0)
		return error_trace(err, r);
	if (*ret)
		map_put(c->links, key, key_size, *ret);
	return 0;
}
