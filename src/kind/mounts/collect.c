/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: namespaces into the table, an object for every line of it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

struct mounts *mounts_of_checkpoint(struct checkpoint *c)
{
	struct mounts *m = mounts_kept(c->kept);

	return m ? m : kept_add(&c->kept, &mounts_kept_type, xcalloc(1, sizeof(*m)));
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

int mounts_read_host(struct mounts *m, struct error *err)
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

	m->table.whole = true;
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
	int r = mounts_read_host(m, err);

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
	r = mounts_read_host(m, err);
	if (r == 0)
		r = add_namespace(c, m, task, nsfd, task->tid, ret, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int mounts_classify(struct checkpoint *c, struct error *err)
{
	struct mounts *m = mounts_kept(c->kept);

	if (m->classified)
		return 0;
	m->classified = true;
	mount_classify(&m->table, &m->host);
	int r = mounts_find_outside(c, m, err);
	return r < 0 ? error_trace(err, r) : 0;
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

static void done(void *data)
{
	mounts_free(data);
}

const struct kept_type mounts_kept_type = { .done = done };
