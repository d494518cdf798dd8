/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounts of cgroup file systems. See cgroup.h. */
#include "proc/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/path.h"

/* whether the comma-separated @list has all the words of @wanted */
static bool has_words(const char *list, const char *wanted)
{
	while (*wanted) {
		size_t size = strcspn(wanted, ",");
		const char *p = list;
		while (*p && !(strcspn(p, ",") == size && !strncmp(p, wanted, size))) {
			p += strcspn(p, ",");
			p += *p == ',';
		}
		if (!*p)
			return false;
		wanted += size;
		wanted += *wanted == ',';
	}
	return true;
}

/* the rest of @path below @root; NULL when it is not below */
static const char *below(const char *path, const char *root)
{
	size_t size = strlen(root);

	if (!strcmp(root, "/"))
		return path;
	if (strncmp(path, root, size) != 0 || (path[size] && path[size] != '/'))
		return NULL;
	return path + size;
}

/* "ID PARENT MAJ:MIN ROOT POINT OPTIONS [FIELD]... - TYPE SOURCE SUPER" */
static char *match_mount(char *line, const char *hierarchy, const char *path)
{
	char *save = NULL, *root = NULL, *point = NULL, *tail = strstr(line, " - ");
	char type[32], source[256], super[1024];

	if (!tail || sscanf(tail, " - %31s %255s %1023s", type, source, super) != 3)
		return NULL;
	if (strcmp(type, *hierarchy ? "cgroup" : "cgroup2") != 0 ||
	    (*hierarchy && !has_words(super, hierarchy)))
		return NULL;
	*tail = 0;
	char *word = strtok_r(line, " ", &save);
	for (int i = 0; word && i < 5; i++, word = strtok_r(NULL, " ", &save)) {
		root = i == 3 ? word : root;
		point = i == 4 ? word : point;
	}
	if (!root || !point)
		return NULL;
	path_unescape(root);
	path_unescape(point);
	const char *rest = below(path, root);
	return rest ? xasprintf("%s%s", point, strcmp(rest, "/") ? rest : "") : NULL;
}

char *cgroup_directory(const char *hierarchy, const char *path)
{
	_cleanup_(fclose_p) FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_(free_p) char *line = NULL;
	char *found = NULL;
	size_t room = 0;

	while (f && !found && getline(&line, &room, f) > 0) {
		line[strcspn(line, "\n")] = 0;
		found = match_mount(line, hierarchy, path);
	}
	return found;
}
