/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is looked up of mounts: which anchor one is cloned from, and what is mounted on its way.
 * Each answer is compared with what going through all of them says, in random tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mount/build.h"
#include "mount/table.h"
#include "util/alloc.h"
#include "util/cleanup.h"

enum { N_TABLES = 2000, N_MOUNTS = 12, N_ANCHORS = 8 };

static unsigned draw(unsigned n)
{
	return (unsigned)rand() % n;
}

/* few names, so that paths have much in common; "" for none */
static const char *draw_path(void)
{
	static const char *const paths[] = { "a", "a/b", "a/b/c", "ab", "ab/c", "b", "a/c", "" };

	return paths[draw(sizeof(paths) / sizeof(paths[0]))];
}

/* ---- tables ---- */

static struct mount_table table_new(void)
{
	struct mount_table t = { 0 };
	struct error err = ERROR_INIT;

	struct mount_ns *ns = array_push(t.namespaces, t.n_namespaces);
	*ns = (struct mount_ns){ .n = N_MOUNTS };
	for (size_t i = 0; i < 2; i++)
		array_push(t.sbs, t.n_sbs)->type = xstrdup("tmpfs");
	for (size_t i = 0; i < N_MOUNTS; i++) {
		size_t up = i ? draw((unsigned)i) : 0;
		const char *above = i ? t.mounts[up].point : "", *rel = i ? draw_path() : "";
		char *point = xasprintf("%s%s%s", strcmp(above, "/") ? above : "",
		                        i && !*rel ? "" : "/", rel);
		if (!*point)
			strcpy(point = realloc(point, 2), "/");
		*array_push(t.mounts, t.n_mounts) = (struct mount_entry){
			.id = i + 10,
			.parent_id = i ? up + 10 : 1,
			.point = point,
			.root = xasprintf("/%s", draw_path()),
			.source = xasprintf("s%u", draw(2)),
			.external = draw(3) ? NULL : xasprintf("n%u", draw(2)),
			.sb = draw(2),
			.locked = i && draw(2)
		};
	}
	assert_int_equal(mount_table_relate(&t, 0, &err), 0);
	return t;
}

static bool hidden_by_all(const struct mount_table *t, const struct mount_entry *m)
{
	for (size_t i = 0; i < t->n_mounts; i++) {
		const struct mount_entry *other = &t->mounts[i];
		const char *below = other->parent == m->parent && other->locked && *other->rel
		                            ? mount_below(m->rel, other->rel)
		                            : NULL;
		if (below && *below)
			return true;
	}
	return false;
}

static size_t cover_of_all(const struct mount_table *t, size_t line)
{
	for (size_t i = 0; i < t->n_mounts; i++)
		if (t->mounts[i].parent == line && !*t->mounts[i].rel)
			return i;
	return MOUNT_NONE;
}

static bool covers_by_all(const struct mount_table *t, size_t line, const char *path)
{
	for (size_t i = 0; i < t->n_mounts; i++)
		if (t->mounts[i].parent == line && *t->mounts[i].rel &&
		    mount_below(path, t->mounts[i].rel))
			return true;
	return false;
}

static void places(void **state)
{
	size_t n_hidden = 0, n_covered = 0, n_covering = 0;

	srand(1);
	for (int k = 0; k < N_TABLES; k++) {
		struct mount_table t = table_new();
		for (size_t i = 0; i < t.n_mounts; i++) {
			const char *path = draw_path();
			_cleanup_(free_p) char *absolute = xasprintf("/%s", path);
			bool hidden = hidden_by_all(&t, &t.mounts[i]);
			bool covers = covers_by_all(&t, i, path);
			assert_int_equal(mount_is_hidden(&t, &t.mounts[i]), hidden);
			assert_int_equal(mount_table_cover(&t, i), cover_of_all(&t, i));
			assert_int_equal(mount_table_covers(&t, i, path), covers);
			assert_int_equal(mount_table_covers(&t, i, absolute), covers);
			n_hidden += hidden;
			n_covering += covers;
			n_covered += cover_of_all(&t, i) != MOUNT_NONE;
		}
		mount_table_done(&t);
	}
	assert_true(n_hidden > N_TABLES / 10 && n_covered > N_TABLES / 10 &&
	            n_covering > N_TABLES / 10);
}

/* ---- anchors ---- */

static int rank(const struct mount_anchor *a, const struct mount_entry *m)
{
	if (a->supplied)
		return !a->name || (m->external && !strcmp(a->name, m->external)) ? 3 : 0;
	return a->source && !strcmp(a->source, m->source) ? 2 : 1;
}

static const struct mount_anchor *best_of_all(const struct mount_anchor *anchors,
                                              const struct mount_entry *m)
{
	const struct mount_anchor *best = NULL;

	for (size_t i = 0; i < N_ANCHORS; i++) {
		const struct mount_anchor *a = &anchors[i];
		if (a->tree_of == m)
			return a;
		if (a->tree_of || a->sb != m->sb || !mount_below(m->root, a->root))
			continue;
		int better = best ? rank(a, m) - rank(best, m) : 1;
		if (better > 0 || (!better && strlen(a->root) > strlen(best->root)))
			best = a;
	}
	return best;
}

static void fill_anchors(const struct mount_table *t, struct mount_anchor *anchors)
{
	for (size_t i = 0; i < N_ANCHORS; i++) {
		bool supplied = !draw(3);
		anchors[i] = (struct mount_anchor){ .sb = draw(2),
			                            .root = xasprintf("/%s", draw_path()),
			                            .source = supplied || !draw(3) ? NULL
			                                      : draw(2)            ? "s0"
			                                                           : "s1",
			                            .supplied = supplied,
			                            .name = supplied && draw(2)
			                                            ? xasprintf("n%u", draw(2))
			                                            : NULL,
			                            /* one for each at most */
			                            .tree_of = draw(6) ? NULL : &t->mounts[i] };
		if (anchors[i].tree_of)
			anchors[i].sb = anchors[i].tree_of->sb;
	}
}

static void anchors(void **state)
{
	size_t n_found = 0, n_trees = 0;

	srand(2);
	for (int k = 0; k < N_TABLES; k++) {
		struct mount_table t = table_new();
		struct mount_anchor list[N_ANCHORS];
		fill_anchors(&t, list);
		struct anchor_index *index = anchor_index_new(list, N_ANCHORS);
		for (size_t i = 0; i < t.n_mounts; i++) {
			const struct mount_anchor *best = best_of_all(list, &t.mounts[i]);
			size_t top = mount_anchor_tree(index, &t, i);
			assert_ptr_equal(mount_anchor_of(index, &t.mounts[i]), best);
			assert_true(top == MOUNT_NONE ||
			            best_of_all(list, &t.mounts[top])->tree_of == &t.mounts[top]);
			n_found += best != NULL;
			n_trees += top != MOUNT_NONE;
		}
		anchor_index_free(index);
		for (size_t i = 0; i < N_ANCHORS; i++) {
			free(list[i].root);
			free(list[i].name);
		}
		mount_table_done(&t);
	}
	assert_true(n_found > N_TABLES && n_trees > N_TABLES / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places),
		cmocka_unit_test(anchors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
