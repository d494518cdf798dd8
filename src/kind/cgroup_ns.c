/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cgroup namespaces. See cgroup_ns.h. Nobody tells the roots of one: they follow from the path of a
 * task that is below them, as seen from inside and from outside; without one, from what a mount
 * that is made inside shows outside. A new namespace has its roots where the task is that makes it.
 */
#include "kind/cgroup_ns.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "cgroup.pb-c.h"
#include "core/checkpoint.h"
#include "core/restart.h"
#include "host/enter.h"
#include "host/features.h"
#include "host/helper.h"
#include "kind/cgroup.h"
#include "kind/cgroup_tree.h"
#include "kind/namespace/ns.h"
#include "kind/user_ns.h"
#include "proc/cgroup.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/path.h"

#define CAP_SYS_ADMIN 21
#define TEXT_SIZE     16384

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

static const struct ns_type type = { "cgroup", CLONE_NEWCGROUP, "cgroup" };

/* ---- checkpoint ---- */

struct asking {
	int ns;
	pid_t tid;
	char text[TEXT_SIZE];
};

/* the paths of a task as they are seen from inside */
static int ask_in_helper(void *arg, struct error *err)
{
	struct asking *a = arg;
	_cleanup_(free_p) char *path = xasprintf("/proc/%d/cgroup", a->tid);

	if (namespace_enter(a->ns, CLONE_NEWCGROUP) < 0)
		return error_raise(err, errno, "enter a cgroup namespace");
	_cleanup_(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t size = 0;
	ssize_t n = fd < 0 ? -1 : 1;
	while (n > 0 && size < TEXT_SIZE - 1) {
		n = read(fd, a->text + size, TEXT_SIZE - 1 - size);
		size += n > 0 ? (size_t)n : 0;
	}
	if (n < 0 || size == TEXT_SIZE - 1)
		return error_raise(err, n < 0 ? errno : E2BIG, "read %s", path);
	a->text[size] = 0;
	return 0;
}

/*
 * What is left of @outer without @inner at its end: the root; the caller's. NULL: @inner is not
 * below the root, and nobody knows what that is called.
 */
static char *root_of(const char *outer, const char *inner)
{
	size_t whole = strlen(outer), size = strcmp(inner, "/") ? strlen(inner) : 0;

	if (cgroup_is_outside(inner) || cgroup_is_outside(outer) || size > whole ||
	    strcmp(outer + whole - size, inner + (size ? 0 : 1)) != 0)
		return NULL;
	return size == whole ? xstrdup("/") : xstrndup(outer, whole - size);
}

static CgroupNsState *new_state(struct object *object)
{
	CgroupNsState *s = xmalloc(sizeof(*s));

	cgroup_ns_state__init(s);
	s->owner = ns_owner(object);
	object->message = &s->base;
	return s;
}

struct looking {
	int ns;
	const CgroupState *outside; /* the hierarchies that there are */
};

/* over "/", in a mount namespace that nobody else is in; returns a descriptor of its mountinfo */
static int mount_in_helper(void *arg, struct error *err)
{
	const struct looking *l = arg;

	if (namespace_enter(l->ns, CLONE_NEWCGROUP) < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_raise(err, errno, "enter a cgroup namespace");
	for (size_t i = 0; i < l->outside->n_memberships; i++) {
		_cleanup_(free_p) char *name = bytes_text(&l->outside->memberships[i]->hierarchy);
		_cleanup_(free_p) char *v1 =
			xasprintf("%s%s", strncmp(name, "name=", 5) ? "" : "none,", name);
		if (mount("none", "/", *name ? "cgroup" : "cgroup2", 0, *name ? v1 : NULL) < 0)
			return error_raise(err, errno, "mount the cgroup hierarchy %s", name);
	}
	int fd = open("/proc/thread-self/mountinfo", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_raise(err, errno, "open the mountinfo of a helper") : fd;
}

/* the caller's; NULL: not a line of such a mount */
static char *parse_mounted(const char *line)
{
	const char *tail = strstr(line, " - ");
	_cleanup_(free_p) char *root = NULL;
	char point[3];

	if (!tail || strncmp(tail, " - cgroup", 9) != 0 ||
	    sscanf(line, "%*u %*u %*s %ms %2s", &root, point) != 2 || strcmp(point, "/") != 0)
		return NULL;
	path_unescape(root);
	return take_ptr(root);
}

/* the roots, one for each hierarchy in their order, as we see them; those left are NULL */
static void find_mounted(int ns, const CgroupState *outside, char **roots)
{
	struct looking l = { ns, outside };
	struct error ignored = ERROR_INIT;
	int fd = helper_run(mount_in_helper, &l, 0, &ignored);
	_cleanup_(fclose_p) FILE *f = fd < 0 ? NULL : fdopen(fd, "re");
	_cleanup_(free_p) char *line = NULL;
	size_t room = 0, n = 0;

	while (f && n < outside->n_memberships && getline(&line, &room, f) > 0) {
		roots[n] = parse_mounted(line);
		n += roots[n] ? 1 : 0;
	}
}

/* NULL: this task is not below it */
static char *root_by_task(const CgroupMembership *outer, const CgroupState *inside)
{
	const CgroupMembership *in = cgroup_in(inside, &outer->hierarchy);
	_cleanup_(free_p) char *o = bytes_text(&outer->path);
	_cleanup_(free_p) char *i = in ? bytes_text(&in->path) : NULL;

	return i ? root_of(o, i) : NULL;
}

static bool find_all(int ns, const CgroupState *outside, const CgroupState *inside, char **roots)
{
	size_t n = outside->n_memberships, found = 0;

	for (; found < n; found++)
		if (!(roots[found] = root_by_task(outside->memberships[found], inside)))
			break;
	for (size_t i = 0; found < n && i < found; i++)
		free(take_ptr(roots[i]));
	if (found < n)
		find_mounted(ns, outside, roots);
	for (found = 0; found < n && roots[found] && !cgroup_is_outside(roots[found]);)
		found++;
	return found == n;
}

static void add_root(CgroupNsState *s, const ProtobufCBinaryData *hierarchy, const char *root)
{
	CgroupMembership *m = *array_push(s->roots, s->n_roots) = xmalloc(sizeof(*m));

	cgroup_membership__init(m);
	m->hierarchy = bytes_copy(hierarchy->data, hierarchy->len);
	m->path = bytes_of_text(root);
}

/* into object->message, if the roots are known */
static int find_roots(const struct task *task, struct object *object, struct error *err)
{
	struct asking *a = xcalloc(1, sizeof(*a));
	CgroupState *outside = NULL, *inside = NULL;

	a->ns = ((struct ns *)object->live)->fd;
	a->tid = task->tid;
	int r = helper_run_here(ask_in_helper, a, err);
	if (r == 0)
		r = cgroup_parse(a->text, &inside, err);
	if (r == 0)
		r = cgroup_read_of(task->tid, &outside, err);
	size_t n = r == 0 ? outside->n_memberships : 0;
	_cleanup_(free_p) char **roots = xcalloc(n + 1, sizeof(*roots));
	if (r == 0 && find_all(a->ns, outside, inside, roots)) {
		CgroupNsState *s = new_state(object);
		for (size_t i = 0; i < n; i++)
			add_root(s, &outside->memberships[i]->hierarchy, roots[i]);
	}
	for (size_t i = 0; i < n; i++)
		free(roots[i]);
	cgroup_state__free_unpacked(inside, NULL);
	cgroup_state__free_unpacked(outside, NULL);
	free(a);
	return r < 0 ? error_trace(err, r) : 0;
}

static int collect_trees(struct checkpoint *c, struct task *task, const CgroupNsState *s,
                         bool movable, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->n_roots; i++)
		r = cgroup_tree_collect(c, task, s->roots[i], movable, err);
	return r;
}

/* @inside: the task is in it */
static int find_state(struct checkpoint *c, struct task *task, struct object *object, bool inside,
                      struct error *err)
{
	int r = 0;

	if (object->message)
		return 0;
	if (c->options->cgroup == CGROUP_IGNORE)
		new_state(object);
	else
		r = find_roots(task, object, err);
	if (r == 0 && object->message)
		r = collect_trees(c, task, object_state(object, CgroupNsState),
		                  inside && task == c->tasks[0], err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int collect(struct checkpoint *c, struct task *task, struct error *err)
{
	struct object *object;
	int r = ns_collect(c, task, &cgroup_ns_kind, &type, &object, err);

	if (r == 0 && object)
		r = find_state(c, task, object, true, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int cgroup_ns_collect_fd(struct checkpoint *c, const struct task *task, int nsfd,
                         struct object **ret, struct error *err)
{
	int r = ns_collect_fd(c, task, nsfd, &cgroup_ns_kind, &type, ret, NULL, err);

	if (r == 0 && *ret)
		r = find_state(c, (struct task *)task, *ret, false, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int judge(struct checkpoint *c, struct object *object, struct error *err)
{
	const struct ns *ns = object->live;
	struct error refusal;

	if (!object->message) {
		error_refuse(&refusal, CODE_cgroup_outside,
		             "it begins at a cgroup that has been removed, or that stasis does "
		             "not see");
		error_object(&refusal, "%s", ns->link);
		error_hint(&refusal, "checkpoint with --cgroup ignore");
		refuse(c, ns->task, &refusal);
	}
	int r = ns_judge(c, object, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- restart ---- */

static int validate(const struct objects *objects, const struct object *object, struct error *err)
{
	const CgroupNsState *s = object_state(object, CgroupNsState);
	int r = cgroup_validate_memberships(s->roots, s->n_roots, err);

	if (r == 0 && !user_ns_valid_id(objects, s->owner))
		return error_raise(err, EBADMSG, "a cgroup namespace of object %u", s->owner);
	return r < 0 ? error_trace(err, r) : 0;
}

static void check_root(struct restart *r, const CgroupMembership *root)
{
	_cleanup_(free_p) char *hierarchy = bytes_text(&root->hierarchy);
	_cleanup_(free_p) char *path = bytes_text(&root->path);
	_cleanup_(free_p) char *directory = cgroup_directory(hierarchy, path);

	if (strcmp(path, "/") != 0 && (!directory || access(directory, F_OK) < 0))
		cgroup_refuse(r, CODE_cgroup_path, hierarchy, path,
		              "there is no such cgroup here, and a cgroup namespace begins there");
}

static int preflight(struct restart *r, struct object *object, struct error *err)
{
	const CgroupNsState *s = object_state(object, CgroupNsState);
	struct error refusal;

	if (!r->new_pidns && !features_capability(CAP_SYS_ADMIN)) {
		error_refuse(&refusal, CODE_capability,
		             "CAP_SYS_ADMIN is needed to make a cgroup namespace");
		error_hint(&refusal, "restart as root");
		restart_refuse(r, &refusal);
	}
	for (size_t i = 0; r->options->cgroup != CGROUP_IGNORE && i < s->n_roots; i++)
		if (!cgroup_tree_covers(r->objects, s->roots[i]))
			check_root(r, s->roots[i]);
	return 0;
}

struct making {
	const struct restart *r;
	const CgroupNsState *state;
	int owner;
};

static int join_roots(const struct making *m, struct error *err)
{
	CgroupState *own = NULL;
	int e = cgroup_read_of(0, &own, err);

	for (size_t i = 0; e == 0 && i < m->state->n_roots; i++) {
		const CgroupMembership *root = m->state->roots[i];
		const CgroupMembership *have = cgroup_in(own, &root->hierarchy);
		_cleanup_(free_p) char *path = cgroup_tree_here(m->r->objects, root);
		_cleanup_(free_p) char *hierarchy = bytes_text(&root->hierarchy);
		if (!have || have->path.len != strlen(path) ||
		    memcmp(have->path.data, path, have->path.len) != 0)
			e = cgroup_join_here(hierarchy, path, err);
	}
	cgroup_state__free_unpacked(own, NULL);
	return e < 0 ? error_trace(err, e) : 0;
}

/* returns the descriptor of the new namespace */
static int make_in_helper(void *arg, struct error *err)
{
	const struct making *m = arg;
	int e = m->r->options->cgroup == CGROUP_IGNORE ? 0 : join_roots(m, err);

	if (e == 0)
		e = ns_enter_owner(m->owner, err);
	if (e < 0)
		return error_trace(err, e);
	if (unshare(CLONE_NEWCGROUP) < 0)
		return error_raise(err, errno, "make a cgroup namespace");
	int fd = open("/proc/thread-self/ns/cgroup", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_raise(err, errno, "open a new cgroup namespace") : fd;
}

static int restore(struct restart *r, struct object *object, struct error *err)
{
	const CgroupNsState *s = object_state(object, CgroupNsState);
	struct making m = { r, s, user_ns_fd(r, s->owner) };
	int fd = helper_run(make_in_helper, &m, sizeof(m), err);

	if (fd < 0)
		return error_trace(err, fd);
	ns_live(object, &type)->fd = fd;
	return 0;
}

const struct kind cgroup_ns_kind = {
	.name = "cgroup_ns",
	.number = 66,
	.message = &cgroup_ns_state__descriptor,
	.collect = collect,
	.judge = judge,
	.validate = validate,
	.preflight = preflight,
	.restore = restore,
	.enter = ns_enter,
	.release = ns_release,
};
