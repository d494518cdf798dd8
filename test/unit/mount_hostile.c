/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables that no kernel has shown: what an image may claim. Nothing may be found outside of what is
 * being built, whatever the paths and links in it; and limits end it cleanly. Cases 74 and 75 of
 * the design.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kind/kind.h"
#include "kind/superblock.h"
#include "mount/build.h"
#include "mount/ghosts.h"
#include "mount/overlay_make.h"
#include "superblock.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static void read_mounts(char room[65536])
{
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	ssize_t n, size = 0;

	assert_true(fd >= 0);
	while ((n = read(fd, room + size, 65535 - (size_t)size)) > 0)
		size += n;
	room[size] = 0;
	close(fd);
}

static size_t add_sb(struct mount_table *t, const char *type, enum mount_class class)
{
	struct mount_sb *sb = array_push(t->sbs, t->n_sbs);

	sb->type = xstrdup(type);
	sb->class = class;
	return t->n_sbs - 1;
}

/* in the last namespace */
static struct mount_entry *add_mount(struct mount_table *t, size_t sb, uint64_t parent,
                                     const char *point, const char *root)
{
	struct mount_entry *m = array_push(t->mounts, t->n_mounts);

	m->id = m->old_id = (uint32_t)t->n_mounts;
	m->parent_id = parent;
	m->sb = sb;
	m->point = xstrdup(point);
	m->root = xstrdup(root);
	m->source = xstrdup("hostile");
	m->attributes = 0x20; /* strictatime */
	t->namespaces[t->n_namespaces - 1].n++;
	return m;
}

/* a namespace with a tmpfs as root */
static struct mount_table new_table(void)
{
	struct mount_table t = { 0 };

	array_push(t.namespaces, t.n_namespaces)->inode = 1;
	add_mount(&t, add_sb(&t, "tmpfs", MOUNT_CONTENT), 0, "/", "/");
	return t;
}

/* in every file system: a link out of it, a link to the root, a directory, a file */
static void fill(int root)
{
	assert_return_code(symlinkat("../../../../../..", root, "up"), errno);
	assert_return_code(symlinkat("/", root, "root"), errno);
	assert_return_code(mkdirat(root, "d", 0755), errno);
	assert_return_code(mknodat(root, "f", S_IFREG | 0600, 0), errno);
}

struct trip {
	struct mount_table *t;
	struct mount_build *b;
	struct error err;
	char before[65536];
};

static struct trip *start(struct mount_table *t)
{
	struct trip *trip = xcalloc(1, sizeof(*trip));
	const struct mount_input in = { .table = t };

	read_mounts(trip->before);
	trip->t = t;
	trip->err = ERROR_INIT;
	for (size_t i = 0; i < t->n_namespaces; i++)
		assert_return_code(mount_table_relate(t, i, &trip->err), 0);
	trip->b = mount_build_new(&in);
	assert_return_code(mount_build_superblocks(trip->b, &trip->err), 0);
	for (size_t i = 0; i < t->n_sbs; i++)
		if (t->sbs[i].class == MOUNT_CONTENT)
			fill(mount_build_sb(trip->b, i));
	return trip;
}

/* it has failed, and nothing has come of it */
static void end(struct trip *trip, int r)
{
	char after[65536];

	assert_true(r < 0);
	mount_build_free(trip->b);
	mount_table_done(trip->t);
	read_mounts(after);
	assert_string_equal(trip->before, after);
	free(trip);
}

/* ---- paths ---- */

static void root_through_link(void **state)
{
	static const char *const roots[] = { "/root/etc", "/up/etc", "/d/../../etc", "/root",
		                             "/d/nothing" };

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		struct mount_table t = new_table();
		add_mount(&t, 0, 1, "/d", roots[i]);
		struct trip *trip = start(&t);
		/* a link itself is what is shown then: nothing can be mounted so */
		int r = mount_build_mounts(trip->b, &trip->err);
		if (r == 0)
			r = mount_build_late(trip->b, &trip->err);
		end(trip, r);
	}
}

static void point_through_link(void **state)
{
	static const char *const points[] = { "/root/etc", "/up/etc",      "/root",
		                              "/up",       "/d/../../mnt", "/no" };

	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		struct mount_table t = new_table();
		add_mount(&t, add_sb(&t, "tmpfs", MOUNT_CONTENT), 1, points[i], "/");
		struct trip *trip = start(&t);
		int r = mount_build_mounts(trip->b, &trip->err);
		if (r == 0)
			r = mount_build_late(trip->b, &trip->err);
		end(trip, r);
	}
}

/* what has been deleted claims to be an inode that lies elsewhere */
static void ghost_elsewhere(void **state)
{
	static const char *const targets[] = { "/../../etc/passwd", "/root/etc/passwd",
		                               "/up/etc/passwd", "etc/passwd", "/d" };

	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		struct mount_table t = new_table();
		struct mount_entry *m = add_mount(&t, 0, 1, "/f", "/gone");
		int folder;
		m->deleted = true;
		m->ghost = t.sbs[0].n_ghosts = 1;
		struct trip *trip = start(&t);
		assert_return_code(mount_ghosts_open(trip->b, 0, &folder, &trip->err), 0);
		assert_return_code(symlinkat(targets[i], folder, "1"), errno);
		end(trip, mount_ghosts_place(trip->b, 0, &trip->err));
	}
}

static void ghost_missing(void **state)
{
	struct mount_table t = new_table();
	struct mount_entry *m = add_mount(&t, 0, 1, "/f", "/gone");

	m->deleted = true;
	m->ghost = 7;
	struct trip *trip = start(&t);
	end(trip, mount_build_mounts(trip->b, &trip->err));
}

/* ---- overlays ---- */

static struct mount_table overlay_table(const char *lower, size_t through)
{
	struct mount_table t = new_table();
	size_t sb = add_sb(&t, "overlay", MOUNT_COMPOSITE);

	*array_push(t.sbs[sb].options, t.sbs[sb].n_options) = xasprintf("lowerdir=%s:/d", lower);
	*array_push(t.sbs[sb].through, t.sbs[sb].n_through) = through;
	add_mount(&t, sb, 1, "/d", "/");
	return t;
}

static void overlay_elsewhere(void **state)
{
	static const char *const lowers[] = { "/etc",      "/up/etc",
		                              "/root/etc", "/../../../../etc",
		                              "etc",       "/proc/self/root/etc" };

	for (size_t i = 0; i < sizeof(lowers) / sizeof(lowers[0]); i++) {
		struct mount_table t = overlay_table(lowers[i], 0);
		struct trip *trip = start(&t);
		end(trip, mount_build_mounts(trip->b, &trip->err));
	}
}

static void overlay_of_itself(void **state)
{
	struct mount_table t = overlay_table("/", 1);
	struct trip *trip = start(&t);

	end(trip, mount_build_mounts(trip->b, &trip->err));
}

static void overlay_out_of_order(void **state)
{
	struct mount_table t = overlay_table("/", 0);

	add_mount(&t, add_sb(&t, "tmpfs", MOUNT_CONTENT), 1, "/d", "/");
	t.sbs[1].through[0] = 2;
	*array_push(t.sbs[1].through, t.sbs[1].n_through) = 0;
	struct trip *trip = start(&t);
	end(trip, mount_build_mounts(trip->b, &trip->err));
}

static void layers_elsewhere(void **state)
{
	static const char *const lowers[] = { "/../../etc", "etc", "/d//e", "/./d", "" };

	for (size_t i = 0; i < sizeof(lowers) / sizeof(lowers[0]); i++) {
		struct mount_table t = overlay_table(lowers[i], 0);
		int fd;
		t.sbs[1].n_through = 0;
		t.sbs[1].flattened = true;
		struct trip *trip = start(&t);
		int r = mount_build_layers(trip->b, 1, &fd, &trip->err);
		if (r == 0) /* the empty one is none */
			r = *lowers[i] ? 0 : -1;
		end(trip, r);
	}
}

/* ---- limits ---- */

static void run_child(void (*inside)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		inside();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void require(bool condition, int number)
{
	if (!condition)
		_exit(number);
}

static int build(size_t n_mounts, size_t n_namespaces, struct error *err)
{
	struct mount_table t = new_table();
	const struct mount_input in = { .table = &t };

	for (size_t i = 0; i < n_mounts; i++)
		add_mount(&t, 0, 1, "/d", "/");
	for (size_t i = 1; i < n_namespaces; i++) {
		struct mount_ns *ns = array_push(t.namespaces, t.n_namespaces);
		ns->inode = i + 1;
		ns->first = t.n_mounts;
		add_mount(&t, 0, 0, "/", "/");
	}
	for (size_t i = 0; i < t.n_namespaces; i++)
		require(mount_table_relate(&t, i, err) == 0, 2);
	struct mount_build *b = mount_build_new(&in);
	int r = mount_build_superblocks(b, err);
	if (r == 0) {
		fill(mount_build_sb(b, 0));
		r = mount_build_mounts(b, err);
	}
	mount_build_free(b);
	mount_table_done(&t);
	return r;
}

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	require(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), 3);
	close(fd);
}

static int count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void few_namespaces(void)
{
	struct error err = ERROR_INIT;

	require(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0, 4);
	write_to("/proc/self/setgroups", "deny");
	write_to("/proc/self/uid_map", "0 0 1");
	write_to("/proc/self/gid_map", "0 0 1");
	/* a mount that is not attached has one of its own */
	write_to("/proc/sys/user/max_mnt_namespaces", "20");
	int before = count_descriptors();
	require(build(0, 30, &err) == -EOPNOTSUPP && err.code == (int32_t)CODE_mount_limit, 5);
	require(count_descriptors() == before, 6);
	/* what had been made is gone, or will be: the kernel takes its time to count */
	for (int i = 0; build(0, 2, &err) < 0; i++) {
		require(i < 2000, 7);
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
}

static void few_descriptors(void)
{
	const struct rlimit limit = { 50, 50 };
	struct error err = ERROR_INIT;
	int before = count_descriptors();

	require(setrlimit(RLIMIT_NOFILE, &limit) == 0, 8);
	require(build(200, 1, &err) == -EOPNOTSUPP && err.code == (int32_t)CODE_mount_limit, 9);
	require(count_descriptors() == before, 10);
}

static void limit_of_namespaces(void **state)
{
	run_child(few_namespaces);
}

static void limit_of_descriptors(void **state)
{
	run_child(few_descriptors);
}

/* a file system that is made anew is never one of a disk, which its source would name */
static void class_of_another_type(void **state)
{
	static const struct {
		const char *type;
		enum mount_class class;
		bool good;
	} cases[] = { { "tmpfs", MOUNT_CONTENT, true },     { "ext4", MOUNT_EXTERNAL, true },
		      { "tmpfs", MOUNT_EXTERNAL, true },    { "ext4", MOUNT_CONTENT, false },
		      { "devtmpfs", MOUNT_CONTENT, false }, { "cgroup2", MOUNT_INSTANCE, false },
		      { "ext4", MOUNT_SINGLETON, false },   { "fuse", MOUNT_INSTANCE, false },
		      { "ext4", MOUNT_REFUSED, false },     { "proc", MOUNT_CONTENT, false } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SuperblockState s = SUPERBLOCK_STATE__INIT;
		struct object object = { .kind = &superblock_kind, .message = &s.base };
		struct error err = ERROR_INIT;
		s.type = bytes_of_text(cases[i].type);
		s.class_ = (SuperblockState__Class)cases[i].class;
		assert_int_equal(superblock_kind.validate(NULL, &object, &err) == 0, cases[i].good);
		free(s.type.data);
	}
}

/* what mount(2) would cut off: an option too long for fsconfig(2), and more than a page of all */
static void options_beyond_a_page(void **state)
{
	char longest[4096 - sizeof("lowerdir=/") + 1 + 1];
	char *options[1];
	struct mount_sb sb = { .type = (char *)"overlay",
		               .class = MOUNT_EXTERNAL,
		               .options = options,
		               .n_options = 1 };
	struct error err = ERROR_INIT;

	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = 0;
	options[0] = xasprintf("lowerdir=/%s", longest);
	assert_int_equal(strlen(options[0]), 4096);
	assert_int_equal(overlay_check_options(&sb, &err), -EOPNOTSUPP);
	assert_int_equal(err.code, CODE_mount_overlay);
	assert_int_equal(overlay_make(&sb, "x", &err), -EOPNOTSUPP);
	options[0][4095] = 0;
	assert_int_equal(overlay_check_options(&sb, &err), 0);
	free(options[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_through_link),     cmocka_unit_test(point_through_link),
		cmocka_unit_test(ghost_elsewhere),       cmocka_unit_test(ghost_missing),
		cmocka_unit_test(overlay_elsewhere),     cmocka_unit_test(overlay_of_itself),
		cmocka_unit_test(overlay_out_of_order),  cmocka_unit_test(layers_elsewhere),
		cmocka_unit_test(class_of_another_type), cmocka_unit_test(limit_of_namespaces),
		cmocka_unit_test(limit_of_descriptors),  cmocka_unit_test(options_beyond_a_page),
	};

	if (geteuid() != 0)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
