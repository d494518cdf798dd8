/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Working directory, root directory, umask.
 *
 * TEST cwd round-trip -- cwd
 * TEST deleted round-trip -- deleted
 * TEST umask round-trip -- umask
 * TEST chroot round-trip -- chroot
 * TEST chroot-outside round-trip -- chroot_outside
 * TEST shared round-trip -- shared
 * TEST threads round-trip -- threads
 * TEST apart round-trip -- apart
 * TEST gone restart-refuse code=regfile.changed before="rmdir folder" -- cwd
 * TEST replaced restart-refuse code=regfile.changed before="mkdir new; rmdir folder; mv new folder" -- cwd
 * TEST renamed round-trip except=cwd before="mv folder other" -- renamed
 * TEST parent-gone round-trip -- parent_gone
 * TEST shadowed refuse code=regfile.path -- shadowed
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"

static int top; /* the test's directory: "ready" and "go" are there */

static void enter(const char *name)
{
	CHECK_EQ(mkdir(name, 0755), 0);
	CHECK_EQ(chdir(name), 0);
}

/* as subject_checkpoint(), from wherever the subject is */
static void checkpoint(void)
{
	int fd = openat(top, "ready", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	CHECK(fd >= 0);
	close(fd);
	while (faccessat(top, "go", F_OK, 0) < 0)
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

static void check_cwd(const char *suffix)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/cwd", path, sizeof(path) - 1);

	CHECK(n > 0);
	path[n] = 0;
	if ((size_t)n < strlen(suffix) || strcmp(path + n - strlen(suffix), suffix))
		FAIL("the working directory is %s, not ...%s", path, suffix);
}

static void cwd(void)
{
	enter("folder");
	checkpoint();
	check_cwd("/d/folder");
	CHECK_EQ(mkdir("here", 0755), 0);
	CHECK_EQ(faccessat(top, "folder/here", F_OK, 0), 0);
}

static void renamed(void)
{
	enter("folder");
	checkpoint();
	CHECK_EQ(mkdir("here", 0755), 0);
	CHECK(faccessat(top, "other/here", F_OK, 0) == 0 ||
	      faccessat(top, "folder/here", F_OK, 0) == 0);
}

static void deleted(void)
{
	struct stat st;

	enter("folder");
	CHECK_EQ(chmod(".", 0711), 0);
	CHECK_EQ(chown(".", 5, 6), 0);
	CHECK_EQ(unlinkat(top, "folder", AT_REMOVEDIR), 0);
	checkpoint();
	check_cwd("/d/folder (deleted)");
	CHECK_EQ(stat(".", &st), 0);
	CHECK_EQ(st.st_mode, S_IFDIR | 0711);
	CHECK_EQ(st.st_uid, 5);
	CHECK_EQ(st.st_gid, 6);
	CHECK_EQ(st.st_nlink, 0);
	CHECK_EQ(mkdir("here", 0755), -1);
	CHECK_EQ(errno, ENOENT);
	CHECK_EQ(faccessat(top, "folder", F_OK, 0), -1);
}

static void set_umask(void)
{
	umask(0135);
	checkpoint();
	CHECK_EQ(umask(0), 0135);
}

static void change_root(void)
{
	struct stat root, here;

	enter("folder");
	CHECK_EQ(mkdir("inside", 0755), 0);
	CHECK_EQ(chroot("."), 0);
	CHECK_EQ(chdir("/inside"), 0);
	checkpoint();
	CHECK_EQ(access("/inside", F_OK), 0);
	CHECK_EQ(stat("/", &root), 0);
	CHECK_EQ(stat("..", &here), 0);
	CHECK_EQ(root.st_ino, here.st_ino);
	CHECK_EQ(mkdir("/new", 0755), 0);
	CHECK_EQ(faccessat(top, "folder/new", F_OK, 0), 0);
}

/* the working directory is not below the root */
static void chroot_outside(void)
{
	CHECK_EQ(mkdir("folder", 0755), 0);
	CHECK_EQ(chroot("folder"), 0);
	checkpoint();
	CHECK_EQ(mkdir("/new", 0755), 0);
	CHECK_EQ(access("folder/new", F_OK), 0);
}

static char stack[65536] __attribute__((aligned(16)));

static int process(void *arg)
{
	subject_settle("child");
	CHECK_EQ(fchdir(top), 0);
	umask(0111);
	syscall(SYS_exit, 0);
	return 0;
}

/* CLONE_FS without anything else */
static void shared(void)
{
	umask(022);
	memset(stack, 1, sizeof(stack));
	pid_t child = clone(process, stack + sizeof(stack), CLONE_FS | SIGCHLD, NULL);
	CHECK(child > 0);
	subject_wait("child");
	checkpoint();
	subject_check_exit(child, 0);
	CHECK_EQ(umask(0), 0111);
}

static void *thread(void *arg)
{
	subject_use_stack();
	faccessat(top, "go", F_OK, 0);
	nanosleep(&(struct timespec){ .tv_nsec = 1 }, NULL);
	subject_mark("thread");
	while (faccessat(top, "go", F_OK, 0) < 0)
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	CHECK_EQ(chdir("folder"), 0);
	return NULL;
}

static void threads(void)
{
	pthread_t t;

	CHECK_EQ(mkdir("folder", 0755), 0);
	CHECK_EQ(pthread_create(&t, NULL, thread, NULL), 0);
	subject_wait("thread");
	checkpoint();
	CHECK_EQ(pthread_join(t, NULL), 0);
	check_cwd("/d/folder");
}

static void apart(void)
{
	pid_t child = fork();

	if (child == 0) {
		enter("folder");
		umask(0123);
		faccessat(top, "go", F_OK, 0);
		nanosleep(&(struct timespec){ .tv_nsec = 1 }, NULL);
		int fd = openat(top, "child", O_CREAT | O_WRONLY, 0644);
		close(fd);
		while (faccessat(top, "go", F_OK, 0) < 0)
			nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
		check_cwd("/d/folder");
		CHECK_EQ(umask(0), 0123);
		_exit(0);
	}
	umask(0321);
	subject_wait("child");
	checkpoint();
	check_cwd("/d");
	CHECK_EQ(umask(0), 0321);
	subject_check_exit(child, 0);
}

static void parent_gone(void)
{
	enter("folder");
	enter("inner");
	CHECK_EQ(unlinkat(top, "folder/inner", AT_REMOVEDIR), 0);
	CHECK_EQ(unlinkat(top, "folder", AT_REMOVEDIR), 0);
	checkpoint();
	char text[4096] = "";
	CHECK(readlink("/proc/self/cwd", text, sizeof(text) - 1) > 0);
	CHECK(strstr(text, "/folder/inner (deleted)"));
	CHECK_EQ(faccessat(top, "folder", F_OK, 0), -1);
}

static void shadowed(void)
{
	enter("folder");
	CHECK_EQ(mkdir("inner", 0755), 0);
	CHECK_EQ(chdir("inner"), 0);
	CHECK_EQ(mount("tmpfs", "..", "tmpfs", 0, NULL), 0);
	checkpoint();
}

int main(int argc, char **argv)
{
	top = open(".", O_RDONLY | O_DIRECTORY);
	CHECK(top >= 0);
	return SUBJECT_CASES(argc, argv, CASE(cwd), CASE(renamed), CASE(deleted),
	                     CASE_NAMED("umask", set_umask), CASE_NAMED("chroot", change_root),
	                     CASE(chroot_outside), CASE(shared), CASE(threads), CASE(apart),
	                     CASE(parent_gone), CASE(shadowed));
}
