/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint of the set's own cgroups. See kind/cgroup_tree.h. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "host/features.h"
#include "kind/cgroup.h"
#include "kind/cgroup/files.h"
#include "kind/cgroup/programs.h"
#include "kind/cgroup/walk.h"
#include "kind/cgroup_ns.h"
#include "kind/cgroup_tree.h"
#include "kind/pid_ns.h"
#include "proc/cgroup.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

#define CAP_CHOWN  0
#define XATTRS_MAX 65536

struct collecting {
	struct checkpoint *c;
	const struct task *task;
	const char *directory;
	CgroupTreeState *tree;
	bool foreign; /* something in this group is another user's */
};

/* ---- whose it is ---- */

static int find_outsider(int dir, const char *path, void *arg, struct error *err)
{
	const struct collecting *x = arg;
	_cleanup_(free_p) pid_t *pids = NULL;
	size_t n;
	int r = cgroup_members(dir, &pids, &n, err);

	if (r < 0)
		return error_trace(err, r);
	for (size_t i = 0; i < n; i++)
		if (!checkpoint_task(x->c, pids[i]))
			return 1;
	return 0;
}

/* ---- what it is like ---- */

static void refuse_group(const struct collecting *x, const char *path, enum code code,
                         const char *why, const char *what)
{
	struct error refusal;

	error_refuse(&refusal, code, "%s%s", why, what);
	error_object(&refusal, "cgroup %s%s", x->directory, path);
	error_hint(&refusal, "checkpoint with --cgroup ignore");
	refuse(x->c, x->task, &refusal);
}

static int add_file(const struct collecting *x, int dir, const char *path, const char *name,
                    enum cgroup_phase phase, CgroupGroup *group, struct error *err)
{
	char *value;
	int r = cgroup_file_read(dir, name, &value, err);

	if (r < 0 || !value)
		return r;
	if (phase == CGROUP_FREEZER) {
		refuse_group(x, path, CODE_cgroup_frozen, "the group is frozen", "");
		free(value);
		return 0;
	}
	CgroupFile *file = *array_push(group->files, group->n_files) = xmalloc(sizeof(*file));
	cgroup_file__init(file);
	file->name = xstrdup(name);
	file->value = bytes_of_text(value);
	free(value);
	return 0;
}

/* modes that new files have: readable, writable, or both */
static bool is_usual(const struct stat *st)
{
	mode_t mode = st->st_mode & 07777;

	return st->st_uid == 0 && st->st_gid == 0 &&
	       (S_ISDIR(st->st_mode) ? mode == 0755
	                             : mode == 0644 || mode == 0444 || mode == 0200 ||
	                                       mode == 0222 || mode == 0 || mode == 0666);
}

static void add_owner(CgroupGroup *group, const char *name, const struct stat *st)
{
	if (is_usual(st))
		return;
	CgroupOwner *owner = *array_push(group->owners, group->n_owners) = xmalloc(sizeof(*owner));
	cgroup_owner__init(owner);
	owner->name = xstrdup(name);
	owner->uid = st->st_uid;
	owner->gid = st->st_gid;
	owner->mode = st->st_mode & 07777;
}

static int look_at_file(struct collecting *x, int dir, const char *path, const char *name,
                        CgroupGroup *group, struct error *err)
{
	const struct cgroup_file *file = cgroup_file_find(name);
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_raise(err, errno, "look at the cgroup's %s", name);
	if (!S_ISREG(st.st_mode))
		return 0;
	add_owner(group, name, &st);
	x->foreign |= st.st_uid != geteuid();
	/* what can be read and written is a setting */
	if (!file && (st.st_mode & 0600) == 0600)
		refuse_group(x, path, CODE_cgroup_setting,
		             "it has a setting that is not known: ", name);
	if (!file || cgroup_file_phase(file) == CGROUP_STATE)
		return 0;
	int r = add_file(x, dir, path, name, cgroup_file_phase(file), group, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int look_at_files(struct collecting *x, int dir, const char *path, CgroupGroup *group,
                         struct error *err)
{
	_cleanup_(closedir_p) DIR *d = NULL;
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	d = copy < 0 ? NULL : fdopendir(copy);
	if (!d) {
		close_p(&copy);
		return error_raise(err, errno, "read a cgroup's directory");
	}
	for (struct dirent *e; r == 0 && (e = readdir(d));)
		if (e->d_name[0] != '.')
			r = look_at_file(x, dir, path, e->d_name, group, err);
	return r;
}

static int add_xattr(int dir, const char *name, CgroupGroup *group, struct error *err)
{
	_cleanup_(free_p) char *value = xmalloc(XATTRS_MAX);
	ssize_t size = fgetxattr(dir, name, value, XATTRS_MAX);

	if (size < 0)
		return error_raise(err, errno, "read the cgroup's attribute %s", name);
	CgroupXattr *x = *array_push(group->xattrs, group->n_xattrs) = xmalloc(sizeof(*x));
	cgroup_xattr__init(x);
	x->name = xstrdup(name);
	x->value = (ProtobufCBinaryData){ .len = (size_t)size,
		                          .data = xmemdup(value, (size_t)size) };
	return 0;
}

/* those of a security module are labels that it gives itself */
static int look_at_xattrs(int dir, CgroupGroup *group, struct error *err)
{
	_cleanup_(free_p) char *names = xmalloc(XATTRS_MAX);
	ssize_t size = flistxattr(dir, names, XATTRS_MAX);
	int r = 0;

	if (size < 0)
		return errno == EOPNOTSUPP ? 0
		                           : error_raise(err, errno, "list a cgroup's attributes");
	for (const char *name = names; r == 0 && name < names + size; name += strlen(name) + 1)
		if (strncmp(name, "security.", 9) != 0)
			r = add_xattr(dir, name, group, err);
	return r;
}

/* what cgroup_programs_read() has found */
struct losing {
	const struct collecting *x;
	const char *path;
};

static void refuse_program(void *arg, const char *type, const char *why)
{
	const struct losing *l = arg;
	_cleanup_(free_p) char *text = xasprintf(
		"a BPF program of type cgroup_%s is attached to it that cannot be given back: ",
		type);

	refuse_group(l->x, l->path, CODE_cgroup_program, text, why);
}

static int look_at_programs(const struct collecting *x, int dir, const char *path,
                            CgroupGroup *group, struct error *err)
{
	struct losing l = { x, path };

	if (x->tree->root->hierarchy.len) /* v1 has none */
		return 0;
	int r = cgroup_programs_read(dir, group, refuse_program, &l, err);
	return r < 0 ? error_trace(err, r) : 0;
}

static int by_order(const void *a, const void *b)
{
	const CgroupFile *x = *(CgroupFile *const *)a, *y = *(CgroupFile *const *)b;
	int order = cgroup_file_compare(cgroup_file_find(x->name), cgroup_file_find(y->name));

	return order ? order : strcmp(x->name, y->name);
}

static int look_at_group(int dir, const char *path, void *arg, struct error *err)
{
	struct collecting *x = arg;
	CgroupTreeState *tree = x->tree;
	CgroupGroup *group = *array_push(tree->groups, tree->n_groups) = xmalloc(sizeof(*group));
	struct stat st;

	cgroup_group__init(group);
	group->path = bytes_of_text(path);
	if (fstat(dir, &st) < 0)
		return error_raise(err, errno, "look at the cgroup %s%s", x->directory, path);
	add_owner(group, "", &st);
	x->foreign = st.st_uid != geteuid();
	int r = look_at_files(x, dir, path, group, err);
	if (r == 0)
		r = look_at_xattrs(dir, group, err);
	if (r == 0)
		r = look_at_programs(x, dir, path, group, err);
	if (r == 0 && x->foreign && !features_capability(CAP_CHOWN) &&
	    faccessat(dir, "..", W_OK, 0) == 0)
		refuse_group(x, path, CODE_cgroup_permission,
		             "a user may make it anew, and it is another user's", "");
	if (group->n_files)
		qsort(group->files, group->n_files, sizeof(*group->files), by_order);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- which ---- */

static int record(struct collecting *x, const CgroupMembership *group, bool movable,
                  struct error *err)
{
	_cleanup_(free_p) char *key = xasprintf(
		"%.*s:%.*s", (int)group->hierarchy.len, (const char *)group->hierarchy.data,
		(int)group->path.len, (const char *)group->path.data);
	struct object *object = objects_get(x->c->objects, &cgroup_tree_kind, key, strlen(key),
	                                    NULL);
	CgroupTreeState *s = x->tree = xmalloc(sizeof(*s));

	cgroup_tree_state__init(s);
	object->message = &s->base;
	s->root = xmalloc(sizeof(*s->root));
	cgroup_membership__init(s->root);
	s->root->hierarchy = (ProtobufCBinaryData){ .len = group->hierarchy.len,
		                                    .data = xmemdup(group->hierarchy.data,
		                                                    group->hierarchy.len) };
	s->root->path = (ProtobufCBinaryData){ .len = group->path.len,
		                               .data = xmemdup(group->path.data, group->path.len) };
	s->movable = movable;
	return cgroup_walk(x->directory, look_at_group, x, err);
}

int cgroup_tree_collect(struct checkpoint *c, struct task *task, const CgroupMembership *group,
                        bool movable, struct error *err)
{
	_cleanup_(free_p) char *hierarchy = bytes_text(&group->hierarchy);
	_cleanup_(free_p) char *path = bytes_text(&group->path);
	_cleanup_(free_p) char *directory = NULL;

	if (!strcmp(path, "/") || cgroup_is_outside(path) || cgroup_tree_covers(c->objects, group))
		return 0;
	directory = cgroup_directory(hierarchy, path);
	struct collecting x = { .c = c, .task = task, .directory = directory };
	if (!directory) {
		x.directory = path;
		refuse_group(&x, "", CODE_cgroup_mount,
		             "its hierarchy is not mounted here: ", *hierarchy ? hierarchy : "v2");
		return 0;
	}
	int r = cgroup_walk(directory, find_outsider, &x, err);
	if (r == 0)
		r = record(&x, group, movable, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* the group right below @root that @path is in or is, the caller's; NULL: @path is not below */
static char *first_below(const char *root, const char *path)
{
	size_t size = strlen(root);

	if (strncmp(path, root, size) != 0 || path[size] != '/' || !path[size + 1])
		return NULL;
	return xstrndup(path, size + 1 + strcspn(path + size + 1, "/"));
}

int cgroup_tree_collect_root(struct checkpoint *c, struct task *task, const CgroupState *state,
                             struct error *err)
{
	int r = 0;

	if (task != c->tasks[0] || !task_object(task, &pid_ns_kind) ||
	    task_object(task, &cgroup_ns_kind))
		return 0;
	for (size_t i = 0; r == 0 && i < state->n_memberships; i++) {
		const CgroupMembership *group = state->memberships[i];
		_cleanup_(free_p) char *hierarchy = bytes_text(&group->hierarchy);
		_cleanup_(free_p) char *there = cgroup_directory(hierarchy, "/");
		if (there)
			r = cgroup_tree_collect(c, task, group, false, err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

int cgroup_tree_collect_below(struct checkpoint *c, struct task *task, const CgroupState *state,
                              struct error *err)
{
	const struct object *ns = task_object(task, &cgroup_ns_kind);
	const CgroupNsState *s = ns && ns->message ? object_state(ns, CgroupNsState) : NULL;
	int r = 0;

	for (size_t i = 0; r == 0 && s && i < s->n_roots; i++) {
		const CgroupMembership *root = s->roots[i],
				       *in = cgroup_in(state, &root->hierarchy);
		_cleanup_(free_p) char *top = bytes_text(&root->path);
		_cleanup_(free_p) char *path = in ? bytes_text(&in->path) : NULL;
		_cleanup_(free_p) char *below = path && strcmp(top, "/") ? first_below(top, path)
		                                                         : NULL;
		CgroupMembership group = CGROUP_MEMBERSHIP__INIT;
		_cleanup_(free_p) char *hierarchy = bytes_text(&root->hierarchy);
		_cleanup_(free_p) char *there = below ? cgroup_directory(hierarchy, top) : NULL;
		if (!there) /* not mounted: that has been said of the root */
			continue;
		group.hierarchy = root->hierarchy;
		group.path = (ProtobufCBinaryData){ strlen(below), (uint8_t *)below };
		r = cgroup_tree_collect(c, task, &group, false, err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}
