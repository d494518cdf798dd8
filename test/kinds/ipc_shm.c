/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System V shared memory that is attached, in an IPC namespace of the set.
 *
 * TEST attached round-trip -- attached
 * TEST removed round-trip -- removed
 * TEST replaced round-trip observe=no -- replaced
 * TEST parts round-trip -- parts
 * TEST reading round-trip -- reading
 * TEST processes round-trip -- processes
 * TEST many round-trip -- many
 * TEST users round-trip -- users
 * TEST forced round-trip -- forced
 * TEST huge round-trip -- huge
 * TEST other-namespace refuse code=mm.sysv-shm -- other_namespace
 * TEST same-number refuse code=mm.sysv-shm -- same_number
 * TEST leak refuse code=leak -- leak
 */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>

#include "cases.h"

#define PAGE 4096
#define SIZE (16 * PAGE)

static int segment(key_t key, int flags)
{
	int id = shmget(key, SIZE, IPC_CREAT | IPC_EXCL | 0600 | flags);

	CHECK(id >= 0);
	return id;
}

static char *attach(int id, int flags)
{
	char *p = shmat(id, NULL, flags);

	CHECK(p != (void *)-1);
	return p;
}

static int mappings(int id)
{
	struct shmid_ds ds;

	CHECK(shmctl(id, IPC_STAT, &ds) == 0);
	return (int)ds.shm_nattch;
}

static void attached(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	int id = segment(0x77, 0);
	char *p = attach(id, 0), *q = attach(id, 0);
	strcpy(p + 5 * PAGE, "here");
	subject_checkpoint();
	CHECK(mappings(id) == 2 && shmget(0x77, 0, 0) == id);
	CHECK(!strcmp(q + 5 * PAGE, "here"));
	strcpy(q + 6 * PAGE, "there");
	CHECK(!strcmp(p + 6 * PAGE, "there"));
	CHECK(shmdt(p) == 0 && shmdt(q) == 0 && mappings(id) == 0);
	CHECK(shmdt(p) < 0);
	p = attach(id, 0);
	CHECK(!strcmp(p + 6 * PAGE, "there"));
}

/* goes with the last one that has it */
static void removed(void)
{
	struct shmid_ds ds;

	CHECK(unshare(CLONE_NEWIPC) == 0);
	int id = segment(0x77, 0);
	char *p = attach(id, 0);
	strcpy(p, "here");
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	subject_checkpoint();
	CHECK(!strcmp(p, "here") && mappings(id) == 1);
	CHECK(shmctl(id, IPC_STAT, &ds) == 0 && ds.shm_perm.mode == (0600 | SHM_DEST));
	CHECK(shmget(0x77, 0, 0) < 0);
	CHECK(shmdt(p) == 0);
	CHECK(shmctl(id, IPC_STAT, &ds) < 0);
}

/*
 * the key is another's now: the name of the mapping, /SYSV00000077, becomes that of a private one
 */
static void replaced(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	int id = segment(IPC_PRIVATE, 0), old = segment(0x77, 0);
	char *p = attach(old, 0);
	strcpy(p, "old");
	CHECK(shmctl(old, IPC_RMID, NULL) == 0);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	CHECK(shmdt(attach(segment(0x77, 0), 0)) == 0);
	subject_checkpoint();
	CHECK(!strcmp(p, "old") && mappings(old) == 1);
	CHECK(shmget(0x77, 0, 0) >= 0 && shmget(0x77, 0, 0) != old);
}

/* pieces of it: some gone, some protected, some elsewhere */
static void parts(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	int id = segment(IPC_PRIVATE, 0);
	char *p = attach(id, 0);
	for (int i = 0; i < 16; i++)
		p[i * PAGE] = (char)('a' + i);
	CHECK(munmap(p + 3 * PAGE, 2 * PAGE) == 0);
	CHECK(mprotect(p + 7 * PAGE, PAGE, PROT_READ) == 0);
	CHECK(mprotect(p + 9 * PAGE, PAGE, PROT_NONE) == 0);
	CHECK(munmap(p, PAGE) == 0);
	char *elsewhere = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mremap(p + 12 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere + PAGE) ==
	      elsewhere + PAGE);
	int before = mappings(id);
	subject_checkpoint();
	CHECK(mappings(id) == before);
	for (int i = 1; i < 16; i++)
		if (i != 3 && i != 4 && i != 9 && i != 12)
			CHECK(p[i * PAGE] == 'a' + i);
	CHECK(elsewhere[PAGE] == 'm');
	CHECK(mprotect(p + 7 * PAGE, 3 * PAGE, PROT_READ | PROT_WRITE) == 0);
	CHECK(p[9 * PAGE] == 'j');
	p[7 * PAGE] = 'X';
	char *q = attach(id, SHM_RDONLY);
	CHECK(q[7 * PAGE] == 'X' && q[3 * PAGE] == 'd' && q[0] == 'a');
}

static void reading(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	int id = segment(IPC_PRIVATE, 0);
	char *p = attach(id, SHM_RDONLY), *q = attach(id, 0);
	q[0] = 'q';
	CHECK(shmdt(q) == 0);
	subject_checkpoint();
	CHECK(p[0] == 'q');
	CHECK(mprotect(p, SIZE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
}

static void processes(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	int id = segment(IPC_PRIVATE, 0);
	volatile char *p = attach(id, 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		subject_settle("child");
		p[0] = 'c';
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	subject_check_exit(pid, 0);
	CHECK(p[0] == 'c' && mappings(id) == 1);
}

/*
 * Attached before and after they are in user namespaces of their own; since then it belongs to
 * somebody else, and only who has all rights could attach it
 */
static void users(void)
{
	struct shmid_ds ds = { .shm_perm = { .uid = 5, .gid = 5, .mode = 0600 } };
	CHECK(unshare(CLONE_NEWIPC) == 0);
	CHECK(seteuid(5) == 0);
	int id = segment(IPC_PRIVATE, 0666);
	CHECK(seteuid(0) == 0);
	volatile char *p = attach(id, 0);
	pid_t pids[2];
	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		CHECK(pids[i] >= 0);
		if (pids[i] > 0)
			continue;
		CHECK(unshare(CLONE_NEWUSER) == 0);
		CHECK(shmctl(id, IPC_STAT, &(struct shmid_ds){ 0 }) == 0);
		volatile char *q = i ? attach(id, 0) : p;
		subject_settle(i ? "one" : "zero");
		q[i] = (char)('a' + i);
		_exit(0);
	}
	subject_wait("zero");
	subject_wait("one");
	CHECK(mappings(id) == 4 && shmctl(id, IPC_SET, &ds) == 0);
	subject_checkpoint();
	subject_check_exit(pids[0], 0);
	subject_check_exit(pids[1], 0);
	CHECK(p[0] == 'a' && p[1] == 'b' && mappings(id) == 1);
}

static void many(void)
{
	enum { N = 300 };
	static int ids[N];
	static char *at[N];

	CHECK(unshare(CLONE_NEWIPC) == 0);
	for (int i = 0; i < N; i++) {
		ids[i] = segment(i + 1, 0);
		at[i] = attach(ids[i], 0);
		memcpy(at[i] + PAGE, &i, sizeof(i));
	}
	subject_checkpoint();
	for (int i = 0; i < N; i++)
		CHECK(shmget(i + 1, 0, 0) == ids[i] && !memcmp(at[i] + PAGE, &i, sizeof(i)));
}

/* only what is attached is left, so it must be there before the setting is */
static void forced(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	int id = segment(IPC_PRIVATE, 0);
	char *p = attach(id, 0);
	p[0] = 'f';
	int fd = open("/proc/sys/kernel/shm_rmid_forced", O_WRONLY);
	CHECK(write(fd, "1", 1) == 1 && close(fd) == 0);
	subject_checkpoint();
	CHECK(p[0] == 'f' && mappings(id) == 1);
}

static void huge(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	int id = shmget(5, 4 << 20, IPC_CREAT | SHM_HUGETLB | 0600);
	if (id < 0)
		exit(77); /* none reserved: vm.nr_hugepages */
	char *p = attach(id, 0);
	strcpy(p + (3 << 20), "huge");
	subject_checkpoint();
	CHECK(!strcmp(p + (3 << 20), "huge") && mappings(id) == 1);
	CHECK(shmdt(p) == 0);
	p = attach(id, 0);
	CHECK(!strcmp(p + (3 << 20), "huge"));
}

/* of the namespace that the program was in before */
static void other_namespace(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	attach(segment(IPC_PRIVATE, 0), 0);
	CHECK(unshare(CLONE_NEWIPC) == 0);
	subject_checkpoint();
}

/* the same, and there is one of the same id here */
static void same_number(void)
{
	CHECK(unshare(CLONE_NEWIPC) == 0);
	int id = segment(IPC_PRIVATE, 0);
	attach(id, 0);
	CHECK(unshare(CLONE_NEWIPC) == 0);
	CHECK(segment(IPC_PRIVATE, 0) == id);
	attach(id, 0);
	subject_checkpoint();
}

/* somebody outside, who is not in the namespace any more, has it attached */
static void leak(void)
{
	int before = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);

	CHECK(before >= 0 && unshare(CLONE_NEWIPC) == 0);
	int id = segment(IPC_PRIVATE, 0);
	if (fork() == 0) { /* orphaned: not of the set */
		if (fork() != 0)
			_exit(0);
		attach(id, 0);
		CHECK(setns(before, CLONE_NEWIPC) == 0);
		CHECK(close_range(0, ~0U, 0) == 0);
		subject_mark("outside");
		subject_wait_go();
		_exit(0);
	}
	CHECK(wait(NULL) > 0 && close(before) == 0);
	subject_wait("outside");
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(attached), CASE(removed), CASE(replaced), CASE(parts),
	                     CASE(reading), CASE(processes), CASE(users), CASE(many), CASE(forced),
	                     CASE(huge), CASE(other_namespace), CASE(same_number), CASE(leak));
}
