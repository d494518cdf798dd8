/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See content_input.h. */
#include "mount/content_input.h"

#include <string.h>

/* makes sure that there is something left: 1, or 0 at the end */
static int refill(struct content_input *in, struct error *err)
{
	const void *piece;

	if (in->left)
		return 1;
	int r = in->source->next(in->source->context, &piece, &in->left, err);
	if (r > 0)
		in->piece = piece;
	else
		in->left = 0;
	return r;
}

int content_read_bytes(struct content_input *in, uint64_t most, const char **ret, size_t *ret_size,
                       struct error *err)
{
	int r = refill(in, err);

	if (r < 0)
		return r;
	if (r == 0)
		return content_invalid(err, "the contents of a file system end too early");
	*ret = in->piece;
	*ret_size = in->left < most ? in->left : (size_t)most;
	in->piece += *ret_size;
	in->left -= *ret_size;
	in->at += *ret_size;
	return 0;
}

static int take(struct content_input *in, void *to, size_t size, struct error *err)
{
	char *at = to;

	while (size) {
		const char *from;
		size_t n;
		int r = content_read_bytes(in, size, &from, &n, err);
		if (r < 0)
			return r;
		memcpy(at, from, n);
		at += n;
		size -= n;
	}
	return 0;
}

/* text without NUL, terminated here */
static int take_text(struct content_input *in, char *to, size_t size, const char *what,
                     struct error *err)
{
	int r = take(in, to, size, err);

	to[size] = 0;
	if (r == 0 && strlen(to) != size)
		return content_invalid(err, "%s with a NUL in it", what);
	return r;
}

static bool is_zero(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i])
			return false;
	return true;
}

int content_read_header(struct content_input *in, struct error *err)
{
	struct content_header h;
	int r = take(in, &h, sizeof(h), err);

	if (r < 0)
		return r;
	if (memcmp(h.magic, CONTENT_MAGIC, sizeof(h.magic)) != 0 || h.reserved)
		return content_invalid(err, "no contents of a file system");
	if (h.version != CONTENT_VERSION)
		return error_refuse(err, CODE_image_feature,
		                    "contents of a file system in format version %u, this is %u",
		                    h.version, CONTENT_VERSION);
	return 0;
}

/* ---- entries ---- */

/* what does not apply to the type must not be there */
static bool fields_apply(const struct content_entry *e)
{
	bool device = e->type == CONTENT_CHARDEV || e->type == CONTENT_BLOCKDEV;
	bool flagged = e->type == CONTENT_FILE || e->type == CONTENT_FOLDER;

	if ((e->type == CONTENT_SYMLINK) != (e->target_size != 0))
		return false;
	if ((!device && (e->major || e->minor)) || (e->type != CONTENT_FILE && e->size))
		return false;
	return (flagged || !e->attributes) && !(e->type == CONTENT_FOLDER && e->link);
}

static bool only_link(const struct content_entry *e)
{
	struct content_entry bare = { .type = CONTENT_LINK,
		                      .folder = e->folder,
		                      .name_size = e->name_size,
		                      .link = e->link };

	return e->link && memcmp(e, &bare, sizeof(bare)) == 0;
}

static bool only_end(const struct content_entry *e)
{
	static const struct content_entry end = { .type = CONTENT_END };

	return memcmp(e, &end, sizeof(end)) == 0;
}

/* an id of -1 would mean "leave it as it is" to chown(2) */
static bool values_possible(const struct content_entry *e)
{
	return e->mode <= 07777 && e->uid != UINT32_MAX && e->gid != UINT32_MAX &&
	       e->atime_ns < 1000000000 && e->mtime_ns < 1000000000 && e->size <= INT64_MAX &&
	       e->target_size <= CONTENT_TARGET_MAX && e->n_xattrs <= CONTENT_XATTRS_MAX &&
	       !(e->attributes & ~CONTENT_ATTRIBUTES);
}

static int check_entry(const struct content_entry *e, struct error *err)
{
	bool good;

	if (e->type > CONTENT_LINK)
		return content_invalid(err, "an entry of unknown type %u", e->type);
	if (e->type == CONTENT_END)
		good = only_end(e);
	else if (e->type == CONTENT_LINK)
		good = only_link(e);
	else
		good = fields_apply(e) && values_possible(e);
	if (!good || e->name_size > CONTENT_NAME_MAX)
		return content_invalid(err, "an entry of type %u with impossible values", e->type);
	return 0;
}

static int check_name(const char *name, struct error *err)
{
	if (strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return content_invalid(err, "an entry whose name is a path");
	return 0;
}

int content_read_item(struct content_input *in, struct content_item *ret, struct error *err)
{
	struct content_entry *e = &ret->e;
	int r = take(in, e, sizeof(*e), err);

	ret->name[0] = ret->target[0] = 0;
	if (r == 0)
		r = check_entry(e, err);
	if (r == 0)
		r = take_text(in, ret->name, e->name_size, "a name", err);
	if (r == 0)
		r = check_name(ret->name, err);
	if (r == 0)
		r = take_text(in, ret->target, e->target_size, "a symbolic link", err);
	return r;
}

/* ---- what follows an entry ---- */

static int skip_padding(struct content_input *in, struct error *err)
{
	char padding[CONTENT_ALIGN];
	size_t n = (size_t)(-in->at % CONTENT_ALIGN);
	int r = take(in, padding, n, err);

	if (r == 0 && !is_zero(padding, n))
		return content_invalid(err, "padding that is not zero");
	return r;
}

int content_read_extent(struct content_input *in, uint64_t size, uint64_t at,
                        struct content_extent *ret, struct error *err)
{
	int r = take(in, ret, sizeof(*ret), err);

	if (r < 0)
		return r;
	bool unwritten = ret->size & CONTENT_UNWRITTEN;
	uint64_t bytes = ret->size & ~CONTENT_UNWRITTEN, end = unwritten ? INT64_MAX : size;
	if (ret->offset > end || bytes > end - ret->offset ||
	    (bytes ? !unwritten && ret->offset < at : unwritten || ret->offset))
		return content_invalid(err, "data outside of its file");
	return unwritten || bytes < CONTENT_ALIGN_FROM ? 0 : skip_padding(in, err);
}

/* what has a meaning on a tmpfs; nothing else may be set through an image */
static bool is_xattr_name(const char *name)
{
	static const char *const prefixes[] = { "user.", "trusted.", "security." };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			return true;
	return !strcmp(name, "system.posix_acl_access") ||
	       !strcmp(name, "system.posix_acl_default");
}

int content_read_xattr(struct content_input *in, char name[CONTENT_NAME_MAX + 1], char *value,
                       size_t *ret_size, struct error *err)
{
	struct content_xattr x;
	int r = take(in, &x, sizeof(x), err);

	if (r < 0)
		return r;
	if (x.name_size > CONTENT_NAME_MAX || x.value_size > CONTENT_XATTR_MAX)
		return content_invalid(err, "an extended attribute of %u and %u bytes", x.name_size,
		                       x.value_size);
	r = take_text(in, name, x.name_size, "an extended attribute's name", err);
	if (r == 0 && !is_xattr_name(name))
		return content_invalid(err, "an extended attribute of no namespace");
	*ret_size = x.value_size;
	return r < 0 ? r : take(in, value, x.value_size, err);
}

int content_read_end(struct content_input *in, struct error *err)
{
	int r;

	while ((r = refill(in, err)) > 0) {
		if (!is_zero(in->piece, in->left))
			return content_invalid(err, "something after the contents' end");
		in->left = 0;
	}
	return r;
}
