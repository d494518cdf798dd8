/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cgroup membership. The subject makes groups of its own (named after the place of its directory,
 * since tests run side by side); the runner takes them away.
 *
 * TEST v2 round-trip -- v2
 * TEST v1 round-trip -- v1
 * TEST child round-trip -- child
 * TEST thread-v1 round-trip -- thread_v1
 * TEST thread-v2 round-trip -- thread_v2
 * TEST memory-is-charged round-trip needs=cgroup_memory -- memory
 * TEST from-elsewhere round-trip under="$TOP/test/tools/in_cgroup" -- untouched
 * TEST ignored round-trip except=cgroup checkpoint="--cgroup ignore" -- ignored
 * TEST ignored-at-restart round-trip except=cgroup restart="--cgroup ignore" -- ignored
 * TEST outside refuse code=cgroup.outside under="$TOP/test/tools/in_cgroup unshare -C" -- untouched
 * TEST gone restart-refuse code=cgroup.path before="sh remove" -- gone
 * TEST frozen restart-refuse code=cgroup.frozen before="sh freeze" -- frozen
 * TEST frozen-v1 restart-refuse code=cgroup.frozen before="sh freeze" -- frozen_v1
 * TEST not-mounted restart-refuse code=cgroup.mount before="sh unmount" -- gone
 * TEST read-only restart-refuse code=cgroup.permission before="sh read-only" -- gone
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cases.h"
#include "text.h"

#define V2 "/sys/fs/cgroup/unified"
#define V1 "/sys/fs/cgroup/pids"

static char group[256]; /* directory */

static uint64_t read_number(const char *directory, const char *name)
{
	char path[512];
	unsigned long long n;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	FILE *f = fopen(path, "re");
	CHECK(f && fscanf(f, "%llu", &n) == 1);
	fclose(f);
	return n;
}

/* a new group below @mount, named after the runner's directory */
static void make_group(const char *mount, const char *below, char *ret)
{
	char directory[256];

	CHECK(getcwd(directory, sizeof(directory)));
	*strrchr(directory, '/') = 0;
	snprintf(ret, 256, "%s/%s%s", mount, strrchr(directory, '/') + 1, below);
	if (access(mount, F_OK) < 0 || (mkdir(ret, 0755) < 0 && errno != EEXIST))
		SKIP("no cgroups below %s\n", mount);
}

static void join(const char *directory)
{
	write_in(directory, "cgroup.procs", "0");
}

/* /proc/thread-self/cgroup has the group of this directory */
static bool is_in(const char *mount, const char *directory)
{
	char line[512];
	bool found = false;
	FILE *f = fopen("/proc/thread-self/cgroup", "re");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		const char *path = strchr(strchr(line, ':') + 1, ':') + 1;
		found = found || !strcmp(path, directory + strlen(mount));
	}
	fclose(f);
	return found;
}

static void in_group(const char *mount)
{
	make_group(mount, "", group);
	join(group);
	CHECK(is_in(mount, group));
	subject_checkpoint();
	CHECK(is_in(mount, group));
}

static void v2(void)
{
	in_group(V2);
}

static void v1(void)
{
	in_group(V1);
}

static void child(void)
{
	char other[256];

	make_group(V2, "", group);
	make_group(V2, "/child", other);
	join(group);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		join(other);
		subject_mark("child");
		subject_wait_go();
		CHECK(is_in(V2, other));
		_exit(0);
	}
	subject_wait("child");
	subject_checkpoint();
	CHECK(is_in(V2, group));
	subject_check_exit(pid, 0);
}

struct place {
	const char *mount, *file;
	char directory[256];
};

static void *in_thread(void *arg)
{
	const struct place *place = arg;

	subject_use_stack();
	write_in(place->directory, place->file, "0");
	CHECK(is_in(place->mount, place->directory));
	subject_mark("thread");
	subject_wait_go();
	CHECK(is_in(place->mount, place->directory));
	return NULL;
}

static void with_thread(struct place *place)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, in_thread, place) == 0);
	subject_wait("thread");
	subject_checkpoint();
	CHECK(is_in(place->mount, group));
	CHECK(pthread_join(t, NULL) == 0);
}

static void thread_v1(void)
{
	struct place place = { V1, "tasks", "" };

	make_group(V1, "", group);
	make_group(V1, "/thread", place.directory);
	join(group);
	with_thread(&place);
}

static void thread_v2(void)
{
	struct place place = { V2, "cgroup.threads", "" };

	make_group(V2, "", group);
	make_group(V2, "/thread", place.directory);
	write_in(place.directory, "cgroup.type", "threaded");
	join(group);
	with_thread(&place);
}

/* what is restored is charged to the group, not to the restart's */
static void memory(void)
{
	static const size_t size = 8 << 20;
	const char *mount = "/sys/fs/cgroup/memory";

	make_group(mount, "", group);
	join(group);
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	memset(p, 7, size);
	pid_t pid = fork(); /* shared copy-on-write: filled before it is cloned */
	CHECK(pid >= 0);
	if (pid == 0) {
		subject_mark("child");
		subject_wait_go();
		_exit(p[0] == 7 ? 0 : 1);
	}
	subject_wait("child");
	subject_checkpoint();
	CHECK(is_in(mount, group));
	CHECK(read_number(group, "memory.usage_in_bytes") >= size);
	subject_check_exit(pid, 0);
}

/* the restart runs in a group of its own, and the subject comes back outside of it */
static void untouched(void)
{
	make_group(V2, "", group);
	CHECK(rmdir(group) == 0);
	subject_checkpoint();
	CHECK(!is_in(V2, group));
}

static void ignored(void)
{
	make_group(V2, "", group);
	join(group);
	subject_checkpoint();
	/* the restart's own, where it was not kept */
	CHECK(!is_in(V2, group));
}

/* shell commands for between checkpoint and restart; the group is $G */
static void script(const char *name, const char *commands)
{
	FILE *f = fopen(name, "we");

	CHECK(f);
	fprintf(f, "G='%s'\n%s\n", group, commands);
	fclose(f);
}

static void gone(void)
{
	make_group(V2, "", group);
	join(group);
	script("remove", "rmdir $G");
	script("unmount", "umount -l " V2);
	script("read-only", "mount -o remount,bind,ro " V2);
	subject_checkpoint();
}

static void frozen(void)
{
	make_group(V2, "", group);
	join(group);
	script("freeze", "echo 1 >$G/cgroup.freeze");
	subject_checkpoint();
}

static void frozen_v1(void)
{
	make_group("/sys/fs/cgroup/freezer", "", group);
	join(group);
	script("freeze", "echo FROZEN >$G/freezer.state");
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	return SUBJECT_CASES(argc, argv, CASE(v2), CASE(v1), CASE(child), CASE(thread_v1),
	                     CASE(thread_v2), CASE(memory), CASE(untouched), CASE(ignored),
	                     CASE(gone), CASE(frozen), CASE(frozen_v1));
}
