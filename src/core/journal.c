/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal of a restart. See journal.h. A record is a letter, for inodes their device and number
 * in hex, the path and a NUL. Where only a handle leads to the folder, "b", the device, the type of
 * the handle and the handle in hex come before all that, and the path is a slash and the name.
 */
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
#include "util/handle.h"
#include "util/path.h"

#define JOURNAL_SIZE_MAX (16u << 20)

struct journal {
	int fd;
	char *path;
};

#define BELOW_LETTER 'b'

static const char letters[] = {
	[JOURNAL_UNLINK] = 'u', [JOURNAL_RMDIR] = 'r', [JOURNAL_INODE] = 'i'
};

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
	if (write(j->fd, record, size) != (ssize_t)size)
		return error_raise(err, errno, "write the journal %s", j->path);
	return 0;
}

/* @folder: "", or what leads to it; @path begins with a slash */
static int note(struct journal *j, enum journal_effect effect, const char *folder, const char *path,
                const struct stat *st, struct error *err)
{
	char inode[40] = "";

	if (effect == JOURNAL_INODE)
		snprintf(inode, sizeof(inode), "%llx:%llx", (unsigned long long)st->st_dev,
		         (unsigned long long)st->st_ino);
	_cleanup_(free_p) char *record = xasprintf("%s%c%s%s", folder, letters[effect], inode,
	                                           path);
	return add_record(j, record, err);
}

int journal_note(struct journal *j, enum journal_effect effect, const char *path,
                 const struct stat *st, struct error *err)
{
	return note(j, effect, "", path, st, err);
}

int journal_note_below(struct journal *j, enum journal_effect effect, int folder, const char *name,
                       const struct stat *st, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/%s", name);
	struct handle_room handle = HANDLE_ROOM_INIT;
	char text[64 + 2 * MAX_HANDLE_SZ];
	struct stat above;
	int mount_id;

	if (fstat(folder, &above) < 0 ||
	    name_to_handle_at(folder, "", &handle.head, &mount_id, AT_EMPTY_PATH) < 0)
		return error_raise(err, errno, "the handle of a directory, for the journal");
	int size = snprintf(text, sizeof(text), "%c%llx:%x:", BELOW_LETTER,
	                    (unsigned long long)above.st_dev, (unsigned)handle.head.handle_type);
	for (unsigned i = 0; i < handle.head.handle_bytes; i++)
		size += snprintf(text + size, sizeof(text) - (size_t)size, "%02x", handle.room[i]);
	snprintf(text + size, sizeof(text) - (size_t)size, ":");
	return note(j, effect, text, path, st, err);
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
	return !strncmp(strrchr(path, '/') + 1, ".stasis-", 8);
}

/* the fifth field of a line of mountinfo, in place; NULL: none */
static const char *mount_point(char *line)
{
	for (int i = 0; line && i < 4; i++)
		strsep(&line, " ");
	char *point = strsep(&line, " ");

	return point ? path_unescape(point) : NULL;
}

/* @fd: O_PATH. Nothing is opened whose opening does something. */
static bool is_on(int fd, dev_t device)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == device &&
	       (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode));
}

/* the root of any mount of that device; -1 with errno */
static int open_device(dev_t device)
{
	_cleanup_(fclose_p) FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_(free_p) char *line = NULL;
	size_t room = 0;

	while (f && getline(&line, &room, f) > 0) {
		const char *point = mount_point(line);
		_cleanup_(close_p) int fd = point ? open(point, O_PATH | O_CLOEXEC) : -1;
		if (is_on(fd, device))
			return handle_reopen(fd, O_RDONLY, -1);
	}
	errno = ENOENT;
	return -1;
}

/* the folder that a record with BELOW_LETTER tells; *ret_rest: what follows. -1 with errno */
static int open_below(const char *record, const char **ret_rest)
{
	struct handle_room handle = HANDLE_ROOM_INIT;
	unsigned long long device;
	unsigned byte;
	int size = 0;

	handle.head.handle_bytes = 0;
	errno = EBADMSG;
	if (sscanf(record, "%llx:%x:%n", &device, (unsigned *)&handle.head.handle_type, &size) != 2)
		return -1;
	for (record += size; sscanf(record, "%2x", &byte) == 1; record += 2) {
		if (handle.head.handle_bytes == MAX_HANDLE_SZ)
			return -1;
		handle.room[handle.head.handle_bytes++] = (unsigned char)byte;
	}
	if (*record != ':')
		return -1;
	*ret_rest = record + 1;
	_cleanup_(close_p) int mount = open_device(device);
	return mount < 0 ? -1 : open_by_handle_at(mount, &handle.head, O_DIRECTORY | O_CLOEXEC);
}

/* JOURNAL_INODE: unlinks it if it is that one */
static int undo_inode(int folder, const char *record, const char *path)
{
	unsigned long long dev, ino;
	struct stat st;

	if (sscanf(record, "%llx:%llx/", &dev, &ino) != 2) {
		errno = EBADMSG;
		return -1;
	}
	if (fstatat(folder, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	return st.st_dev == dev && st.st_ino == ino ? unlinkat(folder, path, 0) : 0;
}

/* @folder: open, and the path a slash and a name in it; or -1 */
static int undo_in(int folder, const char *record, struct error *err)
{
	const char *path = strchr(record, '/');
	int r = 0;

	if (!path || !path[1] || (folder >= 0 && strchr(path + 1, '/')))
		return error_raise(err, EBADMSG, "a journal's record '%.80s'", record);
	const char *name = folder < 0 ? path : path + 1;
	if (record[0] == letters[JOURNAL_UNLINK] && path == record + 1 && is_ours(path))
		r = unlinkat(folder, name, 0);
	else if (record[0] == letters[JOURNAL_INODE])
		r = undo_inode(folder, record + 1, name);
	else if (record[0] == letters[JOURNAL_RMDIR] && path == record + 1)
		r = unlinkat(folder, name, AT_REMOVEDIR);
	else
		return error_raise(err, EBADMSG, "a journal's record '%.80s'", record);
	/* not there: it was noted, but not made any more */
	if (r < 0 && errno != ENOENT)
		return error_raise(err, errno, "remove %s", path);
	return 0;
}

static int undo(const char *record, struct error *err)
{
	const char *rest = record;

	if (record[0] != BELOW_LETTER)
		return undo_in(-1, record, err);
	_cleanup_(close_p) int folder = open_below(record + 1, &rest);
	if (folder < 0 && errno == ESTALE)
		return 0; /* the directory is gone, and all that was in it */
	if (folder < 0)
		return error_raise(err, errno, "find the directory of a journal's record '%.80s'",
		                   record);
	return undo_in(folder, rest, err);
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
