/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a covered root directory hides. Whatever is looked at, neither its mounts nor the host's
 * may have changed by a byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mount/below.h"
#include "mount/table.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

/* a process in a namespace of its own, whose root directory is that of the host's */
struct world {
	pid_t pid;
	int nsfd, pipe;
	char *mounts; /* as that process sees them */
	char *host;   /* ours */
};

static char *mounts_of(pid_t pid)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/mountinfo", pid);
	char *text = NULL;

	assert_true(file_read(AT_FDCWD, path, &text) > 0);
	return text;
}

static void __attribute__((noreturn)) be_world(const char *options, const char *script)
{
	_cleanup_(free_p) char *text = xasprintf("set -e; { :; %s\n} >&2 </dev/null; echo; read x",
	                                         script);

	/* no user namespace is made by who is below a cover */
	execlp("nsenter", "nsenter", "--mount=/proc/self/ns/mnt", "unshare", options, "sh", "-c",
	       text, NULL);
	_exit(9);
}

/* @outer: what is done before, for the namespace that is copied; ends with its stdin */
static struct world open_world(const char *outer, const char *options, const char *script)
{
	struct world w = { 0 };
	int ready[2], go[2];
	char byte;

	assert_return_code(pipe2(ready, O_CLOEXEC), errno);
	assert_return_code(pipe2(go, O_CLOEXEC), errno);
	w.host = mounts_of(getpid());
	w.pid = fork();
	if (w.pid == 0) {
		dup2(ready[1], 1);
		dup2(go[0], 0);
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || system(outer) != 0)
			_exit(8);
		be_world(options, script);
	}
	close(ready[1]);
	close(go[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	w.pipe = go[1];
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/ns/mnt", w.pid);
	w.nsfd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(w.nsfd >= 0);
	w.mounts = mounts_of(w.pid);
	return w;
}

static void close_world(struct world *w)
{
	_cleanup_(free_p) char *mounts = mounts_of(w->pid), *host = mounts_of(getpid());

	assert_string_equal(mounts, w->mounts);
	assert_string_equal(host, w->host);
	close(w->nsfd);
	close(w->pipe);
	waitpid(w->pid, NULL, 0);
	free(w->mounts);
	free(w->host);
}

static int look(const struct world *w, bool by_member)
{
	struct error err = ERROR_INIT;
	int r = mount_look_below(w->nsfd, by_member ? w->pid : 0, &err);

	if (r < 0)
		error_print(stderr, &err, "test", true);
	return r;
}

static void expect(int hidden, const char *script)
{
	struct world w = open_world("", "-m", script);

	assert_int_equal(look(&w, false), hidden);
	close_world(&w);
}

static void nothing(void **state)
{
	expect(0, "");
	expect(0, "mount -t tmpfs a /mnt; mount --make-rshared /");
}

/* as systemd-nspawn leaves them */
static void of_the_host(void **state)
{
	expect(0, "mount -t tmpfs b /");
	expect(0, "mount --bind /usr /mnt; mount -t tmpfs b /");
}

static void own(void **state)
{
	expect(1, "mount -t tmpfs a /mnt; mount -t tmpfs b /");
	expect(1, "mount -t tmpfs a /mnt; mount -t tmpfs c /mnt; mount --move /mnt /");
	expect(1, "mount -t tmpfs b /; mount -t tmpfs c /");
}

/* unmounting in the copy would do so in the original */
static void shared(void **state)
{
	expect(1, "mount --make-shared /; mount -t tmpfs b /");
	expect(1, "mount --make-rshared /; mount -t tmpfs a /mnt; mount -t tmpfs b /");
	expect(1, "mount --make-rshared /; mount -t tmpfs a /mnt; mount -t tmpfs b /;"
	          "mount --make-private /");
}

/* a peer of something that nobody knows; of ours, slaves do no harm */
static void groups(void **state)
{
	expect(1, "mount --bind /usr /mnt; mount --make-shared /mnt; mount -t tmpfs b /");
	expect(0, "mount --bind /usr /mnt; mount --make-shared /mnt; mount --make-slave /mnt;"
	          "mount -t tmpfs b /");
}

/* its root directory is below the cover, and shows it all */
static void member(void **state)
{
	struct world w = open_world("", "-m", "mount -t tmpfs a /mnt; mount -t tmpfs b /");

	assert_int_equal(look(&w, true), 0);
	close_world(&w);
	w = open_world("", "-m",
	               "mount -t tmpfs a /mnt; mount --make-rshared /; mount -t tmpfs b /");
	assert_int_equal(look(&w, true), 1);
	close_world(&w);
}

/* what the copy for a user namespace locks is nobody's business there; what was mounted since is */
static void user_namespace(void **state)
{
	static const struct {
		const char *outer, *inner;
		int hidden;
	} cases[] = {
		{ "", "", 0 },
		{ "mount -t tmpfs a /mnt; mount --rbind / /", "", 0 },
		{ "", "mount -t tmpfs b /", 0 },
		{ "", "mount -t tmpfs a /mnt; mount -t tmpfs b /", 1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world w = open_world(cases[i].outer, "-Urm", cases[i].inner);
		assert_int_equal(look(&w, false), cases[i].hidden);
		close_world(&w);
	}
}

/* who may not look sees what he saw */
static void unprivileged(void **state)
{
	struct world w = open_world("", "-m", "mount -t tmpfs a /mnt; mount -t tmpfs b /");
	int status;

	pid_t pid = fork();
	if (pid == 0) {
		if (setresuid(65534, 65534, 65534) < 0)
			_exit(9);
		_exit(look(&w, false) == 0 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	close_world(&w);
}

static void table(void **state)
{
	struct world w = open_world("", "-m", "mount -t tmpfs a /mnt; mount -t tmpfs b /");
	struct mount_table all = { 0 }, whole = { .whole = true };
	struct error err = ERROR_INIT;

	assert_int_equal(mount_table_add(&all, w.nsfd, 0, NULL, &err), 0);
	assert_int_equal(mount_table_add(&whole, w.nsfd, 0, NULL, &err), -EOPNOTSUPP);
	assert_int_equal(err.code, CODE_mount_hidden);
	assert_int_equal(mount_table_add(&whole, w.nsfd, w.pid, NULL, &err), 0);
	mount_table_done(&all);
	mount_table_done(&whole);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing),
		cmocka_unit_test(of_the_host),
		cmocka_unit_test(own),
		cmocka_unit_test(shared),
		cmocka_unit_test(groups),
		cmocka_unit_test(member),
		cmocka_unit_test(user_namespace),
		cmocka_unit_test(unprivileged),
		cmocka_unit_test(table),
	};

	if (geteuid() != 0)
		return 77;
	setenv("STASIS_WITHOUT", "statmount_ns", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
