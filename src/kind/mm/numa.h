/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NUMA policies of mappings (mbind(2)), as /proc/PID/numa_maps shows them. */
#pragma once

#include "mm.pb-c.h"
#include "util/error.h"

struct checkpoint;
struct stub;
struct task;

/* fills state->policies and each mapping's policy; kernels without CONFIG_NUMA have none */
int mm_collect_policies(struct checkpoint *c, struct task *task, MmState *state, struct error *err);
/* mode and nodes of "bind=static:0-1,3" and the like; -EINVAL when it is none that is known */
int mm_policy_parse(const char *text, uint32_t *ret_mode, uint64_t *ret_nodes);
/* queues the mbind of each mapping that has a policy */
void mm_install_policies(const MmState *state, struct stub *stub);
/* checks what an image says of them */
int mm_validate_policies(const MmState *state, struct error *err);
