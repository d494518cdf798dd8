/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can be said of a tree of cgroups before anything is made: whether an image may say that, and
 * whether it can be had here. See parts.h and kind/cgroup_tree.h.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/restart.h"
#include "host/features.h"
#include "kind/cgroup.h"
#include "kind/cgroup/files.h"
#include "kind/cgroup/parts.h"
#include "kind/cgroup/programs.h"
#include "kind/cgroup/walk.h"
#include "proc/cgroup.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

#define CAP_CHOWN     0
#define PATH_SIZE_MAX 4096
#define GROUPS_MAX    100000

/* ---- what an image may say ---- */

static bool is_sound_path(const ProtobufCBinaryData *bytes)
{
	_cleanup_(free_p) char *path = bytes_text(bytes);

	return bytes->len < PATH_SIZE_MAX && !bytes_have_nul(bytes) && !cgroup_is_outside(path) &&
	       !strstr(path, "//") && !strstr(path, "/./") && path[bytes->len - 1] != '/' &&
	       (bytes->len < 2 || memcmp(path + bytes->len - 2, "/.", 2) != 0);
}

static bool is_file_name(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/') && strlen(name) < 256;
}

static int validate_group(const CgroupGroup *g, struct error *err)
{
	for (size_t i = 0; i < g->n_files; i++) {
		const struct cgroup_file *file = cgroup_file_find(g->files[i]->name);
		if (!file || !is_file_name(g->files[i]->name) ||
		    cgroup_file_phase(file) > CGROUP_LATE || bytes_have_nul(&g->files[i]->value))
			return error_raise(err, EBADMSG, "a setting '%.40s'", g->files[i]->name);
	}
	for (size_t i = 0; i < g->n_owners; i++)
		if (g->owners[i]->mode > 07777 ||
		    (*g->owners[i]->name && !is_file_name(g->owners[i]->name)))
			return error_raise(err, EBADMSG, "an owner of '%.40s'", g->owners[i]->name);
	for (size_t i = 0; i < g->n_xattrs; i++)
		if (!strncmp(g->xattrs[i]->name, "security.", 9) ||
		    !strncmp(g->xattrs[i]->name, "system.", 7))
			return error_raise(err, EBADMSG, "an attribute '%.40s'",
			                   g->xattrs[i]->name);
	return 0;
}

/* those of v1 have none */
static int validate_programs(const CgroupTreeState *s, const CgroupGroup *g, struct error *err)
{
	if (s->root->hierarchy.len && g->n_filters)
		return error_raise(err, EBADMSG, "device filters of a group of v1");
	int r = cgroup_programs_validate(g, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int cgroup_tree_validate(const struct objects *objects, const struct object *object,
                         struct error *err)
{
	const CgroupTreeState *s = object_state(object, CgroupTreeState);

	if (!s->root || !is_sound_path(&s->root->path) || s->root->path.len < 2)
		return error_raise(err, EBADMSG, "a tree of cgroups without a root");
	int r = cgroup_validate_memberships(&s->root, 1, err);
	if (r < 0)
		return error_trace(err, r);
	if (!s->n_groups || s->n_groups > GROUPS_MAX || s->groups[0]->path.len)
		return error_raise(err, EBADMSG, "%zu cgroups in a tree", s->n_groups);
	for (size_t i = 0; r == 0 && i < s->n_groups; i++) {
		if (i && !is_sound_path(&s->groups[i]->path))
			return error_raise(err, EBADMSG, "the path of a cgroup in a tree");
		r = validate_group(s->groups[i], err);
		if (r == 0)
			r = validate_programs(s, s->groups[i], err);
	}
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- before anything is made ---- */

/* the kernel's verifier looks at what an image brings; and who may load programs may attach them */
static void check_programs(struct restart *r, const CgroupTreeState *s)
{
	struct error why, refusal;
	int e = 0;

	for (size_t i = 0; e == 0 && i < s->n_groups; i++)
		e = cgroup_programs_try(s->groups[i], &why);
	if (e == 0)
		return;
	if (e == -EPERM)
		error_refuse(&refusal, CODE_capability,
		             "CAP_BPF and CAP_NET_ADMIN are needed to give a cgroup its device "
		             "filters");
	else
		error_refuse(&refusal, CODE_cgroup_program,
		             "this kernel does not take a device filter of its (%s)", strerror(-e));
	error_object(&refusal, "cgroup v2:%.*s", (int)s->root->path.len,
	             (const char *)s->root->path.data);
	error_hint(&refusal, "make the groups beforehand, or restart with --cgroup ignore");
	restart_refuse(r, &refusal);
}

/* whether the words of @list have @word, which is @size long */
static bool has_word(const char *list, const char *word, size_t size)
{
	for (const char *p = list; *p; p += strspn(p, " \n")) {
		size_t n = strcspn(p, " \n");
		if (n == size && !memcmp(p, word, n))
			return true;
		p += n;
	}
	return false;
}

/* the first of what the root has settings of or hands on that is not in @list; the caller's */
static char *missing_controller(const CgroupGroup *root, const char *list)
{
	for (size_t i = 0; i < root->n_files; i++) {
		const char *name = root->files[i]->name;
		size_t size = strcspn(name, ".");
		bool core = !strncmp(name, "cgroup.", 7);
		if (!core && !has_word(list, name, size))
			return xstrndup(name, size);
		if (strcmp(name, "cgroup.subtree_control") != 0)
			continue;
		_cleanup_(free_p) char *words = bytes_text(&root->files[i]->value);
		for (const char *p = words; *p; p += strspn(p, " ")) {
			size = strcspn(p, " ");
			if (!has_word(list, p, size))
				return xstrndup(p, size);
			p += size;
		}
	}
	return NULL;
}

/* @above: the group that the root is to be made in, of v2: it must hand on what the root needs */
static void check_controllers(struct restart *r, const CgroupTreeState *s, const char *above)
{
	_cleanup_(free_p) char *path = bytes_text(&s->root->path);
	_cleanup_(free_p) char *file = xasprintf("%s/cgroup.subtree_control", above);
	_cleanup_(free_p) char *list = NULL;
	struct error refusal;

	if (s->root->hierarchy.len || file_read(AT_FDCWD, file, &list) < 0)
		return;
	_cleanup_(free_p) char *missing = missing_controller(s->groups[0], list);
	if (!missing)
		return;
	error_refuse(&refusal, CODE_cgroup_controller,
	             "it needs the controller %s, which the group above does not hand on", missing);
	error_object(&refusal, "cgroup v2:%s", path);
	error_hint(&refusal, "write +%s to %s, or restart with --cgroup ignore", missing, file);
	restart_refuse(r, &refusal);
}

/* who may not give files away can only make groups that are all his own */
static void check_owners(struct restart *r, const CgroupTreeState *s)
{
	_cleanup_(free_p) char *hierarchy = bytes_text(&s->root->hierarchy);

	/* in a user namespace of our own the capability does not reach the host's groups */
	if (!r->own_user && features_capability(CAP_CHOWN))
		return;
	for (size_t i = 0; i < s->n_groups; i++) {
		const CgroupGroup *g = s->groups[i];
		bool ours = false; /* what is root's is not told */
		for (size_t k = 0; k < g->n_owners; k++)
			ours |= !*g->owners[k]->name && g->owners[k]->uid == geteuid();
		for (size_t k = 0; k < g->n_owners; k++)
			ours &= g->owners[k]->uid == geteuid();
		if (ours)
			continue;
		_cleanup_(free_p) char *path = xasprintf(
			"%.*s%.*s", (int)s->root->path.len, (const char *)s->root->path.data,
			(int)g->path.len, g->path.len ? (const char *)g->path.data : "");
		cgroup_refuse(r, CODE_cgroup_permission, hierarchy, path,
		              "it was another user's, and would have to be made anew");
		return;
	}
}

/* whether the root is used as it is, and need not be made; see try_directory() */
static bool is_taken_as_it_is(const CgroupTreeState *s, const char *directory)
{
	if (access(directory, F_OK) < 0)
		return false;
	return cgroup_populated(directory) ? !s->movable : cgroup_is_usable(directory);
}

static void check_above(struct restart *r, const CgroupTreeState *s, const char *hierarchy,
                        const char *path, const char *above)
{
	if (access(above, F_OK) < 0) {
		cgroup_refuse(r, CODE_cgroup_path, hierarchy, path,
		              "the cgroup above it does not exist here");
		return;
	}
	if (access(above, W_OK) < 0)
		cgroup_refuse(r, CODE_cgroup_permission, hierarchy, path,
		              "this user may not make cgroups there");
	else
		check_owners(r, s);
	check_controllers(r, s, above);
}

int cgroup_tree_preflight(struct restart *r, struct object *object, struct error *err)
{
	const CgroupTreeState *s = object_state(object, CgroupTreeState);
	_cleanup_(free_p) char *hierarchy = bytes_text(&s->root->hierarchy);
	_cleanup_(free_p) char *path = bytes_text(&s->root->path);
	_cleanup_(free_p) char *directory = cgroup_directory(hierarchy, path);

	if (r->options->cgroup == CGROUP_IGNORE)
		return 0;
	if (!directory) {
		cgroup_refuse(r, CODE_cgroup_mount, hierarchy, path,
		              "its hierarchy is not mounted here");
		return 0;
	}
	if (access(directory, F_OK) == 0 && cgroup_is_frozen(directory)) {
		cgroup_refuse(r, CODE_cgroup_frozen, hierarchy, path, "the group is frozen");
		return 0;
	}
	if (is_taken_as_it_is(s, directory))
		return 0;
	*strrchr(directory, '/') = 0;
	check_above(r, s, hierarchy, path, directory);
	check_programs(r, s);
	return 0;
}
