/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that cannot be saved is refused by name, and the program goes on.
 *
 * TEST userfaultfd refuse code=mm.vmflags -- userfaultfd
 * TEST packet-ring refuse code=mm.vmflags -- packet-ring
 * TEST sysv-shm refuse code=mm.sysv-shm -- sysv-shm
 * TEST aio refuse code=mm.aio -- aio
 * TEST vdso refuse code=mm.vdso -- vdso
 * TEST vdso-differs restart-refuse code=mm.vdso-differs -- vdso-differs
 * TEST no-sigreturn refuse code=inject.gadget -- no-sigreturn
 * TEST lock-future refuse code=mm.lock-future -- lock-future
 * TEST full refuse code=mm.full observe=no -- full (the observer would read all of it)
 * TEST too-many refuse code=mm.too-many observe=no -- too-many (the observer would take minutes)
 * TEST hugetlbfs refuse code=mm.hugetlbfs -- hugetlbfs
 * TEST uprobe refuse code=mm.uprobes -- uprobe
 * TEST uprobe-hit refuse code=mm.uprobes -- uprobe-hit
 * TEST perf-ring refuse code=mm.vmflags -- perf-ring
 */
#include <elf.h>
#include <linux/aio_abi.h>
#include <linux/if_packet.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <net/ethernet.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>

#include "mm.h"

static void userfaultfd(void)
{
	char *p = mm_anon(8, PROT_READ | PROT_WRITE, 0);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)p, 8 * PAGE },
		                       .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (fd < 0)
		SKIP("no userfaultfd here");
	CHECK(ioctl(fd, UFFDIO_API, &api) == 0 && ioctl(fd, UFFDIO_REGISTER, &reg) == 0);
	subject_checkpoint();
	CHECK(mm_flag(p, "um"));
}

static void packet_ring(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct tpacket_req req = { 4096, 4, 2048, 8 };

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0)
		SKIP("no packet sockets here");
	CHECK(mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
	subject_checkpoint();
}

static void sysv_shm(void)
{
	int id = shmget(IPC_PRIVATE, 4 * PAGE, IPC_CREAT | 0600);
	char *p = shmat(id, NULL, 0);

	CHECK(id >= 0 && p != (void *)-1);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	mm_fill(p, 4, 1);
	subject_checkpoint();
	mm_check(p, 4, 1);
	CHECK(shmdt(p) == 0);
}

static void aio(void)
{
	aio_context_t context = 0;

	if (syscall(SYS_io_setup, 8, &context) < 0)
		SKIP("no AIO here");
	subject_checkpoint();
	CHECK(syscall(SYS_io_destroy, context) == 0);
}

static void vdso(void)
{
	subject_mark("ready");
	CHECK(munmap((void *)getauxval(AT_SYSINFO_EHDR), 2 * PAGE) == 0);
	while (access("go", F_OK) < 0)
		syscall(SYS_nanosleep, &(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

/* what a program does to its own copy is what another kernel's would look like */
static void vdso_differs(void)
{
	off_t padding = (off_t)getauxval(AT_SYSINFO_EHDR) + EI_NIDENT - 1;
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	if (pwrite(fd, "x", 1, padding) != 1)
		SKIP("no writing to the vDSO: %s", strerror(errno));
	close(fd);
	subject_checkpoint();
}

/* a program whose code never calls rt_sigreturn: that of the C library is overwritten */
static void no_sigreturn(void)
{
	static const char code[] = "\x48\xc7\xc0\x0f\0\0\0\x0f\x05";
	unsigned long start, end;
	char line[512], prot[8];
	FILE *f = fopen("/proc/self/maps", "re");
	int n = 0;

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		CHECK(sscanf(line, "%lx-%lx %7s", &start, &end, prot) == 3);
		if (prot[2] != 'x' || strstr(line, "[v"))
			continue;
		char *at = (char *)start;
		while ((at = memmem(at, end - (unsigned long)at, code, sizeof(code) - 1))) {
			char *page = (char *)((unsigned long)at & -PAGE);
			CHECK(mprotect(page, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
			memset(at, 0xf4, sizeof(code) - 1);
			n++;
		}
	}
	fclose(f);
	CHECK(n > 0);
	subject_checkpoint();
}

/* no room for the page by which mlockall(MCL_FUTURE) is noticed */
static void lock_future(void)
{
	struct rlimit limit = { PAGE, PAGE };

	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
	subject_checkpoint();
}

/* all address space is reserved */
static void full(void)
{
	for (size_t size = 1ul << 46; size >= 1 << 20;)
		if (mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		         0) == MAP_FAILED)
			size /= 2;
	subject_checkpoint();
}

static void too_many(void)
{
	size_t n = 60000;
	char *p = mm_anon(n, PROT_READ, 0);

	for (size_t i = 0; i < n; i += 2)
		if (mprotect(p + i * PAGE, PAGE, PROT_NONE) < 0)
			SKIP("vm.max_map_count is below %zu", n);
	subject_checkpoint();
}

static void hugetlbfs(void)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);

	if (fd < 0 || ftruncate(fd, 2 << 20) < 0)
		SKIP("no hugetlbfs here");
	/* nothing is touched and nothing reserved: no huge page is needed */
	if (mmap(NULL, 2 << 20, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0) == MAP_FAILED)
		SKIP("mapping hugetlbfs: %s", strerror(errno));
	close(fd);
	subject_checkpoint();
}

__attribute__((noinline)) static int probed(int x)
{
	__asm__ volatile("");
	return x + 1;
}

/* somebody outside the set traces a function of the program */
static void uprobe(bool hit)
{
	char maps[256], path[256];
	unsigned long start = 0, end, offset = 0;
	int type = 0;
	FILE *f = fopen("/sys/bus/event_source/devices/uprobe/type", "re");

	if (!f || fscanf(f, "%d", &type) != 1)
		SKIP("no uprobes here");
	fclose(f);
	f = fopen("/proc/self/maps", "re");
	while (fgets(maps, sizeof(maps), f))
		if (sscanf(maps, "%lx-%lx %*s %lx %*s %*s %255s", &start, &end, &offset, path) ==
		            4 &&
		    start <= (uintptr_t)probed && (uintptr_t)probed < end)
			break;
	fclose(f);
	struct perf_event_attr attr = { .type = (unsigned)type,
		                        .size = sizeof(attr),
		                        .uprobe_path = (uintptr_t)path,
		                        .probe_offset = (uintptr_t)probed - start + offset };
	pid_t self = getpid(), helper = fork();
	if (helper == 0) {
		if (fork() != 0)
			_exit(0);
		setsid();
		for (int i = 0, null = open("/dev/null", O_RDWR | O_CLOEXEC); i < 3; i++)
			dup2(null, i);
		int fd = (int)syscall(SYS_perf_event_open, &attr, self, -1, -1,
		                      PERF_FLAG_FD_CLOEXEC);
		subject_mark(fd < 0 ? "no-probe" : "probe");
		subject_wait("done");
		_exit(0);
	}
	mm_reap(helper);
	while (access("probe", F_OK) < 0) {
		if (access("no-probe", F_OK) == 0) {
			subject_mark("done");
			SKIP("the uprobe cannot be set");
		}
		usleep(2000);
	}
	if (hit)
		CHECK_EQ(probed(1), 2);
	subject_checkpoint();
	CHECK_EQ(probed(3), 4);
	subject_mark("done");
}

static void perf_ring(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
		                        .size = sizeof(attr),
		                        .config = PERF_COUNT_SW_DUMMY };
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		SKIP("no perf events here");
	CHECK(mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "userfaultfd"))
		userfaultfd();
	else if (!strcmp(what, "packet-ring"))
		packet_ring();
	else if (!strcmp(what, "sysv-shm"))
		sysv_shm();
	else if (!strcmp(what, "aio"))
		aio();
	else if (!strcmp(what, "vdso"))
		vdso();
	else if (!strcmp(what, "vdso-differs"))
		vdso_differs();
	else if (!strcmp(what, "no-sigreturn"))
		no_sigreturn();
	else if (!strcmp(what, "lock-future"))
		lock_future();
	else if (!strcmp(what, "full"))
		full();
	else if (!strcmp(what, "too-many"))
		too_many();
	else if (!strcmp(what, "hugetlbfs"))
		hugetlbfs();
	else if (!strcmp(what, "uprobe"))
		uprobe(false);
	else if (!strcmp(what, "uprobe-hit"))
		uprobe(true);
	else if (!strcmp(what, "perf-ring"))
		perf_ring();
	return 0;
}
