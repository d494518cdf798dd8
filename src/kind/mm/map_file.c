/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: what mappings map, and whether it could be mapped again. See collect.h. */
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "kind/ipc_ns.h"
#include "kind/mm.h"
#include "kind/mm/collect.h"
#include "kind/mm/copied_up.h"
#include "kind/mm/open.h"
#include "kind/place.h"
#include "kind/regfile.h"
#include "kind/shmem.h"
#include "util/cleanup.h"

/* the object that is mapped; *ret = NULL when it was refused */
static int find_file(struct collector *l, struct proc_map *map, struct object **ret,
                     struct error *err)
{
	char what[64];
	struct error refusal = ERROR_INIT;

	if (l->last_name && l->last_dev == map->dev && l->last_inode == map->inode &&
	    !strcmp(l->last_name, map->name)) {
		*ret = l->last;
		return 0;
	}
	*ret = NULL;
	_cleanup_(mm_file_done) struct mm_file file = { 0 };
	_cleanup_(close_p) int fd = mm_file_open(l->c, l->task, map, &file);
	if (fd < 0) {
		if (errno != EPERM && errno != EACCES)
			return error_raise(err, errno, "opening the mapped file %s", map->name);
		*ret = shmem_seen_by(l->c, l->task, map);
		int r = *ret ? 0 : regfile_seen_by(l->c, l->task, map, ret, err);
		if (r < 0 || *ret)
			return r < 0 ? error_trace(err, r) : 0;
		error_refuse(
			&refusal, CODE_mm_file_link,
			"the mapped file can be opened neither through map_files nor by name, and "
			"no task has a descriptor of it");
		error_hint(&refusal,
		           "it needs CAP_CHECKPOINT_RESTORE: run stasis as root; or let the "
		           "program keep its descriptor open");
		mm_refuse_mapping(l, map, &refusal);
		return 0;
	}
	snprintf(what, sizeof(what), "mapping %llx-%llx", (unsigned long long)map->start,
	         (unsigned long long)map->end);
	const struct descriptor d = {
		.task = l->task, .live = fd, .what = what, .link = file.link, .source = file.source
	};
	int r = link_collect(l->c, &d, ret, err);
	if (r < 0)
		return error_trace(err, r);
	close_p(&l->merged);
	l->merged = mm_open_merged(l->c, fd);
	l->noexec = *ret && (*ret)->kind == &regfile_kind && place_forbids(fd, ST_NOEXEC);
	close_p(&l->file);
	l->file = *ret && (*ret)->kind == &regfile_kind ? take_fd(&fd) : -1;
	l->last = *ret;
	l->last_dev = map->dev;
	l->last_inode = map->inode;
	l->last_name = map->name;
	return 0;
}

/* what may be run, or be made so, cannot be mapped again where nothing may any more */
static void judge_noexec(struct collector *l, const struct proc_map *map,
                         const struct object *object)
{
	struct error refusal;

	if (!object || object != l->last || !l->noexec || (!map->exec && !proc_map_flag(map, "me")))
		return;
	error_refuse(&refusal, CODE_mount_forbids,
	             "its file was mapped, and may be executed, before the mount became noexec");
	mm_refuse_mapping(l, map, &refusal);
}

/* of an overlay's file, which find_file() has found last */
static int judge_merged(struct collector *l, const struct proc_map *map,
                        const struct object *object, struct error *err)
{
	struct error refusal = ERROR_INIT;
	int r = 0;

	if (object && object == l->last && l->merged >= 0)
		r = mm_judge_copied_up(l->task, map, l->merged, &refusal);
	if (r == -EOPNOTSUPP && refusal.code != CODE_NONE) {
		mm_refuse_mapping(l, map, &refusal);
		return 0;
	}
	if (r < 0)
		*err = refusal;
	return r < 0 ? error_trace(err, r) : 0;
}

int mm_collect_file(struct collector *l, struct proc_map *map, Mapping *m, struct error *err)
{
	struct object *object = NULL;
	int r = find_file(l, map, &object, err);

	if (r == 0)
		r = judge_merged(l, map, object, err);
	if (r < 0)
		return error_trace(err, r);
	judge_noexec(l, map, object);
	if (object && object == l->last && l->file >= 0 && m->flags & MM_SHARED &&
	    m->flags & MM_MAY_WRITE)
		regfile_note_writer(object, l->task, l->file, O_RDWR, "a shared mapping");
	m->backing = MM_STATE__MAPPING__BACKING__OBJECT;
	m->object = object ? object->id : 0;
	m->offset = map->offset;
	return 0;
}

void mm_collect_segment(struct collector *l, struct proc_map *map, Mapping *m)
{
	struct error refusal = ERROR_INIT;
	_cleanup_(mm_file_done) struct mm_file file = { 0 };
	_cleanup_(close_p) int fd = mm_file_open(l->c, l->task, map, &file);
	struct object *object = ipc_shm_attached_by(l->c, l->task, fd, map);

	m->backing = MM_STATE__MAPPING__BACKING__OBJECT;
	m->offset = map->offset;
	if (object) {
		m->object = object->id;
		return;
	}
	error_refuse(&refusal, CODE_mm_sysv_shm,
	             "a System V shared memory segment is attached, which is not of an IPC "
	             "namespace of the set");
	error_hint(&refusal, "let the program detach it (shmdt), or run it in an IPC namespace of "
	                     "its own: stasis run --isolate, unshare --ipc");
	mm_refuse_mapping(l, map, &refusal);
}
