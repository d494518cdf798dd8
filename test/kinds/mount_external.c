/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host has to supply, and what only looks like a file system of the set's own: cases 29,
 * 37, 38, 57 to 59 and 69 of the design.
 *
 * TEST bind round-trip restart="--mntns new" -- bound
 * TEST directory-deleted restart-refuse restart="--mntns new" code=mount.external-missing before="rmdir outer" -- bound
 * TEST directory-replaced restart-refuse restart="--mntns new" code=mount.external-missing before="mkdir x && rmdir outer && mv x outer" -- bound
 * TEST point-missing restart-refuse restart="--mntns new" code=mount.point-missing before="rmdir point" -- mounted_on
 * TEST loop round-trip restart="--mntns new" -- loop
 * TEST loop-other-disk restart-refuse restart="--mntns new" code=mount.external-missing before="umount /mnt && mkfs.ext4 -q -F disk && mount -o loop disk /mnt" -- loop_with_uuid
 * TEST loop-read-only restart-refuse restart="--mntns new" code=mount.external-missing before="mount -o remount,ro /mnt" -- loop
 * TEST devpts round-trip restart="--mntns new" -- devpts
 * TEST pts-mounted refuse code=mount.terminal -- pts
 * TEST pts-gone refuse code=mount.deleted -- pts_gone
 * TEST live-socket refuse code=fd.unsupported -- live_socket
 * TEST socket-of-host round-trip restart="--mntns new" -- socket_of_host
 * TEST socket-outside refuse code=content.socket -- socket_outside
 * TEST stale-socket round-trip restart="--mntns new" -- stale_socket
 */
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>

#include "cases.h"
#include "mounts.h"

static void bound(void)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID;
	struct statvfs fs;

	CHECK(mkdir("outer", 0755) == 0);
	private_mounts();
	CHECK(mount("outer", "/mnt", NULL, MS_BIND, NULL) == 0);
	CHECK(mount(NULL, "/mnt", NULL, MS_REMOUNT | MS_BIND | flags, NULL) == 0);
	subject_checkpoint();
	CHECK(statvfs("/mnt", &fs) == 0 && (fs.f_flag & flags) == flags);
	CHECK(open("/mnt/new", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
}

static void mounted_on(void)
{
	CHECK(mkdir("point", 0755) == 0);
	private_mounts();
	CHECK(mount("one", "point", "tmpfs", 0, NULL) == 0);
	subject_checkpoint();
}

/* ext4 on a loop device, which the host has mounted; the device goes with the last mount */
static void loop(void)
{
	if (system("truncate -s 8M disk && mkfs.ext4 -q -F disk && mount -o loop disk /mnt &&"
	           "echo text >/mnt/file") != 0)
		SKIP("no loop device can be used");
	private_mounts();
	CHECK(mount("/mnt", "/opt", NULL, MS_BIND, NULL) == 0);
	subject_checkpoint();
	CHECK(access("/opt/file", F_OK) == 0 && access("/mnt/file", F_OK) == 0);
}

static void loop_with_uuid(void)
{
	struct {
		uint8_t size, uuid[16];
	} answer;
	int fd = open("/", O_RDONLY);

	if (ioctl(fd, _IOR(0x15, 0, answer), &answer) < 0 && errno == ENOTTY)
		SKIP("file systems do not tell their UUIDs before Linux 6.9");
	close(fd);
	loop();
}

static void devpts(void)
{
	struct stat st;

	private_mounts();
	CHECK(mount("devpts", "/mnt", "devpts", 0, "newinstance,ptmxmode=0666,mode=0620,gid=5") ==
	      0);
	CHECK(mount("one", "/opt", "tmpfs", 0, NULL) == 0);
	int fd = open("/opt/ptmx", O_WRONLY | O_CREAT, 0600);
	CHECK(close(fd) == 0 && mount("/mnt/ptmx", "/opt/ptmx", NULL, MS_BIND, NULL) == 0);
	subject_checkpoint();
	CHECK(stat("/opt/ptmx", &st) == 0 && S_ISCHR(st.st_mode) && (st.st_mode & 0777) == 0666);
	fd = open("/opt/ptmx", O_RDWR | O_NOCTTY);
	CHECK(fd >= 0 && access("/mnt/0", F_OK) == 0);
}

/* as the console of a container, but nobody has it open: see test/cli/container_terminal.py */
static void pts(void)
{
	private_mounts();
	CHECK(mount("devpts", "/mnt", "devpts", 0, "newinstance,ptmxmode=0666") == 0);
	CHECK(mount("one", "/opt", "tmpfs", 0, NULL) == 0);
	int fd = open("/opt/console", O_WRONLY | O_CREAT, 0600);
	CHECK(close(fd) == 0);
	int ptmx = open("/mnt/ptmx", O_RDWR | O_NOCTTY);
	CHECK(ptmx >= 0 && mount("/mnt/0", "/opt/console", NULL, MS_BIND, NULL) == 0);
	subject_checkpoint();
}

/* its other end has been closed */
static void pts_gone(void)
{
	private_mounts();
	CHECK(mount("devpts", "/mnt", "devpts", 0, "newinstance,ptmxmode=0666") == 0);
	CHECK(mount("one", "/opt", "tmpfs", 0, NULL) == 0);
	int fd = open("/opt/console", O_WRONLY | O_CREAT, 0600);
	CHECK(close(fd) == 0);
	int ptmx = open("/mnt/ptmx", O_RDWR | O_NOCTTY);
	CHECK(ptmx >= 0 && mount("/mnt/0", "/opt/console", NULL, MS_BIND, NULL) == 0);
	CHECK(close(ptmx) == 0);
	subject_checkpoint();
}

/* somebody listens at the node that is mounted */
static void live_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/mnt/socket" };

	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(server >= 0 && bind(server, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(listen(server, 1) == 0);
	int fd = open("/mnt/point", O_WRONLY | O_CREAT, 0600);
	CHECK(close(fd) == 0 && mount("/mnt/socket", "/mnt/point", NULL, MS_BIND, NULL) == 0);
	subject_checkpoint();
	strcpy(address.sun_path, "/mnt/point");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
}

/* somebody outside of the set listens there, as soon as the name @when is there; not a leak by
 * itself */
static void listen_outside(const char *path, const char *when)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fork() == 0) {
		if (fork() != 0)
			_exit(0);
		setsid();             /* or the subject's number would be in use */
		close_range(0, 2, 0); /* test/run's "output" would be a leak */
		subject_wait(when);
		int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		CHECK(bind(server, (struct sockaddr *)&address, sizeof(address)) == 0);
		CHECK(listen(server, 1) == 0);
		subject_mark("listens");
		subject_wait_go();
		subject_wait("connected");
		_exit(0);
	}
	CHECK(wait(NULL) > 0);
}

/* as a service that a container is given */
static void socket_of_host(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/mnt/point" };

	listen_outside("socket", ".");
	subject_wait("listens");
	private_mounts();
	mount_tmpfs("/mnt", NULL);
	int fd = open("/mnt/point", O_WRONLY | O_CREAT, 0600);
	CHECK(close(fd) == 0);
	bind_mount("socket", "/mnt/point");
	subject_checkpoint();
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	subject_mark("connected");
}

/* in a file system that is made anew the listener would not be found */
static void socket_outside(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/root/mnt/socket", getpid());
	listen_outside(path, "mounted");
	private_mounts();
	mount_tmpfs("/mnt", NULL);
	subject_mark("mounted");
	subject_wait("listens");
	subject_checkpoint();
	subject_mark("connected");
}

/* the node of a socket that is closed, by itself and mounted */
static void stale_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/mnt/socket" };
	struct stat st;

	private_mounts();
	CHECK(mount("one", "/mnt", "tmpfs", 0, NULL) == 0);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(close(fd) == 0 && chmod("/mnt/socket", 0606) == 0);
	fd = open("/mnt/point", O_WRONLY | O_CREAT, 0600);
	CHECK(close(fd) == 0 && mount("/mnt/socket", "/mnt/point", NULL, MS_BIND, NULL) == 0);
	subject_checkpoint();
	CHECK(stat("/mnt/point", &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0606);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
	      errno == ECONNREFUSED);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(bound), CASE(mounted_on), CASE(loop),
	                     CASE(loop_with_uuid), CASE(devpts), CASE(pts), CASE(stale_socket),
	                     CASE(pts_gone), CASE(live_socket), CASE(socket_of_host),
	                     CASE(socket_outside));
}
