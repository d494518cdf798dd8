/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Terminals whose master is outside the set: a helper process, no relative of the subject, keeps it
 * and does what it is told by files ("type" is written into the master; "hang-up" closes it).
 *
 * TEST descriptors round-trip -- descriptors
 * TEST peer round-trip except=fdinfo/?/flags -- peer
 * TEST controlling round-trip -- controlling
 * TEST dev-tty round-trip -- dev-tty
 * TEST named round-trip -- named
 * TEST input-external round-trip -- input-external
 * TEST hung-up refuse code=tty.hung-up -- hung-up
 * TEST dev-tty-hung-up refuse code=tty.hung-up -- dev-tty-hung-up
 * TEST discipline refuse code=tty.discipline -- discipline
 * TEST locked refuse code=tty.locked -- locked
 * TEST exclusive refuse code=tty.exclusive -- exclusive
 * TEST input refuse code=tty.input -- input
 * TEST gave-up refuse code=tty.session -- gave-up
 * TEST dead-leader refuse code=tty.session except=map?*anon -- dead-leader
 * TEST mistyped refuse code=external.unused checkpoint="--external pipe:[1]=p" -- controlling-plain
 * TEST missing restart-refuse code=external.missing before="p=$(cat helper); touch hang-up; until grep -qs ^State.*Z /proc/$p/status; do sleep 0.01; done" -- missing
 *
 * dead-leader: what is injected lies on a page of the thread's stack that it had not touched yet.
 */
#include "subject.h"

#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>

static int slave = -1;
static bool by_peer; /* opened by TIOCGPTPEER, ioctl_tty(2) */
static char slave_path[64];
static unsigned slave_number;

static void helper(int master)
{
	char buffer[4096];

	signal(SIGHUP, SIG_IGN);
	setsid();
	close_range(0, 2, 0); /* test/run's "output" would be a leak */
	fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
	FILE *f = fopen("new", "w");
	CHECK(f && fprintf(f, "%d", getpid()) > 0 && fclose(f) == 0);
	CHECK(rename("new", "helper") == 0);
	for (;;) {
		int fd = open("type", O_RDONLY);
		if (fd >= 0) {
			ssize_t n = read(fd, buffer, sizeof(buffer));
			if (n > 0 && write(master, buffer, (size_t)n) == n)
				unlink("type");
			close(fd);
		}
		if (access("hang-up", F_OK) == 0 && close(master) == 0) {
			unlink("hang-up");
			_exit(0);
		}
		while (read(master, buffer, sizeof(buffer)) > 0)
			;
		usleep(2000);
	}
}

/* an orphan: its parent ends at once */
static void start_helper(int master)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		pid = fork();
		if (pid == 0)
			helper(master);
		_exit(pid < 0);
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
	subject_wait("helper");
}

static void tell(const char *name, const char *text)
{
	int fd = open("new", O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	CHECK(rename("new", name) == 0);
	while (access(name, F_OK) == 0)
		usleep(2000);
}

/* the subject is a session leader already (test/run) */
static void make_terminal(bool named)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	CHECK(ptsname_r(master, slave_path, sizeof(slave_path)) == 0);
	start_helper(master);
	slave = by_peer ? ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)
	                : open(slave_path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK(slave >= 0);
	close(master);
	CHECK(fstat(slave, &st) == 0);
	slave_number = minor(st.st_rdev);
	if (named)
		subject_options("restart", "--external tty-%u-%u=%s", major(st.st_rdev),
		                minor(st.st_rdev), slave_path);
}

/* <asm/termbits.h> has it, which collides with <termios.h> */
struct termios2 {
	tcflag_t c_iflag, c_oflag, c_cflag, c_lflag;
	cc_t c_line, c_cc[19];
	speed_t c_ispeed, c_ospeed;
};
#define ODD_SPEED 12345
#define BOTHER    0010000
#define IBSHIFT   16 /* the same of the input's speed */

/* one that has no number among the flags */
static void set_odd_speed(void)
{
	struct termios2 t;

	CHECK(ioctl(slave, TCGETS2, &t) == 0);
	t.c_cflag = (t.c_cflag & ~(tcflag_t)(CBAUD | CBAUD << IBSHIFT)) | BOTHER |
	            BOTHER << IBSHIFT;
	t.c_ispeed = ODD_SPEED + 1;
	t.c_ospeed = ODD_SPEED;
	CHECK(ioctl(slave, TCSETS2, &t) == 0);
}

static void set_odd(struct termios *t)
{
	CHECK(tcgetattr(slave, t) == 0);
	t->c_iflag = IUTF8 | IXOFF | INPCK;
	t->c_oflag = OPOST | OLCUC;
	t->c_lflag = ISIG | ECHOK | TOSTOP;
	t->c_cc[VINTR] = 7;
	t->c_cc[VMIN] = 3;
	t->c_cc[VTIME] = 9;
	cfsetispeed(t, B9600);
	cfsetospeed(t, B19200);
	CHECK(tcsetattr(slave, TCSANOW, t) == 0);
	set_odd_speed();
	CHECK(tcgetattr(slave, t) == 0);
}

static void check_odd(const struct termios *want)
{
	struct termios2 exact;
	struct termios t;

	CHECK(tcgetattr(slave, &t) == 0);
	CHECK_EQ(t.c_iflag, want->c_iflag);
	CHECK_EQ(t.c_oflag, want->c_oflag);
	CHECK_EQ(t.c_lflag, want->c_lflag);
	CHECK_EQ(t.c_cflag, want->c_cflag);
	CHECK_EQ(t.c_ispeed, want->c_ispeed);
	CHECK(ioctl(slave, TCGETS2, &exact) == 0);
	CHECK_EQ(exact.c_ispeed, ODD_SPEED + 1);
	CHECK_EQ(exact.c_ospeed, ODD_SPEED);
	CHECK(!memcmp(t.c_cc, want->c_cc, sizeof(t.c_cc)));
}

/* O_CLOEXEC stays among the flags of the open file, and is shown for each descriptor of it */
static void peer(void)
{
	by_peer = true;
	make_terminal(true);
	int copy = dup(slave);
	CHECK(copy >= 0 && fcntl(copy, F_GETFD) == 0);
	subject_checkpoint();
	CHECK_EQ(fcntl(copy, F_GETFD), 0);
	CHECK_EQ(fcntl(slave, F_GETFD), FD_CLOEXEC);
}

/* nobody's controlling terminal; opened twice, once more by dup, with settings of its own */
static void descriptors(void)
{
	struct termios t;
	int other, copy;

	make_terminal(true);
	other = open(slave_path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	copy = dup(slave);
	CHECK(other >= 0 && copy >= 0);
	set_odd(&t);
	subject_checkpoint();
	check_odd(&t);
	CHECK_EQ(fcntl(other, F_GETFL) & (O_NONBLOCK | O_ACCMODE), O_NONBLOCK | O_RDONLY);
	CHECK_EQ(fcntl(slave, F_GETFL) & (O_NONBLOCK | O_ACCMODE), O_RDWR);
	CHECK(fcntl(copy, F_SETFL, O_NONBLOCK) == 0);
	CHECK(fcntl(slave, F_GETFL) & O_NONBLOCK);
	CHECK(open("/dev/tty", O_RDWR) < 0);
}

static pid_t child_in_group(bool foreground)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		char byte = 0;
		setpgid(0, 0);
		signal(SIGTTOU, SIG_IGN);
		if (foreground)
			CHECK(tcsetpgrp(slave, getpid()) == 0);
		subject_mark(foreground ? "foreground" : "background");
		subject_wait_go();
		CHECK_EQ(tcgetpgrp(slave), foreground ? getpid() : getppid());
		if (foreground)
			CHECK(read(slave, &byte, 1) == 1 && byte == 'k');
		_exit(0);
	}
	subject_wait(foreground ? "foreground" : "background");
	return pid;
}

/* a session with its terminal and the foreground given to a child's group */
static void controlling(void)
{
	struct winsize size = { 33, 99, 1188, 792 }, now;
	struct termios t;

	signal(SIGTTOU, SIG_IGN);
	make_terminal(true);
	CHECK(ioctl(slave, TIOCSWINSZ, &size) == 0);
	CHECK(ioctl(slave, TIOCSCTTY, 0) == 0);
	set_odd(&t);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	CHECK(tcsetattr(slave, TCSANOW, &t) == 0);
	pid_t pid = child_in_group(true);
	subject_checkpoint();
	check_odd(&t);
	CHECK_EQ(tcgetpgrp(slave), pid);
	CHECK_EQ(tcgetsid(slave), getpid());
	CHECK(ioctl(slave, TIOCGWINSZ, &now) == 0);
	CHECK(memcmp(&now, &size, sizeof(now)) == 0);
	CHECK(open("/dev/tty", O_RDWR | O_CLOEXEC) >= 0);
	tell("type", "k");
	subject_check_exit(pid, 0);
}

static void dev_tty(void)
{
	unsigned number = 0;
	struct stat st;

	make_terminal(true);
	CHECK(ioctl(slave, TIOCSCTTY, 0) == 0);
	int fd = open("/dev/tty", O_RDWR | O_NONBLOCK);
	CHECK(fd >= 0);
	close(slave);
	subject_checkpoint();
	CHECK(fstat(fd, &st) == 0 && st.st_rdev == makedev(5, 0));
	CHECK(ioctl(fd, TIOCGDEV, &number) == 0 && number == (136u << 8 | slave_number));
	CHECK_EQ(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE), O_NONBLOCK | O_RDWR);
	CHECK_EQ(tcgetpgrp(fd), getpgrp());
}

/* a name given at checkpoint is the one that restart asks for */
static void named(void)
{
	make_terminal(false);
	subject_options("checkpoint", "--external tty:[136:%u]=window", slave_number);
	subject_options("restart", "--external window=%s", slave_path);
	subject_checkpoint();
	CHECK(isatty(slave));
}

/* input that is there already stays with a terminal that is declared external */
static void input_external(void)
{
	char line[16];

	make_terminal(false);
	subject_options("checkpoint", "--external tty:[136:%u]=window", slave_number);
	subject_options("restart", "--external window=%s", slave_path);
	tell("type", "a line\n");
	subject_checkpoint();
	CHECK(read(slave, line, sizeof(line)) == 7 && !memcmp(line, "a line\n", 7));
}

static void hung_up(bool through_dev_tty)
{
	signal(SIGHUP, SIG_IGN);
	make_terminal(false);
	if (through_dev_tty) {
		CHECK(ioctl(slave, TIOCSCTTY, 0) == 0);
		CHECK(open("/dev/tty", O_RDWR) >= 0);
		close(slave);
	}
	tell("hang-up", "");
	subject_checkpoint();
}

static void discipline(void)
{
	int null = 27; /* N_NULL, linux/tty.h */

	make_terminal(true);
	if (ioctl(slave, TIOCSETD, &null) < 0)
		SKIP("this kernel has no second line discipline: %s", strerror(errno));
	subject_checkpoint();
}

static void locked(void)
{
	struct termios t;

	make_terminal(true);
	memset(&t, 0, sizeof(t));
	t.c_lflag = ECHO;
	CHECK(ioctl(slave, TIOCSLCKTRMIOS, &t) == 0);
	subject_checkpoint();
}

static void gave_up(void)
{
	make_terminal(true);
	CHECK(ioctl(slave, TIOCSCTTY, 0) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(ioctl(slave, TIOCNOTTY) == 0);
		subject_mark("gave-up");
		subject_wait_go();
		_exit(0);
	}
	subject_wait("gave-up");
	subject_checkpoint();
	subject_check_exit(pid, 0);
}

static void *go_on(void *arg)
{
	(void)arg;
	usleep(10000);
	subject_checkpoint();
	_exit(0);
}

static void dead_leader(void)
{
	pthread_t thread;

	make_terminal(true);
	CHECK(ioctl(slave, TIOCSCTTY, 0) == 0);
	CHECK(pthread_create(&thread, NULL, go_on, NULL) == 0);
	pthread_exit(NULL);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "descriptors"))
		descriptors();
	else if (!strcmp(what, "peer"))
		peer();
	else if (!strcmp(what, "controlling"))
		controlling();
	else if (!strcmp(what, "dev-tty"))
		dev_tty();
	else if (!strcmp(what, "named"))
		named();
	else if (!strcmp(what, "input-external"))
		input_external();
	else if (!strcmp(what, "hung-up") || !strcmp(what, "dev-tty-hung-up"))
		hung_up(what[0] == 'd');
	else if (!strcmp(what, "discipline"))
		discipline();
	else if (!strcmp(what, "locked"))
		locked();
	else if (!strcmp(what, "gave-up"))
		gave_up();
	else if (!strcmp(what, "dead-leader"))
		dead_leader();
	else {
		make_terminal(false);
		if (!strcmp(what, "exclusive"))
			CHECK(ioctl(slave, TIOCEXCL) == 0);
		if (!strcmp(what, "input"))
			tell("type", "unread\n");
		subject_checkpoint();
	}
	return 0;
}
