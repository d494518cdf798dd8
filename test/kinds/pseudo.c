/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files and directories of /proc, /sys and cgroups: opened again, and those that are refused.
 *
 * TEST global round-trip -- global
 * TEST folder round-trip -- folder
 * TEST cwd round-trip -- cwd
 * TEST own round-trip -- own
 * TEST thread round-trip -- thread
 * TEST leader-ended round-trip needs=pidfd_thread -- leader_ended
 * TEST child round-trip -- child
 * TEST renumbered round-trip restart="--new-pidns" observe=no -- renumbered
 * TEST host-proc round-trip start="unshare -pf" checkpoint=--subtree except=fd/3,fd/4 -- renumbered
 * TEST renumbered-mount restart-refuse code=pseudo.task restart="--mntns new --new-pidns" -- mounts_own
 * TEST container round-trip start=container -- child
 * TEST sysfs round-trip -- sysfs
 * TEST mounts round-trip -- mounts
 * TEST mounts-own round-trip restart="--mntns new" -- mounts_own
 * TEST mounts-user restart-refuse code=pseudo.notice without=cap_sys_admin -- mounts
 * TEST mounts-of-user round-trip checkpoint=--subtree start="$TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" -- mounts_of_user
 * TEST bound round-trip start=container -- bound
 * TEST hostname round-trip -- hostname
 * TEST memory refuse code=pseudo.memory -- memory
 * TEST ended refuse code=pseudo.gone -- ended
 * TEST zombie round-trip -- zombie
 * TEST user round-trip checkpoint=--subtree start="$TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" -- user
 * TEST ipc round-trip -- ipc
 * TEST folders round-trip restart="--mntns new" -- folders
 * TEST covered round-trip restart="--mntns new" -- covered
 * TEST covered-mount round-trip restart="--mntns new" -- covered_mount
 * TEST covered-in-proc round-trip restart="--mntns new" -- covered_in_proc
 * TEST covered-in-late round-trip start=container -- covered_in_late
 * TEST covered-task refuse code=regfile.path -- covered_task
 * TEST mapped refuse code=mm.vmflags -- mapped
 * TEST rights refuse code=pseudo.rights -- unprivileged
 * TEST cwd-own round-trip -- cwd_own
 * TEST fdinfo refuse code=pseudo.file -- refused /proc/self/fdinfo/0 r
 * TEST fd-link refuse code=pseudo.file -- fd_link
 * TEST kmsg refuse code=pseudo.file -- refused /proc/kmsg r
 * TEST swaps refuse code=pseudo.file -- refused /proc/swaps r
 * TEST trigger refuse code=pseudo.file -- refused /proc/pressure/cpu rw
 * TEST clear-refs refuse code=pseudo.file -- refused /proc/self/clear_refs w
 * TEST outside refuse code=pseudo.task -- refused /proc/1/stat r
 * TEST sysvipc refuse code=pseudo.file -- refused /proc/sysvipc/shm r
 * TEST kallsyms refuse code=pseudo.rights -- kallsyms
 */
#include <dirent.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "cases.h"
#include "mounts.h"

static int open_it(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		FAIL("open %s: %s", path, strerror(errno));
	return fd;
}

/* all of it from the beginning; a static buffer */
static const char *text_of(int fd)
{
	static char text[65536];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	CHECK(n > 0);
	text[n] = 0;
	return text;
}

static void check_shown(int fd, const char *part)
{
	const char *text = text_of(fd);

	if (!strstr(text, part))
		FAIL("\"%s\" is not in \"%.200s\"", part, text);
}

static void check_link(int fd, const char *path)
{
	char link[40], text[4096];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, text, sizeof(text) - 1);
	CHECK(n > 0);
	text[n] = 0;
	if (strcmp(text, path))
		FAIL("fd %d is %s, not %s", fd, text, path);
}

static void global(void)
{
	char text[5] = "";
	int stat = open_it("/proc/stat", O_RDONLY), mem = open_it("/proc/meminfo", O_RDONLY);
	int max = open_it("/proc/sys/kernel/pid_max", O_RDWR);
	int path = open_it("/proc/kmsg", O_PATH);

	CHECK(read(stat, text, 3) == 3 && strlen(text_of(max)) > 2);
	subject_checkpoint();
	CHECK_EQ(lseek(stat, 0, SEEK_CUR), 3);
	check_shown(stat, "cpu ");
	check_shown(mem, "MemFree");
	CHECK_EQ(fcntl(max, F_GETFL) & O_ACCMODE, O_RDWR);
	CHECK(atoi(text_of(max)) > 100);
	check_link(path, "/proc/kmsg");
	CHECK(read(stat, text, 3) == 3);
}

/* in the middle of a readdir(3) */
static void folder(void)
{
	DIR *dir = opendir("/proc/sys/kernel");
	char seen[4096] = "";
	struct dirent *e;

	CHECK(dir);
	for (int i = 0; i < 5 && (e = readdir(dir)); i++)
		;
	long position = telldir(dir);
	for (int i = 0; i < 5 && (e = readdir(dir)); i++)
		strcat(seen, e->d_name);
	CHECK(seen[0]);
	int fd = open_it("/proc/sys/kernel", O_RDONLY | O_DIRECTORY);
	CHECK(lseek(fd, position, SEEK_SET) == position);
	subject_checkpoint();
	char now[4096] = "";
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), position);
	closedir(dir);
	CHECK((dir = fdopendir(fd)));
	for (int i = 0; i < 5 && (e = readdir(dir)); i++)
		strcat(now, e->d_name);
	if (strcmp(seen, now))
		FAIL("%s, not %s", now, seen);
}

static void work_in(const char *path)
{
	int top = open_it(".", O_PATH);

	CHECK(chdir(path) == 0);
	close(openat(top, "ready", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	while (faccessat(top, "go", F_OK, 0) < 0)
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

static void cwd(void)
{
	char path[4096];

	work_in("/proc");
	CHECK(getcwd(path, sizeof(path)) && !strcmp(path, "/proc"));
	CHECK(chdir("self") == 0);
}

static void cwd_own(void)
{
	char text[16] = "";

	work_in("/proc/self");
	int fd = open("stat", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	CHECK_EQ(atoi(text), getpid());
}

static void fd_link(void)
{
	open_it("/proc/self/fd/0", O_PATH | O_NOFOLLOW);
	subject_checkpoint();
}

static void own(void)
{
	char line[64];
	int status = open_it("/proc/self/status", O_RDONLY),
	    maps = open_it("/proc/self/maps", O_RDONLY);
	int mem = open_it("/proc/self/mem", O_RDWR), fds = open_it("/proc/self/fd", O_RDONLY);
	int environ_fd = open_it("/proc/self/environ", O_RDONLY);
	int link = open_it("/proc/self/exe", O_PATH | O_NOFOLLOW);
	static volatile int there = 4711;
	int copy = 0;

	subject_checkpoint();
	snprintf(line, sizeof(line), "\nPid:\t%d\n", (int)getpid());
	check_shown(status, line);
	check_shown(maps, "[stack]");
	CHECK(pread(mem, &copy, sizeof(copy), (off_t)(uintptr_t)&there) == sizeof(copy));
	CHECK_EQ(copy, 4711);
	copy = 815;
	CHECK(pwrite(mem, &copy, sizeof(copy), (off_t)(uintptr_t)&there) == sizeof(copy));
	CHECK_EQ(there, 815);
	snprintf(line, sizeof(line), "%d", status);
	CHECK(faccessat(fds, line, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
	check_shown(environ_fd, environ[0]);
	CHECK(readlinkat(link, "", line, sizeof(line)) > 0);
}

static void *wait_there(void *arg)
{
	char path[64];

	subject_use_stack();
	int fd = open_it("/proc/thread-self/comm", O_RDWR);
	subject_settle("thread");
	snprintf(path, sizeof(path), "/proc/%d/task/%ld/comm", (int)getpid(), syscall(SYS_gettid));
	check_link(fd, path);
	CHECK(write(fd, "changed", 7) == 7);
	check_shown(fd, "changed\n");
	return NULL;
}

static void thread(void)
{
	pthread_t id;

	CHECK(pthread_create(&id, NULL, wait_there, NULL) == 0);
	subject_wait("thread");
	subject_checkpoint();
	CHECK(pthread_join(id, NULL) == 0);
}

static void *go_on_alone(void *arg)
{
	char line[64];
	int fd = open_it("/proc/self/status", O_RDONLY);

	subject_use_stack();
	do /* its leader has ended */
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	while (!strstr(text_of(fd), "State:\tZ"));
	subject_checkpoint();
	snprintf(line, sizeof(line), "\nPid:\t%d\n", (int)getpid());
	check_shown(fd, line);
	check_shown(fd, "State:\tZ");
	exit(0);
}

static void leader_ended(void)
{
	pthread_t id;

	CHECK(pthread_create(&id, NULL, go_on_alone, NULL) == 0);
	pthread_exit(NULL);
}

static void child(void)
{
	char path[64], line[64];
	pid_t pid = fork();

	if (pid == 0) {
		subject_settle("child");
		_exit(3);
	}
	subject_wait("child");
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int stat = open_it(path, O_RDONLY);
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	int dir = open_it(path, O_RDONLY | O_DIRECTORY);
	snprintf(path, sizeof(path), "/proc/%d/net/dev", (int)pid);
	int net = open_it(path, O_RDONLY);
	subject_checkpoint();
	snprintf(line, sizeof(line), "%d (", (int)pid);
	check_shown(stat, line);
	check_shown(net, "lo:");
	subject_check_exit(pid, 3);
	char byte;
	CHECK(pread(stat, &byte, 1, 0) == -1 && errno == ESRCH);
	CHECK(openat(dir, "stat", O_RDONLY) == -1 && errno == ESRCH);
}

static void check_name(int fd, const char *name)
{
	char own[16];

	CHECK(write(fd, name, strlen(name)) > 0);
	CHECK(prctl(PR_GET_NAME, own) == 0);
	if (strcmp(own, name))
		FAIL("it is called %s, not %s", own, name);
}

/* in that proc it has another number than before */
static void renumbered(void)
{
	int process = open_it("/proc/self/comm", O_RDWR);
	int thread_fd = open_it("/proc/thread-self/comm", O_RDWR);

	subject_checkpoint();
	check_name(process, "one");
	check_name(thread_fd, "two");
}

static void sysfs(void)
{
	int fd = open_it("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY);
	int dir = open_it("/sys/kernel", O_RDONLY | O_DIRECTORY);
	char byte;

	CHECK(read(fd, &byte, 1) == 1);
	subject_checkpoint();
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 1);
	check_shown(fd, "madvise");
	CHECK(faccessat(dir, "mm", F_OK, 0) == 0);
}

static bool tells_news(int fd)
{
	struct pollfd p = { fd, POLLPRI, 0 };

	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents & POLLPRI;
}

/* whether there is something new when it is restarted cannot be told, so there is */
static void mounts(void)
{
	int info = open_it("/proc/self/mountinfo", O_RDONLY);

	text_of(info);
	CHECK(!tells_news(info));
	subject_checkpoint();
	CHECK(tells_news(info));
	CHECK(!tells_news(info));
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(tells_news(info));
	check_shown(info, "/mnt");
}

static void mounts_own(void)
{
	private_mounts();
	mounts();
}

static void mounts_of_user(void)
{
	CHECK(mount("proc", "/proc", "proc", 0, NULL) == 0);
	mounts();
}

static void hostname(void)
{
	int fd = open_it("/proc/sys/kernel/hostname", O_RDONLY);

	CHECK(!tells_news(fd));
	subject_checkpoint();
	CHECK(tells_news(fd));
	CHECK(!tells_news(fd));
}

/* it shows memory that went with execve(2) */
static void memory(void)
{
	open("/proc/self/mem", O_RDONLY);
	execl("/proc/self/exe", "subject", "checkpoint", NULL);
}

static void ended(void)
{
	char path[64];
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	open_it(path, O_RDONLY);
	CHECK(waitpid(pid, NULL, 0) == pid);
	subject_checkpoint();
}

static void zombie(void)
{
	char path[64], line[64];
	pid_t pid = fork();

	if (pid == 0)
		_exit(3);
	CHECK(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT) == 0);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int fd = open_it(path, O_RDONLY);
	subject_checkpoint();
	snprintf(line, sizeof(line), "%d (pseudo.subject) Z", (int)pid);
	check_shown(fd, line);
	subject_check_exit(pid, 3);
}

/* ids are those of the user namespace of who has opened it */
static void user(void)
{
	CHECK(mount("proc", "/proc", "proc", 0, NULL) == 0);
	int status = open_it("/proc/self/status", O_RDONLY);
	int map = open_it("/proc/self/uid_map", O_RDONLY);

	check_shown(status, "Uid:\t0\t0\t0\t0\n");
	check_shown(map, "100000");
	subject_checkpoint();
	check_shown(status, "Uid:\t0\t0\t0\t0\n");
	check_shown(map, "100000");
}

/* a setting is of the IPC namespace of who has opened it */
static void ipc(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	int fd = open_it("/proc/sys/kernel/msgmnb", O_RDWR);
	CHECK(write(fd, "4711", 4) == 4);
	subject_checkpoint();
	check_shown(fd, "4711\n");
	CHECK(pwrite(fd, "815", 3, 0) == 3);
	int again = open_it("/proc/sys/kernel/msgmnb", O_RDONLY);
	check_shown(again, "815\n");
}

static void folders(void)
{
	private_mounts();
	CHECK(mount("none", "/mnt", "mqueue", 0, NULL) == 0);
	int queues = open_it("/mnt", O_RDONLY | O_DIRECTORY);
	int terminals = open_it("/dev/pts", O_RDONLY | O_DIRECTORY);
	subject_checkpoint();
	check_link(queues, "/mnt");
	CHECK(faccessat(terminals, "ptmx", F_OK, 0) == 0);
}

/* as the runtimes of containers do it */
static void bound(void)
{
	bind_mount("/proc/sys", "/proc/sys");
	int fd = open_it("/proc/sys/kernel/pid_max", O_RDONLY);
	int dir = open_it("/proc/sys/kernel", O_RDONLY | O_DIRECTORY);
	subject_checkpoint();
	check_link(fd, "/proc/sys/kernel/pid_max");
	CHECK(atoi(text_of(fd)) > 100);
	CHECK(faccessat(dir, "pid_max", F_OK, 0) == 0);
}

static void covered(void)
{
	private_mounts();
	int fd = open_it("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY);
	int dir = open_it("/sys/kernel/mm", O_RDONLY | O_DIRECTORY);
	mount_tmpfs("/sys/kernel/mm", NULL);
	subject_checkpoint();
	check_shown(fd, "madvise");
	CHECK(faccessat(dir, "transparent_hugepage", F_OK, 0) == 0);
	CHECK(access("/sys/kernel/mm/transparent_hugepage", F_OK) < 0);
}

static void covered_mount(void)
{
	private_mounts();
	int stat = open_it("/proc/stat", O_RDONLY), own = open_it("/proc/self/stat", O_RDONLY);
	mount_tmpfs("/proc", NULL);
	subject_checkpoint();
	check_shown(stat, "cpu ");
	CHECK_EQ(atoi(text_of(own)), getpid());
	CHECK(access("/proc/stat", F_OK) < 0);
}

static void covered_in_late(void)
{
	int fd = open_it("/proc/sys/kernel/pid_max", O_RDONLY);
	mount_tmpfs("/proc/sys", NULL);
	subject_checkpoint();
	check_link(fd, "/proc/sys/kernel/pid_max");
	CHECK(atoi(text_of(fd)) > 100);
	CHECK(access("/proc/sys/kernel", F_OK) < 0);
}

static void covered_in_proc(void)
{
	private_mounts();
	covered_in_late();
}

static void covered_task(void)
{
	private_mounts();
	open_it("/proc/self/stat", O_RDONLY);
	bind_mount("/proc/uptime", "/proc/self/stat");
	subject_checkpoint();
}

static void mapped(void)
{
	int fd = open_it("/sys/kernel/btf/vmlinux", O_RDONLY);

	if (mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED)
		SKIP("this kernel does not map it\n");
	close(fd);
	subject_checkpoint();
}

static void unprivileged(void)
{
	CHECK(chmod(".", 0777) == 0);
	open_it("/proc/self/pagemap", O_RDONLY);
	CHECK(setresuid(1000, 1000, 1000) == 0);
	subject_checkpoint();
}

static void kallsyms(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	open_it("/proc/kallsyms", O_RDONLY);
	CHECK(syscall(SYS_capget, &head, data) == 0);
	data[0].effective &= ~(1u << CAP_SYS_ADMIN);
	CHECK(syscall(SYS_capset, &head, data) == 0);
	subject_checkpoint();
}

static void refused(int argc, char **argv)
{
	CHECK_EQ(argc, 4);
	bool reads = argv[3][0] == 'r', writes = strchr(argv[3], 'w');
	open_it(argv[2], !reads ? O_WRONLY : writes ? O_RDWR : O_RDONLY);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "refused")) {
		refused(argc, argv);
		return 0;
	}
	return SUBJECT_CASES(argc, argv, CASE(global), CASE(folder), CASE(cwd), CASE(cwd_own),
	                     CASE(fd_link), CASE(own), CASE(thread), CASE(leader_ended),
	                     CASE(child), CASE(sysfs), CASE(renumbered), CASE(kallsyms),
	                     CASE(mounts), CASE(mounts_own), CASE(mounts_of_user), CASE(hostname),
	                     CASE(memory), CASE(zombie), CASE(user), CASE(ipc), CASE(folders),
	                     CASE(mapped), CASE(bound), CASE(covered), CASE(covered_mount),
	                     CASE(covered_in_proc), CASE(covered_in_late), CASE(covered_task),
	                     CASE(unprivileged), CASE(ended),
	                     CASE_NAMED("checkpoint", subject_checkpoint));
}
