/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: which files tasks of the set have open, for who may not use map_files. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/checkpoint.h"
#include "core/kept.h"
#include "kind/mm/mm.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

struct inode_key {
	uint64_t dev, ino;
};

static void note_table(struct map *files, const struct task *task)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/task/%d/fd", task->tgid, task->tid);
	_cleanup_(closedir_p) DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct statx sx;
		if (entry->d_name[0] == '.' ||
		    statx(dirfd(dir), entry->d_name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
		          STATX_INO, &sx) < 0)
			continue;
		const struct inode_key key = { makedev(sx.stx_dev_major, sx.stx_dev_minor),
			                       sx.stx_ino };
		if (!map_get(files, &key, sizeof(key)))
			map_put(files, &key, sizeof(key), xasprintf("%s/%s", path, entry->d_name));
	}
}

static void done(void *data)
{
	size_t cursor = 0;

	for (char *path; (path = map_next(data, &cursor));)
		free(path);
	map_free(data);
}

static const struct kept_type open_files_type = { .done = done };

char *mm_find_descriptor(struct checkpoint *c, dev_t dev, ino_t ino)
{
	const struct inode_key key = { dev, ino };

	struct map *files = kept_find(c->kept, &open_files_type);

	if (!files) {
		files = kept_add(&c->kept, &open_files_type, map_new());
		for (size_t i = 0; i < c->n_tasks; i++)
			if (c->tasks[i]->speaks)
				note_table(files, c->tasks[i]);
	}
	const char *path = map_get(files, &key, sizeof(key));
	return path ? xstrdup(path) : NULL;
}
