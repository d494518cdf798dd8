/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inspect --mounts: the mounts as findmnt(8) lists them. */
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/inspect.h"
#include "cli/json.h"
#include "kind/mnt_ns.h"
#include "kind/mount.h"
#include "kind/superblock.h"
#include "mount.pb-c.h"
#include "mount/table.h"
#include "superblock.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"
#include "util/text.h"

/* an image that lies may be as deep as it has mounts; lines are not drawn any wider than this */
#define DEPTH_MAX 30

static json_object *text_of(const ProtobufCBinaryData *bytes)
{
	_cleanup_(free_p) char *text = text_printable(bytes->data, bytes->len);

	return json_object_new_string(text);
}

/* as mountinfo shows them */
static json_object *options_of(uint64_t attributes)
{
	static const struct {
		uint64_t mask, flag;
		const char *word;
	} words[] = {
		{ MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSUID, "nosuid" },
		{ MOUNT_ATTR_NODEV, MOUNT_ATTR_NODEV, "nodev" },
		{ MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOEXEC, "noexec" },
		{ MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, "noatime" },
		{ MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NODIRATIME, "nodiratime" },
		{ MOUNT_ATTR__ATIME, MOUNT_ATTR_RELATIME, "relatime" }, /* strictatime: nothing */
		{ 0x00200000, 0x00200000, "nosymfollow" },
		{ MOUNT_ATTR_IDMAP, MOUNT_ATTR_IDMAP, "idmapped" },
	};
	json_object *array = json_object_new_array();

	json_object_array_add(array,
	                      json_object_new_string(attributes & MOUNT_ATTR_RDONLY ? "ro" : "rw"));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if ((attributes & words[i].mask) == words[i].flag)
			json_object_array_add(array, json_object_new_string(words[i].word));
	return array;
}

/* those of the file system, which all its mounts have in common; without "ro" and "rw" */
static json_object *fs_options_of(const SuperblockState *s)
{
	static const struct {
		uint32_t flag;
		const char *word;
	} words[] = { { MOUNT_SB_SYNCHRONOUS, "sync" },
		      { MOUNT_SB_DIRSYNC, "dirsync" },
		      { MOUNT_SB_LAZYTIME, "lazytime" } };
	json_object *array = json_object_new_array();

	for (size_t i = 0; s && i < sizeof(words) / sizeof(words[0]); i++)
		if (s->flags & words[i].flag)
			json_object_array_add(array, json_object_new_string(words[i].word));
	for (size_t i = 0; s && i < s->n_options; i++)
		json_object_array_add(array, text_of(&s->options[i]));
	return array;
}

static bool is_read_only(const SuperblockState *s)
{
	return s && s->flags & MOUNT_SB_RDONLY;
}

static const char *propagation_of(const MountState *s)
{
	if (s->unbindable)
		return "unbindable";
	if (s->peer_group)
		return s->master ? "shared,slave" : "shared";
	return s->master ? "slave" : "private";
}

static const char *class_of(const SuperblockState *s)
{
	static const char *const names[] = { "external",  "content",   "instance",  "keyed",
		                             "singleton", "composite", "namespaces" };
	size_t class = s ? (size_t)s->class_ : SIZE_MAX;

	return class < sizeof(names) / sizeof(names[0]) ? names[class] : "?";
}

/* what --external calls it, the caller's; NULL: it has no name */
static char *external_of(const MountState *s)
{
	return s->external.len ? text_printable(s->external.data, s->external.len) : NULL;
}

static const SuperblockState *superblock_of(const struct inspection *in, const MountState *s)
{
	const struct object *o = objects_by_id(in->contents.objects, s->superblock);

	return o && o->kind == &superblock_kind ? object_state(o, SuperblockState) : NULL;
}

static json_object *mount_to_json(const struct inspection *in, const struct object *o)
{
	const MountState *s = object_state(o, MountState);
	const SuperblockState *sb = superblock_of(in, s);
	_cleanup_(free_p) char *external = external_of(s);
	json_object *line = json_object_new_object();

	json_add_number(line, "object", o->id);
	json_add_number(line, "parent", s->parent);
	json_add(line, "target", text_of(&s->point));
	json_add(line, "root", text_of(&s->root));
	json_add(line, "source", text_of(&s->source));
	json_add(line, "fstype", sb ? text_of(&sb->type) : NULL);
	json_add_number(line, "superblock", s->superblock);
	json_add_text(line, "comes_back_as", class_of(sb));
	if (external)
		json_add_text(line, "external", external);
	json_add(line, "options", options_of(s->attributes));
	json_add_bool(line, "fs_read_only", is_read_only(sb));
	json_add(line, "fs_options", fs_options_of(sb));
	json_add_text(line, "propagation", propagation_of(s));
	json_add_number(line, "peer_group", s->peer_group);
	json_add_number(line, "master", s->master);
	if (s->dropped_master)
		json_add_number(line, "dropped_master", s->dropped_master);
	json_add_bool(line, "deleted", s->deleted);
	return line;
}

/* ---- the mounts of the image, in order of their objects ---- */

struct entry {
	const struct object *mount;
	size_t next, next_below; /* another one of the namespace; that is on the same one; + 1 */
	bool printed;
};

struct listing {
	const struct inspection *in;
	struct entry *entries;
	size_t n;
	struct map *first; /* struct group -> the first, + 1 */
};

/* of a namespace, all, or those that are on @parent, 0: the root */
struct group {
	uint32_t namespace, parent, below;
};

static size_t first_of(const struct listing *l, const struct group *group)
{
	return l->entries ? (uintptr_t)map_get(l->first, group, sizeof(*group)) : 0;
}

static void put_first(struct listing *l, const struct group *group, size_t i)
{
	map_put(l->first, group, sizeof(*group), (void *)(uintptr_t)(i + 1));
}

static void listing_fill(struct listing *l, const struct inspection *in)
{
	size_t cursor = 0;

	*l = (struct listing){ .in = in, .first = map_new() };
	for (struct object *o; (o = objects_next(in->contents.objects, &mount_kind, &cursor));)
		*array_push(l->entries, l->n) = (struct entry){ .mount = o };
	for (size_t i = l->n; i-- > 0;) {
		const MountState *s = object_state(l->entries[i].mount, MountState);
		const struct group all = { s->namespace_, 0, 0 };
		const struct group below = { s->namespace_, s->parent, 1 };
		l->entries[i].next = first_of(l, &all);
		l->entries[i].next_below = first_of(l, &below);
		put_first(l, &all, i);
		put_first(l, &below, i);
	}
}

static void listing_done(struct listing *l)
{
	free(l->entries);
	map_free(l->first);
}

static json_object *mounts_of_json(const struct listing *l, const struct object *ns)
{
	json_object *array = json_object_new_array();
	const struct group all = { ns->id, 0, 0 };

	for (size_t i = first_of(l, &all); i; i = l->entries[i - 1].next)
		json_object_array_add(array, mount_to_json(l->in, l->entries[i - 1].mount));
	return array;
}

struct json_object *mounts_to_json(const struct inspection *in)
{
	json_object *array = json_object_new_array();
	_cleanup_(listing_done) struct listing l;
	size_t cursor = 0;

	listing_fill(&l, in);
	for (struct object *o; (o = objects_next(in->contents.objects, &mnt_ns_kind, &cursor));) {
		json_object *entry = json_object_new_object();
		json_add_number(entry, "object", o->id);
		json_add(entry, "tasks", inspection_holders_json(in, o->id));
		json_add(entry, "mounts", mounts_of_json(&l, o));
		json_object_array_add(array, entry);
	}
	return array;
}

/* ---- text ---- */

static void print_words(json_object *words, const char *before)
{
	for (size_t i = 0; i < json_object_array_length(words); i++, before = ",")
		printf("%s%s", before, json_object_get_string(json_object_array_get_idx(words, i)));
	json_object_put(words);
}

static void print_mount(const struct inspection *in, const struct object *o, unsigned depth)
{
	const MountState *s = object_state(o, MountState);
	const SuperblockState *sb = superblock_of(in, s);
	_cleanup_(free_p) char *point = text_printable(s->point.data, s->point.len);
	_cleanup_(free_p) char *root = text_printable(s->root.data, s->root.len);
	_cleanup_(free_p) char *source = text_printable(s->source.data, s->source.len);
	_cleanup_(free_p) char *type = sb ? text_printable(sb->type.data, sb->type.len)
	                                  : xstrdup("?");
	_cleanup_(free_p) char *from = strcmp(root, "/") ? xasprintf("%s[%s]", source, root)
	                                                 : xstrdup(source);
	int indent = 2 + 2 * (int)(depth < DEPTH_MAX ? depth : DEPTH_MAX);
	_cleanup_(free_p) char *external = external_of(s);
	/* as findmnt(8): a mount of what is read-only is, too */
	uint64_t attributes = s->attributes | (is_read_only(sb) ? MOUNT_ATTR_RDONLY : 0);

	printf("%*s%-*s %-22s %-9s %-10s %-12s ", indent, "", indent < 34 ? 34 - indent : 1, point,
	       from, type, class_of(sb), propagation_of(s));
	print_words(options_of(attributes), "");
	print_words(fs_options_of(sb), ",");
	if (external)
		printf(" (--external %s)", external);
	if (s->dropped_master)
		printf(" (--drop-masters: no longer of group %llu)",
		       (unsigned long long)s->dropped_master);
	puts(s->deleted ? " (root deleted)" : "");
}

/* what is on @parent, 0: the root; below each what is on it. Each once: images lie. */
static void print_below(struct listing *l, uint32_t ns, uint32_t parent, unsigned depth)
{
	const struct group below = { ns, parent, 1 };

	for (size_t i = first_of(l, &below); i && depth <= DEPTH_MAX;
	     i = l->entries[i - 1].next_below) {
		struct entry *e = &l->entries[i - 1];
		if (e->printed)
			continue;
		e->printed = true;
		print_mount(l->in, e->mount, depth);
		print_below(l, ns, e->mount->id, depth + 1);
	}
}

static void print_namespace(struct listing *l, const struct object *ns)
{
	const struct group all = { ns->id, 0, 0 };

	print_below(l, ns->id, 0, 0);
	for (size_t i = first_of(l, &all); i; i = l->entries[i - 1].next)
		if (!l->entries[i - 1].printed) /* too deep, or on each other */
			print_mount(l->in, l->entries[i - 1].mount, DEPTH_MAX);
}

void mounts_print(const struct inspection *in)
{
	_cleanup_(listing_done) struct listing l;
	size_t cursor = 0, any = 0;

	listing_fill(&l, in);
	for (struct object *ns; (ns = objects_next(in->contents.objects, &mnt_ns_kind, &cursor));
	     any++) {
		_cleanup_(free_p) char *tasks = inspection_holders_text(in, ns->id);
		printf("%smount namespace %u of %s\n", any ? "\n" : "", ns->id, tasks);
		printf("  %-32s %-22s %-9s %-10s %-12s %s\n", "TARGET", "SOURCE", "FSTYPE",
		       "RESTORED", "PROPAGATION", "OPTIONS");
		print_namespace(&l, ns);
	}
	if (!any)
		puts("all tasks are in the mount namespace that the restart is in");
}
