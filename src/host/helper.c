/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child that enters namespaces for us. See helper.h. */
#include "host/helper.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* what comes back, in memory that both see */
struct answer {
	int result;
	struct error err;
};

static void __attribute__((noreturn))
helper_main(pid_t parent, helper_fn *fn, void *arg, struct answer *answer)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	prctl(PR_SET_NAME, "stasis-helper");
	answer->err = ERROR_INIT;
	answer->result = fn(arg, &answer->err);
	_exit(0);
}

int helper_run(helper_fn *fn, void *arg, struct error *err)
{
	struct answer *answer = mmap(NULL, sizeof(*answer), PROT_READ | PROT_WRITE,
	                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t self = getpid();
	int status = 0, r;

	if (answer == MAP_FAILED)
		return error_raise(err, errno, "map memory to hear from a helper");
	/* as fork(2), but for the descriptors */
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		helper_main(self, fn, arg, answer);
	if (pid < 0) {
		r = error_raise(err, errno, "start a helper");
		munmap(answer, sizeof(*answer));
		return r;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	r = answer->result;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		r = error_raise(err, ECHILD, "a helper died, status %x", status);
	else if (r < 0)
		*err = answer->err;
	munmap(answer, sizeof(*answer));
	return r;
}
