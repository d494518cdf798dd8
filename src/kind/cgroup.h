/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Membership in control groups, v1 and v2, cgroups(7). */
#pragma once

#include "cgroup.pb-c.h"
#include "kind/kind.h"

extern const struct kind cgroup_kind;

/* ---- for the other kinds of cgroups ---- */

/* a text like /proc/PID/cgroup, ordered by hierarchy; the caller frees it as a message */
int cgroup_parse(const char *text, CgroupState **ret, struct error *err);
/* of the caller itself (0) or a task here */
int cgroup_read_of(pid_t tid, CgroupState **ret, struct error *err);
/* the group of @state in that hierarchy; NULL if it has none */
const CgroupMembership *cgroup_in(const CgroupState *state, const ProtobufCBinaryData *hierarchy);
bool cgroup_same(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b);
/* a path that is not below the root that this process sees, or has a component ".." */
bool cgroup_is_outside(const char *path);
/* for validate(): ordered, complete, not outside */
int cgroup_validate_memberships(CgroupMembership *const *m, size_t n, struct error *err);
/* it or one above; a frozen group would freeze a stub before it is done */
bool cgroup_is_frozen(const char *directory);
/*
 * @text: of /proc/PID/cgroup. "HIERARCHY:PATH" of the first group of it that is frozen, as far as
 * they are mounted here, on the heap; NULL: none
 */
char *cgroup_frozen_of(const char *text);
/* the caller joins; the process, all of it */
int cgroup_join_here(const char *hierarchy, const char *path, struct error *err);
void cgroup_refuse(struct restart *r, enum code code, const char *hierarchy, const char *path,
                   const char *why);
