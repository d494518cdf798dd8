/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /proc/PID/status. See status.h. The table below names every key of the kernels from 6.1 to 6.18
 * and says what becomes of it; a key that is not here is reported as unknown state.
 */
#include "proc/status.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum form {
	IGNORE,
	DECIMAL32,
	UNSIGNED32,
	INT, /* printed as 0 or 1, -1 when absent */
	OCTAL,
	HEX64,
	UNSIGNED64,
	IDS,  /* four numbers */
	PIDS, /* one number per pid namespace, outermost first */
	TEXT48,
	TEXT64,
};

static const struct key {
	const char *name;
	enum form form;
	size_t offset;
} keys[] = {
#define AT(field) offsetof(struct proc_status, field)
	{ "Umask", OCTAL, AT(umask) }, /* saved: fs */
	{ "TracerPid", DECIMAL32, AT(tracer_pid) },
	{ "Uid", IDS, AT(uid) },              /* saved: creds */
	{ "Gid", IDS, AT(gid) },              /* saved: creds */
	{ "NStgid", PIDS, AT(ns_tgid) },      /* saved: task */
	{ "NSpid", PIDS, AT(ns_pid) },        /* saved: task */
	{ "NSpgid", PIDS, AT(ns_pgid) },      /* saved: task */
	{ "NSsid", PIDS, AT(ns_sid) },        /* saved: task */
	{ "SigPnd", HEX64, AT(sig_pending) }, /* saved with siginfo: sigpending */
	{ "ShdPnd", HEX64, AT(shared_pending) },
	{ "SigBlk", HEX64, AT(sig_blocked) }, /* saved: thread */
	{ "SigIgn", HEX64, AT(sig_ignored) }, /* saved: sighand */
	{ "SigCgt", HEX64, AT(sig_caught) },  /* saved: sighand */
	{ "CapInh", HEX64, AT(cap_inheritable) },
	{ "CapPrm", HEX64, AT(cap_permitted) },
	{ "CapEff", HEX64, AT(cap_effective) },
	{ "CapBnd", HEX64, AT(cap_bounding) },
	{ "CapAmb", HEX64, AT(cap_ambient) },
	{ "NoNewPrivs", INT, AT(no_new_privs) },
	{ "Seccomp", UNSIGNED32, AT(seccomp) },
	{ "Seccomp_filters", UNSIGNED32, AT(seccomp_filters) },
	{ "THP_enabled", DECIMAL32, AT(thp_enabled) },
	{ "untag_mask", HEX64, AT(untag_mask) }, /* LAM (6.4): refused unless off */
	{ "Speculation_Store_Bypass", TEXT48, AT(speculation_store_bypass) },
	{ "SpeculationIndirectBranch", TEXT48, AT(speculation_indirect_branch) },
	{ "x86_Thread_features", TEXT64, AT(x86_thread_features) }, /* refused: shadow stack */
	{ "x86_Thread_features_locked", TEXT64, AT(x86_thread_features_locked) },
	{ "Threads", UNSIGNED64, AT(threads) }, /* derived: the set's tasks */
#undef AT
	{ "Name" },     /* saved: task, from comm (this one is escaped) */
	{ "State" },    /* saved: task, from stat */
	{ "Tgid" },     /* saved: task */
	{ "Pid" },      /* saved: task */
	{ "PPid" },     /* saved: task */
	{ "Ngid" },     /* irrelevant: NUMA balancing group, found anew by the scheduler */
	{ "FDSize" },   /* irrelevant: allocated slots, grows as needed */
	{ "Groups" },   /* saved: creds, which reads it itself */
	{ "Kthread" },  /* derived (6.11): kernel threads have no memory and are never in a set */
	{ "VmPeak" },   /* irrelevant: a statistic */
	{ "VmSize" },   /* derived: mm's mappings */
	{ "VmLck" },    /* derived: mm's mappings */
	{ "VmPin" },    /* derived: pins belong to descriptors of kinds that are refused */
	{ "VmHWM" },    /* irrelevant: a statistic */
	{ "VmRSS" },    /* derived: mm */
	{ "RssAnon" },  /* derived: mm */
	{ "RssFile" },  /* derived: mm */
	{ "RssShmem" }, /* derived: mm */
	{ "VmData" },   /* derived: mm */
	{ "VmStk" },    /* derived: mm */
	{ "VmExe" },    /* derived: mm */
	{ "VmLib" },    /* derived: mm */
	{ "VmPTE" },    /* irrelevant: page tables' size */
	{ "VmSwap" },   /* irrelevant: where the kernel keeps a page */
	{ "HugetlbPages" }, /* derived: mm */
	{ "CoreDumping" },  /* derived: a dumping task is dying, the freeze waits for its end */
	{ "SigQ" },         /* derived: sigpending */
	{ "Cpus_allowed" }, /* saved: sched */
	{ "Cpus_allowed_list" },
	{ "Mems_allowed" }, /* derived: cgroup (cpuset) */
	{ "Mems_allowed_list" },
	{ "voluntary_ctxt_switches" },    /* irrelevant: a statistic; documented */
	{ "nonvoluntary_ctxt_switches" }, /* irrelevant: a statistic; documented */
};

static int parse_list(const char *text, size_t max, int64_t *ret, size_t *ret_n)
{
	size_t n = 0;

	for (;;) {
		while (*text == ' ' || *text == '\t')
			text++;
		if (!*text)
			break;
		char *end;
		long long v = strtoll(text, &end, 10);
		if (end == text || n == max)
			return -EBADMSG;
		ret[n++] = v;
		text = end;
	}
	*ret_n = n;
	return 0;
}

static int parse_number(const char *text, int base, bool negative, int64_t *ret)
{
	char *end;

	errno = 0;
	if (*text == '-' && !negative)
		return -EBADMSG;
	*ret = *text == '-' ? strtoll(text, &end, base) : (int64_t)strtoull(text, &end, base);
	while (*end == ' ' || *end == '\t')
		end++;
	return end == text || errno || *end ? -EBADMSG : 0;
}

static int parse_ids(struct proc_status *s, const struct key *key, const char *text)
{
	int64_t list[PROC_NS_LEVELS];
	size_t n;

	if (parse_list(text, key->form == IDS ? 4 : PROC_NS_LEVELS, list, &n) < 0)
		return -EBADMSG;
	if (key->form == IDS) {
		uint32_t *to = (void *)((char *)s + key->offset);
		for (size_t i = 0; i < 4; i++)
			to[i] = (uint32_t)(i < n ? list[i] : 0);
		return n == 4 ? 0 : -EBADMSG;
	}
	pid_t *to = (void *)((char *)s + key->offset);
	for (size_t i = 0; i < n; i++)
		to[i] = (pid_t)list[i];
	if (s->n_ns_pids && s->n_ns_pids != n)
		return -EBADMSG;
	s->n_ns_pids = n;
	return n ? 0 : -EBADMSG;
}

static int parse_value(struct proc_status *s, const struct key *key, const char *text)
{
	void *to = (char *)s + key->offset;
	int64_t v;

	switch (key->form) {
	case IGNORE:
		return 0;
	case IDS:
	case PIDS:
		return parse_ids(s, key, text);
	case TEXT48:
	case TEXT64: {
		size_t room = key->form == TEXT48 ? 48 : 64;
		if (strlen(text) >= room)
			return -EBADMSG;
		strcpy(to, text);
		return 0;
	}
	case OCTAL:
		s->has_umask = true;
		if (parse_number(text, 8, false, &v) < 0)
			return -EBADMSG;
		*(uint32_t *)to = (uint32_t)v;
		return 0;
	case DECIMAL32:
	case UNSIGNED32:
		if (parse_number(text, 10, true, &v) < 0)
			return -EBADMSG;
		*(uint32_t *)to = (uint32_t)v;
		return 0;
	case INT:
		if (parse_number(text, 10, false, &v) < 0)
			return -EBADMSG;
		*(bool *)to = v != 0;
		return 0;
	case HEX64:
	case UNSIGNED64:
		if (parse_number(text, key->form == HEX64 ? 16 : 10, false, &v) < 0)
			return -EBADMSG;
		*(uint64_t *)to = (uint64_t)v;
		return 0;
	}
	return -EBADMSG;
}

static const struct key *find_key(const char *name, size_t *cursor)
{
	const size_t n = sizeof(keys) / sizeof(keys[0]);

	/* the kernel prints them in one order, which the table nearly follows: go on from there */
	for (size_t i = 0; i < n; i++) {
		const struct key *key = &keys[(*cursor + i) % n];
		if (!strcmp(key->name, name)) {
			*cursor = (*cursor + i + 1) % n;
			return key;
		}
	}
	return NULL;
}

static int parse_line(char *line, struct proc_status *ret, size_t *cursor, char unknown[64])
{
	char *colon = strchr(line, ':');

	if (!colon)
		return -EBADMSG;
	*colon = 0;
	const struct key *key = find_key(line, cursor);
	if (!key) {
		if (!*unknown)
			snprintf(unknown, 64, "%.63s", line);
		return 0;
	}
	char *value = colon + 1;
	value += strspn(value, " \t");
	size_t size = strlen(value);
	while (size && (value[size - 1] == ' ' || value[size - 1] == '\t'))
		value[--size] = 0;
	return parse_value(ret, key, value);
}

int proc_status_parse(const char *text, struct proc_status *ret, char ret_unknown[64],
                      struct error *err)
{
	size_t cursor = 0;
	char line[2048];

	memset(ret, 0, sizeof(*ret));
	ret->thp_enabled = -1;
	ret->untag_mask = UINT64_MAX;
	*ret_unknown = 0;
	while (*text) {
		size_t size = strcspn(text, "\n");
		/* a long list of groups or CPUs is of no interest here; its key is */
		size_t kept = size < sizeof(line) ? size : sizeof(line) - 1;
		memcpy(line, text, kept);
		line[kept] = 0;
		if (parse_line(line, ret, &cursor, ret_unknown) < 0)
			return error_raise(err, EBADMSG, "/proc/PID/status: bad line \"%.60s\"",
			                   line);
		text += size;
		if (*text == '\n')
			text++;
	}
	if (!ret->n_ns_pids)
		return error_raise(err, EBADMSG, "/proc/PID/status has no NSpid line");
	return 0;
}
