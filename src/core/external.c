/* SPDX-License-Identifier: GPL-2.0-or-later */
/* External objects: the user's --external arguments, looked up by kinds. See external.h. */
#include "core/external.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util/alloc.h"
#include "util/cleanup.h"

/* checkpoint: what = KEY, name = NAME; restart: what = "fd:N" or PATH, name = NAME */
struct external {
	char *what, *name;
	bool used;
};

struct externals {
	struct external *items;
	size_t n;
};

struct externals *externals_new(void)
{
	return xcalloc(1, sizeof(struct externals));
}

void externals_free(struct externals *e)
{
	if (!e)
		return;
	for (size_t i = 0; i < e->n; i++) {
		free(e->items[i].what);
		free(e->items[i].name);
	}
	free(e->items);
	free(e);
}

static bool is_name(const char *text)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_.-";

	return text[0] && strspn(text, allowed) == strlen(text);
}

/* TYPE:[ID] or TYPE:[ID:ID], of lower case letters and decimal digits; mount:[/PATH] */
static bool is_key(const char *text)
{
	size_t type = strspn(text, "abcdefghijklmnopqrstuvwxyz_");
	const char *id = text + type;

	if (!type || strncmp(id, ":[", 2))
		return false;
	id += 2;
	if (!strncmp(text, "mount:[/", 8))
		return text[strlen(text) - 1] == ']';
	size_t n = strspn(id, "0123456789:");
	return n && id[0] != ':' && id[n - 1] != ':' && !strcmp(id + n, "]");
}

static struct external *find_name(const struct externals *e, const char *name)
{
	for (size_t i = 0; i < e->n; i++)
		if (!strcmp(e->items[i].name, name))
			return &e->items[i];
	return NULL;
}

static struct external *find_key(const struct externals *e, const char *key)
{
	for (size_t i = 0; i < e->n; i++)
		if (!strcmp(e->items[i].what, key))
			return &e->items[i];
	return NULL;
}

static void add(struct externals *e, const char *what, const char *name)
{
	struct external *item = array_push(e->items, e->n);

	item->what = xstrdup(what);
	item->name = xstrdup(name);
}

int externals_add_key(struct externals *e, const char *argument, struct error *err)
{
	_cleanup_(free_p) char *key = xstrdup(argument);
	char *equals = strrchr(key, '='); /* a path may have some, a name has none */

	if (!equals)
		return error_raise(err, EINVAL, "--external %s: it is KEY=NAME", argument);
	*equals = '\0';
	if (!is_key(key))
		return error_raise(err, EINVAL, "--external %s: KEY is pipe:[INO], tty:[DEV], ...",
		                   argument);
	if (!is_name(equals + 1))
		return error_raise(err, EINVAL, "--external %s: NAME is [A-Za-z0-9_.-]+", argument);
	if (find_key(e, key) || find_name(e, equals + 1))
		return error_raise(err, EINVAL, "--external %s: given twice", argument);
	add(e, key, equals + 1);
	return 0;
}

static bool parse_fd(const char *text, int *ret)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	long fd = strtol(text, &end, 10);
	*ret = (int)fd;
	return !errno && !*end && fd <= INT_MAX;
}

int externals_add_supply(struct externals *e, const char *argument, struct error *err)
{
	_cleanup_(free_p) char *name = xstrdup(argument);
	bool of_mount = !strncmp(argument, "mount:[/", 8);
	const char *end = of_mount ? strstr(name, "]=") : name;
	char *equals = end ? strchr(end, '=') : NULL;
	int fd;

	if (!equals || !equals[1])
		return error_raise(err, EINVAL, "--external %s: it is NAME=fd:N or NAME=PATH",
		                   argument);
	*equals = '\0';
	if (!of_mount && !is_name(name))
		return error_raise(err, EINVAL, "--external %s: NAME is [A-Za-z0-9_.-]+", argument);
	if (!strncmp(equals + 1, "fd:", 3) && !parse_fd(equals + 4, &fd))
		return error_raise(err, EINVAL, "--external %s: fd:N needs a descriptor number",
		                   argument);
	if (find_name(e, name))
		return error_raise(err, EINVAL, "--external %s: given twice", argument);
	add(e, equals + 1, name);
	return 0;
}

const char *externals_name(struct externals *e, const char *key)
{
	struct external *item = find_key(e, key);

	if (!item)
		return NULL;
	item->used = true;
	return item->name;
}

void externals_expect(struct externals *e, const char *prefix)
{
	for (size_t i = 0; i < e->n; i++)
		e->items[i].used |= !strncmp(e->items[i].what, prefix, strlen(prefix));
}

const char *externals_unused(const struct externals *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (!e->items[i].used)
			return e->items[i].what;
	return NULL;
}

bool externals_supplied(const struct externals *e, const char *name)
{
	return find_name(e, name);
}

const char *externals_unused_name(const struct externals *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (!e->items[i].used)
			return e->items[i].name;
	return NULL;
}

int externals_check(struct externals *e, const char *name, struct stat *ret, struct error *err)
{
	struct external *item = find_name(e, name);
	struct stat st;
	int fd;

	item->used = true;
	bool is_fd = !strncmp(item->what, "fd:", 3) && parse_fd(item->what + 3, &fd);
	if ((is_fd ? fstat(fd, &st) : stat(item->what, &st)) == 0) {
		if (ret)
			*ret = st;
		return 0;
	}
	error_refuse(err, CODE_external_missing, "what was supplied, %s, is not there: %s",
	             item->what, strerror(errno));
	error_object(err, "%s", name);
	error_hint(err, "--external %s=PATH (or fd:N, an open descriptor)", name);
	return -EOPNOTSUPP;
}

int externals_open(struct externals *e, const char *name, int flags, int *ret_fd, struct error *err)
{
	struct external *item = find_name(e, name);
	int fd;

	if (!item) {
		error_raise_at(err, ENOENT, CODE_external_missing, __func__, __LINE__,
		               "the external object '%s' was not supplied", name);
		error_hint(err, "--external %s=fd:N or --external %s=PATH", name, name);
		return -ENOENT;
	}
	item->used = true;
	if (!strncmp(item->what, "fd:", 3) && parse_fd(item->what + 3, &fd))
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	else
		fd = open(item->what, flags | O_CLOEXEC);
	if (fd < 0)
		return error_raise(err, errno, "open %s for the external object '%s'", item->what,
		                   name);
	*ret_fd = fd;
	return 0;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	/* nobody waits here for one who does not accept */
	_cleanup_(close_p) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return take_fd(&fd);
}

int externals_connect(struct externals *e, const char *name, int *ret_fd, struct error *err)
{
	const struct external *item = find_name(e, name);

	if (!strncmp(item->what, "fd:", 3)) {
		int r = externals_open(e, name, 0, ret_fd, err);
		return r < 0 ? error_trace(err, r) : 0;
	}
	*ret_fd = connect_to(item->what);
	return *ret_fd < 0 ? error_raise(err, errno, "connect to %s for the external object '%s'",
	                                 item->what, name)
	                   : 0;
}
