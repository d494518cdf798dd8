/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is to be notified of the next message in a POSIX message queue is, once, with the value that
 * goes with it, and not before.
 *
 * TEST handled round-trip -- handled
 * TEST blocked round-trip -- blocked
 * TEST ignored round-trip -- ignored
 * TEST realtime round-trip -- realtime
 * TEST full round-trip -- full
 * TEST none round-trip -- none
 * TEST none-full round-trip -- none_full
 * TEST zero round-trip -- zero
 * TEST two round-trip -- two
 * TEST child round-trip -- child
 * TEST receiver round-trip -- receiver
 * TEST waiting round-trip -- waiting
 * TEST stopped round-trip -- stopped
 * TEST filtered round-trip needs=ptrace_suspend_seccomp,ptrace_seccomp_filter -- filtered
 * TEST container round-trip start="unshare -p -f" -- child
 * TEST user round-trip checkpoint=--subtree start="$TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" -- child
 *
 * TEST urgent round-trip -- urgent
 * TEST continued round-trip -- continued
 * TEST terminal-stop round-trip -- terminal_stop
 * TEST pending round-trip -- pending
 * TEST pending-realtime round-trip -- pending_realtime
 * TEST leader round-trip needs=pidfd_thread -- leader
 * TEST executed round-trip -- executed
 *
 * Refused, and all that is said above still holds.
 *
 * TEST thread refuse code=ipc.mq-notify -- thread
 * TEST deadly refuse code=ipc.mq-notify -- deadly
 * TEST continue-stopping refuse code=ipc.mq-notify -- continue_stopping
 * TEST stop-continuing refuse code=ipc.mq-notify -- stop_continuing
 * TEST pending-many refuse code=ipc.mq-notify -- pending_many
 * TEST pending-timer refuse code=ipc.mq-notify -- pending_timer
 * TEST pending-thread refuse code=ipc.mq-notify -- pending_thread
 * TEST leader-ignored refuse code=ipc.mq-notify -- leader_ignored
 * TEST limit refuse code=ipc.mq-notify -- limit
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "cases.h"

#define VALUE 0xfedcba9876543210

static volatile sig_atomic_t handled_n;
static volatile uintptr_t handled_value;

static void handler(int signal, siginfo_t *info, void *context)
{
	handled_n += signal == info->si_signo && info->si_code == SI_MESGQ ? 1 : 1000;
	handled_value = (uintptr_t)info->si_value.sival_ptr;
}

static void handle(int signal)
{
	const struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	CHECK(sigaction(signal, &action, NULL) == 0);
}

static mqd_t make(const char *name)
{
	struct mq_attr attr = { .mq_maxmsg = 4, .mq_msgsize = 32 };
	mqd_t q = mq_open(name, O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0600, &attr);

	CHECK(q >= 0);
	return q;
}

static mqd_t queue(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	return make("/q");
}

/* who is to be notified is the same after, as the kernel shows it */
static void checkpoint(mqd_t q)
{
	char before[256] = "", after[256] = "";

	CHECK(pread(q, before, sizeof(before) - 1, 0) > 0);
	subject_checkpoint();
	CHECK(pread(q, after, sizeof(after) - 1, 0) > 0);
	if (strcmp(before, after) != 0)
		FAIL("%s became %s", before, after);
}

static int ask_for(mqd_t q, int how, int signal, uintptr_t value)
{
	struct sigevent event = { .sigev_notify = how, .sigev_signo = signal };

	event.sigev_value.sival_ptr = (void *)value;
	return (int)syscall(SYS_mq_notify, q, &event);
}

static void notify(mqd_t q, int how, int signal, uintptr_t value)
{
	CHECK(ask_for(q, how, signal, value) == 0);
}

static void put(mqd_t q, const char *text)
{
	CHECK(mq_send(q, text, strlen(text), 1) == 0);
}

static void take(mqd_t q, const char *text)
{
	char buffer[32];
	unsigned priority = 0;

	CHECK(mq_receive(q, buffer, sizeof(buffer), &priority) == (ssize_t)strlen(text));
	CHECK(!memcmp(buffer, text, strlen(text)) && priority == 1);
}

static bool is_empty(mqd_t q)
{
	struct mq_attr attr;

	CHECK(mq_getattr(q, &attr) == 0);
	return attr.mq_curmsgs == 0;
}

static bool is_pending(int signal)
{
	sigset_t set;

	CHECK(sigpending(&set) == 0);
	return sigismember(&set, signal);
}

/* into the empty queue two messages come, one after the other: the handler is called for one */
static void check_handler(mqd_t q, uintptr_t value)
{
	int before = handled_n;

	CHECK(is_empty(q) && ask_for(q, SIGEV_NONE, 0, 0) < 0 && errno == EBUSY);
	for (int i = 0; i < 2; i++) {
		put(q, "x");
		CHECK_EQ(handled_n, before + 1);
		CHECK_EQ(handled_value, value);
		take(q, "x");
	}
	notify(q, SIGEV_NONE, 0, 0); /* nobody is to be notified any more */
}

static void handled(void)
{
	mqd_t q = queue();

	handle(SIGUSR1);
	notify(q, SIGEV_SIGNAL, SIGUSR1, VALUE);
	checkpoint(q);
	CHECK_EQ(handled_n, 0);
	check_handler(q, VALUE);
}

/* of two messages the first leaves the signal */
static void check_blocked(int signal)
{
	mqd_t q = queue();
	const struct timespec at_once = { 0 };
	sigset_t set;
	siginfo_t info;

	sigemptyset(&set);
	sigaddset(&set, signal);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	notify(q, SIGEV_SIGNAL, signal, VALUE);
	checkpoint(q);
	CHECK(!is_pending(signal));
	for (int i = 0; i < 2; i++) {
		put(q, "x");
		take(q, "x");
	}
	CHECK(sigtimedwait(&set, &info, &at_once) == signal);
	CHECK(info.si_code == SI_MESGQ && (uintptr_t)info.si_value.sival_ptr == VALUE);
	CHECK(info.si_pid == getpid());
	CHECK(sigtimedwait(&set, &info, &at_once) < 0 && errno == EAGAIN);
}

static void blocked(void)
{
	check_blocked(SIGTERM);
}

static void realtime(void)
{
	check_blocked(SIGRTMAX);
}

static void ignored(void)
{
	mqd_t q = queue();

	signal(SIGUSR2, SIG_IGN);
	notify(q, SIGEV_SIGNAL, SIGUSR2, VALUE);
	checkpoint(q);
	CHECK(ask_for(q, SIGEV_NONE, 0, 0) < 0 && errno == EBUSY);
	handle(SIGUSR2);
	check_handler(q, VALUE);
}

/* ignored by default: stasis ends its own lists of calls by such a signal */
static void urgent(void)
{
	mqd_t q = queue();

	notify(q, SIGEV_SIGNAL, SIGURG, VALUE);
	checkpoint(q);
	handle(SIGURG);
	check_handler(q, VALUE);
}

static void continued(void)
{
	mqd_t q = queue();

	handle(SIGCONT);
	notify(q, SIGEV_SIGNAL, SIGCONT, VALUE);
	checkpoint(q);
	CHECK_EQ(handled_n, 0);
	check_handler(q, VALUE);
}

static void terminal_stop(void)
{
	mqd_t q = queue();

	notify(q, SIGEV_SIGNAL, SIGTSTP, VALUE);
	checkpoint(q);
	handle(SIGTSTP);
	check_handler(q, VALUE);
}

/* messages that are there notify nobody, and go by their own way */
static void full(void)
{
	mqd_t q = queue();

	put(q, "a");
	put(q, "bc");
	put(q, "");
	handle(SIGRTMIN);
	notify(q, SIGEV_SIGNAL, SIGRTMIN, VALUE);
	checkpoint(q);
	put(q, "d");
	take(q, "a");
	take(q, "bc");
	take(q, "");
	take(q, "d");
	CHECK_EQ(handled_n, 0);
	check_handler(q, VALUE);
}

static void check_none(mqd_t q, const char *left)
{
	CHECK(ask_for(q, SIGEV_NONE, 0, 0) < 0 && errno == EBUSY);
	if (left)
		take(q, left);
	CHECK(ask_for(q, SIGEV_NONE, 0, 0) < 0 && errno == EBUSY);
	put(q, "x");
	notify(q, SIGEV_NONE, 0, 0);
}

static void none(void)
{
	mqd_t q = queue();

	notify(q, SIGEV_NONE, 0, VALUE);
	checkpoint(q);
	check_none(q, NULL);
}

static void none_full(void)
{
	mqd_t q = queue();

	put(q, "a");
	notify(q, SIGEV_NONE, 0, VALUE);
	checkpoint(q);
	check_none(q, "a");
}

/* no signal, which the kernel accepts */
static void zero(void)
{
	mqd_t q = queue();

	put(q, "a");
	notify(q, SIGEV_SIGNAL, 0, VALUE);
	checkpoint(q);
	check_none(q, "a");
}

static void two(void)
{
	mqd_t a = queue(), b = make("/r"), c = make("/s");

	handle(SIGUSR1);
	put(b, "b");
	notify(a, SIGEV_SIGNAL, SIGUSR1, 1);
	notify(b, SIGEV_SIGNAL, SIGUSR1, 2);
	notify(c, SIGEV_SIGNAL, SIGUSR1, 3);
	subject_checkpoint();
	take(b, "b");
	CHECK_EQ(handled_n, 0);
	check_handler(c, 3);
	check_handler(a, 1);
	check_handler(b, 2);
}

/* who can only read is to be notified of what another sends */
static void child(void)
{
	mqd_t q = queue();

	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(mq_close(q) == 0);
		q = mq_open("/q", O_RDONLY | O_NONBLOCK);
		handle(SIGUSR1);
		notify(q, SIGEV_SIGNAL, SIGUSR1, VALUE);
		subject_settle("child");
		CHECK_EQ(handled_n, 0);
		subject_mark("checked");
		subject_wait("sent");
		CHECK_EQ(handled_n, 1);
		CHECK_EQ(handled_value, VALUE);
		take(q, "x");
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	subject_wait("checked");
	put(q, "x");
	subject_mark("sent");
	subject_check_exit(pid, 0);
}

/* a message for who waits for it notifies nobody */
static void receiver(void)
{
	mqd_t q = queue();
	char buffer[32];

	handle(SIGUSR1);
	notify(q, SIGEV_SIGNAL, SIGUSR1, VALUE);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		mqd_t waiting = mq_open("/q", O_RDONLY);
		CHECK(waiting >= 0);
		CHECK(mq_receive(waiting, buffer, sizeof(buffer), NULL) == 1 && *buffer == 'r');
		_exit(0);
	}
	subject_wait_call(pid, SYS_mq_timedreceive);
	subject_checkpoint();
	subject_wait_call(pid, SYS_mq_timedreceive);
	put(q, "r");
	subject_check_exit(pid, 0);
	CHECK_EQ(handled_n, 0);
	check_handler(q, VALUE);
}

/* who waits for the signal does not get that of the question */
static void waiting(void)
{
	mqd_t q = queue();

	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		sigset_t set;
		siginfo_t info;
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
		notify(q, SIGEV_SIGNAL, SIGUSR1, VALUE);
		CHECK(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_code == SI_MESGQ);
		CHECK((uintptr_t)info.si_value.sival_ptr == VALUE);
		take(q, "x");
		_exit(0);
	}
	subject_wait_call(pid, SYS_rt_sigtimedwait);
	subject_checkpoint();
	subject_wait_call(pid, SYS_rt_sigtimedwait);
	put(q, "x");
	subject_check_exit(pid, 0);
}

static void stopped(void)
{
	mqd_t q = queue();
	int status;

	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		handle(SIGUSR1);
		notify(q, SIGEV_SIGNAL, SIGUSR1, VALUE);
		raise(SIGSTOP);
		CHECK_EQ(handled_n, 0);
		check_handler(q, VALUE);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	subject_checkpoint();
	CHECK(kill(pid, SIGCONT) == 0);
	subject_check_exit(pid, 0);
}

/* its calls are allowed because its filter is suspended */
static void filtered(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };
	mqd_t q = queue();

	handle(SIGUSR1);
	notify(q, SIGEV_SIGNAL, SIGUSR1, VALUE);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
	subject_checkpoint();
	CHECK_EQ(handled_n, 0);
	check_handler(q, VALUE);
}

/* ---- refused ---- */

static void called(union sigval value)
{
}

static void thread(void)
{
	mqd_t q = queue();
	struct sigevent event = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = called };

	CHECK(mq_notify(q, &event) == 0);
	subject_checkpoint();
}

static void deadly(void)
{
	notify(queue(), SIGEV_SIGNAL, SIGKILL, VALUE);
	subject_checkpoint();
}

static void block(int signal)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signal);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
}

static void check_queued(int signal, int code, uintptr_t value)
{
	const struct timespec at_once = { 0 };
	sigset_t set;
	siginfo_t info;

	sigemptyset(&set);
	sigaddset(&set, signal);
	CHECK(sigtimedwait(&set, &info, &at_once) == signal);
	CHECK_EQ(info.si_code, code);
	CHECK_EQ(info.si_pid, getpid());
	CHECK(!value || (uintptr_t)info.si_value.sival_ptr == value);
}

/* what is pending is lost when it is undone */
static void check_undone(int pending, int signal)
{
	mqd_t q = queue();

	block(pending);
	block(signal);
	CHECK(kill(getpid(), pending) == 0);
	notify(q, SIGEV_SIGNAL, signal, VALUE);
	subject_checkpoint();
	check_queued(pending, SI_USER, 0);
	put(q, "x");
	check_queued(signal, SI_MESGQ, VALUE);
}

static void continue_stopping(void)
{
	check_undone(SIGTSTP, SIGCONT);
}

static void stop_continuing(void)
{
	check_undone(SIGCONT, SIGTTIN);
}

/* the same that are pending already stay so, as often, in order, and with what they bring */
static void check_pending(int signal, int n)
{
	mqd_t q = queue();

	block(signal);
	for (int i = 0; i < n; i++)
		CHECK(sigqueue(getpid(), signal, (union sigval){ .sival_int = i + 1 }) == 0);
	notify(q, SIGEV_SIGNAL, signal, VALUE);
	checkpoint(q);
	for (int i = 0; i < n; i++)
		check_queued(signal, SI_QUEUE, (uintptr_t)i + 1);
	CHECK(!is_pending(signal));
	put(q, "x");
	check_queued(signal, SI_MESGQ, VALUE);
}

static void pending_realtime(void)
{
	check_pending(SIGRTMIN + 1, 3);
}

static void pending_many(void)
{
	check_pending(SIGRTMIN + 1, 4);
}

static void pending(void)
{
	mqd_t q = queue();

	block(SIGUSR1);
	CHECK(kill(getpid(), SIGUSR1) == 0);
	put(q, "a");
	notify(q, SIGEV_SIGNAL, SIGUSR1, VALUE);
	checkpoint(q);
	check_queued(SIGUSR1, SI_USER, 0);
	take(q, "a");
	put(q, "x");
	check_queued(SIGUSR1, SI_MESGQ, VALUE);
}

static void pending_timer(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	mqd_t q = queue();
	timer_t timer;

	block(SIGUSR1);
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	CHECK(timer_settime(timer, 0, &(struct itimerspec){ .it_value.tv_nsec = 1 }, NULL) == 0);
	while (!is_pending(SIGUSR1))
		;
	notify(q, SIGEV_SIGNAL, SIGUSR1, VALUE);
	subject_checkpoint();
}

static void pending_thread(void)
{
	mqd_t q = queue();
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	block(SIGUSR1);
	CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
	notify(q, SIGEV_SIGNAL, SIGUSR1, VALUE);
	subject_checkpoint();
	CHECK(sigwaitinfo(&set, NULL) == SIGUSR1);
	put(q, "x");
	check_queued(SIGUSR1, SI_MESGQ, VALUE);
}

static void limit(void)
{
	struct rlimit limit;
	mqd_t q = queue();

	CHECK(getrlimit(RLIMIT_SIGPENDING, &limit) == 0);
	CHECK(setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){ 0, limit.rlim_max }) == 0);
	handle(SIGUSR1);
	notify(q, SIGEV_SIGNAL, SIGUSR1, VALUE);
	subject_checkpoint();
	CHECK(setrlimit(RLIMIT_SIGPENDING, &limit) == 0);
	check_handler(q, VALUE);
}

static void *outlive(void *arg)
{
	const mqd_t *q = arg;

	subject_use_stack();
	subject_wait_go();
	CHECK_EQ(handled_n, 0);
	handle(SIGUSR1);
	check_handler(*q, VALUE);
	_exit(0);
}

static void outlived(void (*action)(int))
{
	static mqd_t q;
	pthread_t t;

	q = queue();
	if (action == SIG_IGN)
		signal(SIGUSR1, action);
	notify(q, SIGEV_SIGNAL, SIGUSR1, VALUE);
	CHECK(pthread_create(&t, NULL, outlive, &q) == 0);
	subject_mark("ready");
	pthread_exit(NULL);
}

/* by default the signal would end it */
static void leader(void)
{
	outlived(SIG_DFL);
}

static void leader_ignored(void)
{
	outlived(SIG_IGN);
}

/* the kernel notifies no program that has not asked for it, and nobody else meanwhile */
static void executed(void)
{
	mqd_t q = queue();

	CHECK(fcntl(q, F_SETFD, 0) == 0 && q == 3);
	notify(q, SIGEV_SIGNAL, SIGUSR1, VALUE);
	execl("/proc/self/exe", "ipc_notify", "after", NULL);
	FAIL("exec");
}

static void after(void)
{
	subject_checkpoint();
	check_none(3, NULL);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(handled), CASE(blocked), CASE(ignored),
	                     CASE(realtime), CASE(full), CASE(none), CASE(none_full), CASE(zero),
	                     CASE(two), CASE(child), CASE(receiver), CASE(waiting), CASE(stopped),
	                     CASE(filtered), CASE(urgent), CASE(continued), CASE(terminal_stop),
	                     CASE(pending), CASE(pending_realtime), CASE(leader), CASE(executed),
	                     CASE(after), CASE(thread), CASE(deadly), CASE(continue_stopping),
	                     CASE(stop_continuing), CASE(pending_many), CASE(pending_timer),
	                     CASE(pending_thread), CASE(leader_ignored), CASE(limit));
}
