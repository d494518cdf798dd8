/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mounts by /proc/PID/mountinfo, for kernels before 6.15. A helper that has entered the namespace
 * opens its own; the file remembers whose it is, so we read it.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "host/enter.h"
#include "host/helper.h"
#include "mount/read.h"
#include "mount/table.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/path.h"

/* what mountinfo(5) calls mount options, and superblock options that are flags */
static const struct word {
	const char *text;
	uint64_t flag;
} mount_words[] = {
	{ "ro", 0x1 },           { "nosuid", 0x2 },      { "nodev", 0x4 },
	{ "noexec", 0x8 },       { "noatime", 0x10 },    { "nodiratime", 0x80 },
	{ "relatime", 0 },       { "rw", 0 },            { "nosymfollow", 0x200000 },
	{ "idmapped", MOUNT_ATTR_IDMAPPED },
}, sb_words[] = {
	{ "ro", MOUNT_SB_RDONLY },           { "rw", 0 },
	{ "sync", MOUNT_SB_SYNCHRONOUS },    { "dirsync", MOUNT_SB_DIRSYNC },
	{ "lazytime", MOUNT_SB_LAZYTIME },   { "mand", 0 },
};

static bool find_word(const struct word *words, size_t n, const char *text, uint64_t *ret)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i].text, text))
			continue;
		*ret |= words[i].flag;
		return true;
	}
	return false;
}

/* fields are separated by single spaces and may be empty: never scanf() */
static char *next_field(char **line)
{
	static char none[1]; /* path_unescape() writes */
	char *field = strsep(line, " ");

	return field ? field : none;
}

static int parse_options(struct mount_entry *m, char *options, struct error *err)
{
	bool relatime = false;

	for (char *word; (word = strsep(&options, ","));) {
		relatime |= !strcmp(word, "relatime");
		if (!find_word(mount_words, sizeof(mount_words) / sizeof(mount_words[0]), word,
		               &m->attributes)) {
			error_refuse(err, CODE_mount_attributes, "mount option '%s' is not known",
			             word);
			return -EOPNOTSUPP;
		}
	}
	if (!relatime && !(m->attributes & 0x10))
		m->attributes |= 0x20; /* strictatime is what is not said */
	return 0;
}

static int parse_optional(struct mount_entry *m, const char *field, struct error *err)
{
	unsigned long long id = 0;

	if (sscanf(field, "shared:%llu", &id) == 1)
		m->peer_group = id;
	else if (sscanf(field, "master:%llu", &id) == 1)
		m->master = id;
	else if (!strcmp(field, "unbindable"))
		m->unbindable = true;
	else if (strncmp(field, "propagate_from:", 15) != 0)
		return error_refuse(err, CODE_mount_attributes, "mountinfo field '%s' is not known",
		                    field);
	return 0;
}

static void parse_sb(struct mount_sb *sb, char *type, char *options)
{
	char *dot = strchr(type, '.');

	if (sb->type)
		return;
	if (dot) {
		*dot = 0;
		sb->subtype = xstrdup(path_unescape(dot + 1));
	}
	sb->type = xstrdup(path_unescape(type));
	for (char *word; (word = strsep(&options, ","));) {
		uint64_t flag = 0;
		if (find_word(sb_words, sizeof(sb_words) / sizeof(sb_words[0]), word, &flag))
			sb->flags |= (uint32_t)flag;
		else if (*word)
			*array_push(sb->options, sb->n_options) = xstrdup(path_unescape(word));
	}
}

static int parse_line(struct mount_table *t, char *line, struct error *err)
{
	struct mount_entry *m = array_push(t->mounts, t->n_mounts);
	unsigned major = 0, minor = 0;
	char *field;

	m->id = m->old_id = (uint32_t)strtoul(next_field(&line), NULL, 10);
	m->parent_id = strtoul(next_field(&line), NULL, 10);
	if (sscanf(next_field(&line), "%u:%u", &major, &minor) != 2)
		return error_raise(err, EBADMSG, "mountinfo is malformed");
	m->root = xstrdup(path_unescape(next_field(&line)));
	m->deleted = mount_cut_deleted(m->root);
	m->point = xstrdup(path_unescape(next_field(&line)));
	int r = parse_options(m, next_field(&line), err);
	while (r == 0 && *(field = next_field(&line)) && strcmp(field, "-"))
		r = parse_optional(m, field, err);
	if (r < 0)
		return error_trace(err, r);
	char *type = next_field(&line);
	m->source = xstrdup(path_unescape(next_field(&line)));
	m->sb = mount_table_sb(t, major, minor);
	parse_sb(&t->sbs[m->sb], type, next_field(&line));
	return 0;
}

int mount_parse_mountinfo(struct mount_table *t, char *text, struct error *err)
{
	int r = 0;

	for (char *line; r == 0 && (line = strsep(&text, "\n"));)
		if (*line)
			r = parse_line(t, line, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- whose mountinfo ---- */

struct look {
	int nsfd, root;
	int proc; /* our own /proc: the namespace may have none */
};

static int open_inside(void *arg, struct error *err)
{
	const struct look *l = arg;

	if (namespace_enter(l->nsfd, CLONE_NEWNS) < 0)
		return error_raise(err, errno, "enter a mount namespace");
	if (l->root >= 0 && (fchdir(l->root) < 0 || chroot(".") < 0))
		return error_raise(err, errno, "take a task's root directory");
	int fd = openat(l->proc, "self/mountinfo", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_raise(err, errno, "open mountinfo") : fd;
}

/* the whole text, the caller's; how many lines: none when nothing is below that root, or leads to
 * it */
static int read_view(const struct look *look, char **ret, size_t *ret_n, struct error *err)
{
	int fd = helper_run_here(open_inside, (void *)look, err);
	size_t room = 0;

	if (fd < 0)
		return error_trace(err, fd);
	_cleanup_(fclose_p) FILE *f = fdopen(fd, "r");
	if (!f) {
		close_p(&fd);
		return error_raise(err, errno, "read mountinfo");
	}
	*ret_n = 0;
	errno = 0;
	if (getdelim(ret, &room, 0, f) < 0)
		return errno && errno != EINVAL ? error_raise(err, errno, "read mountinfo") : 0;
	for (const char *p = *ret; (p = strchr(p, '\n')); p++)
		++*ret_n;
	return 0;
}

/* of the views of one who enters and of a task that is in it, the one that sees more */
int mount_read_mountinfo(struct mount_table *t, int nsfd, pid_t member, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/root", member);
	_cleanup_(close_p) int root = member ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	_cleanup_(close_p) int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(free_p) char *text = NULL, *other = NULL;
	struct look look = { .nsfd = nsfd, .root = -1, .proc = proc };
	size_t n = 0, n_other = 0;
	int r = read_view(&look, &text, &n, err);

	look.root = root;
	if (r == 0 && root >= 0)
		r = read_view(&look, &other, &n_other, err);
	if (r == 0 && !n && !n_other)
		r = mount_refuse_hidden(err);
	t->namespaces[t->n_namespaces - 1].by_member = n_other > n;
	if (r == 0)
		r = mount_parse_mountinfo(t, n_other > n ? other : text, err);
	return r < 0 ? error_trace(err, r) : 0;
}
