/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Weak stand-ins for parts of core/ that have not landed yet; each goes when its own does. */
#include "core/checkpoint.h"
#include "core/restart.h"

__attribute__((weak)) int checkpoint_run(const struct checkpoint_options *options,
                                         struct checkpoint_result *ret, struct error *err)
{
	return error_raise(err, ENOSYS, "checkpoint");
}

__attribute__((weak)) int checkpoint_check(const struct checkpoint_options *options,
                                           struct refusals *ret_refusals,
                                           struct refusals *ret_unexamined, struct error *err)
{
	return error_raise(err, ENOSYS, "check");
}

__attribute__((weak)) void refuse(struct checkpoint *c, const struct task *task,
                                  const struct error *refusal)
{
}

__attribute__((weak)) struct task *checkpoint_task(const struct checkpoint *c, pid_t tid)
{
	return NULL;
}
