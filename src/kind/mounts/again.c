/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restart: overlays that the host had mounted and has no more. Engines mount one as the root of a
 * container and unmount it when that has ended; the layers stay. It is mounted again of them, for
 * the restart alone; or taken from who has it mounted, as a first restart of the same image: two
 * overlays that write to one upper layer destroy it.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/restart.h"
#include "kind/mounts/parts.h"
#include "mount/overlay.h"
#include "mount/overlay_make.h"
#include "mount/reach.h"
#include "mount/scan.h"
#include "superblock.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static int open_namespace(const struct mount_ns *ns)
{
	_cleanup_(closedir_p) DIR *dir = opendir("/proc");

	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		_cleanup_(free_p) char *path = xasprintf("/proc/%s/ns/mnt", e->d_name);
		_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
		struct stat st;
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == ns->inode)
			return take_fd(&fd);
	}
	return -1;
}

/* whether that mount shows the whole of what the anchor was of */
static bool is_anchor(const SuperblockState *s, int fd)
{
	for (size_t i = 0; i < s->n_anchors; i++) {
		const SuperblockAnchor *a = s->anchors[i];
		const struct identity id = { a->mode, a->inode, a->handle_type, a->handle };
		if (a->root.len == 1 && !a->name.len && identity_is(fd, &id))
			return true;
	}
	return false;
}

static int take_from(const struct mount_table *t, size_t line, const SuperblockState *s)
{
	const struct mount_entry *e = &t->mounts[line];
	struct error ignored = ERROR_INIT;
	int fd = -1;

	if (strcmp(e->root, "/") != 0 || e->uid_map)
		return -1;
	_cleanup_(close_p) int ns = open_namespace(&t->namespaces[e->namespace]);
	if (ns < 0 || mount_reach(t, ns, line, &fd, &ignored) < 0)
		return -1;
	/* with what is locked on it it is no clone */
	if (mount_id_of(fd) == e->id || !is_anchor(s, fd))
		close_p(&fd);
	return fd;
}

/* who has the same one mounted, in whatever namespace; -1: nobody */
static int find_twin(struct mounts *m, const struct mount_sb *sb, const SuperblockState *s)
{
	const struct mount_table none = { 0 };
	struct error ignored = ERROR_INIT;
	uint64_t unseen;

	if (!m->outside_read)
		mount_scan(&m->outside, &none, &unseen, &ignored);
	m->outside_read = true;
	for (size_t i = 0; i < m->outside.n_sbs; i++) {
		if (strcmp(m->outside.sbs[i].type, sb->type) != 0 ||
		    !sb_same_options(&m->outside.sbs[i], sb))
			continue;
		for (size_t k = MOUNT_NONE; (k = mount_of_sb(&m->outside, i, k)) != MOUNT_NONE;) {
			int fd = take_from(&m->outside, k, s);
			if (fd >= 0)
				return fd;
		}
	}
	return -1;
}

/* why there are no layers in the image */
static char *why_not_recorded(const struct mount_sb *sb)
{
	size_t n;
	struct overlay_layer *layers = overlay_layers(sb, &n);
	char *why = NULL;

	for (size_t i = 0; !why && i < n; i++)
		if (layers[i].path[0] != '/')
			why = xasprintf("it is mounted no more, and not again, since a layer was "
			                "given by a relative path, %s",
			                layers[i].path);
	overlay_free(layers, n);
	return why ? why
	           : xstrdup("it is mounted no more, and not again, since its layers were not "
	                     "under their paths at the checkpoint");
}

static char *why_not_made(const struct error *err)
{
	return err->errnum == EBUSY
	               ? xstrdup("it is mounted no more, and not again: another overlay that "
	                         "cannot be shared writes to the same upper layer")
	               : xasprintf("it is mounted no more, and not again: %s%s%s", err->cause,
	                           err->code ? "" : ": ", err->code ? "" : strerror(err->errnum));
}

/* what the host has under the paths, looked at first: @ret, or why not */
static char *make(const struct restart *r, const struct mount_sb *sb, const SuperblockState *s,
                  int own, const char *source, int *ret)
{
	_cleanup_(free_p) char *missing = superblock_missing_layer(sb, s);
	struct error reason = ERROR_INIT;

	if (missing && !r->options->files_changed_allow)
		return xasprintf("it is mounted no more, and not again: a layer of it is not "
		                 "there, or has been replaced: %s",
		                 missing);
	if (overlay_is_volatile(sb))
		return xstrdup("it is mounted no more, and not again: it was volatile, which the "
		               "kernel mounts only once");
	*ret = overlay_make_at(own, sb, source, -1, true, &reason);
	return *ret < 0 ? why_not_made(&reason) : NULL;
}

void mounts_mount_again(struct restart *r, struct mounts *m, int own, size_t sb)
{
	const SuperblockState *s = object_state(m->sbs[sb], SuperblockState);
	const struct mount_sb *want = &m->table.sbs[sb];
	size_t first = mount_of_sb(&m->table, sb, MOUNT_NONE);

	if (first == MOUNT_NONE)
		return;
	int fd = find_twin(m, want, s);
	if (fd < 0)
		m->again[sb] = s->n_layers
		                       ? make(r, want, s, own, m->table.mounts[first].source, &fd)
		                       : why_not_recorded(want);
	if (fd < 0)
		return;
	mounts_add_host(m, sb, "/", fd, &m->table.mounts[first]);
	m->anchors[m->n_anchors - 1].again = true;
}
