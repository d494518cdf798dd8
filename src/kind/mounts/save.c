/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: lines of the table into messages. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "host/features.h"
#include "kind/mounts/parts.h"
#include "mnt_ns.pb-c.h"
#include "mount.pb-c.h"
#include "mount/reach.h"
#include "mount/verify.h"
#include "superblock.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static ProtobufCBinaryData bytes_of(const char *text)
{
	size_t size = text ? strlen(text) : 0;

	return (ProtobufCBinaryData){ .len = size, .data = size ? xmemdup(text, size) : NULL };
}

int mnt_ns_save(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct mounts *m = mounts_kept(c->kept);
	const struct mount_ns *ns = &m->table.namespaces[mounts_index(m, object)];
	MntNsState *s = xmalloc(sizeof(*s));

	mnt_ns_state__init(s);
	object->message = &s->base;
	s->inode = ns->inode;
	const struct object *owner = m->owners[mounts_index(m, object)];
	s->owner = owner ? owner->id : 0;
	return 0;
}

/* what an external mount shows must be the same at restart, unless another is supplied */
static void identify_root(const struct mounts *m, const struct mount_entry *e, MountState *s)
{
	_cleanup_(close_p) int fd = m->table.sbs[e->sb].class == MOUNT_EXTERNAL
	                                    ? mount_open_outside(m, e)
	                                    : -1;
	struct identity id;

	if (fd < 0)
		return;
	identity_read(fd, &id);
	s->root_mode = id.mode;
	s->root_inode = id.inode;
	s->root_handle_type = id.handle_type;
	s->root_handle = id.handle;
}

int mnt_ns_confirm(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct mounts *m = mounts_kept(c->kept);
	_cleanup_(mount_table_done) struct mount_table now = { 0 };
	struct error difference = ERROR_INIT;
	int r = 0;

	if (mounts_index(m, object) > 0)
		return 0; /* the first has looked at all, as they are one structure */
	for (size_t i = 0; r == 0 && i < m->n_namespaces; i++)
		r = mount_table_add(&now, m->nsfds[i], m->table.namespaces[i].member, NULL, err);
	if (r < 0)
		return error_trace(err, r);
	if (mount_compare(&m->table, &now, false, &difference) == 0)
		return 0;
	error_refuse(err, CODE_mount_changed, "it has changed while it was saved: %s",
	             difference.cause);
	error_object(err, "%s", difference.object);
	error_hint(err, "something outside mounts or unmounts there: try again");
	return -EOPNOTSUPP;
}

int mount_save(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct mounts *m = mounts_kept(c->kept);
	const struct mount_entry *e = &m->table.mounts[mounts_index(m, object)];
	MountState *s = xmalloc(sizeof(*s));

	mount_state__init(s);
	object->message = &s->base;
	s->namespace_ = m->namespaces[e->namespace]->id;
	s->parent = e->parent == MOUNT_NONE ? 0 : m->mounts[e->parent]->id;
	s->superblock = m->sbs[e->sb]->id;
	/* the order of mountinfo's lines; without unique ids that is not the order of the ids */
	s->id = feature(FEATURE_statmount_ns) ? e->id : mounts_index(m, object) + 1;
	s->old_id = e->old_id;
	s->point = bytes_of(e->point);
	s->root = bytes_of(e->root);
	s->deleted = e->deleted;
	s->ghost = e->ghost;
	s->target = e->bound;
	s->target_type = e->bound_type;
	s->attributes = e->attributes;
	s->locked = e->locked;
	s->locked_attributes = e->locked_attributes;
	s->unbindable = e->unbindable;
	s->peer_group = e->peer_group;
	s->master = e->master;
	s->dropped_master = e->dropped_master;
	s->source = bytes_of(e->source);
	s->outside = bytes_of(mount_outside_master(m, e));
	s->outside_peer = bytes_of(mount_outside_peer(m, e));
	s->uid_map = bytes_of(e->uid_map);
	s->gid_map = bytes_of(e->gid_map);
	identify_root(m, e, s);
	s->external = bytes_of(e->external);
	return 0;
}

/* ---- superblocks ---- */

static void add_anchor(SuperblockState *s, const struct outside *outside)
{
	SuperblockAnchor *a = xmalloc(sizeof(*a));
	struct identity id;

	superblock_anchor__init(a);
	a->root = bytes_of(outside->entry->root);
	if (outside->name)
		a->name = bytes_of(outside->name);
	else
		a->path = bytes_of(outside->entry->point);
	identity_read(outside->fd, &id);
	a->mode = id.mode;
	a->inode = id.inode;
	a->handle_type = id.handle_type;
	a->handle = id.handle;
	*array_push(s->anchors, s->n_anchors) = a;
}

static void add_uuid(const struct mounts *m, size_t line, SuperblockState *s)
{
	unsigned char uuid[UUID_SIZE];

	for (size_t i = 0; i < m->n_anchored && !s->uuid.len; i++)
		if (m->anchored[i].sb == line && identity_read_uuid(m->anchored[i].fd, uuid))
			s->uuid = (ProtobufCBinaryData){ UUID_SIZE, xmemdup(uuid, UUID_SIZE) };
}

int superblock_save(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct mounts *m = mounts_kept(c->kept);
	const struct mount_sb *sb = &m->table.sbs[mounts_index(m, object)];
	SuperblockState *s = xmalloc(sizeof(*s));

	superblock_state__init(s);
	object->message = &s->base;
	s->class_ = (SuperblockState__Class)sb->class;
	s->type = bytes_of(sb->type);
	s->subtype = bytes_of(sb->subtype);
	s->flags = sb->flags;
	s->key = (uint32_t)sb->key;
	s->ghosts = sb->n_ghosts;
	s->flattened = sb->flattened;
	s->free_bytes = sb->free_bytes;
	s->free_inodes = sb->free_inodes;
	s->owner = (uint32_t)sb->owner;
	s->device = makedev(sb->major, sb->minor);
	for (size_t i = 0; i < sb->n_options; i++)
		*array_push(s->options, s->n_options) = bytes_of(sb->options[i]);
	for (size_t i = 0; i < sb->n_through; i++)
		*array_push(s->through, s->n_through) = m->mounts[sb->through[i]]->id;
	for (size_t i = 0; i < m->n_anchored; i++)
		if (m->anchored[i].sb == mounts_index(m, object))
			add_anchor(s, &m->anchored[i]);
	superblock_save_layers(m, mounts_index(m, object), s);
	if (sb->class == MOUNT_EXTERNAL && !mounts_type_may_wait(sb->type))
		add_uuid(m, mounts_index(m, object), s);
	int r = sb->class == MOUNT_INSTANCE
	                ? superblock_save_nodes(m, mounts_index(m, object), s, err)
	                : 0;
	return r < 0 ? error_trace(err, r) : 0;
}
