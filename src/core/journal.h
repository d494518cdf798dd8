/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a restart makes that does not go away with its tasks, written down before it is made, so
 * that `stasis cleanup` can undo it after a SIGKILL. Most restarts need none: names appear only at
 * commit, and EXITKILL takes the rest. A journal is a file PID-N in /run/stasis; not root's in
 * $XDG_RUNTIME_DIR/stasis, or in /tmp/.stasis-of-UID. Its coordinator holds a lock on it (flock(2))
 * as long as that lives.
 *
 * Nothing of it is synced: what is written is there for others when its writer is killed. Against a
 * power failure it would not help, a folder in /run is empty after that: names that begin with
 * ".stasis-", the name of a deleted file, or an empty directory may stay then.
 */
#pragma once

#include <stddef.h>
#include <sys/stat.h>

#include "util/error.h"

struct journal;

enum journal_effect {
	JOURNAL_UNLINK, /* a file whose name begins with ".stasis-", which is ours alone */
	JOURNAL_RMDIR,  /* a directory, if it is empty */
	JOURNAL_INODE,  /* a name that is given to an inode for a moment: unlinked if it is that one
	                 */
	JOURNAL_GROUP,  /* a cgroup, if no process is in it and no other restart is at it */
	JOURNAL_FOUND,  /* of the JOURNAL_GROUP noted last: somebody else had made it */
};

/* makes no file yet */
struct journal *journal_new(void);
/* notes an effect that is about to be had; @path is absolute; @st: of JOURNAL_INODE */
int journal_note(struct journal *j, enum journal_effect effect, const char *path,
                 const struct stat *st, struct error *err);
/*
 * The same of @name in an open directory that no path of ours need lead to: cleanup finds that by
 * its handle. -EOPNOTSUPP: its file system has none.
 */
int journal_note_below(struct journal *j, enum journal_effect effect, int folder, const char *name,
                       const struct stat *st, struct error *err);
/*
 * Before the tree runs, whose root that is: as long as that lives, or a process is in one of its
 * cgroups, those of JOURNAL_GROUP are left alone. It may run though this restart is killed.
 */
int journal_note_tree(struct journal *j, pid_t root, struct error *err);
/* something of ours could not be undone: it stays noted for `stasis cleanup`; takes NULL */
void journal_leave(struct journal *j);
/* the restart has succeeded (all is as it should stay), or has undone all itself; takes NULL */
void journal_free(struct journal *j);

/*
 * Plays back every journal whose coordinator is dead, last effect first, and removes it. Waits some
 * seconds for what is dying: stubs, and helpers that hold the lock of a dead coordinator.
 * *ret_journals, *ret_effects: how many there were, and how many effects were undone. Goes on after
 * a failure, which stays in its journal, and returns the first.
 */
int journal_play_back(size_t *ret_journals, size_t *ret_effects, struct error *err);
