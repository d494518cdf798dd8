/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sysctls of an IPC namespace: /proc/sys shows those of the namespace that opens the file. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "ipc/ipc.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

#define VALUE_MAX IPC_SETTING_MAX

/* in the order of writing; what next_id has comes last, or the next object would take it away */
static const struct setting {
	const char *name;
	const char *wide; /* the highest value; NULL: no limit */
} settings[] = {
	{ "kernel/shmmax", "18446744073692774399" },
	{ "kernel/shmall", "18446744073692774399" },
	{ "kernel/shmmni", "32768" },
	{ "kernel/shm_rmid_forced", NULL },
	{ "kernel/msgmax", "2147483647" },
	{ "kernel/msgmnb", "2147483647" },
	{ "kernel/msgmni", "32768" },
	{ "kernel/auto_msgmni", NULL },
	{ "kernel/sem", "32000 1024000000 500 32768" },
	{ "fs/mqueue/queues_max", "2147483647" },
	{ "fs/mqueue/msg_max", "65536" },
	{ "fs/mqueue/msgsize_max", "16777216" },
	{ "fs/mqueue/msg_default", NULL },
	{ "fs/mqueue/msgsize_default", NULL },
	{ "kernel/shm_next_id", NULL },
	{ "kernel/msg_next_id", NULL },
	{ "kernel/sem_next_id", NULL },
};
#define N_SETTINGS (sizeof(settings) / sizeof(settings[0]))

/* whether it is there at all: a kernel may be built without parts of this */
static int read_setting(const char *name, char value[VALUE_MAX], struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/sys/%s", name);
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return 0;
	ssize_t n = fd < 0 ? -1 : read(fd, value, VALUE_MAX);
	if (n < 0)
		return error_raise(err, errno, "read %s", path);
	if (n == 0 || n == VALUE_MAX || value[n - 1] != '\n')
		return error_raise(err, EBADMSG, "%s has no value that fits", path);
	value[n - 1] = 0;
	return 1;
}

static int write_setting(const char *name, const char *value, struct error *err)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/sys/%s", name);
	int r = file_write(path, err, "%s", value);

	return r < 0 ? error_trace(err, r) : 0;
}

int ipc_settings_read(IpcNsState *state, struct error *err)
{
	char value[VALUE_MAX];

	for (size_t i = 0; i < N_SETTINGS; i++) {
		int r = read_setting(settings[i].name, value, err);
		if (r < 0)
			return error_trace(err, r);
		if (r == 0)
			continue;
		IpcNsState__Setting *s = xmalloc(sizeof(*s));
		ipc_ns_state__setting__init(s);
		s->name = xstrdup(settings[i].name);
		s->value = xstrdup(value);
		*array_push(state->settings, state->n_settings) = s;
	}
	return 0;
}

bool ipc_setting_valid(const IpcNsState__Setting *setting)
{
	size_t size = strlen(setting->value);

	if (size == 0 || size >= VALUE_MAX || strspn(setting->value, "-0123456789\t ") != size)
		return false;
	for (size_t i = 0; i < N_SETTINGS; i++)
		if (!strcmp(setting->name, settings[i].name))
			return true;
	return false;
}

int ipc_settings_write(const IpcNsState *state, struct error *err)
{
	for (size_t i = 0; i < state->n_settings; i++) {
		const IpcNsState__Setting *s = state->settings[i];
		char now[VALUE_MAX];

		/* what is as it should be may be one that cannot be written */
		int r = read_setting(s->name, now, err);
		if (r > 0 && !strcmp(now, s->value))
			continue;
		if (r >= 0)
			r = write_setting(s->name, s->value, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

int ipc_settings_open_wide(struct error *err)
{
	for (size_t i = 0; i < N_SETTINGS; i++) {
		if (!settings[i].wide)
			continue;
		int r = write_setting(settings[i].name, settings[i].wide, err);
		if (r < 0 && r != -ENOENT)
			return error_trace(err, r);
	}
	return 0;
}

int ipc_setting_raise(const char *name, char *before, struct error *err)
{
	int r = read_setting(name, before, err);

	for (size_t i = 0; r > 0 && i < N_SETTINGS; i++)
		if (!strcmp(name, settings[i].name))
			return write_setting(name, settings[i].wide, err);
	return r < 0 ? error_trace(err, r) : error_raise(err, ENOENT, "raise %s", name);
}

int ipc_setting_restore(const char *name, const char *before, struct error *err)
{
	return before[0] ? write_setting(name, before, err) : 0;
}

int ipc_shm_forced(struct error *err)
{
	char value[VALUE_MAX];
	int r = read_setting("kernel/shm_rmid_forced", value, err);

	return r <= 0 ? r : strcmp(value, "0") != 0;
}
