/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Credentials in /proc, and those of this process. See own.h. */
#include "kind/cred/own.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "core/restart.h"
#include "host/features.h"
#include "proc/status.h"
#include "util/alloc.h"
#include "util/cleanup.h"

int cred_parse_groups(const char *status, uint32_t **ret, size_t *ret_n, struct error *err)
{
	const char *p = strstr(status, "\nGroups:");

	*ret = NULL;
	*ret_n = 0;
	if (!p)
		return error_raise(err, EBADMSG, "/proc/PID/status has no line of groups");
	p += strlen("\nGroups:");
	/* not beyond the line, though strtoul() skips white space of any kind */
	for (p += strspn(p, " \t"); *p >= '0' && *p <= '9'; p += strspn(p, " \t")) {
		char *end;
		*array_push(*ret, *ret_n) = (uint32_t)strtoul(p, &end, 10);
		p = end;
	}
	return 0;
}

/* what the restart may use: effective, and not switched off for a test */
static uint64_t usable(uint64_t permitted)
{
	uint64_t set = 0;

	for (int cap = 0; cap < 64; cap++)
		if (permitted >> cap & 1 && features_capability(cap))
			set |= 1ull << cap;
	return set;
}

uint64_t cred_all_capabilities(void)
{
	_cleanup_(fclose_p) FILE *f = fopen("/proc/sys/kernel/cap_last_cap", "re");
	unsigned last;

	return f && fscanf(f, "%u", &last) == 1 && last < 63 ? (2ull << last) - 1 : 0;
}

static int read_status(int fd, char **ret, struct error *err)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	_cleanup_(fclose_p) FILE *f = copy < 0 ? NULL : fdopen(copy, "r");
	size_t room = 0;

	*ret = NULL;
	if (!f || fseek(f, 0, SEEK_SET) < 0 || getdelim(ret, &room, 0, f) < 0)
		return error_raise(err, errno ? errno : ENODATA, "read /proc/self/status");
	return 0;
}

int cred_base_read(const struct restart *r, struct cred_base *ret, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	struct proc_status status = { 0 };
	char unknown[64];
	int e = read_status(r->own_status, &text, err);

	if (!text)
		return error_trace(err, e);
	if (e == 0)
		e = proc_status_parse(text, &status, unknown, err);
	if (e == 0)
		e = cred_parse_groups(text, &ret->groups, &ret->n_groups, err);
	if (e < 0)
		return error_trace(err, e);
	memcpy(ret->uid, status.uid, sizeof(ret->uid));
	memcpy(ret->gid, status.gid, sizeof(ret->gid));
	ret->own_user = r->own_user;
	ret->inheritable = status.cap_inheritable;
	ret->permitted = r->own_user ? status.cap_permitted : usable(status.cap_permitted);
	ret->bounding = status.cap_bounding;
	ret->ambient = status.cap_ambient;
	ret->securebits = (uint32_t)prctl(PR_GET_SECUREBITS);
	return 0;
}

uint32_t cred_login_uid(const char *text)
{
	char *end;
	unsigned long long id = strtoull(text, &end, 10);

	return end == text || id >= UINT32_MAX ? 0 : (uint32_t)id + 1;
}

size_t cred_label_size(const char *text)
{
	size_t size = strlen(text);

	while (size && text[size - 1] == '\n')
		size--;
	return size;
}
