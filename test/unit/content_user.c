/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Contents of a tmpfs that is given to another user namespace. Needs root. */
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "content/tools.h"
#include "mount/content.h"
#include "util/alloc.h"
#include "util/cleanup.h"

static const unsigned char capability[] = { 1, 0, 0, 2, 0, 32, 0, 0, 0, 0,
	                                    0, 0, 0, 0, 0, 0,  0, 0, 0, 0 };

static void write_text(pid_t pid, const char *file, const char *text)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/%s", (int)pid, file);
	_cleanup_(close_p) int fd = open(path, O_WRONLY | O_CLOEXEC);

	ok(fd);
	ok(write(fd, text, strlen(text)));
}

/* a process in a user and mount namespace of its own, with a tmpfs there; lives until killed */
static pid_t live_in_user_namespace(int *ret_root)
{
	int ready[2], go[2];
	char byte;

	ok(pipe2(ready, O_CLOEXEC));
	ok(pipe2(go, O_CLOEXEC));
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ok(unshare(CLONE_NEWUSER));
		ok(write(ready[1], "x", 1));
		ok(read(go[0], &byte, 1));
		ok(setgid(0));
		ok(setuid(0));
		ok(unshare(CLONE_NEWNS));
		ok(mount("test", TO, "tmpfs", 0, "mode=755"));
		ok(write(ready[1], "x", 1));
		for (;;)
			pause();
	}
	ok(read(ready[0], &byte, 1));
	write_text(pid, "uid_map", "0 100000 1000");
	write_text(pid, "gid_map", "0 200000 1000");
	ok(write(go[1], "x", 1));
	ok(read(ready[0], &byte, 1));
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/root" TO, (int)pid);
	ok(*ret_root = open(path, O_PATH | O_CLOEXEC));
	close(ready[0]);
	close(ready[1]);
	close(go[0]);
	close(go[1]);
	return pid;
}

static void restore_into(int root, struct memory *m)
{
	struct byte_source source = source_of(m);
	struct error err = ERROR_INIT;
	struct content *c;

	check(content_restore(root, &source, &c, &err), &err);
	check(content_settle(c, &err), &err);
	content_free(c);
}

/* what one has is given to another one: capabilities of files read otherwise in their parent */
static void user_namespace(void **state)
{
	struct memory m = { .piece = 4096 }, again = m;
	pid_t pids[2];
	char *texts[2];
	int roots[2];

	mount_at(FROM, "tmpfs", "uid=100000,gid=200000");
	mount_at(TO, "tmpfs", NULL);
	make_file(FROM "/file", "x", 1, 0);
	ok(chown(FROM "/file", 100007, 200008));
	ok(mkdir(FROM "/folder", 0700));
	ok(chown(FROM "/folder", 100999, 200000));
	ok(mkfifo(FROM "/folder/fifo", 0600));
	ok(lchown(FROM "/folder/fifo", 100001, 200001));
	ok(mknod(FROM "/whiteout", S_IFCHR, 0));
	ok(lchown(FROM "/whiteout", 100000, 200000));
	ok(lsetxattr(FROM "/file", "security.capability", capability, sizeof(capability), 0));
	ok(lsetxattr(FROM "/file", "trusted.x", "y", 1, 0));
	save(FROM, &m);
	for (int i = 0; i < 2; i++) {
		pids[i] = live_in_user_namespace(&roots[i]);
		_cleanup_(free_p) char *path = xasprintf("/proc/%d/root" TO, (int)pids[i]);
		restore_into(roots[i], i ? &again : &m);
		if (i == 0)
			save(path, &again);
		texts[i] = description(path);
	}
	assert_non_null(strstr(texts[0], "/folder: 40700 100999:200000"));
	assert_same(texts[0], texts[1]);
	assert_int_equal(geteuid(), 0);
	ok(mkdir(FROM "/as root", 0700)); /* it is itself again */
	struct stat st;
	ok(stat(FROM "/as root", &st));
	assert_int_equal(st.st_uid, 0);
	for (int i = 0; i < 2; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		close(roots[i]);
		free(texts[i]);
	}
	free(m.data);
	free(again.data);
	unmount();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_namespace),
	};

	if (!enter_room())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
