/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parsers of /proc texts. Names in them (comm, paths, cgroups) are whatever a program likes.
 * The first byte says which parser. */
#include <stdlib.h>
#include <string.h>

#include "mount/read.h"
#include "mount/table.h"
#include "proc/cpus.h"
#include "proc/fdinfo.h"
#include "proc/maps.h"
#include "proc/stat.h"
#include "proc/status.h"
#include "repair.h"
#include "util/alloc.h"
#include "util/text.h"

static void parse_maps(const char *text)
{
	struct proc_map *maps = NULL;
	struct error err;
	size_t n = 0;

	if (proc_maps_parse(text, &maps, &n, &err) == 0)
		proc_maps_free(maps, n);
}

static void parse_fdinfo(const char *text)
{
	struct proc_fdinfo info = { 0 };
	struct error err;

	if (proc_fdinfo_parse(text, &info, &err) == 0)
		proc_fdinfo_done(&info);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proc_status status;
	struct mount_table mounts = { 0 };
	struct proc_stat stat;
	struct cpus cpus;
	struct error err;
	char unknown[64];

	if (size == 0)
		return 0;
	char *text = xmalloc(size);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = 0;
	switch (data[0]) {
	case 'm':
		parse_maps(text);
		break;
	case 'f':
		parse_fdinfo(text);
		break;
	case 's':
		proc_stat_parse(text, &stat, &err);
		break;
	case 'S':
		proc_status_parse(text, &status, unknown, &err);
		break;
	case 'M':
		mount_parse_mountinfo(&mounts, text, &err);
		mount_table_done(&mounts);
		break;
	case 'c':
		cpus_parse(text, &cpus);
		break;
	default:
		free(text_printable(text, size - 1));
		break;
	}
	free(text);
	return 0;
}
