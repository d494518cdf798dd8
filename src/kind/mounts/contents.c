/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is in file systems that are made anew (tmpfs, ramfs): a stream per superblock. */
#include <string.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "core/stream.h"
#include "kind/mount.h"
#include "kind/mounts/parts.h"
#include "mount/build.h"
#include "mount/content.h"
#include "util/cleanup.h"

/* ---- checkpoint ---- */

/* a mount that shows all of it */
static size_t whole_mount(const struct mount_table *t, size_t sb)
{
	for (size_t i = 0; i < t->n_mounts; i++)
		if (t->mounts[i].sb == sb && !strcmp(t->mounts[i].root, "/") &&
		    !t->mounts[i].deleted)
			return i;
	return MOUNT_NONE;
}

static bool has_contents(const struct mount_table *t, size_t sb)
{
	return t->sbs[sb].class == MOUNT_CONTENT && !t->sbs[sb].dead;
}

int superblock_check_contents(struct checkpoint *c, size_t sb, struct error *err)
{
	const struct mount_table *t = &c->mounts->table;

	if (!has_contents(t, sb) || whole_mount(t, sb) != MOUNT_NONE)
		return 0;
	return error_refuse(err, CODE_mount_unreachable,
	                    "only parts of this %s are mounted: the whole is not to be reached",
	                    t->sbs[sb].type);
}

int superblock_save_bulk(struct checkpoint *c, struct object *object, struct error *err)
{
	struct mounts *m = c->mounts;
	size_t line = mounts_index(m, object);
	int root;

	if (!has_contents(&m->table, line))
		return 0;
	int r = mount_reached(c, m->mounts[whole_mount(&m->table, line)], &root, err);
	if (r < 0)
		return error_trace(err, r);
	struct stream_out *out = stream_out_new(c->image, object->id, 0, c->options->progress);
	const struct byte_sink sink = stream_out_sink(out);
	r = content_save(root, &sink, NULL, err);
	if (r == 0)
		r = stream_out_end(out, err);
	stream_out_free(out);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

int superblock_fill(struct restart *r, struct mounts *m, struct object *object, struct error *err)
{
	size_t line = mounts_index(m, object);

	if (!has_contents(&m->table, line))
		return 0;
	struct stream_in *in = stream_in_new(&r->image, object->id, 0, r->options->progress);
	const struct byte_source source = stream_in_source(in);
	int e = content_restore(mount_build_sb(m->build, line), &source, &m->contents[line], err);
	r->memory_bytes += stream_in_bytes(in);
	stream_in_free(in);
	return e < 0 ? error_trace(err, e) : 0;
}

int superblock_settle(struct mounts *m, struct error *err)
{
	for (size_t i = 0; i < m->n_sbs; i++) {
		int e = m->contents[i] ? content_settle(m->contents[i], err) : 0;
		if (e < 0)
			return error_trace(err, e);
	}
	return 0;
}
