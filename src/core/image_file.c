/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file that an image goes into. See image_file.h. */
#include "core/image_file.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/journal.h"
#include "util/alloc.h"
#include "util/cleanup.h"

/* an image holds the memory of programs: for its owner alone */
#define IMAGE_MODE 0600

static char *directory_of(const char *path)
{
	_cleanup_(free_p) char *copy = xstrdup(path);

	return xstrdup(dirname(copy));
}

/* a name beside @path that is ours alone */
static char *temporary_name(const char *path)
{
	_cleanup_(free_p) char *directory = directory_of(path);
	_cleanup_(free_p) char *absolute = realpath(directory, NULL);

	return absolute ? xasprintf("%s/.stasis-%d", absolute, (int)getpid()) : NULL;
}

static int existing(const char *path, struct error *err)
{
	error_raise(err, EEXIST, "write the image %s", path);
	error_hint(err, "give another name, or --force to replace it");
	return -EEXIST;
}

/* file systems without O_TMPFILE: under a name that is noted for `stasis cleanup` */
static int open_named(struct image_file *file, struct error *err)
{
	file->temporary = temporary_name(file->path);
	if (!file->temporary)
		return error_raise(err, errno, "find the directory of %s", file->path);
	file->journal = journal_new();
	int r = journal_note(file->journal, JOURNAL_UNLINK, file->temporary, NULL, err);
	if (r < 0)
		return error_trace(err, r);
	file->fd = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, IMAGE_MODE);
	if (file->fd < 0) {
		r = error_raise(err, errno, "make the file %s", file->temporary);
		free(take_ptr(file->temporary));
		return r;
	}
	return 0;
}

int image_file_open(struct image_file *file, const char *path, bool force, struct error *err)
{
	struct stat st;

	*file = IMAGE_FILE_INIT;
	file->path = path;
	file->force = force;
	if (!strcmp(path, "-")) {
		file->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		return file->fd < 0 ? error_raise(err, errno, "use standard output") : 0;
	}
	/* nor a link to a terminal or a pipe, as /dev/stdout is */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		error_raise(err, EINVAL, "write the image %s, which is no regular file", path);
		error_hint(err, "give another name, or -o - for standard output");
		return -EINVAL;
	}
	if (!force && lstat(path, &st) == 0)
		return existing(path, err);
	_cleanup_(free_p) char *directory = directory_of(path);
	file->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, IMAGE_MODE);
	if (file->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return error_raise(err, errno, "make a file in %s", directory);
	return open_named(file, err);
}

/* the nameless file gets @name */
static int link_to(int fd, const char *name)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* to replace a file it needs a name first: for the moment between two system calls */
static int replace(struct image_file *file, struct error *err)
{
	if (!file->temporary) {
		_cleanup_(free_p) char *name = temporary_name(file->path);
		int r = name ? link_to(file->fd, name) : -errno;
		if (r < 0)
			return error_raise(err, -r, "name the image beside %s", file->path);
		file->temporary = take_ptr(name);
	}
	if (rename(file->temporary, file->path) < 0)
		return error_raise(err, errno, "rename the image to %s", file->path);
	free(take_ptr(file->temporary));
	return 0;
}

static int sync_directory(const char *path, struct error *err)
{
	_cleanup_(free_p) char *directory = directory_of(path);
	_cleanup_(close_p) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* EINVAL: a file system that needs no sync of directories, fsync(2) */
	if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
		return error_raise(err, errno, "sync the directory %s", directory);
	return 0;
}

int image_file_publish(struct image_file *file, struct error *err)
{
	int r;

	if (!strcmp(file->path, "-"))
		return 0;
	if (file->force) {
		r = replace(file, err);
	} else {
		if (file->temporary)
			r = link(file->temporary, file->path) < 0 ? -errno : 0;
		else
			r = link_to(file->fd, file->path);
		if (r == -EEXIST)
			return existing(file->path, err);
		if (r < 0)
			r = error_raise(err, -r, "name the image %s", file->path);
	}
	if (r < 0)
		return error_trace(err, r);
	r = sync_directory(file->path, err);
	if (r < 0 && !file->force) /* what was replaced does not come back: a whole image stays */
		unlink(file->path);
	return r < 0 ? error_trace(err, r) : 0;
}

void image_file_close(struct image_file *file)
{
	close_p(&file->fd);
	if (file->temporary)
		unlink(file->temporary);
	free(take_ptr(file->temporary));
	journal_free(take_ptr(file->journal));
}
