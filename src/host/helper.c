/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child that enters namespaces for us. See helper.h. */
#include "host/helper.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* what comes back, in memory that both see */
struct answer {
	int result;
	struct error err;
	char arg[];
};

static void begin(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* 0: the parent is outside the pid namespace that it makes children in */
	if (getppid() != parent && getppid() != 0)
		_exit(1);
	prctl(PR_SET_NAME, "stasis-helper");
}

static void __attribute__((noreturn))
helper_main(pid_t parent, helper_fn *fn, void *arg, size_t size, struct answer *answer)
{
	begin(parent);
	answer->err = ERROR_INIT;
	answer->result = fn(arg, &answer->err);
	memcpy(answer->arg, arg, size);
	_exit(0);
}

/* the status of a child that has ended */
static int await(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

int helper_run(helper_fn *fn, void *arg, size_t size, struct error *err)
{
	size_t room = sizeof(struct answer) + size;
	struct answer *answer = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
	                             -1, 0);
	pid_t self = getpid();
	int r;

	if (answer == MAP_FAILED)
		return error_raise(err, errno, "map memory to hear from a helper");
	/* as fork(2), but for the descriptors */
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		helper_main(self, fn, arg, size, answer);
	int status = pid < 0 ? 0 : await(pid);
	r = answer->result;
	if (pid < 0)
		r = error_raise(err, errno, "start a helper");
	else if (!WIFEXITED(status) || WEXITSTATUS(status))
		r = error_raise(err, ECHILD, "a helper died, status %x", status);
	else if (r < 0)
		*err = answer->err;
	if (r >= 0)
		memcpy(arg, answer->arg, size);
	munmap(answer, room);
	return r;
}

/* ---- in our memory ---- */

#define STACK_SIZE (1ul << 20)

struct here {
	pid_t parent;
	helper_fn *fn;
	void *arg;
	struct error *err;
	int result;
};

static int here_main(void *arg)
{
	struct here *here = arg;

	begin(here->parent);
	here->result = here->fn(here->arg, here->err);
	return 0; /* clone(2)'s wrapper ends it; _exit(2) has ASan wonder about the stack */
}

/* a handler of ours would run in the helper, too; but what ends us must, if it waits for a server
 */
static void block_handled(sigset_t *saved)
{
	static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	struct sigaction action;
	sigset_t set;

	sigfillset(&set);
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		if (sigaction(ending[i], NULL, &action) == 0 && action.sa_handler == SIG_DFL)
			sigdelset(&set, ending[i]);
	pthread_sigmask(SIG_BLOCK, &set, saved);
}

int helper_run_here(helper_fn *fn, void *arg, struct error *err)
{
	struct here here = { getpid(), fn, arg, err, -ECHILD };
	char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	sigset_t saved;

	if (stack == MAP_FAILED)
		return error_raise(err, errno, "map a stack for a helper");
	block_handled(&saved);
	pid_t pid = clone(here_main, stack + STACK_SIZE,
	                  CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &here);
	int saved_errno = errno, status = pid < 0 ? 0 : await(pid);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	munmap(stack, STACK_SIZE);
	if (pid < 0)
		return error_raise(err, saved_errno, "start a helper");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return error_raise(err, ECHILD, "a helper died, status %x", status);
	return here.result;
}
