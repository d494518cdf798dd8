/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An entry of the list, as list.S sees it; arch.h has it as a struct. Offsets in bytes. */
#pragma once

#define LIST_ENTRY_SIZE 64
#define LIST_ARG        8
#define LIST_RESULT     56
