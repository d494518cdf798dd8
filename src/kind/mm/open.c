/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening what is mapped. See open.h. */
#include "kind/mm/open.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "host/features.h"
#include "kind/mm/mm.h"
#include "kind/mount.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/path.h"
#include "util/still.h"

/* in the mount namespace of the task; -1 with errno if that leads to another file */
static int open_by_name(const struct task *task, const struct proc_map *map)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/root%s", (int)task->tid, map->name);
	const char *names[] = { path, map->name /* it is in ours, and has changed its root */ };
	struct stat st;

	for (size_t i = 0; i < 2; i++) {
		_cleanup_(close_p) int fd = open(names[i], O_PATH | O_CLOEXEC);
		if (fd >= 0 && still_fstat(fd, &st) == 0 && st.st_dev == map->dev &&
		    st.st_ino == map->inode)
			return take_fd(&fd);
	}
	errno = EPERM;
	return -1;
}

static int open_link(struct mm_file *f)
{
	char link[PATH_MAX + 16];
	int fd = open(f->source, O_PATH | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : readlink(f->source, link, sizeof(link));

	if (n > 0 && n < (ssize_t)sizeof(link)) {
		free(f->link);
		f->link = xstrndup(link, (size_t)n);
	}
	return fd;
}

/* another name that it has in the folder where this one was deleted: sem_open(3) leaves that */
static int open_by_other_name(const struct task *task, const struct proc_map *map)
{
	_cleanup_(free_p) char *folder = path_folder(map->name);
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/root%s", (int)task->tid, folder);
	_cleanup_(closedir_p) DIR *dir = path_ends_deleted(map->name) ? opendir(path) : NULL;
	struct dirent *entry;
	struct stat st;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_ino != map->inode)
			continue;
		_cleanup_(close_p) int fd = openat(dirfd(dir), entry->d_name,
		                                   O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && still_fstat(fd, &st) == 0 && st.st_dev == map->dev &&
		    st.st_ino == map->inode)
			return take_fd(&fd);
	}
	return -1;
}

/* a descriptor that a task of the set has of it, too */
static int open_by_descriptor(struct checkpoint *c, const struct proc_map *map, struct mm_file *f)
{
	char *source = mm_find_descriptor(c, map->dev, map->inode);

	if (!source) {
		errno = EPERM;
		return -1;
	}
	free(f->source);
	f->source = source;
	return open_link(f);
}

void mm_file_done(struct mm_file *f)
{
	free(f->link);
	free(f->source);
}

int mm_file_open(struct checkpoint *c, const struct task *task, const struct proc_map *map,
                 struct mm_file *f)
{
	/* not under task/TID, but any thread's tid will do: a dead leader's are gone */
	f->source = xasprintf("/proc/%d/map_files/%llx-%llx", (int)task->tid,
	                      (unsigned long long)map->start, (unsigned long long)map->end);
	f->link = xstrdup(map->name);
	int fd = feature(FEATURE_map_files) ? open_link(f) : (errno = EPERM, -1);
	if (fd >= 0 || (errno != EPERM && errno != ENOENT))
		return fd;
	/* map_files needs CAP_CHECKPOINT_RESTORE; by its name it is as good if it is that file */
	bool forbidden = errno == EPERM;
	/* a server that is held itself would not answer who looks for a name */
	bool by_name = !mount_may_wait(c, (dev_t)map->dev, f->source);
	fd = by_name ? open_by_name(task, map) : -1;
	if (fd < 0 && forbidden)
		fd = open_by_descriptor(c, map, f);
	if (fd < 0 && forbidden && by_name)
		fd = open_by_other_name(task, map);
	if (fd < 0 && forbidden)
		errno = EPERM;
	return fd;
}
