/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any text as files of /proc: the first byte says which. */
#include <stdlib.h>
#include <string.h>

#include "proc/cpus.h"
#include "proc/fdinfo.h"
#include "proc/maps.h"
#include "proc/stat.h"
#include "proc/status.h"

static void parse(unsigned which, const char *text)
{
	struct error err;

	if (which == 0) {
		struct proc_stat stat;
		proc_stat_parse(text, &stat, &err);
	} else if (which == 1) {
		struct proc_status status;
		char unknown[64];
		proc_status_parse(text, &status, unknown, &err);
	} else if (which == 2) {
		struct proc_map *maps = NULL;
		size_t n = 0;
		if (proc_maps_parse(text, &maps, &n, &err) == 0)
			proc_maps_free(maps, n);
	} else if (which == 3) {
		struct proc_fdinfo info;
		if (proc_fdinfo_parse(text, &info, &err) == 0)
			proc_fdinfo_done(&info);
	} else {
		struct cpus cpus;
		cpus_parse(text, &cpus);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	char *text = malloc(size);
	if (!text)
		abort();
	memcpy(text, data + 1, size - 1);
	text[size - 1] = 0;
	parse(data[0] % 5, text);
	free(text);
	return 0;
}
