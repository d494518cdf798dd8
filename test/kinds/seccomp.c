/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Seccomp. What a filter does afterwards is tried: it makes some call fail with an errno of its
 * own. Whether filters of threads are one chain, by SECCOMP_FILTER_FLAG_TSYNC, which wants that.
 *
 * TEST none round-trip -- none
 * TEST strict round-trip needs=ptrace_suspend_seccomp killed=9 -- strict
 * TEST filter round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- filter
 * TEST filters-in-order round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- filters
 * TEST many round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- many
 * TEST long round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- long_filter
 * TEST all-calls-denied round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- denied
 * TEST user-with-no-new-privs round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- user
 * TEST logged round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- logged
 * TEST child-inherits round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- child_inherits
 * TEST child-has-more round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- child_more
 * TEST child-has-less round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- child_less
 * TEST orphan-has-less round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- orphan_less
 * TEST threads-share round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- threads_share
 * TEST threads-own round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- threads_own
 * TEST threads-synchronized round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- threads_tsync
 * TEST dead-leader round-trip needs=pidfd_thread,ptrace_suspend_seccomp,ptrace_seccomp_filter -- dead_leader
 * TEST notify refuse needs=ptrace_suspend_seccomp,ptrace_seccomp_filter code=seccomp.notify -- notify
 * TEST computed-return refuse needs=ptrace_suspend_seccomp,ptrace_seccomp_filter code=seccomp.notify -- computed
 * TEST unreadable refuse code=seccomp.unreadable without=ptrace_seccomp_filter -- filter
 * TEST not-suspended refuse needs=ptrace_seccomp_filter code=inject.seccomp without=ptrace_suspend_seccomp -- filter
 * TEST no-privilege restart-refuse needs=ptrace_suspend_seccomp,ptrace_seccomp_filter code=seccomp.privilege without=ptrace_suspend_seccomp -- filter
 * TEST own-filter restart-refuse code=seccomp.own under="$BUILD/test/seccomp.subject under" -- none
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"

#define LOAD_NR   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define RETURN(k) BPF_STMT(BPF_RET | BPF_K, (k))
#define IF_NR(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1)

static long install_program(struct sock_filter *program, size_t n, unsigned flags)
{
	struct sock_fprog fprog = { (unsigned short)n, program };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &fprog);
}

/* system call nr fails with this errno from now on */
static long install(long nr, int errnum, unsigned flags)
{
	struct sock_filter program[] = { LOAD_NR, IF_NR((unsigned)nr),
		                         RETURN(SECCOMP_RET_ERRNO | (unsigned)errnum),
		                         RETURN(SECCOMP_RET_ALLOW) };

	return install_program(program, 4, flags);
}

/* calls that nothing else makes here */
#define CALL_A SYS_getpriority
#define CALL_B SYS_sysinfo
#define CALL_C SYS_getrusage

static void check_denied(long nr, int errnum)
{
	errno = 0;
	CHECK(syscall(nr, -1, -1, -1) == -1);
	CHECK_EQ(errno, errnum);
}

static void check_count(const char *want)
{
	char line[256];
	FILE *f = fopen("/proc/thread-self/status", "re");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "Seccomp_filters:", 16))
			CHECK_EQ(atoi(line + 16), atoi(want));
	fclose(f);
}

static void none(void)
{
	subject_checkpoint();
	CHECK_EQ(prctl(PR_GET_SECCOMP), 0);
}

static int mode_of(pid_t pid)
{
	char path[64], line[256];
	int mode = -1;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *f = fopen(path, "re");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "Seccomp: %d", &mode);
	fclose(f);
	return mode;
}

/* only read, write, exit: it waits in read, and dies of the first other call after the restart */
static void strict(void)
{
	int pipes[2];

	CHECK(pipe(pipes) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		while (mode_of(getppid()) != 1)
			sched_yield();
		subject_checkpoint();
		CHECK(mode_of(getppid()) == 1);
		CHECK(write(pipes[1], "x", 1) == 1);
		_exit(0);
	}
	char byte = 0;
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
	syscall(SYS_read, pipes[0], &byte, 1);
	syscall(SYS_getpid);
}

static void filter(void)
{
	CHECK(install(CALL_A, 71, 0) == 0);
	subject_checkpoint();
	check_denied(CALL_A, 71);
	check_count("1");
}

/* of several errnos the one of the latest filter counts */
static void filters(void)
{
	CHECK(install(CALL_A, 71, 0) == 0);
	CHECK(install(CALL_B, 72, 0) == 0);
	CHECK(install(CALL_A, 73, 0) == 0);
	check_denied(CALL_A, 73);
	subject_checkpoint();
	check_denied(CALL_A, 73);
	check_denied(CALL_B, 72);
	check_count("3");
}

static void many(void)
{
	for (int i = 0; i < 300; i++)
		CHECK(install(CALL_A, 50 + i % 50, 0) == 0);
	subject_checkpoint();
	check_denied(CALL_A, 99);
	check_count("300");
}

static void long_filter(void)
{
	static struct sock_filter program[BPF_MAXINSNS];

	for (int i = 0; i < BPF_MAXINSNS - 4; i++)
		program[i] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, (unsigned)i);
	program[BPF_MAXINSNS - 4] = (struct sock_filter)LOAD_NR;
	program[BPF_MAXINSNS - 3] = (struct sock_filter)IF_NR((unsigned)CALL_A);
	program[BPF_MAXINSNS - 2] = (struct sock_filter)RETURN(SECCOMP_RET_ERRNO | 74);
	program[BPF_MAXINSNS - 1] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	CHECK(install_program(program, BPF_MAXINSNS, 0) == 0);
	subject_checkpoint();
	check_denied(CALL_A, 74);
}

/* whatever stasis calls inside, at checkpoint or restart, kills */
static void denied(void)
{
	static const unsigned deadly[] = {
		SYS_prctl,           SYS_arch_prctl,    SYS_rt_sigaction,
		SYS_sigaltstack,     SYS_kcmp,          SYS_membarrier,
		SYS_get_mempolicy,   SYS_keyctl,        SYS_getitimer,
		SYS_timer_create,    SYS_timer_gettime, SYS_futex,
		SYS_munmap,          SYS_mmap,          SYS_rseq,
		SYS_set_robust_list, SYS_seccomp,       SYS_capset,
		SYS_set_tid_address, SYS_prlimit64,
	};
	struct sock_filter program[64] = { LOAD_NR };
	size_t n = 1;

	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
		program[n++] = (struct sock_filter)IF_NR(deadly[i]);
		program[n++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
	}
	program[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	CHECK(install_program(program, n, 0) == 0);
	subject_checkpoint();
}

static void user(void)
{
	CHECK(chmod(".", 0777) == 0);
	CHECK(setresgid(1000, 1000, 1000) == 0);
	CHECK(setresuid(1000, 1000, 1000) == 0);
	CHECK(install(CALL_A, 71, 0) < 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
	CHECK(install(CALL_A, 71, 0) == 0);
	subject_checkpoint();
	check_denied(CALL_A, 71);
}

/* a child that has no filter itself may look at those of its parent */
static int look(void)
{
	struct {
		uint64_t index, flags;
	} metadata = { 0 };
	int status;

	subject_mark("child");
	subject_wait_go();
	CHECK(ptrace(PTRACE_SEIZE, getppid(), NULL, NULL) == 0);
	CHECK(ptrace(PTRACE_INTERRUPT, getppid(), NULL, NULL) == 0);
	CHECK(waitpid(getppid(), &status, __WALL) == getppid());
	CHECK(ptrace(0x420d /* PTRACE_SECCOMP_GET_METADATA */, getppid(), sizeof(metadata),
	             &metadata) > 0);
	return metadata.flags == SECCOMP_FILTER_FLAG_LOG ? 0 : 1;
}

static void logged(void)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0)
		_exit(look());
	subject_wait("child");
	CHECK(install(CALL_A, 71, SECCOMP_FILTER_FLAG_LOG) == 0);
	subject_checkpoint();
	while (waitpid(pid, &status, 0) < 0)
		CHECK(errno == EINTR);
	CHECK_EQ(status, 0);
}

static pid_t in_child(void (*run)(void), void (*check)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		if (run)
			run();
		subject_mark("child");
		subject_wait_go();
		check();
		_exit(0);
	}
	subject_wait("child");
	return pid;
}

static void check_a(void)
{
	check_denied(CALL_A, 71);
	check_count("1");
}

static void check_none(void)
{
	check_count("0");
	CHECK_EQ(prctl(PR_GET_SECCOMP), 0);
}

static void install_b(void)
{
	CHECK(install(CALL_B, 72, 0) == 0);
}

static void check_ab(void)
{
	check_denied(CALL_A, 71);
	check_denied(CALL_B, 72);
	check_count("2");
}

static void child_inherits(void)
{
	CHECK(install(CALL_A, 71, 0) == 0);
	pid_t pid = in_child(NULL, check_a);
	subject_checkpoint();
	subject_check_exit(pid, 0);
	check_a();
}

static void child_more(void)
{
	CHECK(install(CALL_A, 71, 0) == 0);
	pid_t pid = in_child(install_b, check_ab);
	subject_checkpoint();
	subject_check_exit(pid, 0);
	check_a();
}

static void child_less(void)
{
	pid_t pid = in_child(NULL, check_none);

	CHECK(install(CALL_A, 71, 0) == 0);
	/* a later one, which has it */
	CHECK(unlink("child") == 0);
	pid_t second = in_child(install_b, check_ab);
	subject_checkpoint();
	subject_check_exit(pid, 0);
	subject_check_exit(second, 0);
	check_a();
}

/* the parent in between has died: a placeholder makes it, which must not inherit the filter */
static void orphan_less(void)
{
	int status;

	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	pid_t middle = fork();
	CHECK(middle >= 0);
	if (middle == 0) {
		setsid(); /* a session that only a placeholder can give */
		in_child(NULL, check_none);
		_exit(0);
	}
	subject_check_exit(middle, 0);
	CHECK(install(CALL_A, 71, 0) == 0);
	subject_checkpoint();
	CHECK(wait(&status) > 0);
	CHECK_EQ(status, 0);
	check_a();
}

/* ---- threads ---- */

struct agent {
	pthread_t thread;
	void (*run)(void), (*check)(void);
};
static pthread_barrier_t set_up;

static void *agent_main(void *arg)
{
	const struct agent *a = arg;

	subject_use_stack();
	if (a->run)
		a->run();
	pthread_barrier_wait(&set_up);
	subject_wait_go();
	if (a->check)
		a->check();
	pthread_barrier_wait(&set_up);
	return NULL;
}

static void start(struct agent *agents, unsigned n)
{
	pthread_barrier_init(&set_up, NULL, n + 1);
	for (unsigned i = 0; i < n; i++)
		CHECK(pthread_create(&agents[i].thread, NULL, agent_main, &agents[i]) == 0);
	pthread_barrier_wait(&set_up);
}

/* all have one chain: a filter for all can be installed at once */
static void threads_share(void)
{
	struct agent agents[2] = { { .check = check_a }, { .check = check_a } };

	CHECK(install(CALL_A, 71, 0) == 0);
	start(agents, 2);
	subject_checkpoint();
	check_a();
	pthread_barrier_wait(&set_up);
	CHECK(pthread_join(agents[0].thread, NULL) == 0);
}

static void threads_own(void)
{
	struct agent agents[2] = { { .run = install_b, .check = check_ab }, { .check = check_a } };

	CHECK(install(CALL_A, 71, 0) == 0);
	start(agents, 2);
	/* the first one's chain is no part of ours */
	CHECK(install(CALL_C, 73, SECCOMP_FILTER_FLAG_TSYNC) > 0);
	subject_checkpoint();
	CHECK(install(CALL_C, 73, SECCOMP_FILTER_FLAG_TSYNC) > 0);
	check_a();
	pthread_barrier_wait(&set_up);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(agents[i].thread, NULL) == 0);
}

static void check_tsync(void)
{
	check_denied(CALL_A, 71);
	check_denied(CALL_C, 73);
	check_count("2");
}

static pthread_barrier_t synchronized;

static void check_after_tsync(void)
{
	pthread_barrier_wait(&synchronized);
	check_tsync();
}

/* a chain that is one allows this; two that are only equal would not */
static void threads_tsync(void)
{
	struct agent agents[2] = { { .check = check_after_tsync }, { .check = check_after_tsync } };

	pthread_barrier_init(&synchronized, NULL, 3);
	CHECK(install(CALL_A, 71, 0) == 0);
	start(agents, 2);
	subject_checkpoint();
	CHECK_EQ(install(CALL_C, 73, SECCOMP_FILTER_FLAG_TSYNC), 0);
	pthread_barrier_wait(&synchronized);
	check_tsync();
	pthread_barrier_wait(&set_up);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(agents[i].thread, NULL) == 0);
}

static void *last_thread(void *arg)
{
	char text[64] = "";

	subject_use_stack();
	while (!strchr(text, ')') || strrchr(text, ')')[2] != 'Z') {
		FILE *f = fopen("/proc/self/stat", "re");
		CHECK(f && fgets(text, sizeof(text), f));
		fclose(f);
	}
	/* the other thread waits: both have what the leader had */
	subject_checkpoint();
	CHECK_EQ(install(CALL_C, 73, SECCOMP_FILTER_FLAG_TSYNC), 0);
	check_tsync();
	exit(0);
}

static void *idle_thread(void *arg)
{
	subject_use_stack();
	subject_wait("never");
	return NULL;
}

static void dead_leader(void)
{
	pthread_t t;

	CHECK(install(CALL_A, 71, 0) == 0);
	CHECK(pthread_create(&t, NULL, last_thread, NULL) == 0);
	CHECK(pthread_create(&t, NULL, idle_thread, NULL) == 0);
	pthread_exit(NULL);
}

static void notify(void)
{
	struct sock_filter program[] = { LOAD_NR, IF_NR((unsigned)CALL_A),
		                         RETURN(SECCOMP_RET_USER_NOTIF),
		                         RETURN(SECCOMP_RET_ALLOW) };

	CHECK(install_program(program, 4, SECCOMP_FILTER_FLAG_NEW_LISTENER) >= 0);
	subject_checkpoint();
}

static void computed(void)
{
	struct sock_filter program[] = { BPF_STMT(BPF_LD | BPF_IMM, SECCOMP_RET_ALLOW),
		                         BPF_STMT(BPF_RET | BPF_A, 0) };

	CHECK(install_program(program, 2, 0) == 0);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	/* runs another program under a filter */
	if (argc > 2 && !strcmp(argv[1], "under")) {
		CHECK(install(CALL_A, 71, 0) == 0);
		execv(argv[2], argv + 2);
	}
	return SUBJECT_CASES(argc, argv, CASE(none), CASE(strict), CASE(filter), CASE(filters),
	                     CASE(many), CASE(long_filter), CASE(denied), CASE(user), CASE(logged),
	                     CASE(child_inherits), CASE(child_more), CASE(child_less),
	                     CASE(orphan_less), CASE(threads_share), CASE(threads_own),
	                     CASE(threads_tsync), CASE(dead_leader), CASE(notify), CASE(computed));
}
