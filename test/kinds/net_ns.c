/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network namespaces: one that stays outside comes from where the user says; all others are
 * refused.
 *
 * TEST own refuse code=namespace.network -- own
 * TEST external round-trip -- external
 * TEST sysfs round-trip restart="--mntns new" -- sysfs
 * TEST not-supplied restart-refuse code=external.missing -- not_supplied
 * TEST no-namespace restart-refuse code=namespace.network -- no_namespace
 */
#include <sched.h>
#include <sys/mount.h>
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
	return SUBJECT_CASES(argc, argv, CASE(own), CASE(external), CASE(sysfs), CASE(not_supplied),
	                     CASE(no_namespace));
}
