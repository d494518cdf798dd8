/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the layers of an overlay are. See overlay.h. */
#include "mount/overlay.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "host/enter.h"
#include "host/helper.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define SYMLINKS_MAX 40 /* as the kernel: MAXSYMLINKS */

/* ---- what the options say ---- */

static void add_layer(struct overlay_layer **layers, size_t *n, enum overlay_role role,
                      const char *text, size_t size)
{
	struct overlay_layer *l = array_push(*layers, *n);

	l->role = role;
	l->path = xstrndup(text, size);
}

/* a backslash makes the next character an ordinary one; in place */
static void unescape(char *text)
{
	char *out = text;

	for (const char *p = text; *p; p++) {
		if (*p == '\\' && p[1])
			p++;
		*out++ = *p;
	}
	*out = 0;
}

/* "lower:lower::data": separated by one colon or two */
static void add_lowers(struct overlay_layer **layers, size_t *n, const char *text)
{
	while (*text) {
		size_t size = 0;
		while (text[size] && text[size] != ':')
			size += text[size] == '\\' && text[size + 1] ? 2 : 1;
		if (size) {
			add_layer(layers, n, OVERLAY_LOWER, text, size);
			unescape((*layers)[*n - 1].path);
		}
		text += size + (text[size] == ':');
	}
}

static const char *value_of(const char *option, const char *name)
{
	size_t size = strlen(name);

	return strncmp(option, name, size) ? NULL : option + size;
}

struct overlay_layer *overlay_layers(const struct mount_sb *sb, size_t *ret_n)
{
	struct overlay_layer *layers = NULL;
	size_t n = 0;

	for (size_t i = 0; i < sb->n_options; i++) {
		const char *option = sb->options[i], *value;
		if ((value = value_of(option, "lowerdir="))) {
			add_lowers(&layers, &n, value);
		} else if ((value = value_of(option, "lowerdir+=")) ||
		           (value = value_of(option, "datadir+="))) {
			add_layer(&layers, &n, OVERLAY_LOWER, value, strlen(value));
		} else if ((value = value_of(option, "upperdir=")) ||
		           (value = value_of(option, "workdir="))) {
			add_layer(&layers, &n, option[0] == 'u' ? OVERLAY_UPPER : OVERLAY_WORK,
			          value, strlen(value));
			unescape(layers[n - 1].path);
		}
	}
	*ret_n = n;
	return layers;
}

void overlay_free(struct overlay_layer *layers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(layers[i].path);
	free(layers);
}

bool overlay_is_volatile(const struct mount_sb *sb)
{
	const char *fsync = mount_sb_option(sb, "fsync"); /* what newer kernels show */

	return mount_sb_option(sb, "volatile") || (fsync && !strcmp(fsync, "volatile"));
}

/* ---- where the paths lead, by a helper in the namespace ---- */

struct look {
	const struct mount_table *t;
	int nsfd;
	size_t ns;
	const struct overlay_layer *layers;
	size_t n_layers;
	int root;      /* of the overlay */
	int out;       /* ids of mounts that were passed, as many as there were */
	uint64_t base; /* the mount whose root the paths are from */
	size_t failed; /* the layer that leads nowhere */
	bool top_seen; /* the top layer is under its path: others can see it */
};

static int note(const struct look *l, const char *path, int *budget);

/* where the symbolic link at @path leads, every step of it */
static int note_link(const struct look *l, const char *path, int fd, int *budget)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);

	if (n <= 0 || --*budget < 0)
		return -1;
	target[n] = 0;
	if (target[0] == '/')
		return note(l, target, budget);
	_cleanup_(free_p) char *joined = xasprintf("%.*s/%s", (int)(strrchr(path, '/') - path),
	                                           path, target);
	return note(l, joined, budget);
}

/* the mount that a path leads to, and those on the way; -1: it leads nowhere */
static int note(const struct look *l, const char *path, int *budget)
{
	_cleanup_(free_p) char *prefix = xstrdup(path);

	for (size_t i = 0, size = strlen(path); i < size; i++) {
		if (path[i + 1] && path[i + 1] != '/')
			continue;
		prefix[i + 1] = 0;
		_cleanup_(close_p) int fd = open(prefix, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		uint64_t id = fd < 0 ? 0 : mount_id_of(fd);
		struct stat st;
		if (!id || fstat(fd, &st) < 0 || write(l->out, &id, sizeof(id)) != sizeof(id))
			return -1;
		if (S_ISLNK(st.st_mode) && note_link(l, prefix, fd, budget) < 0)
			return -1;
		prefix[i + 1] = path[i + 1];
	}
	return 0;
}

/* then the overlay shows inode numbers of what is below */
static bool on_one_filesystem(const struct look *l, dev_t device)
{
	struct stat st;

	for (size_t i = 0; i < l->n_layers; i++)
		if (stat(l->layers[i].path, &st) < 0 || st.st_dev != device)
			return false;
	return true;
}

/* whether what is on top is what the root of the overlay shows */
static bool is_top(const struct look *l, const struct overlay_layer *layer)
{
	struct stat a, b; /* both as they are seen from here, ids in particular */

	return fstat(l->root, &a) == 0 && stat(layer->path, &b) == 0 && S_ISDIR(b.st_mode) &&
	       a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid &&
	       a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_ctim.tv_nsec == b.st_ctim.tv_nsec &&
	       a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec &&
	       (a.st_ino == b.st_ino || !on_one_filesystem(l, b.st_dev));
}

static const struct overlay_layer *top_layer(const struct look *l)
{
	for (size_t i = 0; i < l->n_layers; i++)
		if (l->layers[i].role == OVERLAY_UPPER)
			return &l->layers[i];
	return l->layers;
}

/* whether all paths lead somewhere, from the root directory that this process has now */
static bool leads(struct look *l)
{
	l->top_seen |= is_top(l, top_layer(l));
	if (ftruncate(l->out, 0) < 0 || lseek(l->out, 0, SEEK_SET) < 0)
		return false;
	for (size_t i = 0; i < l->n_layers; i++) {
		int budget = SYMLINKS_MAX;
		l->failed = i;
		if (l->layers[i].path[0] != '/' || note(l, l->layers[i].path, &budget) < 0)
			return false;
	}
	l->failed = (size_t)(top_layer(l) - l->layers);
	return is_top(l, top_layer(l));
}

/* as from the root of a mount: where somebody has taken it as root later, or another root then */
static bool leads_from(struct look *l, const struct mount_entry *m)
{
	_cleanup_(close_p) int fd = open(m->point, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	l->base = m->id;
	return fd >= 0 && mount_id_of(fd) == m->id && fchdir(fd) == 0 && chroot(".") == 0 &&
	       leads(l);
}

static int look(void *arg, struct error *err)
{
	struct look *l = arg;
	const struct mount_ns *ns = &l->t->namespaces[l->ns];

	if (namespace_enter(l->nsfd, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter a mount namespace");
	_cleanup_(close_p) int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	l->base = root < 0 ? 0 : mount_id_of(root);
	if (leads(l))
		return 1;
	size_t failed = l->failed;
	for (size_t i = ns->first; i < ns->first + ns->n; i++) {
		const struct mount_entry *m = &l->t->mounts[i];
		enum mount_class class = l->t->sbs[m->sb].class;
		if (class != MOUNT_CONTENT && class != MOUNT_EXTERNAL && class != MOUNT_COMPOSITE)
			continue;
		if (leads_from(l, m))
			return 1;
		if (fchdir(root) < 0 || chroot(".") < 0)
			return error_raise(err, errno, "go back to the root directory");
	}
	l->failed = failed;
	return 0;
}

/* ---- the mounts that are needed ---- */

static bool has(const struct mount_sb *sb, size_t mount)
{
	for (size_t i = 0; i < sb->n_through; i++)
		if (sb->through[i] == mount)
			return true;
	return false;
}

/* it and all above it up to the first; false: it is not below that */
static bool add_chain(const struct mount_table *t, struct mount_sb *sb, size_t mount)
{
	bool ok = mount != MOUNT_NONE;

	if (ok && !has(sb, mount)) {
		ok = add_chain(t, sb, t->mounts[mount].parent);
		if (ok)
			*array_push(sb->through, sb->n_through) = mount;
	}
	return ok;
}

static int take_ids(struct mount_table *t, struct mount_sb *sb, const struct look *l,
                    struct error *err)
{
	size_t base = mount_table_find(t, l->base);
	uint64_t id;

	if (base == MOUNT_NONE)
		return error_raise(err, ENOENT, "the mount that an overlay's paths are from");
	*array_push(sb->through, sb->n_through) = base;
	for (off_t at = 0; pread(l->out, &id, sizeof(id), at) == sizeof(id); at += 8)
		if (!add_chain(t, sb, mount_table_find(t, id)))
			return error_refuse(err, CODE_mount_overlay,
			                    "the path of a layer leads through a mount that "
			                    "is not seen in its namespace");
	return 0;
}

/* the paths of layers, as directories of one new file system */
static bool can_be_flattened(const struct look *l)
{
	for (size_t i = 0; i < l->n_layers; i++) {
		const char *path = l->layers[i].path;
		if (!overlay_path_valid(path))
			return false;
		for (size_t j = 0; j < l->n_layers; j++)
			if (i != j && mount_below(l->layers[j].path, path))
				return false;
	}
	return true;
}

bool overlay_path_valid(const char *path)
{
	for (const char *p = path; *p; p += strcspn(p, "/")) {
		if (*p++ != '/' || *p == '/' || !*p)
			return false;
		size_t size = strcspn(p, "/");
		if ((size == 1 && *p == '.') || (size == 2 && !strncmp(p, "..", 2)))
			return false;
	}
	return *path != 0;
}

static int look_at_home(void *arg, struct error *err)
{
	struct look *l = arg;

	return leads(l);
}

/* whatever path it is made from: symlinks are followed there as they were */
static bool paths_are_valid(const struct look *l)
{
	bool ret = l->n_layers != 0;

	for (size_t i = 0; i < l->n_layers; i++)
		ret &= overlay_path_valid(l->layers[i].path);
	return ret;
}

bool overlay_is_at_home(const struct mount_sb *sb, int root)
{
	struct look l = { .root = root, .out = memfd_create("mounts", MFD_CLOEXEC) };
	struct overlay_layer *layers = overlay_layers(sb, &l.n_layers);
	struct error ignored = ERROR_INIT;

	l.layers = layers;
	bool ret = l.out >= 0 && paths_are_valid(&l) &&
	           helper_run(look_at_home, &l, sizeof(l), &ignored) > 0;
	overlay_free(layers, l.n_layers);
	close_p(&l.out);
	return ret;
}

/*
 * Unmounted in its namespace since, as whoever made the container did with all that was not below
 * its root. The host may have the layers where they were.
 */
static int flatten(struct mount_sb *sb, struct look *l, struct error *err)
{
	struct statfs fs = { 0 };
	int r = helper_run(look_at_home, l, sizeof(*l), err);

	if (r > 0) {
		sb->outside = paths_are_valid(l);
		return sb->outside;
	}
	if (r == 0 && fstatfs(l->root, &fs) < 0)
		r = error_raise(err, errno, "ask how much room an overlay has");
	if (r < 0 || l->top_seen || !can_be_flattened(l))
		return r;
	sb->flattened = true;
	sb->free_bytes = fs.f_blocks ? (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize : UINT64_MAX;
	sb->free_inodes = fs.f_files ? fs.f_ffree : UINT64_MAX;
	return 1;
}

static int resolve(struct mount_table *t, struct look *l, struct mount_sb *sb, struct error *err)
{
	int r;

	l->out = memfd_create("mounts", MFD_CLOEXEC);
	if (l->out < 0)
		return error_raise(err, errno, "make room for mounts");
	r = helper_run(look, l, sizeof(*l), err);
	if (r > 0)
		r = take_ids(t, sb, l, err);
	else if (r == 0 && (r = flatten(sb, l, err)) == 0) {
		r = error_refuse(err, CODE_mount_overlay,
		                 "a layer of an overlay is not to be found under its path: %s",
		                 l->layers[l->failed].path);
		error_hint(err, "what it is on must stay mounted where it was");
	}
	close_p(&l->out);
	return r < 0 ? r : 0;
}

int overlay_resolve(struct mount_table *t, size_t ns, int nsfd, size_t sb, int root,
                    struct error *err)
{
	struct look l = { .t = t, .nsfd = nsfd, .ns = ns, .root = root };
	struct overlay_layer *layers = overlay_layers(&t->sbs[sb], &l.n_layers);
	int r;

	l.layers = layers;
	if (!l.n_layers)
		r = error_refuse(err, CODE_mount_overlay, "an overlay shows no layers");
	else
		r = resolve(t, &l, &t->sbs[sb], err);
	overlay_free(layers, l.n_layers);
	return r < 0 ? error_trace(err, r) : 0;
}
