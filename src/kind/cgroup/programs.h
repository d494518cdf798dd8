/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BPF programs that are attached to a cgroup of v2, bpf(2). Engines give each container a filter of
 * the devices that it may use: those are recorded and attached again. No other program is; they are
 * about sockets, or have maps that others read.
 *
 * What the kernel shows of a program is what its verifier has made of it. For a device filter,
 * whose context is passed as it is, that is a program again, as long as it calls nothing and has no
 * maps: whether the kernel would take it is tried at once. Who holds a program attached by a link
 * (BPF_LINK_CREATE) is outside; a new group has it attached by itself.
 */
#pragma once

#include "cgroup.pb-c.h"
#include "util/error.h"

/* what is told of a program that cannot come back; @type: of its attachment, "inet_ingress" */
typedef void cgroup_program_lost(void *arg, const char *type, const char *why);

/**
 * cgroup_programs_read() - record what is attached to one group
 * @dir:	the group's directory, of v2
 * @group:	gets the device filters and their flags
 * @lost:	called with @arg for each type of attachment with what cannot come back
 * Who has neither CAP_NET_ADMIN nor CAP_SYS_ADMIN is shown none, and finds none.
 */
int cgroup_programs_read(int dir, CgroupGroup *group, cgroup_program_lost *lost, void *arg,
                         struct error *err);
/* for validate(): counts, sizes, names, flags; what the instructions do is the kernel's to check */
int cgroup_programs_validate(const CgroupGroup *group, struct error *err);
/* whether this kernel takes them, and lets us attach them: an error of the first that it does not
 */
int cgroup_programs_try(const CgroupGroup *group, struct error *err);
/* loads them and attaches them to the group that @dir is open on, in their order */
int cgroup_programs_attach(int dir, const CgroupGroup *group, struct error *err);
