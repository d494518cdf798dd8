/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers: a child holds known values in all of them while it goes round in a loop that ends when
 * the parent says so, and looks at them then. What cannot be restored is refused.
 *
 * TEST general round-trip -- general
 * TEST flags round-trip -- flags
 * TEST x87 round-trip -- x87
 * TEST sse round-trip -- sse
 * TEST avx round-trip -- avx
 * TEST avx512 round-trip -- avx512
 * TEST fs-gs-base round-trip -- bases
 * TEST debug-registers refuse code=cpu.debug-registers -- debug
 * TEST ldt refuse code=cpu.ldt -- ldt
 * TEST thread-area refuse code=cpu.ldt -- thread_area
 * TEST ioperm refuse code=cpu.ioperm -- ioperm
 * TEST dispatch refuse needs=ptrace_syscall_user_dispatch code=cpu.dispatch -- dispatch
 * TEST amx refuse code=cpu.amx -- amx
 * TEST lam refuse code=cpu.lam -- lam
 * TEST 32-bit refuse code=task.32bit -- compat
 * TEST 32-bit-call refuse code=task.32bit -- compat_call
 */
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "cases.h"

/* shared with the child: it goes round until this is set */
static volatile int *leave;

static pid_t child_start(void (*run)(void))
{
	leave = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(leave != MAP_FAILED);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		run();
		_exit(0);
	}
	usleep(20000); /* it is in its loop by then, or the test shows nothing */
	return pid;
}

static void child_end(pid_t pid)
{
	*leave = 1;
	subject_check_exit(pid, 0);
}

static void round_trip(void (*run)(void))
{
	pid_t pid = child_start(run);

	subject_checkpoint();
	child_end(pid);
}

/* ---- general registers ---- */

#define GENERAL(number) (0x0123456789abcd00ull + (number))

/* all but rsp, which the stack needs, and r15, which holds the address that is looked at */
static void in_general(void)
{
	uint64_t out[15] = { 0 };
	volatile int *word = leave;

	__asm__ volatile(
		"push %%rbp\n\t"
		"push %[out]\n\t"
		"mov %[word], %%r15\n\t"
		".irp r, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14\n\t"
		"movabs $0x0123456789abcd00, %%\\r\n\t"
		".endr\n\t"
		".set i, 0\n\t"
		".irp r, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14\n\t"
		"lea i(%%\\r), %%\\r\n\t"
		".set i, i + 1\n\t"
		".endr\n"
		"1: pause\n\t"
		"cmpl $0, (%%r15)\n\t"
		"je 1b\n\t"
		"mov (%%rsp), %%r15\n\t"
		".set i, 0\n\t"
		".irp r, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14\n\t"
		"mov %%\\r, i(%%r15)\n\t"
		".set i, i + 8\n\t"
		".endr\n\t"
		"pop %%rax\n\t"
		"pop %%rbp"
		:
		: [out] "a"(out), [word] "b"(word)
		: "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
		  "memory", "cc");
	for (unsigned i = 0; i < 14; i++)
		CHECK_EQ(out[i], GENERAL(i));
}

static void general(void)
{
	round_trip(in_general);
}

/* flags that nobody touches in the loop: direction, alignment check */
static void in_flags(void)
{
	uint64_t flags;

	__asm__ volatile("pushf; orq $0x40400, (%%rsp); popf\n"
	                 "1: mov (%[word]), %%eax\n\t"
	                 "test %%eax, %%eax\n\t"
	                 "je 1b\n\t"
	                 "pushf; pop %[flags]\n\t"
	                 "pushf; andq $~0x40400, (%%rsp); popf"
	                 : [flags] "=r"(flags)
	                 : [word] "r"(leave)
	                 : "rax", "memory", "cc");
	CHECK_EQ(flags & 0x40400, 0x40400);
}

static void flags(void)
{
	round_trip(in_flags);
}

/* ---- floating point and vectors ---- */

static void spin(void)
{
	while (!*leave)
		__asm__ volatile("pause");
}

static void in_x87(void)
{
	uint16_t control = 0x0c7f, seen = 0; /* rounding towards zero */
	double one = 1.5, two = -2.25, a, b;

	__asm__ volatile("fldcw %0; fldl %1; fldl %2" : : "m"(control), "m"(one), "m"(two));
	spin();
	__asm__ volatile("fstpl %0; fstpl %1; fnstcw %2" : "=m"(a), "=m"(b), "=m"(seen));
	CHECK(a == -2.25 && b == 1.5);
	CHECK_EQ(seen, control);
}

static void x87(void)
{
	round_trip(in_x87);
}

static uint8_t vectors[32][64] __attribute__((aligned(64)));
static uint8_t seen_vectors[32][64] __attribute__((aligned(64)));

static void fill_vectors(void)
{
	for (int i = 0; i < 32; i++)
		for (int k = 0; k < 64; k++)
			vectors[i][k] = (uint8_t)(17 * i + 3 * k + 1);
}

static void check_vectors(int n, size_t size)
{
	for (int i = 0; i < n; i++)
		if (memcmp(vectors[i], seen_vectors[i], size))
			FAIL("vector register %d has changed", i);
}

#define LOW_HALF  "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"
#define HIGH_HALF ", 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31"
/* loads the registers, spins without a call, and stores them */
#define SPIN_WITH(move, reg, numbers)                                                          \
	__asm__ volatile(".irp n, " numbers "\n\t" move " \\n*64(%0), %%" reg "\\n\n\t.endr\n" \
	                 "1: pause\n\t"                                                        \
	                 "cmpl $0, (%2)\n\t"                                                   \
	                 "je 1b\n\t"                                                           \
	                 ".irp n, " numbers "\n\t" move " %%" reg "\\n, \\n*64(%1)\n\t.endr"   \
	                 :                                                                     \
	                 : "r"(vectors), "r"(seen_vectors), "r"(leave)                         \
	                 : "memory", "cc")

static void in_sse(void)
{
	uint32_t control = 0x3f80, seen; /* round down */

	fill_vectors();
	__asm__ volatile("ldmxcsr %0" : : "m"(control));
	SPIN_WITH("movdqa", "xmm", LOW_HALF);
	__asm__ volatile("stmxcsr %0" : "=m"(seen));
	check_vectors(16, 16);
	CHECK_EQ(seen & 0xffc0, control & 0xffc0);
}

static void sse(void)
{
	round_trip(in_sse);
}

static void in_avx(void)
{
	fill_vectors();
	SPIN_WITH("vmovdqa", "ymm", LOW_HALF);
	check_vectors(16, 32);
}

static void avx(void)
{
	if (!__builtin_cpu_supports("avx2"))
		SKIP("the processor has no AVX2");
	round_trip(in_avx);
}

static void in_avx512(void)
{
	uint64_t mask = 0x123456789abcdef0ull, seen;

	fill_vectors();
	__asm__ volatile("kmovq %0, %%k5" : : "r"(mask));
	SPIN_WITH("vmovdqa64", "zmm", LOW_HALF HIGH_HALF);
	__asm__ volatile("kmovq %%k5, %0" : "=r"(seen));
	check_vectors(32, 64);
	CHECK_EQ(seen, mask);
}

static void avx512(void)
{
	if (!__builtin_cpu_supports("avx512bw"))
		SKIP("the processor has no AVX-512");
	round_trip(in_avx512);
}

/* ---- segment bases ---- */

static unsigned long base_of(int which)
{
	unsigned long base = 0;

	CHECK(syscall(SYS_arch_prctl, which, &base) == 0);
	return base;
}

static volatile int gs_is_set;

static void *with_gs(void *arg)
{
	unsigned long fs = base_of(ARCH_GET_FS), gs = (unsigned long)arg;

	CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, gs) == 0);
	gs_is_set = 1;
	subject_wait_go();
	CHECK_EQ(base_of(ARCH_GET_FS), fs);
	CHECK_EQ(base_of(ARCH_GET_GS), gs);
	return NULL;
}

static void bases(void)
{
	static char areas[2][64];
	unsigned long fs = base_of(ARCH_GET_FS);
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, with_gs, areas[0]) == 0);
	CHECK(syscall(SYS_arch_prctl, ARCH_SET_GS, areas[1]) == 0);
	while (!gs_is_set)
		usleep(1000);
	subject_checkpoint();
	CHECK_EQ(base_of(ARCH_GET_FS), fs);
	CHECK_EQ(base_of(ARCH_GET_GS), (unsigned long)areas[1]);
	CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- what is refused ---- */

static void wait_in_child(void)
{
	subject_wait_go();
}

/* set by a debugger that has gone since */
static void debug(void)
{
	pid_t pid = child_start(wait_in_child);
	int status;

	CHECK(ptrace(PTRACE_ATTACH, pid, 0, 0) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), &debug) < 0 ||
	    ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), 1) < 0)
		SKIP("no debug registers can be set here");
	CHECK(ptrace(PTRACE_DETACH, pid, 0, 0) == 0);
	subject_checkpoint();
	child_end(pid);
}

static void ldt(void)
{
	struct user_desc entry = { .entry_number = 0,
		                   .limit = 0xfffff,
		                   .seg_32bit = 1,
		                   .limit_in_pages = 1,
		                   .useable = 1 };

	if (syscall(SYS_modify_ldt, 1, &entry, sizeof(entry)) < 0)
		SKIP("the kernel has no modify_ldt");
	subject_checkpoint();
}

/* by its 32-bit number; dies where the kernel has no such calls */
static long set_thread_area(struct user_desc *entry)
{
	long r;

	__asm__ volatile("int $0x80"
	                 : "=a"(r)
	                 : "a"(243), "b"(entry)
	                 : "memory", "r8", "r9", "r10", "r11");
	return r;
}

/* a 64-bit program can ask for one by a 32-bit call only */
static void thread_area(void)
{
	struct user_desc *entry = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	int status;

	CHECK(entry != MAP_FAILED);
	*entry = (struct user_desc){ .entry_number = (unsigned)-1,
		                     .limit = 0xfffff,
		                     .seg_32bit = 1,
		                     .limit_in_pages = 1,
		                     .useable = 1 };
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		_exit(set_thread_area(entry) != 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	if (WIFSIGNALED(status))
		SKIP("the kernel has no 32-bit calls");
	CHECK(set_thread_area(entry) == 0);
	subject_checkpoint();
}

static void ioperm_bits(void)
{
	if (ioperm(0x80, 1, 1) < 0)
		SKIP("ioperm: %s", strerror(errno));
	subject_checkpoint();
}

static void dispatch(void)
{
	static char selector; /* allow */

	if (prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, &selector) < 0)
		SKIP("the kernel has no syscall user dispatch");
	subject_checkpoint();
}

static void amx(void)
{
	if (syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18) < 0)
		SKIP("built to the documentation, not run: the processor has no AMX");
	subject_checkpoint();
}

static void lam(void)
{
	if (syscall(SYS_arch_prctl, 0x4002 /* ARCH_ENABLE_TAGGED_ADDR */, 6) < 0)
		SKIP("built to the documentation, not run: the processor has no LAM");
	subject_checkpoint();
}

/* ---- 32-bit code ---- */

/*
 * A far jump leads into the kernel's 32-bit code segment; there it goes round until told to leave,
 * and ends by the 32-bit exit(2).
 */
static void in_compat(void)
{
	static const uint8_t code[] = {
		0xf3, 0x90,                   /* 1: pause */
		0x83, 0x3b, 0x00,             /* cmpl $0, (%ebx) */
		0x74, 0xf9,                   /* je 1b */
		0xb8, 0x01, 0x00, 0x00, 0x00, /* mov $1, %eax: exit */
		0x31, 0xdb,                   /* xor %ebx, %ebx */
		0xcd, 0x80,                   /* int $0x80 */
	};
	uint8_t *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	CHECK(low != MAP_FAILED);
	memcpy(low, code, sizeof(code));
	struct {
		uint32_t offset;
		uint16_t segment;
	} __attribute__((packed)) target = { (uint32_t)(uintptr_t)low, 0x23 };
	__asm__ volatile("mov %k2, %%ds; mov %k2, %%es; ljmp *%0"
	                 :
	                 : "m"(target), "b"(leave), "r"(0x2bl)
	                 : "memory");
}

static void compat(void)
{
	leave = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_32BIT, -1,
	             0);
	CHECK(leave != MAP_FAILED);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		in_compat();
	usleep(20000);
	int status;
	if (waitpid(pid, &status, WNOHANG) == pid)
		SKIP("the kernel runs no 32-bit code");
	subject_checkpoint();
	child_end(pid);
}

/* pause(2) by its 32-bit number, 29, from 64-bit code */
static void in_compat_call(void)
{
	long r;

	do {
		__asm__ volatile("int $0x80"
		                 : "=a"(r)
		                 : "a"(29)
		                 : "memory", "r8", "r9", "r10", "r11");
	} while (r == -EINTR);
	_exit(1);
}

static void compat_call(void)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0)
		in_compat_call();
	usleep(20000);
	if (waitpid(pid, &status, WNOHANG) == pid)
		SKIP("the kernel takes no 32-bit calls");
	subject_checkpoint();
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(general), CASE(flags), CASE(x87), CASE(sse),
	                     CASE(avx), CASE(avx512), CASE(bases), CASE(debug), CASE(ldt),
	                     CASE(thread_area), CASE_NAMED("ioperm", ioperm_bits), CASE(dispatch),
	                     CASE(amx), CASE(lam), CASE(compat), CASE(compat_call));
}
