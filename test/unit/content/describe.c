/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An independent description of a tree: two texts are the same or the trees are not. */
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "content/tools.h"
#include "util/alloc.h"
#include "util/cleanup.h"

struct text {
	char *data;
	size_t size;
};

static void add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *format, ...)
{
	char line[8192];
	va_list args;

	va_start(args, format);
	int n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	t->data = xrealloc(t->data, t->size + (size_t)n + 1, 1);
	memcpy(t->data + t->size, line, (size_t)n + 1);
	t->size += (size_t)n;
}

static uint64_t hash(uint64_t h, const void *data, size_t size)
{
	for (const unsigned char *p = data; size; size--)
		h = (h ^ *p++) * 0x100000001b3;
	return h;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_xattrs(struct text *t, const char *path)
{
	static char names[65536], value[65536];
	ssize_t n = llistxattr(path, names, sizeof(names));
	char *sorted[64];
	size_t count = 0;

	for (char *x = names; n > 0 && x < names + n && count < 64; x += strlen(x) + 1)
		sorted[count++] = x;
	qsort(sorted, count, sizeof(*sorted), by_text);
	for (size_t i = 0; i < count; i++) {
		ssize_t size = lgetxattr(path, sorted[i], value, sizeof(value));
		ok(size);
		add(t, " %s=%zd:%llx", sorted[i], size,
		    (unsigned long long)hash(1, value, (size_t)size));
	}
}

/* stretches of data and what is in them */
static void add_data(struct text *t, const char *path, off_t size)
{
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_NOATIME | O_CLOEXEC);
	_cleanup_(free_p) char *buffer = xmalloc(1 << 20);
	off_t at = 0;

	ok(fd);
	while (at < size && (at = lseek(fd, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(fd, at, SEEK_HOLE);
		uint64_t h = 1;
		for (off_t from = at; from < end;) {
			size_t most = end - from < 1 << 20 ? (size_t)(end - from) : 1 << 20;
			ssize_t n = pread(fd, buffer, most, from);
			assert_true(n > 0);
			h = hash(h, buffer, (size_t)n);
			from += n;
		}
		add(t, " [%lld-%lld %llx]", (long long)at, (long long)end, (unsigned long long)h);
		at = end;
	}
}

static void add_flags(struct text *t, const char *path)
{
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_NOATIME | O_CLOEXEC);
	unsigned flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0)
		add(t, " flags %x", flags);
}

static void add_inode(struct text *t, const char *path, const char *shown, const struct stat *st)
{
	char target[4096] = "";

	add(t, "%s: %o %u:%u x%lu %llx %lld blocks %lld a %lld.%09ld m %lld.%09ld", shown,
	    st->st_mode, st->st_uid, st->st_gid, (unsigned long)st->st_nlink,
	    (unsigned long long)st->st_rdev, S_ISDIR(st->st_mode) ? 0 : (long long)st->st_size,
	    (long long)st->st_blocks, (long long)st->st_atim.tv_sec, st->st_atim.tv_nsec,
	    (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	add_xattrs(t, path);
	if (S_ISREG(st->st_mode))
		add_data(t, path, st->st_size);
	if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode))
		add_flags(t, path);
	if (S_ISLNK(st->st_mode)) {
		struct timespec times[] = { st->st_atim, { .tv_nsec = UTIME_OMIT } };
		ok(readlink(path, target, sizeof(target) - 1));
		ok(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW));
		add(t, " -> %s", target);
	}
	add(t, "\n");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

struct seen { /* of an inode with several names: the first */
	ino_t ino;
	char *name;
};

static void describe(struct text *t, const char *path, size_t root_size, struct seen *seen,
                     size_t *n_seen)
{
	const char *shown = path + root_size;
	struct dirent **entries;
	struct stat st;

	ok(lstat(path, &st));
	for (size_t i = 0; !S_ISDIR(st.st_mode) && i < *n_seen; i++)
		if (seen[i].ino == st.st_ino) {
			add(t, "%s = %s\n", shown, seen[i].name);
			return;
		}
	if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
		assert_true(*n_seen < 64);
		seen[(*n_seen)++] = (struct seen){ st.st_ino, xstrdup(shown) };
	}
	add_inode(t, path, shown, &st);
	if (!S_ISDIR(st.st_mode))
		return;
	int n = scandir(path, &entries, NULL, by_name);
	ok(n);
	for (int i = 0; i < n; i++) {
		_cleanup_(free_p) char *below = xasprintf("%s/%s", path, entries[i]->d_name);
		if (strcmp(entries[i]->d_name, ".") && strcmp(entries[i]->d_name, ".."))
			describe(t, below, root_size, seen, n_seen);
		free(entries[i]);
	}
	free(entries);
}

char *description(const char *root)
{
	struct text t = { 0 };
	struct seen seen[64];
	size_t n = 0;

	describe(&t, root, strlen(root), seen, &n);
	for (size_t i = 0; i < n; i++)
		free(seen[i].name);
	return t.data;
}

void assert_same(const char *a, const char *b)
{
	size_t i = 0, line = 0;

	if (!strcmp(a, b))
		return;
	while (a[i] == b[i]) {
		if (a[i++] == '\n')
			line = i;
	}
	fprintf(stderr, "was: %.*s\nis:  %.*s\n", (int)strcspn(a + line, "\n"), a + line,
	        (int)strcspn(b + line, "\n"), b + line);
	fail();
}
