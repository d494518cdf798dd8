/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FUSE and autofs: whoever serves them is held itself, or not ours to ask. A checkpoint must
 * neither wait for an answer nor guess. Cases 66 to 68 of the design.
 *
 * TEST server-in-the-set refuse code=mount.filesystem -- mounted
 * TEST open-file refuse code=regfile.filesystem -- open_file
 * TEST working-directory refuse code=regfile.filesystem -- working_directory
 * TEST mapped refuse code=regfile.filesystem -- mapped
 * TEST mapped-unseen refuse without=map_files code=mm.file-link -- mapped
 * TEST executable refuse code=regfile.filesystem -- executable
 * TEST library refuse code=regfile.filesystem -- library
 * TEST open-fifo refuse code=mount.filesystem -- open_fifo
 * TEST open-fifo-unmounted refuse code=fifo.path check=mount.detached -- open_fifo_unmounted
 * TEST open-file-unmounted refuse code=mount.detached -- open_file_unmounted
 * TEST working-directory-unmounted refuse code=mount.detached -- working_directory_unmounted
 * TEST mapped-unmounted refuse code=mount.detached -- mapped_unmounted
 * TEST executable-unmounted refuse code=mount.detached -- executable_unmounted
 * TEST served-outside round-trip restart="--mntns new" -- served_outside
 * TEST served-outside-named round-trip checkpoint="--external mount:[/mnt]=files" restart="--mntns new --external files=/mnt" -- served_outside
 * TEST autofs refuse code=mount.filesystem -- autofs
 */
#include <limits.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "cases.h"
#include "mounts.h"

/* ---- a file system with one file, "file", which holds "text"; nothing may be remembered of it
 * ---- */

/* what "file" holds; -1: "text" */
static int content = -1;

static uint64_t content_size(void)
{
	struct stat st;

	return content >= 0 && fstat(content, &st) == 0 ? (uint64_t)st.st_size : 4;
}

static void answer(int fd, uint64_t unique, int error, const void *data, size_t size)
{
	struct fuse_out_header head = { .len = (uint32_t)(sizeof(head) + size),
		                        .error = error,
		                        .unique = unique };
	struct iovec parts[2] = { { &head, sizeof(head) }, { (void *)data, size } };

	CHECK(writev(fd, parts, 2) == (ssize_t)head.len || errno == ENOENT);
}

static struct fuse_attr attributes(uint64_t node)
{
	return (struct fuse_attr){ .ino = node,
		                   .size = content_size(),
		                   .mode = node == 1   ? S_IFDIR | 0755
		                           : node == 2 ? S_IFREG | 0755
		                                       : S_IFIFO | 0600,
		                   .nlink = 1 };
}

static void answer_read(int fd, uint64_t unique, const struct fuse_read_in *in)
{
	static char data[1 << 17];
	ssize_t n = content >= 0 ? pread(content, data, in->size, (off_t)in->offset) : -1;

	if (n >= 0)
		answer(fd, unique, 0, data, (size_t)n);
	else
		answer(fd, unique, 0, "text", in->offset ? 0 : 4);
}

static void serve(int fd, const struct fuse_in_header *in, const char *name)
{
	struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION,
		                      .minor = FUSE_KERNEL_MINOR_VERSION,
		                      .max_write = 65536 };
	uint64_t node = in->opcode == FUSE_LOOKUP && !strcmp(name, "fifo") ? 3 : 2;
	struct fuse_entry_out entry = { .nodeid = node, .attr = attributes(node) };
	struct fuse_attr_out attr = { .attr = attributes(in->nodeid) };
	struct fuse_open_out opened = { 0 };

	switch (in->opcode) {
	case FUSE_INIT:
		answer(fd, in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		if (strcmp(name, "file") != 0 && strcmp(name, "libc") != 0 &&
		    strcmp(name, "fifo") != 0)
			answer(fd, in->unique, -ENOENT, NULL, 0);
		else
			answer(fd, in->unique, 0, &entry, sizeof(entry));
		break;
	case FUSE_GETATTR:
		answer(fd, in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		answer(fd, in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_READ:
		answer_read(fd, in->unique, (const void *)name);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		answer(fd, in->unique, in->opcode == FUSE_RELEASE ? 0 : -ENOSYS, NULL, 0);
	}
}

static void __attribute__((noreturn)) run_server(int fd)
{
	static char request[1 << 17];

	for (;;) {
		ssize_t n = read(fd, request, sizeof(request));
		if (n < 0 && errno == ENODEV) /* unmounted */
			_exit(0);
		if (n < (ssize_t)sizeof(struct fuse_in_header))
			continue;
		serve(fd, (void *)request, request + sizeof(struct fuse_in_header));
	}
}

/* mounts it on /mnt; the server is a child, or a process outside */
static void mount_it(bool outside)
{
	char options[80];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		SKIP("no /dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	CHECK(mount("none", "/mnt", "fuse.test", 0, options) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (outside && fork() != 0)
			_exit(0);
		if (outside && setsid() > 0) /* it shares nothing with the set */
			for (int i = 0; i < 3; i++)
				close(i);
		else
			prctl(PR_SET_PDEATHSIG, SIGKILL);
		run_server(fd);
	}
	if (outside)
		CHECK(waitpid(pid, NULL, 0) == pid);
	close(fd);
	struct stat st;
	CHECK(stat("/mnt/file", &st) == 0 && (uint64_t)st.st_size == content_size());
}

/* no mount namespace has it any more: who looks must find out without asking what it is */
static bool unmounts;

static void unmount(void)
{
	if (unmounts)
		CHECK(umount2("/mnt", MNT_DETACH) == 0);
}

static void mounted(void)
{
	private_mounts();
	mount_it(false);
	subject_checkpoint();
}

static void open_file(void)
{
	char text[8] = "";

	private_mounts();
	mount_it(false);
	int fd = open("/mnt/file", O_RDONLY);
	CHECK(fd >= 0);
	unmount();
	subject_checkpoint();
	CHECK(pread(fd, text, 7, 0) == 4 && !strcmp(text, "text"));
}

/* of a child: the subject's own is where "go" appears */
static void working_directory(void)
{
	private_mounts();
	mount_it(false);
	char cwd[PATH_MAX];
	CHECK(getcwd(cwd, sizeof(cwd)));
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(chdir("/mnt") == 0);
		for (;;)
			pause();
	}
	subject_wait_call(pid, SYS_pause);
	unmount();
	subject_checkpoint();
	CHECK(kill(pid, SIGKILL) == 0);
}

static void mapped(void)
{
	private_mounts();
	mount_it(false);
	int fd = open("/mnt/file", O_RDONLY);
	char *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(fd >= 0 && map != MAP_FAILED && close(fd) == 0);
	CHECK(!memcmp(map, "text", 4));
	unmount();
	subject_checkpoint();
	CHECK(!memcmp(map, "text", 4));
}

/* and the libraries of it are on a disk: so that calls can be injected, its text is looked into */
static void executable(void)
{
	private_mounts();
	content = open("/bin/sleep", O_RDONLY | O_CLOEXEC);
	CHECK(content >= 0);
	mount_it(false);
	close(content);
	pid_t pid = fork();
	if (pid == 0) {
		execl("/mnt/file", "sleep", "1000", NULL);
		_exit(1);
	}
	subject_wait_call(pid, SYS_clock_nanosleep);
	unmount();
	subject_checkpoint();
	CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

/* what looks like the C library is looked into first of all */
static void library(void)
{
	private_mounts();
	mount_it(false);
	int fd = open("/mnt/libc", O_RDONLY);
	char *map = mmap((void *)0x100000, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd,
	                 0);
	CHECK(fd >= 0 && map != MAP_FAILED && close(fd) == 0);
	subject_checkpoint();
}

static void open_fifo(void)
{
	private_mounts();
	mount_it(false);
	CHECK(open("/mnt/fifo", O_RDWR) >= 0);
	unmount();
	subject_checkpoint();
}

static void open_fifo_unmounted(void)
{
	unmounts = true;
	open_fifo();
}

static void open_file_unmounted(void)
{
	unmounts = true;
	open_file();
}

static void working_directory_unmounted(void)
{
	unmounts = true;
	working_directory();
}

static void mapped_unmounted(void)
{
	unmounts = true;
	mapped();
}

static void executable_unmounted(void)
{
	unmounts = true;
	executable();
}

static void served_outside(void)
{
	struct stat st;

	mount_it(true);
	private_mounts();
	subject_checkpoint();
	CHECK(stat("/mnt/file", &st) == 0 && st.st_size == 4);
}

/* nobody reads its pipe: whoever looked at what is below it would wait for ever */
static void autofs(void)
{
	char options[80];
	int fds[2];

	private_mounts();
	CHECK(pipe(fds) == 0);
	setpgid(0, 0); /* our process group may be one of a pid namespace above */
	snprintf(options, sizeof(options), "fd=%d,pgrp=%d,minproto=5,maxproto=5,indirect", fds[1],
	         (int)getpgrp());
	if (mount("none", "/mnt", "autofs", 0, options) < 0)
		SKIP("no autofs: %s", strerror(errno));
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(mounted), CASE(open_file), CASE(working_directory),
	                     CASE(mapped), CASE(executable), CASE(library), CASE(open_fifo),
	                     CASE(open_fifo_unmounted), CASE(open_file_unmounted),
	                     CASE(working_directory_unmounted), CASE(mapped_unmounted),
	                     CASE(executable_unmounted), CASE(served_outside), CASE(autofs));
}
