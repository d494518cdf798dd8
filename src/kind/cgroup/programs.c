/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BPF programs of cgroups. See programs.h. */
#include "kind/cgroup/programs.h"

#include <linux/bpf.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/cleanup.h"

#define PROGRAMS_MAX     64    /* the kernel's BPF_CGROUP_MAX_PROGS */
#define INSTRUCTIONS_MAX 65536 /* a filter has some 5 for each device */
#define KNOWN_FLAGS      (BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI)

/*
 * By numbers: those after lsm came with Linux 6.7. Others are not asked for, since for some the
 * descriptor of the group would be taken for the number of a network interface.
 */
static const struct attachment {
	uint32_t number;
	const char *name;
} others[] = {
	{ 0, "inet_ingress" },
	{ 1, "inet_egress" },
	{ 2, "inet_sock_create" },
	{ 3, "sock_ops" },
	{ 8, "inet4_bind" },
	{ 9, "inet6_bind" },
	{ 10, "inet4_connect" },
	{ 11, "inet6_connect" },
	{ 12, "inet4_post_bind" },
	{ 13, "inet6_post_bind" },
	{ 14, "udp4_sendmsg" },
	{ 15, "udp6_sendmsg" },
	{ 18, "sysctl" },
	{ 19, "udp4_recvmsg" },
	{ 20, "udp6_recvmsg" },
	{ 21, "getsockopt" },
	{ 22, "setsockopt" },
	{ 29, "inet4_getpeername" },
	{ 30, "inet6_getpeername" },
	{ 31, "inet4_getsockname" },
	{ 32, "inet6_getsockname" },
	{ 34, "inet_sock_release" },
	{ 43, "lsm" },
	{ 49, "unix_connect" },
	{ 50, "unix_sendmsg" },
	{ 51, "unix_recvmsg" },
	{ 52, "unix_getpeername" },
	{ 53, "unix_getsockname" },
};

#define N_OTHERS (sizeof(others) / sizeof(others[0]))

static int call_bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

/* ---- what is there ---- */

/* the number of programs; *ret_flags: how they are attached; @ids: room for so many. -1 with errno
 */
static int query(int dir, uint32_t type, uint32_t *ids, uint32_t room, uint32_t *ret_flags)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.query.target_fd = (uint32_t)dir;
	attr.query.attach_type = type;
	attr.query.prog_ids = (uintptr_t)ids;
	attr.query.prog_cnt = room;
	if (call_bpf(BPF_PROG_QUERY, &attr) < 0)
		return -1;
	*ret_flags = attr.query.attach_flags;
	return (int)attr.query.prog_cnt;
}

/*
 * EPERM: a user, who is shown none. EINVAL, EOPNOTSUPP: this kernel does not have such programs.
 * EBADF: no cgroup, something else is mounted there.
 */
static bool has_none(int e)
{
	return e == EPERM || e == EINVAL || e == EOPNOTSUPP || e == ENOSYS || e == EBADF;
}

/* ---- one filter ---- */

static bool get_info(int fd, struct bpf_prog_info *info)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = sizeof(*info);
	attr.info.info = (uintptr_t)info;
	return call_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) == 0;
}

/* calls are shown as addresses, references to maps as numbers: neither can be given back */
static bool refers_to_others(const struct bpf_insn *insns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (insns[i].code == (BPF_JMP | BPF_CALL) ||
		    (insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) && insns[i].src_reg))
			return true;
	return false;
}

static int load(const CgroupProgram *p)
{
	union bpf_attr attr;
	int fd = -1;

	for (unsigned i = 0; i < 100; i++) { /* EAGAIN: a signal is pending */
		memset(&attr, 0, sizeof(attr));
		attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
		attr.insns = (uintptr_t)p->instructions.data;
		attr.insn_cnt = (uint32_t)(p->instructions.len / sizeof(struct bpf_insn));
		attr.license = (uintptr_t)(p->gpl ? "GPL" : "");
		memcpy(attr.prog_name, p->name, strlen(p->name));
		fd = call_bpf(BPF_PROG_LOAD, &attr);
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd;
}

/* NULL, or why it cannot be recorded */
static const char *read_program(int fd, CgroupProgram *p)
{
	struct bpf_prog_info info;

	memset(&info, 0, sizeof(info));
	if (!get_info(fd, &info))
		return "what it is cannot be asked";
	if (info.nr_map_ids)
		return "it has maps";
	size_t size = info.xlated_prog_len;
	if (!size || size > INSTRUCTIONS_MAX * sizeof(struct bpf_insn))
		return size ? "it is too long" : "its instructions are not shown";
	p->instructions.data = xcalloc(1, size);
	p->instructions.len = size;
	p->name = xstrndup(info.name, sizeof(info.name) - 1);
	p->gpl = info.gpl_compatible;
	memset(&info, 0, sizeof(info));
	info.xlated_prog_len = (uint32_t)size;
	info.xlated_prog_insns = (uintptr_t)p->instructions.data;
	if (!get_info(fd, &info) || !info.xlated_prog_insns || info.xlated_prog_len != size)
		return "its instructions are not shown";
	_cleanup_(free_p) struct bpf_insn *insns = xmemdup(p->instructions.data, size);
	if (refers_to_others(insns, size / sizeof(*insns)))
		return "it calls functions, or refers to maps";
	_cleanup_(close_p) int again = load(p);
	return again < 0 ? "the kernel does not take its instructions a second time" : NULL;
}

static const char *add_filter(uint32_t id, CgroupGroup *group)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_id = id;
	_cleanup_(close_p) int fd = call_bpf(BPF_PROG_GET_FD_BY_ID, &attr);
	if (fd < 0)
		return errno == EPERM ? "CAP_SYS_ADMIN is needed to read it" : "it is gone";
	CgroupProgram *p = *array_push(group->filters, group->n_filters) = xmalloc(sizeof(*p));
	cgroup_program__init(p);
	return read_program(fd, p);
}

/* NULL, or why not all of them can come back */
static const char *read_filters(int dir, CgroupGroup *group)
{
	uint32_t ids[PROGRAMS_MAX] = { 0 }, flags = 0;
	const char *why = NULL;
	int n = query(dir, BPF_CGROUP_DEVICE, ids, PROGRAMS_MAX, &flags);

	if (n < 0)
		return has_none(errno) ? NULL : "they cannot be asked for";
	for (int i = 0; !why && i < n; i++)
		why = add_filter(ids[i], group);
	if (!why && flags & ~KNOWN_FLAGS)
		why = "they are attached in a way that is not known";
	group->filter_flags = flags;
	return why;
}

int cgroup_programs_read(int dir, CgroupGroup *group, cgroup_program_lost *lost, void *arg,
                         struct error *err)
{
	const char *why = read_filters(dir, group);
	uint32_t flags;

	if (why)
		lost(arg, "device", why);
	for (size_t i = 0; i < N_OTHERS; i++) {
		int n = query(dir, others[i].number, NULL, 0, &flags);
		if (n < 0 && !has_none(errno))
			return error_raise(err, errno, "ask for the BPF programs of a cgroup (%s)",
			                   others[i].name);
		if (n > 0)
			lost(arg, others[i].name, "only filters of devices can be given back");
	}
	return 0;
}

/* ---- restart ---- */

/* as the kernel has it, bpf_obj_name_cpy() */
static bool is_name(const char *name)
{
	for (const char *p = name; *p; p++)
		if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') &&
		    !(*p >= '0' && *p <= '9') && *p != '_' && *p != '.')
			return false;
	return strlen(name) < BPF_OBJ_NAME_LEN;
}

int cgroup_programs_validate(const CgroupGroup *group, struct error *err)
{
	if (group->n_filters > PROGRAMS_MAX ||
	    (group->n_filters > 1 && !(group->filter_flags & BPF_F_ALLOW_MULTI)))
		return error_raise(err, EBADMSG, "%zu device filters", group->n_filters);
	if (group->filter_flags & ~KNOWN_FLAGS || (group->filter_flags && !group->n_filters))
		return error_raise(err, EBADMSG, "flags %#x of device filters",
		                   group->filter_flags);
	for (size_t i = 0; i < group->n_filters; i++) {
		const CgroupProgram *p = group->filters[i];
		size_t size = p->instructions.len;
		if (!size || size % sizeof(struct bpf_insn) ||
		    size > INSTRUCTIONS_MAX * sizeof(struct bpf_insn))
			return error_raise(err, EBADMSG, "a device filter of %zu bytes", size);
		if (!is_name(p->name))
			return error_raise(err, EBADMSG, "a device filter's name");
	}
	return 0;
}

static int load_filter(const CgroupProgram *p, int *ret, struct error *err)
{
	*ret = load(p);
	return *ret < 0
	               ? error_raise(err, errno, "load the device filter '%s' of a cgroup", p->name)
	               : 0;
}

int cgroup_programs_try(const CgroupGroup *group, struct error *err)
{
	int e = 0;

	for (size_t i = 0; e == 0 && i < group->n_filters; i++) {
		_cleanup_(close_p) int fd = -1;
		e = load_filter(group->filters[i], &fd, err);
	}
	return e < 0 ? error_trace(err, e) : 0;
}

static int attach(int dir, int program, uint32_t flags, struct error *err)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)dir;
	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = flags;
	return call_bpf(BPF_PROG_ATTACH, &attr) == 0
	               ? 0
	               : error_raise(err, errno, "attach a device filter to a cgroup");
}

int cgroup_programs_attach(int dir, const CgroupGroup *group, struct error *err)
{
	int e = 0;

	for (size_t i = 0; e == 0 && i < group->n_filters; i++) {
		_cleanup_(close_p) int fd = -1;
		e = load_filter(group->filters[i], &fd, err);
		if (e == 0)
			e = attach(dir, fd, group->filter_flags, err);
	}
	if (e < 0)
		error_hint(err, "restart with --cgroup ignore, or make the group beforehand");
	return e < 0 ? error_trace(err, e) : 0;
}
