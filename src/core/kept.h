/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What kinds keep for a whole checkpoint or restart, across their objects: c->kept, r->kept. The
 * engine holds it, and knows nothing of what it is.
 */
#pragma once

struct error;
struct restart;
struct kept; /* a list; NULL: empty */

/* the operations on it; its address says which data is meant */
struct kept_type {
	/* frees it, at the end in any case; for a map of what is nobody's: kept_free_map() */
	void (*done)(void *data);

	/* restart; NULL: nothing to do */

	/* all is done but to let the tree run, which from then on does without us */
	int (*launch)(struct restart *r, void *data, struct error *err);
	/* it has failed, and its tasks are gone */
	void (*undo)(struct restart *r, void *data);
};

/* NULL: there is none */
void *kept_find(const struct kept *list, const struct kept_type *type);
/* the first of its type; takes @data and returns it */
void *kept_add(struct kept **list, const struct kept_type *type, void *data);
int kept_launch(struct restart *r, struct error *err);
void kept_undo(struct restart *r);
void kept_done(struct kept **list);
void kept_free_map(void *data);
