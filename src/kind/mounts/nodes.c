/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The root directory of a file system that is made anew and empty, and the ptmx of a devpts: they
 * are there at once, but may have been given to somebody since, or closed to others.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kind/mounts/parts.h"
#include "superblock.pb-c.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static void save_node(int root, const char *name, SuperblockState *s)
{
	SuperblockNode *node;
	struct stat st;

	if (fstatat(root, name, &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return;
	node = xmalloc(sizeof(*node));
	superblock_node__init(node);
	node->name = bytes_of_text(name);
	node->mode = st.st_mode & 07777;
	node->uid = st.st_uid;
	node->gid = st.st_gid;
	*array_push(s->nodes, s->n_nodes) = node;
}

void superblock_save_nodes(const struct mount_sb *sb, int root, SuperblockState *s)
{
	save_node(root, "", s);
	if (!strcmp(sb->type, "devpts"))
		save_node(root, "ptmx", s);
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

/* in a user namespace of our own the kernel's root, who makes them, has no name */
static bool is_id(uint32_t shown, uint32_t wanted)
{
	const uint32_t overflow = 65534; /* fs.overflowuid */

	return shown == wanted || (shown == overflow && wanted == 0);
}

static int restore_node(const SuperblockNode *node, int root, struct error *err)
{
	_cleanup_(free_p) char *name = bytes_text(&node->name);
	_cleanup_(close_p) int fd = mount_open_below(root, name, O_PATH | O_NOFOLLOW);
	char link[40];
	struct stat st;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_raise(err, errno, "open /%s of a new file system", name);
	if ((!is_id(st.st_uid, node->uid) || !is_id(st.st_gid, node->gid)) &&
	    fchownat(fd, "", node->uid, node->gid, AT_EMPTY_PATH) < 0)
		return error_raise(err, errno, "give /%s of a new file system to %u:%u", name,
		                   node->uid, node->gid);
	if ((st.st_mode & 07777) != node->mode && chmod(link, node->mode) < 0)
		return error_raise(err, errno, "give mode %o to /%s of a new file system",
		                   node->mode, name);
	return 0;
}

int superblock_restore_nodes(const SuperblockState *s, int root, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->n_nodes; i++)
		r = restore_node(s->nodes[i], root, err);
	return r < 0 ? error_trace(err, r) : 0;
}
