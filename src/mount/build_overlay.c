/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * P4 for overlays, when what is below them has been filled. The mounts that the paths of the layers
 * lead through are put together in the yard as they were, without anything else; in there, as root
 * directory, the overlay is made of its own options. It keeps clones of what it needs.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "host/helper.h"
#include "mount/build_parts.h"
#include "mount/overlay.h"
#include "mount/overlay_make.h"
#include "mount/superblock.h"
#include "util/alloc.h"
#include "util/cleanup.h"

struct scratch {
	const struct mount_build *b;
	const struct mount_sb *sb;
	const char *source;
	int *fds;  /* per mount of sb->through: detached, then attached */
	int place; /* a directory of the yard to mount on */
	int owner; /* the user namespace that it belongs to; -1: ours */
};

static int owner_of(const struct mount_build *b, size_t sb)
{
	return b->in.sb_owner_fds ? b->in.sb_owner_fds[sb] : -1;
}

static size_t index_in(const struct mount_sb *sb, size_t mount)
{
	for (size_t i = 0; i < sb->n_through; i++)
		if (sb->through[i] == mount)
			return i;
	return MOUNT_NONE;
}

/* places first, as long as nothing is on them */
static int attach(const struct scratch *s, size_t i, struct error *err)
{
	const struct mount_entry *m = &s->b->t->mounts[s->sb->through[i]];
	size_t parent = i ? index_in(s->sb, m->parent) : MOUNT_NONE;
	int r;

	if (i && (parent == MOUNT_NONE || parent >= i))
		return error_raise(err, EBADMSG, "mounts of an overlay are not in order");
	_cleanup_(close_p) int place = i ? build_open_below(s->fds[parent], m->rel)
	                                 : fcntl(s->place, F_DUPFD_CLOEXEC, 3);
	if (place < 0 || move_mount(s->fds[i], "", place, "",
	                            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		r = error_raise(err, errno, "put together what an overlay is made of");
	else
		return 0;
	return build_context(s->b, s->sb->through[i], err, r);
}

static int assemble(const struct scratch *s, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->sb->n_through; i++) {
		r = build_clone_plain(s->b, s->sb->through[i], &s->fds[i], err);
		if (r == 0)
			r = attach(s, i, err);
	}
	return r;
}

/* ---- in there ---- */

/* whether it is of a file system that has just been filled: of nothing of the host's */
static bool is_copy(const struct mount_build *b, int fd)
{
	struct stat st, root;

	for (size_t i = 0; i < b->n_origins; i++)
		if (b->t->sbs[b->origins[i].sb].class == MOUNT_CONTENT && b->origin[i] >= 0 &&
		    fstat(fd, &st) == 0 && fstat(b->origin[i], &root) == 0 &&
		    st.st_dev == root.st_dev)
			return true;
	return false;
}

/*
 * The mark of a "volatile" overlay, which forbids the next mount, is taken off what has been
 * copied, and is whole.
 */
static void remove_mark(const struct mount_build *b, const char *work)
{
	_cleanup_(free_p) char *path = xasprintf("%s/work/incompat", work);
	_cleanup_(close_p) int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || !is_copy(b, fd))
		return;
	_cleanup_(close_p) int mark = mount_open_below(fd, "volatile", O_PATH | O_DIRECTORY);
	unlinkat(mark, "dirty", 0);
	unlinkat(fd, "volatile", AT_REMOVEDIR);
}

static void remove_marks(const struct scratch *s)
{
	size_t n;
	struct overlay_layer *layers = overlay_layers(s->sb, &n);

	for (size_t i = 0; overlay_is_volatile(s->sb) && i < n; i++)
		if (layers[i].role == OVERLAY_WORK)
			remove_mark(s->b, layers[i].path);
	overlay_free(layers, n);
}

static int make_inside(void *arg, struct error *err)
{
	const struct scratch *s = arg;
	int r;

	if (fchdir(s->fds[0]) < 0 || chroot(".") < 0 || fchdir(s->place) < 0)
		return error_raise(err, errno, "go to where an overlay was made");
	remove_marks(s);
	r = s->owner < 0 ? 0 : mount_superblock_become(s->owner, "overlay", err);
	if (r == 0)
		r = overlay_make(s->sb, s->source, err);
	return r < 0 ? error_trace(err, r) : r;
}

/* ---- layers that nobody could see ---- */

/* @path below @root, and all above it */
static int make_folders(int root, const char *path, struct error *err)
{
	_cleanup_(free_p) char *part = xstrdup(path);

	for (char *end = part + 1; *end; end++) {
		end += strcspn(end, "/");
		char next = *end;
		*end = 0;
		if (mkdirat(root, part + 1, 0755) < 0 && errno != EEXIST)
			return error_raise(err, errno, "make the layer %s of an overlay", path);
		*end = next;
		if (!next)
			break;
	}
	return 0;
}

int mount_build_layers(struct mount_build *b, size_t sb, int *ret_fd, struct error *err)
{
	/* limited so that it can be limited again when it has been filled */
	char *options[] = { (char *)"size=1048576g", (char *)"nr_inodes=1000000000" };
	const struct mount_sb tmpfs = {
		.type = (char *)"tmpfs", .class = MOUNT_CONTENT, .options = options, .n_options = 2
	};
	struct layers *l = &b->layers[sb];
	const char *top = NULL;
	size_t n;
	struct overlay_layer *layers = overlay_layers(&b->t->sbs[sb], &n);
	int r = mount_superblock_make(&tmpfs, "layers", -1, owner_of(b, sb), &l->root, err);

	for (size_t i = 0; r == 0 && i < n; i++) {
		r = overlay_path_valid(layers[i].path)
		            ? make_folders(l->root, layers[i].path, err)
		            : error_raise(err, EBADMSG, "a layer of an overlay");
		if (layers[i].role == OVERLAY_UPPER || !top)
			top = layers[i].path;
	}
	if (r == 0 && !top)
		r = error_raise(err, EBADMSG, "an overlay without layers");
	if (r == 0)
		l->top = mount_open_below(l->root, top + 1, O_RDONLY | O_DIRECTORY);
	if (r == 0 && l->top < 0)
		r = error_raise(err, errno, "open the layer %s of an overlay", top);
	overlay_free(layers, n);
	*ret_fd = l->top;
	return r < 0 ? error_trace(err, r) : 0;
}

/* as much is left as there was */
static int limit_size(const struct mount_sb *sb, int root, struct error *err)
{
	_cleanup_(close_p) int context = fspick(root, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
	struct statfs fs;
	char size[24] = "0", inodes[24] = "0";

	if (context < 0 || fstatfs(root, &fs) < 0)
		return error_raise(err, errno, "look at the layers of an overlay");
	uint64_t used = (fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
	if (sb->free_bytes != UINT64_MAX)
		snprintf(size, sizeof(size), "%llu",
		         (unsigned long long)(used + sb->free_bytes % (1ull << 50)));
	if (sb->free_inodes != UINT64_MAX)
		snprintf(inodes, sizeof(inodes), "%llu",
		         (unsigned long long)(fs.f_files - fs.f_ffree +
		                              sb->free_inodes % (1u << 30)));
	if (fsconfig(context, FSCONFIG_SET_STRING, "size", size, 0) < 0 ||
	    fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", inodes, 0) < 0 ||
	    fsconfig(context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		return error_raise(err, errno, "limit the size of the layers of an overlay");
	return 0;
}

static int attach_layers(const struct scratch *s, int root, struct error *err)
{
	if (root < 0)
		return error_raise(err, EBADMSG, "an overlay whose contents have not come");
	if (move_mount(root, "", s->place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
	    0)
		return error_raise(err, errno, "attach the layers of an overlay");
	return limit_size(s->sb, root, err);
}

/* ---- the order ---- */

static int make_one(const struct mount_build *b, size_t origin, struct error *err)
{
	const struct mount_origin *o = &b->origins[origin];
	struct scratch s = { b, &b->t->sbs[o->sb], o->source, NULL, -1, owner_of(b, o->sb) };
	_cleanup_(free_p) char *name = xasprintf("/overlay-%zu", origin);
	_cleanup_(free_p) char *below = xasprintf("%s/x", name);
	int r;

	s.fds = xmalloc((s.sb->n_through + 1) * sizeof(*s.fds));
	memset(s.fds, 0xff, (s.sb->n_through + 1) * sizeof(*s.fds));
	s.place = mkdir(name, 0700) < 0 || mkdir(below, 0700) < 0
	                  ? -1
	                  : open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s.place < 0)
		r = error_raise(err, errno, "make a place to mount on");
	else if (s.sb->flattened)
		r = attach_layers(&s, s.fds[0] = fcntl(b->layers[o->sb].root, F_DUPFD_CLOEXEC, 3),
		                  err);
	else
		r = assemble(&s, err);
	if (r == 0)
		r = helper_run(make_inside, &s, 0, err);
	if (r >= 0) {
		b->origin[origin] = r;
		r = 0;
	}
	umount2(name, MNT_DETACH);
	for (size_t i = 0; i < s.sb->n_through + s.sb->flattened; i++)
		close_p(&s.fds[i]);
	close_p(&s.place);
	free(s.fds);
	return r == 0 ? build_attach_origin(b, origin, err) : r;
}

/* of what the host has under the paths, which has been looked at before (kind/mounts) */
static int make_outside(const struct mount_build *b, size_t origin, struct error *err)
{
	const struct mount_origin *o = &b->origins[origin];
	int fd = overlay_make_at(b->home, &b->t->sbs[o->sb], o->source, owner_of(b, o->sb), false,
	                         err);

	if (fd < 0)
		return error_trace(err, fd);
	b->origin[origin] = fd;
	return build_attach_origin(b, origin, err);
}

/* an overlay may be made of overlays: those first */
static int make_below(const struct mount_build *b, size_t origin, bool *busy, struct error *err)
{
	const struct mount_sb *sb = &b->t->sbs[b->origins[origin].sb];
	int r = 0;

	if (b->origin[origin] >= 0 || sb->class != MOUNT_COMPOSITE || b->origins[origin].anchor)
		return 0;
	if (busy[origin] || (!sb->n_through && !sb->flattened && !sb->outside))
		return error_raise(err, EBADMSG, "an overlay is made of itself or of nothing");
	busy[origin] = true;
	for (size_t i = 0; r == 0 && i < sb->n_through; i++)
		r = make_below(b, b->origin_of[sb->through[i]], busy, err);
	if (r == 0)
		r = sb->outside ? make_outside(b, origin, err) : make_one(b, origin, err);
	if (r < 0)
		error_object(err, "overlay '%s'", b->origins[origin].source);
	return r;
}

int build_overlays(void *build, struct error *err)
{
	const struct mount_build *b = build;
	_cleanup_(free_p) bool *busy = xcalloc(b->n_origins + 1, sizeof(*busy));
	int r = build_enter(*b->yard, err);

	for (size_t i = 0; r == 0 && i < b->n_origins; i++)
		r = make_below(b, i, busy, err);
	return r < 0 ? error_trace(err, r) : 0;
}
