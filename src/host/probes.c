/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The probes. Each tries the thing itself, harmlessly, rather than comparing version numbers
 * (distributions backport). Those that need a traced or a cloned child share one kind of child
 * that ends by itself and whose death no SIGCHLD announces.
 */
#include "host/probes.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kcmp.h>
#include <linux/membarrier.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "host/features.h"
#include "util/cleanup.h"
#include "util/uapi.h"

/* ---- children that probes need ---- */

/* a fork without SIGCHLD at its end */
static pid_t quiet_fork(uint64_t flags)
{
	struct clone_args args = { .flags = flags };

	return (pid_t)syscall(__NR_clone3, &args, sizeof(args));
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/* whether probe(pid) holds for a child of ours that is in a ptrace stop */
static bool with_traced_child(bool (*probe)(pid_t pid))
{
	int status;
	pid_t pid = quiet_fork(0);

	if (pid < 0)
		return false;
	if (pid == 0) {
		/* only system calls here: other threads may have held locks at the fork */
		syscall(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			syscall(__NR_pause);
	}
	bool ok = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 &&
	          ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == 0 &&
	          waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status) && probe(pid);
	end_child(pid);
	return ok;
}

static bool traced_rseq(pid_t pid)
{
	struct __ptrace_rseq_configuration conf;

	return ptrace(PTRACE_GET_RSEQ_CONFIGURATION, pid, sizeof(conf), &conf) == sizeof(conf);
}

static bool traced_suspend_seccomp(pid_t pid)
{
	return ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_SUSPEND_SECCOMP) == 0;
}

static bool traced_seccomp_filter(pid_t pid)
{
	/* a task without filters: EINVAL (no such filter); EACCES without privilege; else EIO */
	return ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, NULL) < 0 &&
	       (errno == EINVAL || errno == ENOENT);
}

static bool traced_syscall_user_dispatch(pid_t pid)
{
	struct ptrace_sud_config conf;

	return ptrace(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, pid, sizeof(conf), &conf) == 0;
}

/* ---- the probes, in the order of features.def ---- */

bool probe_kcmp(void)
{
	return syscall(__NR_kcmp, getpid(), getpid(), KCMP_VM, 0, 0) == 0;
}

bool probe_pidfd_getfd(void)
{
	_cleanup_(close_p) int pidfd = (int)syscall(__NR_pidfd_open, getpid(), 0);

	/* EBADF: the call is there, the descriptor is not */
	return pidfd >= 0 && syscall(__NR_pidfd_getfd, pidfd, 0x7ffffff0, 0) < 0 && errno == EBADF;
}

bool probe_clone3_set_tid(void)
{
	/*
	 * Pid 1 is always taken: EEXIST to a caller that may choose pids, EPERM to one that may
	 * not; nothing is made (alloc_pid() checks the capability first).
	 */
	pid_t tid = 1;
	struct clone_args args = { .set_tid = (uintptr_t)&tid, .set_tid_size = 1 };
	long pid = syscall(__NR_clone3, &args, sizeof(args));

	if (pid == 0)
		_exit(0);
	return pid < 0 && errno == EEXIST;
}

bool probe_set_mm_map(void)
{
	unsigned size;

	return prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) == 0;
}

bool probe_pidfd_thread(void)
{
	_cleanup_(close_p) int pidfd = (int)syscall(__NR_pidfd_open, gettid(), PIDFD_THREAD);

	return pidfd >= 0;
}

/* whether PAGEMAP_SCAN over one page of ours takes this category */
static bool scan_category(uint64_t category)
{
	_cleanup_(close_p) int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	long page = sysconf(_SC_PAGESIZE);
	struct page_region region;
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = category,
		.return_mask = category,
	};

	if (fd < 0)
		return false;
	arg.start = (uintptr_t)&region & ~(uint64_t)(page - 1);
	arg.end = arg.start + (uint64_t)page;
	return ioctl(fd, PAGEMAP_SCAN, &arg) >= 0;
}

bool probe_map_files(void)
{
	char path[64];
	char *page = mmap(NULL, 1, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return false;
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)page,
	         (unsigned long)page + 4096);
	_cleanup_(close_p) int fd = open(path, O_PATH | O_CLOEXEC);
	munmap(page, 1);
	return fd >= 0;
}

bool probe_pagemap_scan(void)
{
	return scan_category(PAGE_IS_PRESENT);
}

bool probe_pagemap_scan_guard(void)
{
	return feature(FEATURE_pagemap_scan) && scan_category(PAGE_IS_GUARD);
}

/* an anonymous page of ours; NULL when there is none to be had */
static void *map_page(int protection, int flags)
{
	void *p = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), protection, flags | MAP_ANONYMOUS, -1,
	               0);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap_page(void *p)
{
	if (p)
		munmap(p, (size_t)sysconf(_SC_PAGESIZE));
}

bool probe_madv_guard(void)
{
	void *p = map_page(PROT_READ | PROT_WRITE, MAP_PRIVATE);
	bool ok = p && madvise(p, (size_t)sysconf(_SC_PAGESIZE), MADV_GUARD_INSTALL) == 0;

	unmap_page(p);
	return ok;
}

bool probe_map_droppable(void)
{
	void *p = map_page(PROT_READ | PROT_WRITE, MAP_DROPPABLE);

	unmap_page(p);
	return p;
}

bool probe_mseal(void)
{
	return syscall(__NR_mseal, 0, 0, 0) == 0; /* nothing, sealed */
}

bool probe_pkeys(void)
{
	int key = pkey_alloc(0, 0);

	return key > 0 && pkey_free(key) == 0;
}

bool probe_proc_mem_force(void)
{
	/* kernels from 6.12 can forbid it (proc_mem.force_override=) */
	_cleanup_(close_p) int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	char *p = map_page(PROT_READ, MAP_PRIVATE);
	bool ok = fd >= 0 && p && pwrite(fd, "x", 1, (off_t)(uintptr_t)p) == 1;

	unmap_page(p);
	return ok;
}

bool probe_writable_code(void)
{
	/* security modules can forbid it */
	char *p = map_page(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED);

	unmap_page(p);
	return p;
}

bool probe_statmount(void)
{
	/* a mount that cannot exist: ENOENT from a kernel that has the call */
	struct mnt_id_req req = { .size = MNT_ID_REQ_SIZE_VER0, .mnt_id = ~0ull >> 1 };
	struct statmount result;

	return syscall(__NR_statmount, &req, &result, sizeof(result), 0) < 0 && errno == ENOENT;
}

bool probe_statmount_ns(void)
{
	static const uint64_t wanted = STATMOUNT_OPT_ARRAY | STATMOUNT_MNT_UIDMAP;
	struct mnt_id_req req = { .size = MNT_ID_REQ_SIZE_VER1, .param = STATMOUNT_SUPPORTED_MASK };
	struct statmount result = { 0 };
	struct statx sx;

	if (!feature(FEATURE_statmount) ||
	    statx(AT_FDCWD, "/", AT_STATX_DONT_SYNC, STATX_MNT_ID_UNIQUE, &sx) < 0)
		return false;
	req.mnt_id = sx.stx_mnt_id;
	return syscall(__NR_statmount, &req, &result, sizeof(result), 0) == 0 &&
	       (result.supported_mask & wanted) == wanted;
}

bool probe_eventfd_semaphore(void)
{
	_cleanup_(close_p) int fd = eventfd(0, EFD_CLOEXEC);
	char path[40], text[512] = "";

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	_cleanup_(close_p) int info = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && info >= 0 && read(info, text, sizeof(text) - 1) > 0 &&
	       strstr(text, "eventfd-semaphore:");
}

bool probe_cachestat(void)
{
	_cleanup_(close_p) int fd = (int)syscall(SYS_memfd_create, "probe", MFD_CLOEXEC);
	struct cachestat_range range = { 0, 4096 };
	struct cachestat found;

	return fd >= 0 && syscall(__NR_cachestat, fd, &range, &found, 0) == 0;
}

bool probe_proc_pidns(void)
{
	_cleanup_(close_p) int ns = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	_cleanup_(close_p) int context = fsopen("proc", FSOPEN_CLOEXEC);

	return ns >= 0 && context >= 0 &&
	       fsconfig(context, FSCONFIG_SET_FD, "pidns", NULL, ns) == 0;
}

bool probe_pid_in_pidns(void)
{
	_cleanup_(close_p) int ns = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

	return ns >= 0 && ioctl(ns, NS_GET_PID_IN_PIDNS, getpid()) == getpid();
}

bool probe_timer_restore_ids(void)
{
	return prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;
}

bool probe_ptrace_rseq(void)
{
	return with_traced_child(traced_rseq);
}

bool probe_ptrace_suspend_seccomp(void)
{
	return with_traced_child(traced_suspend_seccomp);
}

bool probe_ptrace_seccomp_filter(void)
{
	return with_traced_child(traced_seccomp_filter);
}

bool probe_ptrace_syscall_user_dispatch(void)
{
	return with_traced_child(traced_syscall_user_dispatch);
}

bool probe_membarrier_registrations(void)
{
	return syscall(__NR_membarrier, MEMBARRIER_GET_REGISTRATIONS, 0, 0) >= 0;
}

bool probe_mdwe(void)
{
	return prctl(PR_GET_MDWE, 0, 0, 0, 0) >= 0;
}

bool probe_memory_merge(void)
{
	return prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) >= 0;
}

bool probe_thp_except_advised(void)
{
	int status = 1;
	pid_t pid = quiet_fork(0); /* it sets it for its own memory only */

	if (pid == 0)
		syscall(__NR_exit_group, syscall(__NR_prctl, PR_SET_THP_DISABLE, 1,
		                                 PR_THP_DISABLE_EXCEPT_ADVISED, 0, 0) != 0);
	while (pid > 0 && waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
	return pid > 0 && status == 0;
}

bool probe_core_scheduling(void)
{
	uint64_t cookie = 0;

	return prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, PR_SCHED_CORE_SCOPE_THREAD, &cookie) == 0;
}

bool probe_user_namespaces(void)
{
	pid_t pid = quiet_fork(CLONE_NEWUSER);

	if (pid == 0)
		_exit(0);
	if (pid < 0)
		return false;
	end_child(pid);
	return true;
}
