/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page that a stub and the coordinator share, as stub.S and task/calls.c see it. Offsets in
 * bytes from the start of the slot; calls.c asserts that its structs agree.
 */
#pragma once

#define STUB_TURN       0     /* u32, futex: 1 = the stub's turn, 0 = the coordinator's */
#define STUB_N          4     /* u32: entries in the list */
#define STUB_DONE       8     /* u32: entries executed */
#define STUB_FIRST      12    /* u32: the entry to begin with */
#define STUB_CALLS      64    /* entries */
#define STUB_RESULTS    16448 /* s64 per entry */
#define STUB_DATA       20480 /* buffers */
#define STUB_SLOT_SIZE  69632 /* 17 pages */
#define STUB_CODE_SIZE  4096
#define STUB_ENTRY_SIZE 64
#define STUB_ENTRY_ARG  8
/* u32: bits 0-5: argument is the result of that entry; bit 6: may fail */
#define STUB_ENTRY_FLAGS 56
/* s32: a clone's child goes to the slot that many pages further; 0 = this is not a clone */
#define STUB_ENTRY_CHILD 60
#define STUB_MAY_FAIL    6
