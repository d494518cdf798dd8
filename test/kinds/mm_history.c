/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random histories of forks: families in which processes write, drop pages, fork, fork for their
 * parents (CLONE_PARENT), and die, so that their children go to the nearest subreaper. Whatever
 * they share is shared again: the observer compares which pages of which mappings are, and the sum
 * of Pss. Arguments: the first seed, how many families; m: they move memory, s: they
 * begin sessions.
 *
 * TEST 1 round-trip -- 1 6
 * TEST 7 round-trip -- 7 6
 * TEST 13 round-trip -- 13 6
 * TEST 19 round-trip -- 19 6
 * TEST 25 round-trip -- 25 6
 * TEST 31 round-trip -- 31 6
 * TEST moves-1 round-trip -- 1 6 m
 * TEST moves-7 round-trip -- 7 6 m
 * TEST moves-13 round-trip -- 13 6 m
 * TEST sessions-1 round-trip -- 1 6 s
 * TEST sessions-7 round-trip -- 7 6 s
 * TEST both-1 round-trip -- 1 6 ms
 * TEST both-7 round-trip -- 7 6 ms
 */
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>

#include "mm.h"

#define PROCESSES 10 /* of a family, at a time */
#define ALL       400
#define UNITS     24 /* of memory: what is written at a time */
#define UNIT      (4 * PAGE)

enum { NOTHING, WRITE, DROP, MOVE, SWAP, SESSION, FORK, FORK_FOR_PARENT, DIE, FINISH };

/* shared by the main process, which tells what to do, and those of a family, which do it */
struct board {
	struct member {
		uint32_t command; /* futex */
		uint32_t argument, version;
		bool is_good;
	} members[ALL];
	struct {
		uint32_t parent;
		bool dead, subreaper;
		uint32_t versions[UNITS]; /* 0: dropped */
	} known[ALL];                     /* the main process's */
	uint32_t n, n_live, last_version;
};

static uint64_t state;

static uint32_t any(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

/* ---- a member ---- */

static char *at[UNITS]; /* where its memory is */

static void move(uint32_t unit, char *to)
{
	CHECK(mremap(at[unit], UNIT, UNIT, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	at[unit] = to;
}

static void swap(uint32_t a, uint32_t b)
{
	char *of_a = at[a], *of_b = at[b];

	move(a, mm_anon(4, PROT_NONE, 0));
	move(b, of_a);
	move(a, of_b);
}

static void check_and_end(struct board *b, uint32_t me)
{
	subject_wait_go();
	for (uint32_t i = 0; i < UNITS; i++)
		if (b->known[me].versions[i])
			mm_check(at[i], 4, b->known[me].versions[i]);
		else
			mm_check_zero(at[i], 4);
	for (uint32_t i = 0; i < UNITS; i++)
		mm_fill(at[i], 4, 1000 * me + i);
	for (uint32_t i = 0; i < UNITS; i++)
		mm_check(at[i], 4, 1000 * me + i);
	b->members[me].is_good = true;
	_exit(0);
}

static void be_member(struct board *b, uint32_t me);

static void fork_member(struct board *b, uint32_t child, unsigned long flags)
{
	long pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);

	CHECK(pid >= 0);
	if (pid)
		return;
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, b->known[child].subreaper, 0, 0, 0) == 0);
	be_member(b, child);
}

static void be_member(struct board *b, uint32_t me)
{
	struct member *m = &b->members[me];

	for (;;) {
		uint32_t command = __atomic_load_n(&m->command, __ATOMIC_SEQ_CST);
		if (command == NOTHING) {
			syscall(SYS_futex, &m->command, FUTEX_WAIT, NOTHING, NULL, NULL, 0);
			continue;
		}
		if (command == WRITE)
			mm_fill(at[m->argument], 4, m->version);
		if (command == DROP)
			CHECK(madvise(at[m->argument], UNIT, MADV_DONTNEED) == 0);
		if (command == MOVE)
			move(m->argument, mm_anon(4, PROT_NONE, 0));
		if (command == SESSION)
			(void)setsid(); /* or it leads its group */
		if (command == SWAP)
			swap(m->argument % UNITS, m->argument / UNITS);
		uint32_t argument = m->argument;
		if (command != FORK && command != FORK_FOR_PARENT) { /* or the child says it */
			__atomic_store_n(&m->command, NOTHING, __ATOMIC_SEQ_CST);
			syscall(SYS_futex, &m->command, FUTEX_WAKE, 1, NULL, NULL, 0);
		}
		if (command == DIE)
			_exit(0);
		if (command == FINISH)
			check_and_end(b, me);
		if (command == FORK || command == FORK_FOR_PARENT) {
			fork_member(b, argument, command == FORK ? 0 : CLONE_PARENT);
			__atomic_store_n(&m->command, NOTHING, __ATOMIC_SEQ_CST);
			syscall(SYS_futex, &m->command, FUTEX_WAKE, 1, NULL, NULL, 0);
		}
	}
}

/* ---- the main process ---- */

static void tell(struct board *b, uint32_t who, uint32_t command, uint32_t argument)
{
	struct member *m = &b->members[who];

	m->argument = argument;
	m->version = b->last_version;
	__atomic_store_n(&m->command, command, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &m->command, FUTEX_WAKE, 1, NULL, NULL, 0);
	while (__atomic_load_n(&m->command, __ATOMIC_SEQ_CST) == command)
		syscall(SYS_futex, &m->command, FUTEX_WAIT, command, NULL, NULL, 0);
}

static void tell_to_fork(struct board *b, uint32_t who, bool for_parent)
{
	uint32_t child = b->n++;

	b->known[child] = b->known[who];
	b->known[child].parent = for_parent ? b->known[who].parent : who;
	b->known[child].subreaper = !any(4);
	b->n_live++;
	tell(b, who, for_parent ? FORK_FOR_PARENT : FORK, child);
}

static void tell_to_die(struct board *b, uint32_t who)
{
	uint32_t reaper = b->known[who].parent;

	while (!b->known[reaper].subreaper)
		reaper = b->known[reaper].parent;
	for (uint32_t i = 0; i < b->n; i++)
		if (b->known[i].parent == who)
			b->known[i].parent = reaper;
	b->known[who].dead = true;
	b->n_live--;
	tell(b, who, DIE, 0);
}

static void tell_to_swap(struct board *b, uint32_t who, uint32_t x, uint32_t y)
{
	if (x != y) /* what is in them goes along */
		tell(b, who, SWAP, x + UNITS * y);
}

static void make_history(struct board *b, bool moves, bool sessions)
{
	const uint32_t n_units = 2 + any(UNITS - 1), most = 3 + any(PROCESSES - 2);

	for (uint32_t step = 0, last = 40 + any(250); step < last && b->n < ALL; step++) {
		uint32_t who = any(b->n), what = any(10), unit = any(n_units);
		if (b->known[who].dead)
			continue;
		if (sessions && !any(12)) {
			tell(b, who, SESSION, 0);
		} else if (moves && !any(6)) {
			if (any(2))
				tell(b, who, MOVE, unit);
			else
				tell_to_swap(b, who, unit, any(n_units));
		} else if (what < 5) {
			bool drop = !any(8);
			b->known[who].versions[unit] = drop ? 0 : ++b->last_version;
			tell(b, who, drop ? DROP : WRITE, unit);
		} else if (what < 9 && b->n_live < most) {
			tell_to_fork(b, who, who && any(4) == 0);
		} else if (what == 9 && who) {
			tell_to_die(b, who);
		}
	}
}

static struct board *begin_family(uint32_t seed, bool moves, bool sessions)
{
	struct board *b = mm_anon(sizeof(*b) / PAGE + 1, PROT_READ | PROT_WRITE, MAP_SHARED);

	b->n = b->n_live = 1;
	b->known[0].subreaper = true;
	if (fork() == 0) {
		CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
		char *p = mm_anon(UNITS * 4, PROT_READ | PROT_WRITE, 0);
		for (uint32_t i = 0; i < UNITS; i++)
			at[i] = p + i * UNIT;
		be_member(b, 0);
	}
	state = seed;
	make_history(b, moves, sessions);
	for (uint32_t i = 0; i < b->n; i++)
		if (!b->known[i].dead)
			tell(b, i, FINISH, 0);
	return b;
}

int main(int argc, char **argv)
{
	struct board *boards[64];
	unsigned first = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 1;

	const char *options = argc > 3 ? argv[3] : "";

	CHECK(n <= 64);
	CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR); /* nobody waits for them */
	for (unsigned i = 0; i < n; i++)
		boards[i] = begin_family(first + i, strchr(options, 'm'), strchr(options, 's'));
	subject_checkpoint();
	for (unsigned i = 0; i < n; i++)
		for (uint32_t k = 0; k < boards[i]->n; k++)
			while (!boards[i]->known[k].dead &&
			       !__atomic_load_n(&boards[i]->members[k].is_good, __ATOMIC_SEQ_CST))
				usleep(1000);
	return 0;
}
