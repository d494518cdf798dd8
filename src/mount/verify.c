/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Read back and compare. See verify.h. */
#include "mount/verify.h"

#include <stdlib.h>
#include <string.h>

#include "mount/build_parts.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

/* numbers of one table that must stand for numbers of the other, one to one */
struct pairs {
	struct map *there, *back;
};

static void pairs_init(struct pairs *p)
{
	*p = (struct pairs){ map_new(), map_new() };
}

static void pairs_done(struct pairs *p)
{
	map_free(p->there);
	map_free(p->back);
}

static bool pair_one(struct map *map, uint64_t a, uint64_t b)
{
	uint64_t known = (uint64_t)(uintptr_t)map_get(map, &a, sizeof(a));

	if (!known)
		map_put(map, &a, sizeof(a), (void *)(uintptr_t)(b + 1));
	return !known || known == b + 1;
}

static bool pair(struct pairs *p, uint64_t a, uint64_t b)
{
	if (!a || !b)
		return a == b;
	return pair_one(p->there, a, b) && pair_one(p->back, b, a);
}

struct comparison {
	const struct mount_table *want, *have;
	bool external;
	struct pairs groups, sbs, mounts, namespaces;
	struct error *err;
};

static int differs(const struct comparison *c, const struct mount_entry *m, const char *what,
                   const char *want, const char *have)
{
	error_refuse(c->err, CODE_mount_differs, "%s is '%s', and was '%s'", what, have, want);
	mount_error(c->err, c->want, m);
	return -EOPNOTSUPP;
}

static int differs_number(const struct comparison *c, const struct mount_entry *m, const char *what,
                          uint64_t want, uint64_t have)
{
	char w[24], h[24];

	snprintf(w, sizeof(w), "%#llx", (unsigned long long)want);
	snprintf(h, sizeof(h), "%#llx", (unsigned long long)have);
	return differs(c, m, what, w, h);
}

static bool is_hosts(const struct comparison *c, const struct mount_sb *sb)
{
	return c->external && (sb->class == MOUNT_EXTERNAL || sb->class == MOUNT_SINGLETON);
}

static bool same_text(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

static int compare_options(const struct comparison *c, const struct mount_entry *m,
                           const struct mount_sb *a, const struct mount_sb *b)
{
	if (a->n_options != b->n_options)
		return differs_number(c, m, "the number of options", a->n_options, b->n_options);
	for (size_t i = 0; i < a->n_options; i++)
		if (strcmp(a->options[i], b->options[i]) != 0)
			return differs(c, m, "an option", a->options[i], b->options[i]);
	return 0;
}

static int compare_sb(struct comparison *c, const struct mount_entry *m,
                      const struct mount_entry *n)
{
	const struct mount_sb *a = &c->want->sbs[m->sb], *b = &c->have->sbs[n->sb];

	if (is_hosts(c, a))
		return 0;
	if (!same_text(a->type, b->type) || !same_text(a->subtype, b->subtype))
		return differs(c, m, "the type", a->type, b->type);
	if (!pair(&c->sbs, m->sb + 1, n->sb + 1))
		return differs(c, m, "the file system", a->type, "another");
	if (a->flags != b->flags)
		return differs_number(c, m, "the flags of the file system", a->flags, b->flags);
	if (!same_text(m->source, n->source))
		return differs(c, m, "the source", m->source, n->source);
	return compare_options(c, m, a, b);
}

/* the file of a namespace has its inode in its name: "uts:[4026532211]" */
static bool same_root(struct comparison *c, const struct mount_entry *m,
                      const struct mount_entry *n)
{
	const char *a = strchr(m->root, '['), *b = strchr(n->root, '[');

	if (c->want->sbs[m->sb].class != MOUNT_NSFS || !a || !b)
		return !strcmp(m->root, n->root);
	return a - m->root == b - n->root && !strncmp(m->root, n->root, (size_t)(a - m->root)) &&
	       pair(&c->namespaces, strtoull(a + 1, NULL, 10), strtoull(b + 1, NULL, 10));
}

static int compare_mount(struct comparison *c, size_t i, size_t j)
{
	const struct mount_entry *m = &c->want->mounts[i], *n = &c->have->mounts[j];

	if (strcmp(m->point, n->point) != 0)
		return differs(c, m, "the place", m->point, n->point);
	if (m->attributes != n->attributes)
		return differs_number(c, m, "the attributes", m->attributes, n->attributes);
	if (m->unbindable != n->unbindable)
		return differs_number(c, m, "unbindable", m->unbindable, n->unbindable);
	if (!pair(&c->groups, m->peer_group, n->peer_group))
		return differs_number(c, m, "the peer group", m->peer_group, n->peer_group);
	uint64_t master = m->dropped_master ? m->dropped_master : m->master;
	if (!pair(&c->groups, master, n->master))
		return differs_number(c, m, "the master", master, n->master);
	if (!same_text(m->uid_map, n->uid_map) || !same_text(m->gid_map, n->gid_map))
		return differs(c, m, "the id map", m->uid_map ? m->uid_map : "",
		               n->uid_map ? n->uid_map : "");
	if (!is_hosts(c, &c->want->sbs[m->sb]) && (!same_root(c, m, n) || m->deleted != n->deleted))
		return differs(c, m, "the root", m->root, n->root);
	return compare_sb(c, m, n);
}

/*
 * Mounts in an order that does not depend on ids: by path; among equal ones, which are stacked or
 * hide each other, by how deep they are, and by what they are on.
 */
struct place {
	const struct mount_table *t;
	size_t depth, index;
};

static size_t depth_of(const struct mount_table *t, size_t mount)
{
	size_t depth = 0;

	while ((mount = t->mounts[mount].parent) != MOUNT_NONE)
		depth++;
	return depth;
}

static int by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	size_t i = x->index, j = y->index;
	int order = strcmp(x->t->mounts[i].point, y->t->mounts[j].point);

	if (!order)
		order = (x->depth > y->depth) - (x->depth < y->depth);
	while (!order && i != MOUNT_NONE && j != MOUNT_NONE) {
		order = strcmp(x->t->mounts[i].point, y->t->mounts[j].point);
		i = x->t->mounts[i].parent;
		j = y->t->mounts[j].parent;
	}
	return order;
}

static struct place *sort_places(const struct mount_table *t, const struct mount_ns *ns)
{
	struct place *places = xcalloc(ns->n + 1, sizeof(*places));

	for (size_t i = 0; i < ns->n; i++)
		places[i] = (struct place){ t, depth_of(t, ns->first + i), ns->first + i };
	qsort(places, ns->n, sizeof(*places), by_place);
	return places;
}

static int compare_parents(struct comparison *c, size_t i, size_t j)
{
	const struct mount_entry *m = &c->want->mounts[i], *n = &c->have->mounts[j];

	if (!pair(&c->mounts, i + 1, j + 1) || !pair(&c->mounts, m->parent + 1, n->parent + 1))
		return differs(c, m, "what it is on",
		               m->parent == MOUNT_NONE ? "" : c->want->mounts[m->parent].point,
		               n->parent == MOUNT_NONE ? "" : c->have->mounts[n->parent].point);
	return 0;
}

static int compare_ns(struct comparison *c, size_t ns)
{
	const struct mount_ns *want = &c->want->namespaces[ns], *have = &c->have->namespaces[ns];
	_cleanup_(free_p) struct place *a = sort_places(c->want, want);
	_cleanup_(free_p) struct place *b = sort_places(c->have, have);
	int r = 0;

	for (size_t i = 0; r == 0 && i < want->n && i < have->n; i++) {
		r = compare_mount(c, a[i].index, b[i].index);
		if (r == 0)
			r = compare_parents(c, a[i].index, b[i].index);
	}
	if (r == 0 && want->n != have->n) {
		error_refuse(c->err, CODE_mount_differs, "there are %zu mounts, and were %zu",
		             have->n, want->n);
		error_object(c->err, "mnt:[%llu]", (unsigned long long)want->inode);
		r = -EOPNOTSUPP;
	}
	return r;
}

int mount_compare(const struct mount_table *want, const struct mount_table *have, bool external,
                  struct error *err)
{
	struct comparison c = { .want = want, .have = have, .external = external, .err = err };
	int r = 0;

	pairs_init(&c.groups);
	pairs_init(&c.sbs);
	pairs_init(&c.mounts);
	pairs_init(&c.namespaces);
	for (size_t i = 0; r == 0 && i < want->n_namespaces; i++)
		r = compare_ns(&c, i);
	pairs_done(&c.groups);
	pairs_done(&c.sbs);
	pairs_done(&c.mounts);
	pairs_done(&c.namespaces);
	return r < 0 ? error_trace(err, r) : 0;
}

int mount_verify(const struct mount_build *b, struct error *err)
{
	_cleanup_(mount_table_done) struct mount_table have = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < b->t->n_namespaces; i++)
		r = mount_table_add(&have, b->ns[i], 0, NULL, err);
	if (r == 0)
		r = mount_compare(b->t, &have, true, err);
	return r < 0 ? error_trace(err, r) : 0;
}
