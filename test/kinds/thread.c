/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What belongs to single threads: each has a state of its own, and looks for it afterwards.
 *
 * TEST sigmask round-trip -- sigmask
 * TEST altstack round-trip -- altstack
 * TEST robust-list round-trip -- robust
 * TEST robust-list-in-a-file round-trip -- robust_file
 * TEST tid-address round-trip -- tid_address
 * TEST rseq round-trip -- rseq
 * TEST rseq-section round-trip -- rseq_section
 * TEST memory-policy round-trip -- policy
 */
#include <linux/mempolicy.h>
#include <linux/rseq.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/wait.h>

#include "cases.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
#define N_THREADS 3

static pthread_barrier_t set_up;

/* the threads have set themselves up; be checkpointed and restarted */
static void join_all(pthread_t *threads, int n)
{
	pthread_barrier_wait(&set_up);
	subject_checkpoint();
	for (int i = 0; i < n; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

static void start_all(pthread_t *threads, int n, void *(*run)(void *))
{
	CHECK(pthread_barrier_init(&set_up, NULL, (unsigned)n + 1) == 0);
	for (int i = 0; i < n; i++)
		CHECK(pthread_create(&threads[i], NULL, run, (void *)(intptr_t)i) == 0);
}

static void run_all(void *(*run)(void *))
{
	pthread_t threads[N_THREADS];

	start_all(threads, N_THREADS, run);
	join_all(threads, N_THREADS);
}

static void wait_here(void)
{
	pthread_barrier_wait(&set_up);
	subject_wait_go();
}

/* ---- signal masks ---- */

static uint64_t kernel_mask(void)
{
	uint64_t mask = 0;

	CHECK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &mask, 8) == 0);
	return mask;
}

static void set_kernel_mask(uint64_t mask)
{
	CHECK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8) == 0);
}

static void *with_mask(void *arg)
{
	static const uint64_t masks[N_THREADS] = { 0, 1ull << (SIGUSR1 - 1) | 1ull << 63,
		                                   0xfffffffe7ffbfeffull };
	uint64_t mask = masks[(intptr_t)arg];

	set_kernel_mask(mask);
	wait_here();
	CHECK_EQ(kernel_mask(), mask);
	return NULL;
}

static void masks(void)
{
	const uint64_t mask = 1ull << (SIGTERM - 1) | 1ull << 40;

	set_kernel_mask(mask);
	run_all(with_mask);
	CHECK_EQ(kernel_mask(), mask);
}

/* ---- alternate stacks ---- */

static char stacks[4][65536];

static void set_stack(int i, size_t size, unsigned flags)
{
	stack_t stack = { .ss_sp = size ? stacks[i] : NULL,
		          .ss_size = size,
		          .ss_flags = (int)flags };

	CHECK(sigaltstack(&stack, NULL) == 0);
}

static void check_stack(int i, size_t size, unsigned flags)
{
	stack_t stack;

	CHECK(sigaltstack(NULL, &stack) == 0);
	CHECK_EQ((uintptr_t)stack.ss_sp, size ? (uintptr_t)stacks[i] : 0);
	CHECK_EQ(stack.ss_size, size);
	CHECK_EQ((unsigned)stack.ss_flags, flags);
}

static void on_stack(int sig)
{
	(void)sig;
	check_stack(3, 65536, SS_ONSTACK);
	wait_here();
	check_stack(3, 65536, SS_ONSTACK);
}

static void *with_stack(void *arg)
{
	switch ((intptr_t)arg) {
	case 0:
		set_stack(0, 16384, SS_AUTODISARM);
		wait_here();
		check_stack(0, 16384, SS_AUTODISARM);
		break;
	case 1:
		set_stack(1, 0, SS_DISABLE | SS_AUTODISARM);
		wait_here();
		check_stack(1, 0, SS_DISABLE | SS_AUTODISARM);
		break;
	default:
		/* what stasis lays its return frame on has been used before */
		memset(stacks[3], 1, sizeof(stacks[3]));
		set_stack(3, 65536, 0);
		CHECK(raise(SIGUSR1) == 0);
		check_stack(3, 65536, 0);
	}
	return NULL;
}

static void altstack(void)
{
	struct sigaction action = { .sa_handler = on_stack, .sa_flags = SA_ONSTACK };

	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	set_stack(2, 20480, 0);
	run_all(with_stack);
	check_stack(2, 20480, 0);
}

/* ---- robust lists ---- */

static pthread_mutex_t robust_mutex;

static void *hold_mutex(void *arg)
{
	void *head, *again;
	size_t size;

	(void)arg;
	CHECK(syscall(SYS_get_robust_list, 0, &head, &size) == 0 && head);
	CHECK(pthread_mutex_lock(&robust_mutex) == 0);
	wait_here();
	CHECK(syscall(SYS_get_robust_list, 0, &again, &size) == 0);
	CHECK_EQ((uintptr_t)again, (uintptr_t)head);
	return NULL; /* the kernel gives the mutex away */
}

static void robust(void)
{
	pthread_mutexattr_t attr;
	pthread_t thread;

	CHECK(pthread_mutexattr_init(&attr) == 0);
	CHECK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0);
	CHECK(pthread_mutex_init(&robust_mutex, &attr) == 0);
	start_all(&thread, 1, hold_mutex);
	join_all(&thread, 1);
	CHECK_EQ(pthread_mutex_trylock(&robust_mutex), EOWNERDEAD);
}

/* mutexes in a file, which outlives the processes that hold them: still held afterwards */
struct in_file {
	pthread_mutex_t of_main, of_thread, of_child, inheriting;
};

static void make_shared(pthread_mutex_t *m, int protocol)
{
	pthread_mutexattr_t attr;

	CHECK(pthread_mutexattr_init(&attr) == 0);
	CHECK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0);
	CHECK(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_mutexattr_setprotocol(&attr, protocol) == 0);
	CHECK(pthread_mutex_init(m, &attr) == 0);
}

static void *hold_in_file(void *arg)
{
	struct in_file *f = arg;

	subject_use_stack();
	CHECK(pthread_mutex_lock(&f->of_thread) == 0);
	wait_here();
	CHECK_EQ(pthread_mutex_trylock(&f->of_main), EBUSY);
	CHECK_EQ(pthread_mutex_unlock(&f->of_thread), 0);
	return NULL;
}

static void robust_file(void)
{
	pthread_t thread;
	int fd = open("mutexes", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
	struct in_file *f = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(f != MAP_FAILED);
	make_shared(&f->of_main, PTHREAD_PRIO_NONE);
	make_shared(&f->of_thread, PTHREAD_PRIO_NONE);
	make_shared(&f->of_child, PTHREAD_PRIO_NONE);
	make_shared(&f->inheriting, PTHREAD_PRIO_INHERIT);
	CHECK(pthread_mutex_lock(&f->of_main) == 0);
	CHECK(pthread_mutex_lock(&f->inheriting) == 0);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		CHECK(pthread_mutex_lock(&f->of_child) == 0);
		subject_settle("child");
		CHECK(pthread_mutex_unlock(&f->of_child) == 0);
		_exit(0);
	}
	subject_wait("child");
	CHECK(pthread_barrier_init(&set_up, NULL, 2) == 0);
	CHECK(pthread_create(&thread, NULL, hold_in_file, f) == 0);
	join_all(&thread, 1);
	subject_check_exit(child, 0);
	CHECK_EQ(pthread_mutex_unlock(&f->of_main), 0);
	CHECK_EQ(pthread_mutex_unlock(&f->inheriting), 0);
	CHECK_EQ(pthread_mutex_lock(&f->of_main), 0);
	CHECK_EQ(pthread_mutex_lock(&f->of_thread), 0);
	CHECK_EQ(pthread_mutex_lock(&f->of_child), 0);
	CHECK_EQ(pthread_mutex_lock(&f->inheriting), 0);
}

/* ---- the address that is cleared at the end ---- */

static int *tid_address_of_thread(void)
{
	int *address = NULL;

	CHECK(prctl(PR_GET_TID_ADDRESS, &address, 0, 0, 0) == 0);
	return address;
}

static void *with_tid_address(void *arg)
{
	int *address = tid_address_of_thread();

	(void)arg;
	CHECK(address && *address == (int)syscall(SYS_gettid));
	wait_here();
	CHECK(tid_address_of_thread() == address);
	CHECK_EQ(*address, syscall(SYS_gettid));
	return NULL; /* pthread_join() waits for the kernel to clear it */
}

static void tid_address(void)
{
	static int own;

	syscall(SYS_set_tid_address, &own);
	run_all(with_tid_address);
	CHECK(tid_address_of_thread() == &own);
}

/* ---- rseq ---- */

static struct rseq *glibc_rseq(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* only the very address, size and signature of the registration can be unregistered */
static void unregister(struct rseq *area, unsigned signature)
{
	CHECK(syscall(SYS_rseq, area, sizeof(*area), RSEQ_FLAG_UNREGISTER, signature) == 0);
}

static void *with_rseq(void *arg)
{
	static struct rseq own __attribute__((aligned(32)));
	struct rseq *area = glibc_rseq();

	switch ((intptr_t)arg) {
	case 0: /* glibc's own */
		wait_here();
		unregister(area, RSEQ_SIG);
		break;
	case 1: /* another place and signature */
		unregister(area, RSEQ_SIG);
		CHECK(syscall(SYS_rseq, &own, sizeof(own), 0, 0x12345678) == 0);
		wait_here();
		CHECK((int)own.cpu_id >= 0);
		unregister(&own, 0x12345678);
		break;
	default: /* none */
		unregister(area, RSEQ_SIG);
		wait_here();
		CHECK(syscall(SYS_rseq, &own, sizeof(own), RSEQ_FLAG_UNREGISTER, RSEQ_SIG) < 0 &&
		      errno == EINVAL);
	}
	return NULL;
}

static void need_rseq(void)
{
	if (!__rseq_size)
		SKIP("the C library has not registered rseq");
}

static void rseq(void)
{
	need_rseq();
	run_all(with_rseq);
	CHECK((int)glibc_rseq()->cpu_id >= 0);
	unregister(glibc_rseq(), RSEQ_SIG);
}

/*
 * Goes round inside a restartable sequence for ever; only its abort handler leads out, and to there
 * the kernel goes only as long as it knows that the thread is inside. A checkpoint may abort the
 * sequence like any preemption; it must not go on inside as if nothing had been.
 */
static volatile int leave;
static volatile long aborted;

static void go_round(struct rseq *area)
{
	__asm__ volatile(".pushsection __rseq_cs, \"aw\"\n\t"
	                 ".balign 32\n"
	                 "3:\n\t"
	                 ".long 0, 0\n\t"
	                 ".quad 1f, 2f - 1f, 4f\n\t"
	                 ".popsection\n\t"
	                 "lea 3b(%%rip), %%rax\n\t"
	                 "mov %%rax, %[cs]\n"
	                 "1:\n\t"
	                 "pause\n\t"
	                 "jmp 1b\n"
	                 "2:\n\t"
	                 ".byte 0x0f, 0xb9, 0x3d\n\t" /* ud1, whose operand is the signature */
	                 ".long 0x53053053\n"
	                 "4:"
	                 : [cs] "=m"(area->rseq_cs)
	                 :
	                 : "rax", "memory");
}

static void *in_section(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&set_up);
	while (!leave) {
		go_round(glibc_rseq());
		aborted++;
	}
	return NULL;
}

static void nothing(int sig)
{
	(void)sig;
}

static void rseq_section(void)
{
	pthread_t thread;

	need_rseq();
	CHECK(signal(SIGUSR1, nothing) != SIG_ERR);
	start_all(&thread, 1, in_section);
	pthread_barrier_wait(&set_up);
	subject_checkpoint();
	CHECK(aborted > 0);
	leave = 1;
	CHECK(pthread_kill(thread, SIGUSR1) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- memory policy ---- */

static void check_policy(int want, unsigned long want_nodes)
{
	unsigned long nodes[16] = { 0 };
	int mode = -1;

	CHECK(syscall(SYS_get_mempolicy, &mode, nodes, sizeof(nodes) * 8 + 1, 0, 0) == 0);
	CHECK_EQ(mode, want);
	CHECK_EQ(nodes[0], want_nodes);
}

static void *with_policy(void *arg)
{
	static const int modes[N_THREADS] = { MPOL_DEFAULT, MPOL_BIND | MPOL_F_STATIC_NODES,
		                              MPOL_LOCAL };
	int mode = modes[(intptr_t)arg];
	unsigned long node = mode & MPOL_BIND ? 1 : 0;

	if ((intptr_t)arg == 1)
		CHECK(syscall(SYS_set_mempolicy, mode, &node, sizeof(node) * 8) == 0);
	else
		CHECK(syscall(SYS_set_mempolicy, mode, NULL, 0) == 0);
	wait_here();
	check_policy(mode, (intptr_t)arg == 1);
	return NULL;
}

static void policy(void)
{
	unsigned long node = 1;

	if (syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &node, sizeof(node) * 8) < 0)
		SKIP("the kernel has no memory policies");
	run_all(with_policy);
	check_policy(MPOL_INTERLEAVE, 1);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE_NAMED("sigmask", masks), CASE(altstack), CASE(robust),
	                     CASE(robust_file), CASE(tid_address), CASE(rseq), CASE(rseq_section),
	                     CASE(policy));
}
