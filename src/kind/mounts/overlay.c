/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: overlays, and what they are made of. */
#include <string.h>

#include "kind/mounts/parts.h"
#include "mount/overlay.h"

/* whether a layer is, or may be, on a file system that is made anew */
static bool is_copied(const struct mount_table *t, const struct mount_sb *sb)
{
	bool ret = false;

	for (size_t i = 0; i < sb->n_through; i++)
		ret |= t->sbs[t->mounts[sb->through[i]].sb].class != MOUNT_EXTERNAL;
	return ret;
}

static bool is_on(const struct mount_sb *sb, const char *option)
{
	const char *value = mount_sb_option(sb, option);

	return value && !strcmp(value, "on");
}

static int refuse_relative(const struct mount_sb *sb, struct error *err)
{
	size_t n;
	struct overlay_layer *layers = overlay_layers(sb, &n);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		if (layers[i].path[0] != '/')
			r = error_refuse(err, CODE_mount_overlay,
			                 "a layer of an overlay was given by a relative path: %s",
			                 layers[i].path);
	overlay_free(layers, n);
	return r;
}

int superblock_judge_overlay(struct mounts *m, size_t line, struct error *err)
{
	struct mount_sb *sb = &m->table.sbs[line];
	size_t ns = m->table.mounts[mount_of_sb(&m->table, line, MOUNT_NONE)].namespace;
	int r = refuse_relative(sb, err);

	if (r == 0)
		r = overlay_resolve(&m->table, ns, m->nsfds[ns], line, m->roots[line], err);
	if (r == 0 && is_copied(&m->table, sb) && (is_on(sb, "index") || is_on(sb, "nfs_export")))
		r = error_refuse(err, CODE_mount_overlay,
		                 "index=on or nfs_export=on over layers that are made anew: it "
		                 "depends on their inode numbers");
	if (r == 0 && overlay_is_volatile(sb) && !is_copied(&m->table, sb))
		r = error_refuse(err, CODE_mount_overlay,
		                 "it is volatile, which the kernel mounts only once");
	return r;
}
