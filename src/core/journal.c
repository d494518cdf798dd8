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

/* the folder of all journals; the caller frees it. Not all users have a runtime directory. */
static char *folder(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		return xstrdup("/run/stasis");
	if (runtime && runtime[0] == '/' && access(runtime, W_OK) == 0)
		return xasprintf("%s/stasis", runtime);
	return xasprintf("/tmp/.stasis-of-%u", geteuid());
}

/* in /tmp anybody may have made it: it must be ours, and nobody else's to write to */
static int open_folder(const char *path, int *ret_fd, struct error *err)
{
	_cleanup_(close_p) int fd = open(path, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_raise(err, errno, "open the folder of journals %s", path);
	if (st.st_uid != geteuid() || st.st_mode & 022)
		return error_raise(err, EPERM, "the folder of journals %s is not ours", path);
	*ret_fd = take_fd(&fd);
	return 0;
}

struct journal *journal_new(void)
{
	struct journal *j = xcalloc(1, sizeof(*j));

	j->fd = -1;
	return j;
}

/* `stasis cleanup` may have found it in the moment before it was locked, and removed it */
static bool is_there(int dir, const char *name, int fd)
{
	struct stat here, there;

	return fstat(fd, &here) == 0 && fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       here.st_ino == there.st_ino;
}

/* several pid namespaces may share the folder, and a process may have several journals */
static int open_journal(struct journal *j, struct error *err)
{
	_cleanup_(free_p) char *path = folder();
	_cleanup_(close_p) int dir = -1;
	char name[48];

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_raise(err, errno, "make the folder of journals %s", path);
	int r = open_folder(path, &dir, err);
	if (r < 0)
		return error_trace(err, r);
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "%d-%u", getpid(), i);
		int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd < 0)
			return error_raise(err, errno, "make the journal %s/%s", path, name);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0 || !is_there(dir, name, fd)) {
			close(fd);
			continue;
		}
		j->fd = fd;
		j->path = xasprintf("%s/%s", path, name);
		return 0;
	}
	return error_raise(err, EEXIST, "make a journal in %s", path);
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
	_cleanup_(closedir_p) DIR *dir = NULL;
	struct dirent *entry;
	struct error one;
	int first = 0;

	*ret_journals = *ret_effects = 0;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	int folder_fd, e = open_folder(path, &folder_fd, err);
	if (e < 0)
		return error_trace(err, e);
	dir = fdopendir(folder_fd);
	if (!dir)
		return error_raise(err, errno, "read %s", path);
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
