/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal of a restart: writing. See journal.h; the form of records is in journal_private.h. */
#include "core/journal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/journal_private.h"
#include "proc/stat.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/handle.h"

struct journal {
	int fd;
	char *path;
};

const char journal_letters[] = { [JOURNAL_UNLINK] = 'u',
	                         [JOURNAL_RMDIR] = 'r',
	                         [JOURNAL_INODE] = 'i',
	                         [JOURNAL_GROUP] = 'g',
	                         [JOURNAL_FOUND] = 'f' };

/* not all users have a runtime directory */
char *journal_folder(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		return xstrdup("/run/stasis");
	if (runtime && runtime[0] == '/' && access(runtime, W_OK) == 0)
		return xasprintf("%s/stasis", runtime);
	return xasprintf("/tmp/.stasis-of-%u", geteuid());
}

int journal_open_folder(const char *path, int *ret_fd, struct error *err)
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

bool journal_process(pid_t pid, uint64_t *ret_pidns, uint64_t *ret_start, char *ret_state)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/stat", pid);
	_cleanup_(free_p) char *text = NULL;
	struct error ignored = ERROR_INIT;
	struct proc_stat stat_here;
	struct stat st;

	if (file_read(AT_FDCWD, path, &text) < 0 || proc_stat_parse(text, &stat_here, &ignored) < 0)
		return false;
	*ret_pidns = stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
	*ret_start = stat_here.starttime;
	if (ret_state)
		*ret_state = stat_here.state;
	return true;
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
	_cleanup_(free_p) char *path = journal_folder();
	_cleanup_(close_p) int dir = -1;
	char name[48];

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_raise(err, errno, "make the folder of journals %s", path);
	int r = journal_open_folder(path, &dir, err);
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
	_cleanup_(free_p) char *record = xasprintf("%s%c%s%s", folder, journal_letters[effect],
	                                           inode, path);
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

int journal_note_tree(struct journal *j, pid_t root, struct error *err)
{
	uint64_t pidns, start;

	if (!journal_process(root, &pidns, &start, NULL))
		return error_raise(err, ESRCH, "look at the tree's root %d", root);
	_cleanup_(free_p) char *record = xasprintf("%c%llx:%x:%llx", TREE_LETTER,
	                                           (unsigned long long)pidns, (unsigned)root,
	                                           (unsigned long long)start);
	return add_record(j, record, err);
}

void journal_leave(struct journal *j)
{
	if (!j)
		return;
	close_p(&j->fd);
	free(j->path);
	free(j);
}

void journal_free(struct journal *j)
{
	if (j && j->fd >= 0)
		unlink(j->path);
	journal_leave(j);
}
