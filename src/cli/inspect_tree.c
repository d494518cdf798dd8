/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inspect --tree: the tasks, as pstree(1) draws them. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/inspect.h"
#include "cli/json.h"
#include "kind/describe.h"
#include "kind/kind.h"
#include "kind/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"
#include "util/text.h"

/* a line of the tree: a task with what hangs below it, which is kept as lists of indexes */
struct branch {
	const TaskState *task;
	size_t first_child, last_child, next; /* SIZE_MAX: none */
	bool drawn;
};

struct tree {
	struct branch *branches;
	size_t n;
	size_t first_root, last_root;
};

/* an image that lies may be as deep as it has tasks; lines are not drawn any wider than this */
#define DEPTH_MAX 30

static void append(struct tree *t, size_t *first, size_t *last, size_t i)
{
	if (*first == SIZE_MAX)
		*first = i;
	else
		t->branches[*last].next = i;
	*last = i;
}

/* threads hang below their leader, processes below the process that is their parent */
static size_t parent_of(const struct map *by_tid, const struct tree *t, const TaskState *task)
{
	uint32_t tid = task->tid != task->tgid ? task->tgid : task->parent;
	const struct branch *parent = map_get(by_tid, &tid, sizeof(tid));

	if (parent && task->tid == task->tgid && parent->task->tid != parent->task->tgid) {
		tid = parent->task->tgid;
		parent = map_get(by_tid, &tid, sizeof(tid));
	}
	return parent && parent->task != task ? (size_t)(parent - t->branches) : SIZE_MAX;
}

static void tree_make(const struct contents *c, struct tree *t)
{
	_cleanup_(map_freep) struct map *by_tid = map_new();

	*t = (struct tree){ .n = c->n_tasks, .first_root = SIZE_MAX, .last_root = SIZE_MAX };
	t->branches = xcalloc(c->n_tasks, sizeof(*t->branches));
	for (size_t i = 0; i < t->n; i++) {
		const TaskState *task = object_state(c->tasks[i], TaskState);
		t->branches[i] = (struct branch){ task, SIZE_MAX, SIZE_MAX, SIZE_MAX, false };
		map_put(by_tid, &task->tid, sizeof(task->tid), &t->branches[i]);
	}
	for (size_t i = 0; i < t->n; i++) {
		size_t up = parent_of(by_tid, t, t->branches[i].task);
		struct branch *parent = up == SIZE_MAX ? NULL : &t->branches[up];
		append(t, parent ? &parent->first_child : &t->first_root,
		       parent ? &parent->last_child : &t->last_root, i);
	}
}

static void print_exit(uint32_t code)
{
	if (code & 0x7f)
		printf("ended by SIG%s", sigabbrev_np((int)(code & 0x7f)) ?: "?");
	else
		printf("exit %u", code >> 8);
}

static void print_state(const TaskState *t)
{
	if (t->state == TASK_STATE__STATE__STOPPED)
		printf("  stopped by SIG%s", sigabbrev_np((int)(t->stop_signal & 0x7f)) ?: "?");
	if (t->state == TASK_STATE__STATE__ZOMBIE) {
		fputs("  zombie, ", stdout);
		print_exit(t->exit_code);
	}
	if (t->state == TASK_STATE__STATE__DEAD_LEADER)
		fputs("  leader has ended, its threads live", stdout);
}

static void print_task(const TaskState *t, const TaskState *parent)
{
	_cleanup_(free_p) char *comm = text_printable(t->comm.data, t->comm.len);

	if (t->tid != t->tgid)
		printf("{%u} %s", t->tid, comm);
	else
		printf("%u %s", t->tid, comm);
	print_state(t);
	if (t->tid == t->tgid && (!parent || t->sid != parent->sid))
		printf("  session %u", t->sid);
	if (t->tid == t->tgid && (!parent || t->pgid != parent->pgid))
		printf("  group %u", t->pgid);
	putchar('\n');
}

/* depth first, without recursion: the stack holds what is drawn next on each level */
static void print_below(struct tree *t, size_t root)
{
	size_t *stack = NULL, depth = 0;

	t->branches[root].drawn = true;
	print_task(t->branches[root].task, NULL);
	*array_push(stack, depth) = root;
	size_t next = t->branches[root].first_child;
	while (depth) {
		if (next == SIZE_MAX) {
			next = t->branches[stack[--depth]].next;
			if (depth == 0)
				break;
			continue;
		}
		struct branch *b = &t->branches[next];
		for (size_t i = 1; i < depth && i < DEPTH_MAX; i++)
			fputs(t->branches[stack[i]].next == SIZE_MAX ? "  " : "│ ", stdout);
		fputs(b->next == SIZE_MAX ? "└─" : "├─", stdout);
		print_task(b->task, t->branches[stack[depth - 1]].task);
		b->drawn = true;
		*array_push(stack, depth) = next;
		next = b->first_child;
	}
	free(stack);
}

void tree_print(const struct inspection *in)
{
	struct tree t;

	tree_make(&in->contents, &t);
	for (size_t i = t.first_root; i != SIZE_MAX; i = t.branches[i].next)
		print_below(&t, i);
	/* only in an image that is invalid: tasks that are each other's ancestors */
	for (size_t i = 0; i < t.n; i++)
		if (!t.branches[i].drawn)
			print_task(t.branches[i].task, NULL);
	free(t.branches);
}

struct json_object *tree_to_json(const struct inspection *in)
{
	json_object *array = json_object_new_array();

	for (size_t i = 0; i < in->contents.n_tasks; i++) {
		json_object *o = object_describe(in->contents.objects, in->contents.tasks[i]);
		json_add_number(o, "id", in->contents.tasks[i]->id);
		json_object_array_add(array, o);
	}
	return array;
}
