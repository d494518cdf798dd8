/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: namespaces into the table, an object for every line of it. */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/mnt_ns.h"
#include "kind/mount.h"
#include "kind/mounts/parts.h"
#include "kind/namespace/ns.h"
#include "kind/namespace/reference.h"
#include "kind/superblock.h"
#include "kind/user_ns.h"
#include "mount/class.h"
#include "mount/content.h"
#include "mount/reach.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"
#include "util/still.h"

struct mounts *mounts_of_checkpoint(struct checkpoint *c)
{
	if (!c->mounts)
		c->mounts = xcalloc(1, sizeof(*c->mounts));
	return c->mounts;
}

/* ---- objects for the table's new lines ---- */

static void refer_line(struct object *object, size_t line)
{
	object->live = (void *)(uintptr_t)(line + 1);
}

size_t mounts_index(const struct mounts *m, const struct object *object)
{
	return (size_t)(uintptr_t)object->live - 1;
}

static void add_sbs(struct checkpoint *c, struct mounts *m)
{
	while (m->n_sbs < m->table.n_sbs) {
		const struct mount_sb *sb = &m->table.sbs[m->n_sbs];
		uint32_t key[2] = { sb->major, sb->minor };
		struct object *o = objects_get(c->objects, &superblock_kind, key, sizeof(key),
		                               NULL);
		refer_line(o, m->n_sbs);
		*array_push(m->sbs, m->n_sbs) = o;
	}
}

static void add_mounts(struct checkpoint *c, struct mounts *m)
{
	while (m->n_mounts < m->table.n_mounts) {
		const struct mount_entry *e = &m->table.mounts[m->n_mounts];
		uint64_t key[2] = { e->namespace, e->id };
		struct object *o = objects_get(c->objects, &mount_kind, key, sizeof(key), NULL);
		refer_line(o, m->n_mounts);
		*array_push(m->mounts, m->n_mounts) = o;
	}
}

/* the coordinator's own, once: what is mounted there, too, is not the set's alone */
static int read_host(struct mounts *m, struct error *err)
{
	if (m->host.n_namespaces)
		return 0;
	_cleanup_(close_p) int fd = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_raise(err, errno, "open our own mount namespace");
	int r = mount_table_add(&m->host, fd, 0, NULL, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/*
 * Namespaces that are bound to files belong to the set, too. One that does not is for the mount's
 * judge to say.
 */
static int add_bound(struct checkpoint *c, struct mounts *m, const struct task *task, size_t line,
                     struct error *err)
{
	struct mount_entry *e = &m->table.mounts[line];
	struct ns_reference ref;
	char link[40];
	int root, r;

	if (strcmp(m->table.sbs[e->sb].type, "nsfs") != 0 || !ns_reference_parse(e->root, &ref))
		return 0;
	r = mount_reached(c, m->mounts[line], &root, err);
	if (r < 0)
		return r;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", root);
	_cleanup_(close_p) int fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_raise(err, errno, "open a namespace that is bound to %s", e->point);
	return ns_reference_collect(c, task, fd, &ref, err);
}

static int add_namespace(struct checkpoint *c, struct mounts *m, const struct task *task, int nsfd,
                         pid_t member, struct object **ret, struct error *err)
{
	size_t line = MOUNT_NONE, n, before = m->n_mounts;
	int r = ns_check_rights(nsfd, "mount", err);

	if (r == 0)
		r = mount_table_add(&m->table, nsfd, member, &line, err);

	if (r < 0)
		return error_trace(err, r);
	if (line < m->n_namespaces) {
		*ret = m->namespaces[line];
		return 0;
	}
	struct object *owner = NULL;
	r = user_ns_collect_owner(c, task, nsfd, &owner, err);
	if (r < 0)
		return error_trace(err, r);
	uint64_t key = m->table.namespaces[line].inode;
	*ret = objects_get(c->objects, &mnt_ns_kind, &key, sizeof(key), NULL);
	refer_line(*ret, line);
	n = m->n_namespaces;
	*array_push(m->nsfds, n) = fcntl(nsfd, F_DUPFD_CLOEXEC, 3);
	n = m->n_namespaces; /* array_push counts it */
	*array_push(m->owners, n) = owner;
	*array_push(m->namespaces, m->n_namespaces) = *ret;
	add_sbs(c, m);
	add_mounts(c, m);
	for (size_t i = before, end = m->n_mounts; r == 0 && i < end; i++)
		r = add_bound(c, m, task, i, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static bool is_own(int nsfd)
{
	struct stat own, st;

	return stat("/proc/thread-self/ns/mnt", &own) == 0 && fstat(nsfd, &st) == 0 &&
	       own.st_dev == st.st_dev && own.st_ino == st.st_ino;
}

int mnt_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd, struct object **ret,
                      struct error *err)
{
	struct mounts *m = mounts_of_checkpoint(c);
	int r = read_host(m, err);

	*ret = NULL;
	if (r == 0)
		r = add_namespace(c, m, task, nsfd, 0, ret, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int mnt_ns_collect(struct checkpoint *c, struct task *task, struct object **ret, struct error *err)
{
	_cleanup_(close_p) int nsfd = task_openat(task, "ns/mnt", O_RDONLY);
	struct mounts *m;
	int r;

	*ret = NULL;
	if (nsfd < 0)
		return error_raise(err, -nsfd, "open the mount namespace");
	if (is_own(nsfd))
		return 0;
	m = mounts_of_checkpoint(c);
	r = read_host(m, err);
	if (r == 0)
		r = add_namespace(c, m, task, nsfd, task->tid, ret, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int mounts_classify(struct checkpoint *c, struct error *err)
{
	struct mounts *m = c->mounts;

	if (m->classified)
		return 0;
	m->classified = true;
	mount_classify(&m->table, &m->host);
	int r = mounts_find_outside(c, m, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- which mount a descriptor is on ---- */

#define DELETED " (deleted)"

/* where it is, as the kernel shows it from the root of whatever namespace: of an O_PATH copy */
static int read_link(int fd, char *text, size_t size, struct error *err)
{
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, text, size - 1);
	if (n <= 0 || (size_t)n >= size - 1)
		return error_raise(err, n < 0 ? errno : ENAMETOOLONG, "read %s", link);
	text[n] = 0;
	return 0;
}

static bool leads_to(int root, const char *path, int fd)
{
	_cleanup_(close_p) int there = mount_open_below(root, path, O_PATH | O_NOFOLLOW);
	struct stat a, b;

	return there >= 0 && still_fstat(there, &a) == 0 && still_fstat(fd, &b) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* cuts " (deleted)" off, unless that is how a name ends */
static int cut_deleted(struct checkpoint *c, struct object *mount, char *below, int fd, bool *ret,
                       struct error *err)
{
	size_t size = strlen(below), cut = strlen(DELETED);
	int root, r;

	*ret = false;
	if (size < cut || strcmp(below + size - cut, DELETED) != 0)
		return 0;
	r = mount_reached(c, mount, &root, err);
	if (r < 0)
		return error_trace(err, r);
	*ret = !leads_to(root, below + strspn(below, "/"), fd);
	if (*ret)
		below[size - cut] = 0;
	return 0;
}

static int refuse_detached(const char *text, struct error *err)
{
	error_refuse(err, CODE_mount_detached,
	             "it is on a mount that is in no mount namespace of the set");
	error_object(err, "%s", text);
	error_hint(err, "it was unmounted lazily, is of open_tree(2), or of another namespace");
	return -EOPNOTSUPP;
}

/*
 * What a task has open may be of the namespace of one whose turn has not come: all are looked at
 * then, once. What is wrong with one is told when its turn comes.
 */
static size_t find_line(struct checkpoint *c, struct mounts *m, uint64_t id)
{
	size_t line = mount_table_find(&m->table, id);

	if (line != MOUNT_NONE || m->all_looked || mount_table_find(&m->host, id) != MOUNT_NONE)
		return line;
	m->all_looked = true;
	for (size_t i = 0; i < c->n_tasks; i++) {
		struct error ignored = ERROR_INIT;
		struct object *ns;
		if (c->tasks[i]->state != TASK_ZOMBIE && c->tasks[i]->state != TASK_DEAD_LEADER)
			(void)mnt_ns_collect(c, c->tasks[i], &ns, &ignored);
	}
	return mount_table_find(&m->table, id);
}

int mount_of(struct checkpoint *c, const struct task *task, int fd, struct object **ret,
             char **ret_path, bool *ret_deleted, struct error *err)
{
	char text[PATH_MAX + 16];
	struct mounts *m = mounts_of_checkpoint(c);
	uint64_t id = mount_id_of(fd);
	int r = read_host(m, err);
	size_t line;

	*ret = NULL;
	*ret_path = NULL;
	*ret_deleted = false;
	if (r == 0)
		r = read_link(fd, text, sizeof(text), err);
	if (r < 0)
		return error_trace(err, r);
	line = find_line(c, m, id);
	if (line == MOUNT_NONE)
		return mount_table_find(&m->host, id) != MOUNT_NONE ? 0
		                                                    : refuse_detached(text, err);
	const char *point = m->table.mounts[line].point;
	size_t size = strcmp(point, "/") ? strlen(point) : 0;
	if (strncmp(text, point, size))
		return refuse_detached(text, err);
	r = cut_deleted(c, m->mounts[line], text + size, fd, ret_deleted, err);
	if (r < 0)
		return error_trace(err, r);
	if (text[size] && text[size] != '/')
		return refuse_detached(text, err);
	*ret = m->mounts[line];
	*ret_path = xstrdup(text + size + strspn(text + size, "/"));
	return 0;
}

int mount_path_within(struct checkpoint *c, const struct object *mount, int fd, const char *path,
                      char **ret, struct error *err)
{
	struct mounts *m = mounts_of_checkpoint(c);
	int r = mount ? 0 : read_host(m, err);

	if (r < 0)
		return error_trace(err, r);
	size_t line = mount ? mounts_index(m, mount) : mount_table_find(&m->host, mount_id_of(fd));
	if (line == MOUNT_NONE)
		return refuse_detached(path, err);
	const struct mount_entry *e = mount ? &m->table.mounts[line] : &m->host.mounts[line];
	const char *below = mount ? path + 1 : mount_below(path, e->point);
	if (!below)
		return refuse_detached(path, err);
	*ret = xasprintf("%s%s%s", e->root, strcmp(e->root, "/") && *below ? "/" : "", below);
	return 0;
}

bool mount_hides(struct checkpoint *c, const struct object *mount, const char *path)
{
	const struct mounts *m = mounts_of_checkpoint(c);

	return mount_table_covers(&m->table, mounts_index(m, mount), path);
}

/* those which somebody else answers for */
bool mounts_type_may_wait(const char *type)
{
	static const char *const types[] = { "fuse", "fuseblk", "virtiofs", "9p",  "nfs",   "nfs4",
		                             "cifs", "smb3",    "ceph",     "afs", "autofs" };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i], type))
			return true;
	return false;
}

/* what a superblock that is mounted in the set or by the host is; NULL: it is mounted in neither */
static const char *type_of_device(struct checkpoint *c, dev_t device)
{
	struct mounts *m = mounts_of_checkpoint(c);
	struct error ignored = ERROR_INIT;
	size_t line = mount_table_find_sb(&m->table, major(device), minor(device));

	if (line != MOUNT_NONE)
		return m->table.sbs[line].type;
	if (!m->host_tried)
		read_host(m, &ignored);
	m->host_tried = true;
	line = mount_table_find_sb(&m->host, major(device), minor(device));
	return line != MOUNT_NONE ? m->host.sbs[line].type : NULL;
}

struct object *superblock_of_set(struct checkpoint *c, dev_t device)
{
	struct mounts *m = mounts_of_checkpoint(c);
	size_t line = mount_table_find_sb(&m->table, major(device), minor(device));

	if (line == MOUNT_NONE || (m->classified && m->table.sbs[line].class == MOUNT_EXTERNAL) ||
	    mount_table_find_sb(&m->host, major(device), minor(device)) != MOUNT_NONE)
		return NULL;
	return m->sbs[line];
}

/* of one that is mounted nowhere any more, or by the kernel only: is a server asked, and held? */
static bool is_silent(struct checkpoint *c, dev_t device, int fd)
{
	struct mounts *m = mounts_of_checkpoint(c);

	for (size_t i = 0; i < m->n_asked; i++)
		if (m->asked[i].device == device)
			return m->asked[i].silent;
	struct silence *s = array_push(m->asked, m->n_asked);
	*s = (struct silence){ device, !still_answers(fd) };
	return s->silent;
}

bool mount_may_wait(struct checkpoint *c, dev_t device, const char *path)
{
	const char *type = type_of_device(c, device);

	if (type)
		return mounts_type_may_wait(type);
	_cleanup_(close_p) int fd = open(path, O_PATH | O_CLOEXEC);
	return fd >= 0 && is_silent(c, device, fd);
}

/* by the superblock's number: that which stat(2) shows can be another (btrfs, overlay) */
static const char *type_of_mount(struct checkpoint *c, int fd)
{
	const struct mounts *m = c->mounts;
	uint64_t id = mount_id_of(fd);
	size_t line = mount_table_find(&m->table, id);

	if (line != MOUNT_NONE)
		return m->table.sbs[m->table.mounts[line].sb].type;
	line = mount_table_find(&m->host, id);
	return line != MOUNT_NONE ? m->host.sbs[m->host.mounts[line].sb].type : NULL;
}

uint32_t mount_magic(struct checkpoint *c, int fd)
{
	const char *type;
	struct statfs fs;
	struct stat st;

	if (still_fstat(fd, &st) < 0)
		return 0;
	type = type_of_device(c, st.st_dev);
	if (!type)
		type = type_of_mount(c, fd);
	if (type ? mounts_type_may_wait(type) : is_silent(c, st.st_dev, fd))
		return FUSE_SUPER_MAGIC; /* all that anybody does is refuse it */
	return fstatfs(fd, &fs) < 0 ? 0 : (uint32_t)fs.f_type;
}

static void make_room(struct mounts *m)
{
	while (m->n_reached < m->n_mounts) /* namespaces may have come since */
		*array_push(m->reached, m->n_reached) = -1;
}

/* of one namespace, the @n that start at *@lines; how many they were */
static size_t reach_of_ns(struct mounts *m, const size_t *lines, size_t n, int *fds)
{
	size_t ns = m->table.mounts[*lines].namespace, count = 1;
	struct error ignored = ERROR_INIT; /* each is tried again when it is needed */

	while (count < n && m->table.mounts[lines[count]].namespace == ns)
		count++;
	if (mount_reach_tops(&m->table, m->nsfds[ns], lines, count, fds, &ignored) == 0)
		for (size_t i = 0; i < count; i++)
			m->reached[lines[i]] = fds[i];
	return count;
}

void mounts_reach(struct mounts *m, const size_t *lines, size_t n)
{
	_cleanup_(free_p) int *fds = xcalloc(n + 1, sizeof(*fds));

	make_room(m);
	for (size_t done = 0; done < n;)
		done += reach_of_ns(m, lines + done, n - done, fds);
}

void mounts_blame(const struct checkpoint *c, const struct mounts *m, const struct mount_entry *e,
                  struct error *err)
{
	const struct task *task = checkpoint_task(c, m->table.namespaces[e->namespace].member);

	mount_error(err, &m->table, e);
	if (task)
		error_task(err, task->tid, task->comm);
}

int mount_reached(struct checkpoint *c, struct object *mount, int *ret_fd, struct error *err)
{
	struct mounts *m = mounts_of_checkpoint(c);
	size_t line = mounts_index(m, mount);

	make_room(m);
	if (m->reached[line] < 0) {
		int r = mount_reach(&m->table, m->nsfds[m->table.mounts[line].namespace], line,
		                    &m->reached[line], err);
		if (r < 0)
			return error_trace(err, r);
	}
	*ret_fd = m->reached[line];
	return 0;
}

static void free_texts(char **texts)
{
	for (size_t i = 0; texts && texts[i]; i++)
		free(texts[i]);
	free(texts);
}

void mounts_free(struct mounts *m)
{
	if (!m)
		return;
	mount_build_free(m->build);
	for (size_t i = 0; i < m->n_filled; i++)
		content_free(m->filled[i].content);
	free(m->filled);
	for (size_t i = 0; i < m->n_namespaces && m->nsfds; i++)
		close_p(&m->nsfds[i]);
	for (size_t i = 0; i < m->n_reached; i++)
		close_p(&m->reached[i]);
	for (size_t i = 0; i < m->n_anchors; i++) {
		close_p(&m->anchors[i].fd);
		free(m->anchors[i].root);
		free(m->anchors[i].name);
	}
	for (size_t i = 0; i < m->n_sbs; i++) {
		if (m->roots)
			close_p(&m->roots[i]);
		if (m->key_fds)
			close_p(&m->key_fds[i]);
	}
	for (size_t i = 0; i < m->n_anchored; i++)
		close_p(&m->anchored[i].fd);
	free(m->anchored);
	free(m->asked);
	free(m->roots);
	for (size_t i = 0; i < m->n_groups; i++)
		close_p(&m->groups[i].fd);
	free(m->groups);
	free(m->anchors);
	map_free(m->anchor_roots);
	free(m->bound);
	free(m->nsfds);
	free(m->ghosts);
	map_free(m->ghost_lines);
	free(m->reached);
	free(m->key_fds);
	for (size_t i = 0; i < m->n_mounts && m->idmap_fds; i++)
		close_p(&m->idmap_fds[i]);
	free(m->idmap_fds);
	free(m->owners);
	free(m->owner_fds);
	free(m->sb_owner_fds);
	for (size_t i = 0; m->again && i < m->n_sbs; i++)
		free(m->again[i]);
	free(m->again);
	for (size_t i = 0; m->sb_options && i < m->n_sbs; i++)
		free_texts(m->sb_options[i]);
	free(m->sb_options);
	free(m->namespaces);
	free(m->mounts);
	free(m->sbs);
	mount_table_done(&m->table);
	mount_table_done(&m->host);
	mount_table_done(&m->outside);
	free(m);
}
