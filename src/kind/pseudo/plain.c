/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which files of the kernel's are nothing but what is read from and written to them at that moment.
 * Known from the kernel's sources, up to 6.18; what is not in a table has something behind the
 * descriptor, or nobody has looked. Directories, and what is open by O_PATH, have nothing.
 */
#include <fnmatch.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>

#include "kind/pseudo/parts.h"

struct line {
	const char *pattern; /* fnmatch(3); '*' takes '/', too */
	unsigned is;         /* PLAIN_* */
};

static unsigned look_up(const struct line *lines, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++)
		if (fnmatch(lines[i].pattern, path, 0) == 0)
			return lines[i].is;
	return PLAIN_NOT;
}
#define LOOK_UP(lines, path) look_up(lines, sizeof(lines) / sizeof((lines)[0]), path)

/*
 * Not here, among others: kmsg and what else is consumed by reading; swaps, mdstat and
 * bus/input/devices, whose poll(2) forgets what it has told; mtrr, which a close changes;
 * sysvipc/, whose opener's namespaces it remembers.
 */
static const struct line proc_files[] = {
	{ "/buddyinfo", 0 },
	{ "/cgroups", 0 },
	{ "/cmdline", 0 },
	{ "/consoles", 0 },
	{ "/cpuinfo", 0 },
	{ "/crypto", 0 },
	{ "/devices", 0 },
	{ "/diskstats", 0 },
	{ "/dma", 0 },
	{ "/execdomains", 0 },
	{ "/fb", 0 },
	{ "/filesystems", 0 },
	{ "/interrupts", 0 },
	{ "/iomem", PLAIN_RIGHTS },
	{ "/ioports", PLAIN_RIGHTS },
	{ "/irq/*", 0 },
	{ "/kallsyms", PLAIN_RIGHTS },
	{ "/key-users", 0 },
	{ "/loadavg", 0 },
	{ "/locks", 0 },
	{ "/meminfo", 0 },
	{ "/misc", 0 },
	{ "/modules", PLAIN_RIGHTS },
	{ "/pagetypeinfo", 0 },
	{ "/partitions", 0 },
	/* what is written makes a trigger, which only that description has */
	{ "/pressure/*", PLAIN_TO_READ },
	{ "/schedstat", 0 },
	{ "/slabinfo", 0 },
	{ "/softirqs", 0 },
	{ "/stat", 0 },
	{ "/sys/kernel/domainname", PLAIN_NAMES },
	{ "/sys/kernel/hostname", PLAIN_NAMES },
	{ "/sys/*", 0 },
	{ "/sysrq-trigger", 0 },
	{ "/timer_list", 0 },
	{ "/tty/*", 0 },
	{ "/uptime", 0 },
	{ "/version", 0 },
	{ "/vmallocinfo", 0 },
	{ "/vmstat", 0 },
	{ "/zoneinfo", 0 },
};

/* below the directory of a task */
static const struct line task_files[] = {
	{ "/arch_status", 0 },
	{ "/autogroup", 0 },
	{ "/cgroup", 0 },
	{ "/children", 0 },
	{ "/cmdline", 0 },
	{ "/comm", 0 },
	{ "/coredump_filter", 0 },
	{ "/cpu_resctrl_groups", 0 },
	{ "/cpuset", 0 },
	{ "/environ", PLAIN_MEMORY },
	{ "/fd/*", PLAIN_NEVER },
	{ "/fdinfo/*", PLAIN_NEVER },
	/* who writes must be who has opened, user_namespaces(7) */
	{ "/gid_map", PLAIN_TO_READ },
	{ "/io", 0 },
	{ "/ksm_*", 0 },
	{ "/latency", 0 },
	{ "/limits", 0 },
	{ "/loginuid", 0 },
	{ "/map_files/*", PLAIN_NEVER },
	{ "/maps", PLAIN_MEMORY },
	{ "/mem", PLAIN_MEMORY },
	{ "/mountinfo", PLAIN_MOUNTS },
	{ "/mounts", PLAIN_MOUNTS },
	{ "/mountstats", PLAIN_MOUNTS },
	{ "/net/rpc/*", PLAIN_NOT },
	{ "/net/*", 0 },
	{ "/numa_maps", PLAIN_MEMORY },
	{ "/oom_adj", 0 },
	{ "/oom_score", 0 },
	{ "/oom_score_adj", 0 },
	{ "/pagemap", PLAIN_MEMORY | PLAIN_RIGHTS },
	{ "/personality", 0 },
	{ "/projid_map", PLAIN_TO_READ },
	{ "/sched", 0 },
	{ "/schedstat", 0 },
	{ "/sessionid", 0 },
	{ "/setgroups", PLAIN_TO_READ },
	{ "/smaps", PLAIN_MEMORY },
	{ "/smaps_rollup", PLAIN_MEMORY },
	{ "/stack", 0 },
	{ "/stat", 0 },
	{ "/statm", 0 },
	{ "/status", 0 },
	{ "/syscall", 0 },
	{ "/timens_offsets", PLAIN_TO_READ },
	{ "/timers", 0 },
	{ "/timerslack_ns", 0 },
	{ "/uid_map", PLAIN_TO_READ },
	{ "/wchan", 0 },
};

/* sysfs keeps nothing of its own in a description; a driver that does has a file of these names */
static const struct line sysfs_files[] = {
	{ "*/loading", PLAIN_NOT },               /* firmware that is being handed over */
	{ "/devices/*/config", PLAIN_RIGHTS },    /* drivers/pci/pci-sysfs.c */
	{ "/module/*/sections/*", PLAIN_RIGHTS }, /* kernel/module/sysfs.c */
	{ "*", 0 },
};

/* v1 and v2. Who may move processes is who has opened cgroup.procs, in his cgroup namespace. */
static const struct line cgroup_files[] = {
	{ "*/cgroup.event_control", PLAIN_NOT },
	{ "*/*.pressure", PLAIN_TO_READ }, /* as /proc/pressure */
	{ "*/*.peak", PLAIN_TO_READ },     /* what is written begins anew for that description */
	{ "*", PLAIN_WRITTEN },
};

size_t pseudo_task(const char *path, pid_t *ret)
{
	int pid = 0, tid = 0, n = 0, m = 0;

	*ret = 0;
	if (path[0] != '/' || path[1] < '1' || path[1] > '9' ||
	    sscanf(path, "/%d%n", &pid, &n) != 1 || (path[n] && path[n] != '/'))
		return 0;
	*ret = pid;
	if (sscanf(path + n, "/task/%d%n", &tid, &m) == 1) {
		*ret = tid;
		n += m;
	}
	return (size_t)n;
}

static unsigned proc_file(const char *path)
{
	pid_t ignored;
	size_t task = pseudo_task(path, &ignored);

	return task ? LOOK_UP(task_files, path + task) : LOOK_UP(proc_files, path);
}

static unsigned sysfs_file(const char *path)
{
	return LOOK_UP(sysfs_files, path);
}

static unsigned cgroup_file(const char *path)
{
	return LOOK_UP(cgroup_files, path);
}

/* queues of the set, by ipc_mq's leave; what mq_notify(3) asked for is a process's */
static unsigned mqueue_file(const char *path)
{
	(void)path;
	return 0;
}

static const struct pseudo_fs filesystems[] = {
	{ "proc", proc_file, PROC_SUPER_MAGIC, false },
	{ "sysfs", sysfs_file, SYSFS_MAGIC, true },
	{ "cgroup", cgroup_file, CGROUP_SUPER_MAGIC, true },
	{ "cgroup2", cgroup_file, CGROUP2_SUPER_MAGIC, true },
	{ "devpts", NULL, DEVPTS_SUPER_MAGIC, false },
	{ "mqueue", mqueue_file, 0x19800202, false }, /* ipc/mqueue.c */
	{ "debugfs", NULL, DEBUGFS_MAGIC, false },
	{ "tracefs", NULL, TRACEFS_MAGIC, false },
	{ "securityfs", NULL, SECURITYFS_MAGIC, false },
};

const struct pseudo_fs *pseudo_fs(uint32_t magic)
{
	for (size_t i = 0; i < sizeof(filesystems) / sizeof(filesystems[0]); i++)
		if (magic == filesystems[i].magic)
			return &filesystems[i];
	return NULL;
}
