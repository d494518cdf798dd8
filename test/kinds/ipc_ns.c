/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IPC namespaces with all sorts of things in them: settings, System V shared memory, semaphores
 * and message queues, POSIX message queues.
 *
 * TEST settings round-trip -- settings
 * TEST shm round-trip -- shm
 * TEST sem round-trip -- sem
 * TEST sem-initialised round-trip -- sem_initialised
 * TEST msg round-trip -- msg
 * TEST ids round-trip -- ids
 * TEST limits round-trip -- limits
 * TEST mq round-trip -- mq
 * TEST mq-descriptor round-trip -- mq_descriptor
 * TEST mq-unlinked round-trip -- mq_unlinked
 * TEST mq-unlinked-user round-trip checkpoint=--subtree start="$TOP/test/tools/in_user_ns pmui 0,100000,5000 0,200000,5000" -- mq_unlinked
 * TEST mq-outside refuse code=ipc.mq-descriptor -- mq_outside
 * TEST mq-held refuse code=leak -- mq_held
 * TEST mq-opened round-trip restart="--mntns new" -- mq_opened
 * TEST child round-trip -- child
 * TEST forced refuse code=ipc.shm-forced -- forced
 * TEST leak refuse code=leak -- leak
 */
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"
#include "text.h"

static void expect(const char *name, const char *value)
{
	char path[128], text[128] = "";

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	CHECK(n > 0 && text[n - 1] == '\n');
	text[n - 1] = 0;
	CHECK(!strcmp(text, value));
	close(fd);
}

static void settings(void)
{
	static const char *const all[][2] = {
		{ "kernel/shmmax", "1000000" },     { "kernel/shmall", "5000" },
		{ "kernel/shmmni", "17" },          { "kernel/shm_rmid_forced", "1" },
		{ "kernel/msgmax", "100" },         { "kernel/msgmnb", "200" },
		{ "kernel/msgmni", "3" },           { "kernel/sem", "10\t20\t30\t40" },
		{ "fs/mqueue/queues_max", "5" },    { "fs/mqueue/msg_max", "6" },
		{ "fs/mqueue/msgsize_max", "777" }, { "fs/mqueue/msg_default", "3" },
		{ "kernel/sem_next_id", "12345" },  { "fs/mqueue/msgsize_default", "555" },
	};

	CHECK(unshare(CLONE_NEWIPC) == 0);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		write_in("/proc/sys", all[i][0], all[i][1]);
	subject_checkpoint();
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		expect(all[i][0], all[i][1]);
	CHECK(semget(IPC_PRIVATE, 1, 0600) == 12345);
}

static void shm(void)
{
	const size_t size = 40 * 4096 + 5;
	struct shmid_ds ds;

	CHECK(unshare(CLONE_NEWIPC) == 0);
	CHECK(setegid(5) == 0 && seteuid(7) == 0);
	int a = shmget(0x1234, size, IPC_CREAT | 0640);
	CHECK(seteuid(0) == 0 && setegid(0) == 0);
	int b = shmget(IPC_PRIVATE, 1, 0600);
	CHECK(a >= 0 && b >= 0);
	char *p = shmat(a, NULL, 0);
	CHECK(p != (void *)-1);
	strcpy(p, "first");
	strcpy(p + 30 * 4096, "last");
	CHECK(shmdt(p) == 0);
	CHECK(shmctl(a, IPC_STAT, &ds) == 0);
	ds.shm_perm.uid = 8;
	ds.shm_perm.mode = 0604;
	CHECK(shmctl(a, IPC_SET, &ds) == 0);
	CHECK(shmctl(b, SHM_LOCK, NULL) == 0);
	subject_checkpoint();
	CHECK(shmget(0x1234, 0, 0) == a);
	CHECK(shmctl(a, IPC_STAT, &ds) == 0);
	CHECK(ds.shm_segsz == size && ds.shm_perm.mode == 0604 && ds.shm_perm.uid == 8);
	CHECK(ds.shm_perm.gid == 5 && ds.shm_perm.cuid == 7 && ds.shm_perm.cgid == 5);
	CHECK(ds.shm_nattch == 0);
	struct shm_info info;
	CHECK(shmctl(0, SHM_INFO, (struct shmid_ds *)&info) >= 1);
	CHECK(info.used_ids == 2 && info.shm_rss == 2);
	p = shmat(a, NULL, 0);
	CHECK(!strcmp(p, "first") && !strcmp(p + 30 * 4096, "last") && p[size - 1] == 0);
	CHECK(shmctl(b, IPC_STAT, &ds) == 0);
	CHECK(ds.shm_perm.mode == (0600 | SHM_LOCKED) && ds.shm_segsz == 1 && !ds.shm_perm.__key);
}

union semun {
	int value;
	struct semid_ds *ds;
	unsigned short *array;
};

static void sem(void)
{
	unsigned short values[5] = { 3, 0, 32767, 1, 7 }, got[5];
	struct semid_ds ds = { .sem_perm = { .uid = 9, .gid = 10, .mode = 0246 } };

	CHECK(unshare(CLONE_NEWIPC) == 0);
	CHECK(setegid(4) == 0 && seteuid(7) == 0);
	int id = semget(77, 5, IPC_CREAT | 0600);
	CHECK(seteuid(0) == 0 && setegid(0) == 0);
	CHECK(id >= 0 && semctl(id, 0, SETALL, (union semun){ .array = values }) == 0);
	CHECK(semctl(id, 0, IPC_SET, (union semun){ .ds = &ds }) == 0);
	subject_checkpoint();
	CHECK(semget(77, 0, 0) == id);
	CHECK(semctl(id, 0, IPC_STAT, (union semun){ .ds = &ds }) == 0);
	CHECK(ds.sem_nsems == 5 && ds.sem_perm.uid == 9 && ds.sem_perm.gid == 10);
	CHECK(ds.sem_perm.mode == 0246 && ds.sem_perm.cuid == 7 && ds.sem_perm.cgid == 4);
	CHECK(semctl(id, 0, GETALL, (union semun){ .array = got }) == 0);
	CHECK(!memcmp(values, got, sizeof(got)));
}

static bool is_initialised(int id)
{
	struct semid_ds ds;

	CHECK(semctl(id, 0, IPC_STAT, (union semun){ .ds = &ds }) == 0);
	return ds.sem_otime != 0;
}

/* as who finds a set that another one makes sees it, semctl(2) */
static void sem_initialised(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	int made = semget(1, 2, IPC_CREAT | 0600), set = semget(2, 1, IPC_CREAT | 0600);
	int operated = semget(3, 2, IPC_CREAT);
	CHECK(made >= 0 && set >= 0 && operated >= 0);
	CHECK(semctl(set, 0, SETVAL, 1) == 0);
	CHECK(semop(operated, &(struct sembuf){ .sem_op = 5 }, 1) == 0);
	subject_checkpoint();
	CHECK(!is_initialised(made) && !is_initialised(set) && is_initialised(operated));
	CHECK(semctl(set, 0, GETVAL) == 1 && semctl(operated, 0, GETVAL) == 5);
	CHECK(semctl(operated, 1, GETVAL) == 0);
}

struct message {
	long type;
	char text[8000];
};

static void send_one(int id, long type, const char *text, size_t size)
{
	struct message m = { .type = type };

	memset(m.text, 'x', sizeof(m.text));
	memcpy(m.text, text, strlen(text));
	CHECK(msgsnd(id, &m, size, IPC_NOWAIT) == 0);
}

static void receive(int id, long type, long want, const char *text, size_t size)
{
	struct message m;

	CHECK(msgrcv(id, &m, sizeof(m.text), type, IPC_NOWAIT) == (ssize_t)size);
	CHECK(m.type == want && !memcmp(m.text, text, strlen(text)));
	CHECK(size == strlen(text) || m.text[size - 1] == 'x');
}

/* more in it than the limits allow by now, and messages of no bytes */
static void msg(void)
{
	struct msqid_ds ds;

	CHECK(unshare(CLONE_NEWIPC) == 0);
	CHECK(setegid(12) == 0 && seteuid(11) == 0);
	int id = msgget(5, IPC_CREAT | 0622);
	CHECK(seteuid(0) == 0 && setegid(0) == 0);
	int empty = msgget(IPC_PRIVATE, 0600);
	CHECK(id >= 0 && empty >= 0);
	send_one(id, 3, "one", 3);
	send_one(id, 1L << 40, "two", 7000);
	send_one(id, 3, "", 0);
	send_one(id, 1, "four", 5000);
	CHECK(msgctl(id, IPC_STAT, &ds) == 0);
	ds.msg_qbytes = 10;
	ds.msg_perm.uid = 13;
	ds.msg_perm.gid = 14;
	CHECK(msgctl(id, IPC_SET, &ds) == 0);
	write_in("/proc/sys", "kernel/msgmax", "20");
	subject_checkpoint();
	CHECK(msgget(5, 0) == id);
	CHECK(msgctl(id, IPC_STAT, &ds) == 0);
	CHECK(ds.msg_qnum == 4 && ds.msg_qbytes == 10 && ds.__msg_cbytes == 12003);
	CHECK(ds.msg_perm.mode == 0622 && ds.msg_perm.uid == 13 && ds.msg_perm.gid == 14);
	CHECK(ds.msg_perm.cuid == 11 && ds.msg_perm.cgid == 12);
	CHECK(msgsnd(id, &(struct message){ .type = 1 }, 1, IPC_NOWAIT) < 0 && errno == EAGAIN);
	receive(id, 1, 1, "four", 5000);
	receive(id, 0, 3, "one", 3);
	receive(id, 0, 1L << 40, "two", 7000);
	receive(id, 0, 3, "", 0);
	CHECK(msgrcv(id, &(struct message){ 0 }, 1, 0, IPC_NOWAIT) < 0 && errno == ENOMSG);
	CHECK(msgctl(empty, IPC_STAT, &ds) == 0 && ds.msg_qnum == 0 && ds.msg_qbytes == 16384);
}

/* such as none that a new namespace would give */
static void ids(void)
{
	enum { N = 50 };
	int kept[N / 10][3];

	CHECK(unshare(CLONE_NEWIPC) == 0);
	for (int i = 0; i < N; i++) {
		int got[3] = { shmget(IPC_PRIVATE, 1, 0600), semget(IPC_PRIVATE, 1, 0600),
			       msgget(IPC_PRIVATE, 0600) };
		CHECK(got[0] >= 0 && got[1] >= 0 && got[2] >= 0);
		memcpy(kept[i / 10], got, sizeof(got));
		if (i % 10 == 9)
			continue;
		CHECK(shmctl(got[0], IPC_RMID, NULL) == 0);
		CHECK(semctl(got[1], 0, IPC_RMID) == 0);
		CHECK(msgctl(got[2], IPC_RMID, NULL) == 0);
	}
	subject_checkpoint();
	for (int i = 0; i < N / 10; i++) {
		struct shmid_ds shm_ds;
		struct semid_ds sem_ds;
		struct msqid_ds msg_ds;
		CHECK(shmctl(kept[i][0], IPC_STAT, &shm_ds) == 0);
		CHECK(semctl(kept[i][1], 0, IPC_STAT, (union semun){ .ds = &sem_ds }) == 0);
		CHECK(msgctl(kept[i][2], IPC_STAT, &msg_ds) == 0);
	}
}

/* all lower than what is there: nothing more can be made */
static void limits(void)
{
	static const char *const all[][2] = {
		{ "kernel/shmmax", "0" },         { "kernel/shmall", "0" },
		{ "kernel/shmmni", "0" },         { "kernel/msgmax", "0" },
		{ "kernel/msgmnb", "0" },         { "kernel/msgmni", "0" },
		{ "kernel/sem", "0\t0\t0\t0" },   { "fs/mqueue/queues_max", "0" },
		{ "fs/mqueue/msg_max", "1" },     { "fs/mqueue/msgsize_max", "128" },
		{ "fs/mqueue/msg_default", "1" }, { "fs/mqueue/msgsize_default", "128" },
	};
	int shm[3], sem[3], msg[3];

	CHECK(unshare(CLONE_NEWIPC) == 0);
	/* more than a new namespace allows */
	write_in("/proc/sys", "kernel/msgmnb", "40000");
	for (int i = 0; i < 3; i++) {
		shm[i] = shmget(i + 1, 100000, IPC_CREAT | 0600);
		sem[i] = semget(i + 1, 10, IPC_CREAT | 0600);
		msg[i] = msgget(i + 1, IPC_CREAT | 0600);
		CHECK(shm[i] >= 0 && sem[i] >= 0 && msg[i] >= 0);
		send_one(msg[i], 1, "one", 8000);
		send_one(msg[i], 2, "two", 8000);
		send_one(msg[i], 3, "three", 8000);
		CHECK(mq_open((char[]){ '/', (char)('a' + i), 0 }, O_CREAT | O_RDWR, 0600, NULL) >=
		      0);
	}
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		write_in("/proc/sys", all[i][0], all[i][1]);
	subject_checkpoint();
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		expect(all[i][0], all[i][1]);
	for (int i = 0; i < 3; i++) {
		CHECK(shmget(i + 1, 0, 0) == shm[i] && semget(i + 1, 0, 0) == sem[i]);
		receive(msg[i], 0, 1, "one", 8000);
		receive(msg[i], 0, 2, "two", 8000);
		receive(msg[i], 0, 3, "three", 8000);
	}
	CHECK(shmget(IPC_PRIVATE, 1, 0600) < 0 && msgget(IPC_PRIVATE, 0600) < 0);
}

static void take(mqd_t q, const char *text, unsigned priority)
{
	char buffer[100000];
	unsigned got;

	CHECK(mq_receive(q, buffer, sizeof(buffer), &got) == (ssize_t)strlen(text));
	CHECK(!memcmp(buffer, text, strlen(text)) && got == priority);
}

/* larger than the limits allow by now; one that is full */
static void mq(void)
{
	struct mq_attr attr = { .mq_maxmsg = 20, .mq_msgsize = 10000 };
	struct stat st;

	CHECK(unshare(CLONE_NEWIPC) == 0);
	write_in("/proc/sys", "fs/mqueue/msgsize_max", "10000");
	write_in("/proc/sys", "fs/mqueue/msg_max", "20");
	umask(0);
	CHECK(setegid(6) == 0 && seteuid(5) == 0);
	mqd_t q = mq_open("/large queue", O_CREAT | O_EXCL | O_RDWR, 0657, &attr);
	CHECK(seteuid(0) == 0 && setegid(0) == 0);
	CHECK(q >= 0);
	CHECK(mq_send(q, "low", 3, 0) == 0 && mq_send(q, "high", 4, 32767) == 0);
	CHECK(mq_send(q, "low2", 4, 0) == 0 && mq_send(q, "", 0, 7) == 0);
	CHECK(mq_send(q, "high2", 5, 32767) == 0);
	CHECK(mq_close(q) == 0);
	write_in("/proc/sys", "fs/mqueue/msgsize_max", "8192");
	write_in("/proc/sys", "fs/mqueue/msg_max", "10");
	attr = (struct mq_attr){ .mq_maxmsg = 1, .mq_msgsize = 1 };
	q = mq_open("/full", O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
	CHECK(q >= 0 && mq_send(q, "f", 1, 1) == 0 && mq_close(q) == 0);
	/* who may make queues */
	CHECK(mkdir("q", 0755) == 0 && mount("q", "q", "mqueue", 0, NULL) == 0);
	CHECK(chown("q", 3, 4) == 0 && chmod("q", 0751) == 0 && umount("q") == 0);
	subject_checkpoint();
	CHECK(mount("q", "q", "mqueue", 0, NULL) == 0 && stat("q", &st) == 0 && umount("q") == 0);
	CHECK((st.st_mode & 07777) == 0751 && st.st_uid == 3 && st.st_gid == 4);
	q = mq_open("/large queue", O_RDWR | O_NONBLOCK);
	CHECK(q >= 0 && mq_getattr(q, &attr) == 0 && fstat(q, &st) == 0);
	CHECK(attr.mq_maxmsg == 20 && attr.mq_msgsize == 10000 && attr.mq_curmsgs == 5);
	CHECK((st.st_mode & 07777) == 0657 && st.st_uid == 5 && st.st_gid == 6);
	take(q, "high", 32767);
	take(q, "high2", 32767);
	take(q, "", 7);
	take(q, "low", 0);
	take(q, "low2", 0);
	q = mq_open("/full", O_RDWR | O_NONBLOCK);
	CHECK(q >= 0 && mq_send(q, "g", 1, 1) < 0 && errno == EAGAIN);
	take(q, "f", 1);
}

static void mq_descriptor(void)
{
	struct mq_attr attr;

	CHECK(unshare(CLONE_NEWIPC) == 0);
	mqd_t a = mq_open("/a", O_CREAT | O_RDWR, 0600, NULL),
	      b = mq_open("/a", O_RDONLY | O_NONBLOCK);
	mqd_t other = mq_open("/b", O_CREAT | O_WRONLY | O_CLOEXEC, 0600, NULL);
	CHECK(a >= 0 && b >= 0 && other >= 0 && mq_send(a, "x", 1, 3) == 0);
	subject_checkpoint();
	CHECK(mq_getattr(a, &attr) == 0 && !(attr.mq_flags & O_NONBLOCK));
	CHECK(mq_getattr(b, &attr) == 0 && attr.mq_flags & O_NONBLOCK);
	CHECK(mq_send(b, "y", 1, 1) < 0 && errno == EBADF);
	CHECK(mq_send(a, "y", 1, 3) == 0 && mq_send(other, "z", 1, 1) == 0);
	take(b, "x", 3);
	take(a, "y", 3);
	CHECK(mq_receive(b, (char[8192]){ 0 }, 8192, NULL) < 0 && errno == EAGAIN);
	b = mq_open("/b", O_RDONLY | O_NONBLOCK);
	take(b, "z", 1);
}

/* two that had one name, which is a third's now */
static void mq_unlinked(void)
{
	struct mq_attr attr = { .mq_maxmsg = 3, .mq_msgsize = 100 };
	struct stat st;
	mqd_t q[3], others[3];

	CHECK(unshare(CLONE_NEWIPC) == 0);
	for (int i = 0; i < 3; i++) {
		q[i] = mq_open("/a", O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0640, &attr);
		others[i] = mq_open("/a", O_WRONLY | O_CLOEXEC);
		CHECK(q[i] >= 0 && others[i] >= 0);
		CHECK(mq_send(q[i], (char[]){ (char)('a' + i) }, 1, 5) == 0);
		CHECK(i == 2 || mq_unlink("/a") == 0);
	}
	CHECK(mq_open("/a", O_RDONLY) >= 0);
	CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
	CHECK(mq_notify(q[0], &(struct sigevent){ .sigev_notify = SIGEV_SIGNAL,
	                                          .sigev_signo = SIGUSR1 }) == 0);
	subject_checkpoint();
	CHECK(mq_notify(q[0], &(struct sigevent){ .sigev_notify = SIGEV_NONE }) < 0);
	CHECK(mq_notify(q[1], &(struct sigevent){ .sigev_notify = SIGEV_NONE }) == 0);
	for (int i = 0; i < 3; i++) {
		CHECK(fstat(q[i], &st) == 0 && st.st_nlink == (i == 2));
		CHECK((st.st_mode & 07777) == 0640);
		CHECK(mq_send(others[i], "x", 1, 1) == 0);
		take(q[i], (char[]){ (char)('a' + i), 0 }, 5);
		take(q[i], "x", 1);
		CHECK(mq_receive(q[i], (char[100]){ 0 }, 100, NULL) < 0 && errno == EAGAIN);
	}
	CHECK(mq_unlink("/a") == 0 && mq_unlink("/a") < 0);
}

static void mq_outside(void)
{
	CHECK(mq_open("/stasis-outside", O_CREAT | O_RDWR, 0600, NULL) >= 0);
	CHECK(mq_unlink("/stasis-outside") == 0);
	subject_checkpoint();
}

/* somebody outside, who is not in the namespace any more, has a queue open */
static void mq_held(void)
{
	int before = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);

	CHECK(before >= 0 && unshare(CLONE_NEWIPC) == 0);
	mqd_t queue = mq_open("/held", O_CREAT | O_RDWR, 0600, NULL);
	CHECK(queue >= 0);
	if (fork() == 0) { /* orphaned: not of the set */
		if (fork() != 0)
			_exit(0);
		CHECK(setns(before, CLONE_NEWIPC) == 0);
		CHECK(dup2(queue, 0) == 0 && close_range(1, ~0U, 0) == 0);
		subject_mark("outside");
		subject_wait_go();
		_exit(0);
	}
	CHECK(wait(NULL) > 0 && close(before) == 0 && close(queue) == 0);
	subject_wait("outside");
	subject_checkpoint();
}

/* by their names in a file system of them */
static void mq_opened(void)
{
	char text[128] = "";
	struct stat st;

	CHECK(unshare(CLONE_NEWIPC | CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("mqueue", "/mnt", "mqueue", 0, NULL) == 0);
	mqd_t a = open("/mnt/a", O_CREAT | O_RDWR, 0600), by_name = mq_open("/a", O_RDONLY);
	int b = open("/mnt/a", O_RDONLY | O_NONBLOCK), path = open("/mnt/a", O_PATH);
	CHECK(a >= 0 && by_name >= 0 && b >= 0 && path >= 0);
	CHECK(mq_send(a, "x", 1, 3) == 0 && mq_send(a, "yz", 2, 2) == 0);
	CHECK(read(b, text, 4) == 4);
	subject_checkpoint();
	CHECK(read(b, text, sizeof(text) - 1) > 0);
	CHECK(!strncmp(text, "E:3 ", 4) && lseek(b, 0, SEEK_CUR) > 4);
	CHECK(fstat(path, &st) == 0 && fcntl(path, F_GETFL) & O_PATH);
	ino_t inode = st.st_ino;
	CHECK(fstat(by_name, &st) == 0 && st.st_ino == inode);
	take(b, "x", 3);
	take(a, "yz", 2);
	CHECK(mq_receive(b, (char[8192]){ 0 }, 8192, NULL) < 0 && errno == EAGAIN);
	CHECK(mq_send(a, "w", 1, 1) == 0);
	take(by_name, "w", 1);
	CHECK(umount2("/mnt", MNT_DETACH) == 0);
}

/* two namespaces with the same ids and keys */
static void child(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	int id = semget(7, 1, IPC_CREAT | 0600);
	CHECK(semctl(id, 0, SETVAL, 1) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(unshare(CLONE_NEWIPC) == 0);
		CHECK(semget(7, 1, IPC_CREAT | 0600) == id);
		CHECK(semctl(id, 0, SETVAL, 2) == 0);
		subject_mark("child");
		subject_wait_go();
		CHECK(semctl(id, 0, GETVAL) == 2);
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	CHECK(semctl(id, 0, GETVAL) == 1);
	subject_check_exit(pid, 0);
}

static void forced(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	write_in("/proc/sys", "kernel/shm_rmid_forced", "1");
	CHECK(shmget(IPC_PRIVATE, 1, 0600) >= 0);
	subject_checkpoint();
}

/* somebody outside is in the namespace */
static void leak(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	subject_leave_outside();
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(settings), CASE(shm), CASE(sem),
	                     CASE(sem_initialised), CASE(msg), CASE(ids), CASE(limits), CASE(child),
	                     CASE(forced), CASE(leak), CASE(mq), CASE(mq_descriptor),
	                     CASE(mq_unlinked), CASE(mq_outside), CASE(mq_held), CASE(mq_opened));
}
