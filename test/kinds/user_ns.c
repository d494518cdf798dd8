/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User namespaces: maps, and the ids and capabilities of those in them.
 *
 * TEST root round-trip -- root
 * TEST ranges round-trip -- ranges
 * TEST many-ranges round-trip -- many
 * TEST no-maps round-trip -- no_maps
 * TEST setgroups-denied round-trip -- denied
 * TEST ids round-trip -- ids
 * TEST ids-without-name round-trip -- unnamed
 * TEST capabilities round-trip -- capabilities
 * TEST securebits round-trip -- securebits
 * TEST limits round-trip -- limits
 * TEST limits-between round-trip -- limits_between
 * TEST leak refuse code=leak -- leak
 */
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>

#include "text.h"
#include "user_ns.h"

static void root(void)
{
	enter_user_ns("0 0 1", "0 0 1");
	round_trip();
	CHECK(syscall(SYS_setuid, 1) < 0); /* which has no name here */
}

static void ranges(void)
{
	enter_user_ns("0 0 1\n1 100000 1000\n5000 7 1", "0 0 1\n10 200000 50");
	write_proc(getpid(), "projid_map", "5 9 100");
	round_trip();
	CHECK(syscall(SYS_setresgid, 59, 59, 59) == 0);
	CHECK(syscall(SYS_setresuid, 5000, 5000, 5000) == 0);
}

/* as many as there can be */
static void many(void)
{
	static char text[340 * 40];

	for (unsigned i = 0; i < 340; i++) /* a page of text is the other limit */
		snprintf(text + strlen(text), 40, "%u %u 1\n", i * 2, i * 2);
	enter_user_ns(text, text);
	round_trip();
}

/* nobody has a name in it, and every capability is there */
static void no_maps(void)
{
	open_directory();
	enter_user_ns(NULL, NULL);
	round_trip();
	CHECK_EQ(getuid(), 65534);
}

static void denied(void)
{
	open_directory();
	CHECK(setgroups(2, (gid_t[]){ 5, 100 }) == 0);
	CHECK(unshare(CLONE_NEWUSER) == 0);
	map_self("0 0 1", "0 0 1");
	round_trip();
	CHECK(setgroups(0, NULL) < 0);
}

static void ids(void)
{
	open_directory();
	enter_user_ns("0 100000 5000", "0 200000 5000");
	CHECK(setgroups(3, (gid_t[]){ 5, 100, 4999 }) == 0);
	CHECK(syscall(SYS_setresgid, 201, 202, 203) == 0);
	setfsgid(204);
	CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
	CHECK(syscall(SYS_setresuid, 101, 102, 103) == 0);
	setfsuid(102);
	round_trip();
	CHECK_EQ(setfsuid(-1), 102);
	CHECK_EQ(setfsgid(-1), 204);
}

/* it came with ids and groups that have no name in there */
static void unnamed(void)
{
	open_directory();
	CHECK(setgroups(2, (gid_t[]){ 5, 100 }) == 0);
	CHECK(syscall(SYS_setresgid, 2001, 2002, 2003) == 0);
	CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) == 0);
	CHECK(syscall(SYS_setresuid, 1001, 0, 1003) == 0);
	enter_user_ns("0 0 1", "7 2002 1");
	CHECK_EQ(getuid(), 65534);
	CHECK_EQ(getegid(), 7);
	round_trip();
}

static void drop(uint64_t inheritable, uint64_t permitted, uint64_t effective)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable }, { 0 }
	};

	CHECK(syscall(SYS_capset, &header, d) == 0);
}

static void capabilities(void)
{
	enter_user_ns("0 0 1", "0 0 1");
	CHECK(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME) == 0);
	CHECK(prctl(PR_CAPBSET_DROP, CAP_MKNOD) == 0);
	drop(1 << CAP_CHOWN | 1 << CAP_NET_RAW, 1 << CAP_NET_RAW | 1 << CAP_KILL, 1 << CAP_KILL);
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) == 0);
	round_trip();
}

static void securebits(void)
{
	enter_user_ns("0 0 1", "0 0 1");
	CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED) == 0);
	round_trip();
}

static void check_full(int flag)
{
	CHECK(unshare(flag) < 0 && errno == ENOSPC);
}

/* what there is already is counted, too, but stays */
static void limits(void)
{
	open_directory();
	enter_user_ns("0 0 1", "0 0 1");
	CHECK(unshare(CLONE_NEWUTS | CLONE_NEWIPC) == 0);
	write_text("/proc/sys/user/max_uts_namespaces", "1");
	write_text("/proc/sys/user/max_ipc_namespaces", "1");
	write_text("/proc/sys/user/max_user_namespaces", "0");
	write_text("/proc/sys/user/max_inotify_watches", "2147483646");
	round_trip();
	check_full(CLONE_NEWUTS);
	check_full(CLONE_NEWUSER);
	check_full(CLONE_NEWIPC);
}

/* of one that nobody is in, and that is like the one above else */
static void limits_between(void)
{
	open_directory();
	enter_user_ns("0 0 4294967295", "0 0 4294967295");
	write_text("/proc/sys/user/max_uts_namespaces", "1");
	enter_user_ns("0 0 4294967295", "0 0 4294967295");
	CHECK(unshare(CLONE_NEWUTS) == 0);
	round_trip();
	check_full(CLONE_NEWUTS);
}

static void leak(void)
{
	open_directory();
	enter_user_ns("0 0 1", "0 0 1");
	subject_leave_outside();
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(root), CASE(ranges), CASE(many), CASE(no_maps),
	                     CASE(denied), CASE(ids), CASE(unnamed), CASE(capabilities),
	                     CASE(securebits), CASE(limits), CASE(limits_between), CASE(leak));
}
