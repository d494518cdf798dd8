/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Settings of prctl(2), arch_prctl(2), personality(2) and membarrier(2).
 *
 * TEST defaults round-trip needs=membarrier_registrations -- defaults
 * TEST no-new-privs round-trip -- no_new_privs
 * TEST personality round-trip -- personality
 * TEST timer-slack round-trip -- timer_slack
 * TEST timer-slack-real-time round-trip -- timer_slack_rt
 * TEST parent-death round-trip -- parent_death
 * TEST parent-death-by-thread round-trip -- parent_death_thread
 * TEST tsc round-trip -- tsc
 * TEST machine-check-early round-trip -- mce_early
 * TEST machine-check-late round-trip -- mce_late
 * TEST subreaper round-trip -- subreaper
 * TEST timer-ids round-trip -- timer_ids
 * TEST futex-hash round-trip -- futex_hash
 * TEST futex-hash-global round-trip -- futex_hash_global
 * TEST futex-hash-of-dead-threads round-trip -- futex_hash_left
 * TEST not-dumpable round-trip -- not_dumpable
 * TEST dumpable-again round-trip -- dumpable_again
 * TEST dumpable-with-threads round-trip -- dumpable_threads
 * TEST dumpable-by-root round-trip before="sh on" -- dumpable_root
 * TEST thp-disable round-trip -- thp
 * TEST thp-disable-except-advised round-trip needs=thp_except_advised -- thp_advised
 * TEST deny-write-execute round-trip needs=mdwe -- mdwe
 * TEST deny-write-execute-here round-trip needs=mdwe -- mdwe_no_inherit
 * TEST memory-merge round-trip needs=memory_merge -- merge
 * TEST membarrier round-trip needs=membarrier_registrations -- membarrier
 * TEST membarrier-unseen round-trip needs=membarrier_registrations without=membarrier_registrations -- membarrier_unseen
 * TEST coredump-filter round-trip -- coredump_filter
 * TEST threads round-trip -- threads
 * TEST parent-death-of-root restart-refuse code=prctl.parent-death -- parent_death_root
 * TEST dumpable-by-root-off restart-refuse code=prctl.dumpable before="sh off" -- dumpable_root
 * TEST no-mdwe restart-refuse code=prctl.kernel without=mdwe -- mdwe
 * TEST no-merge restart-refuse code=prctl.kernel without=memory_merge -- merge
 * TEST no-thp-advised restart-refuse code=prctl.kernel without=thp_except_advised -- thp_advised
 * TEST core-scheduling refuse code=prctl.core-scheduling -- core_scheduling
 * TEST io-flusher round-trip -- io_flusher
 * TEST io-flusher-no-privilege restart-refuse code=prctl.privilege without=cap_sys_resource -- io_flusher
 * TEST inherited restart-refuse code=prctl.inherited under="setpriv --no-new-privs" -- defaults
 */
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"

/* newer than the headers */
#define SET_MDWE           65
#define GET_MDWE           66
#define SET_MEMORY_MERGE   67
#define GET_MEMORY_MERGE   68
#define TIMER_RESTORE_IDS  77
#define FUTEX_HASH         78
#define THP_EXCEPT_ADVISED 2
#define GET_REGISTRATIONS  (1 << 9)

static int get(int option)
{
	return prctl(option, 0, 0, 0, 0);
}

static int get_to(int option)
{
	int value = -1;

	CHECK(prctl(option, &value, 0, 0, 0) == 0);
	return value;
}

static void defaults(void)
{
	unsigned long slack = (unsigned long)get(PR_GET_TIMERSLACK);

	subject_checkpoint();
	CHECK_EQ(get(PR_GET_NO_NEW_PRIVS), 0);
	CHECK_EQ(get_to(PR_GET_PDEATHSIG), 0);
	CHECK_EQ(get_to(PR_GET_TSC), PR_TSC_ENABLE);
	CHECK_EQ(get(PR_MCE_KILL_GET), PR_MCE_KILL_DEFAULT);
	CHECK_EQ(get_to(PR_GET_CHILD_SUBREAPER), 0);
	CHECK_EQ(get(PR_GET_DUMPABLE), 1);
	CHECK_EQ(get(PR_GET_THP_DISABLE), 0);
	CHECK_EQ(get(PR_GET_TIMERSLACK), slack);
	CHECK_EQ(personality(0xffffffff), 0);
	CHECK_EQ(syscall(SYS_membarrier, GET_REGISTRATIONS, 0, 0), 0);
}

static void no_new_privs(void)
{
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	subject_checkpoint();
	CHECK_EQ(get(PR_GET_NO_NEW_PRIVS), 1);
}

static void with_personality(void)
{
	int want = ADDR_NO_RANDOMIZE | READ_IMPLIES_EXEC | UNAME26;

	CHECK(personality((unsigned)want) >= 0);
	subject_checkpoint();
	CHECK_EQ(personality(0xffffffff), want);
}

static void timer_slack(void)
{
	CHECK(prctl(PR_SET_TIMERSLACK, 123456) == 0);
	subject_checkpoint();
	CHECK_EQ(get(PR_GET_TIMERSLACK), 123456);
}

/* since Linux 6.13 real-time tasks have none, and get it back afterwards */
static void timer_slack_rt(void)
{
	CHECK(sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 }) == 0);
	int slack = get(PR_GET_TIMERSLACK);
	subject_checkpoint();
	CHECK_EQ(get(PR_GET_TIMERSLACK), slack);
}

static volatile sig_atomic_t died;

static void on_death(int signal)
{
	died = signal;
}

/* a child whose parent dies after the restart gets the signal, and only then */
static void parent_death(void)
{
	int status;

	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	pid_t middle = fork();
	CHECK(middle >= 0);
	if (middle == 0) {
		pid_t last = fork();
		CHECK(last >= 0);
		if (last == 0) {
			signal(SIGUSR2, on_death);
			CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR2) == 0);
			subject_mark("last");
			subject_wait_go();
			CHECK_EQ(get_to(PR_GET_PDEATHSIG), SIGUSR2);
			subject_mark("alive");
			while (!died)
				sched_yield();
			_exit(0);
		}
		subject_wait_go();
		subject_wait("alive");
		_exit(0);
	}
	subject_wait("last");
	subject_checkpoint();
	for (int i = 0; i < 2; i++) {
		CHECK(wait(&status) > 0);
		CHECK_EQ(status, 0);
	}
}

static void *make_child(void *arg)
{
	subject_use_stack();
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		signal(SIGUSR2, on_death);
		CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR2) == 0);
		subject_mark("child");
		subject_wait_go();
		while (!died)
			sched_yield();
		_exit(0);
	}
	subject_wait_go();
	return NULL; /* its parent is this thread, not the process */
}

static void parent_death_thread(void)
{
	pthread_t t;
	int status;

	CHECK(pthread_create(&t, NULL, make_child, NULL) == 0);
	subject_wait("child");
	subject_checkpoint();
	CHECK(pthread_join(t, NULL) == 0);
	CHECK(wait(&status) > 0);
	CHECK_EQ(status, 0);
}

static void parent_death_root(void)
{
	CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR2) == 0);
	subject_checkpoint();
}

static void tsc(void)
{
	CHECK(prctl(PR_SET_TSC, PR_TSC_SIGSEGV) == 0);
	subject_checkpoint();
	CHECK_EQ(get_to(PR_GET_TSC), PR_TSC_SIGSEGV);
}

static void with_mce(int policy)
{
	CHECK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, policy, 0, 0) == 0);
	subject_checkpoint();
	CHECK_EQ(get(PR_MCE_KILL_GET), policy);
}

static void mce_early(void)
{
	with_mce(PR_MCE_KILL_EARLY);
}

static void mce_late(void)
{
	with_mce(PR_MCE_KILL_LATE);
}

static void subreaper(void)
{
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		subject_wait_go();
		if (fork() == 0) {
			while (getppid() == 1 || access("orphaned", F_OK) < 0)
				sched_yield();
			_exit(7);
		}
		_exit(0);
	}
	subject_checkpoint();
	CHECK_EQ(get_to(PR_GET_CHILD_SUBREAPER), 1);
	CHECK(waitpid(pid, NULL, 0) == pid);
	subject_mark("orphaned");
	int status;
	CHECK(wait(&status) > 0);
	CHECK_EQ(WEXITSTATUS(status), 7);
}

static void timer_ids(void)
{
	if (prctl(TIMER_RESTORE_IDS, 1, 0, 0, 0) < 0)
		SKIP("before Linux 6.16");
	subject_checkpoint();
	CHECK_EQ(prctl(TIMER_RESTORE_IDS, 2, 0, 0, 0), 1);
}

static void set_futex_hash(long slots)
{
	if (prctl(FUTEX_HASH, 1, slots, 0, 0) < 0)
		SKIP("before Linux 6.16");
	subject_checkpoint();
	CHECK_EQ(prctl(FUTEX_HASH, 2, 0, 0, 0), slots);
}

static void futex_hash(void)
{
	set_futex_hash(32);
}

static void *until_go(void *arg)
{
	subject_wait_go();
	return arg;
}

/* the kernel itself would give a process with threads one of its own */
static void futex_hash_global(void)
{
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, until_go, NULL), 0);
	set_futex_hash(0);
}

static void *ends(void *arg)
{
	return arg;
}

/* what the kernel has given to threads that have ended */
static void futex_hash_left(void)
{
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, ends, NULL), 0);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	int slots = prctl(FUTEX_HASH, 2, 0, 0, 0);
	subject_checkpoint();
	CHECK_EQ(prctl(FUTEX_HASH, 2, 0, 0, 0), slots);
}

static void not_dumpable(void)
{
	CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
	subject_checkpoint();
	CHECK_EQ(get(PR_GET_DUMPABLE), 0);
}

static void drop(long id)
{
	CHECK(syscall(SYS_setresgid, id, id, id) == 0);
	CHECK(syscall(SYS_setresuid, id, id, id) == 0);
}

/* setresuid(2) clears it; it was set again */
static void dumpable_again(void)
{
	CHECK(chmod(".", 0777) == 0);
	drop(1000);
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
	subject_checkpoint();
	CHECK_EQ(get(PR_GET_DUMPABLE), 1);
}

static void *drop_thread(void *arg)
{
	subject_use_stack();
	drop(1001);
	subject_mark("thread");
	subject_wait_go();
	return NULL;
}

/* the thread's change of user comes after the leader's settings */
static void dumpable_threads(void)
{
	pthread_t t;

	CHECK(chmod(".", 0777) == 0);
	CHECK(pthread_create(&t, NULL, drop_thread, NULL) == 0);
	subject_wait("thread");
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
	subject_checkpoint();
	CHECK_EQ(get(PR_GET_DUMPABLE), 1);
	CHECK(pthread_join(t, NULL) == 0);
}

static void set_suid_dumpable(const char *value)
{
	FILE *f = fopen("/proc/sys/fs/suid_dumpable", "we");

	CHECK(f && fputs(value, f) >= 0);
	CHECK(fclose(f) == 0);
}

static void write_script(const char *name, const char *text)
{
	FILE *f = fopen(name, "we");

	CHECK(f && fputs(text, f) >= 0);
	fclose(f);
}

/* 2 comes only from fs.suid_dumpable, which is the host's: it is put back at once */
static void dumpable_root(void)
{
	char old[8] = "0";
	FILE *f = fopen("/proc/sys/fs/suid_dumpable", "re");

	CHECK(f && fgets(old, sizeof(old), f));
	fclose(f);
	set_suid_dumpable("2");
	setfsuid(1000);
	setfsuid(0);
	set_suid_dumpable(old);
	CHECK_EQ(get(PR_GET_DUMPABLE), 2);
	write_script("on", "echo 2 >/proc/sys/fs/suid_dumpable\n");
	write_script("off", "echo 0 >/proc/sys/fs/suid_dumpable\n");
	subject_checkpoint();
	set_suid_dumpable(old);
	CHECK_EQ(get(PR_GET_DUMPABLE), 2);
}

static void with_thp(unsigned long flags, int want)
{
	if (prctl(PR_SET_THP_DISABLE, 1, flags, 0, 0) < 0)
		SKIP("before Linux 6.18");
	subject_checkpoint();
	CHECK_EQ(get(PR_GET_THP_DISABLE), want);
}

static void thp(void)
{
	with_thp(0, 1);
}

static void thp_advised(void)
{
	with_thp(THP_EXCEPT_ADVISED, 3);
}

static void with_mdwe(unsigned long bits)
{
	if (prctl(SET_MDWE, bits, 0, 0, 0) < 0)
		SKIP("before Linux 6.3");
	subject_checkpoint();
	CHECK_EQ(get(GET_MDWE), bits);
	CHECK(mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	      MAP_FAILED);
}

static void mdwe(void)
{
	with_mdwe(1);
}

static void mdwe_no_inherit(void)
{
	with_mdwe(3);
}

static void merge(void)
{
	if (prctl(SET_MEMORY_MERGE, 1, 0, 0, 0) < 0)
		SKIP("no KSM");
	subject_checkpoint();
	CHECK_EQ(get(GET_MEMORY_MERGE), 1);
}

/* registers some, and returns them as they are after the restart */
static long registered(long *ret_before)
{
	CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0);
	CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0);
	*ret_before = syscall(SYS_membarrier, GET_REGISTRATIONS, 0, 0);
	subject_checkpoint();
	CHECK(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
	return syscall(SYS_membarrier, GET_REGISTRATIONS, 0, 0);
}

static void membarrier(void)
{
	long before, after = registered(&before);

	CHECK_EQ(after, before);
}

/* all are taken to be registered */
static void membarrier_unseen(void)
{
	long before, after = registered(&before);

	CHECK_EQ(after & before, before);
}

static void coredump_filter(void)
{
	char text[32] = "";
	int fd = open("/proc/self/coredump_filter", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0 && write(fd, "0x71", 4) == 4);
	close(fd);
	subject_checkpoint();
	FILE *f = fopen("/proc/self/coredump_filter", "re");
	CHECK(f && fgets(text, sizeof(text), f));
	fclose(f);
	CHECK_EQ(strtoul(text, NULL, 16), 0x71);
}

static pthread_barrier_t set_up;

static void *in_thread(void *arg)
{
	unsigned long i = (unsigned long)arg;

	subject_use_stack();
	CHECK(prctl(PR_SET_TIMERSLACK, 1000 * i) == 0);
	if (i == 2)
		CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (i == 3)
		CHECK(personality(ADDR_NO_RANDOMIZE) >= 0);
	pthread_barrier_wait(&set_up);
	subject_wait_go();
	CHECK_EQ(get(PR_GET_TIMERSLACK), 1000 * i);
	CHECK_EQ(get(PR_GET_NO_NEW_PRIVS), i == 2);
	CHECK_EQ(personality(0xffffffff), i == 3 ? ADDR_NO_RANDOMIZE : 0);
	return NULL;
}

static void threads(void)
{
	pthread_t t[3];

	pthread_barrier_init(&set_up, NULL, 4);
	for (unsigned long i = 0; i < 3; i++)
		CHECK(pthread_create(&t[i], NULL, in_thread, (void *)(i + 1)) == 0);
	pthread_barrier_wait(&set_up);
	subject_checkpoint();
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	CHECK_EQ(get(PR_GET_NO_NEW_PRIVS), 0);
}

static void core_scheduling(void)
{
	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD, 0) < 0)
		SKIP("no core scheduling here: %s", strerror(errno));
	subject_checkpoint();
}

static void io_flusher(void)
{
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		SKIP("PR_SET_IO_FLUSHER: %s", strerror(errno));
	subject_checkpoint();
	CHECK_EQ(get(PR_GET_IO_FLUSHER), 1);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(defaults), CASE(no_new_privs), CASE(core_scheduling),
	                     CASE(io_flusher), CASE_NAMED("personality", with_personality),
	                     CASE(timer_slack), CASE(timer_slack_rt), CASE(parent_death),
	                     CASE(parent_death_thread), CASE(parent_death_root), CASE(tsc),
	                     CASE(mce_early), CASE(mce_late), CASE(subreaper), CASE(timer_ids),
	                     CASE(futex_hash), CASE(futex_hash_global), CASE(futex_hash_left),
	                     CASE(not_dumpable), CASE(dumpable_again), CASE(dumpable_threads),
	                     CASE(dumpable_root), CASE(thp), CASE(thp_advised), CASE(mdwe),
	                     CASE(mdwe_no_inherit), CASE(merge), CASE(membarrier),
	                     CASE(membarrier_unseen), CASE(coredump_filter), CASE(threads));
}
