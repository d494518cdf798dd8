/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Credentials, of processes and single threads. The subjects use the system calls themselves: the C
 * library's wrappers set the ids of all threads. Exceptions for the observer: an audit session is
 * numbered by the kernel; a label is shown by a mount on the old process's file.
 *
 * TEST root round-trip -- root
 * TEST user round-trip -- user
 * TEST all-ids-differ round-trip -- all_ids
 * TEST groups round-trip -- groups
 * TEST no-groups round-trip -- no_groups
 * TEST groups-many round-trip -- groups_many
 * TEST capabilities round-trip -- capabilities
 * TEST user-with-capabilities round-trip -- user_capabilities
 * TEST effective-only-some round-trip -- effective
 * TEST inheritable-beyond-bounding round-trip -- inheritable
 * TEST ambient round-trip -- ambient
 * TEST ambient-then-forbidden round-trip -- ambient_forbidden
 * TEST bounding round-trip -- bounding
 * TEST no-capabilities-at-all round-trip -- nothing
 * TEST securebits round-trip -- securebits
 * TEST keepcaps round-trip -- keepcaps
 * TEST threads round-trip -- threads
 * TEST child round-trip -- child
 * TEST zombie round-trip -- zombie
 * TEST zombie-no-privilege restart-refuse code=cred.capability without=cap_setuid -- zombie
 * TEST login-uid round-trip except=sessionid -- login
 * TEST label round-trip except=attr/current under="$TOP/test/tools/with_label" -- label
 * TEST label-other restart-refuse code=cred.label -- label
 * TEST label-for-exec refuse code=cred.label -- label_exec
 * TEST thread-keyring refuse code=cred.keyring -- thread_keyring
 * TEST process-keyring refuse code=cred.keyring -- process_keyring
 * TEST request-key refuse code=cred.keyring -- request_key
 * TEST landlock refuse code=cred.landlock -- landlock
 * TEST landlock-user refuse code=cred.landlock -- landlock_user
 * TEST landlock-thread refuse code=cred.landlock -- landlock_thread
 * TEST uid-no-privilege restart-refuse code=cred.capability without=cap_setuid -- user
 * TEST gid-no-privilege restart-refuse code=cred.capability without=cap_setgid -- groups
 * TEST bounding-no-privilege restart-refuse code=cred.capability without=cap_setpcap -- bounding
 * TEST lacks restart-refuse code=cred.capability under="setpriv --bounding-set=-sys_time" -- root
 * TEST login-uids-differ restart-refuse code=cred.login-uid -- logins
 */
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"

#define ALL    (~0ull)
#define BIT(c) (1ull << (c))

struct sets {
	uint64_t inheritable, permitted, effective;
};

static struct sets get_sets(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	CHECK(syscall(SYS_capget, &header, d) == 0);
	return (struct sets){ d[0].inheritable | (uint64_t)d[1].inheritable << 32,
		              d[0].permitted | (uint64_t)d[1].permitted << 32,
		              d[0].effective | (uint64_t)d[1].effective << 32 };
}

/* of those that we have */
static void set_sets(uint64_t inheritable, uint64_t permitted, uint64_t effective)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	uint64_t have = get_sets().permitted;
	uint64_t i = inheritable & have, p = permitted & have, e = effective & have;
	struct __user_cap_data_struct d[2] = {
		{ (uint32_t)e, (uint32_t)p, (uint32_t)i },
		{ (uint32_t)(e >> 32), (uint32_t)(p >> 32), (uint32_t)(i >> 32) },
	};

	CHECK(syscall(SYS_capset, &header, d) == 0);
}

/* all that the kernel shows of this thread's credentials, as text */
static void show(char text[4096])
{
	static const char *const keys[] = { "Uid:",    "Gid:",    "Groups:", "CapInh:",
		                            "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:" };
	char line[65536];
	FILE *f = fopen("/proc/thread-self/status", "re");

	CHECK(f);
	*text = 0;
	while (fgets(line, sizeof(line), f))
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			if (!strncmp(line, keys[i], strlen(keys[i])))
				strncat(text, line, 4095 - strlen(text));
	fclose(f);
	snprintf(text + strlen(text), 64, "securebits %x\n", prctl(PR_GET_SECUREBITS));
}

/* files in the directory can be made by anybody from here on */
static void open_directory(void)
{
	CHECK(chmod(".", 0777) == 0);
}

static void round_trip(void)
{
	char before[4096], after[4096];

	show(before);
	prctl(PR_SET_DUMPABLE, 1); /* for the observer and our own /proc/self */
	subject_checkpoint();
	show(after);
	if (strcmp(before, after) != 0)
		FAIL("before:\n%safter:\n%s", before, after);
}

static void root(void)
{
	round_trip();
}

static void become(uid_t id)
{
	open_directory();
	CHECK(syscall(SYS_setgroups, 0, NULL) == 0);
	CHECK(syscall(SYS_setresgid, id, id, id) == 0);
	CHECK(syscall(SYS_setresuid, id, id, id) == 0);
	/* whatever fs.suid_dumpable is: another test may be trying it */
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
}

static void user(void)
{
	become(1000);
	round_trip();
	CHECK(syscall(SYS_setuid, 0) < 0);
}

static void all_ids(void)
{
	open_directory();
	CHECK(syscall(SYS_setresgid, 2001, 2002, 2003) == 0);
	setfsgid(2004);
	CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
	CHECK(syscall(SYS_setresuid, 1001, 1002, 1003) == 0);
	set_sets(0, ALL, BIT(CAP_SETUID));
	setfsuid(1004);
	set_sets(0, 0, 0);
	round_trip();
	CHECK_EQ(setfsuid(-1), 1004);
	CHECK_EQ(setfsgid(-1), 2004);
}

static void groups(void)
{
	gid_t list[] = { 5, 100, 70000 };

	CHECK(setgroups(3, list) == 0);
	round_trip();
}

static void no_groups(void)
{
	CHECK(setgroups(0, NULL) == 0);
	round_trip();
}

static void groups_many(void)
{
	static gid_t list[3000], after[3000];

	for (int i = 0; i < 3000; i++)
		list[i] = (gid_t)(i * 7 + 1);
	CHECK(setgroups(3000, list) == 0);
	subject_checkpoint();
	CHECK_EQ(getgroups(3000, after), 3000);
	CHECK(!memcmp(list, after, sizeof(list)));
}

static void capabilities(void)
{
	set_sets(BIT(CAP_CHOWN) | BIT(CAP_KILL), BIT(CAP_KILL) | BIT(CAP_SYS_ADMIN),
	         BIT(CAP_SYS_ADMIN));
	round_trip();
}

static void user_capabilities(void)
{
	CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
	become(1000);
	CHECK(prctl(PR_SET_KEEPCAPS, 0) == 0);
	set_sets(BIT(CAP_NET_RAW), BIT(CAP_NET_RAW) | BIT(CAP_NET_ADMIN), BIT(CAP_NET_ADMIN));
	round_trip();
}

static void effective(void)
{
	set_sets(0, ALL, BIT(CAP_SETPCAP));
	round_trip();
}

/* the inheritable set keeps what has been dropped from the bounding set since */
static void inheritable(void)
{
	set_sets(BIT(CAP_SYS_TIME), ALL, ALL);
	CHECK(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME) == 0);
	set_sets(BIT(CAP_SYS_TIME), ALL & ~BIT(CAP_SYS_TIME), ALL & ~BIT(CAP_SYS_TIME));
	round_trip();
}

static void ambient(void)
{
	CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
	become(1000);
	set_sets(BIT(CAP_NET_RAW), BIT(CAP_NET_RAW), BIT(CAP_NET_RAW));
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) == 0);
	round_trip();
	CHECK_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0), 1);
}

static void ambient_forbidden(void)
{
	set_sets(BIT(CAP_NET_RAW), ALL, ALL);
	CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECUREBITS,
	            SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED) == 0);
	round_trip();
}

static void bounding(void)
{
	CHECK(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME) == 0);
	CHECK(prctl(PR_CAPBSET_DROP, CAP_MKNOD) == 0);
	CHECK(prctl(PR_CAPBSET_DROP, CAP_CHECKPOINT_RESTORE) == 0);
	round_trip();
}

static void nothing(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		CHECK(prctl(PR_CAPBSET_DROP, cap) == 0);
	become(1000);
	set_sets(0, 0, 0);
	round_trip();
}

static void securebits(void)
{
	CHECK(prctl(PR_SET_SECUREBITS,
	            SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP) == 0);
	round_trip();
}

static void keepcaps(void)
{
	CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
	round_trip();
	CHECK_EQ(prctl(PR_GET_KEEPCAPS), 1);
}

static pthread_barrier_t set_up;

static void *in_thread(void *arg)
{
	char before[4096], after[4096];
	long i = (long)arg;
	gid_t group = (gid_t)(50 + i);

	subject_use_stack();
	CHECK(syscall(SYS_setgroups, 1, &group) == 0);
	CHECK(syscall(SYS_setresgid, 3000 + i, 3000 + i, 3000 + i) == 0);
	CHECK(syscall(SYS_setresuid, 3000 + i, 3000 + i, 3000 + i) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
	show(before);
	pthread_barrier_wait(&set_up);
	subject_wait_go();
	show(after);
	if (strcmp(before, after) != 0)
		FAIL("thread %ld: before:\n%safter:\n%s", i, before, after);
	return NULL;
}

static void threads(void)
{
	pthread_t t[3];

	open_directory();
	pthread_barrier_init(&set_up, NULL, 4);
	for (long i = 0; i < 3; i++)
		CHECK(pthread_create(&t[i], NULL, in_thread, (void *)i) == 0);
	pthread_barrier_wait(&set_up);
	round_trip();
	for (long i = 0; i < 3; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

static void child(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		char before[4096], after[4096];
		become(1000);
		show(before);
		subject_mark("child");
		subject_wait_go();
		show(after);
		_exit(strcmp(before, after) != 0);
	}
	subject_wait("child");
	round_trip();
	subject_check_exit(pid, 0);
}

/* waitid(2) tells whose the dead child was */
static void zombie(void)
{
	siginfo_t info;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		become(1000);
		_exit(3);
	}
	CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
	subject_checkpoint();
	CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED) == 0);
	CHECK_EQ(info.si_uid, 1000);
	CHECK_EQ(info.si_status, 3);
}

static void set_login(const char *text)
{
	int fd = open("/proc/thread-self/loginuid", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		SKIP("no login uids");
	CHECK(write(fd, text, strlen(text)) > 0);
	close(fd);
}

static void login(void)
{
	char text[32] = "";

	set_login("4242");
	subject_checkpoint();
	FILE *f = fopen("/proc/thread-self/loginuid", "re");
	CHECK(f && fgets(text, sizeof(text), f));
	CHECK_EQ(atoi(text), 4242);
	fclose(f);
}

static void logins(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	set_login(pid ? "4242" : "4243");
	if (pid == 0) {
		subject_mark("child");
		subject_wait_go();
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
}

/* as if a security module had given us one: a file that hides what the kernel shows */
static void show_label(const char *name, const char *text)
{
	char path[64];
	int fd = open("label", O_CREAT | O_WRONLY | O_CLOEXEC | O_TRUNC, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/attr/%s", getpid(), getpid(), name);
	CHECK(mount("label", path, NULL, MS_BIND, NULL) == 0);
}

static void label(void)
{
	show_label("current", "system_u:system_r:init_t\n");
	subject_checkpoint();
}

static void label_exec(void)
{
	show_label("current", "system_u:system_r:init_t\n");
	show_label("exec", "system_u:system_r:init_t\n");
	subject_checkpoint();
}

static void with_keyring(int which)
{
	CHECK(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, which, 1) > 0);
	subject_checkpoint();
}

static void thread_keyring(void)
{
	with_keyring(KEY_SPEC_THREAD_KEYRING);
}

static void process_keyring(void)
{
	with_keyring(KEY_SPEC_PROCESS_KEYRING);
}

static void request_key(void)
{
	CHECK(syscall(SYS_keyctl, KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_USER_KEYRING) >= 0);
	subject_checkpoint();
}

/* a domain that forbids nothing that matters here: to signal what is outside of it */
static void confine(void)
{
	struct {
		uint64_t access_fs, access_net, scoped;
	} rules = { .access_fs = 1 << 12 /* make a socket */ };
	long fd = syscall(SYS_landlock_create_ruleset, &rules, 8, 0);

	if (fd < 0)
		SKIP("no Landlock");
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(syscall(SYS_landlock_restrict_self, fd, 0) == 0);
	close((int)fd);
}

static void landlock(void)
{
	confine();
	subject_checkpoint();
}

static void landlock_user(void)
{
	become(1000);
	confine();
	prctl(PR_SET_DUMPABLE, 1);
	subject_checkpoint();
}

static void *confined(void *arg)
{
	subject_use_stack();
	confine();
	subject_mark("thread");
	subject_wait_go();
	return NULL;
}

static void landlock_thread(void)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, confined, NULL) == 0);
	subject_wait("thread");
	subject_checkpoint();
	CHECK(pthread_join(t, NULL) == 0);
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(root), CASE(user), CASE(all_ids), CASE(groups),
	                     CASE(no_groups), CASE(groups_many), CASE(capabilities),
	                     CASE(user_capabilities), CASE(effective), CASE(inheritable),
	                     CASE(ambient), CASE(ambient_forbidden), CASE(bounding), CASE(nothing),
	                     CASE(securebits), CASE(keepcaps), CASE(threads), CASE(child),
	                     CASE(zombie), CASE(login), CASE(logins), CASE(label), CASE(label_exec),
	                     CASE(thread_keyring), CASE(process_keyring), CASE(request_key),
	                     CASE(landlock), CASE(landlock_user), CASE(landlock_thread));
}
