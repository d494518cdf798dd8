/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The root directory of a file system that is made anew and empty, and the ptmx of a devpts: they
 * are there at once, but may have been given to somebody since, or closed to others.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kind/mounts/parts.h"
#include "mount/content_folders.h"
#include "superblock.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

static int save_node(int root, const char *name, int owner, SuperblockState *s, struct error *err)
{
	const struct folders as = { .owner = owner };
	_cleanup_(close_p) int fd = folders_openat(&as, root, *name ? name : ".", O_PATH, 0);
	SuperblockNode *node;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_raise(err, errno, "look at /%s of a new file system", name);
	node = xmalloc(sizeof(*node));
	superblock_node__init(node);
	node->name = bytes_of_text(name);
	node->mode = st.st_mode & 07777;
	node->uid = st.st_uid;
	node->gid = st.st_gid;
	*array_push(s->nodes, s->n_nodes) = node;
	return 0;
}

int superblock_save_nodes(const struct mounts *m, size_t line, SuperblockState *s,
                          struct error *err)
{
	int owner = mounts_owner_fd(m, mount_of_sb(&m->table, line, MOUNT_NONE));
	int r = save_node(m->roots[line], "", owner, s, err);

	if (r == 0 && !strcmp(m->table.sbs[line].type, "devpts"))
		r = save_node(m->roots[line], "ptmx", owner, s, err);
	return r < 0 ? error_trace(err, r) : 0;
}

bool superblock_nodes_valid(const SuperblockState *s)
{
	if (s->n_nodes && s->class_ != SUPERBLOCK_STATE__CLASS__INSTANCE)
		return false;
	for (size_t i = 0; i < s->n_nodes; i++) {
		const ProtobufCBinaryData *name = &s->nodes[i]->name;
		bool ptmx = name->len == 4 && !memcmp(name->data, "ptmx", 4);
		if (s->nodes[i]->mode & ~07777u || (name->len && !ptmx))
			return false;
	}
	return true;
}

static int restore_node(const SuperblockNode *node, int root, struct error *err)
{
	_cleanup_(free_p) char *name = bytes_text(&node->name);
	_cleanup_(close_p) int fd = mount_open_below(root, name, O_PATH | O_NOFOLLOW);

	int r = fd < 0 ? -errno : file_give(fd, node->uid, node->gid, node->mode);
	if (r < 0)
		return error_raise(err, -r, "give /%s of a new file system to %u:%u", name,
		                   node->uid, node->gid);
	return 0;
}

int superblock_restore_nodes(const SuperblockState *s, int root, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->n_nodes; i++)
		r = restore_node(s->nodes[i], root, err);
	return r < 0 ? error_trace(err, r) : 0;
}
