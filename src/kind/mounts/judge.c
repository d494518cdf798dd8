/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoint: what cannot be built again is refused. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "core/checkpoint.h"
#include "core/external.h"
#include "host/features.h"
#include "kind/mount.h"
#include "kind/mounts/parts.h"
#include "kind/namespace/reference.h"
#include "kind/pid_ns.h"
#include "kind/tty.h"
#include "kind/user_ns.h"
#include "mount/reach.h"
#include "mount/superblock.h"
#include "task/task.h"
#include "util/alloc.h"
#include "util/cleanup.h"

/* a mount that shows all of it, and can be reached; MOUNT_NONE: no mount shows all of it */
static int reach_root(struct mounts *m, size_t sb, struct error *err)
{
	int r = -ENOENT;

	for (size_t i = MOUNT_NONE; r < 0 && (i = mount_of_sb(&m->table, sb, i)) != MOUNT_NONE;) {
		const struct mount_entry *e = &m->table.mounts[i];
		if (!e->deleted && !strcmp(e->root, "/"))
			r = mount_reach(&m->table, m->nsfds[e->namespace], i, &m->roots[sb], err);
		if (r < 0 && r != -EOPNOTSUPP && r != -ENOENT)
			return error_trace(err, r);
	}
	if (r == -ENOENT)
		return error_refuse(err, CODE_mount_unreachable,
		                    "only parts of it are mounted, so that it cannot be read");
	return r;
}

static bool needs_root(const struct mount_sb *sb)
{
	return sb->class == MOUNT_INSTANCE || sb->class == MOUNT_COMPOSITE;
}

/* devpts has what the terminals have; proc what the tasks are */
static bool must_be_empty(const struct mount_sb *sb)
{
	return sb->class == MOUNT_INSTANCE && strcmp(sb->type, "proc") != 0 &&
	       strcmp(sb->type, "devpts") != 0;
}

/* what every new one has, of the kernel itself */
static bool is_always_there(const struct mount_sb *sb, const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..") ||
	       (!strcmp(sb->type, "bpf") &&
	        (!strcmp(name, "maps.debug") || !strcmp(name, "progs.debug")));
}

static int check_empty(const struct mount_sb *sb, int root, struct error *err)
{
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closedir_p) DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		return error_raise(err, errno, "open the root of a %s", sb->type);
	for (struct dirent *e; (e = readdir(dir));) {
		if (is_always_there(sb, e->d_name))
			continue;
		return error_refuse(err, CODE_mount_content,
		                    "what is in a %s cannot be saved, and it holds '%s'", sb->type,
		                    e->d_name);
	}
	return 0;
}

static const struct mount_entry *first_mount(const struct mounts *m, size_t sb)
{
	size_t line = mount_of_sb(&m->table, sb, MOUNT_NONE);

	return line == MOUNT_NONE ? NULL : &m->table.mounts[line];
}

/*
 * One that is nowhere but in namespaces of user namespaces in others, and is not theirs: it is of
 * one of those in between, or ours.
 */
static bool is_doubtful(const struct mounts *m, size_t line)
{
	const struct mount_sb *sb = &m->table.sbs[line];

	if (sb->owner || (sb->class != MOUNT_CONTENT && sb->class != MOUNT_COMPOSITE &&
	                  (sb->class != MOUNT_INSTANCE || !strcmp(sb->type, "proc"))))
		return false;
	for (size_t i = MOUNT_NONE; (i = mount_of_sb(&m->table, line, i)) != MOUNT_NONE;) {
		const struct object *owner = m->owners[m->table.mounts[i].namespace];
		if (!owner || !user_ns_above(owner))
			return false;
	}
	return true;
}

/* whether it is the one of our own user namespace; in another than the first, making sure would
 * make one, which would hide that of the namespace above */
static bool is_own_binfmt(const struct mounts *m, const struct mount_sb *sb)
{
	_cleanup_(close_p) int fd = -1;
	struct error ignored = ERROR_INIT;
	struct stat st;

	if (mount_table_find_sb(&m->host, sb->major, sb->minor) != MOUNT_NONE)
		return true;
	if (!features_initial_user_namespace() ||
	    mount_superblock_make(sb, "none", -1, -1, &fd, &ignored) < 0)
		return false;
	return fstat(fd, &st) == 0 && st.st_dev == makedev(sb->major, sb->minor);
}

/* since Linux 6.7 a user namespace may have one of its own, whose entries are state */
static int judge_binfmt(const struct mounts *m, const struct mount_sb *sb, struct error *err)
{
	if (strcmp(sb->type, "binfmt_misc") != 0 || is_own_binfmt(m, sb))
		return 0;
	error_refuse(err, CODE_mount_content,
	             "a binfmt_misc of a user namespace is mounted, whose entries cannot be saved");
	error_hint(err, "unmount it");
	return -EOPNOTSUPP;
}

static int judge_sb(struct checkpoint *c, struct mounts *m, size_t line, struct error *err)
{
	struct mount_sb *sb = &m->table.sbs[line];
	int r = 0;

	if (sb->class == MOUNT_REFUSED) {
		error_refuse(err, CODE_mount_filesystem,
		             "a %s is mounted that stasis does not see on the host, and cannot "
		             "make anew",
		             sb->type);
		_cleanup_(free_p) char *key = mount_key(m, first_mount(m, line));
		error_hint(err,
		           "mount it where stasis runs, too, or unmount it; or leave it outside: "
		           "--external %s=NAME",
		           key);
		return -EOPNOTSUPP;
	}
	if (is_doubtful(m, line))
		return error_refuse(err, CODE_mount_owner,
		                    "a %s may belong to a user namespace between that of its mount "
		                    "namespace and that of stasis",
		                    sb->type);
	r = judge_binfmt(m, sb, err);
	if (r < 0)
		return r;
	_cleanup_(free_p) char *keys = xasprintf("file:[%u:%u:", sb->major, sb->minor);
	if (sb->class == MOUNT_CONTENT || sb->class == MOUNT_COMPOSITE)
		externals_expect(c->options->externals, keys);
	if (sb->class == MOUNT_CONTENT)
		r = superblock_check_contents(c, line, err);
	else if (needs_root(sb))
		r = reach_root(m, line, err);
	if (r == 0 && must_be_empty(sb))
		r = check_empty(sb, m->roots[line], err);
	if (r == 0 && sb->class == MOUNT_COMPOSITE)
		r = superblock_judge_overlay(c, m, line, err);
	if (r == 0)
		r = mounts_find_key(c, sb, m->roots[line], err);
	return r;
}

int superblock_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	struct mounts *m = mounts_kept(c->kept);
	size_t line = mounts_index(m, object);
	const struct mount_entry *e = first_mount(m, line);

	int r = mounts_classify(c, err);

	if (r == 0 && !m->roots) {
		m->roots = xmalloc(m->n_sbs * sizeof(*m->roots));
		memset(m->roots, 0xff, m->n_sbs * sizeof(*m->roots));
		superblocks_reach_contents(m);
	}
	if (r == 0)
		r = judge_sb(c, m, line, err);
	if (r < 0 && e)
		mounts_blame(c, m, e, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* ---- mounts ---- */

/* which namespace is bound there */
static int judge_bound(struct checkpoint *c, struct mount_entry *e, struct error *err)
{
	struct ns_reference ref;

	if (!ns_reference_parse(e->root, &ref))
		return error_refuse(err, CODE_namespace_unknown, "of nsfs it shows '%s'", e->root);
	e->bound_type = ref.type;
	return ns_reference_judge(c, &ref, &e->bound, err);
}

#define SOURCE_MAX 255u /* bytes; fsconfig(2) takes no longer string, where mount(2) does */

/* the source of a file system that is made anew */
static int judge_source(const struct mount_sb *sb, const struct mount_entry *e, struct error *err)
{
	if (sb->class == MOUNT_EXTERNAL || strlen(e->source) <= SOURCE_MAX)
		return 0;
	error_refuse(err, CODE_mount_attributes,
	             "its source has %zu characters, and no more than %u can be given again",
	             strlen(e->source), SOURCE_MAX);
	error_hint(err, "mount it with a shorter one");
	return -EOPNOTSUPP;
}

static int judge_entry(const struct mounts *m, const struct mount_entry *e, struct error *err)
{
	const struct mount_sb *sb = &m->table.sbs[e->sb];

	if (e->deleted && sb->class != MOUNT_CONTENT) {
		error_refuse(err, CODE_mount_deleted, "what it shows has been deleted: %s of a %s",
		             e->root, sb->type);
		error_hint(err, "unmount it");
		return -EOPNOTSUPP;
	}
	if (e->attributes & MOUNT_ATTR_IDMAPPED && (!e->uid_map || !idmap_is_valid(e->uid_map) ||
	                                            !e->gid_map || !idmap_is_valid(e->gid_map))) {
		error_refuse(err, CODE_mount_idmap,
		             "it is idmapped, and the kernel does not tell by which map");
		error_hint(err, "Linux 6.15 does");
		return -EOPNOTSUPP;
	}
	if (e->attributes & ~(uint64_t)(MOUNT_ATTRIBUTES | MOUNT_ATTR_IDMAPPED))
		return error_refuse(err, CODE_mount_attributes, "it has attributes %#llx",
		                    (unsigned long long)e->attributes);
	if (sb->class == MOUNT_EXTERNAL && !mount_is_outside(m, e) && !mount_is_copied(m, e)) {
		error_refuse(err, CODE_mount_unreachable,
		             "stasis sees the %s that it is of, but not %s in it", sb->type,
		             e->root);
		_cleanup_(free_p) char *key = mount_key(m, e);
		error_hint(err, "mount it where stasis runs; or --external %s=NAME", key);
		return -EOPNOTSUPP;
	}
	return judge_source(sb, e, err);
}

bool mount_is_terminal(const struct mount_sb *sb, const struct mount_entry *e)
{
	return sb->class == MOUNT_INSTANCE && !strcmp(sb->type, "devpts") && e->root[1] &&
	       strcmp(e->root, "/ptmx") != 0;
}

/* of one that nobody has open nothing can be found out: who opens and closes it hangs up */
static int judge_terminal(struct checkpoint *c, size_t line, struct error *err)
{
	struct stat st;
	int fd, r = mount_reached(c, mounts_kept(c->kept)->mounts[line], &fd, err);

	if (r < 0)
		return error_trace(err, r);
	if (fstat(fd, &st) < 0)
		return error_raise(err, errno, "look at a terminal that is mounted");
	if (tty_is_known(c, st.st_dev, st.st_rdev))
		return 0;
	error_refuse(err, CODE_mount_terminal,
	             "a terminal of a devpts of the set is mounted that no task of it has open");
	error_hint(err, "unmount it, or have a task open it");
	return -EOPNOTSUPP;
}

/* whether a number in a proc is that of a task that restart makes after what is mounted there */
static bool comes_later(const struct checkpoint *c, const struct mount_entry *proc, size_t line,
                        long number)
{
	const struct object *root = task_object(c->tasks[0], &pid_ns_kind);
	uint32_t pid_ns = mount_awaits(mounts_kept(c->kept), line);
	bool own = root && pid_ns == root->id;

	if (pid_ns && !own) /* else it waits for all of them */
		return mounts_kept(c->kept)->owners[proc->namespace] && mount_is_locked(proc) &&
		       number != 1;
	if (number > INT32_MAX)
		return false;
	const struct task *task = own ? checkpoint_numbered(c, (pid_t)number)
	                              : checkpoint_task(c, (pid_t)number);
	return task && task != c->tasks[0];
}

/* the directory of a task in a proc is not there before the task is */
static int judge_place(const struct checkpoint *c, const struct mount_entry *e, struct error *err)
{
	const struct mounts *m = mounts_kept(c->kept);

	if (e->parent == MOUNT_NONE || *e->rel < '0' || *e->rel > '9')
		return 0;
	const struct mount_entry *parent = &m->table.mounts[e->parent];
	if (strcmp(m->table.sbs[parent->sb].type, "proc") != 0 || strcmp(parent->root, "/") != 0 ||
	    !comes_later(c, parent, e->parent, strtol(e->rel, NULL, 10)))
		return 0;
	error_refuse(err, CODE_mount_point_missing,
	             "it is mounted on what a task has in /proc, which is made after that");
	error_hint(err, "unmount it");
	return -EOPNOTSUPP;
}

int mount_judge(struct checkpoint *c, struct object *object, struct error *err)
{
	struct mounts *m = mounts_kept(c->kept);
	struct mount_entry *e = &m->table.mounts[mounts_index(m, object)];

	int r = mounts_classify(c, err);
	if (r == 0)
		r = judge_entry(m, e, err);
	if (r == 0 && m->table.sbs[e->sb].class == MOUNT_NSFS)
		r = judge_bound(c, e, err);
	if (r == 0)
		r = mount_judge_lock(c, mounts_index(m, object), err);
	if (r == 0)
		r = judge_place(c, e, err);
	if (r == 0 && mount_is_terminal(&m->table.sbs[e->sb], e))
		r = judge_terminal(c, mounts_index(m, object), err);
	if (r == 0 && e->deleted)
		r = mounts_add_deleted(c, m, mounts_index(m, object), err);
	if (r < 0)
		mounts_blame(c, m, e, err);
	return r < 0 ? error_trace(err, r) : 0;
}
