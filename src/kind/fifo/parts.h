/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the kind fifo: collect.c is the checkpoint, kind/fifo.c the restart. */
#pragma once

#include "kind/kind.h"
#include "kind/opened.h"
#include "kind/pipe/ends.h"
#include "kind/regfile/names.h"
#include "util/handle.h"

/* object->live */
struct fifo {
	/* checkpoint */
	char *path, *key; /* "file:[MAJOR:MINOR:INO]" */
	uint32_t mount;   /* the object that path is on; 0 none */
	dev_t dev;
	ino_t ino;
	bool deleted;              /* all its names are */
	struct handle_room handle; /* if it has others than path, which is deleted; else empty */
	struct stat st;            /* of a deleted one */
	struct pipe_ends ends;
	uint32_t *hung; /* flags of readers under this name that see POLLHUP */
	size_t n_hung;
	struct object *owner; /* NULL: it is; then of all names: */
	int reader, writer;   /* duplicates of what the set has; -1 = none */
	bool quiet;           /* there are readers that do not see POLLHUP */
	bool hung_up;         /* there are others */
	/* restart */
	int base;             /* a description of our own, or -1 */
	char *bytes;          /* the contents, as they come */
	struct old_name name; /* deleted: open until all other names have been given */
	struct opened opened; /* those of FifoState.hung */
	/* both */
	uint32_t n_more; /* other names */
};

struct fifo *fifo_new(void); /* object->live, which knows nothing yet */

/* operations of the kind, see kind.h */
int fifo_collect_descriptor(struct checkpoint *c, const struct descriptor *d, struct object **ret,
                            struct error *err);
int fifo_judge(struct checkpoint *c, struct object *object, struct error *err);
int fifo_save_contents(struct checkpoint *c, struct object *object, struct error *err);
