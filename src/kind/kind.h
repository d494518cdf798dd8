/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kind: one type of thing that a task can hold, with its operations. Everything that Stasis
 * supports is a kind, one pair of files each, listed in kinds.def. The engine (core/) walks the
 * table; ARCHITECTURE.md says which few it knows by name.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "kind/object.h"
#include "util/alloc.h"
#include "util/error.h"

struct checkpoint; /* core/checkpoint.h */
struct restart;    /* core/restart.h */
struct json_object;
struct task;       /* task/task.h: a task of the set, at checkpoint */
struct page_block; /* image/image.h */
struct stub;       /* task/stub.h: a task that the coordinator has made and is still filling */

/*
 * Something that a task refers to by descriptor, mapping, cwd, root or exe link, as the kinds that
 * stand behind descriptors see it.
 */
struct descriptor {
	const struct task *task;
	int fd;   /* number in the task; -1 for a mapping, cwd, root, exe */
	int live; /* the coordinator's own reference (pidfd_getfd, or O_PATH through /proc); -1 when
	             it cannot be had without attaching (check PID) */
	bool by_path; /* live is of the inode only, O_PATH: the description is not to be had (check
	                 PID, or a mapping, cwd, root) */
	const char *what;   /* "fd 7", "mapping 7f...-7f...", "cwd": for messages */
	const char *link;   /* text of the /proc link, " (deleted)" included */
	const char *source; /* of a mapping: a link under /proc that opens the same file anew */
	struct stat st;
	uint32_t flags; /* O_* of the open file description; O_PATH for a mapping, cwd, root */
	uint32_t mnt_id;
	uint32_t magic; /* of the file system, statfs(2); set by descriptor_collect(); 0: unknown */
};

/* a mapping that kind->attach makes */
struct attachment {
	uint64_t start, size, offset; /* bytes */
	int prot;                     /* PROT_* */
	bool writable;                /* by mprotect(2), if not at once */
};

#define RESTORE_LATER 1
#define ENTER_LATER   1

struct kind {
	const char *name; /* as in kinds.def: in records, errors, test names and man page */
	uint32_t number;
	const ProtobufCMessageDescriptor *message;
	/*
	 * Nonzero for what clone(2) shares: CLONE_VM, CLONE_FILES... Tasks that refer to the same
	 * object of this kind must be made by clones with this flag; the tree planner sees to it.
	 */
	uint64_t clone_flag;

	/* ---- checkpoint; all tasks are held; nothing of them may be changed ---- */

	/*
	 * Finds the objects of this kind that @task refers to: objects_get() by identity, then
	 * task_refer(). What belongs to a process is collected from the one task with
	 * task->speaks. Called for every live task, in order; also by `check PID`, then with
	 * c->tracer == NULL: what only attaching reveals is told by check_unexamined(), with its
	 * codes. What cannot be saved is not an error but a refusal: refuse() and go on.
	 */
	int (*collect)(struct checkpoint *c, struct task *task, struct error *err);
	/* The same for a task that is dead: what the kernel still tells of it. Its objects are of
	 * these kinds only. */
	int (*collect_dead)(struct checkpoint *c, struct task *task, struct error *err);
	/*
	 * Looks at one object when all are known: leaks, gaps in sharing. refuse() what is wrong.
	 */
	int (*judge)(struct checkpoint *c, struct object *object, struct error *err);
	/*
	 * refuse() all that save_bulk would refuse, which itself ends with the first: a look
	 * through the data, only taken for `check` and when the checkpoint is refused anyway.
	 */
	int (*survey)(struct checkpoint *c, struct object *object, struct error *err);
	/*
	 * Makes object->message (kind->message's type), unless collect did. All of it on the heap,
	 * the engine frees it with protobuf_c_message_free_unpacked(). At most 1 MiB packed.
	 */
	int (*save)(struct checkpoint *c, struct object *object, struct error *err);
	/* Bulk data that follows all metadata: deleted files' contents, memory, as page sets. */
	int (*save_bulk)(struct checkpoint *c, struct object *object, struct error *err);
	/* About how many bytes save_bulk writes: only the progress bar relies on it. */
	uint64_t (*bulk_bytes)(struct object *object);

	/*
	 * The last look, when all is written: has what others than the held tasks can change stayed
	 * as it was recorded? -EOPNOTSUPP with a refusal when it has not.
	 */
	int (*confirm)(struct checkpoint *c, struct object *object, struct error *err);

	/* ---- restart, in this order; object->message is decoded and hostile ---- */

	/* Pure: checks every length, count, id and reference of the message. Unit test, fuzz
	 * target. */
	int (*validate)(const struct objects *objects, const struct object *object,
	                struct error *err);
	/* Can it be restored here? refuse() what is not; nothing is made yet. */
	int (*preflight)(struct restart *r, struct object *object, struct error *err);
	/* Changes what the coordinator is and every stub inherits, before the first is cloned. */
	int (*prepare)(struct restart *r, struct object *object, struct error *err);
	/*
	 * Makes the live object in the coordinator: object->live. The root stub is there already.
	 * RESTORE_LATER: it is on a mount that is not made before there are tasks, and is called
	 * again by then; its page blocks have been taken.
	 */
	int (*restore)(struct restart *r, struct object *object, struct error *err);
	/*
	 * For namespaces: @stub, which has just been cloned and has no thread and no child yet,
	 * enters this one. Called when it was born in another. ENTER_LATER: it is made when other
	 * tasks are there; called again as late as enter_last is, and before that.
	 */
	int (*enter)(struct restart *r, struct object *object, struct stub *stub,
	             struct error *err);
	/*
	 * The same for one that stays outside, where a root that is born in a user namespace has
	 * no right to go: who clones that root, a helper, enters it, before anything is restored.
	 */
	int (*enter_outside)(struct restart *r, const struct object *object, struct error *err);
	/* Namespaces: the one that a child of @maker would be born in now; without: its own. */
	struct object *(*born_in)(const struct stub *maker);
	/*
	 * The same for one that takes away rights which the stub needs to make others: called as
	 * late as the kernel allows it, when the stub is about to make its first thread or what
	 * shares its fs_struct, or when all tasks have been cloned. Not called when it is in there
	 * already (stub->user_ns).
	 */
	int (*enter_last)(struct restart *r, struct object *object, struct stub *stub,
	                  struct error *err);
	/*
	 * @parent is about to clone @child (both objects' parts are at most partly installed): what
	 * must be in the parent at that moment (page sets shared by fork, a controlling terminal)
	 * is put there. Either may be a placeholder (stub->task NULL), that has no objects.
	 */
	int (*before_clone)(struct restart *r, struct stub *parent, struct stub *child,
	                    struct error *err);
	/* Once per object, when every task has been cloned and before anything is installed: what
	 * had to wait for namespaces that only tasks make. */
	int (*after_clone)(struct restart *r, struct object *object, struct error *err);
	/*
	 * Puts the object into a task that refers to it, when all its children have been cloned, by
	 * calls on the stub (task/calls.h). For kinds with a clone_flag: once, in the first task of
	 * those that share it.
	 */
	int (*install)(struct restart *r, struct object *object, struct stub *stub,
	               struct error *err);
	/* The highest descriptor number that the object uses, -1 = none. Pure. The stubs' socket
	 * lies above it. */
	int (*highest_fd)(const struct object *object);
	/* whether it uses that number; for kinds with highest_fd. Pure. */
	bool (*uses_fd)(const struct object *object, int fd);
	/* Takes one block of bulk data (save_bulk). Called from several threads at once. */
	int (*restore_bulk)(struct restart *r, struct object *object,
	                    const struct page_block *block, struct error *err);
	/*
	 * The last step, when the trailer has been verified: what must come after all else
	 * (filters, credentials, limits, registers). Nothing may be started that the next failure
	 * could not undo.
	 */
	int (*commit)(struct restart *r, struct object *object, struct stub *stub,
	              struct error *err);

	/*
	 * Once per object, when all bulk data is in and every task has all it refers to, before the
	 * launch: what had to wait for that, and the end of the coordinator's own descriptors. An
	 * end of a pipe that is held longer would hide EOF and EPIPE from the program.
	 */
	int (*finish)(struct restart *r, struct object *object, struct error *err);

	/* Frees object->live, half made or not. */
	void (*release)(struct object *object);

	/*
	 * inspect: the state as JSON, the caller's, for kinds whose message's descriptor does not
	 * say it well enough by itself (kind/describe.h). validate() may not have been called: look
	 * before following a reference or an index.
	 */
	struct json_object *(*describe)(const struct objects *objects, const struct object *object);

	/* ---- kinds that stand behind descriptors, mappings, cwd, root, exe ---- */

	bool (*claims)(const struct descriptor *d);
	/*
	 * Finds or adds the object; refuse() and return 0 with *ret = NULL when it cannot be saved.
	 */
	int (*collect_descriptor)(struct checkpoint *c, const struct descriptor *d,
	                          struct object **ret, struct error *err);
	/* A new open file description of it with these open(2) flags; the descriptor is the
	 * caller's. */
	int (*open)(struct restart *r, struct object *object, uint32_t flags, int *ret_fd,
	            struct error *err);
	/*
	 * Instead of open, for what mmap(2) cannot map: makes the shared mapping in a stub. For
	 * kinds that have both, is_inherited tells whether it has to be attach here.
	 */
	int (*attach)(struct restart *r, struct object *object, struct stub *stub,
	              const struct attachment *a, struct error *err);
	bool (*is_inherited)(const struct object *object);
};

/* all kinds in the order of kinds.def */
extern const struct kind *const kinds[];
extern const size_t n_kinds;
const struct kind *kind_by_number(uint32_t number); /* NULL when unknown */
const struct kind *kind_by_name(const char *name);  /* NULL when unknown */

/**
 * descriptor_collect() - find the object that stands behind a descriptor, mapping, cwd, root or exe
 * @ret:	the object of the first kind that claims @d; NULL if it was refused (fd.unsupported
 *		when no kind claims it)
 */
int descriptor_collect(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                       struct error *err);
/**
 * link_collect() - the same for a link under /proc that is no descriptor's; once for each file
 * @d:		task, live (O_PATH), what, link, source; the rest is found out
 */
int link_collect(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                 struct error *err);

/* the message of an object as its own type, e.g. PipeState *s = state(object, PipeState) */
#define object_state(object, type) ((type *)(object)->message)

/* whether bytes of a message that are to be text have a NUL in them */
static inline bool bytes_have_nul(const ProtobufCBinaryData *bytes)
{
	return bytes->len && memchr(bytes->data, 0, bytes->len);
}

/* as a string, the caller's */
static inline char *bytes_text(const ProtobufCBinaryData *bytes)
{
	return xstrndup(bytes->len ? (const char *)bytes->data : "", bytes->len);
}

/* copies, which the message owns */
static inline ProtobufCBinaryData bytes_copy(const void *data, size_t size)
{
	return (ProtobufCBinaryData){ size, size ? xmemdup(data, size) : NULL };
}

static inline ProtobufCBinaryData bytes_of_text(const char *text)
{
	return bytes_copy(text, strlen(text));
}
