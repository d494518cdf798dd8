/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mount namespaces in which the /proc of a pid namespace is locked that only tasks make: they are
 * made when that has begun. Here the /proc of the second of three pid namespaces is locked in the
 * innermost mount namespace, and all is about what is on mounts there.
 *
 * What others have of them; inode numbers of a tmpfs are new:
 * TEST opened round-trip start=container except=mountinfo,map/????????????,fd/?,fdinfo/3/lock* -- opened
 * TEST executed round-trip start=container except=mountinfo,map/????????????,fd/? -- executed
 * TEST mapped round-trip start=container except=mountinfo,map/????????????,fd/? -- mapped
 * TEST mapped-above round-trip start=container except=mountinfo,map/????????????,fd/? -- mapped_above
 * TEST shared round-trip start=container except=mountinfo,map/????????????,fd/? -- shared
 * TEST shared-above round-trip start=container except=mountinfo,map/????????????,fd/? -- shared_above
 * Who has a /proc locked, and is not in that pid namespace:
 * TEST elsewhere round-trip start=container except=mountinfo -- elsewhere
 * TEST elsewhere-below round-trip start=container except=mountinfo -- elsewhere_below
 * TEST elsewhere-threads refuse code=mount.lock-shape start=container -- elsewhere_threads
 * TEST elsewhere-shared refuse code=mount.lock-shape start=container -- elsewhere_shared
 * Each is bound to a file in the one that it was made in:
 * TEST bound round-trip start=container except=mountinfo -- bound
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>

#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/wait.h>

#include "cases.h"
#include "mounts.h"

static void innermost(void)
{
	mount_tmpfs("s", NULL);
	write_text("s/named", "named");
	CHECK(mkdir("s/d", 0755) == 0);
	subject_settle("mounted");
	/* locked */
	CHECK(umount2("/proc", MNT_DETACH) == 0 && umount2("/proc", MNT_DETACH) < 0);
}

static void (*use)(pid_t pid);

/* in the second pid namespace: the innermost is that of a grandchild */
static void beside(void)
{
	pid_t pid = in_owned(innermost);

	subject_wait("mounted");
	use(pid);
	subject_check_exit(pid, 3);
}

static void within(void)
{
	subject_check_exit(in_owned(innermost), 3);
}

/* @from: in the second pid namespace */
static void check_beside(void (*from)(pid_t pid))
{
	use = from;
	pid_t pid = in_owned(beside);

	subject_wait("child");
	subject_checkpoint();
	subject_check_exit(pid, 3);
}

/* the number of the only child of a process, as this one sees it */
static pid_t child_of(pid_t pid)
{
	char path[64], text[32] = "";

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && close(fd) == 0);
	return atoi(text);
}

/* @from: outside of both, in the outermost */
static void check_above(void (*from)(pid_t pid))
{
	pid_t pid = in_owned(within);

	subject_wait("mounted");
	from(child_of(child_of(pid)));
	subject_check_exit(pid, 3);
}

static int open_in(pid_t pid, const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cwd/%s", pid, name);
	int fd = open(path, flags | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static void hold(void)
{
	subject_settle("child");
}

static void open_from(pid_t pid)
{
	char text[8] = "";
	int file = open_in(pid, "s/named", O_RDWR), dir = open_in(pid, "s/d", O_DIRECTORY);
	int place = open_in(pid, "s/named", O_PATH);

	CHECK(lseek(file, 2, SEEK_SET) == 2 && flock(file, LOCK_EX) == 0 && fchdir(dir) == 0);
	CHECK(chdir("..") == 0);
	int gone = open("gone", O_RDWR | O_CREAT, 0600);
	CHECK(gone >= 0 && write(gone, "gone", 4) == 4 && unlink("gone") == 0);
	CHECK(chdir("..") == 0); /* in the namespace of the other one still */
	hold();
	CHECK(read(file, text, 8) == 3 && !memcmp(text, "med", 3) && place >= 0);
	CHECK(pread(gone, text, 8, 0) == 4 && !memcmp(text, "gone", 4));
	CHECK(pwrite(file, "!", 1, 0) == 1 && fchdir(dir) == 0);
	check_text("../named", "!amed");
	int other = open("../named", O_RDONLY);
	CHECK(flock(other, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
}

static void opened(void)
{
	check_beside(open_from);
}

/* a copy of this program that is there */
static void execute_from(pid_t pid)
{
	char path[64];
	pid_t child;

	snprintf(path, sizeof(path), "/proc/%d/cwd/s/program", pid);
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	CHECK(from >= 0 && to >= 0 && sendfile(to, from, NULL, 1 << 30) > 0);
	CHECK(close(from) == 0 && close(to) == 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		execl(path, path, "run", NULL);
		FAIL("execl");
	}
	subject_wait("run");
	hold();
	subject_check_exit(child, 4);
}

static void executed(void)
{
	check_beside(execute_from);
}

/* what is executed: shares its changed pages with a child */
static void run(void)
{
	static volatile int changed;

	changed = 1;
	pid_t child = fork();
	CHECK(child >= 0);
	subject_settle(child ? "run" : "run child");
	CHECK(changed == 1 && access("/proc/self/exe", X_OK) == 0);
	if (child == 0)
		_exit(4);
	subject_check_exit(child, 4);
	_exit(4);
}

struct maps {
	char *shared, *private, *read, *gone;
};

static void map_in(pid_t pid, struct maps *m)
{
	int file = open_in(pid, "s/named", O_RDWR), dir = open_in(pid, "s", O_DIRECTORY);
	int gone = openat(dir, "gone", O_RDWR | O_CREAT, 0600);

	CHECK(write(gone, "gone", 4) == 4 && unlinkat(dir, "gone", 0) == 0 && close(dir) == 0);
	m->gone = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, gone, 0);
	CHECK(m->gone != MAP_FAILED && close(gone) == 0);
	m->shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	m->private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	m->read = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);
	CHECK(m->shared != MAP_FAILED && m->private != MAP_FAILED && m->read != MAP_FAILED);
	CHECK(close(file) == 0);
	m->private[1] = '*';
}

static void check_maps(const struct maps *m)
{
	CHECK(!memcmp(m->private, "n*med", 5) && !memcmp(m->shared + 1, "amed", 4));
	CHECK(!memcmp(m->gone, "gone", 4));
	m->shared[0] = '!';
	CHECK(!memcmp(m->read, "!amed", 5));
}

static void map_from(pid_t pid)
{
	struct maps m;

	map_in(pid, &m);
	hold();
	check_maps(&m);
}

static void mapped(void)
{
	check_beside(map_from);
}

static void go_and_check(const struct maps *m)
{
	subject_settle("sharer");
	check_maps(m);
	_exit(4);
}

/* and a child has what it has mapped */
static void share_from(pid_t pid)
{
	struct maps m;

	map_in(pid, &m);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0)
		go_and_check(&m);
	subject_wait("sharer");
	hold();
	check_maps(&m);
	subject_check_exit(child, 4);
}

static void shared(void)
{
	check_beside(share_from);
}

/* this one is there before any of the namespaces */
static void map_above(pid_t pid)
{
	struct maps m;

	map_in(pid, &m);
	subject_checkpoint();
	check_maps(&m);
}

static void mapped_above(void)
{
	check_above(map_above);
}

static void share_above(pid_t pid)
{
	struct maps m;

	map_in(pid, &m);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0)
		go_and_check(&m);
	subject_wait("sharer");
	subject_checkpoint();
	check_maps(&m);
	subject_check_exit(child, 4);
}

static void shared_above(void)
{
	check_above(share_above);
}

static int of_proc;      /* of the namespace that all begin in */
static pid_t first;      /* as that knows the one that has locked it */
static int to_comers[2]; /* a byte for each */

/* one that comes to the mount namespace of @first from outside, when it may */
static void come(const char *name)
{
	char byte, path[32], cwd[4096];

	CHECK(getcwd(cwd, sizeof(cwd)) && read(to_comers[0], &byte, 1) == 1);
	snprintf(path, sizeof(path), "%d/ns/user", first);
	int user = openat(of_proc, path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%d/ns/mnt", first);
	int mnt = openat(of_proc, path, O_RDONLY | O_CLOEXEC);
	CHECK(setns(user, CLONE_NEWUSER) == 0 && setns(mnt, CLONE_NEWNS) == 0);
	CHECK(close(user) == 0 && close(mnt) == 0 && close(of_proc) == 0 && chdir(cwd) == 0);
	subject_mark(name);
}

static void check_locked(bool inside)
{
	CHECK((access("/proc/self", F_OK) == 0) == inside && access("/proc/1", F_OK) == 0);
	CHECK(umount2("/proc", MNT_DETACH) < 0 && errno == EINVAL);
}

static int nothing(void *arg)
{
	subject_settle("nothing");
	return 6;
}

/* in that pid namespace: a process that shares its fs_struct with another */
static void sharers(void)
{
	static char stack[65536];

	come("coming");
	pid_t pid = clone(nothing, stack + sizeof(stack), CLONE_FS | SIGCHLD, NULL);
	CHECK(pid > 0);
	subject_wait("nothing");
	subject_settle("inside");
	check_locked(true);
	subject_check_exit(pid, 6);
	_exit(7);
}

static void begin(bool with_sharers)
{
	pid_t sharer = 0;

	CHECK(mount("proc", "/proc", "proc", 0, NULL) == 0);
	if (with_sharers)
		CHECK((sharer = fork()) >= 0);
	if (with_sharers && sharer == 0)
		sharers();
	CHECK(close(of_proc) == 0);
	subject_settle("child");
	if (with_sharers)
		subject_check_exit(sharer, 7);
	subject_wait("checked"); /* its /proc is empty when it has ended */
	_exit(5);
}

/* a child with a new pid namespace, whose /proc covers that of this process; and locks it */
static pid_t lock_elsewhere(bool with_sharers)
{
	if (!of_proc)
		of_proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char self[16] = "";
	CHECK(of_proc >= 0 && readlink("/proc/self", self, sizeof(self) - 1) > 0);
	first = atoi(self);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(unshare(CLONE_NEWPID) == 0);
		pid_t init = fork();
		CHECK(init >= 0);
		if (init == 0)
			begin(with_sharers);
		CHECK(close(of_proc) == 0);
		subject_check_exit(init, 5);
		_exit(5);
	}
	subject_wait("child");
	CHECK(close(of_proc) == 0);
	CHECK(unshare(CLONE_NEWNS | CLONE_NEWUSER) == 0);
	return pid;
}

/* the root of the tree */
static void elsewhere(void)
{
	pid_t pid = lock_elsewhere(false);

	subject_checkpoint();
	check_locked(false);
	subject_mark("checked");
	subject_check_exit(pid, 5);
}

/* a child of it that comes there, and is not in that pid namespace either; and children there */
static void have_all(void)
{
	CHECK(unshare(CLONE_NEWNS) == 0);
	of_proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t child, other = fork();
	CHECK(other >= 0);
	if (other == 0) {
		first = getppid();
		come("coming too");
		subject_settle("comer");
		check_locked(false);
		_exit(8);
	}
	pid_t pid = lock_elsewhere(true);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		subject_settle("forked");
		check_locked(false);
		_exit(10);
	}
	CHECK(write(to_comers[1], "12", 2) == 2);
	subject_wait("inside");
	subject_wait("comer");
	subject_wait("forked");
	subject_settle("all");
	check_locked(false);
	subject_check_exit(child, 10);
	subject_check_exit(other, 8);
	subject_mark("checked");
	subject_check_exit(pid, 5);
	_exit(9);
}

/* below the root: what is there before and after */
static void elsewhere_below(void)
{
	CHECK(pipe(to_comers) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		have_all();
	subject_wait("all");
	subject_checkpoint();
	subject_check_exit(pid, 9);
}

static void *wait_in_thread(void *arg)
{
	subject_use_stack();
	subject_settle("thread");
	return NULL;
}

static void elsewhere_threads(void)
{
	pthread_t thread;

	lock_elsewhere(false);
	CHECK(pthread_create(&thread, NULL, wait_in_thread, NULL) == 0);
	subject_wait("thread");
	subject_checkpoint();
}

static void elsewhere_shared(void)
{
	static char stack[65536];

	lock_elsewhere(false);
	CHECK(clone(nothing, stack + sizeof(stack), CLONE_FS | SIGCHLD, NULL) > 0);
	subject_wait("nothing");
	subject_checkpoint();
}

static void bind_ns_of(pid_t pid, const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	write_text(file, "");
	CHECK(mount(path, file, NULL, MS_BIND, NULL) == 0);
}

static void check_ns_of(pid_t pid, const char *file)
{
	char path[64], seen[32];
	struct stat a, b;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	CHECK(stat(path, &a) == 0 && stat(file, &b) == 0);
	CHECK(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	snprintf(seen, sizeof(seen), "seen.%s", file);
	subject_mark(seen); /* nothing is shown of one that has ended */
}

/* the last one, a child that locks what it sees; a tmpfs in it is seen through the file */
static void deepest(void)
{
	int ready[2];
	char byte;

	CHECK(pipe(ready) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(unshare(CLONE_NEWNS | CLONE_NEWUSER) == 0);
		map_root();
		mount_tmpfs("s", NULL);
		write_text("s/named", "deepest");
		CHECK(write(ready[1], "", 1) == 1);
		subject_settle("deepest");
		check_text("s/named", "deepest");
		subject_wait("seen.m.deepest");
		_exit(4);
	}
	CHECK(read(ready[0], &byte, 1) == 1);
	bind_ns_of(pid, "m.deepest");
	subject_wait("deepest");
	subject_settle("mounted");
	check_ns_of(pid, "m.deepest");
	subject_wait("seen.m.within");
	subject_check_exit(pid, 4);
}

static void bind_within(void)
{
	pid_t pid = in_owned(deepest);

	subject_wait("mounted");
	bind_ns_of(pid, "m.within");
	subject_settle("within");
	check_ns_of(pid, "m.within");
	subject_wait("seen.m.outermost");
	subject_check_exit(pid, 3);
}

static void bind_outermost(void)
{
	pid_t pid = in_owned(bind_within);

	subject_wait("within");
	bind_ns_of(pid, "m.outermost");
	subject_settle("outermost");
	check_ns_of(pid, "m.outermost");
	subject_check_exit(pid, 3);
}

/* none in the container's own: that may be of another processor */
static void bound(void)
{
	cpu_set_t set;

	/* the kernel numbers namespaces by processor, and binds none that is older */
	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
	pid_t pid = in_owned(bind_outermost);
	subject_wait("outermost");
	subject_checkpoint();
	subject_check_exit(pid, 3);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(opened), CASE(executed), CASE(run), CASE(mapped),
	                     CASE(mapped_above), CASE(shared), CASE(shared_above), CASE(elsewhere),
	                     CASE(bound), CASE(elsewhere_below), CASE(elsewhere_threads),
	                     CASE(elsewhere_shared));
}
