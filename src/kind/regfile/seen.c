/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoint: deleted files that are mapped, without a descriptor: semaphores of sem_open(3), say.
 * Who may not use map_files sees their contents through the mappings, and nothing else; nor does
 * the program: a new file is given its user and mode 0600.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/place.h"
#include "kind/regfile.h"
#include "kind/regfile/regfile.h"
#include "proc/maps.h"
#include "task/holders.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/path.h"

/* the folder that it was in, if that is still of its file system; -1: not */
static int open_folder(const struct task *task, const struct proc_map *map)
{
	_cleanup_(free_p) char *folder = path_folder(map->name);
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/root%s", (int)task->tid, folder);
	_cleanup_(close_p) int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == map->dev ? take_fd(&fd) : -1;
}

static ProtobufCMessage *describe(const struct task *task, const struct proc_map *map,
                                  const struct place *folder)
{
	RegfileState *s = xmalloc(sizeof(*s));
	RegfileDeleted *d = xmalloc(sizeof(*d));
	_cleanup_(free_p) char *path = xasprintf("%s%s",
	                                         strcmp(folder->path, "/") != 0 ? folder->path : "",
	                                         strrchr(map->name, '/'));

	regfile_state__init(s);
	regfile_deleted__init(d);
	path[strlen(path) - strlen(PATH_DELETED)] = 0;
	s->path = bytes_of_text(path);
	s->name = REGFILE_STATE__NAME__DELETED;
	s->mode = S_IFREG | 0600;
	s->device = map->dev;
	s->inode = map->inode;
	s->mount = folder->mount ? folder->mount->id : 0;
	s->mtime_seconds = d->atime_seconds = time(NULL);
	s->deleted = d;
	d->uid = task->status.uid[3];
	d->gid = task->status.gid[3];
	return &s->base;
}

int regfile_seen_by(struct checkpoint *c, const struct task *task, const struct proc_map *map,
                    struct object **ret, struct error *err)
{
	const uint64_t key[] = { map->dev, map->inode };
	bool is_new = false;
	struct statfs fs;

	*ret = NULL;
	if (!map->shared || map->name[0] != '/' || !path_ends_deleted(map->name))
		return 0;
	_cleanup_(close_p) int fd = open_folder(task, map);
	if (fd < 0 || fstatfs(fd, &fs) < 0 || !regfile_is_supported((uint32_t)fs.f_type))
		return 0;
	_cleanup_(place_done) struct place folder = { 0 };
	int r = place_find(c, task, fd, &folder, err);
	if (r < 0)
		return r == -EOPNOTSUPP ? 0 : error_trace(err, r);
	*ret = objects_get(c->objects, &regfile_kind, key, sizeof(key), &is_new);
	if (is_new) {
		(*ret)->message = describe(task, map, &folder);
		RegfileState *s = object_state(*ret, RegfileState);
		s->deleted->unnamed = regfile_is_unnamed(s) ? (*ret)->id : 0;
	}
	shmem_seen_add(&regfile_live(*ret)->seen, task, map, fs.f_type == TMPFS_MAGIC);
	return 0;
}

int regfile_judge_seen(struct checkpoint *c, struct object *object, struct error *err)
{
	RegfileState *s = object_state(object, RegfileState);
	struct shmem_seen *seen = &regfile_live(object)->seen;
	_cleanup_(free_p) char *path = regfile_path(s);
	const struct holder *holder;
	int r = holders_find(c, (dev_t)s->device, (ino_t)s->inode, &holder, err);

	if (r > 0)
		refuse_leak(c, seen->views[0].task, path, NULL, holder);
	if (r >= 0)
		r = shmem_seen_judge(c, seen, path, &s->size, err);
	return r < 0 ? error_trace(err, r) : 0;
}
