/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cgroup membership. Memory is charged to the group that a process is in when it gets it, and the
 * charge never moves: so a stub joins before it has memory, and before it clones (what it clones
 * is born in its groups). Threads may be in other groups than their process.
 */
#include "kind/cgroup.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/restart.h"
#include "kind/cgroup_tree.h"
#include "proc/cgroup.h"
#include "task/stub.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define MEMBERSHIPS_MAX 64
#define TEXT_MAX        4096

/* ---- /proc/PID/cgroup ---- */

bool cgroup_same(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len));
}

/* "ID:CONTROLLERS:PATH"; the id differs from host to host */
static bool parse_line(const char *line, size_t size, CgroupState *s)
{
	const char *colon = memchr(line, ':', size);
	const char *end = line + size;
	const char *path = colon ? memchr(colon + 1, ':', (size_t)(end - colon - 1)) : NULL;

	if (!path)
		return false;
	CgroupMembership *m = xmalloc(sizeof(*m));
	cgroup_membership__init(m);
	m->hierarchy = bytes_copy(colon + 1, (size_t)(path - colon - 1));
	m->path = bytes_copy(path + 1, (size_t)(end - path - 1));
	*array_push(s->memberships, s->n_memberships) = m;
	return true;
}

static int by_hierarchy(const void *a, const void *b)
{
	const CgroupMembership *x = *(CgroupMembership *const *)a,
			       *y = *(CgroupMembership *const *)b;
	size_t n = x->hierarchy.len < y->hierarchy.len ? x->hierarchy.len : y->hierarchy.len;
	int order = n ? memcmp(x->hierarchy.data, y->hierarchy.data, n) : 0;

	if (order)
		return order;
	return (x->hierarchy.len > y->hierarchy.len) - (x->hierarchy.len < y->hierarchy.len);
}

int cgroup_parse(const char *text, CgroupState **ret, struct error *err)
{
	CgroupState *s = xmalloc(sizeof(*s));

	cgroup_state__init(s);
	while (*text) {
		size_t size = strcspn(text, "\n");
		if (!parse_line(text, size, s)) {
			cgroup_state__free_unpacked(s, NULL);
			return error_raise(err, EBADMSG, "/proc/PID/cgroup is malformed");
		}
		text += size + (text[size] == '\n');
	}
	if (s->n_memberships)
		qsort(s->memberships, s->n_memberships, sizeof(s->memberships[0]), by_hierarchy);
	*ret = s;
	return 0;
}

bool cgroup_is_outside(const char *path)
{
	for (const char *p = path; (p = strstr(p, "/.."));) {
		p += 3;
		if (*p == 0 || *p == '/')
			return true;
	}
	return *path != '/';
}

/* ---- who may move whom ---- */

/* NULL: nothing that can be seen; else why processes may not be moved to @path by us */
static const char *why_not_there(const char *hierarchy, const char *path)
{
	_cleanup_(free_p) char *directory = cgroup_directory(hierarchy, path);
	_cleanup_(free_p) char *procs = directory ? xasprintf("%s/cgroup.procs", directory) : NULL;

	return procs && access(procs, F_OK) == 0 && access(procs, W_OK) < 0
	               ? "this user may not move processes there"
	               : NULL;
}

/*
 * In v2 who moves a process must be allowed to write to the cgroup.procs of the group that both are
 * below, too: cgroups(7), "Cgroups v2 delegation". @own: where we are.
 */
static const char *why_not_moved(const CgroupState *own, const CgroupMembership *to)
{
	const CgroupMembership *from = cgroup_in(own, &to->hierarchy);
	_cleanup_(free_p) char *a = from ? bytes_text(&from->path) : NULL;
	_cleanup_(free_p) char *b = bytes_text(&to->path);
	size_t n = 0, common = 0;

	if (!a || to->hierarchy.len)
		return NULL;
	for (; a[n] && a[n] == b[n]; n++)
		common = a[n] == '/' ? n : common;
	if ((!a[n] || a[n] == '/') && (!b[n] || b[n] == '/'))
		common = n;
	b[common ? common : 1] = 0;
	return why_not_there("", b) ? "this user may not move processes from the group of stasis "
	                              "to there"
	                            : NULL;
}

/* ---- checkpoint ---- */

/* whether a restart by this user, from the group that we are in now, could move tasks there */
static int judge_moves(struct checkpoint *c, const struct task *task, const CgroupState *s,
                       struct error *err)
{
	CgroupState *own = NULL;
	struct error refusal;
	int r = cgroup_read_of(0, &own, err);

	for (size_t i = 0; r == 0 && i < s->n_memberships; i++) {
		const CgroupMembership *m = s->memberships[i];
		const CgroupMembership *here = cgroup_in(own, &m->hierarchy);
		_cleanup_(free_p) char *hierarchy = bytes_text(&m->hierarchy);
		_cleanup_(free_p) char *path = bytes_text(&m->path);
		if (!here || cgroup_same(&here->path, &m->path) || cgroup_is_outside(path))
			continue;
		const char *why = why_not_there(hierarchy, path);
		why = why ? why : why_not_moved(own, m);
		if (!why)
			continue;
		error_refuse(&refusal, CODE_cgroup_permission, "%s", why);
		error_object(&refusal, "cgroup %s:%s", *hierarchy ? hierarchy : "v2", path);
		error_hint(&refusal, "run stasis in that group or beside it, or with --cgroup "
		                     "ignore");
		refuse(c, task, &refusal);
	}
	if (own)
		cgroup_state__free_unpacked(own, NULL);
	return r < 0 ? error_trace(err, r) : 0;
}

static void judge_paths(struct checkpoint *c, const struct task *task, const CgroupState *s)
{
	struct error refusal;

	for (size_t i = 0; i < s->n_memberships; i++) {
		_cleanup_(free_p) char *path = bytes_text(&s->memberships[i]->path);
		if (!cgroup_is_outside(path))
			continue;
		error_refuse(&refusal, CODE_cgroup_outside,
		             "its cgroup is outside of the hierarchy that stasis sees");
		error_object(&refusal, "%s", path);
		error_hint(&refusal, "run stasis outside of its cgroup namespace, or with --cgroup "
		                     "ignore");
		refuse(c, task, &refusal);
	}
}

static int cgroup_collect(struct checkpoint *c, struct task *task, struct error *err)
{
	_cleanup_(free_p) char *text = NULL;
	CgroupState *s = NULL;

	if (c->options->cgroup == CGROUP_IGNORE)
		return 0;
	int r = task_read(task, "cgroup", &text, NULL, err);
	if (r == -ENOENT) /* no CONFIG_CGROUPS */
		return 0;
	if (r == 0)
		r = cgroup_parse(text, &s, err);
	if (r < 0 || !s)
		return error_trace(err, r);
	judge_paths(c, task, s);
	struct object *object = objects_get_equal(c->objects, &cgroup_kind, &s->base);
	task_refer(task, object);
	const CgroupState *state = object_state(object, CgroupState);
	if (object->n_users == 1)
		r = judge_moves(c, task, state, err);
	if (r == 0 && object->n_users == 1)
		r = cgroup_tree_collect_below(c, task, state, err);
	if (r == 0)
		r = cgroup_tree_collect_root(c, task, state, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

static bool is_text(const ProtobufCBinaryData *bytes)
{
	return bytes->len < TEXT_MAX && !bytes_have_nul(bytes);
}

int cgroup_validate_memberships(CgroupMembership *const *m, size_t n, struct error *err)
{
	if (n > MEMBERSHIPS_MAX)
		return error_raise(err, EBADMSG, "%zu cgroups", n);
	for (size_t i = 0; i < n; i++) {
		if (!is_text(&m[i]->hierarchy) || !is_text(&m[i]->path))
			return error_raise(err, EBADMSG, "a name that is too long, or has a NUL");
		_cleanup_(free_p) char *path = bytes_text(&m[i]->path);
		if (cgroup_is_outside(path))
			return error_raise(err, EBADMSG, "the path %.60s", path);
		if (i && by_hierarchy(&m[i - 1], &m[i]) >= 0)
			return error_raise(err, EBADMSG, "hierarchies are out of order");
	}
	return 0;
}

static int cgroup_validate(const struct objects *objects, const struct object *object,
                           struct error *err)
{
	const CgroupState *s = object_state(object, CgroupState);

	if (s->n_memberships == 0)
		return error_raise(err, EBADMSG, "no cgroups");
	int r = cgroup_validate_memberships(s->memberships, s->n_memberships, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int cgroup_read_of(pid_t tid, CgroupState **ret, struct error *err)
{
	_cleanup_(free_p) char *path = tid ? xasprintf("/proc/%d/cgroup", tid)
	                                   : xstrdup("/proc/self/cgroup");
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	_cleanup_(free_p) char *text = NULL;
	size_t room = 0;

	if (!f)
		return error_raise(err, errno, "open %s", path);
	if (getdelim(&text, &room, 0, f) < 0)
		return error_raise(err, errno ? errno : ENODATA, "read %s", path);
	int e = cgroup_parse(text, ret, err);
	return e < 0 ? error_trace(err, e) : 0;
}

const CgroupMembership *cgroup_in(const CgroupState *state, const ProtobufCBinaryData *hierarchy)
{
	for (size_t i = 0; i < state->n_memberships; i++)
		if (cgroup_same(&state->memberships[i]->hierarchy, hierarchy))
			return state->memberships[i];
	return NULL;
}

/* whether @have is in the group @path of that hierarchy */
static bool is_member(const CgroupState *have, const ProtobufCBinaryData *hierarchy,
                      const char *path)
{
	const CgroupMembership *m = cgroup_in(have, hierarchy);

	return m && m->path.len == strlen(path) && !memcmp(m->path.data, path, m->path.len);
}

void cgroup_refuse(struct restart *r, enum code code, const char *hierarchy, const char *path,
                   const char *why)
{
	struct error refusal;

	error_refuse(&refusal, code, "%s", why);
	error_object(&refusal, "cgroup %s:%s", *hierarchy ? hierarchy : "v2", path);
	error_hint(&refusal, "make the group, or restart with --cgroup ignore");
	restart_refuse(r, &refusal);
}

/* -1: there is no such file */
static int read_flag(const char *directory, const char *file)
{
	_cleanup_(free_p) char *path = xasprintf("%s/%s", directory, file);
	_cleanup_(fclose_p) FILE *f = fopen(path, "re");
	int flag;

	return f && fscanf(f, "%d", &flag) == 1 ? flag : -1;
}

bool cgroup_is_frozen(const char *directory)
{
	_cleanup_(free_p) char *group = xstrdup(directory);

	if (read_flag(group, "freezer.self_freezing") > 0 ||
	    read_flag(group, "freezer.parent_freezing") > 0)
		return true;
	for (;;) { /* the root of cgroup v2 has no such file, what it is mounted in neither */
		int flag = read_flag(group, "cgroup.freeze");
		char *slash = strrchr(group, '/');
		if (flag != 0 || !slash)
			return flag > 0;
		*slash = 0;
	}
}

char *cgroup_frozen_of(const char *text)
{
	CgroupState *s = NULL;
	struct error ignored;
	char *found = NULL;

	if (cgroup_parse(text, &s, &ignored) < 0)
		return NULL;
	for (size_t i = 0; i < s->n_memberships && !found; i++) {
		_cleanup_(free_p) char *hierarchy = bytes_text(&s->memberships[i]->hierarchy);
		_cleanup_(free_p) char *path = bytes_text(&s->memberships[i]->path);
		_cleanup_(free_p) char *directory = NULL;
		if (*hierarchy && !strstr(hierarchy, "freezer"))
			continue;
		directory = cgroup_directory(hierarchy, path);
		if (directory && cgroup_is_frozen(directory))
			found = xasprintf("%s:%s", *hierarchy ? hierarchy : "v2", path);
	}
	cgroup_state__free_unpacked(s, NULL);
	return found;
}

static void check_move(struct restart *r, const CgroupState *own, const CgroupMembership *to)
{
	_cleanup_(free_p) char *path = bytes_text(&to->path);
	const char *why = why_not_moved(own, to);

	if (why)
		cgroup_refuse(r, CODE_cgroup_permission, "", path, why);
}

static void check_group(struct restart *r, const char *hierarchy, const char *path)
{
	_cleanup_(free_p) char *directory = cgroup_directory(hierarchy, path);

	if (!directory) {
		cgroup_refuse(r, CODE_cgroup_mount, hierarchy, path,
		              "its hierarchy is not mounted here");
		return;
	}
	const char *why = why_not_there(hierarchy, path);
	if (access(directory, F_OK) < 0)
		cgroup_refuse(r, CODE_cgroup_path, hierarchy, path, "there is no such cgroup here");
	else if (why)
		cgroup_refuse(r, CODE_cgroup_permission, hierarchy, path, why);
	else if (cgroup_is_frozen(directory))
		cgroup_refuse(r, CODE_cgroup_frozen, hierarchy, path, "the group is frozen");
}

static int cgroup_preflight(struct restart *r, struct object *object, struct error *err)
{
	const CgroupState *s = object_state(object, CgroupState);
	CgroupState *own = NULL;

	if (r->options->cgroup == CGROUP_IGNORE)
		return 0;
	int e = cgroup_read_of(0, &own, err);
	if (e < 0 || !own)
		return error_trace(err, e);
	for (size_t i = 0; i < s->n_memberships; i++) {
		const CgroupMembership *m = s->memberships[i];
		_cleanup_(free_p) char *hierarchy = bytes_text(&m->hierarchy);
		_cleanup_(free_p) char *path = bytes_text(&m->path);
		if (is_member(own, &m->hierarchy, path))
			continue;
		if (!cgroup_tree_covers(r->objects, m))
			check_group(r, hierarchy, path);
		check_move(r, own, m);
	}
	cgroup_state__free_unpacked(own, NULL);
	return 0;
}

/* the groups have been made: now they get what they must have before tasks come */
static int cgroup_restore(struct restart *r, struct object *object, struct error *err)
{
	int e = cgroup_tree_settle(r, err);

	return e < 0 ? error_trace(err, e) : 0;
}

static int write_to(const char *directory, const char *file, pid_t tid)
{
	_cleanup_(free_p) char *path = xasprintf("%s/%s", directory, file);
	_cleanup_(close_p) int fd = open(path, O_WRONLY | O_CLOEXEC);
	char text[16];
	int size = snprintf(text, sizeof(text), "%d", tid);

	return fd < 0 || write(fd, text, (size_t)size) < 0 ? -errno : 0;
}

/* @tid: 0 is the caller */
static int join_as(const char *hierarchy, const char *path, const char *file, pid_t tid,
                   struct error *err)
{
	_cleanup_(free_p) char *directory = cgroup_directory(hierarchy, path);
	int e = directory ? write_to(directory, file, tid) : -ENOENT;

	if (e < 0) {
		int ret = error_raise(err, -e, "join the cgroup %s:%s",
		                      *hierarchy ? hierarchy : "v2", path);
		error_hint(err, "restart with --cgroup ignore");
		return ret;
	}
	return 0;
}

int cgroup_join_here(const char *hierarchy, const char *path, struct error *err)
{
	return join_as(hierarchy, path, "cgroup.procs", 0, err);
}

/* the leader, or the first thread of one that is dead: it takes the whole process along */
static bool represents(const struct restart *r, const struct stub *stub)
{
	if (stub == stub->leader || stub->leader->n_objects)
		return stub == stub->leader;
	for (size_t i = 0; i < r->n_stubs; i++)
		if (r->stubs[i]->leader == stub->leader && r->stubs[i]->n_objects)
			return r->stubs[i] == stub;
	return false;
}

static int join_group(struct restart *r, const CgroupState *have, const CgroupMembership *m,
                      const struct stub *stub, struct error *err)
{
	_cleanup_(free_p) char *hierarchy = bytes_text(&m->hierarchy);
	_cleanup_(free_p) char *path = cgroup_tree_here(r->objects, m);
	const char *file = "cgroup.procs";

	if (is_member(have, &m->hierarchy, path))
		return 0;
	if (!represents(r, stub))
		file = *hierarchy ? "tasks" : "cgroup.threads";
	return join_as(hierarchy, path, file, stub->host_tid, err);
}

static int join(struct restart *r, const struct object *object, const struct stub *stub,
                struct error *err)
{
	const CgroupState *s = object_state(object, CgroupState);
	CgroupState *have = NULL;

	if (r->options->cgroup == CGROUP_IGNORE)
		return 0;
	int e = cgroup_read_of(stub->host_tid, &have, err);
	if (e < 0 || !have)
		return error_trace(err, e);
	for (size_t i = 0; e == 0 && i < s->n_memberships; i++)
		e = join_group(r, have, s->memberships[i], stub, err);
	cgroup_state__free_unpacked(have, NULL);
	return e < 0 ? error_trace(err, e) : 0;
}

/*
 * When a stub makes its first child; later ones find it there already. Its own list is still being
 * made and nothing of it has run, so it has no memory yet.
 */
static int cgroup_before_clone(struct restart *r, struct stub *parent, struct stub *child,
                               struct error *err)
{
	struct object *object = parent->host_tid ? stub_object(parent, &cgroup_kind) : NULL;
	int e = object ? join(r, object, parent, err) : 0;

	return e < 0 ? error_trace(err, e) : 0;
}

static int cgroup_install(struct restart *r, struct object *object, struct stub *stub,
                          struct error *err)
{
	int e = join(r, object, stub, err);

	return e < 0 ? error_trace(err, e) : 0;
}

const struct kind cgroup_kind = {
	.name = "cgroup",
	.number = 35,
	.message = &cgroup_state__descriptor,
	.collect = cgroup_collect,
	.validate = cgroup_validate,
	.preflight = cgroup_preflight,
	.restore = cgroup_restore,
	.before_clone = cgroup_before_clone,
	.install = cgroup_install,
};
