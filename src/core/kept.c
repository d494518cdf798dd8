/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kinds keep for a whole run. See kept.h. */
#include "core/kept.h"

#include <stdlib.h>

#include "core/restart.h"
#include "util/alloc.h"
#include "util/map.h"

struct kept {
	const struct kept_type *type;
	void *data;
	struct kept *next;
};

void *kept_find(const struct kept *list, const struct kept_type *type)
{
	while (list && list->type != type)
		list = list->next;
	return list ? list->data : NULL;
}

void *kept_add(struct kept **list, const struct kept_type *type, void *data)
{
	struct kept *first = xcalloc(1, sizeof(*first));

	*first = (struct kept){ type, data, *list };
	*list = first;
	return data;
}

int kept_launch(struct restart *r, struct error *err)
{
	int e = 0;

	for (struct kept *k = r->kept; e == 0 && k; k = k->next)
		if (k->type->launch)
			e = k->type->launch(r, k->data, err);
	return e < 0 ? error_trace(err, e) : 0;
}

void kept_undo(struct restart *r)
{
	for (struct kept *k = r->kept; k; k = k->next)
		if (k->type->undo)
			k->type->undo(r, k->data);
}

void kept_done(struct kept **list)
{
	for (struct kept *k; (k = *list);) {
		*list = k->next;
		k->type->done(k->data);
		free(k);
	}
}

void kept_free_map(void *data)
{
	map_free(data);
}
