/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel and our privileges allow, and what is forced off. See features.h. */
#include "host/features.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/probes.h"

#define CAP_MASK(cap) (1ull << (cap))

static const struct feature_info infos[] = {
#define FEATURE(name, since, purpose)     { #name, since, purpose },
#define CAPABILITY(name, number, purpose) { #name, NULL, purpose },
#include "host/features.def"
#undef FEATURE
#undef CAPABILITY
};

static const char *const capability_names[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};

/* ---- capabilities ---- */

static uint64_t effective_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(__NR_capget, &header, data) < 0)
		return 0;
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

#define FEATURE(name, since, purpose)
#define CAPABILITY(name, number, purpose)                           \
	static bool probe_##name(void)                              \
	{                                                           \
		return effective_capabilities() & CAP_MASK(number); \
	}
#include "host/features.def"
#undef FEATURE
#undef CAPABILITY

static bool (*const probes[])(void) = {
#define FEATURE(name, since, purpose)     probe_##name,
#define CAPABILITY(name, number, purpose) probe_##name,
#include "host/features.def"
#undef FEATURE
#undef CAPABILITY
};

/* ---- the answers ---- */

/* what nothing works without, or what is missing to users rather than to kernels: "all" leaves it
 */
static bool is_essential(enum feature f)
{
	return f == FEATURE_map_files || f == FEATURE_kcmp || f == FEATURE_pidfd_getfd ||
	       f == FEATURE_clone3_set_tid || f == FEATURE_set_mm_map || f == FEATURE_ptrace_rseq;
}

/* whether the comma-separated list in STASIS_WITHOUT has this name, or "all" and it is a probe */
bool feature_forced_off(enum feature f)
{
	const char *name = infos[f].name;
	const char *list = getenv("STASIS_WITHOUT");
	size_t size = strlen(name);

	while (list && *list) {
		size_t n = strcspn(list, ",");
		if (n == size && !memcmp(list, name, n))
			return true;
		if (n == 3 && !memcmp(list, "all", n) && infos[f].since && !is_essential(f))
			return true;
		list += n + (list[n] == ',');
	}
	return false;
}

bool feature(enum feature f)
{
	enum { UNKNOWN, ABSENT, PRESENT };
	static atomic_int answers[N_FEATURES];
	int answer = atomic_load(&answers[f]);

	/* two threads may both probe: harmless, and they find the same */
	if (answer == UNKNOWN) {
		answer = !feature_forced_off(f) && probes[f]() ? PRESENT : ABSENT;
		atomic_store(&answers[f], answer);
	}
	return answer == PRESENT;
}

const struct feature_info *feature_info(enum feature f)
{
	return &infos[f];
}

int features_init(struct error *err)
{
	const char *list = getenv("STASIS_WITHOUT");

	while (list && *list) {
		size_t n = strcspn(list, ",");
		bool known = n == 0 || (n == 3 && !memcmp(list, "all", n));
		for (size_t i = 0; i < N_FEATURES && !known; i++)
			known = strlen(infos[i].name) == n && !memcmp(infos[i].name, list, n);
		if (!known)
			return error_raise(err, EINVAL,
			                   "STASIS_WITHOUT: no feature is called '%.*s'", (int)n,
			                   list);
		list += n + (list[n] == ',');
	}
	return 0;
}

static enum feature feature_of_capability(int cap)
{
	switch (cap) {
#define FEATURE(name, since, purpose)
#define CAPABILITY(name, number, purpose) \
	case number:                      \
		return FEATURE_##name;
#include "host/features.def"
#undef FEATURE
#undef CAPABILITY
	default:
		return N_FEATURES;
	}
}

void features_settle(void)
{
	for (int cap = 0; cap < 64; cap++)
		features_capability(cap);
}

bool features_capability_now(int cap)
{
	enum feature f = feature_of_capability(cap);

	return !(f != N_FEATURES && feature_forced_off(f)) &&
	       effective_capabilities() & CAP_MASK(cap);
}

bool features_capability(int cap)
{
	enum feature f = feature_of_capability(cap);

	if (f != N_FEATURES)
		return feature(f);
	return cap >= 0 && cap < 64 && effective_capabilities() & CAP_MASK(cap);
}

const char *features_capability_name(int cap)
{
	if (cap < 0 || (size_t)cap >= sizeof(capability_names) / sizeof(capability_names[0]))
		return "an unknown capability";
	return capability_names[cap];
}

bool features_initial_user_namespace(void)
{
	/* the initial one maps all ids to themselves; 4026531837 is PROC_USER_INIT_INO */
	struct stat st;

	return stat("/proc/self/ns/user", &st) == 0 && st.st_ino == 0xEFFFFFFDu;
}
