/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restart: messages into the table; each is checked by itself, and then all of them together. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "kind/mnt_ns.h"
#include "kind/mount.h"
#include "kind/mounts/parts.h"
#include "kind/namespace/reference.h"
#include "kind/superblock.h"
#include "kind/user_ns.h"
#include "mnt_ns.pb-c.h"
#include "mount.pb-c.h"
#include "mount/class.h"
#include "mount/overlay.h"
#include "superblock.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

#define OPTIONS_MAX 1000
#define NAME_SIZE   64
#define GHOSTS_MAX  1000000

static bool is_text(const ProtobufCBinaryData *bytes, size_t max)
{
	return bytes->len < max && !bytes_have_nul(bytes);
}

/* absolute, no empty component, no "." or ".." */
static bool is_path(const ProtobufCBinaryData *bytes)
{
	if (!is_text(bytes, PATH_MAX) || !bytes->len || bytes->data[0] != '/')
		return false;
	_cleanup_(free_p) char *copy = xstrndup((const char *)bytes->data, bytes->len);
	char *rest = copy + 1;
	if (!*rest)
		return true;
	for (char *part; (part = strsep(&rest, "/"));)
		if (!*part || !strcmp(part, ".") || !strcmp(part, ".."))
			return false;
	return true;
}

static bool is_of(const struct objects *objects, uint32_t id, const struct kind *kind)
{
	const struct object *o = objects_by_id(objects, id);

	return o && o->kind == kind && o->message;
}

static const struct object *first_of(const struct objects *objects, const struct kind *kind)
{
	size_t cursor = 0;

	return objects_next(objects, kind, &cursor);
}

/* a disk of the host's is not to be mounted, let alone filled, as what is made anew */
static bool is_class(const SuperblockState *s)
{
	_cleanup_(free_p) char *type = bytes_text(&s->type);
	unsigned class = (unsigned)s->class_;

	return class == MOUNT_EXTERNAL ||
	       (class < MOUNT_REFUSED && class == (unsigned)mount_class_of_type(type));
}

static bool is_overlay(const SuperblockState *s)
{
	return s->type.len == 7 && !memcmp(s->type.data, "overlay", 7) &&
	       (s->class_ == SUPERBLOCK_STATE__CLASS__COMPOSITE ||
	        s->class_ == SUPERBLOCK_STATE__CLASS__EXTERNAL);
}

/* that they are those of its options is seen when these have been read: check_layers() */
static bool layers_are_valid(const SuperblockState *s)
{
	bool good = true;

	for (size_t i = 0; i < s->n_layers; i++) {
		_cleanup_(free_p) char *path = bytes_text(&s->layers[i]->path);
		good &= is_path(&s->layers[i]->path) && overlay_path_valid(path) &&
		        s->layers[i]->handle.len <= 128;
	}
	return good;
}

int superblock_validate(const struct objects *objects, const struct object *object,
                        struct error *err)
{
	const SuperblockState *s = object_state(object, SuperblockState);

	if (!s->type.len || !is_text(&s->type, NAME_SIZE) || !is_text(&s->subtype, NAME_SIZE) ||
	    (s->subtype.len && s->class_ != SUPERBLOCK_STATE__CLASS__EXTERNAL))
		return error_raise(err, EBADMSG, "the type of a superblock");
	if (!is_class(s))
		return error_raise(err, EBADMSG, "a %.*s of class %d", (int)s->type.len,
		                   (const char *)s->type.data, (int)s->class_);
	if (s->flags & ~MOUNT_SB_FLAGS || s->n_options > OPTIONS_MAX)
		return error_raise(err, EBADMSG, "a superblock with flags %x, %zu options",
		                   s->flags, s->n_options);
	for (size_t i = 0; i < s->n_options; i++)
		if (!is_text(&s->options[i], 1 << 16))
			return error_raise(err, EBADMSG, "option %zu of a superblock", i);
	size_t ways = (s->n_through != 0) + s->flattened;
	if (s->class_ == SUPERBLOCK_STATE__CLASS__COMPOSITE ? ways + (s->n_layers != 0) != 1 : ways)
		return error_raise(err, EBADMSG, "a superblock made of %zu mounts", s->n_through);
	if (s->uuid.len && s->uuid.len != UUID_SIZE)
		return error_raise(err, EBADMSG, "a superblock's identity of %zu bytes",
		                   s->uuid.len);
	if (s->ghosts > GHOSTS_MAX || (s->ghosts && s->class_ != SUPERBLOCK_STATE__CLASS__CONTENT))
		return error_raise(err, EBADMSG, "a superblock with %u deleted files", s->ghosts);
	if (!user_ns_valid_id(objects, s->owner))
		return error_raise(err, EBADMSG, "a superblock of object %u", s->owner);
	if (s->key && !is_of(objects, s->key, superblock_key_kind(s)))
		return error_raise(err, EBADMSG, "a superblock of namespace %u", s->key);
	if (!superblock_nodes_valid(s))
		return error_raise(err, EBADMSG, "the nodes of a new superblock");
	if (s->n_layers && (!is_overlay(s) || !layers_are_valid(s)))
		return error_raise(err, EBADMSG, "the layers of a superblock");
	for (size_t i = 0; i < s->n_anchors; i++) {
		const SuperblockAnchor *a = s->anchors[i];
		bool is_there = a->name.len ? !a->path.len && is_text(&a->name, NAME_SIZE)
		                            : is_path(&a->path);
		if (!is_path(&a->root) || !is_there || a->handle.len > 128)
			return error_raise(err, EBADMSG, "anchor %zu of a superblock", i);
	}
	return 0;
}

/* what has been deleted is made again, and of what is made anew only */
static bool is_ghost(const struct objects *objects, const MountState *s)
{
	const SuperblockState *sb = object_state(objects_by_id(objects, s->superblock),
	                                         SuperblockState);

	return s->ghost <= sb->ghosts && (s->ghost || !s->deleted) &&
	       (s->root.len > 1 || !s->ghost);
}

static bool is_nsfs(const struct objects *objects, const MountState *s)
{
	return object_state(objects_by_id(objects, s->superblock), SuperblockState)->class_ ==
	       SUPERBLOCK_STATE__CLASS__NAMESPACES;
}

/* "uts:[4026532211]" */
static bool is_ns_root(const ProtobufCBinaryData *root)
{
	_cleanup_(free_p) char *text = xstrndup(root->len ? (const char *)root->data : "",
	                                        root->len);
	struct ns_reference ignored;

	return root->len < NAME_SIZE && ns_reference_parse(text, &ignored);
}

/* both or none */
static bool is_idmap(const MountState *s, const ProtobufCBinaryData *map)
{
	if (!(s->attributes & MOUNT_ATTR_IDMAPPED))
		return !map->len;
	if (!is_text(map, 1 << 16))
		return false;
	_cleanup_(free_p) char *text = xstrndup(map->len ? (const char *)map->data : "", map->len);
	return idmap_is_valid(text);
}

int mount_validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const MountState *s = object_state(object, MountState);

	if (!is_of(objects, s->namespace_, &mnt_ns_kind) ||
	    !is_of(objects, s->superblock, &superblock_kind) ||
	    (s->parent && !is_of(objects, s->parent, &mount_kind)))
		return error_raise(err, EBADMSG, "a mount of namespace %u, superblock %u, on %u",
		                   s->namespace_, s->superblock, s->parent);
	if (!is_path(&s->point) || !is_text(&s->source, PATH_MAX))
		return error_raise(err, EBADMSG, "the place or source of a mount");
	if (is_nsfs(objects, s) ? !ns_reference_valid(objects, s->target_type, s->target) ||
	                                  !is_ns_root(&s->root)
	                        : s->target || s->target_type || !is_path(&s->root))
		return error_raise(err, EBADMSG, "what a mount shows");
	if (!is_ghost(objects, s))
		return error_raise(err, EBADMSG, "a mount of a deleted file %u", s->ghost);
	uint64_t atime = s->attributes & MOUNT_ATTR__ATIME; /* no bits, but a number */
	if (s->attributes & ~(uint64_t)(MOUNT_ATTRIBUTES | MOUNT_ATTR_IDMAPPED) ||
	    (atime && atime != MOUNT_ATTR_NOATIME && atime != MOUNT_ATTR_STRICTATIME) ||
	    (s->unbindable && (s->peer_group || s->master)))
		return error_raise(err, EBADMSG, "the attributes %llx of a mount",
		                   (unsigned long long)s->attributes);
	if (s->locked_attributes & ~(uint64_t)MOUNT_ATTRIBUTES || (s->locked && !s->parent))
		return error_raise(err, EBADMSG, "the locked attributes %llx of a mount",
		                   (unsigned long long)s->locked_attributes);
	if ((s->outside.len && (!s->master || !is_path(&s->outside))) ||
	    (s->outside_peer.len && (!s->peer_group || !is_path(&s->outside_peer))))
		return error_raise(err, EBADMSG, "the master of a mount");
	if (!is_text(&s->external, NAME_SIZE))
		return error_raise(err, EBADMSG, "the name of an external mount");
	if (s->root_handle.len > 128)
		return error_raise(err, EBADMSG, "the handle of what a mount shows");
	if (!is_idmap(s, &s->uid_map) || !is_idmap(s, &s->gid_map))
		return error_raise(err, EBADMSG, "the id map of a mount");
	return 0;
}

int mnt_ns_validate(const struct objects *objects, const struct object *object, struct error *err)
{
	struct mounts *m = NULL;
	int r = 0;

	if (!user_ns_valid_id(objects, object_state(object, MntNsState)->owner))
		return error_raise(err, EBADMSG, "a mount namespace of object %u",
		                   object_state(object, MntNsState)->owner);
	/* all together, once; what they refer to has not been looked at yet */
	if (first_of(objects, &mnt_ns_kind) != object)
		return 0;
	size_t cursor = 0;
	for (struct object *o; r == 0 && (o = objects_next(objects, &mount_kind, &cursor));)
		r = mount_validate(objects, o, err);
	if (r == 0)
		r = mounts_from_objects(objects, &m, err);
	mounts_free(m);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- the table ---- */

static char *text_of(const ProtobufCBinaryData *bytes)
{
	return xstrndup(bytes->len ? (const char *)bytes->data : "", bytes->len);
}

static void add_sb(struct mounts *m, struct object *o)
{
	const SuperblockState *s = object_state(o, SuperblockState);
	struct mount_sb *sb = array_push(m->table.sbs, m->table.n_sbs);

	sb->major = major(s->device);
	sb->minor = minor(s->device);
	sb->flags = s->flags;
	sb->type = text_of(&s->type);
	sb->subtype = s->subtype.len ? text_of(&s->subtype) : NULL;
	sb->class = (enum mount_class)s->class_;
	sb->key = s->key;
	sb->n_ghosts = s->ghosts;
	sb->flattened = s->flattened;
	sb->outside = s->class_ == SUPERBLOCK_STATE__CLASS__COMPOSITE && s->n_layers;
	sb->free_bytes = s->free_bytes;
	sb->free_inodes = s->free_inodes;
	sb->owner = s->owner;
	for (size_t i = 0; i < s->n_options; i++)
		*array_push(sb->options, sb->n_options) = text_of(&s->options[i]);
	*array_push(m->sbs, m->n_sbs) = o;
}

static size_t line_of(struct object *const *objects, size_t n, uint32_t id)
{
	size_t low = 0, high = n; /* ids ascend: the order of objects_next() */

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (objects[middle]->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void fill_entry(struct mounts *m, const struct objects *objects, const struct object *o)
{
	const MountState *s = object_state(o, MountState);
	const struct object *parent = s->parent ? objects_by_id(objects, s->parent) : NULL;
	struct mount_entry *e = array_push(m->table.mounts, m->table.n_mounts);

	e->id = s->id;
	e->old_id = s->old_id;
	e->parent_id = parent ? object_state(parent, MountState)->id : 0;
	e->sb = line_of(m->sbs, m->n_sbs, s->superblock);
	e->point = text_of(&s->point);
	e->root = text_of(&s->root);
	e->deleted = s->deleted;
	e->ghost = s->ghost;
	e->attributes = s->attributes;
	e->locked = s->locked;
	e->locked_attributes = s->locked_attributes;
	e->bound = s->target;
	e->bound_type = s->target_type;
	e->unbindable = s->unbindable;
	e->peer_group = s->peer_group;
	e->master = s->master;
	e->source = text_of(&s->source);
	e->external = s->external.len ? text_of(&s->external) : NULL;
	e->uid_map = s->uid_map.len ? text_of(&s->uid_map) : NULL;
	e->gid_map = s->gid_map.len ? text_of(&s->gid_map) : NULL;
}

/* as the kernel lists them: by namespace, then id */
static int by_namespace(const void *a, const void *b)
{
	const MountState *x = object_state(*(struct object *const *)a, MountState);
	const MountState *y = object_state(*(struct object *const *)b, MountState);

	if (x->namespace_ != y->namespace_)
		return x->namespace_ < y->namespace_ ? -1 : 1;
	return (x->id > y->id) - (x->id < y->id);
}

/* every mount must be below the root of its namespace: no cycles, each id once */
static int check_namespace(struct mounts *m, const struct mount_ns *ns, struct error *err)
{
	_cleanup_(free_p) size_t *walks = xcalloc(ns->n + 1, sizeof(*walks)); /* who passed */
	struct mount_entry *mounts = m->table.mounts;
	size_t end = ns->first + ns->n;

	for (size_t i = ns->first; i < end; i++) {
		size_t up = i;
		if (i > ns->first && mounts[i].id == mounts[i - 1].id)
			return error_raise(err, EBADMSG, "two mounts have one id");
		for (; up != MOUNT_NONE && !walks[up - ns->first]; up = mounts[up].parent)
			walks[up - ns->first] = i + 1;
		if (up != MOUNT_NONE && walks[up - ns->first] == i + 1)
			return error_raise(err, EBADMSG, "mounts are on each other");
		if (mounts[i].locked && mounts[i].parent != MOUNT_NONE)
			mounts[mounts[i].parent].holds = true;
	}
	return 0;
}

static int add_namespaces(struct mounts *m, const struct objects *objects, struct error *err)
{
	size_t cursor = 0, next = 0;
	int r = 0;

	for (struct object *o; r == 0 && (o = objects_next(objects, &mnt_ns_kind, &cursor));) {
		struct mount_ns *ns = array_push(m->table.namespaces, m->table.n_namespaces);
		ns->inode = object_state(o, MntNsState)->inode;
		ns->first = next;
		*array_push(m->namespaces, m->n_namespaces) = o;
		for (; next < m->n_mounts &&
		       object_state(m->mounts[next], MountState)->namespace_ == o->id;
		     next++)
			fill_entry(m, objects, m->mounts[next]);
		ns->n = next - ns->first;
		r = mount_table_relate(&m->table, m->n_namespaces - 1, err);
		if (r == 0)
			r = check_namespace(m, ns, err);
	}
	return r;
}

/* mount namespaces that are bound to files */
static void add_targets(struct mounts *m)
{
	for (size_t i = 0; i < m->n_mounts; i++) {
		uint32_t id = object_state(m->mounts[i], MountState)->target;
		size_t line = id ? line_of(m->namespaces, m->n_namespaces, id) : m->n_namespaces;
		if (line < m->n_namespaces && m->namespaces[line]->id == id)
			m->table.mounts[i].target = line + 1;
	}
}

/*
 * Where an overlay is made is not where it was, and must not tell. Of the host's no other layers
 * are taken than those that have been looked at.
 */
static int check_layers(const struct mount_sb *sb, const SuperblockState *s, struct error *err)
{
	size_t n;
	struct overlay_layer *layers = overlay_layers(sb, &n);
	bool good = !s->n_layers || s->n_layers == n;

	for (size_t i = 0; good && i < n; i++) {
		good = layers[i].path[0] == '/';
		if (good && s->n_layers) {
			_cleanup_(free_p) char *path = text_of(&s->layers[i]->path);
			good = !strcmp(path, layers[i].path);
		}
	}
	overlay_free(layers, n);
	return good ? 0 : error_raise(err, EBADMSG, "the layers of an overlay");
}

/* lines of the mounts that an overlay's layers are found through */
static int add_through(struct mounts *m, struct error *err)
{
	_cleanup_(map_freep) struct map *lines = map_new();

	for (size_t i = 0; i < m->n_mounts; i++)
		map_put(lines, &m->mounts[i]->id, sizeof(m->mounts[i]->id),
		        (void *)(uintptr_t)(i + 1));
	for (size_t i = 0; i < m->n_sbs; i++) {
		const SuperblockState *s = object_state(m->sbs[i], SuperblockState);
		struct mount_sb *sb = &m->table.sbs[i];
		for (size_t j = 0; j < s->n_through; j++) {
			size_t line = (size_t)(uintptr_t)map_get(lines, &s->through[j],
			                                         sizeof(s->through[j]));
			if (!line)
				return error_raise(err, EBADMSG, "an overlay of mount %u",
				                   s->through[j]);
			*array_push(sb->through, sb->n_through) = line - 1;
		}
		int r = sb->class == MOUNT_COMPOSITE || s->n_layers ? check_layers(sb, s, err) : 0;
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

int mounts_from_objects(const struct objects *objects, struct mounts **ret, struct error *err)
{
	struct mounts *m = xcalloc(1, sizeof(*m));
	size_t cursor = 0;
	int r;

	for (struct object *o; (o = objects_next(objects, &superblock_kind, &cursor));)
		add_sb(m, o);
	cursor = 0;
	for (struct object *o; (o = objects_next(objects, &mount_kind, &cursor));)
		*array_push(m->mounts, m->n_mounts) = o;
	if (m->n_mounts)
		qsort(m->mounts, m->n_mounts, sizeof(*m->mounts), by_namespace);
	r = add_namespaces(m, objects, err);
	if (r == 0)
		r = add_through(m, err);
	if (r == 0)
		add_targets(m);
	if (r < 0) {
		mounts_free(m);
		return error_trace(err, r);
	}
	*ret = m;
	return 0;
}

uint32_t mount_n_ghosts(const struct objects *objects, const struct object *mount)
{
	const MountState *s = object_state(mount, MountState);
	const struct object *sb = objects_by_id(objects, s->superblock);

	return sb && sb->kind == &superblock_kind && sb->message
	               ? object_state(sb, SuperblockState)->ghosts
	               : 0;
}
