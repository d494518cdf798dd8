/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parser of maps and smaps. See maps.h. */
#include "proc/maps.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "util/alloc.h"
#include "util/path.h"

/* smaps keys that are statistics of the moment: they follow from the pages, not the other way */
static const char *const irrelevant_keys[] = {
	"Size",           "MMUPageSize",   "Pss_Dirty",      "Pss_Anon",        "Pss_File",
	"Pss_Shmem",      "Shared_Clean",  "Shared_Dirty",   "Private_Clean",   "Private_Dirty",
	"Referenced",     "KSM",           "LazyFree",       "ShmemHugePages",  "FileHugePages",
	"ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "SwapPss",
	"THPeligible",    "FilePmdMapped",
};

bool proc_map_flag(const struct proc_map *map, const char *word)
{
	for (size_t i = 0; i < map->n_vm_flags; i++)
		if (!strcmp(map->vm_flags[i], word))
			return true;
	return false;
}

/* "start-end rwxp offset major:minor inode   name" */
static bool parse_head(char *line, struct proc_map *map)
{
	char *p = line, *end;

	map->start = strtoull(p, &end, 16);
	if (end == p || *end != '-')
		return false;
	p = end + 1;
	map->end = strtoull(p, &end, 16);
	if (end == p || *end != ' ' || strlen(end) < 6 || end[5] != ' ')
		return false;
	map->read = end[1] == 'r';
	map->write = end[2] == 'w';
	map->exec = end[3] == 'x';
	map->shared = end[4] == 's';
	p = end + 6;
	map->offset = strtoull(p, &end, 16);
	if (end == p || *end != ' ')
		return false;
	p = end + 1;
	unsigned long major_number = strtoul(p, &end, 16);
	if (end == p || *end != ':')
		return false;
	p = end + 1;
	unsigned long minor_number = strtoul(p, &end, 16);
	if (end == p || *end != ' ')
		return false;
	map->dev = makedev(major_number, minor_number);
	p = end + 1;
	map->inode = strtoull(p, &end, 10);
	if (end == p || (*end != ' ' && *end != '\0'))
		return false;
	while (*end == ' ')
		end++;
	map->name = xstrdup(end);
	/*
	 * Newlines are escaped but no backslashes, so a name that has "\012" in it by itself is
	 * misread: who needs the exact name asks map_files.
	 */
	path_unescape(map->name);
	map->protection_key = -1;
	return map->start < map->end;
}

static void parse_flags(char *text, struct proc_map *map)
{
	size_t n = 0, room = strlen(text) / 2 + 1; /* a word may be one letter */
	char *save = NULL;

	map->vm_flags = xcalloc(room, sizeof(map->vm_flags[0]));
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		/* another length was never seen; shown as unknown rather than cut */
		memcpy(map->vm_flags[n++], strlen(word) == 2 ? word : "!!", 3);
	map->n_vm_flags = n;
}

/* "Key:   value"; false when it is not of that form */
static bool parse_key(char *line, struct proc_map *map)
{
	char *colon = strchr(line, ':');

	if (!colon)
		return false;
	*colon = '\0';
	char *value = colon + 1 + strspn(colon + 1, " ");
	const struct {
		const char *key;
		uint64_t *bytes;
	} sizes[] = {
		{ "Rss", &map->rss },
		{ "Pss", &map->pss },
		{ "Swap", &map->swap },
		{ "Locked", &map->locked },
		{ "Anonymous", &map->anonymous },
		{ "AnonHugePages", &map->anon_huge_pages },
		{ "KernelPageSize", &map->kernel_page_size },
	};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (!strcmp(line, sizes[i].key)) {
			*sizes[i].bytes = strtoull(value, NULL, 10) * 1024;
			return true;
		}
	if (!strcmp(line, "VmFlags")) {
		if (!map->vm_flags)
			parse_flags(value, map);
		return true;
	}
	if (!strcmp(line, "ProtectionKey")) {
		map->protection_key = atoi(value);
		return true;
	}
	for (size_t i = 0; i < sizeof(irrelevant_keys) / sizeof(irrelevant_keys[0]); i++)
		if (!strcmp(line, irrelevant_keys[i]))
			return true;
	if (!map->unknown[0])
		snprintf(map->unknown, sizeof(map->unknown), "%s", line);
	return true;
}

/* a head line starts with an address, a key with a capital letter */
static bool is_head(const char *line)
{
	return (line[0] >= '0' && line[0] <= '9') || (line[0] >= 'a' && line[0] <= 'f');
}

int proc_maps_parse(const char *text, struct proc_map **ret, size_t *ret_n, struct error *err)
{
	struct proc_map *maps = NULL;
	size_t n = 0;
	char *copy = xstrdup(text), *save = NULL;
	int r = 0;

	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		bool good = is_head(line) ? parse_head(line, array_push(maps, n))
		                          : n > 0 && parse_key(line, &maps[n - 1]);
		if (!good) {
			r = error_raise(err, EBADMSG, "maps line \"%.80s\" is malformed", line);
			break;
		}
	}
	free(copy);
	if (r < 0) {
		proc_maps_free(maps, n);
		return r;
	}
	*ret = maps;
	*ret_n = n;
	return 0;
}

void proc_maps_free(struct proc_map *maps, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(maps[i].name);
		free(maps[i].vm_flags);
	}
	free(maps);
}
