/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BPF programs that are attached to cgroups: filters of devices, as engines give them to each
 * container, come back with the groups; others are refused.
 *
 * TEST filters round-trip before="sh remove" -- filters
 * TEST kept round-trip -- filters
 * TEST overridden round-trip before="sh remove" -- overridden
 * TEST below-first round-trip before="sh remove" -- below_first
 * TEST inherited round-trip before="sh remove" -- inherited
 * TEST link round-trip before="sh remove" -- link_attached
 * TEST calls refuse code=cgroup.program -- calls
 * TEST functions refuse code=cgroup.program -- functions
 * TEST maps refuse code=cgroup.program -- maps
 * TEST sockets refuse code=cgroup.program -- sockets
 * TEST sysctl refuse code=cgroup.program -- sysctl
 */
#include <linux/bpf.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cases.h"
#include "text.h"

#define V2 "/sys/fs/cgroup/unified"

#define LOAD(to, from, at)                                                                   \
	{                                                                                    \
		.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = to, .src_reg = from, .off = at \
	}
#define SET(to, n)                                                           \
	{                                                                    \
		.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = to, .imm = n \
	}
#define SKIP_UNLESS(reg, n)                                                           \
	{                                                                             \
		.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = reg, .off = 1, .imm = n \
	}
#define CALL(function)                                      \
	{                                                   \
		.code = BPF_JMP | BPF_CALL, .imm = function \
	}
#define EXIT                               \
	{                                  \
		.code = BPF_JMP | BPF_EXIT \
	}

/* all devices but 1:@minor; the halfword of the context is what a compiler makes of the type */
#define ALL_BUT(minor)                                                          \
	{                                                                       \
		LOAD(BPF_REG_2, BPF_REG_1, 4), LOAD(BPF_REG_3, BPF_REG_1, 8),   \
			{ .code = BPF_LDX | BPF_MEM | BPF_H,                    \
			  .dst_reg = BPF_REG_4,                                 \
			  .src_reg = BPF_REG_1 },                               \
			SET(BPF_REG_0, 1),                                      \
			{ .code = BPF_JMP | BPF_JNE | BPF_K,                    \
			  .dst_reg = BPF_REG_2,                                 \
			  .off = 3,                                             \
			  .imm = 1 },                                           \
			{ .code = BPF_JMP | BPF_JNE | BPF_K,                    \
			  .dst_reg = BPF_REG_4,                                 \
			  .off = 2,                                             \
			  .imm = BPF_DEVCG_DEV_CHAR },                          \
			SKIP_UNLESS(BPF_REG_3, minor), SET(BPF_REG_0, 0), EXIT, \
	}
#define SIZE(insns) (sizeof(insns) / sizeof((insns)[0]))

static const struct bpf_insn no_zero[] = ALL_BUT(5), no_full[] = ALL_BUT(7);
static const struct bpf_insn yes[] = { SET(BPF_REG_0, 1), EXIT };

static char group[128];

static int call_bpf(enum bpf_cmd command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int load(enum bpf_prog_type type, const struct bpf_insn *insns, size_t n, const char *name,
                const char *license)
{
	union bpf_attr attr = { .prog_type = type };

	attr.insns = (uintptr_t)insns;
	attr.insn_cnt = (uint32_t)n;
	attr.license = (uintptr_t)license;
	snprintf(attr.prog_name, sizeof(attr.prog_name), "%s", name);
	int fd = call_bpf(BPF_PROG_LOAD, &attr);
	if (fd < 0 && (errno == EPERM || errno == ENOSYS || errno == EINVAL))
		SKIP("no BPF programs here: %s\n", strerror(errno));
	CHECK(fd >= 0);
	return fd;
}

static const char *at(const char *below)
{
	static char path[2][256];
	static unsigned next;
	char *p = path[next++ % 2];

	snprintf(p, sizeof(path[0]), "%s%s", group, below);
	return p;
}

static int open_group(const char *below)
{
	int dir = open(at(below), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK(dir >= 0);
	return dir;
}

static void make_group(const char *below)
{
	if (access(V2, F_OK) < 0 || (mkdir(at(below), 0755) < 0 && errno != EEXIST))
		SKIP("no cgroups below %s\n", V2);
}

/* takes the program */
static void attach(const char *below, enum bpf_attach_type type, int program, uint32_t flags)
{
	int dir = open_group(below);
	union bpf_attr attr = { .target_fd = (uint32_t)dir };

	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_type = type;
	attr.attach_flags = flags;
	CHECK(call_bpf(BPF_PROG_ATTACH, &attr) == 0);
	close(dir);
	close(program);
}

static void filter(const char *below, const struct bpf_insn *insns, size_t n, const char *name,
                   const char *license, uint32_t flags)
{
	attach(below, BPF_CGROUP_DEVICE, load(BPF_PROG_TYPE_CGROUP_DEVICE, insns, n, name, license),
	       flags);
}

/* the names of the filters of one group in their order, "a b ", with '!' if not of the GPL */
static void check_filters(const char *below, const char *want, uint32_t flags)
{
	int dir = open_group(below);
	uint32_t ids[8] = { 0 };
	union bpf_attr attr = { .query = { .target_fd = (uint32_t)dir } };
	char have[256] = "";

	attr.query.attach_type = BPF_CGROUP_DEVICE;
	attr.query.prog_ids = (uintptr_t)ids;
	attr.query.prog_cnt = SIZE(ids);
	CHECK(call_bpf(BPF_PROG_QUERY, &attr) == 0);
	close(dir);
	CHECK_EQ(attr.query.attach_flags, flags);
	uint32_t n = attr.query.prog_cnt;
	for (uint32_t i = 0; i < n; i++) {
		struct bpf_prog_info info = { 0 };
		attr = (union bpf_attr){ .prog_id = ids[i] };
		int fd = call_bpf(BPF_PROG_GET_FD_BY_ID, &attr);
		attr = (union bpf_attr){ .info = { .bpf_fd = (uint32_t)fd } };
		attr.info.info_len = sizeof(info);
		attr.info.info = (uintptr_t)&info;
		CHECK(fd >= 0 && call_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) == 0);
		close(fd);
		snprintf(have + strlen(have), sizeof(have) - strlen(have), "%s%s ", info.name,
		         info.gpl_compatible ? "" : "!");
	}
	if (strcmp(have, want) != 0)
		FAIL("the filters of %s are '%s', expected '%s'", below, have, want);
}

static bool may_open(const char *device)
{
	int fd = open(device, O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0 || errno == EPERM);
	close(fd);
	return fd >= 0;
}

static void check_devices(bool zero, bool full)
{
	CHECK(may_open("/dev/null"));
	CHECK_EQ(may_open("/dev/zero"), zero);
	CHECK_EQ(may_open("/dev/full"), full);
}

/* groups and a namespace that begins there: so they are this task's own */
static void enter(void)
{
	make_group("");
	write_in(at(""), "cgroup.procs", "0");
	CHECK(unshare(CLONE_NEWCGROUP) == 0);
}

static void filters(void)
{
	enter();
	make_group("/below");
	make_group("/none");
	filter("", no_zero, SIZE(no_zero), "first", "GPL", BPF_F_ALLOW_MULTI);
	filter("", yes, SIZE(yes), "", "Proprietary", BPF_F_ALLOW_MULTI);
	filter("/below", no_full, SIZE(no_full), "below", "GPL", BPF_F_ALLOW_MULTI);
	check_devices(false, true);
	subject_checkpoint();
	check_devices(false, true);
	check_filters("", "first ! ", BPF_F_ALLOW_MULTI);
	check_filters("/below", "below ", BPF_F_ALLOW_MULTI);
	check_filters("/none", "", 0);
	write_in(at("/below"), "cgroup.procs", "0");
	check_devices(false, false);
}

/* that of a group below replaces the one above */
static void overridden(void)
{
	enter();
	make_group("/below");
	filter("", no_zero, SIZE(no_zero), "above", "GPL", BPF_F_ALLOW_OVERRIDE);
	filter("/below", no_full, SIZE(no_full), "below", "GPL", 0);
	subject_checkpoint();
	check_filters("", "above ", BPF_F_ALLOW_OVERRIDE);
	check_filters("/below", "below ", 0);
	check_devices(false, true);
	write_in(at("/below"), "cgroup.procs", "0");
	check_devices(true, false);
}

/* the one above came later, and does not allow any below */
static void below_first(void)
{
	enter();
	make_group("/below");
	filter("/below", no_full, SIZE(no_full), "below", "GPL", 0);
	filter("", no_zero, SIZE(no_zero), "above", "GPL", 0);
	subject_checkpoint();
	check_filters("", "above ", 0);
	check_filters("/below", "below ", 0);
}

/* of a group above the tree's own: it is there, and not made a second time */
static void inherited(void)
{
	make_group("");
	filter("", no_zero, SIZE(no_zero), "above", "GPL", BPF_F_ALLOW_MULTI);
	make_group("/own");
	write_in(at("/own"), "cgroup.procs", "0");
	CHECK(unshare(CLONE_NEWCGROUP) == 0);
	FILE *f = fopen("remove", "we");
	fprintf(f, "rmdir '%s'\n", at("/own"));
	fclose(f);
	subject_checkpoint();
	check_filters("", "above ", BPF_F_ALLOW_MULTI);
	check_filters("/own", "", 0);
	check_devices(false, true);
}

/* as newer engines do; who holds the link is outside */
static void link_attached(void)
{
	make_group("");
	int program = load(BPF_PROG_TYPE_CGROUP_DEVICE, no_zero, SIZE(no_zero), "linked", "GPL");
	int dir = open_group("");
	union bpf_attr attr = { .link_create = { .prog_fd = (uint32_t)program } };

	attr.link_create.target_fd = (uint32_t)dir;
	attr.link_create.attach_type = BPF_CGROUP_DEVICE;
	int link = call_bpf(BPF_LINK_CREATE, &attr);
	CHECK(link >= 0);
	if (fork() == 0) { /* orphaned: not of the set */
		if (fork() != 0)
			_exit(0);
		setsid();
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		subject_mark("holder");
		subject_wait_go();
		_exit(0);
	}
	CHECK(wait(NULL) > 0);
	subject_wait("holder");
	close(link);
	close(dir);
	close(program);
	enter();
	subject_checkpoint();
	check_filters("", "linked ", BPF_F_ALLOW_MULTI);
	check_devices(false, true);
}

static void calls(void)
{
	static const struct bpf_insn insns[] = { CALL(BPF_FUNC_ktime_get_ns), SET(BPF_REG_0, 1),
		                                 EXIT };

	enter();
	filter("", insns, SIZE(insns), "calls", "GPL", 0);
	subject_checkpoint();
}

static void functions(void)
{
	static const struct bpf_insn insns[] = {
		{ .code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_CALL, .imm = 1 },
		EXIT,
		SET(BPF_REG_0, 1),
		EXIT
	};

	enter();
	filter("", insns, SIZE(insns), "functions", "GPL", 0);
	subject_checkpoint();
}

static void maps(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4 };

	enter();
	attr.value_size = 4;
	attr.max_entries = 1;
	int map = call_bpf(BPF_MAP_CREATE, &attr);
	CHECK(map >= 0);
	struct bpf_insn insns[] = { { .code = BPF_LD | BPF_IMM | BPF_DW,
		                      .dst_reg = BPF_REG_1,
		                      .src_reg = BPF_PSEUDO_MAP_FD,
		                      .imm = map },
		                    { 0 },
		                    SET(BPF_REG_0, 1),
		                    EXIT };
	filter("", insns, SIZE(insns), "maps", "GPL", 0);
	close(map);
	subject_checkpoint();
}

static void sockets(void)
{
	enter();
	attach("", BPF_CGROUP_INET_EGRESS,
	       load(BPF_PROG_TYPE_CGROUP_SKB, yes, SIZE(yes), "egress", "GPL"), 0);
	subject_checkpoint();
}

static void sysctl(void)
{
	enter();
	make_group("/below");
	attach("/below", BPF_CGROUP_SYSCTL,
	       load(BPF_PROG_TYPE_CGROUP_SYSCTL, yes, SIZE(yes), "sysctl", "GPL"), 0);
	subject_checkpoint();
}

/* named after the place of our directory: the runner takes it away; "remove" does, too */
static void prepare(void)
{
	char directory[256];

	CHECK(getcwd(directory, sizeof(directory)));
	*strrchr(directory, '/') = 0;
	snprintf(group, sizeof(group), V2 "/%.90s", strrchr(directory, '/') + 1);
	FILE *f = fopen("remove", "we");
	CHECK(f);
	fprintf(f, "while ! rmdir '%s'/* '%s' 2>/dev/null && [ -e '%s' ]; do sleep 0.01; done\n",
	        group, group, group);
	fclose(f);
}

int main(int argc, char **argv)
{
	prepare();
	return SUBJECT_CASES(argc, argv, CASE(filters), CASE(overridden), CASE(below_first),
	                     CASE(inherited), CASE(link_attached), CASE(calls), CASE(functions),
	                     CASE(maps), CASE(sockets), CASE(sysctl));
}
