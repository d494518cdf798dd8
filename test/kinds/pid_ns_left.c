/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pid namespaces: who was left behind, there or above, by processes that have ended since, so that
 * no relative that lives could have made it as it is.
 *
 * TEST before-setsid round-trip -- before_setsid
 * TEST before-group round-trip -- before_group
 * TEST adopted round-trip -- adopted
 * TEST dead-session round-trip -- dead_session
 * TEST dead-inside round-trip -- dead_inside
 * TEST moved-back round-trip -- moved_back
 * TEST siblings round-trip -- siblings
 * TEST owned-siblings round-trip -- owned_siblings
 */
#include <sys/mman.h>
#include <sys/prctl.h>

#include "pid_ns.h"

/* ---- all that there is: of each process its parent, and its numbers in each namespace ---- */

#define PROCESSES_MAX 32
#define TEXT_MAX      256

struct shape {
	char lines[PROCESSES_MAX][TEXT_MAX];
	size_t n;
};

static void add_process(struct shape *s, pid_t pid)
{
	static const char *const keys[] = { "PPid:", "NSpid:", "NSpgid:", "NSsid:" };
	char path[64], line[TEXT_MAX], *to = s->lines[s->n];

	CHECK(s->n < PROCESSES_MAX);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *f = fopen(path, "re");
	CHECK(f != NULL);
	*to = 0;
	while (fgets(line, sizeof(line), f))
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			if (strncmp(line, keys[i], strlen(keys[i])) == 0) {
				line[strcspn(line, "\n")] = 0;
				snprintf(to + strlen(to), TEXT_MAX - strlen(to), "%s ", line);
			}
	fclose(f);
	s->n++;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "re");
	CHECK(f != NULL);
	for (int child; fscanf(f, "%d", &child) == 1;)
		add_process(s, child);
	fclose(f);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static struct shape shape_of(pid_t pid)
{
	struct shape s = { .n = 0 };

	add_process(&s, pid);
	qsort(s.lines, s.n, sizeof(s.lines[0]), by_text);
	return s;
}

static void check_same(const struct shape *before, const struct shape *after, size_t n)
{
	CHECK_EQ(before->n, n);
	CHECK_EQ(after->n, n);
	for (size_t i = 0; i < n; i++)
		if (strcmp(before->lines[i], after->lines[i]) != 0)
			FAIL("'%s' has become '%s'", before->lines[i], after->lines[i]);
}

/* checkpointed when all are where they belong; @n: how many there are with us */
static void round_trip(size_t n)
{
	struct shape before = shape_of(getpid());

	subject_checkpoint();
	struct shape after = shape_of(getpid());
	check_same(&before, &after, n);
	subject_mark("over");
	while (wait(NULL) > 0)
		;
}

/* until all has been looked at */
static void stay(const char *name)
{
	subject_settle(name);
	subject_wait("over");
	while (wait(NULL) > 0)
		;
	_exit(0);
}

static pid_t child(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	return pid;
}

/* of all processes: the init that others enter, by its number outside */
static pid_t *shared_pid(void)
{
	void *p = mmap(NULL, sizeof(pid_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	               0);

	CHECK(p != MAP_FAILED);
	return p;
}

static void staying_init(void)
{
	stay("init");
}

/* enters the namespace of @init, makes a child there, and ends: that stays with the next reaper */
static pid_t passer_by(const char *mark, const pid_t *init, const char *name)
{
	pid_t pid = child();

	if (pid)
		return pid;
	subject_wait(mark);
	enter_pid_ns(*init);
	if (child() == 0)
		stay(name);
	_exit(0);
}

/* ---- shapes ---- */

/* in the session that the parent was in before its setsid(2), and the init in the one it leads */
static void before_setsid(void)
{
	pid_t *init = shared_pid();

	if (child() == 0) {
		CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
		pid_t pid = passer_by("begun", init, "left");
		CHECK_EQ(setsid(), getpid());
		*init = new_init(staying_init);
		subject_wait("init");
		subject_mark("begun");
		subject_check_exit(pid, 0);
		stay("parent");
	}
	subject_wait("parent");
	subject_wait("left");
	round_trip(4);
}

static void parent_init(void)
{
	if (child() == 0)
		stay("inside");
	subject_wait("inside");
	stay("init");
}

/* in the group that the parent was in, and the child of the init, which cannot name them, in its
 * own */
static void before_group(void)
{
	pid_t *init = shared_pid();

	if (child() == 0) {
		CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
		pid_t pid = passer_by("begun", init, "left");
		CHECK(setpgid(0, 0) == 0);
		*init = new_init(parent_init);
		subject_wait("init");
		subject_mark("begun");
		subject_check_exit(pid, 0);
		stay("parent");
	}
	subject_wait("parent");
	subject_wait("left");
	round_trip(5);
}

/* enters the namespace of @init, where a child of it leaves another to that, which is an init
 * itself or not */
static void leave_inside(pid_t init, const char *name, bool is_init)
{
	enter_pid_ns(init);
	pid_t pid = child();
	if (pid) {
		subject_check_exit(pid, 0);
		enter_pid_ns(getpid());
		return;
	}
	struct clone_args args = { .flags = is_init ? CLONE_NEWPID : 0, .exit_signal = SIGCHLD };
	if (syscall(SYS_clone3, &args, sizeof(args)) == 0) {
		/* an init sees no parent, before and after */
		while (!is_init && getppid() != 1)
			;
		stay(name);
	}
	_exit(0);
}

/* left to an init, in a group that this cannot name and was not born in */
static void adopted(void)
{
	pid_t *init = shared_pid();

	*init = new_init(staying_init);
	subject_wait("init");
	pid_t group = child();
	if (group == 0) {
		CHECK(setpgid(0, 0) == 0);
		stay("group");
	}
	subject_wait("group");
	pid_t pid = child();
	if (pid == 0) {
		CHECK(setpgid(0, group) == 0);
		leave_inside(*init, "left", false);
		leave_inside(*init, "left-init", true);
		_exit(0);
	}
	subject_check_exit(pid, 0);
	subject_wait("left");
	subject_wait("left-init");
	round_trip(5);
}

/* a session whose leader is dead: one left to who is above that, one to an init that is not */
static void dead_session(void)
{
	pid_t *init = shared_pid();

	*init = new_init(staying_init);
	subject_wait("init");
	if (child() == 0) {
		CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
		pid_t leader = child();
		if (leader == 0) {
			CHECK_EQ(setsid(), getpid());
			leave_inside(*init, "inside", false);
			pid_t parent = getpid();
			if (child() == 0) {
				while (getppid() == parent)
					;
				stay("above");
			}
			_exit(0);
		}
		subject_check_exit(leader, 0);
		stay("reaper");
	}
	subject_wait("reaper");
	subject_wait("above");
	subject_wait("inside");
	round_trip(5);
}

/* who was made before the setsid(2) of its parent, which came from a session whose leader is dead
 */
static void dead_inside(void)
{
	pid_t *init = shared_pid();

	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	pid_t leader = child();
	if (leader == 0) {
		CHECK_EQ(setsid(), getpid());
		pid_t parent = getpid();
		if (child() == 0) {
			while (getppid() == parent)
				;
			if (child() == 0)
				stay("early");
			subject_wait("early");
			pid_t pid = child();
			if (pid == 0) {
				subject_wait("begun");
				leave_inside(*init, "inside", false);
				_exit(0);
			}
			CHECK_EQ(setsid(), getpid());
			*init = new_init(staying_init);
			subject_wait("init");
			subject_mark("begun");
			subject_check_exit(pid, 0);
			stay("reborn");
		}
		_exit(0);
	}
	subject_check_exit(leader, 0);
	subject_wait("reborn");
	subject_wait("inside");
	round_trip(5);
}

/*
 * One inside that led a group, and was put back into one that it cannot name, by a parent that has
 * called setsid(2) since; another is still in that group.
 */
static void moved_back(void)
{
	pid_t *init = shared_pid(), group = getpgrp();

	*init = new_init(staying_init);
	subject_wait("init");
	if (child() == 0) {
		enter_pid_ns(*init);
		pid_t first = child();
		if (first == 0)
			stay("first");
		CHECK(setpgid(first, first) == 0);
		pid_t second = child();
		if (second == 0)
			stay("second");
		CHECK(setpgid(second, first) == 0 && setpgid(first, group) == 0);
		CHECK_EQ(setsid(), getpid());
		enter_pid_ns(getpid());
		stay("parent");
	}
	subject_wait("parent");
	subject_wait("first");
	subject_wait("second");
	round_trip(5);
}

/* ---- who shares what their parent has no more ---- */

#define SHARED_FD 100

static pid_t sharing_child(uint64_t flags)
{
	struct clone_args args = { .flags = CLONE_FILES | flags, .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	CHECK(pid >= 0);
	return pid;
}

static void sharing(uint64_t flags)
{
	pid_t parent = child();

	CHECK(chmod(".", 0777) == 0);
	if (parent == 0) {
		pid_t init = sharing_child(flags);
		if (init == 0) {
			if (flags & CLONE_NEWUSER)
				subject_wait("mapped");
			subject_settle("init");
			subject_wait("opened");
			CHECK(fcntl(SHARED_FD, F_GETFD) >= 0);
			_exit(0);
		}
		if (flags & CLONE_NEWUSER) {
			write_proc(init, "uid_map", "0 0 10");
			write_proc(init, "gid_map", "0 0 10");
			subject_mark("mapped");
		}
		if (sharing_child(0) == 0) {
			subject_settle("sibling");
			subject_wait("looked");
			CHECK(fcntl(SHARED_FD, F_GETFD) < 0 && dup2(0, SHARED_FD) == SHARED_FD);
			subject_mark("opened");
			_exit(0);
		}
		CHECK(unshare(CLONE_FILES) == 0);
		subject_settle("parent");
		subject_wait("opened");
		CHECK(fcntl(SHARED_FD, F_GETFD) < 0);
		subject_check_exit(-1, 0);
		subject_check_exit(-1, 0);
		_exit(0);
	}
	subject_wait("init");
	subject_wait("sibling");
	subject_wait("parent");
	struct shape before = shape_of(getpid());
	subject_checkpoint();
	struct shape after = shape_of(getpid());
	check_same(&before, &after, 4);
	subject_mark("looked");
	subject_check_exit(parent, 0);
}

/* an init cannot make its sibling, so that makes the init */
static void siblings(void)
{
	sharing(CLONE_NEWPID);
}

/* which is in a user namespace of its own, that owns its pid namespace */
static void owned_siblings(void)
{
	sharing(CLONE_NEWPID | CLONE_NEWUSER);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(before_setsid), CASE(before_group), CASE(adopted),
	                     CASE(dead_session), CASE(dead_inside), CASE(moved_back),
	                     CASE(siblings), CASE(owned_siblings));
}
