/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cgroup namespaces, and the cgroups that are a tree's own: they are made again with their settings
 * where they are missing. The subject's groups are named after the place of its directory, since
 * tests run side by side; the runner takes them away.
 *
 * TEST own round-trip -- own
 * TEST missing round-trip before="sh remove" -- own
 * TEST settings-v2 round-trip before="sh remove" -- settings_v2
 * TEST left-v2 round-trip -- settings_v2
 * TEST threaded round-trip before="sh remove" -- threaded
 * TEST settings-v1 round-trip needs=cgroup_memory before="sh remove" -- settings_v1
 * TEST cpuset round-trip needs=cgroup_cpuset before="sh remove" -- cpuset
 * TEST devices round-trip before="sh remove" -- devices
 * TEST handed-over round-trip before="sh remove" -- handed_over
 * TEST child round-trip before="sh remove" -- child
 * TEST thread round-trip -- thread
 * TEST below-shared round-trip before="sh remove" -- below_shared
 * TEST shared-gone restart-refuse code=cgroup.path before="sh remove" -- shared_gone
 * TEST mounted round-trip restart="--mntns new" before="sh remove" -- mounted
 * TEST ignored round-trip except=cgroup checkpoint="--cgroup ignore" before="sh remove" -- ignored
 * TEST ignored-at-restart round-trip except=cgroup restart="--cgroup ignore" before="sh remove" -- ignored
 * TEST frozen refuse code=cgroup.frozen -- frozen
 * TEST setting refuse code=cgroup.setting under="unshare -m sh -e strange" -- own
 * TEST frozen-here restart-refuse code=cgroup.frozen before="sh freeze" -- own
 * TEST not-mounted refuse code=cgroup.mount under="unshare -m sh -c 'umount -l /sys/fs/cgroup/unified && exec \"$@\"' sh" -- own
 * TEST not-mounted-here restart-refuse code=cgroup.mount before="umount -l /sys/fs/cgroup/unified" -- own
 * TEST parent-gone restart-refuse code=cgroup.path before="sh remove" -- parent_gone
 * TEST capability restart-refuse code=capability.missing under="setpriv --bounding-set -sys_admin" -- own
 * TEST outside round-trip before="sh remove" -- outside
 * TEST descriptor round-trip before="sh remove" -- descriptor
 * TEST descriptor-deep round-trip -- descriptor_deep
 * TEST bound round-trip restart="--mntns new" before="sh remove" -- bound
 * TEST files round-trip before="sh remove" -- files
 * TEST files-left round-trip -- files
 * TEST files-of-gone refuse code=pseudo.gone -- files_of_gone
 * TEST event-control refuse needs=cgroup_memory code=pseudo.file -- event_control
 * TEST pressure refuse code=pseudo.file -- pressure
 * TEST removed refuse code=cgroup.outside -- removed
 * TEST leak refuse code=leak -- leak
 *
 * setting: no kernel here has one that is not known, so something else lies over the group.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "cases.h"
#include "mounts.h"

#define V2     "/sys/fs/cgroup/unified"
#define PIDS   "/sys/fs/cgroup/pids"
#define MEMORY "/sys/fs/cgroup/memory"
#define CPUSET "/sys/fs/cgroup/cpuset"

static char name[128]; /* of our groups, below each mount */

static const char *at(const char *mount, const char *below)
{
	static char path[4][512];
	static unsigned next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s%s", mount, name, below);
	return p;
}

static void check_file(const char *directory, const char *file, const char *want)
{
	char path[600], text[512] = "";

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		FAIL("read %s: %s", path, strerror(errno));
	close(fd);
	while (n && text[n - 1] == '\n')
		text[--n] = 0;
	if (strcmp(text, want) != 0)
		FAIL("%s is '%s', expected '%s'", path, text, want);
}

static void make_group(const char *mount, const char *below)
{
	if (access(mount, F_OK) < 0 || (mkdir(at(mount, below), 0755) < 0 && errno != EEXIST))
		SKIP("no cgroups below %s\n", mount);
}

static void join(const char *mount, const char *below)
{
	write_in(at(mount, below), "cgroup.procs", "0");
}

static void find_name(void)
{
	char directory[256];

	CHECK(getcwd(directory, sizeof(directory)));
	*strrchr(directory, '/') = 0;
	snprintf(name, sizeof(name), "%s", strrchr(directory, '/') + 1);
}

/* "remove" takes the groups away, which are empty between checkpoint and restart */
static void make_scripts(void)
{
	FILE *f = fopen("remove", "we");

	CHECK(f);
	fprintf(f,
	        "while find /sys/fs/cgroup/*/%s* -depth -type d 2>/dev/null | grep -q .; do\n"
	        "find /sys/fs/cgroup/*/%s* -depth -type d -exec rmdir {} + 2>/dev/null\n"
	        "done\n",
	        name, name);
	fclose(f);
	f = fopen("freeze", "we");
	CHECK(f);
	fprintf(f, "echo 1 >%s/cgroup.freeze\n", at(V2, ""));
	fclose(f);
	f = fopen("strange", "we");
	CHECK(f);
	fprintf(f, "mount -t tmpfs none %s\ntouch %s %s\nexec \"$@\"\n", at(V2, ""),
	        at(V2, "/cgroup.procs"), at(V2, "/cgroup.strange"));
	fclose(f);
}

/* of the calling thread; "" is v2 */
static void check_path(const char *hierarchy, const char *want)
{
	char line[512], begin[64];
	bool found = false;
	FILE *f = fopen("/proc/thread-self/cgroup", "re");

	CHECK(f);
	snprintf(begin, sizeof(begin), ":%s:", hierarchy);
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		const char *rest = strchr(line, ':');
		if (!rest || strncmp(rest, begin, strlen(begin)) != 0)
			continue;
		found = true;
		if (strcmp(rest + strlen(begin), want) != 0)
			FAIL("it is in %s, expected %s", line, want);
	}
	fclose(f);
	CHECK(found);
}

/* in groups of v2 and pids, which are the roots of a new namespace */
static void enter(void)
{
	make_group(V2, "");
	make_group(PIDS, "");
	join(V2, "");
	join(PIDS, "");
	CHECK(unshare(CLONE_NEWCGROUP) == 0);
	check_path("", "/");
}

static void own(void)
{
	enter();
	make_group(V2, "/inner");
	join(V2, "/inner");
	subject_checkpoint();
	check_path("", "/inner");
	check_path("pids", "/");
	if (access("/sys/fs/cgroup/blkio", F_OK) == 0)
		check_path("blkio", "/");
}

static bool has_hugetlb(void)
{
	char text[256] = "";
	FILE *f = fopen(V2 "/cgroup.controllers", "re");
	bool has = f && fgets(text, sizeof(text), f) && strstr(text, "hugetlb");

	if (f)
		fclose(f);
	return has;
}

static void settings_v2(void)
{
	bool hugetlb = has_hugetlb();

	/* it stays: another test may need it by then, and nothing is limited by it */
	if (hugetlb)
		write_in(V2, "cgroup.subtree_control", "+hugetlb");
	enter();
	make_group(V2, "/inner");
	make_group(V2, "/empty");
	make_group(V2, "/empty/deep one");
	join(V2, "/inner"); /* the root itself must be empty to hand controllers on */
	write_in(at(V2, ""), "cgroup.max.depth", "5");
	if (hugetlb) {
		write_in(at(V2, ""), "hugetlb.2MB.max", "8388608");
		write_in(at(V2, ""), "cgroup.subtree_control", "+hugetlb");
		write_in(at(V2, "/inner"), "hugetlb.2MB.rsvd.max", "4194304");
	}
	write_in(at(V2, "/empty"), "cgroup.max.descendants", "17");
	CHECK(setxattr(at(V2, "/empty"), "trusted.motto", "festina", 7, 0) == 0);
	CHECK(setxattr(at(V2, ""), "user.empty", "", 0, 0) == 0);
	subject_checkpoint();
	char value[16] = "";
	check_path("", "/inner");
	check_file(at(V2, ""), "cgroup.max.depth", "5");
	check_file(at(V2, "/inner"), "cgroup.max.depth", "max");
	if (hugetlb) {
		check_file(at(V2, ""), "hugetlb.2MB.max", "8388608");
		check_file(at(V2, ""), "cgroup.subtree_control", "hugetlb");
		check_file(at(V2, "/inner"), "hugetlb.2MB.rsvd.max", "4194304");
	}
	check_file(at(V2, "/empty"), "cgroup.max.descendants", "17");
	CHECK(access(at(V2, "/empty/deep one"), F_OK) == 0);
	CHECK(getxattr(at(V2, "/empty"), "trusted.motto", value, sizeof(value)) == 7);
	CHECK(!strcmp(value, "festina"));
	CHECK(getxattr(at(V2, ""), "user.empty", value, sizeof(value)) == 0);
}

static void threaded(void)
{
	enter();
	make_group(V2, "/a");
	write_in(at(V2, "/a"), "cgroup.type", "threaded");
	write_in(at(V2, "/a"), "cgroup.threads", "0");
	subject_checkpoint();
	check_path("", "/a");
	check_file(at(V2, ""), "cgroup.type", "domain threaded");
	check_file(at(V2, "/a"), "cgroup.type", "threaded");
}

static void settings_v1(void)
{
	make_group(MEMORY, "");
	join(MEMORY, "");
	enter();
	make_group(PIDS, "/inner");
	join(PIDS, "/inner");
	pid_t pid = fork(); /* the limit is below what is there: so it was set later */
	CHECK(pid >= 0);
	if (pid == 0) {
		subject_wait_go();
		_exit(0);
	}
	write_in(at(PIDS, "/inner"), "pids.max", "1");
	write_in(at(PIDS, ""), "pids.max", "100");
	write_in(at(PIDS, ""), "notify_on_release", "1");
	write_in(at(MEMORY, ""), "memory.limit_in_bytes", "268435456");
	write_in(at(MEMORY, ""), "memory.swappiness", "33");
	write_in(at(MEMORY, ""), "memory.oom_control", "1");
	char path[600];
	snprintf(path, sizeof(path), "%s/memory.shown_ram_in_bytes", at(MEMORY, ""));
	bool shown = access(path, F_OK) == 0; /* some hosts' kernels only */
	if (shown)
		write_in(at(MEMORY, ""), "memory.shown_ram_in_bytes", "134217728");
	subject_checkpoint();
	if (shown)
		check_file(at(MEMORY, ""), "memory.shown_ram_in_bytes", "134217728");
	check_path("pids", "/inner");
	CHECK(waitpid(pid, NULL, 0) == pid);
	check_file(at(PIDS, "/inner"), "pids.max", "1");
	check_file(at(PIDS, ""), "pids.max", "100");
	check_file(at(PIDS, ""), "notify_on_release", "1");
	check_file(at(MEMORY, ""), "memory.limit_in_bytes", "268435456");
	check_file(at(MEMORY, ""), "memory.swappiness", "33");
	CHECK(fork() < 0 && errno == EAGAIN);
}

/* it must have CPUs before a task comes, the one that makes the namespace included */
static void cpuset(void)
{
	make_group(CPUSET, "");
	write_in(at(CPUSET, ""), "cpuset.cpus", "0");
	write_in(at(CPUSET, ""), "cpuset.mems", "0");
	write_in(at(CPUSET, ""), "cpuset.memory_migrate", "1");
	join(CPUSET, "");
	enter();
	subject_checkpoint();
	check_path("cpuset", "/");
	check_file(at(CPUSET, ""), "cpuset.cpus", "0");
	check_file(at(CPUSET, ""), "cpuset.memory_migrate", "1");
}

static void devices(void)
{
	static const char mount[] = "/sys/fs/cgroup/devices";

	make_group(mount, "");
	write_in(at(mount, ""), "devices.deny", "a");
	write_in(at(mount, ""), "devices.allow", "c 1:3 rwm");
	write_in(at(mount, ""), "devices.allow", "c 1:* m");
	join(mount, "");
	enter();
	subject_checkpoint();
	check_path("devices", "/");
	check_file(at(mount, ""), "devices.list", "c 1:3 rwm\nc 1:* m");
	CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0);
	CHECK(open("/dev/zero", O_RDONLY | O_CLOEXEC) < 0 && errno == EPERM);
}

static void handed_over(void)
{
	struct stat st;

	enter();
	CHECK(chown(at(V2, ""), 1000, 1001) == 0 && chmod(at(V2, ""), 0775) == 0);
	CHECK(chown(at(V2, "/cgroup.procs"), 1000, 1001) == 0);
	CHECK(chmod(at(V2, "/cgroup.threads"), 0664) == 0);
	subject_checkpoint();
	CHECK(stat(at(V2, ""), &st) == 0);
	CHECK(st.st_uid == 1000 && st.st_gid == 1001 && (st.st_mode & 07777) == 0775);
	CHECK(stat(at(V2, "/cgroup.procs"), &st) == 0);
	CHECK(st.st_uid == 1000 && st.st_gid == 1001 && (st.st_mode & 07777) == 0644);
	CHECK(stat(at(V2, "/cgroup.threads"), &st) == 0 && (st.st_mode & 07777) == 0664);
}

/* a namespace in a namespace */
static void child(void)
{
	enter();
	make_group(V2, "/a");
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		join(V2, "/a");
		CHECK(unshare(CLONE_NEWCGROUP) == 0);
		make_group(V2, "/a/b");
		join(V2, "/a/b");
		subject_mark("child");
		subject_wait_go();
		check_path("", "/b");
		check_path("pids", "/");
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	check_path("", "/");
	subject_check_exit(pid, 0);
}

static void *in_thread(void *arg)
{
	subject_use_stack();
	CHECK(unshare(CLONE_NEWCGROUP) == 0);
	subject_mark("thread");
	subject_wait_go();
	check_path("", "/");
	return arg;
}

/* threads may differ in it; the other one stays in the namespace above */
static void thread(void)
{
	char path[160];
	pthread_t t;

	make_group(V2, "");
	join(V2, "");
	CHECK(pthread_create(&t, NULL, in_thread, NULL) == 0);
	subject_wait("thread");
	subject_checkpoint();
	snprintf(path, sizeof(path), "/%s", name);
	check_path("", path);
	CHECK(pthread_join(t, NULL) == 0);
}

/* an orphan of another session, that leaves the set */
static void outsider(const char *mark)
{
	if (fork() == 0) {
		if (fork() != 0)
			_exit(0);
		setsid(); /* the group's number is to be free at restart */
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		subject_mark(mark);
		subject_wait_go();
		_exit(0);
	}
	CHECK(wait(NULL) > 0);
	subject_wait(mark);
}

/* the namespace begins at a group that others are in, too: only what is below is its own */
static void below_shared(void)
{
	make_group(V2, "");
	join(V2, "");
	outsider("outside");
	make_group(V2, "/below");
	write_in(at(V2, "/below"), "cgroup.max.depth", "7");
	CHECK(unshare(CLONE_NEWCGROUP) == 0);
	join(V2, "/below");
	FILE *f = fopen("remove", "we");
	fprintf(f, "rmdir '%s'\n", at(V2, "/below"));
	fclose(f);
	subject_checkpoint();
	check_path("", "/below");
	check_file(at(V2, "/below"), "cgroup.max.depth", "7");
}

/* what is others' is not made */
static void shared_gone(void)
{
	make_group(V2, "");
	join(V2, "");
	outsider("outside");
	CHECK(unshare(CLONE_NEWCGROUP) == 0);
	FILE *f = fopen("remove", "we");
	fprintf(f,
	        "while read pid; do echo $pid > " V2 "/cgroup.procs; done < '%s/cgroup.procs'\n"
	        "rmdir '%s'\n",
	        at(V2, ""), at(V2, ""));
	fclose(f);
	subject_checkpoint();
}

static void mounted(void)
{
	struct stat st;

	enter();
	make_group(V2, "/a");
	private_mounts();
	CHECK(mkdir("v2", 0755) == 0 && mkdir("pids", 0755) == 0 && mkdir("a", 0755) == 0);
	CHECK(mount("cgroup2", "v2", "cgroup2", MS_NOSUID | MS_NODEV, NULL) == 0);
	CHECK(mount("cgroup", "pids", "cgroup", MS_NOSUID, "pids") == 0);
	CHECK(mount("v2/a", "a", NULL, MS_BIND, NULL) == 0);
	CHECK(stat("v2/a/cgroup.procs", &st) == 0);
	subject_checkpoint();
	CHECK(stat("v2/a/cgroup.procs", &st) == 0);
	CHECK(stat("a/cgroup.procs", &st) == 0);
	CHECK(stat("pids/pids.max", &st) == 0); /* the hierarchy's own root has none */
	check_path("", "/");
}

static void ignored(void)
{
	enter();
	subject_checkpoint();
	/* wherever the restart is, there the namespace begins */
	check_path("", "/");
	check_path("pids", "/");
}

static void frozen(void)
{
	enter();
	make_group(V2, "/empty");
	write_in(at(V2, "/empty"), "cgroup.freeze", "1");
	subject_checkpoint();
}

/* the group above the root is no business of ours */
static void parent_gone(void)
{
	strcat(name, "-above");
	make_group(V2, "");
	make_group(V2, "/root");
	join(V2, "/root");
	CHECK(unshare(CLONE_NEWCGROUP) == 0);
	subject_checkpoint();
}

/* it is not below the root of its namespace */
static void outside(void)
{
	enter();
	write_in(V2, "cgroup.procs", "0");
	subject_checkpoint();
	check_path("", "/..");
	check_path("pids", "/");
}

/* in @inner, with this process and its groups left as they were */
static int visit(const char *inner)
{
	pid_t pid = fork();
	char path[64];

	if (pid == 0) {
		make_group(V2, inner);
		make_group(PIDS, inner);
		join(V2, inner);
		join(PIDS, inner);
		CHECK(unshare(CLONE_NEWCGROUP) == 0);
		subject_mark("inside");
		subject_wait("opened");
		_exit(0);
	}
	subject_wait("inside");
	snprintf(path, sizeof(path), "/proc/%d/ns/cgroup", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	subject_mark("opened");
	subject_check_exit(pid, 0);
	return fd;
}

static void check_visited(int fd, const char *group)
{
	char inner[64];

	snprintf(inner, sizeof(inner), "%s/inner", group);
	CHECK(setns(fd, CLONE_NEWCGROUP) == 0);
	join(V2, group);
	check_path("", "/");
	join(PIDS, group);
	check_path("pids", "/");
	make_group(V2, inner);
	join(V2, inner);
	check_path("", "/inner");
}

/* no task is in it, nor in its groups */
static void descriptor(void)
{
	int fd = visit("");

	subject_checkpoint();
	check_visited(fd, "");
}

/* below a group that others use, too */
static void descriptor_deep(void)
{
	make_group(V2, "");
	make_group(PIDS, "");
	int fd = visit("/in a group");

	subject_checkpoint();
	check_visited(fd, "/in a group");
}

static void bound(void)
{
	char link[64];

	private_mounts();
	mount_tmpfs("/mnt", NULL);
	int fd = visit("");
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	write_text("/mnt/cgroup", "");
	bind_mount(link, "/mnt/cgroup");
	close(fd);
	subject_checkpoint();
	check_visited(open("/mnt/cgroup", O_RDONLY | O_CLOEXEC), "");
}

static int open_in(const char *mount, const char *below, int flags)
{
	int fd = open(at(mount, below), flags | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

static bool tells_news(int fd)
{
	struct pollfd p = { fd, POLLPRI, 0 };

	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents & POLLPRI;
}

static int read_events(const char *below)
{
	char byte;
	int fd = open_in(V2, below, O_RDONLY);

	CHECK(read(fd, &byte, 1) == 1 && !tells_news(fd));
	return fd;
}

static void files(void)
{
	char text[16] = "";

	enter();
	make_group(V2, "/inner");
	make_group(V2, "/empty");
	int group = open_in(V2, "/inner", O_RDONLY | O_DIRECTORY);
	int procs = open_in(V2, "/inner/cgroup.procs", O_RDWR);
	int tasks = open_in(PIDS, "/tasks", O_RDONLY);
	int none = read_events("/empty/cgroup.events");
	int some = read_events("/inner/cgroup.events");
	join(V2, "/inner");
	while (!tells_news(some))
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	int path = open_in(V2, "/empty", O_PATH);
	subject_checkpoint();
	CHECK(!tells_news(none));
	CHECK(tells_news(some));
	CHECK_EQ(lseek(none, 0, SEEK_CUR), 1);
	CHECK_EQ(lseek(some, 0, SEEK_CUR), 1);
	join(V2, "");
	check_path("", "/");
	CHECK(write(procs, "0", 1) == 1);
	check_path("", "/inner");
	CHECK(faccessat(group, "../empty/cgroup.procs", F_OK, 0) == 0);
	CHECK(faccessat(path, "cgroup.procs", F_OK, 0) == 0);
	CHECK(pread(tasks, text, sizeof(text) - 1, 0) > 0);
	CHECK_EQ(atoi(text), getpid());
}

static void files_of_gone(void)
{
	make_group(V2, "");
	make_group(V2, "/gone");
	open_in(V2, "/gone/cgroup.procs", O_RDONLY);
	open_in(V2, "/gone", O_RDONLY);
	CHECK(rmdir(at(V2, "/gone")) == 0);
	subject_checkpoint();
}

/* an eventfd(2) may have been told of by it, which only the kernel knows */
static void event_control(void)
{
	make_group(MEMORY, "");
	open_in(MEMORY, "/cgroup.event_control", O_WRONLY);
	subject_checkpoint();
}

static void pressure(void)
{
	make_group(V2, "");
	open_in(V2, "/cpu.pressure", O_RDWR);
	subject_checkpoint();
}

static void removed(void)
{
	make_group(V2, "");
	make_group(PIDS, "");
	CHECK(visit("/gone") >= 0);
	CHECK(rmdir(at(V2, "/gone")) == 0 && rmdir(at(PIDS, "/gone")) == 0);
	subject_checkpoint();
}

static void leak(void)
{
	enter();
	outsider("outside");
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	find_name();
	make_scripts();
	return SUBJECT_CASES(argc, argv, CASE(own), CASE(settings_v2), CASE(threaded),
	                     CASE(settings_v1), CASE(cpuset), CASE(devices), CASE(handed_over),
	                     CASE(child), CASE(thread), CASE(below_shared), CASE(shared_gone),
	                     CASE(mounted), CASE(ignored), CASE(frozen), CASE(parent_gone),
	                     CASE(outside), CASE(descriptor), CASE(descriptor_deep), CASE(bound),
	                     CASE(files), CASE(files_of_gone), CASE(event_control), CASE(pressure),
	                     CASE(removed), CASE(leak));
}
