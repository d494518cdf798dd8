/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journals of killed restarts: playing back. See journal.h. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/journal.h"
#include "core/journal_private.h"
#include "kind/cgroup/walk.h"
#include "proc/status.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"
#include "util/handle.h"
#include "util/path.h"

#define PATIENCE_MS 5000

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
	if (record[0] == journal_letters[JOURNAL_UNLINK] && path == record + 1 && is_ours(path))
		r = unlinkat(folder, name, 0);
	else if (record[0] == journal_letters[JOURNAL_INODE])
		r = undo_inode(folder, record + 1, name);
	else if (record[0] == journal_letters[JOURNAL_RMDIR] && path == record + 1)
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

/* ---- cgroups ---- */

/* what is played back */
struct playback {
	char *text; /* records, one after the other */
	size_t size;
	bool keep_groups;   /* the tree runs */
	unsigned *patience; /* milliseconds that may still be waited for what is dying */
};

/* false: it has been waited long enough */
static bool wait_a_moment(unsigned *patience)
{
	if (!*patience)
		return false;
	--*patience;
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	return true;
}

/* HELD: traced; a stub still has its tracer */
enum condition { GONE, ENDING, HELD, RUNS };

static enum condition look_at(pid_t pid, uint64_t *ret_start)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/status", pid);
	_cleanup_(free_p) char *text = NULL;
	struct error ignored = ERROR_INIT;
	struct proc_status status;
	char unknown[64], state;
	uint64_t pidns;

	if (!journal_process(pid, &pidns, ret_start, &state) || state == 'Z' || state == 'X' ||
	    file_read(AT_FDCWD, path, &text) < 0 ||
	    proc_status_parse(text, &status, unknown, &ignored) < 0)
		return GONE;
	if ((status.sig_pending | status.shared_pending) & 1ull << (SIGKILL - 1))
		return ENDING;
	return status.tracer_pid ? HELD : RUNS;
}

/* of the root that a record names; another pid namespace's cannot be looked at */
static enum condition look_at_root(const char *record)
{
	unsigned long long pidns, start;
	uint64_t start_here;
	struct stat st;
	unsigned pid;

	if (sscanf(record + 1, "%llx:%x:%llx", &pidns, &pid, &start) != 3 ||
	    stat("/proc/self/ns/pid", &st) < 0 || st.st_ino != pidns)
		return GONE;
	enum condition now = look_at((pid_t)pid, &start_here);
	return now == GONE || start_here != start ? GONE : now;
}

/* the next record behind @record; NULL: none */
static const char *next_record(const struct playback *p, const char *record)
{
	const char *next = record ? record + strlen(record) + 1 : p->text;

	return next < p->text + p->size ? next : NULL;
}

static bool is_populated(const struct playback *p)
{
	for (const char *r = NULL; (r = next_record(p, r));)
		if (*r == journal_letters[JOURNAL_GROUP] && access(r + 1, F_OK) == 0 &&
		    cgroup_populated(r + 1))
			return true;
	return false;
}

/*
 * Whether the tree runs that the journal's restart was about to let go. Stubs that have their
 * tracer still will be ended by it, or are let go at this moment.
 */
static bool tree_runs(const struct playback *p)
{
	const char *tree = NULL;

	for (const char *r = NULL; (r = next_record(p, r));)
		tree = *r == TREE_LETTER ? r : tree;
	if (!tree)
		return false;
	for (;;) {
		enum condition root = look_at_root(tree);
		if (root == RUNS)
			return true;
		if (root == GONE && !is_populated(p))
			return false;
		if (!wait_a_moment(p->patience))
			return true;
	}
}

/* who has locked it is another restart, or a stub of this one that is dying */
static int undo_group(const struct playback *p, const char *path, struct error *err)
{
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool gone = fd < 0 && errno == ENOENT;

	while (!gone && (flock(fd, LOCK_EX | LOCK_NB) < 0 || rmdir(path) < 0)) {
		gone = errno == ENOENT;
		if (!gone &&
		    ((errno != EBUSY && errno != EWOULDBLOCK) || !wait_a_moment(p->patience)))
			return error_raise(err, errno, "remove the cgroup %s", path);
	}
	return 0;
}

/* ---- a journal ---- */

/* the last record that ends before @end; NULL: none */
static const char *record_before(const struct playback *p, const char *end)
{
	const char *start = end - 1;

	if (end == p->text)
		return NULL;
	while (start > p->text && start[-1])
		start--;
	return start;
}

/* last effect first */
static int undo_all(const struct playback *p, size_t *effects, struct error *err)
{
	const char *found = NULL; /* a group that was there already */
	struct error one;
	int first = 0;

	for (const char *r = p->text + p->size; (r = record_before(p, r));) {
		bool group = *r == journal_letters[JOURNAL_GROUP];
		bool skip = *r == TREE_LETTER || *r == journal_letters[JOURNAL_FOUND] ||
		            (group && (p->keep_groups || (found && !strcmp(found, r + 1))));
		found = *r == journal_letters[JOURNAL_FOUND] ? r + 1 : NULL;
		if (skip)
			continue;
		int e = group ? undo_group(p, r + 1, &one) : undo(r, &one);
		if (e < 0 && !first) {
			first = e;
			*err = one;
		}
		*effects += e == 0;
	}
	return first;
}

/* @name: of the journal, which begins with the pid of its coordinator, if that is in our namespace
 */
static bool take_lock(int fd, const char *name, unsigned *patience)
{
	uint64_t start;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0)
		if (look_at((pid_t)strtol(name, NULL, 10), &start) >= HELD ||
		    !wait_a_moment(patience))
			return false;
	return true;
}

static int play_back_one(int dir, const char *name, size_t *journals, size_t *effects,
                         unsigned *patience, struct error *err)
{
	_cleanup_(close_p) int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || !take_lock(fd, name, patience))
		return 0; /* gone, or its coordinator lives */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_size > JOURNAL_SIZE_MAX)
		return error_raise(err, EBADMSG, "the journal %s is not one of ours", name);
	if (st.st_nlink == 0)
		return 0; /* its coordinator has removed it since it was opened: all is well */
	_cleanup_(free_p) char *text = xmalloc((size_t)st.st_size + 1);
	ssize_t n = read(fd, text, (size_t)st.st_size);
	if (n < 0)
		return error_raise(err, errno, "read the journal %s", name);
	while (n && text[n - 1]) /* a record that was cut off was never had an effect of */
		n--;
	struct playback p = { .text = text, .size = (size_t)n, .patience = patience };
	p.keep_groups = tree_runs(&p);
	++*journals;
	int r = undo_all(&p, effects, err);
	if (r < 0)
		return error_trace(err, r);
	unlinkat(dir, name, 0);
	return 0;
}

int journal_play_back(size_t *ret_journals, size_t *ret_effects, struct error *err)
{
	_cleanup_(free_p) char *path = journal_folder();
	_cleanup_(closedir_p) DIR *dir = NULL;
	unsigned patience = PATIENCE_MS;
	struct dirent *entry;
	struct error one;
	int first = 0;

	*ret_journals = *ret_effects = 0;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	int folder_fd, e = journal_open_folder(path, &folder_fd, err);
	if (e < 0)
		return error_trace(err, e);
	dir = fdopendir(folder_fd);
	if (!dir)
		return error_raise(err, errno, "read %s", path);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		int r = play_back_one(dirfd(dir), entry->d_name, ret_journals, ret_effects,
		                      &patience, &one);
		if (r < 0 && !first) {
			first = r;
			*err = one;
		}
	}
	return first;
}
