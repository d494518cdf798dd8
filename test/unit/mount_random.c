/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random mount namespaces: tmpfs, binds of parts, covers, every propagation, flags, unmounts, in up
 * to four namespaces that were copied from each other; recorded, built again, compared. Then the
 * same mounts, binds and unmounts are tried in both: they must have the same effect everywhere. The
 * first argument is the number of seeds, the second the first of them (make torture N=...).
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/features.h"
#include "host/helper.h"
#include "mount/build.h"
#include "mount/class.h"
#include "mount/ghosts.h"
#include "mount/reach.h"
#include "mount/verify.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define NAMESPACES_MAX 4

/* ---- the scenario, in processes of its own ---- */

static const char *const bases[] = { "/mnt", "/opt", "/srv", "/media", "/home" };
static const char *const parts[] = { "", "/a", "/b", "/a/b", "", "" };

static unsigned pick(unsigned *seed, unsigned n)
{
	unsigned x = *seed += 0x9e3779b9u; /* neighbouring seeds have nothing in common */

	x = (x ^ (x >> 16)) * 0x85ebca6bu;
	x = (x ^ (x >> 13)) * 0xc2b2ae35u;
	return (x ^ (x >> 16)) % n;
}

static void random_path(unsigned *seed, char room[64])
{
	snprintf(room, 64, "%s%s%s", bases[pick(seed, 5)], parts[pick(seed, 6)],
	         parts[pick(seed, 6)]);
}

/* what every tmpfs of a scenario holds */
static void fill(int root)
{
	mkdirat(root, "a", 0755);
	mkdirat(root, "a/b", 0755);
	mkdirat(root, "b", 0700);
	int fd = openat(root, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close_p(&fd);
}

static void configure(int context, const char *options)
{
	_cleanup_(free_p) char *copy = xstrdup(options), *rest = copy;

	for (char *key; (key = strsep(&rest, ","));) {
		char *value = strchr(key, '=');
		if (!value)
			continue;
		*value++ = 0;
		fsconfig(context, FSCONFIG_SET_STRING, key, value, 0);
	}
}

/*
 * Filled before it is attached: what is found at @path afterwards may be another mount, as what is
 * propagated can come to lie below what was there.
 */
static void new_tmpfs(unsigned *seed, const char *path)
{
	static const char *const options[] = { "", "size=64k", "mode=700,uid=3", "nr_inodes=77" };
	static const unsigned attributes[] = { 0, MOUNT_ATTR_NOSUID,
		                               MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
		                               MOUNT_ATTR_NOATIME, 0 };
	_cleanup_(close_p) int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	unsigned sort = pick(seed, 5);

	fsconfig(context, FSCONFIG_SET_STRING, "source", "t", 0);
	configure(context, options[pick(seed, 4)]);
	if (sort == 4)
		fsconfig(context, FSCONFIG_SET_FLAG, "sync", NULL, 0);
	fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	_cleanup_(close_p) int root = fsmount(context, FSMOUNT_CLOEXEC, attributes[sort]);
	if (root < 0)
		return;
	fill(root);
	move_mount(root, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
}

/*
 * A directory or file is bound and deleted, sometimes with what it is in, sometimes its name is
 * used again; a file may have another name.
 */
static void new_deleted(unsigned *seed, const char *path, const char *other)
{
	bool file = pick(seed, 2), deep = !pick(seed, 3), linked = file && !pick(seed, 3);
	char folder[80], name[100], link_name[100], point[100];
	struct statfs fs;

	/* a base may have been unmounted: nothing is made in what is the host's */
	if (statfs(path, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
		return;
	snprintf(folder, sizeof(folder), "%s%s", path, deep ? "/gone" : "");
	snprintf(name, sizeof(name), "%s/x%u", folder, pick(seed, 3));
	snprintf(link_name, sizeof(link_name), "%s/l", path);
	snprintf(point, sizeof(point), "%s%s", other, file ? "/f" : "");
	if (deep)
		mkdir(folder, 0755);
	if (file ? mknod(name, S_IFREG | 0600, 0) : mkdir(name, 0700))
		return;
	bool bound = mount(name, point, NULL, MS_BIND, NULL) == 0;
	if (linked && link(name, link_name) < 0)
		linked = false;
	if (remove(name) < 0) {
		if (bound) /* on the way to it */
			umount2(point, MNT_DETACH);
		remove(name);
	} else if (pick(seed, 2)) {
		mknod(name, S_IFREG | 0644, 0);
	}
	if (deep && !remove(folder) && !pick(seed, 3))
		mknod(folder, S_IFREG | 0600, 0);
}

/* of steps: the last one depends on what is in the file systems, which is not quite the same */
#define ALL_SORTS   11
#define MOUNTS_ONLY 10

/* what cannot be done is not */
static void random_step(unsigned *seed, unsigned n_sorts)
{
	static const unsigned long kinds[] = { MS_SHARED, MS_SHARED, MS_SHARED,  MS_SLAVE,
		                               MS_SLAVE,  MS_SLAVE,  MS_PRIVATE, MS_UNBINDABLE };
	static const unsigned long flags[] = { MS_RDONLY, MS_NOSUID, MS_NOEXEC | MS_RELATIME, 0 };
	char path[64], other[64];

	random_path(seed, path);
	random_path(seed, other);
	switch (pick(seed, n_sorts)) {
	case 0:
	case 1:
	case 2:
		new_tmpfs(seed, path);
		break;
	case 3:
	case 4:
		mount(other, path, NULL, MS_BIND | (pick(seed, 3) ? 0 : MS_REC), NULL);
		break;
	case 5:
	case 6:
	case 7:
		mount(NULL, path, NULL, kinds[pick(seed, 8)] | (pick(seed, 4) ? 0 : MS_REC), NULL);
		break;
	case 10:
		new_deleted(seed, path, other);
		break;
	case 8:
		mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | flags[pick(seed, 4)], NULL);
		break;
	default:
		if (pick(seed, 2))
			umount2(path, MNT_DETACH);
		else
			mount(other, path, NULL, MS_MOVE, NULL);
	}
}

/* tells its pid when it is done, and stays until @until ends; *n: how many namespaces there are */
static void __attribute__((noreturn)) play(unsigned seed, int ready, int until, unsigned depth)
{
	char byte;
	pid_t self = getpid();
	unsigned n_steps = 5 + pick(&seed, 30);

	if (unshare(CLONE_NEWNS) < 0)
		_exit(1);
	if (depth == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		_exit(1);
	for (unsigned i = 0; depth == 0 && i < 5; i++)
		new_tmpfs(&seed, bases[i]);
	for (unsigned i = 0; i < n_steps; i++)
		random_step(&seed, ALL_SORTS);
	if (depth + 1 < NAMESPACES_MAX && pick(&seed, 3)) {
		int pair[2];
		if (pipe2(pair, O_CLOEXEC) < 0)
			_exit(1);
		pid_t pid = fork();
		if (pid == 0) {
			close(pair[0]);
			close(ready);
			play(seed * 31 + 7, pair[1], until, depth + 1);
		}
		close(pair[1]);
		pid_t told;
		while (read(pair[0], &told, sizeof(told)) == sizeof(told))
			(void)!write(ready, &told, sizeof(told));
		for (unsigned i = pick(&seed, 10); i > 0; i--)
			random_step(&seed, ALL_SORTS);
	}
	(void)!write(ready, &self, sizeof(self));
	close(ready);
	(void)!read(until, &byte, 1);
	while (wait(NULL) > 0)
		;
	_exit(0);
}

struct world {
	pid_t first, pids[NAMESPACES_MAX];
	size_t n;
	int until;
};

static struct world start(unsigned seed)
{
	struct world w = { 0 };
	int ready[2], until[2];

	if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(until, O_CLOEXEC) < 0)
		exit(1);
	w.first = fork();
	if (w.first == 0) {
		close(ready[0]);
		close(until[1]);
		play(seed, ready[1], until[0], 0);
	}
	close(ready[1]);
	close(until[0]);
	while (w.n < NAMESPACES_MAX && read(ready[0], &w.pids[w.n], sizeof(pid_t)) == sizeof(pid_t))
		w.n++;
	close(ready[0]);
	w.until = until[1];
	return w;
}

static void stop(struct world *w)
{
	close(w->until);
	waitpid(w->first, NULL, 0);
}

/* ---- there and back ---- */

struct deleted {
	size_t sb;
	struct stat st;
	uint32_t number;
};

struct trip {
	struct deleted *deleted;
	size_t n_deleted;
	struct mount_table was, is, host;
	struct mount_anchor *anchors;
	size_t n_anchors;
	struct mount_build *build;
};

static void trip_done(struct trip *t)
{
	mount_build_free(t->build);
	for (size_t i = 0; i < t->n_anchors; i++)
		close(t->anchors[i].fd);
	free(t->anchors);
	free(t->deleted);
	mount_table_done(&t->was);
	mount_table_done(&t->is);
	mount_table_done(&t->host);
}

static int open_ns(pid_t pid)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/ns/mnt", pid);

	return open(path, O_RDONLY | O_CLOEXEC);
}

static int add(struct mount_table *t, pid_t pid, struct error *err)
{
	_cleanup_(close_p) int fd = open_ns(pid);

	return mount_table_add(t, fd, pid, NULL, err);
}

static int find_anchors(struct trip *t, struct error *err)
{
	_cleanup_(close_p) int own = open_ns(getpid());
	int r = 0;

	for (size_t i = 0; i < t->was.n_sbs; i++) {
		const struct mount_sb *sb = &t->was.sbs[i];
		for (size_t j = 0; r == 0 && j < t->host.n_mounts; j++) {
			const struct mount_entry *m = &t->host.mounts[j];
			int fd;
			if (t->host.sbs[m->sb].major != sb->major ||
			    t->host.sbs[m->sb].minor != sb->minor)
				continue;
			r = mount_reach(&t->host, own, j, &fd, err);
			if (r == 0)
				*array_push(t->anchors,
				            t->n_anchors) = (struct mount_anchor){ i, m->root, fd };
		}
	}
	return r;
}

static int record(struct trip *t, const struct world *w, struct error *err)
{
	int r = add(&t->host, getpid(), err);

	for (size_t i = 0; r == 0 && i < w->n; i++)
		r = add(&t->was, w->pids[i], err);
	if (r == 0)
		mount_classify(&t->was, &t->host);
	return r == 0 ? find_anchors(t, err) : r;
}

/* numbers for what has been deleted, as kind/mounts gives them; those of the first namespaces */
static int find_deleted(struct trip *t, const struct world *w, struct error *err)
{
	for (size_t i = 0; i < t->was.n_mounts; i++) {
		struct mount_entry *m = &t->was.mounts[i];
		_cleanup_(close_p) int ns = m->deleted ? open_ns(w->pids[m->namespace]) : -1;
		_cleanup_(close_p) int fd = -1;
		if (!m->deleted)
			continue;
		int r = mount_reach(&t->was, ns, i, &fd, err);
		struct deleted d = { .sb = m->sb };
		if (r < 0 || fstat(fd, &d.st) < 0)
			return r;
		for (size_t j = 0; j < t->n_deleted; j++)
			if (t->deleted[j].sb == d.sb && t->deleted[j].st.st_ino == d.st.st_ino)
				m->ghost = t->deleted[j].number;
		if (m->ghost)
			continue;
		m->ghost = d.number = ++t->was.sbs[m->sb].n_ghosts;
		*array_push(t->deleted, t->n_deleted) = d;
	}
	return 0;
}

/* what other names there are is not known here, and does not matter: "l" may have been one */
static int make_deleted(const struct trip *t, size_t sb, struct error *err)
{
	int folder, r = t->was.sbs[sb].n_ghosts ? mount_ghosts_open(t->build, sb, &folder, err) : 0;

	for (size_t i = 0; r == 0 && i < t->n_deleted; i++) {
		const struct deleted *d = &t->deleted[i];
		_cleanup_(free_p) char *name = xasprintf("%u", d->number);
		if (d->sb == sb &&
		    (S_ISDIR(d->st.st_mode) ? mkdirat(folder, name, 0700)
		                            : mknodat(folder, name, S_IFREG | 0600, 0)) < 0)
			r = error_raise(err, errno, "make %s", name);
	}
	if (r == 0 && t->was.sbs[sb].n_ghosts)
		r = mount_ghosts_place(t->build, sb, err);
	return r;
}

/* the names that steps have left */
static void fill_more(int root, unsigned seed)
{
	static const char *const folders[] = { "", "a/", "b/", "a/b/" };

	for (unsigned i = 0; i < 12; i++) {
		_cleanup_(free_p) char *name = xasprintf("%sx%u", folders[i / 3], i % 3);
		if (pick(&seed, 2))
			mknodat(root, name, S_IFREG | 0600, 0);
	}
	if (pick(&seed, 2))
		mknodat(root, "gone", S_IFREG | 0600, 0);
}

static int rebuild(struct trip *t, unsigned seed, struct error *err)
{
	struct mount_input in = { .table = &t->was,
		                  .anchors = t->anchors,
		                  .n_anchors = t->n_anchors };
	int r;

	t->build = mount_build_new(&in);
	r = mount_build_superblocks(t->build, err);
	for (size_t i = 0; r == 0 && i < t->was.n_sbs; i++)
		if (t->was.sbs[i].class == MOUNT_CONTENT)
			fill(mount_build_sb(t->build, i));
	for (size_t i = 0; r == 0 && i < t->was.n_sbs; i++)
		if (t->was.sbs[i].class == MOUNT_CONTENT) {
			fill_more(mount_build_sb(t->build, i), seed);
			r = make_deleted(t, i, err);
		}
	if (r == 0)
		r = mount_build_mounts(t->build, err);
	if (r == 0)
		r = mount_build_late(t->build, err);
	for (size_t i = 0; r == 0 && i < t->was.n_sbs; i++)
		r = mount_ghosts_bury(t->build, i, err);
	if (r == 0)
		r = mount_build_finish(t->build, err);
	for (size_t i = 0; r == 0 && i < t->was.n_namespaces; i++)
		r = mount_table_add(&t->is, mount_build_ns(t->build, i), 0, NULL, err);
	if (r == 0)
		r = mount_compare(&t->was, &t->is, false, err);
	return r;
}

/* in the order of mountinfo, too: it is that of creation */
static int compare_order(const struct trip *t, struct error *err)
{
	for (size_t i = 0; i < t->was.n_mounts && feature(FEATURE_statmount_ns); i++)
		if (strcmp(t->was.mounts[i].point, t->is.mounts[i].point) != 0)
			return error_raise(err, EINVAL, "line %zu is %s and was %s", i,
			                   t->is.mounts[i].point, t->was.mounts[i].point);
	return 0;
}

/* whatever can be reached is what it should be */
static int reach_all(const struct trip *t, const struct world *w, struct error *err)
{
	for (size_t i = 0; i < t->was.n_mounts; i += 7) {
		const struct mount_entry *m = &t->was.mounts[i];
		_cleanup_(close_p) int ns = open_ns(w->pids[m->namespace]);
		_cleanup_(close_p) int fd = -1;
		struct stat st;
		int r = mount_reach(&t->was, ns, i, &fd, err);
		if (r == -EOPNOTSUPP)
			continue;
		if (r < 0 || fstat(fd, &st) < 0)
			return r;
		if (t->was.sbs[m->sb].class == MOUNT_CONTENT &&
		    (major(st.st_dev) != t->was.sbs[m->sb].major ||
		     minor(st.st_dev) != t->was.sbs[m->sb].minor))
			return error_raise(err, EINVAL, "another one than %s was reached",
			                   m->point);
	}
	return 0;
}

/* ---- probes ---- */

/* what the seeds were worth */
static struct {
	size_t namespaces, mounts, shared, slaves, parts, deleted, arrived;
} seen;

#define PROBES 8

struct probe {
	int ns;
	unsigned seed;
};

static int probe_inside(void *arg, struct error *err)
{
	const struct probe *p = arg;
	unsigned seed = p->seed;

	if (setns(p->ns, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter a mount namespace");
	random_step(&seed, MOUNTS_ONLY);
	return 0;
}

static int probe(int ns, unsigned seed, struct error *err)
{
	struct probe p = { ns, seed };

	return helper_run(probe_inside, &p, 0, err);
}

/* one step in the old namespace and in the new: what it does in all of them must be the same */
static int probe_both(const struct trip *t, const struct world *w, unsigned seed, struct error *err)
{
	_cleanup_(mount_table_done) struct mount_table was = { 0 }, is = { 0 };
	size_t ns = pick(&seed, (unsigned)w->n);
	_cleanup_(close_p) int old = open_ns(w->pids[ns]);
	int r = probe(old, seed, err);

	if (r == 0)
		r = probe(mount_build_ns(t->build, ns), seed, err);
	for (size_t i = 0; r == 0 && i < w->n; i++) {
		r = add(&was, w->pids[i], err);
		if (r == 0)
			r = mount_table_add(&is, mount_build_ns(t->build, i), 0, NULL, err);
	}
	for (size_t i = 0; r == 0 && i < w->n; i++)
		seen.arrived += i != ns && was.namespaces[i].n != t->was.namespaces[i].n;
	return r < 0 ? r : mount_compare(&was, &is, false, err);
}

static int probe_all(const struct trip *t, const struct world *w, unsigned seed, struct error *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < PROBES; i++)
		r = probe_both(t, w, seed * 1000 + i, err);
	/* what covers "/" now hides the rest, from the new namespace more: no task is below */
	return r == -EOPNOTSUPP && err->code == CODE_mount_hidden ? 0 : r;
}

static char *own_mounts(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *text = NULL;
	size_t room = 0;

	if (!f || getdelim(&text, &room, 0, f) < 0)
		exit(1);
	fclose(f);
	return text;
}

static void count(const struct mount_table *t)
{
	seen.namespaces += t->n_namespaces;
	seen.mounts += t->n_mounts;
	for (size_t i = 0; i < t->n_mounts; i++) {
		seen.shared += t->mounts[i].peer_group != 0;
		seen.slaves += t->mounts[i].master != 0;
		seen.deleted += t->mounts[i].deleted;
		seen.parts += t->mounts[i].root[1] != 0;
	}
}

static bool run_seed(unsigned seed)
{
	_cleanup_(free_p) char *before = own_mounts();
	_cleanup_(trip_done) struct trip t = { 0 };
	struct error err = ERROR_INIT;
	struct world w = start(seed);
	int r = record(&t, &w, &err);

	count(&t.was);
	if (r == 0)
		r = reach_all(&t, &w, &err);
	if (r == 0)
		r = find_deleted(&t, &w, &err);
	if (r == 0)
		r = rebuild(&t, seed, &err);
	if (r == 0)
		r = compare_order(&t, &err);
	if (r == 0)
		r = probe_all(&t, &w, seed, &err);
	stop(&w);
	_cleanup_(free_p) char *after = own_mounts();
	if (r == 0 && strcmp(before, after) != 0)
		r = error_raise(&err, EINVAL, "our own mounts have changed");
	if (r < 0) {
		printf("seed %u, %zu namespaces, %zu mounts:\n", seed, t.was.n_namespaces,
		       t.was.n_mounts);
		error_print(stdout, &err, "test", true);
	}
	return r == 0;
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 25;
	unsigned first = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
	unsigned failed = 0;

	if (geteuid() != 0)
		return 77;
	for (unsigned i = 0; i < n; i++)
		failed += !run_seed(first + i);
	printf("%zu namespaces, %zu mounts: %zu shared, %zu slaves, %zu of a part, %zu deleted; "
	       "%zu times a probe had an effect in another namespace\n",
	       seen.namespaces, seen.mounts, seen.shared, seen.slaves, seen.parts, seen.deleted,
	       seen.arrived);
	printf("%u passed, %u failed\n", n - failed, failed);
	return failed ? 1 : 0;
}
