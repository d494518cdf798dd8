/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was done on a mount before it forbade that, and could not be done again.
 *
 * TEST executable-mapping refuse code=mount.forbids -- executable_mapping
 * TEST may-be-executable refuse code=mount.forbids -- may_be_executable
 * TEST program refuse code=mount.forbids -- program
 * TEST device refuse code=mount.forbids -- device
 * TEST allowed round-trip restart="--mntns new" except=map/???????????? -- allowed
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "cases.h"
#include "mounts.h"

static void on_tmpfs(void)
{
	private_mounts();
	mount_tmpfs("t", NULL);
}

static void forbid(unsigned long flag)
{
	CHECK(mount(NULL, "t", NULL, MS_REMOUNT | MS_BIND | flag, NULL) == 0);
}

static void *map_file(int prot)
{
	write_text("t/file", "text");
	int fd = open("t/file", O_RDONLY);
	void *p = mmap(NULL, 4096, prot, MAP_PRIVATE, fd, 0);

	CHECK(fd >= 0 && p != MAP_FAILED);
	close(fd);
	return p;
}

static void executable_mapping(void)
{
	on_tmpfs();
	map_file(PROT_READ | PROT_EXEC);
	forbid(MS_NOEXEC);
	subject_checkpoint();
}

static void may_be_executable(void)
{
	on_tmpfs();
	void *p = map_file(PROT_READ);
	forbid(MS_NOEXEC);
	subject_checkpoint();
	CHECK(mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0);
}

static void program(void)
{
	on_tmpfs();
	CHECK(system("cp /bin/sleep t/sleep") == 0);
	pid_t pid = fork();
	if (pid == 0) {
		execl("t/sleep", "sleep", "1000", NULL);
		_exit(1);
	}
	subject_wait_call(pid, SYS_clock_nanosleep); /* it is wholly loaded */
	forbid(MS_NOEXEC);
	subject_checkpoint();
	CHECK(kill(pid, SIGTERM) == 0 && waitpid(pid, NULL, 0) == pid);
}

static void device(void)
{
	on_tmpfs();
	CHECK(mknod("t/null", S_IFCHR | 0666, makedev(1, 3)) == 0);
	int fd = open("t/null", O_RDWR);
	CHECK(fd >= 0);
	forbid(MS_NODEV);
	subject_checkpoint();
	CHECK(write(fd, "x", 1) == 1);
}

/* what was done under the flags */
static void allowed(void)
{
	on_tmpfs();
	CHECK(mknod("t/null", S_IFCHR | 0666, makedev(1, 3)) == 0);
	forbid(MS_NOEXEC | MS_NODEV | MS_NOSUID);
	char *p = map_file(PROT_READ);
	int fd = open("t/null", O_PATH);
	CHECK(fd >= 0);
	subject_checkpoint();
	CHECK(!memcmp(p, "text", 4) && mprotect(p, 4096, PROT_READ | PROT_EXEC) < 0);
	CHECK(open("t/null", O_RDONLY) < 0 && errno == EACCES);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(executable_mapping), CASE(may_be_executable),
	                     CASE(program), CASE(device), CASE(allowed));
}
