/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parser of /proc/PID/fdinfo/N. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "proc/fdinfo.h"
#include "proc/locks.h"

static void parse(const char *text, struct proc_fdinfo *ret)
{
	struct error err = ERROR_INIT;

	assert_int_equal(proc_fdinfo_parse(text, ret, &err), 0);
}

static void test_plain(void **state)
{
	struct proc_fdinfo info;

	parse("pos:\t4711\nflags:\t02102001\nmnt_id:\t27\nino:\t18446744073709551615\n", &info);
	assert_int_equal(info.pos, 4711);
	assert_int_equal(info.flags, O_WRONLY | O_APPEND | O_CLOEXEC | 0100000);
	assert_int_equal(info.mnt_id, 27);
	assert_true(info.ino == UINT64_MAX);
	assert_int_equal(info.n_locks, 0);
	assert_string_equal(info.unknown, "");
	proc_fdinfo_done(&info);
}

/* who waits for the end of a lease is shown with no file */
static void test_lease_waiter(void **state)
{
	struct proc_locks_entry *entries;
	struct error err = ERROR_INIT;
	size_t n;

	assert_int_equal(proc_locks_parse("1: LEASE  BREAKING  READ 17 00:2e:5 0 EOF\n"
	                                  "1: -> LEASE  BREAKER   READ 28975 <none>:0 0 EOF\n",
	                                  &entries, &n, &err),
	                 0);
	assert_int_equal(n, 2);
	assert_false(entries[0].waits);
	assert_int_equal(entries[0].lock.inode, 5);
	assert_true(entries[1].waits);
	assert_int_equal(entries[1].lock.device, 0);
	assert_int_equal(entries[1].lock.inode, 0);
	free(entries);
	assert_true(proc_locks_parse("1: LEASE ACTIVE READ 17 <none>:1 0 EOF\n", &entries, &n,
	                             &err) < 0);
	assert_true(proc_locks_parse("1: LEASE ACTIVE READ 17 00:2e:5x 0 EOF\n", &entries, &n,
	                             &err) < 0);
}

static void test_locks(void **state)
{
	struct proc_fdinfo info;

	parse("pos:\t0\nflags:\t0100002\nmnt_id:\t27\nino:\t2\n"
	      "lock:\t1: POSIX  ADVISORY  WRITE 255 08:04:1234 0 EOF\n"
	      "lock:\t2: OFDLCK ADVISORY  READ  -1 fe:00:99 10 19\n"
	      "lock:\t3: LEASE  BREAKING  READ  7 fe:00:99 0 EOF\n",
	      &info);
	assert_int_equal(info.n_locks, 3);
	assert_string_equal(info.locks[0].type, "POSIX");
	assert_string_equal(info.locks[0].access, "WRITE");
	assert_int_equal(info.locks[0].pid, 255);
	assert_true(info.locks[0].device == makedev(8, 4));
	assert_int_equal(info.locks[0].inode, 1234);
	assert_true(info.locks[0].end == UINT64_MAX);
	assert_string_equal(info.locks[1].type, "OFDLCK");
	assert_string_equal(info.locks[1].mode, "ADVISORY");
	assert_int_equal(info.locks[1].pid, -1);
	assert_int_equal(info.locks[1].start, 10);
	assert_int_equal(info.locks[1].end, 19);
	assert_string_equal(info.locks[2].mode, "BREAKING");
	assert_string_equal(info.unknown, "");
	proc_fdinfo_done(&info);
}

/* the keys of all sorts of descriptors of 6.1 to 6.18: each is reported, none is malformed */
static void test_unknown(void **state)
{
	static const char *const lines[] = {
		"tfd:        5 events:       1d data: ffffffffffffffff pos:0 ino:61af sdev:7",
		"inotify wd:3 ino:9e7e sdev:800013 mask:800afce ignored_mask:0 fhandle-bytes:8",
		"fanotify flags:10 event-flags:0",
		"Pid:\t-1",
		"NSpid:\t3\t1",
		"scm_fds: 0",
		"tty-index:\t3",
		"SqMask:\t0x7",
		"map_type:\t2",
		"prog_tag:\tf8f6",
		"link_type:\ttracing",
		"size:\t32768",
		"iff:\ttun0",
		"drm-driver:\tamdgpu",
		"vfio-device-syspath: /sys/devices",
		"ubuf:\t1",
	};
	char text[256], key[64];
	struct proc_fdinfo info;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		snprintf(text, sizeof(text), "pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t2\n%s\n",
		         lines[i]);
		parse(text, &info);
		snprintf(key, sizeof(key), "%.*s", (int)strcspn(lines[i], ": "), lines[i]);
		assert_string_equal(info.unknown, key);
		assert_int_equal(info.mnt_id, 15);
	}
}

/* those that kinds read for themselves */
static void test_known(void **state)
{
	struct proc_fdinfo info;

	parse("pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t2\neventfd-count:                1\n"
	      "eventfd-id: 3\neventfd-semaphore: 0\n",
	      &info);
	assert_string_equal(info.unknown, "");
	parse("pos:\t0\nflags:\t02\nmnt_id:\t15\nclockid: 0\nticks: 0\nsettime flags: 01\n"
	      "it_value: (0, 49406829)\nit_interval: (1, 0)\n",
	      &info);
	assert_string_equal(info.unknown, "");
	parse("pos:\t0\nsigmask:\t0000000000000006\n", &info);
	assert_string_equal(info.unknown, "");
}

static void test_malformed(void **state)
{
	static const char *const texts[] = {
		"pos:\t\n",
		"pos:\t1x\n",
		"flags:\t9\n",
		"flags:\t-1\n",
		"mnt_id:\t99999999999\n",
		"ino:\t99999999999999999999999\n",
		"lock:\t1: POSIX ADVISORY\n",
		"lock:\t1: POSIX  ADVISORY  WRITE 255 08:04:1234 0 EOFx\n",
		"lock:\t1: POSIXPOSIX  ADVISORY  WRITE 255 08:04:1234 0 EOF\n",
	};
	struct proc_fdinfo info;
	struct error err;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(proc_fdinfo_parse(texts[i], &info, &err), -EBADMSG);
}

/* what this kernel really prints */
static void test_live(void **state)
{
	static const char *const expected[] = { "", "", "", "" };
	int fds[] = { open("/dev/null", O_RDWR | O_CLOEXEC), eventfd(3, EFD_CLOEXEC),
		      timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), inotify_init1(IN_CLOEXEC) };

	for (size_t i = 0; i < 4; i++) {
		char path[64], text[4096];
		struct proc_fdinfo info;
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fds[i]);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, text, sizeof(text) - 1);
		assert_true(n > 0);
		text[n] = 0;
		close(fd);
		parse(text, &info);
		assert_string_equal(info.unknown, expected[i]);
		assert_true(info.flags & O_CLOEXEC);
		close(fds[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),        cmocka_unit_test(test_locks),
		cmocka_unit_test(test_lease_waiter), cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_known),        cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_live),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
