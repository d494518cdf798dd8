/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of kinds, made from kinds.def, and the walk over those behind descriptors. */
#include <string.h>

#include "core/checkpoint.h"
#include "kind/kind.h"
#include "kind/mount.h"

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
