/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of System V semaphores of an IPC namespace that goes along; kind/ipc_ns.c makes them. */
#include "ipc/ipc.h"
#include "kind/ipc_ns.h"

#define VALUES_MAX 32000 /* SEMMSL as high as it goes: kernel.sem */
#define VALUE_MAX  32767 /* SEMVMX */

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const IpcSemState *s = object_state(object, IpcSemState);
	int r = ipc_ns_validate(objects, s->ns, s->perm, 0777, err);

	if (r < 0)
		return error_trace(err, r);
	if (s->n_values == 0 || s->n_values > VALUES_MAX)
		return error_raise(err, EBADMSG, "%zu semaphores in a set", s->n_values);
	for (size_t i = 0; i < s->n_values; i++)
		if (s->values[i] > VALUE_MAX)
			return error_raise(err, EBADMSG, "a semaphore of value %u", s->values[i]);
	return 0;
}

const struct kind ipc_sem_kind = {
	.name = "ipc_sem",
	.number = 82,
	.message = &ipc_sem_state__descriptor,
	.validate = validate,
};
