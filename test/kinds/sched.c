/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scheduling of threads; OOM score and autogroup of processes.
 *
 * TEST default round-trip -- untouched
 * TEST default-from-elsewhere round-trip under="nice -n 5 ionice -c 2 -n 1 taskset 1" -- untouched
 * TEST nice round-trip -- nice
 * TEST fifo round-trip -- fifo
 * TEST fifo-keeps-nice round-trip -- fifo_nice
 * TEST round-robin-reset-on-fork round-trip -- rr
 * TEST batch round-trip -- batch
 * TEST idle round-trip -- idle
 * TEST idle-keeps-nice round-trip -- idle_nice
 * TEST deadline round-trip -- deadline
 * TEST slice round-trip -- slice
 * TEST affinity round-trip -- affinity
 * TEST io-priority round-trip -- io_priority
 * TEST io-priority-real-time round-trip -- io_priority_rt
 * TEST oom-score round-trip -- oom_score
 * TEST autogroup round-trip -- autogroup
 * TEST threads round-trip -- threads
 * TEST oom-score-lowered-again round-trip under="$TOP/test/tools/oom_score_500" -- oom_lower
 * TEST oom-lower restart-refuse code=sched.oom-score under="$TOP/test/tools/ro_proc" -- oom_lower
 * TEST nice-no-privilege restart-refuse code=sched.privilege without=cap_sys_nice -- nice_lower
 * TEST fifo-no-privilege restart-refuse code=sched.privilege without=cap_sys_nice -- fifo
 * TEST deadline-no-privilege restart-refuse code=sched.privilege without=cap_sys_nice -- deadline
 * TEST other-cpus restart-refuse code=sched.cpus under="$TOP/test/tools/one_cpu" -- other_cpus
 */
#include <linux/ioprio.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

#include "cases.h"
#include "text.h"

struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

static struct attributes get(void)
{
	struct attributes a = { 0 };

	CHECK(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) == 0);
	return a;
}

static void set(const struct attributes *a)
{
	CHECK(syscall(SYS_sched_setattr, 0, a, 0) == 0);
}

static void check(const struct attributes *a)
{
	struct attributes now = get();

	CHECK_EQ(now.policy, a->policy);
	CHECK_EQ(now.flags, a->flags);
	CHECK_EQ(now.nice, a->nice);
	CHECK_EQ(now.priority, a->priority);
	CHECK_EQ(now.runtime, a->runtime);
	CHECK_EQ(now.deadline, a->deadline);
	CHECK_EQ(now.period, a->period);
}

/* sets it, goes through the restart, finds it */
static void round_trip(const struct attributes *want)
{
	struct attributes have;

	set(want);
	have = get();
	CHECK_EQ(have.policy, want->policy);
	subject_checkpoint();
	check(&have);
}

static void untouched(void)
{
	struct attributes a = get();
	cpu_set_t before, after;

	CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
	subject_checkpoint();
	check(&a);
	CHECK(sched_getaffinity(0, sizeof(after), &after) == 0);
	CHECK(CPU_EQUAL(&before, &after));
	CHECK_EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0), 0);
}

static void nice_value(void)
{
	round_trip(&(struct attributes){ .size = sizeof(struct attributes), .nice = 7 });
}

static void nice_lower(void)
{
	round_trip(&(struct attributes){ .size = sizeof(struct attributes), .nice = -7 });
}

static void fifo(void)
{
	round_trip(&(struct attributes){
		.size = sizeof(struct attributes), .policy = SCHED_FIFO, .priority = 3 });
}

static void fifo_nice(void)
{
	CHECK(setpriority(PRIO_PROCESS, 0, 5) == 0);
	fifo();
	/* what it goes back to */
	CHECK(sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){ 0 }) == 0);
	CHECK_EQ(getpriority(PRIO_PROCESS, 0), 5);
}

static void rr(void)
{
	round_trip(&(struct attributes){
		.size = sizeof(struct attributes), .policy = SCHED_RR, .priority = 4, .flags = 1 });
}

static void batch(void)
{
	round_trip(&(struct attributes){
		.size = sizeof(struct attributes), .policy = SCHED_BATCH, .nice = 2 });
}

static void idle(void)
{
	/* the kernel shows the nice value that comes with this policy, but keeps another */
	round_trip(&(struct attributes){ .size = sizeof(struct attributes),
	                                 .policy = SCHED_IDLE,
	                                 .nice = getpriority(PRIO_PROCESS, 0) });
}

/* under SCHED_IDLE the two may differ: the one is shown as nice value, the other as priority */
static void idle_nice(void)
{
	CHECK(setpriority(PRIO_PROCESS, 0, 5) == 0);
	round_trip(&(struct attributes){
		.size = sizeof(struct attributes), .policy = SCHED_IDLE, .nice = 3 });
	CHECK_EQ(getpriority(PRIO_PROCESS, 0), 5);
}

static void deadline(void)
{
	/* what SCHED_FLAG_DL_OVERRUN sends when the machine is slow */
	CHECK(signal(SIGXCPU, SIG_IGN) != SIG_ERR);
	round_trip(&(struct attributes){ .size = sizeof(struct attributes),
	                                 .policy = 6,
	                                 .flags = 4,
	                                 .runtime = 5000000,
	                                 .deadline = 20000000,
	                                 .period = 30000000 });
}

static void slice(void)
{
	struct attributes a = { .size = sizeof(a), .runtime = 7000000 };

	if (get().runtime == 0)
		SKIP("time slices cannot be set before Linux 6.12");
	round_trip(&a);
	CHECK_EQ(get().runtime, 7000000);
}

static void affinity(void)
{
	cpu_set_t set, after;

	CHECK(sched_getaffinity(0, sizeof(set), &set) == 0);
	if (CPU_COUNT(&set) < 2)
		SKIP("one CPU only");
	for (int i = 0; CPU_COUNT(&set) > 1; i++)
		CPU_CLR(i, &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
	subject_checkpoint();
	CHECK(sched_getaffinity(0, sizeof(after), &after) == 0);
	CHECK(CPU_EQUAL(&set, &after));
}

/* the last CPU seems to have gone when the restart looks */
static void other_cpus(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &set);
	if (CPU_ISSET(0, &set))
		SKIP("one CPU only");
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
	subject_checkpoint();
}

static void with_io_priority(int class, int data)
{
	int want = IOPRIO_PRIO_VALUE(class, data);

	CHECK(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, want) == 0);
	subject_checkpoint();
	CHECK_EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0), want);
}

static void io_priority(void)
{
	with_io_priority(IOPRIO_CLASS_BE, 6);
}

static void io_priority_rt(void)
{
	with_io_priority(IOPRIO_CLASS_RT, 2);
}

static void check_file(const char *path, const char *text)
{
	char buffer[128] = "";
	FILE *f = fopen(path, "re");

	CHECK(f && fgets(buffer, sizeof(buffer), f));
	fclose(f);
	if (!strstr(buffer, text))
		FAIL("%s is %s, not %s", path, buffer, text);
}

static void oom_score(void)
{
	write_text("/proc/self/oom_score_adj", "321");
	subject_checkpoint();
	check_file("/proc/self/oom_score_adj", "321");
}

static void oom_lower(void)
{
	write_text("/proc/self/oom_score_adj", "100");
	subject_checkpoint();
	check_file("/proc/self/oom_score_adj", "100");
}

static void autogroup(void)
{
	if (access("/proc/self/autogroup", F_OK) < 0)
		SKIP("no autogroups");
	write_text("/proc/self/autogroup", "4");
	subject_checkpoint();
	check_file("/proc/self/autogroup", "nice 4");
}

static pthread_barrier_t set_up;

static void *in_thread(void *arg)
{
	int i = (int)(intptr_t)arg;
	struct attributes a = { .size = sizeof(a), .nice = i }, have;

	subject_use_stack();
	if (i == 2)
		a = (struct attributes){ .size = sizeof(a), .policy = SCHED_FIFO, .priority = 1 };
	set(&a);
	have = get();
	pthread_barrier_wait(&set_up);
	subject_wait_go();
	check(&have);
	return NULL;
}

static void threads(void)
{
	pthread_t t[3];

	pthread_barrier_init(&set_up, NULL, 4);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&t[i], NULL, in_thread, (void *)(intptr_t)(i + 1)) == 0);
	pthread_barrier_wait(&set_up);
	subject_checkpoint();
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(untouched), CASE_NAMED("nice", nice_value),
	                     CASE(nice_lower), CASE(fifo), CASE(fifo_nice), CASE(rr), CASE(batch),
	                     CASE(idle), CASE(idle_nice), CASE(deadline), CASE(slice),
	                     CASE(affinity), CASE(other_cpus), CASE(io_priority),
	                     CASE(io_priority_rt), CASE(oom_score), CASE(oom_lower),
	                     CASE(autogroup), CASE(threads));
}
