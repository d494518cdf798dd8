/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restart: the maps of idmapped mounts, each as a user namespace that nobody is in. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kind/mounts/parts.h"
#include "kind/user_ns/maps.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/map.h"

bool idmap_is_valid(const char *text)
{
	_cleanup_(free_p) struct id_map *map = xcalloc(1, sizeof(*map));

	return id_map_parse(text, map) && map->n && id_map_valid(map);
}

static int make(const struct mount_entry *e, int *ret_fd, struct error *err)
{
	_cleanup_(free_p) struct user_ns_data *data = xcalloc(1, sizeof(*data));

	if (!id_map_parse(e->uid_map, &data->uid) || !id_map_parse(e->gid_map, &data->gid))
		return error_raise(err, EBADMSG, "the map of an idmapped mount");
	int r = user_ns_make(data, -1, NULL, ret_fd, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* one for all mounts with the same map */
int mounts_make_idmaps(struct mounts *m, struct error *err)
{
	_cleanup_(map_freep) struct map *known = map_new();
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->n_mounts; i++) {
		const struct mount_entry *e = &m->table.mounts[i];
		if (!e->uid_map || m->idmap_fds[i] >= 0)
			continue;
		_cleanup_(free_p) char *key = xasprintf("%s/%s", e->uid_map, e->gid_map);
		size_t same = (size_t)(uintptr_t)map_get(known, key, strlen(key));
		if (same) {
			m->idmap_fds[i] = fcntl(m->idmap_fds[same - 1], F_DUPFD_CLOEXEC, 3);
			continue;
		}
		r = make(e, &m->idmap_fds[i], err);
		map_put(known, key, strlen(key), (void *)(uintptr_t)(i + 1));
		if (r < 0)
			mount_error(err, &m->table, e);
	}
	return r;
}
