/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mount namespaces.
 *
 * TEST plain round-trip restart="--mntns new" -- plain
 * TEST tmpfs round-trip restart="--mntns new" -- tmpfs
 * TEST proc round-trip restart="--mntns new" -- proc
 * TEST covered round-trip restart="--mntns new" -- covered
 * TEST read-only round-trip restart="--mntns new" -- read_only
 * TEST shared round-trip restart="--mntns new" -- shared
 * TEST shared-nested round-trip restart="--mntns new" -- shared_nested
 * TEST two round-trip restart="--mntns new" -- two
 * TEST two-not-asked-for restart-refuse code=namespace.mntns -- two
 * TEST root-outside round-trip restart="--mntns new" -- root_outside
 * TEST external round-trip restart="--mntns new" -- external
 * TEST external-gone restart-refuse restart="--mntns new" code=mount.external-missing before="umount /mnt" -- external
 * TEST slave round-trip restart="--mntns new" -- slave
 * TEST slave-gone restart-refuse restart="--mntns new" code=mount.group-gone before="mount --make-private /mnt" -- slave
 * TEST slave-dropped round-trip restart="--mntns new --drop-masters" before="mount --make-private /mnt" except=*mountinfo -- slave_dropped
 * TEST slave-kept round-trip restart="--mntns new --drop-masters" -- slave
 * TEST peer-gone restart-refuse restart="--mntns new --drop-masters" code=mount.group-gone before="mount --make-private /mnt" -- peer_of_host
 * TEST peer-of-host round-trip restart="--mntns new" -- peer_of_host
 * TEST peer-outside refuse code=mount.peer-outside -- peer_outside
 * TEST master-outside refuse code=mount.master-outside -- master_outside
 * TEST master-dropped round-trip checkpoint="--drop-masters" restart="--mntns new" before="$STASIS inspect ../image --mounts | grep -q drop-masters" except=*mountinfo -- master_dropped
 * TEST shared-outside refuse code=mount.shared-outside -- shared_outside
 * TEST user-outside refuse code=leak -- user_outside
 * TEST file-outside refuse code=leak -- file_outside
 * TEST mapping-outside refuse code=leak -- mapping_outside
 * TEST bound-outside refuse code=leak -- bound_outside
 * TEST idmap round-trip restart="--mntns new" needs=statmount_ns -- idmap
 * TEST idmap-not-told refuse code=mount.idmap without=statmount_ns -- idmap
 * TEST filesystem refuse code=mount.filesystem -- filesystem
 * TEST content refuse code=mount.content -- content
 * TEST bpf-pinned refuse code=mount.content -- bpf_pinned
 * TEST root-covered round-trip needs=statmount_ns restart="--mntns new" -- root_covered
 * TEST root-covered-unseen refuse code=mount.detached without=statmount_ns -- root_covered
 * TEST hidden refuse code=mount.hidden -- hidden
 * TEST hidden-in-mountinfo refuse code=mount.hidden without=statmount_ns -- hidden
 * TEST other-proc refuse code=mount.namespace -- other_proc
 * TEST in-parts refuse code=mount.unreachable -- in_parts
 * TEST host-in-parts refuse code=mount.unreachable -- host_in_parts
 */
#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cases.h"
#include "mounts.h"

/* numbers of groups are in order of first sight: others may have some, too */
static int groups[16];
static size_t n_groups;

static void number_groups(char *line)
{
	static const char *const words[] = { " shared:", " master:" };

	for (size_t i = 0; i < 2; i++) {
		char *at = strstr(line, words[i]), *end;
		size_t g = 0;
		if (!at)
			continue;
		at += strlen(words[i]);
		int id = (int)strtol(at, &end, 10);
		while (g < n_groups && groups[g] != id)
			g++;
		if (g == n_groups)
			groups[n_groups++] = id;
		CHECK(end > at);
		*at = (char)('A' + g);
		memmove(at + 1, end, strlen(end) + 1); /* their ids may have more digits */
	}
}

/* all of mountinfo but the ids */
static void read_mounts(char *room, size_t size)
{
	char line[4096], rest[4096];
	FILE *f = fopen("/proc/self/mountinfo", "re");
	size_t n = 0;

	CHECK(f);
	*room = 0;
	n_groups = 0;
	while (fgets(line, sizeof(line), f)) {
		CHECK(sscanf(line, "%*d %*d %*s %4095[^\n]", rest) == 1);
		number_groups(rest);
		n += (size_t)snprintf(room + n, size - n, "%s\n", rest);
		CHECK(n < size);
	}
	fclose(f);
}

static void checkpoint_mounts(void)
{
	static char before[65536], after[65536];

	read_mounts(before, sizeof(before));
	subject_checkpoint();
	read_mounts(after, sizeof(after));
	if (strcmp(before, after) != 0)
		FAIL("mounts were:\n%s\nand are:\n%s", before, after);
}

static void plain(void)
{
	private_mounts();
	checkpoint_mounts();
}

static void tmpfs(void)
{
	private_mounts();
	CHECK(mount("mine", "/mnt", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=750") == 0);
	CHECK(mkdir("/mnt/a b", 0700) == 0);
	write_text("/mnt/a b/file", "contents");
	CHECK(mount("/mnt/a b", "/opt", NULL, MS_BIND, NULL) == 0);
	int fd = open("/opt/file", O_RDWR | O_CLOEXEC);
	checkpoint_mounts();
	check_text("/mnt/a b/file", "contents");
	CHECK(write(fd, "C", 1) == 1);
	check_text("/mnt/a b/file", "Contents");
	CHECK(mount(NULL, "/mnt", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
}

/* of the pid namespace that it is in, which is stasis' own */
static void proc(void)
{
	struct stat st;

	private_mounts();
	CHECK(mount("proc", "/mnt", "proc", 0, "hidepid=2") == 0);
	checkpoint_mounts();
	CHECK(stat("/mnt/1", &st) == 0);
}

static void covered(void)
{
	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	write_text("/mnt/file", "below");
	CHECK(mkdir("/mnt/d", 0700) == 0);
	int fd = open("/mnt/file", O_RDONLY | O_CLOEXEC);
	CHECK(mount("two", "/mnt/d", "tmpfs", 0, NULL) == 0);
	write_text("/mnt/d/file", "within");
	CHECK(mount("three", "/mnt", "tmpfs", 0, NULL) == 0);
	write_text("/mnt/file", "above");
	checkpoint_mounts();
	char room[8] = "";
	CHECK(read(fd, room, 7) == 5 && !strcmp(room, "below"));
	close(fd);
	check_text("/mnt/file", "above");
	CHECK(umount("/mnt") == 0);
	check_text("/mnt/file", "below");
	check_text("/mnt/d/file", "within");
}

static void read_only(void)
{
	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	write_text("/mnt/file", "text");
	CHECK(mount(NULL, "/mnt", NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	CHECK(mount(NULL, "/mnt", NULL, MS_REMOUNT | MS_BIND, NULL) == 0);
	checkpoint_mounts();
	check_text("/mnt/file", "text");
	CHECK(open("/mnt/new", O_WRONLY | O_CREAT, 0600) < 0 && errno == EROFS);
	CHECK(mount(NULL, "/mnt", NULL, MS_REMOUNT, NULL) == 0);
	write_text("/mnt/new", "text");
}

static void shared(void)
{
	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(mkdir("/mnt/a", 0700) == 0 && mkdir("/mnt/a/b", 0700) == 0);
	CHECK(mount(NULL, "/mnt", NULL, MS_SHARED, NULL) == 0);
	CHECK(mount("/mnt/a", "/opt", NULL, MS_BIND, NULL) == 0);
	CHECK(mount("/mnt", "/srv", NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, "/srv", NULL, MS_SLAVE, NULL) == 0);
	checkpoint_mounts();
	CHECK(mount("two", "/opt/b", "tmpfs", 0, NULL) == 0);
	write_text("/opt/b/file", "everywhere");
	check_text("/mnt/a/b/file", "everywhere");
	check_text("/srv/a/b/file", "everywhere");
	CHECK(umount("/srv/a/b") == 0);
	check_text("/mnt/a/b/file", "everywhere");
}

/* what is mounted in a shared pair is there twice, a pair itself, and goes from both */
static void shared_nested(void)
{
	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0 && mkdir("/mnt/d", 0700) == 0);
	CHECK(mount(NULL, "/mnt", NULL, MS_SHARED, NULL) == 0);
	CHECK(mount("/mnt", "/opt", NULL, MS_BIND, NULL) == 0);
	CHECK(mount("nested", "/opt/d", "tmpfs", 0, NULL) == 0 && mkdir("/mnt/d/e", 0700) == 0);
	write_text("/mnt/d/file", "in both");
	checkpoint_mounts();
	check_text("/opt/d/file", "in both");
	CHECK(mount("new", "/opt/d/e", "tmpfs", 0, NULL) == 0);
	write_text("/opt/d/e/file", "deeper");
	check_text("/mnt/d/e/file", "deeper");
	CHECK(umount("/mnt/d/e") == 0 && umount("/mnt/d") == 0);
	CHECK(access("/opt/d/file", F_OK) < 0 && errno == ENOENT);
}

/* a child's namespace, and its own; what one mounts on what they share, the other sees */
static void two(void)
{
	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(mkdir("/mnt/d", 0700) == 0);
	CHECK(mount(NULL, "/mnt", NULL, MS_SHARED, NULL) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(unshare(CLONE_NEWNS) == 0);
		CHECK(mount("own", "/opt", "tmpfs", 0, NULL) == 0);
		write_text("/opt/file", "the child's");
		subject_settle("child");
		subject_wait("compared");
		check_text("/opt/file", "the child's");
		CHECK(mount("new", "/mnt/d", "tmpfs", 0, NULL) == 0);
		write_text("/mnt/d/file", "from the child");
		_exit(0);
	}
	subject_wait("child");
	checkpoint_mounts();
	subject_mark("compared");
	subject_check_exit(pid, 0);
	check_text("/mnt/d/file", "from the child");
	CHECK(access("/opt/file", F_OK) < 0);
}

/* the root task is in the namespace that stasis is in, which is not made anew */
static void root_outside(void)
{
	struct stat own, there;
	pid_t pid = fork();

	if (pid == 0) {
		private_mounts();
		CHECK(mount("own", "/mnt", "tmpfs", 0, NULL) == 0);
		write_text("/mnt/file", "the child's");
		subject_settle("child");
		check_text("/mnt/file", "the child's");
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	CHECK(stat("/proc/self/ns/mnt", &own) == 0 && stat("/proc/1/ns/mnt", &there) == 0);
	CHECK_EQ(own.st_ino, there.st_ino);
	CHECK(access("/mnt/file", F_OK) < 0);
	subject_check_exit(pid, 0);
}

/* what stasis has mounted, too, is never copied */
static void external(void)
{
	CHECK(mount("outer", "/mnt", "tmpfs", 0, NULL) == 0);
	write_text("/mnt/file", "not ours");
	private_mounts();
	checkpoint_mounts();
	check_text("/mnt/file", "not ours");
}

/* in the namespace that one process is in: something is mounted on @place */
static void mount_in(const char *ns, const char *place)
{
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(ns, O_RDONLY | O_CLOEXEC);
		CHECK(fd >= 0 && setns(fd, CLONE_NEWNS) == 0);
		_exit(mount("new", place, "tmpfs", 0, NULL) < 0);
	}
	subject_check_exit(pid, 0);
}

/* what the host mounts there later appears */
static void slave(void)
{
	CHECK(mount("outer", "/mnt", "tmpfs", 0, NULL) == 0 && mkdir("/mnt/d", 0755) == 0);
	CHECK(mount(NULL, "/mnt", NULL, MS_SHARED, NULL) == 0);
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0);
	checkpoint_mounts();
	mount_in("/proc/1/ns/mnt", "/mnt/d");
	write_text("/proc/1/root/mnt/d/file", "from the host");
	check_text("/mnt/d/file", "from the host");
}

/* what is mounted on one appears on the other, which is that of the test */
static void peer_of_host(void)
{
	CHECK(mount("outer", "/mnt", "tmpfs", 0, NULL) == 0 && mkdir("/mnt/d", 0755) == 0);
	CHECK(mount(NULL, "/mnt", NULL, MS_SHARED, NULL) == 0);
	CHECK(unshare(CLONE_NEWNS) == 0);
	checkpoint_mounts();
	CHECK(mount("new", "/mnt/d", "tmpfs", 0, NULL) == 0);
	write_text("/mnt/d/file", "from the container");
	check_text("/proc/1/root/mnt/d/file", "from the container");
	CHECK(umount("/mnt/d") == 0 && access("/proc/1/root/mnt/d/file", F_OK) < 0);
}

/* ---- refusals ---- */

/* a process that is no descendant any more runs @setup and stays */
static void leave_outside(void (*setup)(void))
{
	pid_t pid = fork();

	if (pid == 0) {
		if (fork() != 0)
			_exit(0);
		CHECK(setsid() > 0); /* its group would keep the pid of the subject */
		setup();
		subject_settle("outside");
		_exit(0);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
	subject_wait("outside");
}

static void copy_namespace(void)
{
	CHECK(unshare(CLONE_NEWNS) == 0);
}

static void nothing(void)
{
}

static void close_all(void)
{
	CHECK(close_range(0, ~0u, 0) == 0); /* which would be leaks, too */
}

static void peer_outside(void)
{
	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(mount(NULL, "/mnt", NULL, MS_SHARED, NULL) == 0);
	leave_outside(copy_namespace);
	subject_checkpoint();
}

static void master_outside(void)
{
	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(mount(NULL, "/mnt", NULL, MS_SHARED, NULL) == 0);
	leave_outside(nothing);
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/mnt", NULL, MS_SLAVE, NULL) == 0);
	subject_checkpoint();
}

static const char *propagation(const char *place)
{
	static char line[4096];
	static char word[32];
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char at[256];

	CHECK(f);
	for (*word = 0; fgets(line, sizeof(line), f);) {
		char *fields = strstr(line, " - ");
		CHECK(fields && sscanf(line, "%*d %*d %*s %*s %255s", at) == 1);
		*fields = 0;
		if (strcmp(at, place) != 0)
			continue;
		snprintf(word, sizeof(word), "%s%s", strstr(line, " shared:") ? "shared" : "",
		         strstr(line, " master:") ? "slave" : "");
	}
	fclose(f);
	return word;
}

/*
 * /mnt is a slave of one that is a slave of the host's, which it becomes itself; /opt, and /srv
 * too, which is shared as well and has a slave of its own, are of nobody
 */
static void master_dropped(void)
{
	static const char *const places[] = { "/mnt", "/opt", "/srv" };

	CHECK(mount("outer", "/mnt", "tmpfs", 0, NULL) == 0 && mkdir("/mnt/d", 0755) == 0);
	CHECK(mount(NULL, "/mnt", NULL, MS_SHARED, NULL) == 0);
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0);
	for (size_t i = 1; i < 3; i++) {
		CHECK(mount("/mnt", places[i], NULL, MS_BIND, NULL) == 0);
		CHECK(mount(NULL, places[i], NULL, MS_PRIVATE, NULL) == 0);
	}
	for (size_t i = 0; i < 3; i++)
		CHECK(mount(NULL, places[i], NULL, MS_SHARED, NULL) == 0);
	leave_outside(close_all);
	CHECK(unshare(CLONE_NEWNS) == 0);
	for (size_t i = 0; i < 3; i++)
		CHECK(mount(NULL, places[i], NULL, MS_SLAVE, NULL) == 0);
	CHECK(mount(NULL, "/srv", NULL, MS_SHARED, NULL) == 0);
	CHECK(mount("/srv", "/media", NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, "/media", NULL, MS_SLAVE, NULL) == 0);
	subject_checkpoint();
	CHECK(!strcmp(propagation("/mnt"), "slave") && !strcmp(propagation("/opt"), ""));
	CHECK(!strcmp(propagation("/srv"), "shared") && !strcmp(propagation("/media"), "slave"));
	mount_in("/proc/1/ns/mnt", "/mnt/d");
	write_text("/proc/1/root/mnt/d/file", "from the host");
	check_text("/mnt/d/file", "from the host");
	mount_in("/proc/self/ns/mnt", "/srv/d");
	write_text("/srv/d/file", "from its own");
	check_text("/media/d/file", "from its own");
}

/* the host's is private when it is restarted: by --drop-masters so is it, what is shared stays so
 */
static void slave_dropped(void)
{
	CHECK(mount("outer", "/mnt", "tmpfs", 0, NULL) == 0 && mkdir("/mnt/d", 0755) == 0);
	CHECK(mount(NULL, "/mnt", NULL, MS_SHARED, NULL) == 0);
	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0);
	CHECK(mount("/mnt", "/srv", NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, "/srv", NULL, MS_SHARED, NULL) == 0);
	subject_checkpoint();
	CHECK(!strcmp(propagation("/mnt"), "") && !strcmp(propagation("/srv"), "shared"));
	mount_in("/proc/1/ns/mnt", "/mnt/d");
	CHECK(access("/mnt/d/file", F_OK) < 0 && errno == ENOENT);
}

static void shared_outside(void)
{
	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	leave_outside(copy_namespace);
	subject_checkpoint();
}

static void user_outside(void)
{
	private_mounts();
	leave_outside(nothing);
	subject_checkpoint();
}

/* a process outside, in its own namespace, uses what is on a tmpfs of the subject's */
static void use_outside(void (*use)(const char *path))
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/root/mnt", getpid());
	pid_t pid = fork();
	if (pid == 0) {
		if (fork() != 0)
			_exit(0);
		close_all();
		subject_wait("mounted");
		use(path);
		subject_settle("outside");
		_exit(0);
	}
	subject_check_exit(pid, 0);
	CHECK(unshare(CLONE_NEWUTS) == 0);
	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	subject_mark("mounted");
	subject_wait("outside");
	subject_checkpoint();
}

static void open_file(const char *path)
{
	CHECK(open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) >= 0);
}

static void file_outside(void)
{
	use_outside(open_file);
}

static void map_file(const char *path)
{
	int fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
	close(fd);
}

static void mapping_outside(void)
{
	use_outside(map_file);
}

/* a namespace of the process whose /mnt @path is */
static void bind_namespace(const char *path)
{
	char ns[64];

	snprintf(ns, sizeof(ns), "/proc/%d/ns/uts", atoi(path + strlen("/proc/")));
	close(open("bound", O_CREAT | O_CLOEXEC, 0600));
	CHECK(mount(ns, "bound", NULL, MS_BIND, NULL) == 0);
}

static void bound_outside(void)
{
	use_outside(bind_namespace);
}

static void mount_idmapped(const char *to, const char *uid_map, const char *gid_map)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP };
	int user = empty_user_ns(uid_map, gid_map);
	int fd = open_tree(AT_FDCWD, "/mnt", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	attr.userns_fd = (uint64_t)user;
	CHECK(fd >= 0);
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 && errno == EINVAL)
		SKIP("this kernel does not map ids of a tmpfs");
	CHECK(move_mount(fd, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) == 0);
	close(fd);
	close(user);
}

static void check_owner(const char *path, uid_t uid, gid_t gid)
{
	struct stat st;

	CHECK(stat(path, &st) == 0);
	CHECK_EQ(st.st_uid, uid);
	CHECK_EQ(st.st_gid, gid);
}

/* two maps, in which users and groups differ, and a clone of one: case 47 */
static void idmap(void)
{
	private_mounts();
	CHECK(chmod(".", 0777) == 0);
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	write_text("/mnt/file", "x");
	CHECK(chown("/mnt/file", 3, 4) == 0);
	mount_idmapped("/opt", "0 1000 10", "0 2000 10");
	mount_idmapped("/srv", "0 0 1\n3 500 1", "4 600 2");
	CHECK(mount("/srv", "/media", NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, "/media", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
	checkpoint_mounts();
	check_owner("/opt/file", 1003, 2004);
	check_owner("/srv/file", 500, 600);
	check_owner("/media/file", 500, 600);
	check_owner("/mnt/file", 3, 4);
	CHECK(open("/media/new", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
}

/* a file system that nobody knows how to make again; its server never answers */
static void filesystem(void)
{
	char options[80];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	private_mounts();
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	CHECK(mount("none", "/mnt", "fuse", 0, options) == 0);
	subject_checkpoint();
}

/* the root is covered, and nobody's root directory is that any more */
static void root_covered(void)
{
	private_mounts();
	CHECK(mount("t", "/", "tmpfs", 0, NULL) == 0 && chroot("/opt") == 0);
	subject_checkpoint();
	CHECK(chdir("/") == 0 && chdir("..") == 0);
}

/* the same, where the root is older than the namespace: then the kernel shows it to nobody */
static void hide(void)
{
	int context = fsopen("tmpfs", FSOPEN_CLOEXEC);

	CHECK(context >= 0 && fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0);
	int root = fsmount(context, FSMOUNT_CLOEXEC, 0);
	CHECK(root >= 0 && mkdirat(root, "below", 0755) == 0);
	private_mounts();
	CHECK(move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) == 0);
	CHECK(fchdir(root) == 0 && syscall(SYS_pivot_root, ".", ".") == 0);
	CHECK(umount2(".", MNT_DETACH) == 0 && mount("t", "/", "tmpfs", 0, NULL) == 0);
	CHECK(chroot("below") == 0 && chdir("/") == 0);
	close(root);
	close(context);
	pause();
}

static void hidden(void)
{
	pid_t pid = fork();

	if (pid == 0)
		hide();
	subject_wait_call(pid, SYS_pause);
	subject_checkpoint();
}

static void content(void)
{
	private_mounts();
	CHECK(mount("none", "/mnt", "hugetlbfs", 0, NULL) == 0);
	CHECK(mkdir("/mnt/d", 0700) == 0);
	subject_checkpoint();
}

static void bpf_pinned(void)
{
	union bpf_attr map = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
	};
	union bpf_attr pin = { .pathname = (uintptr_t) "/mnt/map" };

	private_mounts();
	CHECK(mount("none", "/mnt", "bpf", 0, NULL) == 0);
	int fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map));
	if (fd < 0)
		SKIP("no BPF maps: %s", strerror(errno));
	pin.bpf_fd = (uint32_t)fd;
	CHECK(syscall(SYS_bpf, BPF_OBJ_PIN, &pin, sizeof(pin)) == 0 && close(fd) == 0);
	subject_checkpoint();
}

/* of a pid namespace that nobody is in any more */
static void other_proc(void)
{
	private_mounts();
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(unshare(CLONE_NEWPID) == 0);
		pid_t init = fork();
		if (init == 0)
			_exit(mount("proc", "/mnt", "proc", 0, NULL));
		int status;
		waitpid(init, &status, 0);
		_exit(WEXITSTATUS(status));
	}
	subject_check_exit(pid, 0);
	subject_checkpoint();
}

/* of a new one the root directory must be looked at: nothing shows it */
static void in_parts(void)
{
	private_mounts();
	CHECK(mount("pts", "/mnt", "devpts", 0, "newinstance") == 0);
	write_text("ptmx", "");
	CHECK(mount("/mnt/ptmx", "ptmx", NULL, MS_BIND, NULL) == 0);
	CHECK(umount("/mnt") == 0);
	subject_checkpoint();
}

/* the host has another part of it */
static void host_in_parts(void)
{
	CHECK(mount("whole", "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(mkdir("/mnt/a", 0755) == 0 && mkdir("/mnt/b", 0755) == 0);
	CHECK(mount("/mnt/a", "/opt", NULL, MS_BIND, NULL) == 0);
	private_mounts();
	CHECK(mount("/mnt/b", "/srv", NULL, MS_BIND, NULL) == 0);
	CHECK(umount("/mnt") == 0);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
		CHECK(fd >= 0 && setns(fd, CLONE_NEWNS) == 0);
		_exit(umount("/mnt") < 0);
	}
	subject_check_exit(pid, 0);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(
		argc, argv, CASE(plain), CASE(tmpfs), CASE(proc), CASE(covered), CASE(read_only),
		CASE(shared), CASE(shared_nested), CASE(two), CASE(root_outside), CASE(external),
		CASE(slave), CASE(peer_of_host), CASE(peer_outside), CASE(master_outside),
		CASE(master_dropped), CASE(slave_dropped), CASE(shared_outside), CASE(user_outside),
		CASE(file_outside), CASE(mapping_outside), CASE(bound_outside), CASE(idmap),
		CASE(filesystem), CASE(content), CASE(bpf_pinned), CASE(hidden), CASE(root_covered),
		CASE(other_proc), CASE(in_parts), CASE(host_in_parts));
}
