/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking for Landlock. See landlock.h. */
#include "kind/cred/landlock.h"

#include <linux/capability.h>
#include <linux/kcmp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "task/tracer.h"

bool landlock_exists(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* its version */) > 0;
}

struct injection landlock_question(pid_t pid)
{
	return (struct injection){ .nr = __NR_kcmp,
		                   .arg = { (uint64_t)pid, (uint64_t)pid, KCMP_VM } };
}

/* only system calls: other threads may have held locks at the clone */
static void become(uint32_t uid, uint32_t gid, int user_ns, pid_t parent)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
	/* with all capabilities into the namespace, which may have no name for the ids */
	if (user_ns >= 0)
		syscall(SYS_prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP);
	if (syscall(SYS_setresgid, gid, gid, gid) < 0 ||
	    syscall(SYS_setresuid, uid, uid, uid) < 0 ||
	    (user_ns >= 0 && syscall(SYS_setns, user_ns, CLONE_NEWUSER) < 0) ||
	    syscall(SYS_capset, &header, none) < 0)
		syscall(SYS_exit_group, 1);
	syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL); /* changing ids has cleared it */
	if (syscall(SYS_getppid) != parent)
		syscall(SYS_exit_group, 1); /* it ended in between */
	syscall(SYS_prctl, PR_SET_DUMPABLE, 1);
	for (;;)
		syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
}

pid_t landlock_helper(uint32_t uid, uint32_t gid, int user_ns)
{
	pid_t parent = getpid();
	long pid = syscall(SYS_clone, 0, 0, 0, 0, 0); /* its end sends no SIGCHLD */
	int status;

	if (pid == 0)
		become(uid, gid, user_ns, parent);
	if (pid < 0)
		return -1;
	while (waitpid((pid_t)pid, &status, WUNTRACED | __WALL) < 0)
		if (errno != EINTR)
			return -1;
	return WIFSTOPPED(status) ? (pid_t)pid : -1;
}

void landlock_helper_end(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}
