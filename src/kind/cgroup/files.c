/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interface files of cgroups. See files.h. */
#include "kind/cgroup/files.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

#define VALUE_MAX 65536

enum form {
	PLAIN,
	LINES,      /* each is written by itself */
	WORDS,      /* subtree_control: "a b" is written as "+a +b" */
	FIRST_WORD, /* what follows is the kernel's comment */
	TYPE,       /* only "threaded" is written, the rest follows from that of others */
	NUMBER,     /* "oom_kill_disable 0", and counters below it */
	PRIORITIES, /* lines; those that end with 0 are as in a new group */
	DEVICES     /* devices.list: written by devices.deny and devices.allow */
};

/*
 * In the order in which they are written. A star stands for a size of huge pages. @usual: what a
 * new group says, NULL where that is not the same everywhere.
 */
static const struct cgroup_file {
	const char *name, *usual;
	enum cgroup_phase phase;
	enum form form;
} files[] = {
	{ "cgroup.type", "domain", CGROUP_EARLY, TYPE },
	{ "cgroup.clone_children", "0", CGROUP_EARLY },
	{ "memory.use_hierarchy", NULL, CGROUP_EARLY },
	{ "cpuset.cpus", "", CGROUP_EARLY },
	{ "cpuset.mems", "", CGROUP_EARLY },
	{ "cpuset.cpus.exclusive", "", CGROUP_EARLY },
	{ "cpuset.cpus.partition", "member", CGROUP_EARLY, FIRST_WORD },
	{ "cpuset.cpu_exclusive", "0", CGROUP_EARLY },
	{ "cpuset.mem_exclusive", "0", CGROUP_EARLY },
	{ "cpuset.mem_hardwall", "0", CGROUP_EARLY },
	{ "cpuset.memory_migrate", "0", CGROUP_EARLY },
	{ "cpuset.memory_spread_page", "0", CGROUP_EARLY },
	{ "cpuset.memory_spread_slab", "0", CGROUP_EARLY },
	{ "cpuset.sched_load_balance", "1", CGROUP_EARLY },
	{ "cpuset.sched_relax_domain_level", "-1", CGROUP_EARLY },
	{ "cgroup.subtree_control", "", CGROUP_EARLY, WORDS },

	{ "cgroup.max.depth", "max", CGROUP_LATE },
	{ "cgroup.max.descendants", "max", CGROUP_LATE },
	{ "cgroup.pressure", "1", CGROUP_LATE },
	{ "notify_on_release", "0", CGROUP_LATE },
	{ "cpu.idle", "0", CGROUP_LATE },
	{ "cpu.weight", "100", CGROUP_LATE },
	{ "cpu.shares", "1024", CGROUP_LATE },
	{ "cpu.max", "max 100000", CGROUP_LATE },
	{ "cpu.max.burst", "0", CGROUP_LATE },
	{ "cpu.cfs_period_us", "100000", CGROUP_LATE },
	{ "cpu.cfs_quota_us", "-1", CGROUP_LATE },
	{ "cpu.cfs_burst_us", "0", CGROUP_LATE },
	{ "cpu.rt_period_us", "1000000", CGROUP_LATE },
	{ "cpu.rt_runtime_us", "0", CGROUP_LATE },
	{ "cpu.uclamp.min", "0.00", CGROUP_LATE },
	{ "cpu.uclamp.max", "max", CGROUP_LATE },
	{ "memory.min", "0", CGROUP_LATE },
	{ "memory.low", "0", CGROUP_LATE },
	{ "memory.high", "max", CGROUP_LATE },
	{ "memory.max", "max", CGROUP_LATE },
	{ "memory.oom.group", "0", CGROUP_LATE },
	{ "memory.swap.high", "max", CGROUP_LATE },
	{ "memory.swap.max", "max", CGROUP_LATE },
	{ "memory.zswap.max", "max", CGROUP_LATE },
	{ "memory.zswap.writeback", "1", CGROUP_LATE },
	{ "memory.limit_in_bytes", "9223372036854771712", CGROUP_LATE },
	{ "memory.memsw.limit_in_bytes", "9223372036854771712", CGROUP_LATE },
	{ "memory.shown_ram_in_bytes", "0",
	  CGROUP_LATE }, /* not mainline's: of hosts of containers */
	{ "memory.soft_limit_in_bytes", "9223372036854771712", CGROUP_LATE },
	{ "memory.kmem.limit_in_bytes", "9223372036854771712", CGROUP_LATE },
	{ "memory.kmem.tcp.limit_in_bytes", "9223372036854771712", CGROUP_LATE },
	{ "memory.swappiness", NULL, CGROUP_LATE },
	{ "memory.move_charge_at_immigrate", "0", CGROUP_LATE },
	{ "memory.oom_control", "0", CGROUP_LATE, NUMBER },
	{ "io.weight", "default 100", CGROUP_LATE, LINES },
	{ "io.bfq.weight", "default 100", CGROUP_LATE, LINES },
	{ "io.max", "", CGROUP_LATE, LINES },
	{ "io.latency", "", CGROUP_LATE, LINES },
	{ "io.prio.class", "no-change", CGROUP_LATE },
	{ "blkio.weight", NULL, CGROUP_LATE },
	{ "blkio.weight_device", "", CGROUP_LATE, LINES },
	{ "blkio.bfq.weight", "100", CGROUP_LATE },
	{ "blkio.bfq.weight_device", "", CGROUP_LATE, LINES },
	{ "blkio.prio.class", "no-change", CGROUP_LATE },
	{ "blkio.throttle.read_bps_device", "", CGROUP_LATE, LINES },
	{ "blkio.throttle.read_iops_device", "", CGROUP_LATE, LINES },
	{ "blkio.throttle.write_bps_device", "", CGROUP_LATE, LINES },
	{ "blkio.throttle.write_iops_device", "", CGROUP_LATE, LINES },
	{ "hugetlb.*.max", "max", CGROUP_LATE },
	{ "hugetlb.*.rsvd.max", "max", CGROUP_LATE },
	{ "hugetlb.*.limit_in_bytes", NULL, CGROUP_LATE },
	{ "hugetlb.*.rsvd.limit_in_bytes", NULL, CGROUP_LATE },
	{ "rdma.max", "", CGROUP_LATE, LINES },
	{ "misc.max", "", CGROUP_LATE, LINES },
	{ "dmem.min", "", CGROUP_LATE, LINES },
	{ "dmem.low", "", CGROUP_LATE, LINES },
	{ "dmem.max", "", CGROUP_LATE, LINES },
	{ "net_cls.classid", "0", CGROUP_LATE },
	{ "net_prio.ifpriomap", "", CGROUP_LATE, PRIORITIES },
	{ "devices.list", "a *:* rwm", CGROUP_LATE, DEVICES },
	{ "pids.max", "max", CGROUP_LATE },

	{ "cgroup.freeze", "0", CGROUP_FREEZER },
	{ "freezer.state", "THAWED", CGROUP_FREEZER },

	/* membership is the kind cgroup's */
	{ "cgroup.procs", NULL, CGROUP_STATE },
	{ "cgroup.threads", NULL, CGROUP_STATE },
	{ "tasks", NULL, CGROUP_STATE },
	/* the same as cpu.weight */
	{ "cpu.weight.nice", NULL, CGROUP_STATE },
	/* triggers belong to descriptors */
	{ "*.pressure", NULL, CGROUP_STATE },
	/* high-water marks, and counters that can only be reset */
	{ "*.peak", NULL, CGROUP_STATE },
	{ "*.failcnt", NULL, CGROUP_STATE },
	{ "*.max_usage_in_bytes", NULL, CGROUP_STATE },
	{ "cpuacct.usage", NULL, CGROUP_STATE },
	/* not settings of a group */
	{ "cpuset.memory_pressure", NULL, CGROUP_STATE },
	{ "cgroup.event_control", NULL, CGROUP_STATE },
};

#define N_FILES (sizeof(files) / sizeof(files[0]))

const struct cgroup_file *cgroup_file_find(const char *name)
{
	for (size_t i = 0; i < N_FILES; i++)
		if (fnmatch(files[i].name, name, 0) == 0)
			return &files[i];
	return NULL;
}

enum cgroup_phase cgroup_file_phase(const struct cgroup_file *file)
{
	return file->phase;
}

int cgroup_file_compare(const struct cgroup_file *a, const struct cgroup_file *b)
{
	return (a > b) - (a < b);
}

/* ---- reading ---- */

static int read_text(int dir, const char *name, char **ret, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	ssize_t size = file_read(dir, name, &text);

	if (size < 0 || size > VALUE_MAX)
		return error_raise(err, size < 0 ? (int)-size : E2BIG, "read the cgroup's %s",
		                   name);
	while (size && text[size - 1] == '\n')
		size--;
	text[size] = 0;
	*ret = take_ptr(text);
	return 0;
}

/* keeps the lines that do not end with a priority of 0 */
static void drop_zeros(char *text)
{
	char *to = text;

	while (*text) {
		size_t size = strcspn(text, "\n"), whole = size + (text[size] == '\n');
		if (size < 2 || memcmp(text + size - 2, " 0", 2) != 0) {
			memmove(to, text, whole);
			to += whole;
		}
		text += whole;
	}
	*to = 0;
}

static void normalize(const struct cgroup_file *file, char *text)
{
	char *space = strchr(text, ' ');

	switch (file->form) {
	case FIRST_WORD:
		text[strcspn(text, " ")] = 0;
		break;
	case TYPE:
		if (strcmp(text, "threaded") != 0)
			snprintf(text, strlen(text) + 1, "domain");
		break;
	case NUMBER:
		if (space)
			memmove(text, space + 1, strlen(space));
		text[strcspn(text, "\n")] = 0;
		break;
	case PRIORITIES:
		drop_zeros(text);
		break;
	case PLAIN:
	case LINES:
	case WORDS:
	case DEVICES:
		break;
	}
}

static int read_setting(int dir, const struct cgroup_file *file, const char *name, char **ret,
                        struct error *err)
{
	int r = read_text(dir, name, ret, err);

	if (r < 0)
		return error_trace(err, r);
	normalize(file, *ret);
	return 0;
}

int cgroup_file_read(int dir, const char *name, char **ret, struct error *err)
{
	const struct cgroup_file *file = cgroup_file_find(name);
	_cleanup_(free_p) char *text = NULL;

	*ret = NULL;
	int r = read_setting(dir, file, name, &text, err);
	if (r == -EOPNOTSUPP) /* not in this type of group */
		return 0;
	if (r < 0)
		return error_trace(err, r);
	if (!file->usual || strcmp(text, file->usual) != 0)
		*ret = take_ptr(text);
	return 0;
}

/* ---- writing ---- */

static int write_text(int dir, const char *name, const char *text, size_t size, struct error *err)
{
	_cleanup_(close_p) int fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || write(fd, text, size) != (ssize_t)size) {
		int e = error_raise(err, errno, "write '%.*s' to the cgroup's %s",
		                    (int)(size > 80 ? 80 : size), text, name);
		error_hint(err, "restart with --cgroup ignore, or make the group beforehand");
		return e;
	}
	return 0;
}

/* each word with a plus sign, or each line as it is */
static int write_parts(int dir, const char *name, const char *text, const char *separator,
                       const char *prefix, struct error *err)
{
	while (*text) {
		size_t size = strcspn(text, separator);
		_cleanup_(free_p) char *part = xasprintf("%s%.*s", prefix, (int)size, text);
		int e = size ? write_text(dir, name, part, strlen(part), err) : 0;
		if (e < 0)
			return error_trace(err, e);
		text += size + (text[size] != 0);
	}
	return 0;
}

static int write_devices(int dir, const char *value, struct error *err)
{
	int e = write_text(dir, "devices.deny", "a", 1, err);

	if (e == 0)
		e = write_parts(dir, "devices.allow", value, "\n", "", err);
	return e < 0 ? error_trace(err, e) : 0;
}

static int write_setting(int dir, const struct cgroup_file *file, const char *name,
                         const char *value, struct error *err)
{
	switch (file->form) {
	case LINES:
	case PRIORITIES:
		return write_parts(dir, name, value, "\n", "", err);
	case WORDS:
		return write_parts(dir, name, value, " ", "+", err);
	case DEVICES:
		return write_devices(dir, value, err);
	case PLAIN:
	case FIRST_WORD:
	case TYPE:
	case NUMBER:
		break;
	}
	return write_text(dir, name, value, strlen(value), err);
}

int cgroup_file_write(int dir, const char *name, const char *value, struct error *err)
{
	const struct cgroup_file *file = cgroup_file_find(name);
	_cleanup_(free_p) char *have = NULL;
	int e = read_setting(dir, file, name, &have, err);

	if (e < 0)
		return error_trace(err, e);
	if (!strcmp(have, value))
		return 0;
	e = write_setting(dir, file, name, value, err);
	if (e < 0)
		return error_trace(err, e);
	free_p(&have);
	e = read_setting(dir, file, name, &have, err);
	if (e < 0)
		return error_trace(err, e);
	if (strcmp(have, value) != 0) {
		e = error_raise(err, EINVAL,
		                "give the cgroup's %s the value '%.80s': it is '%.80s'", name,
		                value, have);
		error_hint(err, "restart with --cgroup ignore, or make the group beforehand");
		return e;
	}
	return 0;
}
