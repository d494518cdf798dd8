/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Zombies: the dead that nobody has waited for yet, with how they ended.
 *
 * TEST exited round-trip -- exited
 * TEST killed round-trip -- killed
 * TEST user round-trip -- user
 * TEST nice round-trip -- nice_values
 * TEST nice-no-privilege restart-refuse code=sched.privilege without=cap_sys_nice -- nice_values
 * TEST of-a-child round-trip -- of_child
 * TEST of-a-thread round-trip -- of_thread
 * TEST group-leader round-trip -- group_leader
 * TEST session-leader round-trip -- session_leader
 * TEST silent round-trip -- silent
 * TEST name round-trip -- named
 * TEST core refuse code=task.core -- core
 */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "cases.h"

static void await_death(pid_t pid)
{
	siginfo_t info;

	CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | __WALL) == 0);
}

/* a child that ends with this status, or by this signal */
static pid_t make(int code, int sig)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		if (sig) {
			struct rlimit none = { 0, 0 };
			setrlimit(RLIMIT_CORE, &none);
			prctl(PR_SET_DUMPABLE, 0);
			signal(sig, SIG_DFL);
			raise(sig);
		}
		_exit(code);
	}
	await_death(pid);
	return pid;
}

static void exited(void)
{
	static const int codes[] = { 0, 1, 42, 255 };
	pid_t pids[4];

	for (int i = 0; i < 4; i++)
		pids[i] = make(codes[i], 0);
	subject_checkpoint();
	for (int i = 0; i < 4; i++)
		subject_check_exit(pids[i], codes[i]);
	CHECK(wait(NULL) < 0 && errno == ECHILD);
}

static void killed(void)
{
	static const int signals[] = { SIGKILL, SIGTERM, SIGSEGV, SIGQUIT, SIGPIPE, 64 };
	pid_t pids[6];
	int status;

	for (int i = 0; i < 6; i++)
		pids[i] = make(0, signals[i]);
	subject_checkpoint();
	for (int i = 0; i < 6; i++) {
		CHECK(waitpid(pids[i], &status, 0) == pids[i]);
		CHECK(WIFSIGNALED(status) && !WCOREDUMP(status));
		CHECK_EQ(WTERMSIG(status), signals[i]);
	}
}

/* whose it was is told with how it ended */
static void user(void)
{
	siginfo_t info = { 0 };
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		if (setresgid(1234, 1234, 1234) < 0 || setresuid(4321, 4321, 4321) < 0)
			_exit(77);
		_exit(0);
	}
	await_death(pid);
	subject_checkpoint();
	CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED) == 0);
	if (info.si_status == 77)
		SKIP("may not become another user");
	CHECK_EQ(info.si_uid, 4321);
}

static void nice_values(void)
{
	static const int values[] = { 7, 0, -3 };
	pid_t pids[3];

	for (int i = 0; i < 3; i++) {
		pids[i] = fork();
		CHECK(pids[i] >= 0);
		if (pids[i] == 0)
			_exit(setpriority(PRIO_PROCESS, 0, values[i]) < 0 ? 77 : i);
		await_death(pids[i]);
	}
	subject_checkpoint();
	for (int i = 0; i < 3; i++) {
		errno = 0;
		CHECK_EQ(getpriority(PRIO_PROCESS, (id_t)pids[i]), values[i]);
		subject_check_exit(pids[i], i);
	}
}

static void of_child(void)
{
	int gate[2];
	char c;

	CHECK(pipe(gate) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		pid_t dead = make(33, 0);
		CHECK(write(gate[1], "", 1) == 1);
		close(gate[0]);
		close(gate[1]);
		subject_wait_go();
		subject_check_exit(dead, 33);
		_exit(0);
	}
	CHECK(read(gate[0], &c, 1) == 1);
	close(gate[0]);
	close(gate[1]);
	subject_checkpoint();
	subject_check_exit(pid, 0);
}

static volatile pid_t dead_of_thread;

static void *thread(void *arg)
{
	(void)arg;
	dead_of_thread = make(44, 0);
	subject_wait_go();
	int status;
	CHECK(waitpid(dead_of_thread, &status, __WNOTHREAD) == dead_of_thread);
	CHECK_EQ(WEXITSTATUS(status), 44);
	return NULL;
}

static void of_thread(void)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
	while (!dead_of_thread)
		usleep(1000);
	subject_checkpoint();
	CHECK(pthread_join(t, NULL) == 0);
}

/* the dead one still holds the number of a group that lives */
static void leader_of(bool session)
{
	int gate[2], status;
	char c;

	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	CHECK(pipe(gate) == 0);
	pid_t leader = fork();
	CHECK(leader >= 0);
	if (leader == 0) {
		CHECK(session ? setsid() > 0 : setpgid(0, 0) == 0);
		if (fork() > 0)
			_exit(5);
		pid_t group = getpgrp();
		while (getppid() == group)
			usleep(1000);
		CHECK(write(gate[1], "", 1) == 1);
		close(gate[0]);
		close(gate[1]);
		subject_wait_go();
		CHECK_EQ(getpgrp(), group);
		CHECK(!session || getsid(0) == group);
		_exit(6);
	}
	await_death(leader);
	CHECK(read(gate[0], &c, 1) == 1);
	close(gate[0]);
	close(gate[1]);
	subject_checkpoint();
	subject_check_exit(leader, 5);
	CHECK(wait(&status) > 0 && WEXITSTATUS(status) == 6);
}

static void group_leader(void)
{
	leader_of(false);
}

static void session_leader(void)
{
	leader_of(true);
}

/* made to send no signal when it ends: only __WCLONE sees it, waitpid(2) */
static void silent(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, 0);

	CHECK(pid >= 0);
	if (pid == 0)
		_exit(3);
	await_death(pid);
	subject_checkpoint();
	CHECK(waitpid(pid, NULL, 0) < 0 && errno == ECHILD);
	subject_check_exit(pid, 3);
}

static void named(void)
{
	char path[64], text[32] = "";
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_NAME, "late lamented");
		_exit(0);
	}
	await_death(pid);
	subject_checkpoint();
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	FILE *f = fopen(path, "re");
	CHECK(f && fgets(text, sizeof(text), f));
	fclose(f);
	CHECK(!strcmp(text, "late lamented\n"));
	subject_check_exit(pid, 0);
}

static void core(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	siginfo_t info;

	getrlimit(RLIMIT_CORE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_CORE, &limit);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		abort();
	CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
	if (info.si_code != CLD_DUMPED)
		SKIP("no core was dumped");
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(exited), CASE(killed), CASE(user), CASE(nice_values),
	                     CASE(of_child), CASE(of_thread), CASE(group_leader),
	                     CASE(session_leader), CASE(silent), CASE(named), CASE(core));
}
