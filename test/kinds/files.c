/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptor tables: numbers, close-on-exec, who shares them; and what no kind supports.
 * The size of a very large table is the kernel's matter (status/FDSize); the observer takes too
 * long for thousands of descriptors.
 *
 * TEST numbers round-trip -- numbers
 * TEST empty round-trip -- empty
 * TEST many round-trip observe=no -- many
 * TEST full round-trip observe=no -- full
 * TEST alike round-trip observe=no -- alike
 * TEST high round-trip -- high
 * TEST highest round-trip -- highest
 * TEST each-number restart-refuse code=files.limit under="setpriv --bounding-set=-sys_resource prlimit --nofile=300" -- each_number
 * TEST threads round-trip -- threads
 * TEST processes round-trip -- processes
 * TEST memory-apart round-trip -- memory_apart
 * TEST own-table round-trip needs=pidfd_thread -- own_table
 * TEST dead-leader round-trip needs=pidfd_thread -- dead_leader
 * TEST own-table-unreachable refuse code=files.thread without=pidfd_thread -- own_table
 * TEST dead-leader-unreachable refuse code=files.thread without=pidfd_thread -- dead_leader
 * TEST too-many refuse code=files.many observe=no -- too_many
 * TEST socket refuse code=fd.unsupported -- socket
 * TEST epoll refuse code=fd.unsupported -- epoll
 * TEST inotify refuse code=fd.unsupported -- inotify
 * TEST fanotify refuse code=fd.unsupported -- fanotify
 * TEST memfd refuse code=fd.unsupported -- memfd
 * TEST memfd-secret refuse code=regfile.filesystem -- memfd-secret
 * TEST io-uring refuse code=fd.unsupported -- io-uring
 * TEST perf refuse code=fd.unsupported -- perf
 * TEST bpf refuse code=fd.unsupported -- bpf
 * TEST userfaultfd refuse code=fd.unsupported -- userfaultfd
 * TEST pidfd refuse code=fd.unsupported -- pidfd
 * TEST mqueue refuse code=ipc.mq-descriptor -- mqueue
 * TEST ptmx refuse code=fd.unsupported -- ptmx
 * TEST device refuse code=fd.unsupported -- device
 * TEST mount refuse code=fd.unsupported -- mount
 */
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"

static int null_device(void)
{
	int fd = open("/dev/null", O_RDWR);

	CHECK(fd >= 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void numbers(void)
{
	int fd = null_device();

	CHECK_EQ(dup3(fd, 10, O_CLOEXEC), 10);
	CHECK_EQ(dup2(fd, 12), 12);
	CHECK_EQ(dup3(fd, 300, O_CLOEXEC), 300);
	CHECK_EQ(dup2(fd, 301), 301);
	CHECK_EQ(fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
	close(0);
	subject_checkpoint();
	CHECK_EQ(is_open(0), false);
	CHECK_EQ(is_open(11), false);
	CHECK_EQ(is_open(299), false);
	CHECK_EQ(is_open(302), false);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(10, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(12, F_GETFD), 0);
	CHECK_EQ(fcntl(300, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(301, F_GETFD), 0);
	CHECK_EQ(null_device(), 0);
}

static void empty(void)
{
	for (int i = 0; i < 3; i++)
		close(i);
	subject_checkpoint();
	CHECK_EQ(is_open(0) || is_open(1) || is_open(2), false);
}

/* @n distinct descriptions from number @first on, every @step */
static void open_many(int first, int n, int step)
{
	struct rlimit limit;

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int i = 0; i < n; i++) {
		int fd = open("file", O_CREAT | O_RDWR, 0600);
		CHECK(fd >= 0);
		CHECK_EQ(lseek(fd, i, SEEK_SET), i);
		CHECK_EQ(dup3(fd, first + i * step, i % 3 ? 0 : O_CLOEXEC), first + i * step);
		close(fd);
	}
}

static void check_many(int first, int n, int step)
{
	for (int i = 0; i < n; i++) {
		CHECK_EQ(lseek(first + i * step, 0, SEEK_CUR), i);
		CHECK_EQ(fcntl(first + i * step, F_GETFD), i % 3 ? 0 : FD_CLOEXEC);
		for (int k = 1; k < step; k++)
			CHECK_EQ(is_open(first + i * step + k), false);
	}
}

static void many(void)
{
	open_many(10, 3000, 3);
	subject_checkpoint();
	check_many(10, 3000, 3);
}

/* no number free below the highest */
static void full(void)
{
	open_many(4, 1000, 1);
	CHECK_EQ(dup2(4, 3), 3);
	subject_checkpoint();
	check_many(4, 1000, 1);
	CHECK_EQ(dup(0), 1004);
}

/* thousands that nothing but kcmp tells apart */
static void alike(void)
{
	open_many(10, 1, 1);
	for (int i = 11; i < 4000; i++) {
		int fd = open("file", O_RDWR);
		CHECK(fd >= 0);
		if (fd != i) {
			CHECK_EQ(dup2(fd, i), i);
			close(fd);
		}
	}
	subject_checkpoint();
	for (int i = 11; i < 4000; i++)
		CHECK_EQ(lseek(i, i, SEEK_SET), i);
	for (int i = 11; i < 4000; i++)
		CHECK_EQ(lseek(i, 0, SEEK_CUR), i);
}

static void high(void)
{
	open_many(9000, 5, 17);
	subject_checkpoint();
	check_many(9000, 5, 17);
}

/* the last number that the hard limit allows: there is none above it for a stub's socket */
static void highest(void)
{
	struct rlimit limit;

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	open_many((int)limit.rlim_max - 300, 300, 1);
	subject_checkpoint();
	check_many((int)limit.rlim_max - 300, 300, 1);
}

/* for a restart with the same limit no number is free but a low one */
static void each_number(void)
{
	const struct rlimit limit = { 300, 300 };

	open_many(4, 296, 1);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	subject_checkpoint();
}

static void *opener(void *arg)
{
	subject_use_stack();
	subject_settle("thread");
	CHECK_EQ(dup2(0, 40), 40);
	return NULL;
}

static void threads(void)
{
	pthread_t t;

	CHECK_EQ(pthread_create(&t, NULL, opener, NULL), 0);
	subject_wait("thread");
	subject_checkpoint();
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(is_open(40), true);
}

static char stack[65536] __attribute__((aligned(16)));

static int process(void *arg)
{
	subject_settle("process");
	CHECK_EQ(dup2(0, 40), 40);
	syscall(SYS_exit, 0);
	return 0;
}

/* one table and one memory, but not threads of one process */
static void processes(void)
{
	memset(stack, 1, sizeof(stack));
	pid_t child = clone(process, stack + sizeof(stack), CLONE_FILES | CLONE_VM | SIGCHLD, NULL);

	CHECK(child > 0);
	subject_wait("process");
	subject_checkpoint();
	subject_check_exit(child, 0);
	CHECK_EQ(is_open(40), true);
}

/* one table, memory apart: what is handed to the second while it is filled lands in the first's */
static void memory_apart(void)
{
	int fd = null_device();

	CHECK_EQ(dup2(fd, 20), 20);
	pid_t child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		subject_settle("process");
		CHECK_EQ(dup2(0, 40), 40);
		_exit(0);
	}
	subject_wait("process");
	subject_checkpoint();
	subject_check_exit(child, 0);
	CHECK_EQ(is_open(40), true);
	CHECK_EQ(is_open(20), true);
}

static void *loner(void *arg)
{
	subject_use_stack();
	CHECK_EQ(unshare(CLONE_FILES), 0);
	CHECK_EQ(open("own", O_CREAT | O_RDWR, 0600), *(int *)arg);
	CHECK_EQ(lseek(*(int *)arg, 5, SEEK_SET), 5);
	subject_settle("thread");
	CHECK_EQ(lseek(*(int *)arg, 0, SEEK_CUR), 5);
	CHECK_EQ(dup2(0, 40), 40);
	return NULL;
}

static void own_table(void)
{
	int number = null_device();
	pthread_t t;

	close(number);
	CHECK_EQ(pthread_create(&t, NULL, loner, &number), 0);
	subject_wait("thread");
	CHECK_EQ(is_open(number), false);
	subject_checkpoint();
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(is_open(40), false);
}

static void *survivor(void *arg)
{
	char path[64], text[256] = "";

	subject_use_stack();
	/* the leader is a zombie when it has exited */
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
	while (!strstr(text, ") Z ")) {
		int fd = open(path, O_RDONLY);
		CHECK(fd >= 0);
		ssize_t n = read(fd, text, sizeof(text) - 1);
		text[n < 0 ? 0 : n] = 0;
		close(fd);
		sched_yield();
	}
	CHECK_EQ(lseek(*(int *)arg, 6, SEEK_SET), 6);
	subject_checkpoint();
	CHECK_EQ(lseek(*(int *)arg, 0, SEEK_CUR), 6);
	exit(0);
}

static void dead_leader(void)
{
	static int fd;
	pthread_t t;

	fd = open("file", O_CREAT | O_RDWR, 0600);
	CHECK_EQ(pthread_create(&t, NULL, survivor, &fd), 0);
	pthread_exit(NULL);
}

static void too_many(void)
{
	struct rlimit limit;

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max = 81000;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		SKIP("the limit of open files cannot be raised to 81000");
	for (int i = 10; i < 80500; i++)
		CHECK_EQ(dup2(0, i), i);
	subject_checkpoint();
}

/* ---- what is refused ---- */

static void refused(long fd)
{
	if (fd < 0)
		SKIP("not to be had here: %s", strerror(errno));
	subject_checkpoint();
	CHECK(is_open((int)fd));
}

static void a_socket(void)
{
	refused(socket(AF_UNIX, SOCK_STREAM, 0));
}

static void an_epoll(void)
{
	refused(epoll_create1(0));
}

static void an_inotify(void)
{
	refused(inotify_init());
}

static void a_fanotify(void)
{
	refused(fanotify_init(FAN_CLASS_NOTIF, O_RDONLY));
}

static void a_memfd(void)
{
	refused(memfd_create("name", 0));
}

static void a_secret(void)
{
	refused(syscall(447 /* memfd_secret */, 0));
}

static void an_io_uring(void)
{
	struct io_uring_params params = { 0 };

	refused(syscall(SYS_io_uring_setup, 4, &params));
}

static void a_perf_event(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
		                        .size = sizeof(attr),
		                        .config = PERF_COUNT_SW_CPU_CLOCK };

	refused(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

static void a_bpf_map(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1
	};

	refused(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}

static void a_userfaultfd(void)
{
	refused(syscall(SYS_userfaultfd, O_CLOEXEC));
}

static void a_pidfd(void)
{
	refused(syscall(SYS_pidfd_open, getpid(), 0));
}

static void an_mqueue(void)
{
	syscall(SYS_mq_unlink, "stasis-test");
	long fd = syscall(SYS_mq_open, "stasis-test", O_CREAT | O_RDWR, 0600, NULL);
	syscall(SYS_mq_unlink, "stasis-test");
	refused(fd);
}

static void a_ptmx(void)
{
	refused(open("/dev/ptmx", O_RDWR | O_NOCTTY));
}

static void a_device(void)
{
	int fd = open("/dev/kmsg", O_RDONLY);

	refused(fd < 0 ? open("/dev/fuse", O_RDWR) : fd);
}

static void a_mount(void)
{
	refused(syscall(SYS_fsopen, "tmpfs", 0));
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(numbers), CASE(empty), CASE(many), CASE(full),
	                     CASE(alike), CASE(high), CASE(highest), CASE(each_number),
	                     CASE(threads), CASE(processes), CASE(memory_apart), CASE(own_table),
	                     CASE(dead_leader), CASE(too_many), CASE_NAMED("socket", a_socket),
	                     CASE_NAMED("epoll", an_epoll), CASE_NAMED("inotify", an_inotify),
	                     CASE_NAMED("fanotify", a_fanotify), CASE_NAMED("memfd", a_memfd),
	                     CASE_NAMED("memfd-secret", a_secret),
	                     CASE_NAMED("io-uring", an_io_uring), CASE_NAMED("perf", a_perf_event),
	                     CASE_NAMED("bpf", a_bpf_map), CASE_NAMED("userfaultfd", a_userfaultfd),
	                     CASE_NAMED("pidfd", a_pidfd), CASE_NAMED("mqueue", an_mqueue),
	                     CASE_NAMED("ptmx", a_ptmx), CASE_NAMED("device", a_device),
	                     CASE_NAMED("mount", a_mount));
}
