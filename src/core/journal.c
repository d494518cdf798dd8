/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal of a restart. See journal.h. A record is a letter, the path and a NUL. */
#include "core/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/cleanup.h"

#define JOURNAL_SIZE_MAX (16u << 20)

struct journal {
	int fd;
	char *path;
};

#define INODE_LETTER 'i' /* device and inode in hex, and the path, which begins with a slash */

static const char letters[] = { [JOURNAL_UNLINK] = 'u', [JOURNAL_RMDIR] = 'r' };

/* the folder of all journals; the caller frees it */
static char *folder(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0 || !runtime || runtime[0] != '/')
		return xstrdup("/run/stasis");
	return xasprintf("%s/stasis", runtime);
}

struct journal *journal_new(void)
{
	struct journal *j = xcalloc(1, sizeof(*j));

	j->fd = -1;
	return j;
}

static int open_journal(struct journal *j, struct error *err)
{
	_cleanup_(free_p) char *dir = folder();

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return error_raise(err, errno, "make the folder of journals %s", dir);
	j->path = xasprintf("%s/%d", dir, getpid());
	j->fd = open(j->path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (j->fd < 0 || flock(j->fd, LOCK_EX | LOCK_NB) < 0)
		return error_raise(err, errno, "make the journal %s", j->path);
	return 0;
}

static int add_record(struct journal *j, const char *record, struct error *err)
{
	size_t size = strlen(record) + 1;

	if (j->fd < 0) {
		int r = open_journal(j, err);
		if (r < 0)
			return error_trace(err, r);
	}
	if (write(j->fd, record, size) != (ssize_t)size || fdatasync(j->fd) < 0)
		return error_raise(err, errno, "write the journal %s", j->path);
	return 0;
}

int journal_note(struct journal *j, enum journal_effect effect, const char *path, struct error *err)
{
	_cleanup_(free_p) char *record = xasprintf("%c%s", letters[effect], path);

	return add_record(j, record, err);
}

int journal_note_inode(struct journal *j, const char *path, dev_t dev, ino_t ino, struct error *err)
{
	_cleanup_(free_p) char *record = xasprintf("%c%llx:%llx%s", INODE_LETTER,
	                                           (unsigned long long)dev, (unsigned long long)ino,
	                                           path);

	return add_record(j, record, err);
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	if (j->fd >= 0)
		unlink(j->path);
	close_p(&j->fd);
	free(j->path);
	free(j);
}

static bool is_ours(const char *path)
{
	const char *slash = strrchr(path, '/');

	return path[0] == '/' && slash && !strncmp(slash + 1, ".stasis-", 8);
}

/* "i", see INODE_LETTER */
static int undo_inode(const char *record)
{
	unsigned long long dev, ino;
	const char *path = strchr(record, '/');
	struct stat st;

	if (!path || sscanf(record, "%llx:%llx/", &dev, &ino) != 2) {
		errno = EBADMSG;
		return -1;
	}
	if (lstat(path, &st) < 0)
		return -1;
	return st.st_dev == dev && st.st_ino == ino ? unlink(path) : 0;
}

static int undo(const char *record, struct error *err)
{
	const char *path = record + 1;
	int r = 0;

	if (record[0] == letters[JOURNAL_UNLINK] && is_ours(path))
		r = unlink(path);
	else if (record[0] == INODE_LETTER)
		r = undo_inode(path);
	else if (record[0] == letters[JOURNAL_RMDIR] && path[0] == '/')
		r = rmdir(path);
	else
		return error_raise(err, EBADMSG, "a journal's record '%.80s'", record);
	/* not there: it was noted, but not made any more */
	if (r < 0 && errno != ENOENT)
		return error_raise(err, errno, "remove %s", path);
	return 0;
}

/* last effect first; a record that was cut off was never had an effect of */
static int undo_all(char *text, size_t size, size_t *effects, struct error *err)
{
	int first = 0;

	while (size && text[size - 1])
		size--;
	while (size) {
		size_t start = size - 1;
		while (start && text[start - 1])
			start--;
		struct error one;
		int r = undo(text + start, &one);
		if (r < 0 && !first) {
			first = r;
			*err = one;
		}
		*effects += r == 0;
		size = start;
	}
	return first;
}

static int play_back_one(int dir, const char *name, size_t *journals, size_t *effects,
                         struct error *err)
{
	_cleanup_(close_p) int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 0; /* gone, or its coordinator lives */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_size > JOURNAL_SIZE_MAX)
		return error_raise(err, EBADMSG, "the journal %s is not one of ours", name);
	_cleanup_(free_p) char *text = xmalloc((size_t)st.st_size + 1);
	ssize_t n = read(fd, text, (size_t)st.st_size);
	if (n < 0)
		return error_raise(err, errno, "read the journal %s", name);
	++*journals;
	int r = undo_all(text, (size_t)n, effects, err);
	if (r < 0)
		return error_trace(err, r);
	unlinkat(dir, name, 0);
	return 0;
}

int journal_play_back(size_t *ret_journals, size_t *ret_effects, struct error *err)
{
	_cleanup_(free_p) char *path = folder();
	_cleanup_(closedir_p) DIR *dir = opendir(path);
	struct dirent *entry;
	struct error one;
	int first = 0;

	*ret_journals = *ret_effects = 0;
	if (!dir)
		return errno == ENOENT ? 0 : error_raise(err, errno, "open %s", path);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		int r = play_back_one(dirfd(dir), entry->d_name, ret_journals, ret_effects, &one);
		if (r < 0 && !first) {
			first = r;
			*err = one;
		}
	}
	return first;
}
