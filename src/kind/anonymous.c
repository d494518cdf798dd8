/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Anonymous inodes. See anonymous.h. */
#include "kind/anonymous.h"

#include <stdlib.h>
#include <string.h>

#include "core/checkpoint.h"
#include "task/holders.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

int anonymous_read(const struct descriptor *d, char **ret, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("fdinfo/%d", d->fd);
	int r = task_read(d->task, path, ret, NULL, err);

	return r < 0 ? error_trace(err, r) : 0;
}

bool anonymous_number(const char *text, const char *key, int base, uint64_t *ret)
{
	size_t size = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		char *end;
		line += *line == '\n';
		if (strncmp(line, key, size) != 0)
			continue;
		errno = 0;
		*ret = strtoull(line + size, &end, base);
		return end != line + size && !errno && (*end == '\n' || !*end);
	}
	return false;
}

char *anonymous_key(const char *link, const char *info)
{
	uint64_t id;

	if (strcmp(link, "anon_inode:[eventfd]") != 0 ||
	    !anonymous_number(info, "eventfd-id:", 10, &id))
		return NULL;
	return xasprintf("eventfd:[%llu]", (unsigned long long)id);
}

int anonymous_judge(struct checkpoint *c, const struct descriptor *d, const char *info,
                    struct error *err)
{
	const struct holder *holder = NULL;
	_cleanup_(free_p) char *key = anonymous_key(d->link, info);
	int r = holders_find_file(c, d, &holder, err);

	if (r > 0)
		refuse_leak(c, d->task, d->link, key, holder);
	return r < 0 ? error_trace(err, r) : 0;
}
