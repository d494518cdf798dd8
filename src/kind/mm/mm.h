/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of kind mm know of each other. */
#pragma once

#include <sys/types.h>

#include "kind/kind.h"
#include "kind/mm/flags.h"
#include "mm.pb-c.h"
#include "proc/maps.h"
#include "proc/pagemap.h"

struct image_writer;
struct late_block;
struct task;

#define MM_PAGE      4096ull
#define MM_SHMEM_SET 1u                /* page set of shared memory objects */
#define MM_TASK_END  0x7ffffffff000ull /* TASK_SIZE with four-level page tables, x86-64 */

typedef MmState__Mapping Mapping;

/* object->live of an mm, at checkpoint and at restart */
struct mm {
	/* checkpoint */
	const struct task *task;  /* a task that has it */
	struct page_range *pages; /* its own private pages, without guards; NULL until scanned */
	size_t n_pages;
	struct page_range *huge;   /* huge pages, until it is told whose they are; see huge.h */
	size_t n_huge, huge_room;  /* ... and how many more its message can take */
	struct page_range *partly; /* mappings where huge pages may be shared in part; see huge.h */
	size_t n_partly;
	struct mm_share *share; /* page sets that are kept in this object; NULL = none */
	uint32_t turn;          /* of task: TaskState.turn, .maker, .stand_ins */
	const struct task *maker;
	uint32_t *stand_ins;
	size_t n_stand_ins;
	struct {
		bool may_share; /* pages of it are not the mm's alone */
		bool has_huge;  /* transparent ones */
		bool is_empty;  /* large, and nothing is in memory or swapped */
	} * told;               /* by smaps, of each mapping */

	MmState__Home **homes; /* those of the message, by home; NULL: none, or not indexed */

	/* restart */
	struct stub *stub;       /* the first one that has it; NULL before install */
	int mem;                 /* /proc/PID/mem of stub, -1 = not open */
	struct sharing *sharing; /* in the first mm, once the page sets of all have their place */
	struct inheritance *inheritance; /* of its first stub; not owned */
	struct restart_set *sets;        /* MmState.page_sets */
	size_t n_sets;
	struct page_range *kept; /* parts of mappings that were inherited, ascending */
	size_t n_kept, kept_at;
};

struct mm *mm_live(struct object *object); /* made on first use */

/*
 * homes.c: pages of page sets have the addresses at which all members have inherited them. Where
 * somebody has moved them since, that is their home, an address that nobody uses; all have moved
 * them from there then.
 */
struct mm_piece {
	const Mapping *mapping;
	uint64_t start, end; /* the part of it that is at home here */
	uint64_t away;       /* where it is, minus that; modulo 2^64 */
};

/* the piece that has its home there; false: there is none */
bool mm_piece_at(const struct object *object, uint64_t home, struct mm_piece *ret);
/* the first piece that ends above an address; false: there is none */
bool mm_piece_above(const struct object *object, uint64_t home, struct mm_piece *ret);
/* where the home of what is at an address is; *end: lowered to where that does not go on */
uint64_t mm_home_of(const struct object *object, uint64_t address, uint64_t *end);
/* where what has its home there is, and in *ret_end how far that goes; whether mapped or not */
uint64_t mm_away_from(const struct object *object, uint64_t home, uint64_t *ret_end);
/* by their homes; kept in the mm, once the message is complete */
void mm_index_homes(struct object *object);

/* checkpoint */
/* the text of /proc/PID/smaps, NUL-terminated; the caller's. That of others is read ahead. */
int mm_read_smaps(struct checkpoint *c, const struct task *task, char **ret, struct error *err);
/* the link under /proc of a descriptor that a task of the set has of an inode; the caller's; NULL:
 * there is none */
char *mm_find_descriptor(struct checkpoint *c, dev_t dev, ino_t ino);
int mm_collect_state(struct checkpoint *c, struct task *task, struct object *object,
                     struct error *err);
/* finds the pages of all, when all are known */
int mm_scan_pages(struct checkpoint *c, struct error *err);
int mm_save_pages(struct checkpoint *c, struct object *object, struct error *err);
uint64_t mm_bulk_bytes(struct object *object);

/* restart */
int mm_validate(const struct objects *objects, const struct object *object, struct error *err);
int mm_preflight(struct restart *r, struct object *object, struct error *err);
int mm_install(struct restart *r, struct object *object, struct stub *stub, struct error *err);
int mm_restore_bulk(struct restart *r, struct object *object, const struct page_block *block,
                    struct error *err);
int mm_commit(struct restart *r, struct object *object, struct stub *stub, struct error *err);

/* inspect */
struct json_object *mm_describe(const struct objects *objects, const struct object *object);

/* the mapping that has [start, end) wholly within it, NULL if none */
const Mapping *mm_mapping_at(const MmState *s, uint64_t start, uint64_t end);
/* whether its private pages are in the image: anonymous, or changed pages of a file */
bool mm_has_pages(const Mapping *m);
/* what it is mapped with while it is being filled */
bool mm_fill_writable(const Mapping *m);
/* xxh3 of a vDSO of the coordinator's own or of a task */
int mm_vdso_hash(pid_t pid, uint64_t start, uint64_t size, uint64_t *ret, struct error *err);
