/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signal dispositions with flags, mask and restorer, as the kernel has them.
 *
 * TEST actions round-trip -- actions
 * TEST all-caught round-trip -- all_caught
 * TEST shared round-trip except="map*shared pages" -- shared
 * TEST ignored-children round-trip -- children
 * TEST dead-leader round-trip needs=pidfd_thread -- dead_leader
 *
 * shared: pages of the second stack that hold zeros come back as the zero page.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "cases.h"

struct kernel_action {
	uint64_t handler, flags, restorer, mask;
};

static void set_action(int sig, struct kernel_action action)
{
	CHECK(syscall(SYS_rt_sigaction, sig, &action, NULL, 8) == 0);
}

static void check_action(int sig, struct kernel_action want)
{
	struct kernel_action action = { 0 };

	CHECK(syscall(SYS_rt_sigaction, sig, NULL, &action, 8) == 0);
	CHECK_EQ(action.handler, want.handler);
	CHECK_EQ(action.flags, want.flags);
	CHECK_EQ(action.restorer, want.restorer);
	CHECK_EQ(action.mask, want.mask);
}

#define SA_RESTORER_FLAG 0x04000000ull

static const struct {
	int sig;
	struct kernel_action action;
} set[] = {
	{ SIGHUP, { 1, 0, 0, 0 } }, /* SIG_IGN */
	{ SIGUSR1, { 0x1234560, SA_RESTORER_FLAG | SA_RESTART, 0x4567890, 0xf0f0 } },
	{ SIGUSR2, { 0x2345670, SA_RESTORER_FLAG | SA_SIGINFO | SA_NODEFER, 0x6543210, 0 } },
	{ SIGALRM, { 0x3456780, SA_RESTORER_FLAG | SA_ONSTACK | SA_RESETHAND, 0x7654320, 1 } },
	{ SIGCHLD, { 0, SA_NOCLDWAIT | SA_NOCLDSTOP, 0, 0 } }, /* the default, with flags */
	{ 64, { 0x4567890, SA_RESTORER_FLAG, 0x1111110, 0xfffffffe7ffbfeffull } },
};

static void actions(void)
{
	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++)
		set_action(set[i].sig, set[i].action);
	subject_checkpoint();
	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++)
		check_action(set[i].sig, set[i].action);
	check_action(SIGTERM, (struct kernel_action){ 0 });
	check_action(SIGPIPE, (struct kernel_action){ 0 });
}

/*
 * The tracer ends a list of calls by a signal that is ignored (src/task/tracer_list.c). Here there
 * is none, so that the calls are made one by one, and no handler is to be called.
 */
static volatile sig_atomic_t n_caught;

static void caught(int sig)
{
	(void)sig;
	n_caught++;
}

static void all_caught(void)
{
	struct sigaction action = { .sa_handler = caught }, now;

	for (int sig = 1; sig < SIGRTMAX; sig++)
		if (sig != SIGKILL && sig != SIGSTOP && (sig < 32 || sig >= SIGRTMIN))
			CHECK(sigaction(sig, &action, NULL) == 0);
	subject_checkpoint();
	CHECK_EQ(n_caught, 0);
	for (int sig = 1; sig < SIGRTMAX; sig++)
		if (sig != SIGKILL && sig != SIGSTOP && (sig < 32 || sig >= SIGRTMIN))
			CHECK(sigaction(sig, NULL, &now) == 0 && now.sa_handler == caught);
}

/* ---- shared by processes ---- */

static const struct kernel_action theirs = { 0x4444440, SA_RESTORER_FLAG, 0x5555550, 0xfe00 };

static int child_of_clone(void *arg)
{
	(void)arg;
	subject_use_stack();
	subject_settle("child");
	set_action(SIGUSR2, theirs);
	return 0;
}

static void shared(void)
{
	char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(stack != MAP_FAILED);
	set_action(SIGUSR1, set[1].action);
	pid_t pid = clone(child_of_clone, stack + 65536, CLONE_VM | CLONE_SIGHAND | SIGCHLD, NULL);
	CHECK(pid > 0);
	subject_wait("child");
	subject_checkpoint();
	check_action(SIGUSR1, set[1].action);
	subject_check_exit(pid, 0);
	check_action(SIGUSR2, theirs); /* what it has set is ours too */
}

/* ---- a parent that wants no zombies ---- */

static void children(void)
{
	set_action(SIGCHLD, (struct kernel_action){ 1, 0, 0, 0 });
	pid_t pid = fork();
	if (pid == 0) {
		subject_wait_go();
		_exit(0);
	}
	subject_checkpoint();
	check_action(SIGCHLD, (struct kernel_action){ 1, 0, 0, 0 });
	CHECK(waitpid(pid, NULL, 0) < 0 && errno == ECHILD);
}

/* ---- asked of a thread, because the leader has ended ---- */

static void *after_leader(void *arg)
{
	(void)arg;
	usleep(20000);
	subject_checkpoint();
	check_action(SIGUSR1, set[1].action);
	_exit(0);
}

static void dead_leader(void)
{
	pthread_t t;

	set_action(SIGUSR1, set[1].action);
	CHECK(pthread_create(&t, NULL, after_leader, NULL) == 0);
	syscall(SYS_exit, 0);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(actions), CASE(all_caught), CASE(shared),
	                     CASE(children), CASE(dead_leader));
}
