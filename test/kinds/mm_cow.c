/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages that processes share copy-on-write since fork: saved once, shared again. The observer
 * compares the sum of Pss; the processes check what they see, and that writing stays their own.
 *
 * TEST children round-trip
 * TEST tree round-trip -- tree
 * TEST dead-ancestor round-trip -- dead-ancestor
 * TEST executed round-trip -- executed
 * TEST prefork round-trip -- prefork
 * TEST prefork-orphans round-trip -- prefork-orphans
 * TEST reshaped round-trip -- reshaped
 * TEST moved round-trip -- moved
 * TEST mappings round-trip -- mappings
 * TEST fragments round-trip -- fragments
 * TEST protected round-trip -- protected
 * TEST threads round-trip -- threads
 */
#include <pthread.h>
#include <signal.h>

#include "mm.h"

static void ready_child(int *counter)
{
	int before = __atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);

	__atomic_store_n(&counter[1 + before], getpid(), __ATOMIC_SEQ_CST);
	subject_wait_go();
}

static void await(int *counter, int n)
{
	for (int i = 1; i <= n; i++) {
		while (!__atomic_load_n(&counter[i], __ATOMIC_SEQ_CST))
			usleep(1000);
		subject_wait_call(counter[i], SYS_clock_nanosleep);
	}
}

static int *new_counter(void)
{
	return mm_anon(1, PROT_READ | PROT_WRITE, MAP_SHARED);
}

/* writes to all of it and sees only its own */
static void own(char *p, uint64_t n)
{
	mm_fill(p, n, (uint64_t)getpid());
	mm_check(p, n, (uint64_t)getpid());
}

/* 100 children, each of which has changed some pages */
static void children(void)
{
	const uint64_t n = 2000;
	char *p = mm_anon(n, PROT_READ | PROT_WRITE, 0);
	int *counter = new_counter();
	pid_t child[100];

	mm_fill(p, n, 1);
	for (uint64_t i = 0; i < 100; i++) {
		child[i] = fork();
		if (child[i] == 0) {
			mm_fill(p + i * 20 * PAGE, 2, i + 100);
			ready_child(counter);
			mm_check(p + i * 20 * PAGE, 2, i + 100);
			for (uint64_t k = 0; k < n; k++)
				if (k < i * 20 || k >= i * 20 + 2)
					CHECK_EQ(*(uint64_t *)(p + k * PAGE), mm_word(1, k, 0));
			own(p, 50);
			_exit(0);
		}
	}
	await(counter, 100);
	subject_checkpoint();
	mm_check(p, n, 1);
	for (int i = 0; i < 100; i++)
		mm_reap(child[i]);
}

/* three generations; each changes a part, frees a part, and passes the rest on */
static void generation(char *p, uint64_t n, int depth, int *counter)
{
	pid_t child[3];

	for (uint64_t i = 0; depth < 3 && i < 3; i++) {
		child[i] = fork();
		if (child[i] == 0) {
			uint64_t at = (uint64_t)depth * 300 + i * 50;
			mm_fill(p + at * PAGE, 20, at);
			CHECK(madvise(p + (at + 20) * PAGE, 10 * PAGE, MADV_DONTNEED) == 0);
			generation(p, n, depth + 1, counter);
			mm_check(p + at * PAGE, 20, at);
			mm_check_zero(p + (at + 20) * PAGE, 10);
			for (uint64_t k = 900; k < n; k++)
				CHECK_EQ(*(uint64_t *)(p + k * PAGE), mm_word(1, k, 0));
			own(p, 100);
			_exit(0);
		}
	}
	if (depth)
		ready_child(counter);
	else
		await(counter, 3 + 9 + 27);
	if (!depth)
		subject_checkpoint();
	for (int i = 0; depth < 3 && i < 3; i++)
		mm_reap(child[i]);
}

static void tree(void)
{
	char *p = mm_anon(1500, PROT_READ | PROT_WRITE, 0);

	mm_fill(p, 1500, 1);
	generation(p, 1500, 0, new_counter());
	mm_check(p, 1500, 1);
}

/* the children's parent, whose memory they share, has ended; the grandfather has other contents */
static void dead_ancestor(void)
{
	char *p = mm_anon(1000, PROT_READ | PROT_WRITE, 0);
	int *counter = new_counter();

	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	mm_fill(p, 1000, 1);
	for (uint64_t i = 0; i < 2; i++) {
		pid_t middle = fork();
		if (middle == 0) {
			mm_fill(p, 400, 10 + i);
			for (int k = 0; k < 3; k++)
				if (fork() == 0) {
					ready_child(counter);
					mm_check(p, 400, 10 + i);
					CHECK_EQ(*(uint64_t *)(p + 600 * PAGE), mm_word(1, 600, 0));
					own(p, 300);
					_exit(0);
				}
			_exit(0);
		}
		mm_reap(middle);
	}
	await(counter, 6);
	subject_checkpoint();
	mm_check(p, 1000, 1);
	for (int i = 0; i < 6; i++) {
		int status;
		CHECK(wait(&status) > 0 && status == 0);
	}
}

/* their parent has executed another program: it shares with nobody, they with each other */
static void executed(void)
{
	char *p = mm_anon(1000, PROT_READ | PROT_WRITE, 0);
	int *counter = new_counter();

	mm_fill(p, 1000, 1);
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			mm_fill(p + i * PAGE, 1, 5);
			ready_child(counter);
			mm_check(p + i * PAGE, 1, 5);
			for (uint64_t k = 4; k < 1000; k++)
				CHECK_EQ(*(uint64_t *)(p + k * PAGE), mm_word(1, k, 0));
			own(p, 300);
			_exit(0);
		}
	await(counter, 4);
	execl("/proc/self/exe", "mm_cow", "executed-2", NULL);
	FAIL("exec: %s", strerror(errno));
}

static void executed_2(void)
{
	subject_checkpoint();
	for (int i = 0; i < 4; i++) {
		int status;
		CHECK(wait(&status) > 0 && status == 0);
	}
}

/*
 * a server that goes on writing between its forks: each generation of workers shares another state
 */
static void prefork(void)
{
	char *p = mm_anon(600, PROT_READ | PROT_WRITE, 0);
	int *counter = new_counter();

	mm_fill(p, 600, 1);
	for (uint64_t i = 0; i < 5; i++) {
		for (int k = 0; k < 2; k++)
			if (fork() == 0) {
				ready_child(counter);
				mm_check(p, 300, i ? 100 + i : 1);
				for (uint64_t q = 300; q < 600; q++)
					CHECK_EQ(*(uint64_t *)(p + q * PAGE), mm_word(1, q, 0));
				own(p, 300);
				_exit(0);
			}
		await(counter, (int)(2 * i + 2));
		mm_fill(p, 300, 101 + i);
	}
	subject_checkpoint();
	mm_check(p, 300, 105);
	for (int i = 0; i < 10; i++) {
		int status;
		CHECK(wait(&status) > 0 && status == 0);
	}
}

/* the same, and the server is gone */
static void prefork_orphans(void)
{
	int *counter = new_counter();

	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	pid_t server = fork();
	if (server == 0) {
		char *p = mm_anon(600, PROT_READ | PROT_WRITE, 0);
		mm_fill(p, 600, 1);
		for (uint64_t i = 0; i < 4; i++) {
			for (int k = 0; k < 2; k++)
				if (fork() == 0) {
					ready_child(counter);
					mm_check(p, 300, i ? 100 + i : 1);
					own(p, 600);
					_exit(0);
				}
			await(counter, (int)(2 * i + 2));
			mm_fill(p, 300, 101 + i);
		}
		_exit(0);
	}
	mm_reap(server);
	subject_checkpoint();
	for (int i = 0; i < 8; i++) {
		int status;
		CHECK(wait(&status) > 0 && status == 0);
	}
}

/* each child has cut, protected, grown and advised its copy in another way */
static void reshaped(void)
{
	char *room = mm_anon(4096, PROT_NONE, MAP_NORESERVE), *p = room + 1024 * PAGE;
	int *counter = new_counter();

	CHECK(mprotect(p, 1024 * PAGE, PROT_READ | PROT_WRITE) == 0);
	mm_fill(p, 1024, 1);
	for (int i = 0; i < 6; i++)
		if (fork() == 0) {
			char *start = p;
			uint64_t first = 0;
			if (i == 0) {
				first = 100;
				CHECK(munmap(p, 100 * PAGE) == 0);
			}
			if (i == 1)
				CHECK(munmap(p + 1000 * PAGE, 24 * PAGE) == 0 &&
				      munmap(p + 200 * PAGE, PAGE) == 0);
			if (i == 2)
				CHECK(mprotect(p, 300 * PAGE, PROT_READ) == 0);
			if (i == 3)
				CHECK(mprotect(p - 512 * PAGE, 512 * PAGE,
				               PROT_READ | PROT_WRITE) == 0);
			if (i == 4)
				CHECK(madvise(p, 500 * PAGE, MADV_DONTDUMP) == 0 &&
				      mmap(p + 700 * PAGE, 10 * PAGE, PROT_READ | PROT_WRITE,
				           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
				           0) != MAP_FAILED);
			if (i == 3)
				mm_fill(p - 512 * PAGE, 512, 3);
			ready_child(counter);
			for (uint64_t k = first; k < 1000; k++)
				if (!(i == 1 && k == 200) && !(i == 4 && k >= 700 && k < 710))
					CHECK_EQ(*(uint64_t *)(start + k * PAGE), mm_word(1, k, 0));
			if (i == 4)
				mm_check_zero(p + 700 * PAGE, 10);
			if (i == 3)
				mm_check(p - 512 * PAGE, 512, 3);
			CHECK(mprotect(p + 100 * PAGE, 50 * PAGE, PROT_READ | PROT_WRITE) == 0);
			own(p + 100 * PAGE, 50);
			_exit(0);
		}
	await(counter, 6);
	subject_checkpoint();
	mm_check(p, 1024, 1);
	for (int i = 0; i < 6; i++) {
		int status;
		CHECK(wait(&status) > 0 && status == 0);
	}
}

static void moved(void)
{
	char *p = mm_anon(512, PROT_READ | PROT_WRITE, 0), *to = mm_anon(1024, PROT_NONE, 0);
	int *counter = new_counter();

	mm_fill(p, 512, 1);
	for (int i = 0; i < 3; i++)
		if (fork() == 0) {
			char *q = p;
			if (i)
				q = mremap(p, 512 * PAGE, 512 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
				           to + i * 100 * PAGE);
			CHECK(q != MAP_FAILED);
			if (i == 2) /* something else where it was */
				CHECK(mmap(p, 512 * PAGE, PROT_READ | PROT_WRITE,
				           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
				           0) == p);
			if (i == 2)
				mm_fill(p, 512, 7);
			ready_child(counter);
			mm_check(q, 512, 1);
			if (i == 2)
				mm_check(p, 512, 7);
			own(q, 512);
			_exit(0);
		}
	await(counter, 3);
	subject_checkpoint();
	mm_check(p, 512, 1);
	for (int i = 0; i < 3; i++) {
		int status;
		CHECK(wait(&status) > 0 && status == 0);
	}
}

/* many mappings, many children: nothing may be quadratic */
static void mappings(void)
{
	const int n = 1200;
	char **p = mm_anon(4, PROT_READ | PROT_WRITE, 0);
	int *counter = new_counter();

	for (int i = 0; i < n; i++) {
		p[i] = mm_anon(3, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, 0);
		if (i % 2 == 0)
			mm_fill(p[i], 2, i);
	}
	for (int i = 0; i < 8; i++)
		if (fork() == 0) {
			mm_fill(p[2 * i], 1, 9999);
			ready_child(counter);
			for (int k = 0; k < n; k += 2)
				CHECK_EQ(*(uint64_t *)p[k], mm_word(k == 2 * i ? 9999 : k, 0, 0));
			_exit(0);
		}
	await(counter, 8);
	subject_checkpoint();
	for (int k = 0; k < n; k += 2)
		mm_check(p[k], 2, k);
	for (int i = 0; i < 8; i++) {
		int status;
		CHECK(wait(&status) > 0 && status == 0);
	}
}

/* every other page is written by one child or another: as many sets as children, all in pieces */
static void fragments(void)
{
	const uint64_t n = 8000;
	char *p = mm_anon(n, PROT_READ | PROT_WRITE, 0);
	int *counter = new_counter();

	mm_fill(p, n, 1);
	for (uint64_t i = 0; i < 8; i++)
		if (fork() == 0) {
			for (uint64_t k = i; k < n; k += 16)
				*(uint64_t *)(p + k * PAGE) = i + 1;
			ready_child(counter);
			for (uint64_t k = 0; k < n; k++)
				CHECK_EQ(*(uint64_t *)(p + k * PAGE),
				         k % 16 == i ? i + 1 : mm_word(1, k, 0));
			_exit(0);
		}
	await(counter, 8);
	subject_checkpoint();
	mm_check(p, n, 1);
	for (int i = 0; i < 8; i++) {
		int status;
		CHECK(wait(&status) > 0 && status == 0);
	}
}

/* shared pages behind other protections, in a changed file, on the heap and the stack */
static void protected(void)
{
	char *none = mm_anon(100, PROT_READ | PROT_WRITE, 0), *read_only, *file, *zero,
	     stack[8 * PAGE];
	int *counter = new_counter(), fd = open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char *heap = malloc(64 * PAGE);

	read_only = mm_anon(100, PROT_READ | PROT_WRITE, 0);
	zero = mm_anon(100, PROT_READ | PROT_WRITE, 0);
	CHECK(ftruncate(fd, 100 * PAGE) == 0);
	file = mmap(NULL, 100 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	close(fd);
	mm_fill(none, 100, 1), mm_fill(read_only, 100, 2), mm_fill(file + 10 * PAGE, 50, 3);
	memset(zero, 0, 50 * PAGE);
	memset(heap, 'h', 64 * PAGE), memset(stack, 's', sizeof(stack));
	CHECK(mprotect(none, 100 * PAGE, PROT_NONE) == 0);
	CHECK(mprotect(read_only, 100 * PAGE, PROT_READ) == 0);
	pid_t child = 1;
	for (int i = 0; i < 4 && child; i++)
		child = fork();
	if (!child)
		ready_child(counter);
	else
		await(counter, 4), subject_checkpoint();
	CHECK(write(2, none, 1) == -1 && errno == EFAULT);
	CHECK(mprotect(none, 100 * PAGE, PROT_READ | PROT_WRITE) == 0);
	mm_check(none, 100, 1), mm_check(read_only, 100, 2), mm_check(file + 10 * PAGE, 50, 3);
	mm_check_zero(file, 10), mm_check_zero(zero, 100);
	for (uint64_t i = 0; i < 64 * PAGE; i++)
		CHECK(heap[i] == 'h');
	for (uint64_t i = 0; i < sizeof(stack); i++)
		CHECK(stack[i] == 's');
	own(none, 100);
	if (!child)
		_exit(0);
	for (int i = 0; i < 4; i++) {
		int status;
		CHECK(wait(&status) > 0 && status == 0);
	}
}

static char *shared_page;
static int *thread_counter;

static void *thread(void *arg)
{
	(void)arg;
	if (fork() == 0) {
		ready_child(thread_counter);
		mm_check(shared_page, 500, 1);
		own(shared_page, 500);
		_exit(0);
	}
	subject_wait_go();
	return NULL;
}

/* children of a thread that is not the leader */
static void threads(void)
{
	pthread_t t[4];

	shared_page = mm_anon(500, PROT_READ | PROT_WRITE, 0);
	thread_counter = new_counter();
	mm_fill(shared_page, 500, 1);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, thread, NULL) == 0);
	await(thread_counter, 4);
	subject_checkpoint();
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	for (int i = 0; i < 4; i++) {
		int status;
		CHECK(wait(&status) > 0 && status == 0);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = { { "children", children },
		      { "tree", tree },
		      { "executed", executed },
		      { "executed-2", executed_2 },
		      { "prefork", prefork },
		      { "prefork-orphans", prefork_orphans },
		      { "reshaped", reshaped },
		      { "moved", moved },
		      { "mappings", mappings },
		      { "fragments", fragments },
		      { "protected", protected },
		      { "threads", threads },
		      { "dead-ancestor", dead_ancestor } };

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (!strcmp(tests[i].name, argc > 1 ? argv[1] : "children"))
			tests[i].run();
	return 0;
}
