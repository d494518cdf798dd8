/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A task of the set: what it refers to, and its files in /proc. See task.h. */
#include "task/task.h"

#include <fcntl.h>
#include <unistd.h>

#include "kind/object.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/map.h"

#define FEW_OBJECTS 32 /* that are compared one by one */

static void add_refers(struct task *task, struct object *object)
{
	map_put(task->refers, &object, sizeof(object), object);
}

static bool refers(struct task *task, const struct object *object)
{
	if (task->n_objects > FEW_OBJECTS && !task->refers) {
		task->refers = map_new();
		for (size_t i = 0; i < task->n_objects; i++)
			add_refers(task, task->objects[i]);
	}
	if (task->refers)
		return map_get(task->refers, &object, sizeof(object));
	for (size_t i = 0; i < task->n_objects; i++)
		if (task->objects[i] == object)
			return true;
	return false;
}

void task_refer(struct task *task, struct object *object)
{
	if (refers(task, object))
		return;
	*array_push(task->objects, task->n_objects) = object;
	object->n_users++;
	if (task->refers)
		add_refers(task, object);
}

struct object *task_object(const struct task *task, const struct kind *kind)
{
	for (size_t i = 0; i < task->n_objects; i++)
		if (task->objects[i]->kind == kind)
			return task->objects[i];
	return NULL;
}

static void task_path(const struct task *task, const char *relative, char *path, size_t size)
{
	snprintf(path, size, "/proc/%d/task/%d/%s", task->tgid, task->tid, relative);
}

int task_openat(const struct task *task, const char *relative, int flags)
{
	char path[128];

	task_path(task, relative, path, sizeof(path));
	int fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int task_read(const struct task *task, const char *relative, char **ret, size_t *ret_size,
              struct error *err)
{
	char path[128];

	task_path(task, relative, path, sizeof(path));
	ssize_t size = file_read(AT_FDCWD, path, ret);
	if (size < 0)
		return error_raise(err, (int)-size, "read %s", path);
	if (ret_size)
		*ret_size = (size_t)size;
	return 0;
}

int task_read_status(const struct task *task, struct proc_status *ret, char **ret_text,
                     struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	char unknown[64]; /* was refused when the task was held */
	int r = task_read(task, "status", &text, NULL, err);

	if (r == 0)
		r = proc_status_parse(text, ret, unknown, err);
	if (r < 0)
		return error_trace(err, r);
	if (ret_text)
		*ret_text = take_ptr(text);
	return 0;
}

int task_readlink(const struct task *task, const char *relative, char **ret, struct error *err)
{
	char path[128], target[4096 + 64]; /* PATH_MAX and " (deleted)" */

	task_path(task, relative, path, sizeof(path));
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n < 0 && errno == ENAMETOOLONG)
		return error_refuse(err, CODE_regfile_path,
		                    "where %s leads is a path longer than PATH_MAX", relative);
	if (n < 0)
		return error_raise(err, errno, "readlink %s", path);
	if ((size_t)n == sizeof(target) - 1)
		return error_raise(err, ENAMETOOLONG, "readlink %s", path);
	target[n] = 0;
	*ret = xstrdup(target);
	return 0;
}
