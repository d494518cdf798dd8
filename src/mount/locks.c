/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is locked. See locks.h. One helper makes the copy from within the user namespace, else all
 * in it would be locked; a second one, with our privileges, tries what can be done there. A mount
 * that is moved onto itself is refused in any case: EINVAL if it is locked, ELOOP if not. A third
 * one, in the user namespace again, asks whether it owns the superblocks, at one mount of each:
 * unmounting by force is EPERM if not, and else, of a mount that is not locked and together with
 * MNT_EXPIRE, EINVAL before anything is done (fs/namespace.c can_umount(), do_umount()).
 */
#include "mount/locks.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "host/enter.h"
#include "host/helper.h"
#include "mount/reach.h"
#include "util/alloc.h"
#include "util/cleanup.h"

/* of one mount of the copy; in memory that helpers share */
struct finding {
	bool known, gone, locked, own;
	uint64_t attributes;
	/* for the last helper, the mount itself or, where it may be locked, a clone of it; -1: none
	 */
	int bearer;
	bool is_clone;
};

struct search {
	struct mount_table *copy;
	struct finding *findings; /* per mount of the copy */
	bool *borne;              /* per superblock of it: a mount that is not locked bears it */
	int proc, nsfd, user, copyfd;
};

/* ---- the copy ---- */

static int make_copy(void *arg, struct error *err)
{
	struct search *s = arg;

	prctl(PR_SET_DUMPABLE, 0);
	if (setns(s->user, CLONE_NEWUSER) < 0 || setns(s->nsfd, CLONE_NEWNS) < 0 ||
	    unshare(CLONE_NEWNS) < 0)
		return error_raise(err, errno, "copy a mount namespace in its user namespace");
	s->copyfd = openat(s->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	return s->copyfd < 0 ? error_raise(err, errno, "keep the copy of a mount namespace") : 0;
}

static int make_private(void *arg, struct error *err)
{
	const struct search *s = arg;

	if (namespace_enter(s->copyfd, CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_raise(err, errno, "make the copy of a mount namespace private");
	return 0;
}

/* nothing may be tried while it would happen in the original, too: a cover of "/" hides mounts */
static int check_private(const struct search *s, struct error *err)
{
	for (size_t i = 0; i < s->copy->n_mounts; i++)
		if (s->copy->mounts[i].peer_group || s->copy->mounts[i].master)
			return error_refuse(
				err, CODE_mount_lock_shape,
				"what is locked in its namespace cannot be told: the root "
				"directory is covered");
	return 0;
}

/* ---- trying ---- */

static bool may_change(int fd, uint64_t set, uint64_t clear)
{
	struct mount_attr attr = { .attr_set = set, .attr_clr = clear };

	return mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0 || errno != EPERM;
}

static uint64_t find_attributes(int fd, uint64_t have)
{
	static const uint64_t flags[] = { MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV,
		                          MOUNT_ATTR_NOEXEC };
	const uint64_t atime = MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME;
	uint64_t other = (have & MOUNT_ATTR__ATIME) == MOUNT_ATTR_NOATIME ? MOUNT_ATTR_RELATIME
	                                                                  : MOUNT_ATTR_NOATIME;
	uint64_t locked = 0;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (have & flags[i] && !may_change(fd, 0, flags[i]))
			locked |= flags[i];
	if (!may_change(fd, other, MOUNT_ATTR__ATIME))
		locked |= atime;
	return locked;
}

/* those whose owner matters; a clone of a FUSE or network file system would be ended by force */
static bool has_owner(const struct mount_sb *sb)
{
	static const char *const types[] = { "tmpfs", "ramfs", "devpts", "overlay", "bpf" };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i], sb->type))
			return true;
	return false;
}

/*
 * Nothing can be moved onto what has been deleted, locked or not (ENOENT). MNT_EXPIRE unmounts
 * nothing that is in use, as it is by @fd: EBUSY, but EINVAL before that if it is locked.
 */
static bool is_locked(const struct mount_entry *m, int fd)
{
	if (m->deleted)
		return umount2(m->point, MNT_EXPIRE | UMOUNT_NOFOLLOW) < 0 && errno == EINVAL;
	return move_mount(fd, "", fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0 &&
	       errno == EINVAL;
}

static void try_mount(const struct search *s, size_t i, int fd)
{
	const struct mount_entry *m = &s->copy->mounts[i];
	struct finding *f = &s->findings[i];

	f->known = true;
	f->locked = m->parent != MOUNT_NONE && is_locked(m, fd);
	f->attributes = find_attributes(fd, m->attributes);
	if (s->borne[m->sb] || !has_owner(&s->copy->sbs[m->sb]))
		return;
	/* whether a root is locked, as pivot_root(2) may leave it, is not known */
	f->is_clone = f->locked || m->parent == MOUNT_NONE;
	f->bearer = f->is_clone ? mount_clone(fd) : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	s->borne[m->sb] = !f->is_clone;
}

static int open_top(const struct mount_entry *m)
{
	int fd = open_tree(AT_FDCWD, m->point,
	                   OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW);

	if (fd >= 0 && mount_id_of(fd) != m->id)
		close_p(&fd);
	return fd;
}

static bool try_visible(const struct search *s)
{
	bool any = false;

	for (size_t i = 0; i < s->copy->n_mounts; i++) {
		if (s->findings[i].known)
			continue;
		_cleanup_(close_p) int fd = open_top(&s->copy->mounts[i]);
		if (fd < 0)
			continue;
		try_mount(s, i, fd);
		any = true;
	}
	return any;
}

/* so that what lies below a directory follows it at once */
static int compare_paths(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b ? 0 : !*a || (*b && *a == '/') ? -1 : !*b || *b == '/' ? 1 : *a - *b;
}

static int by_path(const void *a, const void *b)
{
	return compare_paths(*(const char *const *)a, *(const char *const *)b);
}

/* whether something mounted at @point can hide one of @n sorted paths */
static bool hides_some(const char *point, const char *const *paths, size_t n)
{
	size_t from = 0, to = n, length = strcmp(point, "/") ? strlen(point) : 0;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		if (compare_paths(paths[middle], point) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from < n && !strncmp(paths[from], point, length) &&
	       (!paths[from][length] || paths[from][length] == '/');
}

/* of what is not in the namespace any more nobody can ask who owns it */
static void bear_by_clone(struct finding *f)
{
	_cleanup_(close_p) int fd = f->bearer;

	f->bearer = mount_clone(fd);
	f->is_clone = true;
}

/* per mount: whether it is known, not locked, has nothing unknown on it, and may hide what is
 * unknown */
static bool *find_hiding(const struct search *s)
{
	const struct mount_table *t = s->copy;
	_cleanup_(free_p) bool *needed = xcalloc(t->n_mounts + 1, sizeof(*needed));
	_cleanup_(free_p) const char **unknown = xcalloc(t->n_mounts + 1, sizeof(*unknown));
	bool *hiding = xcalloc(t->n_mounts + 1, sizeof(*hiding));
	size_t n = 0;

	for (size_t i = 0; i < t->n_mounts; i++) {
		if (s->findings[i].known)
			continue;
		unknown[n++] = t->mounts[i].point;
		for (size_t up = i; up != MOUNT_NONE && !needed[up]; up = t->mounts[up].parent)
			needed[up] = true;
	}
	qsort(unknown, n, sizeof(*unknown), by_path);
	for (size_t i = 0; i < t->n_mounts; i++)
		hiding[i] = !needed[i] && !s->findings[i].gone && !s->findings[i].locked &&
		            t->mounts[i].parent != MOUNT_NONE &&
		            hides_some(t->mounts[i].point, unknown, n);
	return hiding;
}

enum fate { UNDECIDED, STAYS, LEAVES };

/* per mount; what is mounted on what is taken off leaves with it */
static enum fate *find_fates(const struct mount_table *t, const bool *hiding)
{
	enum fate *fates = xcalloc(t->n_mounts + 1, sizeof(*fates));

	for (size_t i = 0; i < t->n_mounts; i++) {
		size_t up = i;
		while (up != MOUNT_NONE && !fates[up] && !hiding[up])
			up = t->mounts[up].parent;
		enum fate fate = up == MOUNT_NONE ? STAYS : hiding[up] ? LEAVES : fates[up];
		for (size_t at = i; at != up; at = t->mounts[at].parent)
			fates[at] = fate;
		if (up != MOUNT_NONE)
			fates[up] = fate;
	}
	return fates;
}

static bool take_off(const struct search *s)
{
	const struct mount_table *t = s->copy;
	_cleanup_(free_p) bool *hiding = find_hiding(s);
	_cleanup_(free_p) enum fate *fates = find_fates(t, hiding);
	bool any = false;

	for (size_t i = 0; i < t->n_mounts; i++)
		if (fates[i] == LEAVES && s->findings[i].bearer >= 0 && !s->findings[i].is_clone)
			bear_by_clone(&s->findings[i]);
	for (size_t i = t->n_mounts; i-- > 0;) {
		if (!hiding[i])
			continue;
		_cleanup_(close_p) int fd = open_top(&t->mounts[i]);
		s->findings[i].gone = fd >= 0 && umount2(t->mounts[i].point,
		                                         MNT_DETACH | UMOUNT_NOFOLLOW) == 0;
		any |= s->findings[i].gone;
	}
	return any;
}

/* of what nobody gets at; what a mount is locked to has come with it, with its own times locked */
static bool may_be_locked(const struct search *s, size_t i)
{
	size_t parent = s->copy->mounts[i].parent;

	return parent != MOUNT_NONE &&
	       (!s->findings[parent].known || s->findings[parent].attributes & MOUNT_ATTR__ATIME);
}

static int try_all(void *arg, struct error *err)
{
	const struct search *s = arg;

	if (namespace_enter(s->copyfd, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter the copy of a mount namespace");
	do {
		while (try_visible(s))
			;
	} while (take_off(s));
	for (size_t i = 0; i < s->copy->n_mounts; i++)
		if (!s->findings[i].known) {
			s->findings[i].locked = may_be_locked(s, i);
			/* what none can change; all the same whether the kernel says so */
			s->findings[i].attributes = (s->copy->mounts[i].attributes &
			                             MOUNT_ATTRIBUTES) |
			                            MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME;
		}
	return 0;
}

static bool is_own(const struct finding *f)
{
	if (!f->is_clone)
		return fchdir(f->bearer) == 0 && umount2(".", MNT_FORCE | MNT_EXPIRE) < 0 &&
		       errno == EINVAL;
	/* on top of all, so that "." is nothing else */
	return move_mount(f->bearer, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) == 0 &&
	       fchdir(f->bearer) == 0 && umount2(".", MNT_FORCE | MNT_DETACH) == 0;
}

static int try_force(void *arg, struct error *err)
{
	const struct search *s = arg;

	prctl(PR_SET_DUMPABLE, 0);
	if (setns(s->user, CLONE_NEWUSER) < 0 || setns(s->copyfd, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter the copy of a mount namespace");
	for (size_t i = 0; i < s->copy->n_mounts; i++)
		if (s->findings[i].bearer >= 0)
			s->findings[i].own = is_own(&s->findings[i]);
	return 0;
}

/* ---- back to the original ---- */

struct place {
	const struct mount_table *t;
	size_t depth, index;
};

static int by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	const struct mount_entry *m = &x->t->mounts[x->index], *n = &y->t->mounts[y->index];
	const struct mount_sb *s = &x->t->sbs[m->sb], *u = &y->t->sbs[n->sb];
	int order = strcmp(m->point, n->point);

	if (!order)
		order = (x->depth > y->depth) - (x->depth < y->depth);
	if (!order)
		order = s->major != u->major ? (s->major > u->major ? 1 : -1)
		                             : (s->minor > u->minor) - (s->minor < u->minor);
	return order ? order : strcmp(m->root, n->root);
}

static struct place *sort_places(const struct mount_table *t, const struct mount_ns *ns)
{
	struct place *places = xcalloc(ns->n + 1, sizeof(*places));

	for (size_t i = 0; i < ns->n; i++) {
		places[i] = (struct place){ t, 0, ns->first + i };
		for (size_t up = ns->first + i; (up = t->mounts[up].parent) != MOUNT_NONE;)
			places[i].depth++;
	}
	qsort(places, ns->n, sizeof(*places), by_place);
	return places;
}

/* mounts of mount namespaces are left out of a copy */
static void take_findings(struct mount_table *t, size_t ns, const struct search *s, bool *own)
{
	const struct mount_ns *want = &t->namespaces[ns], *have = &s->copy->namespaces[0];
	_cleanup_(free_p) struct place *a = sort_places(t, want);
	_cleanup_(free_p) struct place *b = sort_places(s->copy, have);

	for (size_t i = 0, j = 0; i < want->n && j < have->n;) {
		int order = by_place(&a[i], &b[j]);
		if (order) {
			*(order < 0 ? &i : &j) += 1;
			continue;
		}
		struct mount_entry *m = &t->mounts[a[i++].index];
		const struct finding *f = &s->findings[b[j++].index];
		m->locked = f->locked;
		if (f->locked)
			t->mounts[m->parent].holds = true;
		m->locked_attributes = f->attributes;
		own[m->sb] |= f->own;
	}
}

static int search(struct search *s, struct error *err)
{
	int r = helper_run(make_copy, s, sizeof(*s), err);

	if (r == 0)
		r = helper_run(make_private, s, sizeof(*s), err);
	if (r == 0)
		r = mount_table_add(s->copy, s->copyfd, 0, NULL, err);
	if (r == 0)
		r = check_private(s, err);
	if (r < 0)
		return error_trace(err, r);
	size_t room = (s->copy->n_mounts + 1) * sizeof(*s->findings);
	s->findings = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s->findings == MAP_FAILED)
		return error_raise(err, errno, "map memory to hear from helpers");
	for (size_t i = 0; i < s->copy->n_mounts; i++)
		s->findings[i].bearer = -1;
	s->borne = xcalloc(s->copy->n_sbs + 1, sizeof(*s->borne));
	r = helper_run(try_all, s, sizeof(*s), err);
	if (r == 0)
		r = helper_run(try_force, s, sizeof(*s), err);
	for (size_t i = 0; i < s->copy->n_mounts; i++)
		close_p(&s->findings[i].bearer);
	return r < 0 ? error_trace(err, r) : 0;
}

int mount_find_locks(struct mount_table *t, size_t ns, int nsfd, int user, bool *ret_own,
                     struct error *err)
{
	_cleanup_(close_p) int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(mount_table_done) struct mount_table copy = { 0 };
	struct search s = { .copy = &copy, .proc = proc, .nsfd = nsfd, .user = user, .copyfd = -1 };
	int r = search(&s, err);

	if (r == 0)
		take_findings(t, ns, &s, ret_own);
	free(s.borne);
	if (s.findings && s.findings != MAP_FAILED)
		munmap(s.findings, (copy.n_mounts + 1) * sizeof(*s.findings));
	close_p(&s.copyfd);
	return r < 0 ? error_trace(err, r) : 0;
}
