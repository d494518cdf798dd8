/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mount namespaces: scenarios are made in a namespace of their own, recorded, built again, compared
 * with what was, and the host's mounts must not have changed by a byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/features.h"
#include "mount/build.h"
#include "mount/class.h"
#include "mount/reach.h"
#include "mount/superblock.h"
#include "mount/verify.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/uapi.h"

static char *read_file(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;

	assert_non_null(f);
	if (getdelim(&text, &room, 0, f) < 0)
		text = xstrdup("");
	fclose(f);
	return text;
}

static int open_ns(pid_t pid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* a process in a new namespace in which the shell has run @script; ends with its stdin */
static pid_t start_world(const char *script, int *ret_pipe)
{
	int ready[2], go[2];
	char byte;

	assert_return_code(pipe2(ready, O_CLOEXEC), errno);
	assert_return_code(pipe2(go, O_CLOEXEC), errno);
	pid_t pid = fork();
	if (pid == 0) {
		_cleanup_(free_p) char *text = xasprintf(
			"set -e; { mount --make-rprivate /\n%s\n} >&2 </dev/null; echo; read x",
			script);
		if (unshare(CLONE_NEWNS) < 0)
			_exit(9);
		dup2(ready[1], 1);
		dup2(go[0], 0);
		execlp("sh", "sh", "-c", text, NULL);
		_exit(8);
	}
	close(ready[1]);
	close(go[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*ret_pipe = go[1];
	return pid;
}

static void show_error(const struct error *err)
{
	error_print(stderr, err, "test", true);
}

static void check(int r, const struct error *err)
{
	if (r < 0)
		show_error(err);
	assert_return_code(r, -r);
}

/* the host's mounts of every superblock that is external or a singleton */
static struct mount_anchor *find_anchors(const struct mount_table *t,
                                         const struct mount_table *host, size_t *ret_n)
{
	struct mount_anchor *anchors = NULL;
	size_t n = 0;

	for (size_t i = 0; i < t->n_sbs; i++) {
		const struct mount_sb *sb = &t->sbs[i];
		for (size_t j = 0; j < host->n_mounts; j++) {
			const struct mount_entry *m = &host->mounts[j];
			if (host->sbs[m->sb].major != sb->major ||
			    host->sbs[m->sb].minor != sb->minor)
				continue;
			struct error err = ERROR_INIT;
			int fd = -1, own = open_ns(getpid());
			check(mount_reach(host, own, j, &fd, &err), &err);
			close(own);
			*array_push(anchors, n) = (struct mount_anchor){ i, m->root, fd };
		}
	}
	*ret_n = n;
	return anchors;
}

static void copy_content(const struct mount_table *t, size_t sb, int nsfd, int to)
{
	struct error err = ERROR_INIT;
	_cleanup_(close_p) int from = -1;
	size_t i = 0;

	while (t->mounts[i].sb != sb || strcmp(t->mounts[i].root, "/") != 0)
		i++;
	check(mount_reach(t, nsfd, i, &from, &err), &err);
	_cleanup_(free_p) char *command =
		xasprintf("cp -a --preserve=all /proc/self/fd/%d/. /proc/self/fd/%d/", from, to);
	fcntl(from, F_SETFD, 0);
	fcntl(to, F_SETFD, 0);
	assert_int_equal(system(command), 0);
	fcntl(to, F_SETFD, FD_CLOEXEC);
}

static void round_trip(const char *script)
{
	_cleanup_(free_p) char *before = read_file("/proc/self/mountinfo");
	_cleanup_(mount_table_done) struct mount_table host = { 0 }, was = { 0 }, is = { 0 };
	struct error err = ERROR_INIT;
	int pipe_fd;
	pid_t pid = start_world(script, &pipe_fd);
	int nsfd = open_ns(pid), own = open_ns(getpid());

	check(mount_table_add(&host, own, 0, NULL, &err), &err);
	check(mount_table_add(&was, nsfd, pid, NULL, &err), &err);
	mount_classify(&was, &host);
	struct mount_input in = { .table = &was };
	struct mount_anchor *anchors = find_anchors(&was, &host, &in.n_anchors);
	in.anchors = anchors;
	struct mount_build *b = mount_build_new(&in);
	check(mount_build_superblocks(b, &err), &err);
	for (size_t i = 0; i < was.n_sbs; i++)
		if (was.sbs[i].class == MOUNT_CONTENT)
			copy_content(&was, i, nsfd, mount_build_sb(b, i));
	check(mount_build_mounts(b, &err), &err);
	check(mount_build_late(b, &err), &err);
	check(mount_build_finish(b, &err), &err);
	check(mount_table_add(&is, mount_build_ns(b, 0), 0, NULL, &err), &err);
	check(mount_compare(&was, &is, false, &err), &err);
	mount_build_free(b);
	for (size_t i = 0; i < in.n_anchors; i++)
		close(anchors[i].fd);
	free(anchors);
	close(nsfd);
	close(own);
	close(pipe_fd);
	waitpid(pid, NULL, 0);
	_cleanup_(free_p) char *after = read_file("/proc/self/mountinfo");
	assert_string_equal(before, after);
}

static void plain_copy(void **state)
{
	round_trip(":");
}

static void new_tmpfs(void **state)
{
	round_trip("mount -t tmpfs -o size=1m,mode=750,uid=3,gid=4 mine /mnt");
}

/* what design/mounts.md calls its cases; each a shell script that runs in the new namespace */
static const char *const scenarios[] = {
	/* options, contents, subtree bind; file, FIFO and device binds */
	"mount -t tmpfs -o size=1m,nr_inodes=99,mode=751,uid=5,gid=6,huge=never t /mnt;"
	"mkdir -p /mnt/a/b; echo x >/mnt/a/f; mkfifo /mnt/p; mknod /mnt/null c 1 3; touch /mnt/t;"
	"mount --bind /mnt/a /opt; mount --bind /mnt/p /mnt/t; mount --bind /mnt/null /mnt/a/f",
	/* every flag of a mount */
	"mount -t tmpfs t /mnt; cd /mnt; mkdir 1 2 3 4 5 6 7 8 9;"
	"for o in 1,ro 2,nosuid 3,nodev 4,noexec 5,noatime 6,nodiratime 7,strictatime "
	"8,nosymfollow;"
	"do mount --bind /mnt ${o%,*}; mount -o remount,bind,${o#*,} ${o%,*}; done",
	/* of a superblock */
	"mount -t tmpfs -o sync t /mnt; mount -t tmpfs -o dirsync t /opt;"
	"mount -t tmpfs -o lazytime t /srv",
	/* read-only superblock, writable mount */
	"mount -t tmpfs t /mnt; touch /mnt/f; mount -o remount,ro /mnt; mount -o remount,bind,rw "
	"/mnt",
	/* names */
	"mount -t tmpfs '' /mnt; mkdir '/mnt/a b' '/mnt/c\\d' '/mnt/#' \"/mnt/n\nl\";"
	"for d in /mnt/*; do mount -t tmpfs 'so urce' \"$d\"; done",
	/* three on one, contents in the lowest; an ancestor covered */
	"mount -t tmpfs a /mnt; touch /mnt/a; mount -t tmpfs b /mnt; touch /mnt/b; mount -t tmpfs "
	"c /mnt",
	"mount -t tmpfs a /mnt; mkdir -p /mnt/x/y; mount -t tmpfs b /mnt/x/y; touch /mnt/x/y/f;"
	"mount -t tmpfs c /mnt/x",
	"mount -t tmpfs a /mnt; mkdir -p /mnt/x/y; mount -t tmpfs b /mnt/x; mkdir /mnt/x/y;"
	"mount -t tmpfs c /mnt/x/y; mount -t tmpfs d /mnt; mkdir -p /mnt/x/y; mount -t tmpfs e "
	"/mnt/x/y",
	/* shared pairs, slaves, slaves that share, groups whose members show disjoint parts */
	"mount -t tmpfs a /mnt; mkdir -p /mnt/x/y /mnt/z; mount --make-shared /mnt; mount --bind "
	"/mnt /opt;"
	"mount -t tmpfs b /mnt/x; mount --bind /mnt/z /srv; mount --make-slave /srv;"
	"mount --make-shared /srv; mount --bind /srv /media; mount --make-slave /media",
	"mount -t tmpfs a /mnt; mkdir /mnt/x /mnt/y; mount --make-shared /mnt; mount --bind /mnt/x "
	"/opt;"
	"mount --bind /mnt/y /srv",
	/* unbindable */
	"mount -t tmpfs a /mnt; touch /mnt/f; mount --make-unbindable /mnt",
	/* instances, keyed, singletons */
	"mount -t proc -o hidepid=2 p /mnt; mount -t devpts -o mode=620,gid=5,ptmxmode=666 d /opt;"
	"mount -t sysfs s /srv; mount -t mqueue q /media; mount -t ramfs -o mode=711 r /home; "
	"touch /home/f",
	"mount -t proc p /mnt; mount --bind /mnt/sys /opt; mount -o remount,bind,ro /opt;"
	"mount --bind /dev/null /mnt/version",
};

static void all_scenarios(void **state)
{
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		print_message("scenario %zu\n", i);
		round_trip(scenarios[i]);
	}
}

/* without statmount nobody sees below the cover whether it may be taken off a copy */
static void covered_root(void **state)
{
	if (!feature(FEATURE_statmount_ns))
		skip();
	round_trip("mount -t tmpfs a /mnt; touch /mnt/f; mount -t tmpfs b /");
}

/* ---- refusals ---- */

/* what a world is, read and classified */
struct world {
	struct mount_table t, host;
	struct error err;
	int nsfd, pipe;
	pid_t pid;
};

static struct world open_world(const char *script)
{
	struct world w = { .err = ERROR_INIT };
	int own = open_ns(getpid());

	w.pid = start_world(script, &w.pipe);
	w.nsfd = open_ns(w.pid);
	check(mount_table_add(&w.host, own, 0, NULL, &w.err), &w.err);
	check(mount_table_add(&w.t, w.nsfd, w.pid, NULL, &w.err), &w.err);
	mount_classify(&w.t, &w.host);
	close(own);
	return w;
}

static void close_world(struct world *w)
{
	mount_table_done(&w->t);
	mount_table_done(&w->host);
	close(w->nsfd);
	close(w->pipe);
	waitpid(w->pid, NULL, 0);
}

static size_t find_mount(const struct mount_table *t, const char *point)
{
	for (size_t i = t->n_mounts; i-- > 0;)
		if (!strcmp(t->mounts[i].point, point))
			return i;
	fail();
	return 0;
}

static void assert_refused(int r, const struct error *err, enum code code)
{
	if (r != -EOPNOTSUPP || err->code != (int32_t)code)
		show_error(err);
	assert_int_equal(r, -EOPNOTSUPP);
	assert_int_equal(err->code, code);
}

static void covered(void **state)
{
	struct world w = open_world("mount -t tmpfs a /mnt; mkdir /mnt/x; mount -t tmpfs b /mnt/x;"
	                            "mount -t tmpfs c /mnt");
	int fd;

	check(mount_reach(&w.t, w.nsfd, find_mount(&w.t, "/mnt/x"), &fd, &w.err), &w.err);
	close(fd);
	close_world(&w);
}

/* taking the cover off the copy would take it off the original: what is below is shared */
static void covered_and_shared(void **state)
{
	struct world w = open_world("mount --make-rshared /; mount -t tmpfs a /mnt;"
	                            "mount -t tmpfs b /");
	size_t mount = find_mount(&w.t, "/mnt");
	int fd;

	if (feature(FEATURE_statmount_ns)) {
		check(mount_reach(&w.t, w.nsfd, mount, &fd, &w.err), &w.err);
		close(fd);
	}
	w.t.namespaces[0].member = 0;
	assert_refused(mount_reach(&w.t, w.nsfd, mount, &fd, &w.err), &w.err,
	               CODE_mount_unreachable);
	close_world(&w);
}

/* what is shared is out of sight, below another root, and is left alone */
static void covered_in_sight(void **state)
{
	struct world w = open_world("mount -t tmpfs t /mnt; mkdir /mnt/a; mount -t tmpfs a /mnt/a;"
	                            "mkdir /mnt/a/x; mount -t tmpfs b /mnt/a/x;"
	                            "mount -t tmpfs c /mnt/a; mount --move /mnt /;"
	                            "mount --make-shared /");
	struct mount_table after = { 0 };
	int fd;

	w.t.namespaces[0].member = 0;
	if (feature(FEATURE_statmount_ns)) {
		check(mount_reach(&w.t, w.nsfd, find_mount(&w.t, "/a/x"), &fd, &w.err), &w.err);
		close(fd);
		check(mount_table_add(&after, w.nsfd, 0, NULL, &w.err), &w.err);
		check(mount_compare(&w.t, &after, false, &w.err), &w.err);
	}
	mount_table_done(&after);
	close_world(&w);
}

static void no_anchor(void **state)
{
	struct world w = open_world(":");
	struct mount_input in = { .table = &w.t };
	struct mount_build *b = mount_build_new(&in);

	assert_refused(mount_build_superblocks(b, &w.err), &w.err, CODE_mount_external_missing);
	mount_build_free(b);
	close_world(&w);
}

static void no_place(void **state)
{
	struct world w = open_world("mount -t tmpfs a /mnt; mkdir /mnt/x; mount -t tmpfs b /mnt/x");
	struct mount_input in = { .table = &w.t };
	struct mount_anchor *anchors = find_anchors(&w.t, &w.host, &in.n_anchors);

	in.anchors = anchors;
	struct mount_build *b = mount_build_new(&in);
	check(mount_build_superblocks(b, &w.err), &w.err);
	assert_refused(mount_build_mounts(b, &w.err), &w.err, CODE_mount_point_missing);
	mount_build_free(b);
	for (size_t i = 0; i < in.n_anchors; i++)
		close(anchors[i].fd);
	free(anchors);
	close_world(&w);
}

/* from 6.6 on; before, what is asked for has to be of a type that is always new */
static bool has_create_exclusive(void)
{
	int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	bool ret = context >= 0 &&
	           fsconfig(context, (enum fsconfig_command)FSCONFIG_CMD_CREATE_EXCL_NR, NULL, NULL,
	                    0) == 0;

	close(context);
	return ret;
}

static void not_exclusive(void **state)
{
	static const struct mount_sb sb = { .type = (char *)"sysfs", .class = MOUNT_CONTENT };
	struct error err = ERROR_INIT;
	int fd;

	if (!has_create_exclusive())
		skip();
	assert_refused(mount_superblock_make(&sb, "none", -1, -1, &fd, &err), &err,
	               CODE_mount_exclusive);
}

static void assert_differ(struct world *a, struct world *b)
{
	assert_refused(mount_compare(&a->t, &b->t, false, &a->err), &a->err, CODE_mount_differs);
	close_world(b);
}

static void differences(void **state)
{
	struct world w = open_world("mount -t tmpfs -o size=1m a /mnt; mount -t tmpfs b /opt");
	struct world same = open_world("mount -t tmpfs -o size=1m a /mnt; mount -t tmpfs b /opt");
	struct world size = open_world("mount -t tmpfs -o size=2m a /mnt; mount -t tmpfs b /opt");
	struct world source = open_world("mount -t tmpfs -o size=1m x /mnt; mount -t tmpfs b /opt");
	struct world bind = open_world("mount -t tmpfs -o size=1m a /mnt; mount --bind /mnt /opt");
	struct world shared = open_world("mount -t tmpfs -o size=1m a /mnt; mount -t tmpfs b /opt;"
	                                 "mount --make-shared /opt");
	struct world flags =
		open_world("mount -t tmpfs -o size=1m a /mnt; mount -t tmpfs -o nosuid b /opt");
	struct world more = open_world("mount -t tmpfs -o size=1m a /mnt; mount -t tmpfs b /opt;"
	                               "mount -t tmpfs c /opt");

	check(mount_compare(&w.t, &same.t, false, &w.err), &w.err);
	close_world(&same);
	assert_differ(&w, &size);
	assert_differ(&w, &source);
	assert_differ(&w, &bind);
	assert_differ(&w, &shared);
	assert_differ(&w, &flags);
	assert_differ(&w, &more);
	close_world(&w);
}

/* the root is covered, and older than the namespace, so that only its tasks can see it */
static void hidden(void **state)
{
	int ready[2], go[2];
	char byte = 0;
	struct mount_table t = { 0 };
	struct error err = ERROR_INIT;

	assert_return_code(pipe2(ready, O_CLOEXEC), errno);
	assert_return_code(pipe2(go, O_CLOEXEC), errno);
	pid_t pid = fork();
	if (pid == 0) {
		int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
		fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
		int root = fsmount(context, FSMOUNT_CLOEXEC, 0);
		close(go[1]);
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
		    fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
		    umount2(".", MNT_DETACH) < 0 || mount("none", "/", "tmpfs", 0, NULL) < 0)
			_exit(1);
		(void)!write(ready[1], &byte, 1);
		(void)!read(go[0], &byte, 1);
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	int nsfd = open_ns(pid);
	if (feature(FEATURE_statmount_ns))
		assert_refused(mount_table_add(&t, nsfd, 0, NULL, &err), &err, CODE_mount_hidden);
	mount_table_done(&t);
	err = ERROR_INIT;
	check(mount_table_add(&t, nsfd, pid, NULL, &err), &err);
	assert_int_equal(t.n_mounts, 2);
	mount_table_done(&t);
	close(nsfd);
	close(ready[0]);
	close(go[0]);
	close(go[1]);
	waitpid(pid, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_copy),       cmocka_unit_test(new_tmpfs),
		cmocka_unit_test(all_scenarios),    cmocka_unit_test(covered_root),
		cmocka_unit_test(covered),          cmocka_unit_test(covered_and_shared),
		cmocka_unit_test(covered_in_sight), cmocka_unit_test(no_anchor),
		cmocka_unit_test(no_place),         cmocka_unit_test(not_exclusive),
		cmocka_unit_test(differences),      cmocka_unit_test(hidden),
	};

	if (geteuid() != 0)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
