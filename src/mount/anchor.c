/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What mounts are cloned from, see build.h. An anchor serves for what is below its root: it is
 * looked for under each directory on the way to what a mount shows.
 */
#include <stdlib.h>
#include <string.h>

#include "mount/build.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

struct anchor_index {
	const struct mount_anchor *list;
	struct map *by_root; /* superblock and root -> the first + 1 */
	size_t *next;        /* per anchor: another one with the same, + 1 */
	struct map *by_tree; /* the mount that it is for alone -> the anchor */
};

/* the superblock, then the root, of which "/" is the empty one */
struct root_key {
	char *text;
	size_t size;
};

static void root_key_done(struct root_key *key)
{
	free(key->text);
}

static struct root_key root_key_new(size_t sb, const char *root)
{
	size_t size = strcmp(root, "/") ? strlen(root) : 0;
	struct root_key key = { xmalloc(sizeof(sb) + size), sizeof(sb) + size };

	memcpy(key.text, &sb, sizeof(sb));
	memcpy(key.text + sizeof(sb), root, size);
	return key;
}

struct anchor_index *anchor_index_new(const struct mount_anchor *anchors, size_t n)
{
	struct anchor_index *index = xcalloc(1, sizeof(*index));

	*index = (struct anchor_index){ anchors, map_new(), xcalloc(n + 1, sizeof(*index->next)),
		                        map_new() };
	for (size_t i = n; i-- > 0;) {
		const struct mount_anchor *a = &anchors[i];
		_cleanup_(root_key_done) struct root_key key = root_key_new(a->sb, a->root);
		if (a->tree_of) {
			map_put(index->by_tree, &a->tree_of, sizeof(a->tree_of), (void *)a);
			continue;
		}
		index->next[i] = (uintptr_t)map_get(index->by_root, key.text, key.size);
		map_put(index->by_root, key.text, key.size, (void *)(uintptr_t)(i + 1));
	}
	return index;
}

void anchor_index_free(struct anchor_index *index)
{
	if (!index)
		return;
	map_free(index->by_root);
	map_free(index->by_tree);
	free(index->next);
	free(index);
}

static const struct mount_anchor *tree_of(const struct anchor_index *index,
                                          const struct mount_entry *m)
{
	return map_get(index->by_tree, &m, sizeof(m));
}

static int rank(const struct mount_anchor *a, const struct mount_entry *m)
{
	if (a->supplied)
		return !a->name || (m->external && !strcmp(a->name, m->external)) ? 3 : 0;
	return a->source && !strcmp(a->source, m->source) ? 2 : 1;
}

/* of those with one root the better; of two of the same rank that before, or what was found */
static const struct mount_anchor *better_of(const struct anchor_index *index,
                                            const struct root_key *key, size_t size,
                                            const struct mount_entry *m,
                                            const struct mount_anchor *best)
{
	size_t i = (uintptr_t)map_get(index->by_root, key->text, size);
	const struct mount_anchor *found = NULL;

	for (; i; i = index->next[i - 1]) {
		const struct mount_anchor *a = &index->list[i - 1];
		if (!found || rank(a, m) > rank(found, m))
			found = a;
	}
	return found && (!best || rank(found, m) > rank(best, m)) ? found : best;
}

const struct mount_anchor *mount_anchor_of(const struct anchor_index *index,
                                           const struct mount_entry *m)
{
	_cleanup_(root_key_done) struct root_key key = root_key_new(m->sb, m->root);
	const struct mount_anchor *best = tree_of(index, m);

	if (best)
		return best;
	/* the longest first */
	for (size_t size = key.size; size >= sizeof(m->sb); size--)
		if (size == key.size || key.text[size] == '/')
			best = better_of(index, &key, size, m, best);
	return best;
}

bool mount_may_be_hosts(const struct mount_sb *sb)
{
	return sb->class == MOUNT_EXTERNAL || sb->class == MOUNT_SINGLETON ||
	       (sb->class == MOUNT_KEYED && !sb->key);
}

size_t mount_anchor_tree(const struct anchor_index *index, const struct mount_table *t,
                         size_t mount)
{
	size_t top = mount;

	while (t->mounts[top].locked && t->mounts[top].parent != MOUNT_NONE) {
		if (!mount_may_be_hosts(&t->sbs[t->mounts[top].sb]))
			return MOUNT_NONE;
		top = t->mounts[top].parent;
	}
	return top != mount && tree_of(index, &t->mounts[top]) ? top : MOUNT_NONE;
}
