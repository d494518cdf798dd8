/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * holders.h: this process is the outside; its child plays the coordinator, whose child is the set.
 * No root needed.
 */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/checkpoint.h"
#include "kind/kind.h"
#include "task/holders.h"
#include "task/task.h"
#include "util/cleanup.h"
#include "util/map.h"

/* what both sides know: made before the forks */
struct scene {
	int late[2];            /* to those who open the set's pipe late */
	pid_t sharing;          /* one of them, who shares the descriptor table of the outside */
	int shared, other, own; /* read ends: held outside too, other description, set only */
	int gate[2];            /* end of file: this process has closed what is the set's alone */
	int file,
		deleted; /* one description in all; the set's own, of a file that is mapped here */
};

static pid_t fork_to_live(void)
{
	pid_t parent = getpid(), pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

#define EXPECT(condition)                                                       \
	do {                                                                    \
		if (!(condition)) {                                             \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
			_exit(1);                                               \
		}                                                               \
	} while (0)

struct request {
	pid_t pid;
	int fd;
};

/* opens what it is told to, and says so; keeps it, or has it kept by who shares the table */
static pid_t start_opener(const struct scene *s, unsigned long share)
{
	pid_t parent = getpid(), pid = (pid_t)syscall(SYS_clone, share | SIGCHLD, 0, 0, 0, 0);
	struct request request;
	char path[40];

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, share ? "sharing" : "late");
	if (getppid() != parent || read(s->late[0], &request, sizeof(request)) != sizeof(request))
		_exit(1);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)request.pid, request.fd);
	if (open(path, O_RDONLY) < 0)
		_exit(1);
	kill(request.pid, SIGUSR1);
	if (!share)
		pause();
	_exit(0);
}

static void opened(int unused)
{
	(void)unused;
}

/* what is opened after the first look is found, and where: @outside was asleep all the time */
static void check_look_ahead(const struct scene *s, struct checkpoint *c, pid_t outside)
{
	const struct holder *holder = NULL;
	struct request request = { .pid = getpid() };
	struct error err = ERROR_INIT;
	sigset_t set, before;
	struct stat st;
	int own[2];

	signal(SIGUSR1, opened);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &before);
	EXPECT(pipe(own) == 0 && fstat(own[0], &st) == 0);
	holders_look_ahead(c);
	request.fd = own[0];
	EXPECT(write(s->late[1], &request, sizeof(request)) == sizeof(request));
	sigsuspend(&before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	EXPECT(holders_find_open(c, st.st_dev, st.st_ino, &holder, &err) == 1);
	EXPECT(holder->pid == outside || !strcmp(holder->comm, "late"));
	EXPECT(fstat(s->shared, &st) == 0);
	EXPECT(holders_find_open(c, st.st_dev, st.st_ino, &holder, &err) == 1);
	holders_free(take_ptr(c->holders));
	close(own[0]);
	close(own[1]);
}

/* who shares the table holds the same */
static bool is_outside(const struct scene *s, pid_t outside, pid_t pid)
{
	return pid == outside || pid == s->sharing;
}

/* the coordinator: never returns */
static void coordinate(const struct scene *s, pid_t outside)
{
	int own[2];
	struct error err = ERROR_INIT;
	const struct holder *holder = NULL;
	struct stat st;

	close(s->gate[1]);
	EXPECT(read(s->gate[0], &(char){ 0 }, 1) == 0);
	EXPECT(pipe(own) == 0);
	pid_t set = fork();
	if (set == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
	}
	struct task task = { .tid = set, .tgid = set, .leader = &task };
	struct task *tasks[] = { &task };
	const struct checkpoint_options options = { .root = set };
	struct checkpoint c = {
		.options = &options, .tasks = tasks, .n_tasks = 1, .by_tid = map_new()
	};
	map_put(c.by_tid, &set, sizeof(set), &task);
	EXPECT(fstat(own[0], &st) == 0);
	EXPECT(holders_find_open(&c, st.st_dev, st.st_ino, &holder, &err) == 0 && !holder);
	EXPECT(fstat(s->shared, &st) == 0);
	EXPECT(holders_find_open(&c, st.st_dev, st.st_ino, &holder, &err) == 1);
	EXPECT(is_outside(s, outside, holder->pid) && holder->fd == s->shared);
	EXPECT(holders_find_open(&c, st.st_dev, 1, &holder, &err) == 0);

	EXPECT(fstat(s->shared, &st) == 0);
	EXPECT(holders_find(&c, st.st_dev, st.st_ino, &holder, &err) == 1);
	EXPECT(is_outside(s, outside, holder->pid));
	EXPECT(fstat(s->deleted, &st) == 0);
	EXPECT(holders_find(&c, st.st_dev, st.st_ino, &holder, &err) == 1);
	EXPECT(holder->pid == outside && holder->fd == -1 && !strcmp(holder->what, "mapping"));

	struct descriptor d = { .task = &task, .fd = s->shared };
	EXPECT(fstat(s->shared, &d.st) == 0);
	EXPECT(holders_find_file(&c, &d, &holder, &err) == 1 &&
	       is_outside(s, outside, holder->pid));
	d.fd = s->other;
	EXPECT(holders_find_file(&c, &d, &holder, &err) == 0);
	EXPECT(fstat(s->file, &d.st) == 0);
	d.fd = s->file;
	EXPECT(holders_find_file(&c, &d, &holder, &err) == 1 && holder->fd == s->file);

	holders_free(take_ptr(c.holders));
	check_look_ahead(s, &c, outside); /* one of them is the first */
	check_look_ahead(s, &c, outside);

	char link[64] = "";
	EXPECT(readlink("/proc/self/ns/mnt", link, sizeof(link) - 1) > 0);
	EXPECT(holders_find_namespace(&c, link, &holder, &err) == 1);
	EXPECT(holders_find_namespace(&c, "mnt:[1]", &holder, &err) == 0);
	holders_free(c.holders);
	_exit(0);
}

static void test_holders(void **state)
{
	struct scene s;
	int shared[2], status;
	char path[64];

	assert_int_equal(pipe(s.late), 0);
	pid_t late = start_opener(&s, 0);
	s.sharing = start_opener(&s, CLONE_FILES);
	prctl(PR_SET_NAME, "outside");
	assert_int_equal(pipe(shared), 0);
	assert_int_equal(pipe(s.gate), 0);
	s.shared = shared[0];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s.shared);
	s.other = open(path, O_RDONLY);
	s.file = open("/proc/self/exe", O_RDONLY);
	s.deleted = memfd_create("x", 0);
	assert_true(s.other >= 0 && s.file >= 0 && s.deleted >= 0);
	assert_int_equal(ftruncate(s.deleted, 4096), 0);
	assert_ptr_not_equal(mmap(NULL, 4096, PROT_READ, MAP_SHARED, s.deleted, 0), MAP_FAILED);
	pid_t outside = getpid(), coordinator = fork_to_live();
	if (coordinator == 0)
		coordinate(&s, outside);
	close(s.other);
	close(s.deleted);
	close(s.gate[1]);
	assert_int_equal(waitpid(coordinator, &status, 0), coordinator);
	assert_int_equal(status, 0);
	assert_int_equal(waitpid(s.sharing, &status, 0), s.sharing);
	assert_int_equal(status, 0);
	kill(late, SIGKILL);
	assert_int_equal(waitpid(late, &status, 0), late);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_holders) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
