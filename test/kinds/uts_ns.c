/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UTS namespaces: one for all, one of a child, one of a thread; one that is shared with the
 * outside.
 *
 * TEST own round-trip -- own
 * TEST child round-trip -- child
 * TEST thread round-trip -- thread
 * TEST leak refuse code=leak -- leak
 * TEST bound refuse code=leak -- bound
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "cases.h"

static void make(const char *name)
{
	CHECK(unshare(CLONE_NEWUTS) == 0);
	CHECK(sethostname(name, strlen(name)) == 0);
	CHECK(setdomainname("example", 7) == 0);
}

static void check(const char *name)
{
	struct utsname u;

	CHECK(uname(&u) == 0);
	CHECK(!strcmp(u.nodename, name));
	CHECK(!strcmp(u.domainname, "example"));
}

static void own(void)
{
	make("lighthouse");
	subject_checkpoint();
	check("lighthouse");
	CHECK(sethostname("elsewhere", 9) == 0);
}

static void child(void)
{
	make("lighthouse");
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		make("boat");
		subject_mark("child");
		subject_wait_go();
		check("boat");
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	check("lighthouse");
	subject_check_exit(pid, 0);
}

static void *other(void *arg)
{
	make("boat");
	subject_mark("thread");
	subject_wait_go();
	check("boat");
	return arg;
}

static void thread(void)
{
	pthread_t t;

	make("lighthouse");
	CHECK(pthread_create(&t, NULL, other, NULL) == 0);
	subject_wait("thread");
	subject_checkpoint();
	check("lighthouse");
	CHECK(pthread_join(t, NULL) == 0);
}

/* the one outside is in it, too */
static void leak(void)
{
	make("lighthouse");
	subject_leave_outside();
	subject_checkpoint();
}

/* to a file, in the mount namespace that is everybody's */
static void bound(void)
{
	make("lighthouse");
	close(open("bound", O_CREAT | O_CLOEXEC, 0600));
	CHECK(mount("/proc/self/ns/uts", "bound", NULL, MS_BIND, NULL) == 0);
	subject_checkpoint();
	CHECK(umount("bound") == 0);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(own), CASE(child), CASE(thread), CASE(leak),
	                     CASE(bound));
}
