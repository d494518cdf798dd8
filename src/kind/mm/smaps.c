/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading /proc/PID/smaps, which alone tells the flags of mappings, makes the kernel walk all page
 * tables of the address space. It is done for several processes at once, ahead of their turn.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "core/checkpoint.h"
#include "core/kept.h"
#include "kind/mm/mm.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/parallel.h"

#define AHEAD_MAX  16u         /* processes */
#define AHEAD_SIZE (16u << 20) /* bytes of text; no more is begun then */

struct smaps {
	const struct task *tasks[AHEAD_MAX];
	char *text[AHEAD_MAX]; /* NULL: not read, or taken */
	size_t n;
	size_t cursor; /* the place of tasks[0] in the order of tasks */
	_Atomic size_t size;
};

static bool has_own(const struct task *task)
{
	return task->speaks && (task->state == TASK_HELD || task->state == TASK_STOPPED);
}

/* @task, and who comes after it */
static void choose(const struct checkpoint *c, struct smaps *s, const struct task *task)
{
	while (s->cursor < c->n_tasks && c->tasks[s->cursor] != task)
		s->cursor++;
	s->tasks[0] = task;
	s->n = 1;
	for (size_t i = s->cursor + 1; c->tracer && i < c->n_tasks && s->n < AHEAD_MAX; i++)
		if (has_own(c->tasks[i]))
			s->tasks[s->n++] = c->tasks[i];
}

static int read_one(void *smaps, size_t i, struct error *err)
{
	struct smaps *s = smaps;
	size_t size = 0;

	if (i > 0 && s->size > AHEAD_SIZE)
		return 0;
	int r = task_read(s->tasks[i], "smaps", &s->text[i], &size, err);
	s->size += size;
	/* the error of one that is not asked for yet is met again at its turn */
	return r < 0 && i == 0 ? error_trace(err, r) : 0;
}

static void forget(struct smaps *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(take_ptr(s->text[i]));
	s->n = 0;
	s->size = 0;
}

static void done(void *data)
{
	forget(data);
	free(data);
}

static const struct kept_type smaps_type = { .done = done };

int mm_read_smaps(struct checkpoint *c, const struct task *task, char **ret, struct error *err)
{
	struct smaps *s = kept_find(c->kept, &smaps_type);

	if (!s)
		s = kept_add(&c->kept, &smaps_type, xcalloc(1, sizeof(*s)));
	for (size_t i = 0; i < s->n; i++)
		if (s->tasks[i] == task && s->text[i]) {
			*ret = take_ptr(s->text[i]);
			return 0;
		}
	forget(s);
	choose(c, s, task);
	int r = parallel(s->n, read_one, s, err);
	if (r < 0) {
		forget(s);
		return error_trace(err, r);
	}
	*ret = take_ptr(s->text[0]);
	return 0;
}
