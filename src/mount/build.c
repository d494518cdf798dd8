/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The builder of mount namespaces: the steps. See build.h. */
#include "mount/build.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/helper.h"
#include "mount/build_parts.h"
#include "mount/verify.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

/* ---- what is cloned from what ---- */

static const struct mount_anchor *find_anchor(const struct mount_build *b,
                                              const struct mount_entry *m)
{
	enum mount_class class = b->t->sbs[m->sb].class;

	if (class != MOUNT_EXTERNAL && class != MOUNT_SINGLETON && class != MOUNT_NSFS)
		return NULL;
	return mount_anchor_of(b->anchors, m);
}

/* of one that is not cloned the source tells; @known: anchor, or superblock and source, -> + 1 */
static size_t find_origin(struct mount_build *b, const struct mount_entry *m, struct map *known)
{
	const struct mount_anchor *anchor = find_anchor(b, m);
	_cleanup_(free_p) char *key = anchor ? xasprintf("%zu", (size_t)(anchor - b->in.anchors))
	                                     : xasprintf("%zu %s", m->sb, m->source);
	size_t found = (uintptr_t)map_get(known, key, strlen(key));

	if (found)
		return found - 1;
	*array_push(b->origins, b->n_origins) =
		(struct mount_origin){ .sb = m->sb, .anchor = anchor, .source = m->source };
	map_put(known, key, strlen(key), (void *)(uintptr_t)b->n_origins);
	return b->n_origins - 1;
}

/* whether what @mount shows is not there yet */
static bool must_wait(const struct mount_build *b, size_t mount)
{
	size_t sb = b->t->mounts[mount].sb;
	const struct mount_anchor *a = b->origins[b->origin_of[mount]].anchor;

	return (a && a->late) || (b->t->sbs[sb].key && b->in.key_fds[sb] < 0);
}

/* what a copy brings along is not made of what it is on */
bool build_is_late(const struct mount_build *b, size_t mount)
{
	while (mount != MOUNT_NONE && !must_wait(b, mount))
		mount = build_is_copied(b, mount) && !b->t->mounts[mount].locked
		                ? MOUNT_NONE
		                : b->t->mounts[mount].parent;
	return mount != MOUNT_NONE;
}

static void layout_fds(struct mount_build *b)
{
	const struct mount_table *t = b->t;

	b->n_fds = 1 + t->n_namespaces + b->n_origins + 2 * t->n_mounts;
	b->fds = mmap(NULL, b->n_fds * sizeof(*b->fds), PROT_READ | PROT_WRITE,
	              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (b->fds == MAP_FAILED)
		abort();
	memset(b->fds, 0xff, b->n_fds * sizeof(*b->fds)); /* all -1 */
	b->yard = b->fds;
	b->ns = b->yard + 1;
	b->origin = b->ns + t->n_namespaces;
	b->mount = b->origin + b->n_origins;
	b->place = b->mount + t->n_mounts;
}

struct mount_build *mount_build_new(const struct mount_input *input)
{
	_cleanup_(map_freep) struct map *known = map_new();
	struct mount_build *b = xcalloc(1, sizeof(*b));

	b->in = *input;
	b->t = input->table;
	b->anchors = anchor_index_new(input->anchors, input->n_anchors);
	b->proc = b->home = -1;
	b->origin_of = xcalloc(b->t->n_mounts + 1, sizeof(*b->origin_of));
	b->layers = xcalloc(b->t->n_sbs + 1, sizeof(*b->layers));
	for (size_t i = 0; i < b->t->n_sbs; i++)
		b->layers[i] = (struct layers){ -1, -1 };
	b->ghosts = xcalloc(b->t->n_sbs + 1, sizeof(*b->ghosts));
	for (size_t i = 0; i < b->t->n_sbs; i++)
		b->ghosts[i].fd = -1;
	b->cpu = sched_getcpu();
	b->late = xcalloc(b->t->n_mounts + 1, sizeof(*b->late));
	b->waits = xcalloc(b->t->n_namespaces + 1, sizeof(*b->waits));
	b->made = xcalloc(b->t->n_namespaces + 1, sizeof(*b->made));
	b->turn = xcalloc(b->t->n_namespaces + 1, sizeof(*b->turn));
	b->tree = xcalloc(b->t->n_mounts + 1, sizeof(*b->tree));
	for (size_t i = 0; i < b->t->n_mounts; i++) {
		size_t top = mount_anchor_tree(b->anchors, b->t, i);
		b->tree[i] = top != MOUNT_NONE;
		b->origin_of[i] = find_origin(b, &b->t->mounts[b->tree[i] ? top : i], known);
	}
	for (size_t i = 0; i < b->t->n_mounts; i++)
		b->late[i] = build_is_late(b, i);
	layout_fds(b);
	return b;
}

int build_context(const struct mount_build *b, size_t mount, struct error *err, int r)
{
	mount_error(err, b->t, &b->t->mounts[mount]);
	return error_trace(err, r);
}

/* ---- the steps ---- */

/* nothing of ours can be full but what the kernel counts */
static int end_step(int r, struct error *err)
{
	struct error was = *err;

	if (r != -ENOSPC && r != -EMFILE && r != -ENFILE)
		return r < 0 ? error_trace(err, r) : 0;
	error_refuse(err, CODE_mount_limit, "%s: a limit is reached", was.cause);
	if (*was.object)
		error_object(err, "%s", was.object);
	error_hint(err, "%s",
	           r == -ENOSPC ? "raise fs.mount-max, or user.max_mnt_namespaces (sysctl)"
	                        : "raise the limit of open files: one for each mount (ulimit -n)");
	return -EOPNOTSUPP;
}

int mount_build_superblocks(struct mount_build *b, struct error *err)
{
	b->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (b->proc < 0)
		return error_raise(err, errno, "open /proc");
	b->home = openat(b->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (b->home < 0)
		return error_raise(err, errno, "open our own mount namespace");
	int r = helper_run(build_yard, b, 0, err);
	if (r == 0)
		r = helper_run(build_origins, b, 0, err);
	return end_step(r, err);
}

/* what is locked in it is not there yet; or a file of it is in one that waits, and must be older */
static bool ns_waits(const struct mount_build *b, size_t ns)
{
	const struct mount_ns *n = &b->t->namespaces[ns];

	for (size_t i = n->first; i < n->first + n->n; i++)
		if (b->late[i] && build_is_inherited(b, i) && build_is_late(b, i))
			return true;
	for (size_t i = 0; i < b->t->n_mounts; i++)
		if (b->t->mounts[i].target == ns + 1 && b->waits[b->t->mounts[i].namespace])
			return true;
	return false;
}

/* whose turn it is; whether there are any */
static bool take_turns(struct mount_build *b)
{
	_cleanup_(free_p) size_t *order = build_order(b);
	bool any = false;

	memset(b->waits, 0, b->t->n_namespaces * sizeof(*b->waits));
	for (size_t k = 0; k < b->t->n_namespaces; k++) {
		size_t ns = order[k];
		b->waits[ns] = !b->made[ns] && ns_waits(b, ns);
		b->turn[ns] = !b->made[ns] && !b->waits[ns];
		any |= b->turn[ns];
	}
	return any;
}

static int make_namespaces(struct mount_build *b, struct error *err)
{
	int r = helper_run(build_attach_roots, b, 0, err);

	for (size_t i = 0; r == 0 && i < b->t->n_namespaces; i++)
		b->made[i] |= b->turn[i];
	return r < 0 ? error_trace(err, r) : 0;
}

int mount_build_mounts(struct mount_build *b, struct error *err)
{
	int r = helper_run(build_origins, b, 0, err);

	if (r == 0)
		r = helper_run(build_overlays, b, 0, err);
	if (r == 0 && take_turns(b))
		r = make_namespaces(b, err);
	return end_step(r, err);
}

int mount_build_more(struct mount_build *b, bool *ret_any, struct error *err)
{
	int r = 0;

	*ret_any = take_turns(b);
	if (*ret_any)
		r = helper_run(build_origins, b, 0, err);
	if (*ret_any && r == 0)
		r = make_namespaces(b, err);
	return end_step(r, err);
}

struct early {
	struct mount_build *b;
	size_t mount;
};

static int clone_early(void *arg, struct error *err)
{
	const struct early *early = arg;
	int r = build_enter(*early->b->yard, err);

	return r < 0 ? error_trace(err, r) : build_clone(early->b, early->mount, err);
}

int mount_build_early(struct mount_build *b, size_t mount, struct error *err)
{
	struct early early = { b, mount };

	if (!build_comes_last(b, mount) || b->mount[mount] >= 0 || must_wait(b, mount))
		return 0;
	return end_step(helper_run(clone_early, &early, sizeof(early), err), err);
}

static int refuse_waiting(const struct mount_build *b, struct error *err)
{
	for (size_t i = 0; i < b->t->n_namespaces; i++)
		if (b->waits[i])
			return build_context(
				b, b->t->namespaces[i].first, err,
				error_refuse(err, CODE_mount_lock_shape,
			                     "in its namespace a file system is locked that no "
			                     "task has made"));
	return 0;
}

int mount_build_late(struct mount_build *b, struct error *err)
{
	bool any;
	int r = mount_build_more(b, &any, err);

	if (r == 0)
		r = refuse_waiting(b, err);
	if (r == 0)
		r = helper_run(build_origins, b, 0, err);
	if (r == 0)
		r = helper_run(build_attach, b, 0, err);
	if (r == 0)
		r = helper_run(build_groups, b, 0, err);
	return end_step(r, err);
}

int mount_build_finish(struct mount_build *b, struct error *err)
{
	int r = helper_run(build_seal, b, 0, err);

	if (r == 0)
		r = mount_verify(b, err);
	return end_step(r, err);
}

int mount_build_sb(const struct mount_build *b, size_t sb)
{
	size_t first = mount_of_sb(b->t, sb, MOUNT_NONE);

	if (first == MOUNT_NONE || b->origins[b->origin_of[first]].anchor)
		return -1;
	return b->origin[b->origin_of[first]];
}

int mount_build_mount(const struct mount_build *b, size_t mount)
{
	return b->mount[mount];
}

int mount_build_ns(const struct mount_build *b, size_t ns)
{
	return b->waits[ns] ? -1 : b->ns[ns];
}

bool mount_build_is_new(const struct mount_build *b, size_t mount)
{
	const struct mount_origin *o = &b->origins[b->origin_of[mount]];

	return o->anchor ? o->anchor->supplied || o->anchor->again
	                 : b->t->sbs[o->sb].class == MOUNT_CONTENT ||
	                           b->t->sbs[o->sb].class == MOUNT_COMPOSITE;
}

void mount_build_free(struct mount_build *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->n_fds; i++)
		close_p(&b->fds[i]);
	munmap(b->fds, b->n_fds * sizeof(*b->fds));
	close_p(&b->proc);
	close_p(&b->home);
	anchor_index_free(b->anchors);
	free(b->origins);
	free(b->origin_of);
	free(b->late);
	free(b->waits);
	free(b->made);
	free(b->turn);
	free(b->tree);
	for (size_t i = 0; i < b->t->n_sbs; i++) {
		free(b->ghosts[i].name);
		close_p(&b->ghosts[i].fd);
		close_p(&b->layers[i].root);
		close_p(&b->layers[i].top);
	}
	free(b->ghosts);
	free(b->layers);
	free(b);
}
