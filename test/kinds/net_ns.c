/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network namespaces: one that stays outside comes from where the user says; all others are
 * refused.
 *
 * TEST own refuse code=namespace.network -- own
 * TEST external round-trip -- external
 * TEST sysfs round-trip restart="--mntns new" -- sysfs
 * TEST of-user round-trip start="$TOP/test/tools/in_net_ns $TOP/test/tools/in_user_ns p 0,100000,5000 0,200000,5000" -- container
 * TEST below-user refuse code=user_ns.shape start="$TOP/test/tools/in_user_ns p 0,100000,5000 0,200000,5000" -- child
 * TEST not-supplied restart-refuse code=external.missing -- not_supplied
 * TEST no-namespace restart-refuse code=namespace.network -- no_namespace
 */
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "cases.h"
#include "mounts.h"

static void own(void)
{
	CHECK(unshare(CLONE_NEWNET) == 0);
	subject_checkpoint();
}

static unsigned long inode(void)
{
	struct stat st;

	CHECK(stat("/proc/self/ns/net", &st) == 0);
	return st.st_ino;
}

static void declare(void)
{
	CHECK(unshare(CLONE_NEWNET) == 0);
	subject_options("checkpoint", "--external net:[%lu]=net", inode());
}

/* held open by nobody but us, and by the test's own mount of it */
static void external(void)
{
	unsigned long before;

	CHECK(unshare(CLONE_NEWNET) == 0);
	before = inode();
	CHECK(system("touch net && mount --bind /proc/self/ns/net net") == 0);
	subject_options("checkpoint", "--external net:[%lu]=net", before);
	subject_options("restart", "--external net=net");
	subject_checkpoint();
	CHECK_EQ(inode(), before);
	CHECK(system("umount net") == 0);
}

/* of the namespace: it shows that one's interfaces alone */
static void sysfs(void)
{
	CHECK(system("touch net; mkdir sys") == 0);
	CHECK(unshare(CLONE_NEWNET) == 0);
	CHECK(system("mount --bind /proc/self/ns/net net") == 0);
	subject_options("checkpoint", "--external net:[%lu]=net", inode());
	subject_options("restart", "--external net=net");
	private_mounts();
	CHECK(umount("net") == 0); /* here: it stays where the test is */
	CHECK(mount("s", "sys", "sysfs", 0, NULL) == 0);
	subject_checkpoint();
	CHECK(system("test \"$(ls sys/class/net)\" = lo") == 0);
}

/* which its user namespace has no right to enter */
static void container(void)
{
	unsigned long before = inode();

	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
	subject_options("checkpoint", "--external net:[%lu]=net", before);
	subject_options("restart", "--external net=net");
	subject_checkpoint();
	CHECK_EQ(inode(), before);
}

/* it could not be entered when it has been supplied */
static void child(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
	if (pid == 0) {
		declare();
		subject_settle("child");
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	subject_check_exit(pid, 0);
}

static void not_supplied(void)
{
	declare();
	subject_checkpoint();
}

static void no_namespace(void)
{
	declare();
	subject_options("restart", "--external net=/dev/null");
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(own), CASE(external), CASE(sysfs), CASE(container),
	                     CASE(child), CASE(not_supplied), CASE(no_namespace));
}
