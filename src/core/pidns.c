/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pid namespace for the tree. See pidns.h. */
#include "core/pidns.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/spawn.h"
#include "task/plan.h"
#include "task/stub.h"
#include "util/alloc.h"
#include "util/cleanup.h"

bool pidns_root_is_init(const struct restart *r)
{
	return r->plan->nodes[r->plan->root].tid == 1;
}

/* ---- our init ---- */

static void reap(bool *ret_childless)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
		;
	*ret_childless = pid < 0 && errno == ECHILD;
}

/*
 * What is left when the root has ended are children of ours, for orphans come to us. The root
 * itself is not: it is the coordinator's, who waits for it.
 */
static void init_loop(int root)
{
	sigset_t set;
	bool childless = false, ended = false;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	while (!(ended && childless)) {
		struct pollfd polls[] = { { .fd = signals, .events = POLLIN },
			                  { .fd = ended ? -1 : root, .events = POLLIN } };
		struct signalfd_siginfo info;
		poll(polls, 2, -1);
		while (read(signals, &info, sizeof(info)) > 0)
			;
		ended = ended || polls[1].revents;
		reap(&childless);
	}
}

/* pid 1 of the namespace: until it is released it dies with the coordinator */
static void init_main(int socket)
{
	sigset_t all;
	pid_t root;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "stasis-init");
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	dup3(socket, 3, O_CLOEXEC);
	close_range(4, UINT32_MAX, 0);
	if (recv(3, &root, sizeof(root), 0) != sizeof(root))
		_exit(1);
	int pidfd = pidfd_open(root, 0);
	if (pidfd < 0)
		_exit(1);
	prctl(PR_SET_PDEATHSIG, 0);
	if (send(3, "", 1, MSG_NOSIGNAL) != 1)
		_exit(1); /* nobody is left to launch the tree */
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd <= 3; fd++)
		if (fd != null && fd != pidfd)
			null >= 0 && fd < 3 ? dup2(null, fd) : close(fd);
	if (chdir("/") < 0)
		_exit(1);
	init_loop(pidfd);
	_exit(0);
}

static int start_init(struct restart *r, struct error *err)
{
	struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_raise(err, errno, "make a socket pair");
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		init_main(pair[1]);
	close(pair[1]);
	r->init_socket = pair[0];
	if (pid > 0) {
		r->new_init = (pid_t)pid;
		return 0;
	}
	return error_raise(err, errno, "make a pid namespace");
}

static int enter(struct restart *r, struct error *err)
{
	_cleanup_(close_p) int pidfd = pidfd_open(r->new_init, 0);

	if (pidfd < 0)
		return error_raise(err, errno, "pidfd of our init %d", r->new_init);
	if (setns(pidfd, CLONE_NEWPID) < 0)
		return error_raise(err, errno, "enter the new pid namespace");
	return 0;
}

int pidns_enter(struct restart *r, struct error *err)
{
	r->pidns_before = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (r->pidns_before < 0)
		return error_raise(err, errno, "open /proc/self/ns/pid");
	if (pidns_root_is_init(r))
		return 0;
	int e = start_init(r, err);
	if (e == 0)
		e = enter(r, err);
	return e < 0 ? error_trace(err, e) : 0;
}

int pidns_leave(struct restart *r, struct error *err)
{
	/* in a user namespace of ours we may not: nothing is forked after this, so it does not
	 * matter */
	if (r->new_init && !r->own_user && setns(r->pidns_before, CLONE_NEWPID) < 0)
		return error_raise(err, errno, "return to our own pid namespace");
	close_p(&r->pidns_before);
	return 0;
}

int pidns_release(struct restart *r, struct error *err)
{
	pid_t root = r->plan->nodes[r->plan->root].tid;
	char byte;

	if (!r->new_init)
		return 0;
	if (send(r->init_socket, &root, sizeof(root), MSG_NOSIGNAL) != sizeof(root) ||
	    recv(r->init_socket, &byte, 1, 0) != 1)
		return error_raise(err, EPROTO, "hand the tree to our init %d", r->new_init);
	return 0;
}

void pidns_undo(struct restart *r)
{
	if (r->new_init > 0) {
		kill(r->new_init, SIGKILL);
		while (waitpid(r->new_init, NULL, __WALL) < 0 && errno == EINTR)
			;
	}
	r->new_init = 0;
}

/* ---- pids, as we see them ---- */

/*
 * The second number of the NSpid line: the pid in the root's namespace, which is right below ours;
 * 0 if it has gone.
 */
static pid_t recorded_pid(const char *path)
{
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	char line[1024];

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "NSpid:", 6))
			continue;
		const char *ours = strchr(line, '\t');
		const char *recorded = ours ? strchr(ours + 1, '\t') : NULL;
		return recorded ? atoi(recorded + 1) : 0;
	}
	return 0;
}

static void note(struct restart *r, const char *status, pid_t host_tid)
{
	struct stub *stub = restart_stub_any(r, recorded_pid(status));

	if (stub)
		stub->host_tid = host_tid;
}

static int resolve_children(struct restart *r, pid_t tgid, pid_t tid, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task/%d/children", tgid, tid);
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	char status[64];
	pid_t pid;

	if (!f)
		return error_raise(err, errno, "open %s", path);
	while (fscanf(f, "%d", &pid) == 1) {
		snprintf(status, sizeof(status), "/proc/%d/status", pid);
		note(r, status, pid);
	}
	return 0;
}

static int resolve_threads(struct restart *r, pid_t tgid, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task", tgid);
	_cleanup_(closedir_p) DIR *d = opendir(path);
	char status[96];

	if (!d)
		return error_raise(err, errno, "open %s", path);
	for (struct dirent *e; (e = readdir(d));) {
		pid_t tid = atoi(e->d_name);
		if (tid <= 0)
			continue;
		snprintf(status, sizeof(status), "/proc/%d/task/%d/status", tgid, tid);
		note(r, status, tid);
	}
	return 0;
}

int pidns_resolve(struct restart *r, const struct stub *parent, struct error *err)
{
	const struct stub *leader = parent->leader;
	const struct stub *above = spawn_real_parent(r, leader);
	int e = resolve_children(r, leader->host_tid, parent->host_tid, err);

	if (e == 0)
		e = resolve_threads(r, leader->host_tid, err);
	/* CLONE_PARENT: what it made is its parent's */
	if (e == 0 && above && above->host_tid)
		e = resolve_children(r, above->leader->host_tid, above->host_tid, err);
	return e < 0 ? error_trace(err, e) : 0;
}
