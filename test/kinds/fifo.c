/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FIFOs, named f in the subject's directory. (fifo.busy is in test/cli/external.py.)
 *
 * TEST contents round-trip -- contents
 * TEST packets round-trip -- packets
 * TEST no_writer round-trip -- no_writer
 * TEST no_writer_yet round-trip -- quiet
 * TEST no_reader round-trip -- no_reader
 * TEST unread_without_reader round-trip -- unread
 * TEST read_write round-trip -- read_write
 * TEST between_processes round-trip -- processes
 * TEST blocked_open round-trip -- blocked_open
 * TEST replaced restart-refuse code=fifo.changed before="mv f g; mkfifo f" -- contents
 * TEST not_there restart-refuse code=fifo.changed before="rm f" -- contents
 * TEST no_fifo restart-refuse code=fifo.changed before="rm f; touch f" -- allow
 * TEST replaced_allowed round-trip except=inode* before="mv f g; mkfifo f" -- allow
 * TEST above_max restart-refuse code=pipe.capacity -- above_max
 * TEST deleted round-trip -- deleted
 * TEST deleted-quiet round-trip -- deleted_quiet
 * TEST deleted-with-directory round-trip -- deleted_folder
 * TEST deleted-taken round-trip except=fd/? -- deleted_taken
 * TEST deleted-attributes refuse code=fifo.deleted -- deleted_attributes
 * TEST deleted-directory-taken restart-refuse code=regfile.directory before="touch folder" -- deleted_folder
 * TEST linked round-trip -- linked
 * TEST linked-taken round-trip except=fd/? before="touch f" -- linked
 * TEST linked-gone restart-refuse code=fifo.changed before="rm g" -- linked
 * TEST shadowed refuse code=fifo.path -- shadowed
 * TEST two_names round-trip -- two_names
 * TEST two_names-deleted round-trip -- two_names_deleted
 * TEST two_names-linked round-trip -- two_names_linked
 * TEST two_names-gone restart-refuse code=fifo.changed before="rm g" -- two_names
 * TEST two_names-parted restart-refuse code=fifo.changed before="rm f g; mkfifo f g" restart="--files-changed allow" -- two_names
 * TEST two_names-differing round-trip -- two_names_differing
 * TEST differing_readers round-trip -- differing
 * TEST unread_hangup round-trip -- unread_hangup
 * TEST unread_much round-trip -- unread_much
 * TEST deleted_path round-trip -- deleted_path
 * TEST deleted_path_only round-trip -- deleted_path_only
 * TEST nofollow round-trip -- nofollow
 * In a tmpfs that is made anew, where a handle leads nowhere:
 * TEST anew-renamed round-trip restart="--mntns new" -- anew_renamed
 * TEST anew-deleted round-trip restart="--mntns new" -- anew_deleted
 * TEST anew-linked refuse code=fifo.path -- anew_linked
 */
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "cases.h"
#include "mounts.h"

static int open_fifo(int flags)
{
	int fd = open("f", flags | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

/* both sides, without waiting for one another */
static void open_both(int fds[2])
{
	fds[0] = open_fifo(O_RDONLY | O_NONBLOCK);
	fds[1] = open_fifo(O_WRONLY);
}

static void put(int fd, const char *text)
{
	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
}

static void get(int fd, const char *text)
{
	char room[64] = "";

	CHECK_EQ(read(fd, room, sizeof(room)), strlen(text));
	CHECK(!strcmp(room, text));
}

static int events(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static void test_contents(void)
{
	int f[2];

	open_both(f);
	put(f[1], "one");
	put(f[1], "two");
	CHECK_EQ(fcntl(f[0], F_SETPIPE_SZ, 8192), 8192);
	subject_checkpoint();
	CHECK_EQ(fcntl(f[0], F_GETPIPE_SZ), 8192);
	get(f[0], "onetwo");
	put(f[1], "three");
	get(f[0], "three");
	CHECK_EQ(fcntl(f[0], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	CHECK_EQ(fcntl(f[1], F_GETFL) & O_NONBLOCK, 0);
	close(f[1]);
	CHECK_EQ(events(f[0]), POLLHUP);
}

static void test_allow(void)
{
	subject_options("restart", "--files-changed allow");
	test_contents();
}

static void test_packets(void)
{
	int f[2];

	open_both(f);
	CHECK(fcntl(f[1], F_SETFL, O_DIRECT) == 0);
	put(f[1], "one");
	put(f[1], "two");
	subject_checkpoint();
	get(f[0], "one");
	get(f[0], "two");
}

static void test_no_writer(void)
{
	int f[2];

	open_both(f);
	put(f[1], "one");
	close(f[1]);
	subject_checkpoint();
	CHECK_EQ(events(f[0]), POLLIN | POLLHUP);
	get(f[0], "one");
	get(f[0], "");
	CHECK_EQ(events(f[0]), POLLHUP);
}

static void test_quiet(void)
{
	int reader = open_fifo(O_RDONLY | O_NONBLOCK);

	CHECK_EQ(events(reader), 0);
	subject_checkpoint();
	CHECK_EQ(events(reader), 0);
	get(reader, "");
	int writer = open_fifo(O_WRONLY);
	put(writer, "one");
	get(reader, "one");
	close(writer);
	CHECK_EQ(events(reader), POLLHUP);
}

static void test_no_reader(void)
{
	int f[2];

	signal(SIGPIPE, SIG_IGN);
	open_both(f);
	close(f[0]);
	subject_checkpoint();
	CHECK_EQ(events(f[1]), POLLERR);
	CHECK(write(f[1], "x", 1) < 0 && errno == EPIPE);
}

static void test_unread(void)
{
	int f[2];

	open_both(f);
	put(f[1], "one");
	close(f[0]);
	subject_checkpoint();
	get(open_fifo(O_RDONLY), "one");
}

static void test_read_write(void)
{
	int both = open_fifo(O_RDWR);

	put(both, "one");
	subject_checkpoint();
	put(both, "two");
	get(both, "onetwo");
}

static void test_processes(void)
{
	pid_t child = fork();

	if (child == 0) {
		int reader = open_fifo(O_RDONLY);
		get(reader, "one");
		get(reader, "");
		_exit(0);
	}
	int writer = open_fifo(O_WRONLY);
	subject_wait_call(child, SYS_read);
	subject_checkpoint();
	put(writer, "one");
	close(writer);
	subject_check_exit(child, 0);
}

static void test_blocked_open(void)
{
	pid_t child = fork();

	if (child == 0) {
		get(open_fifo(O_RDONLY), "one");
		_exit(0);
	}
	subject_wait_call(child, SYS_openat);
	subject_checkpoint();
	put(open_fifo(O_WRONLY), "one");
	subject_check_exit(child, 0);
}

static void set_pipe_max(const char *value)
{
	int fd = open("/proc/sys/fs/pipe-max-size", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		SKIP("fs.pipe-max-size cannot be changed here: %s", strerror(errno));
	close(fd);
}

static void test_above_max(void)
{
	int both = open_fifo(O_RDWR), size = 2 << 20;

	if (fcntl(both, F_SETPIPE_SZ, size) == size)
		SKIP("CAP_SYS_RESOURCE is there");
	/* the limit is the machine's: never below what it was, and only for the moment */
	set_pipe_max("2097152");
	CHECK_EQ(fcntl(both, F_SETPIPE_SZ, size), size);
	set_pipe_max("1048576");
	subject_checkpoint();
}

static void check_link(int fd, const char *name)
{
	char path[40], text[4096] = "", cwd[2048], expected[4096];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(readlink(path, text, sizeof(text) - 1) > 0);
	CHECK(getcwd(cwd, sizeof(cwd)));
	snprintf(expected, sizeof(expected), "%s/%s (deleted)", cwd, name);
	if (strcmp(text, expected) != 0)
		FAIL("the link is \"%s\", not \"%s\"", text, expected);
}

/* a FIFO by name @name, held by a child as well, packets and bytes in it */
static void check_deleted(const char *name)
{
	struct stat before, after;
	int f[2];

	f[0] = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	f[1] = open(name, O_WRONLY | O_CLOEXEC);
	CHECK(f[0] >= 0 && f[1] >= 0);
	pid_t child = fork();
	if (child == 0) {
		close(f[0]);
		subject_settle("child");
		put(f[1], "child");
		_exit(0);
	}
	subject_wait("child");
	put(f[1], "one");
	CHECK(fchown(f[0], 12, 34) == 0 && fchmod(f[0], 0640) == 0);
	CHECK_EQ(fcntl(f[0], F_SETPIPE_SZ, 8192), 8192);
	CHECK(unlink(name) == 0);
	if (strchr(name, '/'))
		CHECK(rmdir("folder") == 0);
	CHECK(fstat(f[0], &before) == 0);
	subject_checkpoint();
	CHECK(fstat(f[0], &after) == 0);
	CHECK_EQ(after.st_nlink, 0);
	CHECK_EQ(after.st_mode, before.st_mode);
	CHECK_EQ(after.st_uid, 12);
	CHECK_EQ(after.st_gid, 34);
	CHECK_EQ(fcntl(f[0], F_GETPIPE_SZ), 8192);
	subject_check_exit(child, 0);
	get(f[0], "onechild");
	put(f[1], "two");
	get(f[0], "two");
	check_link(f[0], name);
	check_link(f[1], name);
	CHECK(access(name, F_OK) < 0);
	CHECK(access("folder", F_OK) < 0);
}

static void test_deleted(void)
{
	check_deleted("f");
}

static void test_deleted_folder(void)
{
	CHECK(mkdir("folder", 0755) == 0 && mkfifo("folder/f", 0600) == 0);
	check_deleted("folder/f");
}

/* another file has its name by now, which stays that file's */
static void test_deleted_taken(void)
{
	int f[2];

	open_both(f);
	CHECK(unlink("f") == 0);
	close(open("f", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	put(f[1], "one");
	subject_checkpoint();
	get(f[0], "one");
	struct stat st;
	CHECK(stat("f", &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1);
}

static void test_deleted_quiet(void)
{
	CHECK(link("f", "g") == 0 && unlink("g") == 0);
	int reader = open_fifo(O_RDONLY | O_NONBLOCK);
	struct stat before, after;

	CHECK(unlink("f") == 0);
	CHECK(fstat(reader, &before) == 0);
	subject_checkpoint();
	CHECK_EQ(events(reader), 0);
	CHECK(fstat(reader, &after) == 0);
	CHECK_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	CHECK_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
	CHECK_EQ(after.st_atim.tv_nsec, before.st_atim.tv_nsec);
	CHECK_EQ(after.st_atim.tv_sec, before.st_atim.tv_sec);
}

static void test_deleted_attributes(void)
{
	int f[2];

	open_both(f);
	CHECK(setxattr("f", "trusted.stasis", "x", 1, 0) == 0);
	CHECK(unlink("f") == 0);
	subject_checkpoint();
}

/* its name is gone, it is not */
static void test_linked(void)
{
	struct stat before, after;
	int f[2];

	open_both(f);
	CHECK(link("f", "g") == 0);
	unlink("f");
	put(f[1], "one");
	CHECK(fstat(f[0], &before) == 0);
	subject_checkpoint();
	CHECK(fstat(f[0], &after) == 0);
	CHECK_EQ(before.st_ino, after.st_ino);
	get(f[0], "one");
	int other = open("g", O_WRONLY | O_NONBLOCK);
	put(other, "two");
	get(f[0], "two");
}

static void on_tmpfs(void)
{
	private_mounts();
	mount_tmpfs("t", NULL);
	CHECK(chdir("t") == 0 && mkfifo("f", 0600) == 0);
}

static void check_anew(const int f[2])
{
	put(f[1], "one");
	CHECK(chdir("..") == 0);
	subject_checkpoint();
	get(f[0], "one");
	put(f[1], "two");
	get(f[0], "two");
}

static void test_anew_renamed(void)
{
	int f[2];

	on_tmpfs();
	open_both(f);
	CHECK(rename("f", "g") == 0);
	check_anew(f);
	CHECK(access("t/g", F_OK) == 0);
}

static void test_anew_deleted(void)
{
	int f[2];

	on_tmpfs();
	open_both(f);
	CHECK(unlink("f") == 0);
	check_anew(f);
}

static void test_anew_linked(void)
{
	int f[2];

	on_tmpfs();
	open_both(f);
	CHECK(link("f", "g") == 0 && unlink("f") == 0);
	check_anew(f);
}

static void test_shadowed(void)
{
	int f[2];

	CHECK(mkdir("folder", 0755) == 0 && rename("f", "folder/f") == 0 &&
	      symlink("folder/f", "f") == 0);
	open_both(f);
	CHECK(mount("tmpfs", "folder", "tmpfs", 0, NULL) == 0);
	subject_checkpoint();
	put(f[1], "one");
	get(f[0], "one");
}

static void check_name(int fd, const char *name)
{
	char link[40], text[4096], cwd[4096];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, text, sizeof(text) - 1);
	CHECK(n > 0 && getcwd(cwd, sizeof(cwd)));
	text[n] = 0;
	n = (ssize_t)strlen(cwd);
	CHECK(!strncmp(text, cwd, (size_t)n) && text[n] == '/');
	CHECK(!strcmp(text + n + 1, name));
}

/* f and g are one; @gone: "f", or both "fg", have been deleted since */
static void two_names(const char *gone)
{
	int f[2];

	CHECK(link("f", "g") == 0);
	open_both(f);
	int second = open("g", O_RDONLY | O_NONBLOCK), path = open("g", O_PATH | O_NOFOLLOW);
	bool f_gone = strchr(gone, 'f'), g_gone = strchr(gone, 'g');
	put(f[1], "one");
	CHECK(!f_gone || unlink("f") == 0);
	CHECK(!g_gone || unlink("g") == 0);
	subject_checkpoint();
	check_name(f[0], f_gone ? "f (deleted)" : "f");
	check_name(second, g_gone ? "g (deleted)" : "g");
	check_name(path, g_gone ? "g (deleted)" : "g");
	get(second, "one");
	put(f[1], "two");
	get(f[0], "two");
	close(f[1]);
	CHECK_EQ(events(second), POLLHUP);
}

static void test_two_names(void)
{
	two_names("");
}

static void test_two_names_deleted(void)
{
	two_names("fg");
}

static void test_two_names_linked(void)
{
	two_names("f");
}

/* those under one name see that the writer has gone, the one under the other does not */
static void test_two_names_differing(void)
{
	int f[2];

	CHECK(link("f", "g") == 0);
	open_both(f);
	int second = open("g", O_RDONLY | O_NONBLOCK);
	put(f[1], "one");
	close(f[1]);
	int quiet = open_fifo(O_RDONLY | O_NONBLOCK);
	subject_checkpoint();
	CHECK_EQ(events(f[0]), POLLIN | POLLHUP);
	CHECK_EQ(events(second), POLLIN | POLLHUP);
	CHECK_EQ(events(quiet), POLLIN);
	get(quiet, "one");
	get(second, "");
}

static void test_differing(void)
{
	int first = open_fifo(O_RDONLY | O_NONBLOCK);
	int other = open_fifo(O_RDONLY | O_NONBLOCK);

	CHECK_EQ(fcntl(other, F_SETFL, 0), 0);
	close(open_fifo(O_WRONLY));
	int second = open_fifo(O_RDONLY | O_NONBLOCK);
	subject_checkpoint();
	CHECK_EQ(events(first), POLLHUP);
	CHECK_EQ(events(other), POLLHUP);
	CHECK_EQ(events(second), 0);
	CHECK_EQ(fcntl(first, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	CHECK_EQ(fcntl(other, F_GETFL) & O_NONBLOCK, 0);
	get(second, "");
}

/* unread, the writer gone; one that has seen it, one that came later */
static void test_unread_hangup(void)
{
	int f[2];

	open_both(f);
	CHECK(fcntl(f[1], F_SETFL, O_DIRECT) == 0);
	put(f[1], "one");
	put(f[1], "two");
	close(f[1]);
	int second = open_fifo(O_RDONLY | O_NONBLOCK);
	subject_checkpoint();
	CHECK_EQ(events(f[0]), POLLIN | POLLHUP);
	CHECK_EQ(events(second), POLLIN);
	get(second, "one");
	get(second, "two");
	CHECK_EQ(events(f[0]), POLLHUP);
	CHECK_EQ(events(second), 0);
}

static void test_unread_much(void)
{
	static char bytes[1 << 20], seen[1 << 20];
	int f[2];

	open_both(f);
	if (fcntl(f[1], F_SETPIPE_SZ, sizeof(bytes)) < 0)
		SKIP("no pipe of a MiB: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 2654435761u >> 24);
	CHECK_EQ(write(f[1], bytes, sizeof(bytes)), sizeof(bytes));
	close(f[1]);
	int second = open_fifo(O_RDONLY | O_NONBLOCK);
	subject_checkpoint();
	CHECK_EQ(events(f[0]), POLLIN | POLLHUP);
	CHECK_EQ(events(second), POLLIN);
	CHECK_EQ(read(second, seen, sizeof(seen)), sizeof(seen));
	CHECK(!memcmp(bytes, seen, sizeof(seen)));
	get(second, "");
}

/* O_PATH leads to the same FIFO as before */
static void test_deleted_path(void)
{
	char link[40];
	int f[2];

	open_both(f);
	int path = open("f", O_PATH | O_NOFOLLOW);
	CHECK_EQ(unlink("f"), 0);
	put(f[1], "one");
	subject_checkpoint();
	CHECK_EQ(fcntl(path, F_GETFL), O_PATH | O_NOFOLLOW);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", path);
	int again = open(link, O_RDONLY | O_NONBLOCK);
	get(again, "one");
}

static void test_deleted_path_only(void)
{
	char link[40];
	struct stat before, after;
	int path = open("f", O_PATH);

	CHECK_EQ(unlink("f"), 0);
	CHECK_EQ(fstat(path, &before), 0);
	subject_checkpoint();
	CHECK_EQ(fstat(path, &after), 0);
	CHECK_EQ(after.st_mode, before.st_mode);
	CHECK_EQ(after.st_nlink, 0);
	CHECK_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", path);
	int again = open(link, O_RDWR);
	put(again, "one");
	get(again, "one");
}

static void test_nofollow(void)
{
	int reader = open_fifo(O_RDONLY | O_NONBLOCK | O_NOFOLLOW);

	put(open_fifo(O_WRONLY | O_NOFOLLOW), "one");
	subject_checkpoint();
	CHECK_EQ(fcntl(reader, F_GETFL) & O_NOFOLLOW, O_NOFOLLOW);
	get(reader, "one");
}

int main(int argc, char **argv)
{
	CHECK(mkfifo("f", 0600) == 0);
	return SUBJECT_CASES(
		argc, argv, TEST_CASE(contents), TEST_CASE(allow), TEST_CASE(packets),
		TEST_CASE(no_writer), TEST_CASE(quiet), TEST_CASE(no_reader), TEST_CASE(unread),
		TEST_CASE(read_write), TEST_CASE(processes), TEST_CASE(blocked_open),
		TEST_CASE(above_max), TEST_CASE(deleted), TEST_CASE(deleted_quiet),
		TEST_CASE(deleted_folder), TEST_CASE(deleted_taken), TEST_CASE(deleted_attributes),
		TEST_CASE(linked), TEST_CASE(shadowed), TEST_CASE(two_names),
		TEST_CASE(two_names_deleted), TEST_CASE(two_names_linked),
		TEST_CASE(two_names_differing), TEST_CASE(differing), TEST_CASE(unread_hangup),
		TEST_CASE(unread_much), TEST_CASE(deleted_path), TEST_CASE(deleted_path_only),
		TEST_CASE(nofollow), TEST_CASE(anew_renamed), TEST_CASE(anew_deleted),
		TEST_CASE(anew_linked));
}
