/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random families: processes that write pages, fork, make siblings (CLONE_PARENT), adopt orphans,
 * and die between all that. What the others share copy-on-write they share again: the observer
 * compares it and the sums of Pss; each process checks what it sees. The argument is the seed.
 *
 * In about half of such families all that was shared is shared again, of which these are some. In
 * the others some pages of those who were orphaned or made by CLONE_PARENT, with different dead
 * ancestors and makers between them and their parent, become each one's own (up to half more Pss
 * with 64 pages that are written all the time).
 *
 * TEST 5 round-trip -- 5
 * TEST 8 round-trip -- 8
 * TEST 10 round-trip -- 10
 * TEST 11 round-trip -- 11
 * TEST 12 round-trip -- 12
 * TEST 18 round-trip -- 18
 * TEST 20 round-trip -- 20
 * TEST 21 round-trip -- 21
 * TEST 22 round-trip -- 22
 * TEST 24 round-trip -- 24
 * TEST 28 round-trip -- 28
 * TEST 29 round-trip -- 29
 * TEST 30 round-trip -- 30
 */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#include "cases.h"
#include "mm.h"

#define N_PAGES     64
#define N_PROCESSES 40
#define DEPTH       5

struct family {
	int n;         /* processes so far, dead ones too */
	uint64_t next; /* what is written next */
	int settled[N_PROCESSES], checked[N_PROCESSES];
};
static struct family *family;
static uint64_t *pages, state;

static unsigned draw(unsigned n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(state >> 33) % n;
}

static void write_some(void)
{
	for (unsigned n = 1 + draw(6); n > 0; n--)
		pages[draw(N_PAGES) * (PAGE / 8)] = family->next++;
}

static uint64_t sum(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < N_PAGES; i++)
		sum = sum * 31 + pages[i * (PAGE / 8)];
	return sum;
}

static void settle(int slot)
{
	uint64_t before = sum();

	/* all that waiting needs has been used before */
	access("go", F_OK);
	__atomic_store_n(&family->settled[slot], 1, __ATOMIC_SEQ_CST);
	subject_wait_go();
	__atomic_store_n(&family->checked[slot], sum() == before ? 1 : 2, __ATOMIC_SEQ_CST);
	_exit(0);
}

static void await_end(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	while (access(path, F_OK) == 0)
		usleep(200);
}

static void grow(int depth);

static void beget(int depth, unsigned long flags)
{
	int slot = family->n;

	if (slot == N_PROCESSES || depth == DEPTH)
		return;
	family->n++;
	pid_t pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		state += (uint64_t)slot * 7919;
		grow(depth + 1);
		if (draw(3) > 0)
			settle(slot);
		family->settled[slot] = 2;
		_exit(0);
	}
	CHECK(pid > 0);
	while (!__atomic_load_n(&family->settled[slot], __ATOMIC_SEQ_CST))
		usleep(200);
	if (family->settled[slot] == 2)
		await_end(pid);
	else
		subject_wait_call(pid, SYS_clock_nanosleep);
}

static void grow(int depth)
{
	for (unsigned n = 4 + draw(6); n > 0; n--)
		switch (draw(8)) {
		case 0:
		case 1:
		case 2:
			write_some();
			break;
		case 3:
			prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
			break;
		case 4:
			beget(depth, depth ? CLONE_PARENT : 0);
			break;
		default:
			beget(depth, 0);
		}
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	family = mm_anon(1, PROT_READ | PROT_WRITE, MAP_SHARED);
	pages = mm_anon(N_PAGES, PROT_READ | PROT_WRITE, 0);
	state = strtoull(argv[1], NULL, 10) * 0x9e3779b97f4a7c15u;
	signal(SIGCHLD, SIG_IGN); /* whoever the parent is by then: nobody stays a zombie */
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	mm_fill(pages, N_PAGES, 1);
	while (family->n < N_PROCESSES / 2)
		grow(0);
	uint64_t before = sum();
	subject_checkpoint();
	CHECK_EQ(sum(), before);
	for (int i = 0; i < family->n; i++) {
		if (family->settled[i] == 2)
			continue;
		while (!__atomic_load_n(&family->checked[i], __ATOMIC_SEQ_CST))
			usleep(1000);
		CHECK_EQ(family->checked[i], 1);
	}
}
