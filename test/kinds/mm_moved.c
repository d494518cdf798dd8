/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages that processes share copy-on-write, and that some of them have moved with mremap(2) since:
 * they are shared again, and the mappings are what they were. The observer compares both.
 *
 * TEST child round-trip -- child
 * TEST parent round-trip -- parent
 * TEST both round-trip -- both
 * TEST before-fork round-trip -- before-fork
 * TEST dontunmap round-trip -- dontunmap
 * TEST part round-trip -- part
 * TEST refilled round-trip -- refilled
 * TEST onto round-trip -- onto
 * TEST grown round-trip -- grown
 * TEST shrunk round-trip -- shrunk
 * TEST stack round-trip -- stack
 * TEST swap round-trip -- swap
 * TEST adjoining-before-fork round-trip -- before-fork adjoining
 * TEST adjoining-swap round-trip -- swap adjoining
 * TEST adjoining-dontunmap round-trip -- dontunmap adjoining
 * TEST adjoining-onto round-trip -- onto adjoining
 * TEST adjoining-refilled round-trip -- refilled adjoining
 * TEST huge round-trip -- huge
 * TEST file round-trip -- file
 * TEST unmoved-family round-trip -- unmoved-family
 */
#include <signal.h>

#include "mm.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#define N 64ul /* pages of a region */

static int *counter;
static int n_children;

/* a child that runs @first, waits and runs @then */
static void child(void (*first)(void), void (*then)(void))
{
	if (fork() == 0) {
		first();
		int before = __atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
		__atomic_store_n(&counter[1 + before], getpid(), __ATOMIC_SEQ_CST);
		subject_wait_go();
		then();
		_exit(0);
	}
	n_children++;
}

static void checkpoint(void)
{
	for (int i = 1; i <= n_children; i++) {
		while (!__atomic_load_n(&counter[i], __ATOMIC_SEQ_CST))
			usleep(1000);
		subject_wait_call(counter[i], SYS_clock_nanosleep);
	}
	subject_checkpoint();
}

static void reap(void)
{
	for (int i = 0; i < n_children; i++) {
		int status;
		CHECK(wait(&status) > 0 && status == 0);
	}
}

static char *p, *q, *room;

static char *move(char *from, uint64_t n, char *to)
{
	char *at = mremap(from, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);

	CHECK(at == to);
	return at;
}

static void nothing(void)
{
}

static void move_p(void)
{
	p = move(p, N, room + 100 * PAGE);
}

static void move_p_elsewhere(void)
{
	p = move(p, N, room + 333 * PAGE);
}

/* they have what they had, and are the only ones to write to it */
static void check_p(void)
{
	mm_check(p, N, 1);
	mm_fill(p, N, (uint64_t)getpid());
	mm_check(p, N, (uint64_t)getpid());
}

static void child_moves(void)
{
	child(nothing, check_p);
	child(move_p, check_p);
	child(move_p_elsewhere, check_p);
	checkpoint();
	check_p();
}

static void parent_moves(void)
{
	child(nothing, check_p);
	child(nothing, check_p);
	move_p();
	checkpoint();
	check_p();
}

static void both_move(void)
{
	child(move_p_elsewhere, check_p);
	child(move_p, check_p);
	p = move(p, N, room + 555 * PAGE);
	checkpoint();
	check_p();
}

/* some children before, some after; and the place is used anew */
static void moves_before_fork(void)
{
	child(nothing, check_p);
	char *old = p;
	move_p();
	child(nothing, check_p);
	child(move_p_elsewhere, check_p);
	CHECK(mmap(old, N * PAGE, PROT_READ | PROT_WRITE,
	           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == old);
	mm_fill(old, N, 5);
	q = old;
	child(nothing, check_p);
	checkpoint();
	mm_check(q, N, 5);
	check_p();
}

static void dontunmap(void)
{
	char *old = p,
	     *at = mremap(p, N * PAGE, N * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
	                  room + 100 * PAGE);

	if (at == MAP_FAILED && errno == EINVAL)
		SKIP("MREMAP_DONTUNMAP is not to be had");
	CHECK(at == room + 100 * PAGE);
	p = at;
	mm_fill(old + PAGE, 10, 9);
	q = old;
}

static void check_both(void)
{
	mm_check(q + PAGE, 10, 9);
	check_p();
}

static void moves_dontunmap(void)
{
	child(dontunmap, check_both);
	child(nothing, check_p);
	checkpoint();
	check_p();
}

static void move_part(void)
{
	q = move(p + 20 * PAGE, 20, room + 7 * PAGE);
}

static void check_part(void)
{
	for (uint64_t i = 0; i < N; i++)
		if (i < 20 || i >= 40)
			CHECK_EQ(*(uint64_t *)(p + i * PAGE), mm_word(1, i, 0));
		else
			CHECK_EQ(*(uint64_t *)(q + (i - 20) * PAGE), mm_word(1, i, 0));
	mm_fill(p, 20, (uint64_t)getpid());
	mm_fill(q, 20, (uint64_t)getpid());
	mm_check(q, 20, (uint64_t)getpid());
}

static void moves_part(void)
{
	child(move_part, check_part);
	child(nothing, check_p);
	child(move_p, check_p);
	checkpoint();
	check_p();
}

/* its place is mapped anew, and becomes one mapping with the rest; a child has all of it */
static void refilled(void)
{
	child(nothing, check_p);
	move_part();
	CHECK(mmap(p + 20 * PAGE, 20 * PAGE, PROT_READ | PROT_WRITE,
	           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == p + 20 * PAGE);
	mm_fill(p + 20 * PAGE, 20, 8);
	checkpoint();
	mm_check(p + 20 * PAGE, 20, 8);
	check_part();
}

static void move_onto(void)
{
	p = move(p, N, q);
}

static void check_q(void)
{
	mm_check(q, N, 2);
	check_p();
}

static void moves_onto(void)
{
	child(move_onto, check_p);
	child(nothing, check_q);
	checkpoint();
	check_q();
}

static void grow(void)
{
	p = mremap(p, N * PAGE, 5 * N * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	CHECK(p == room);
	mm_fill(p + N * PAGE, N, 4);
}

static void check_grown(void)
{
	mm_check(p + N * PAGE, N, 4);
	mm_check_zero(p + 2 * N * PAGE, 3 * N);
	check_p();
}

static void grows(void)
{
	child(grow, check_grown);
	child(nothing, check_p);
	child(move_p, check_p);
	checkpoint();
	check_p();
}

static void shrink(void)
{
	p = mremap(p, N * PAGE, N / 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	CHECK(p == room);
}

static void check_shrunk(void)
{
	mm_check(p, N / 2, 1);
}

static void shrinks(void)
{
	child(shrink, check_shrunk);
	child(nothing, check_p);
	checkpoint();
	check_p();
}

static void moves_stack(void)
{
	p = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE,
	         MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_STACK, -1, 0);
	CHECK(p != MAP_FAILED);
	mm_fill(p, N, 1);
	child(move_p, check_p);
	child(nothing, check_p);
	checkpoint();
	check_p();
}

static void swap(void)
{
	char *old = q;

	q = move(q, N, room);
	p = move(p, N, old);
	q = move(q, N, room + 2000 * PAGE);
}

static void swap_exactly(void)
{
	char *old_p = p, *old_q = q;

	q = move(q, N, room);
	p = move(p, N, old_q);
	q = move(q, N, old_p);
}

static void swaps(void)
{
	child(swap_exactly, check_q);
	child(swap, check_q);
	child(nothing, check_q);
	checkpoint();
	check_q();
}

#define HUGE (2ul << 20)

static char *huge(char *at)
{
	return (char *)(((uintptr_t)at + HUGE - 1) & ~(HUGE - 1));
}

static void move_huge(void)
{
	p = move(p, HUGE / PAGE, huge(room + HUGE));
}

static void check_huge(void)
{
	mm_check(p, HUGE / PAGE, 1);
	mm_fill(p, HUGE / PAGE, (uint64_t)getpid());
}

static void moves_huge(void)
{
	p = huge(mm_anon(2 * HUGE / PAGE, PROT_READ | PROT_WRITE, 0));
	(void)madvise(p, HUGE, MADV_HUGEPAGE); /* without transparent huge pages: small ones */
	mm_fill(p, HUGE / PAGE, 1);
	child(move_huge, check_huge);
	child(nothing, check_huge);
	checkpoint();
	check_huge();
}

static void moves_file(void)
{
	int fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(ftruncate(fd, 2 * N * PAGE) == 0);
	p = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 8 * PAGE);
	CHECK(p != MAP_FAILED);
	close(fd);
	mm_fill(p, N, 1);
	child(move_p, check_p);
	child(nothing, check_p);
	checkpoint();
	check_p();
}

/* many that have not moved it, of two generations, and one that has */
static void fork_again(void)
{
	for (int i = 0; i < 3; i++)
		child(nothing, check_p);
}

static void reap_own(void)
{
	check_p();
	reap();
}

static void unmoved_family(void)
{
	child(fork_again, reap_own);
	child(move_p, check_p);
	fork_again();
	while (__atomic_load_n(counter, __ATOMIC_SEQ_CST) < 8)
		usleep(1000);
	checkpoint();
	check_p();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = { { "child", child_moves },
		      { "parent", parent_moves },
		      { "both", both_move },
		      { "before-fork", moves_before_fork },
		      { "dontunmap", moves_dontunmap },
		      { "part", moves_part },
		      { "refilled", refilled },
		      { "onto", moves_onto },
		      { "grown", grows },
		      { "shrunk", shrinks },
		      { "stack", moves_stack },
		      { "swap", swaps },
		      { "huge", moves_huge },
		      { "file", moves_file },
		      { "unmoved-family", unmoved_family } };

	counter = mm_anon(1, PROT_READ | PROT_WRITE, MAP_SHARED);
	room = mm_anon(5000, PROT_NONE, MAP_NORESERVE);
	q = room + 4200 * PAGE;
	p = q + (N + (argc > 2 ? 0 : 1)) * PAGE; /* one mapping, or two */
	CHECK(mprotect(p, N * PAGE, PROT_READ | PROT_WRITE) == 0);
	CHECK(mprotect(q, N * PAGE, PROT_READ | PROT_WRITE) == 0);
	mm_fill(p, N, 1);
	mm_fill(q, N, 2);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (argc > 1 && !strcmp(tests[i].name, argv[1]))
			tests[i].run();
	reap();
	return 0;
}
