/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Overlays in mount namespaces of the set: cases 43 to 46 of the design.
 *
 * TEST layers-on-tmpfs round-trip restart="--mntns new" -- on_tmpfs
 * TEST several-lowers round-trip restart="--mntns new" -- several
 * TEST read-only round-trip restart="--mntns new" -- read_only
 * TEST lower-on-external round-trip restart="--mntns new" -- on_external
 * TEST odd-characters round-trip restart="--mntns new" -- characters
 * TEST symlink-layer round-trip restart="--mntns new" -- symlink_layer
 * TEST long-options round-trip restart="--mntns new" -- long_options
 * TEST overlay-on-overlay round-trip restart="--mntns new" -- nested
 * TEST volatile round-trip restart="--mntns new" -- is_volatile
 * TEST covered-layers round-trip restart="--mntns new" -- covered_later
 * The inode numbers of copied layers are new ones, which mappings and deleted names show:
 * TEST open-files round-trip restart="--mntns new" except=map/????????????,fd/5 -- open_files
 * TEST executable round-trip restart="--mntns new" except=map/????????????,exe -- executable
 * A root that is not the first line of mountinfo is, before Linux 6.8, which has no unique ids:
 * TEST old-root round-trip restart="--mntns new" needs=statmount_ns -- old_root
 * What was mapped before its file was copied to the upper layer shows the lower one's.
 * TEST copied-up refuse code=mm.copied-up -- copied_up
 * TEST copied-up-untouched refuse code=mm.copied-up -- copied_up_untouched
 * TEST copied-up-unreadable refuse code=mm.copied-up -- copied_up_unreadable
 * TEST copied-up-shorter refuse code=mm.copied-up -- copied_up_shorter
 * TEST copied-up-user refuse code=mm.copied-up under="setpriv --bounding-set=-sys_admin" -- copied_up_shared
 * TEST mapped-since round-trip restart="--mntns new" except=map/???????????? -- mapped_since
 * TEST relative refuse code=mount.overlay -- relative
 * TEST index refuse code=mount.overlay -- with_index
 * What the layers are made of has been unmounted: what the overlay shows is copied.
 * TEST hidden-layers round-trip restart="--mntns new" -- hidden
 * TEST hidden-beside-full round-trip restart="--mntns new" needs=statmount_ns -- hidden_beside
 * TEST hidden-read-only round-trip restart="--mntns new" -- hidden_read_only
 * TEST hidden-lower-on-disk round-trip restart="--mntns new" -- hidden_lower
 * TEST outside-layers round-trip restart="--mntns new" -- outside
 * TEST outside-layer-replaced restart-refuse restart="--mntns new" code=mount.external-missing before="mv s/l s/old && cp -a s/old s/l" -- outside
 * TEST layers-on-disk-renamed refuse code=mount.overlay -- renamed_on_disk
 * TEST outside-volatile refuse code=mount.overlay -- outside_volatile
 * TEST layer-replaced refuse code=mount.overlay -- layer_replaced
 */
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "cases.h"
#include "mounts.h"

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* /mnt/l, u, w of one tmpfs, and m to mount on */
static void make_layers(void)
{
	CHECK(mount("layers", "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(mkdir("/mnt/l", 0755) == 0 && mkdir("/mnt/u", 0750) == 0);
	CHECK(mkdir("/mnt/w", 0755) == 0 && mkdir("/mnt/m", 0755) == 0);
	write_text("/mnt/l/below", "below");
	write_text("/mnt/l/gone", "gone");
	write_text("/mnt/l/changed", "as it was");
	CHECK(mkdir("/mnt/l/dir", 0755) == 0 && mkdir("/mnt/l/opaque", 0755) == 0);
	write_text("/mnt/l/dir/in", "in a directory");
	write_text("/mnt/l/opaque/in", "not to be seen");
}

static void overlay(const char *options)
{
	if (mount("over", "/mnt/m", "overlay", 0, options) < 0)
		FAIL("%s: %s", options, strerror(errno));
}

/* changes of all sorts through the overlay */
static void change(void)
{
	CHECK(unlink("/mnt/m/gone") == 0);
	write_text("/mnt/m/changed", "anew");
	CHECK(unlink("/mnt/m/opaque/in") == 0 && rmdir("/mnt/m/opaque") == 0);
	CHECK(mkdir("/mnt/m/opaque", 0700) == 0);
	write_text("/mnt/m/dir/new", "new");
	CHECK(setxattr("/mnt/m/changed", "trusted.mine", "v", 1, 0) == 0);
}

static void check_changed(void)
{
	struct stat st;
	char value[4];

	check_text("/mnt/m/below", "below");
	check_text("/mnt/m/changed", "anew");
	check_text("/mnt/m/dir/in", "in a directory");
	check_text("/mnt/m/dir/new", "new");
	CHECK(!exists("/mnt/m/gone") && exists("/mnt/m/opaque") && !exists("/mnt/m/opaque/in"));
	CHECK(getxattr("/mnt/m/changed", "trusted.mine", value, 4) == 1 && value[0] == 'v');
	/* what the layers themselves hold */
	check_text("/mnt/l/gone", "gone");
	check_text("/mnt/l/changed", "as it was");
	CHECK(lstat("/mnt/u/gone", &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0);
	CHECK(getxattr("/mnt/u/opaque", "trusted.overlay.opaque", value, 4) == 1);
	/* and it goes on */
	write_text("/mnt/m/dir/in", "copied up");
	check_text("/mnt/u/dir/in", "copied up");
	check_text("/mnt/l/dir/in", "in a directory");
	CHECK(unlink("/mnt/m/below") == 0 && !exists("/mnt/m/below") && exists("/mnt/l/below"));
	CHECK(stat("/mnt/m", &st) == 0 && (st.st_mode & 07777) == 0750);
}

static void on_tmpfs(void)
{
	private_mounts();
	make_layers();
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w");
	change();
	subject_checkpoint();
	check_changed();
}

static void several(void)
{
	private_mounts();
	make_layers();
	CHECK(mkdir("/mnt/l2", 0755) == 0 && mkdir("/mnt/l3", 0755) == 0);
	write_text("/mnt/l2/below", "in the middle");
	write_text("/mnt/l3/lowest", "lowest");
	overlay("lowerdir=/mnt/l2:/mnt/l:/mnt/l3,upperdir=/mnt/u,workdir=/mnt/w,xino=on,"
	        "redirect_dir=on,metacopy=on");
	CHECK(rename("/mnt/m/dir", "/mnt/m/renamed") == 0);
	CHECK(chmod("/mnt/m/lowest", 0601) == 0);
	subject_checkpoint();
	struct stat st;
	check_text("/mnt/m/below", "in the middle");
	check_text("/mnt/m/lowest", "lowest");
	check_text("/mnt/m/renamed/in", "in a directory");
	CHECK(stat("/mnt/m/lowest", &st) == 0 && (st.st_mode & 0777) == 0601);
}

static void read_only(void)
{
	private_mounts();
	make_layers();
	overlay("lowerdir=/mnt/u:/mnt/l");
	subject_checkpoint();
	check_text("/mnt/m/below", "below");
	CHECK(open("/mnt/m/new", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
}

static void on_external(void)
{
	struct stat st;

	private_mounts();
	make_layers();
	overlay("lowerdir=/usr/bin,upperdir=/mnt/u,workdir=/mnt/w");
	CHECK(chmod("/mnt/m/env", 0700) == 0 && unlink("/mnt/m/true") == 0);
	write_text("/mnt/m/new", "new");
	subject_checkpoint();
	CHECK(stat("/mnt/m/env", &st) == 0 && (st.st_mode & 0777) == 0700);
	CHECK(stat("/usr/bin/env", &st) == 0 && (st.st_mode & 0777) == 0755);
	CHECK(!exists("/mnt/m/true") && exists("/usr/bin/true") && exists("/mnt/m/sh"));
	check_text("/mnt/u/new", "new");
}

static void characters(void)
{
	private_mounts();
	make_layers();
	CHECK(mkdir("/mnt/a:b,c d", 0755) == 0 && mkdir("/mnt/back\\slash", 0755) == 0);
	write_text("/mnt/a:b,c d/colon", "colon");
	write_text("/mnt/back\\slash/back", "back");
	CHECK(rename("/mnt/u", "/mnt/u,per") == 0 && rename("/mnt/w", "/mnt/w\n#") == 0);
	overlay("lowerdir=/mnt/a\\:b\\,c d:/mnt/back\\\\slash:/mnt/l,upperdir=/mnt/u\\,per,"
	        "workdir=/mnt/w\n#");
	write_text("/mnt/m/changed", "anew");
	subject_checkpoint();
	check_text("/mnt/m/colon", "colon");
	check_text("/mnt/m/back", "back");
	check_text("/mnt/u,per/changed", "anew");
	write_text("/mnt/m/below", "copied up");
	check_text("/mnt/u,per/below", "copied up");
}

/* the links lead from one file system to another, and back */
static void symlink_layer(void)
{
	private_mounts();
	make_layers();
	CHECK(mount("links", "/opt", "tmpfs", 0, NULL) == 0 && mkdir("/opt/d", 0755) == 0);
	CHECK(symlink("../mnt/l", "/opt/one") == 0 && symlink("/opt/one", "/mnt/two") == 0);
	CHECK(symlink("/mnt", "/opt/d/three") == 0);
	overlay("lowerdir=/mnt/two,upperdir=/opt/d/three/u,workdir=/opt/d/../../mnt/w");
	change();
	subject_checkpoint();
	check_changed();
}

static void long_options(void)
{
	char name[200], options[600], path[220];

	private_mounts();
	make_layers();
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	for (const char *c = "12"; *c; c++) {
		snprintf(path, sizeof(path), "/mnt/%c%s", *c, name);
		CHECK(mkdir(path, 0755) == 0);
	}
	snprintf(options, sizeof(options),
	         "lowerdir=/mnt/1%s:/mnt/2%s:/mnt/l,upperdir=/mnt/u,workdir=/mnt/w", name, name);
	overlay(options);
	change();
	subject_checkpoint();
	check_changed();
}

static void nested(void)
{
	private_mounts();
	make_layers();
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w");
	change();
	CHECK(mkdir("/mnt/u2", 0755) == 0 && mkdir("/mnt/w2", 0755) == 0);
	CHECK(mount("second", "/opt", "overlay", 0,
	            "lowerdir=/mnt/m,upperdir=/mnt/u2,workdir=/mnt/w2") == 0);
	CHECK(unlink("/opt/below") == 0);
	subject_checkpoint();
	check_text("/opt/dir/new", "new");
	check_text("/opt/changed", "anew");
	CHECK(!exists("/opt/below"));
	check_changed();
}

static void is_volatile(void)
{
	private_mounts();
	make_layers();
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w,volatile");
	change();
	subject_checkpoint();
	check_changed();
}

/* of what is mounted when it is recorded some has come after the overlay, on other directories */
static void covered_later(void)
{
	private_mounts();
	make_layers();
	CHECK(mount("other", "/opt", "tmpfs", 0, NULL) == 0);
	CHECK(mkdir("/opt/m", 0755) == 0 && mkdir("/mnt/l/point", 0755) == 0);
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w");
	change();
	CHECK(mount("/mnt/m", "/opt/m", NULL, MS_BIND, NULL) == 0);
	CHECK(mount("cover", "/mnt/m", "tmpfs", 0, NULL) == 0);
	CHECK(mount("cover", "/mnt/l/point", "tmpfs", 0, NULL) == 0);
	subject_checkpoint();
	check_text("/opt/m/changed", "anew");
	CHECK(umount("/mnt/m") == 0 && umount("/mnt/l/point") == 0);
	check_changed();
}

/* the subject's own directory is its working directory all the time */
static void open_files(void)
{
	char text[16] = "";

	private_mounts();
	make_layers();
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w");
	int below = open("/mnt/m/below", O_RDONLY);
	int changed = open("/mnt/m/changed", O_RDWR | O_APPEND);
	int gone = open("/mnt/m/dir/deleted", O_RDWR | O_CREAT, 0600);
	int dir = open("/mnt/m/dir", O_RDONLY | O_DIRECTORY);
	CHECK(below >= 0 && changed >= 0 && gone >= 0 && dir >= 0);
	CHECK(write(gone, "deleted", 7) == 7 && unlink("/mnt/m/dir/deleted") == 0);
	char *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, changed, 0);
	char *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, below, 0);
	CHECK(map != MAP_FAILED && own != MAP_FAILED);
	own[0] = 'B';
	subject_checkpoint();
	CHECK(read(below, text, 15) == 5 && !memcmp(text, "below", 5));
	CHECK(write(changed, "!", 1) == 1 && !memcmp(map, "as it was!", 10));
	check_text("/mnt/u/changed", "as it was!");
	check_text("/mnt/l/changed", "as it was");
	CHECK(pread(gone, text, 15, 0) == 7 && !memcmp(text, "deleted", 7));
	CHECK(pwrite(gone, "D", 1, 0) == 1);
	CHECK(faccessat(dir, "in", F_OK, 0) == 0 && own[0] == 'B' && own[1] == 'e');
}

static char *map_below(void)
{
	int fd = open("/mnt/m/below", O_RDONLY);
	char *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);

	CHECK(fd >= 0 && map != MAP_FAILED);
	close(fd);
	return map;
}

static void overlay_to_map(void)
{
	private_mounts();
	make_layers();
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w");
}

static void copied_up(void)
{
	overlay_to_map();
	char *map = map_below();
	CHECK(!memcmp(map, "below", 5));
	write_text("/mnt/m/below", "BELOW");
	subject_checkpoint();
	CHECK(!memcmp(map, "below", 5));
}

/* in the mount namespace of the checkpoint, which may not see frames */
static void copied_up_shared(void)
{
	make_layers();
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w");
	char *map = map_below();
	CHECK(!memcmp(map, "below", 5));
	write_text("/mnt/m/below", "BELOW");
	subject_checkpoint();
	CHECK(!memcmp(map, "below", 5));
}

static void copied_up_untouched(void)
{
	overlay_to_map();
	char *map = map_below();
	write_text("/mnt/m/below", "BELOW");
	subject_checkpoint();
	CHECK(!memcmp(map, "below", 5));
}

static void copied_up_unreadable(void)
{
	overlay_to_map();
	char *map = map_below();
	CHECK(mprotect(map, 4096, PROT_NONE) == 0);
	write_text("/mnt/m/below", "BELOW");
	subject_checkpoint();
	CHECK(mprotect(map, 4096, PROT_READ) == 0);
	CHECK(!memcmp(map, "below", 5));
}

static void copied_up_shorter(void)
{
	overlay_to_map();
	char *map = map_below();
	CHECK(!memcmp(map, "below", 5));
	CHECK(truncate("/mnt/m/below", 0) == 0);
	subject_checkpoint();
	CHECK(!memcmp(map, "below", 5));
}

static void mapped_since(void)
{
	overlay_to_map();
	write_text("/mnt/m/below", "BELOW");
	char *map = map_below();
	CHECK(!memcmp(map, "BELOW", 5));
	subject_checkpoint();
	CHECK(!memcmp(map, "BELOW", 5));
	write_text("/mnt/m/below", "again");
	CHECK(!memcmp(map, "again", 5));
}

/* of what lies on the overlay a child runs a program */
static void executable(void)
{
	int status;

	private_mounts();
	make_layers();
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w");
	CHECK(system("cp /proc/self/exe /mnt/l/cp; cp /bin/sleep /mnt/m/sleep") == 0);
	pid_t pid = fork();
	if (pid == 0) {
		execl("/mnt/m/sleep", "sleep", "1000", NULL);
		_exit(1);
	}
	subject_wait_call(pid, SYS_clock_nanosleep);
	subject_checkpoint();
	CHECK(kill(pid, SIGTERM) == 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* ---- containers ---- */

static void pivot(const char *to, const char *old)
{
	CHECK(chdir(to) == 0 && syscall(SYS_pivot_root, ".", old) == 0 && chdir("/") == 0);
}

/* the overlay is the root; what it is made of stays mounted below the old root */
static void enter_overlay(void)
{
	char there[4096] = "/old", *cwd = there + 4;

	CHECK(getcwd(cwd, sizeof(there) - 4));
	make_layers();
	CHECK(mkdir("/mnt/l/old", 0755) == 0);
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w");
	pivot("/mnt/m", "old");
	CHECK(chdir(there) == 0);
}

static void old_root(void)
{
	private_mounts();
	enter_overlay();
	write_text("/changed", "anew");
	CHECK(unlink("/gone") == 0);
	subject_checkpoint();
	check_text("/below", "below");
	check_text("/changed", "anew");
	check_text("/old/mnt/u/changed", "anew");
	CHECK(!exists("/gone") && exists("/old/mnt/l/gone"));
}

/* ---- layers that nobody can see any more ---- */

static void check_hidden(const char *at)
{
	char path[64], value[4];
	struct stat st;

	snprintf(path, sizeof(path), "%s/below", at);
	check_text(path, "below");
	snprintf(path, sizeof(path), "%s/changed", at);
	check_text(path, "anew");
	CHECK(getxattr(path, "trusted.mine", value, 4) == 1 && value[0] == 'v');
	snprintf(path, sizeof(path), "%s/dir/in", at);
	check_text(path, "in a directory");
	snprintf(path, sizeof(path), "%s/gone", at);
	CHECK(!exists(path));
	snprintf(path, sizeof(path), "%s/opaque/in", at);
	CHECK(!exists(path));
	snprintf(path, sizeof(path), "%s/dir/later", at);
	write_text(path, "later");
	check_text(path, "later");
	CHECK(stat(at, &st) == 0 && (st.st_mode & 07777) == 0750);
}

static void hidden(void)
{
	private_mounts();
	make_layers();
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w");
	change();
	CHECK(link("/mnt/m/changed", "/mnt/m/linked") == 0);
	CHECK(mount("/mnt/m", "/opt", NULL, MS_BIND, NULL) == 0);
	CHECK(mount("/mnt/m/dir", "/srv", NULL, MS_BIND, NULL) == 0);
	CHECK(umount2("/mnt", MNT_DETACH) == 0);
	int fd = open("/opt/changed", O_RDONLY);
	subject_checkpoint();
	char text[8] = "";
	CHECK(read(fd, text, 7) == 4 && !strcmp(text, "anew") && close(fd) == 0);
	check_hidden("/opt");
	check_text("/srv/later", "later");
	struct stat st;
	CHECK(stat("/opt/linked", &st) == 0 && st.st_nlink == 2);
	check_text("/opt/linked", "anew");
}

/* another file system has as much room left, to the byte, and nothing to do with it */
static void hidden_beside(void)
{
	struct statfs a, b;

	private_mounts();
	make_layers();
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w");
	change();
	CHECK(statfs("/mnt", &a) == 0);
	CHECK(mount("beside", "/media", "tmpfs", 0, NULL) == 0);
	for (int i = 0; statfs("/media", &b) == 0 && b.f_ffree > a.f_ffree; i++) {
		char name[32];
		snprintf(name, sizeof(name), "/media/%d", i);
		int fd = open(name, O_WRONLY | O_CREAT, 0600);
		bool room = b.f_bfree > a.f_bfree;
		CHECK(fd >= 0 && write(fd, "x", room) == room && close(fd) == 0);
	}
	CHECK(statfs("/media", &b) == 0 && a.f_bfree == b.f_bfree && a.f_ffree == b.f_ffree);
	CHECK(mount("/mnt/m", "/opt", NULL, MS_BIND, NULL) == 0);
	CHECK(umount2("/mnt", MNT_DETACH) == 0);
	subject_checkpoint();
	check_hidden("/opt");
}

static void hidden_read_only(void)
{
	private_mounts();
	make_layers();
	overlay("lowerdir=/mnt/u:/mnt/l");
	CHECK(mount("/mnt/m", "/opt", NULL, MS_BIND, NULL) == 0);
	CHECK(umount2("/mnt", MNT_DETACH) == 0);
	subject_checkpoint();
	check_text("/opt/dir/in", "in a directory");
	CHECK(open("/opt/new", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
}

static void hidden_lower(void)
{
	private_mounts();
	make_layers();
	CHECK(mkdir("/mnt/usr", 0755) == 0);
	CHECK(mount("/usr/lib/x86_64-linux-gnu/gconv", "/mnt/usr", NULL, MS_BIND, NULL) == 0);
	overlay("lowerdir=/mnt/usr,upperdir=/mnt/u,workdir=/mnt/w");
	write_text("/mnt/m/new", "new");
	CHECK(mount("/mnt/m", "/opt", NULL, MS_BIND, NULL) == 0);
	CHECK(umount2("/mnt", MNT_DETACH) == 0);
	subject_checkpoint();
	check_text("/opt/new", "new");
	CHECK(system("diff -r /opt /usr/lib/x86_64-linux-gnu/gconv | grep -v '^Only in "
	             "/opt: new$'") != 0);
}

/* ---- refusals ---- */

/* a child mounts it: the subject's own directory is where "ready" is */
static void relative(void)
{
	private_mounts();
	make_layers();
	pid_t pid = fork();
	if (pid == 0)
		_exit(chdir("/mnt") < 0 || mount("over", "m", "overlay", 0, "lowerdir=l:u") < 0);
	subject_check_exit(pid, 0);
	subject_checkpoint();
}

static void with_index(void)
{
	private_mounts();
	make_layers();
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w,index=on");
	subject_checkpoint();
}

/* the host has them, and they are covered in the namespace */
static void outside(void)
{
	char cwd[4096], options[13000];
	struct stat st;

	CHECK(getcwd(cwd, sizeof(cwd)) && mkdir("s", 0755) == 0 && mkdir("s/l", 0755) == 0);
	CHECK(mkdir("s/u", 0755) == 0 && mkdir("s/w", 0755) == 0);
	write_text("s/l/file", "below");
	write_text("s/l/gone", "x");
	private_mounts();
	snprintf(options, sizeof(options), "lowerdir=%s/s/l,upperdir=%s/s/u,workdir=%s/s/w", cwd,
	         cwd, cwd);
	CHECK(mount("over", "/mnt", "overlay", 0, options) == 0);
	write_text("/mnt/new", "new");
	CHECK(unlink("/mnt/gone") == 0);
	CHECK(mount("cover", "s", "tmpfs", 0, NULL) == 0);
	subject_checkpoint();
	check_text("/mnt/file", "below");
	check_text("/mnt/new", "new");
	CHECK(!exists("/mnt/gone"));
	CHECK(umount("s") == 0);
	write_text("/mnt/file", "changed");
	check_text("s/u/file", "changed");
	CHECK(lstat("s/u/gone", &st) == 0 && S_ISCHR(st.st_mode));
}

/* its mark on them forbids to mount it again, and is not ours to take away */
static void outside_volatile(void)
{
	char cwd[4096], options[13000];

	CHECK(getcwd(cwd, sizeof(cwd)) && mkdir("l", 0755) == 0 && mkdir("u", 0755) == 0);
	CHECK(mkdir("w", 0755) == 0);
	private_mounts();
	snprintf(options, sizeof(options), "lowerdir=%s/l,upperdir=%s/u,workdir=%s/w,volatile", cwd,
	         cwd, cwd);
	CHECK(mount("over", "/mnt", "overlay", 0, options) == 0);
	subject_checkpoint();
}

/* on the host's disk, where others may have them by other names */
static void renamed_on_disk(void)
{
	char cwd[4096], options[13000];

	private_mounts();
	CHECK(getcwd(cwd, sizeof(cwd)) && mkdir("l", 0755) == 0 && mkdir("u", 0755) == 0);
	CHECK(mkdir("w", 0755) == 0);
	write_text("l/file", "x");
	snprintf(options, sizeof(options), "lowerdir=%s/l,upperdir=%s/u,workdir=%s/w", cwd, cwd,
	         cwd);
	CHECK(mount("over", "/mnt", "overlay", 0, options) == 0);
	write_text("/mnt/new", "y");
	CHECK(rename("u", "u.moved") == 0 && mkdir("u", 0755) == 0);
	subject_checkpoint();
}

static void layer_replaced(void)
{
	private_mounts();
	make_layers();
	overlay("lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w");
	CHECK(rename("/mnt/u", "/mnt/u.old") == 0 && mkdir("/mnt/u", 0750) == 0);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(
		argc, argv, CASE(on_tmpfs), CASE(several), CASE(read_only), CASE(on_external),
		CASE(characters), CASE(symlink_layer), CASE(long_options), CASE(nested),
		CASE(is_volatile), CASE(covered_later), CASE(open_files), CASE(executable),
		CASE(copied_up), CASE(copied_up_shared), CASE(copied_up_untouched),
		CASE(copied_up_unreadable), CASE(copied_up_shorter), CASE(mapped_since),
		CASE(old_root), CASE(relative), CASE(with_index), CASE(hidden),
		CASE(hidden_read_only), CASE(hidden_beside), CASE(hidden_lower),
		CASE(renamed_on_disk), CASE(outside), CASE(layer_replaced), CASE(outside_volatile));
}
