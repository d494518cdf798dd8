/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this kernel and these privileges can do: one probe per feature, run when first asked for,
 * remembered. Every fallback path hangs on feature(); STASIS_WITHOUT=name,name forces features off,
 * "all" every probe of the kernel that something works without.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

enum feature {
#define FEATURE(name, since, purpose)     FEATURE_##name,
#define CAPABILITY(name, number, purpose) FEATURE_##name,
#include "host/features.def"
#undef FEATURE
#undef CAPABILITY
	N_FEATURES
};

struct feature_info {
	const char *name;
	const char *since; /* the kernel that brought it; NULL for a capability */
	const char *purpose;
};

/* checks that STASIS_WITHOUT names only features; -EINVAL otherwise. Once, before threads start. */
int features_init(struct error *err);
/*
 * Whether a feature is there. Thread-safe; the first call may cost a short-lived child. A
 * capability is there when it is in the caller's effective set (of whatever user namespace).
 */
bool feature(enum feature f);
/* whether STASIS_WITHOUT names it: for the tracer, which must not probe */
bool feature_forced_off(enum feature f);
const struct feature_info *feature_info(enum feature f);
/* whether the caller's effective set has CAP_*; false when STASIS_WITHOUT names it */
bool features_capability(int cap);
/* before a user namespace is entered: all answers about capabilities stay what they are now */
void features_settle(void);
/* the same at this moment, whatever has been settled: in the user namespace that we are in now */
bool features_capability_now(int cap);
/* "CAP_SYS_RESOURCE" for a CAP_* number; a static string */
const char *features_capability_name(int cap);
/* whether the caller is in the initial user namespace */
bool features_initial_user_namespace(void);
