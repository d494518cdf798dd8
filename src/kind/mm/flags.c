/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of VmFlags words, fs/proc/task_mmu.c of Linux 6.1 to 6.18. See flags.h. */
#include "kind/mm/flags.h"

#include <string.h>

enum fate { SAVED, DERIVED, IRRELEVANT, REFUSED, KERNEL_ONLY };

static const struct {
	char word[3];
	enum fate fate;
	uint64_t flag;      /* SAVED */
	const char *reason; /* of the fate */
} words[] = {
	{ "rd", DERIVED, 0, "Mapping.prot" },
	{ "wr", DERIVED, 0, "Mapping.prot" },
	{ "ex", DERIVED, 0, "Mapping.prot" },
	{ "sh", SAVED, MM_SHARED, "" },
	{ "mr", DERIVED, 0, "from the file's mode" },
	{ "mw", SAVED, MM_MAY_WRITE, "" },
	{ "me", DERIVED, 0, "from the mount's noexec" },
	{ "ms", DERIVED, 0, "from MAP_SHARED" },
	{ "gd", SAVED, MM_GROWSDOWN, "" },
	{ "pf", KERNEL_ONLY, 0, "pages of a device (VM_PFNMAP)" },
	{ "lo", SAVED, MM_LOCKED, "" },
	{ "io", KERNEL_ONLY, 0, "memory of a device (VM_IO)" },
	{ "sr", SAVED, MM_SEQUENTIAL, "" },
	{ "rr", SAVED, MM_RANDOM, "" },
	{ "dc", SAVED, MM_DONTFORK, "" },
	{ "de", KERNEL_ONLY, 0, "a driver's or special mapping (VM_DONTEXPAND)" },
	{ "ac", SAVED, MM_ACCOUNTED, "" },
	{ "nr", SAVED, MM_NORESERVE, "" },
	{ "ht", SAVED, MM_HUGETLB, "" },
	{ "sf", REFUSED, 0, "a synchronous mapping of persistent memory (MAP_SYNC)" },
	{ "ar", REFUSED, 0, "an architecture-specific flag" },
	{ "wf", SAVED, MM_WIPEONFORK, "" },
	{ "dd", SAVED, MM_DONTDUMP, "" },
	{ "sd", IRRELEVANT, 0, "soft-dirty tracking: whoever uses it starts anew" },
	{ "mm", REFUSED, 0, "a driver's mixed mapping (VM_MIXEDMAP)" },
	{ "hg", SAVED, MM_HUGEPAGE, "" },
	{ "nh", SAVED, MM_NOHUGEPAGE, "" },
	{ "mg", SAVED, MM_MERGEABLE, "" },
	{ "um", REFUSED, 0, "userfaultfd tracks missing pages" },
	{ "uw", REFUSED, 0, "userfaultfd tracks writes" },
	{ "ui", REFUSED, 0, "userfaultfd tracks minor faults" },
	{ "ss", REFUSED, 0, "a shadow stack" },
	{ "sl", SAVED, MM_SEALED, "" },
	{ "dp", SAVED, MM_DROPPABLE, "" },
	{ "lf", SAVED, MM_LOCKONFAULT, "" },
	{ "gu", DERIVED, 0, "from guard regions" },
};

static size_t find(const char *word)
{
	size_t w = 0;

	while (w < sizeof(words) / sizeof(words[0]) && strcmp(words[w].word, word))
		w++;
	return w;
}

static bool is_between(const char *word, const char *first, const char *last)
{
	return find(first) <= find(word) && find(word) <= find(last);
}

/*
 * Kernels that have no word for VM_LOCKONFAULT ("lf") print "??", as for every bit without one.
 * Words come in the order of the bits, and of those after VM_LOCKED it is the only one without a
 * word before VM_MERGEABLE; it comes between VM_DONTEXPAND and VM_ACCOUNT.
 */
static const char *named(const struct proc_map *map, size_t i)
{
	if (!strcmp(map->vm_flags[i], "??") && proc_map_flag(map, "lo") && i > 0 &&
	    i + 1 < map->n_vm_flags && is_between(map->vm_flags[i - 1], "lo", "de") &&
	    is_between(map->vm_flags[i + 1], "ac", "mg"))
		return "lf";
	return map->vm_flags[i];
}

int mm_flags(const struct proc_map *map, bool kernel, uint64_t *ret, struct error *refusal)
{
	uint64_t flags = map->shared ? MM_SHARED : 0;
	bool hugetlb = proc_map_flag(map, "ht");

	for (size_t i = 0; i < map->n_vm_flags; i++) {
		const char *word = named(map, i);
		size_t w = find(word);

		if (w == sizeof(words) / sizeof(words[0]))
			return error_refuse(refusal, CODE_unknown_state,
			                    "VmFlags has \"%s\", which this version does not know",
			                    word);
		if (hugetlb && !strcmp(word, "de"))
			continue; /* hugetlbfs sets VM_DONTEXPAND itself */
		if (words[w].fate == REFUSED || (words[w].fate == KERNEL_ONLY && !kernel))
			return error_refuse(refusal, CODE_mm_vmflags, "it is %s", words[w].reason);
		flags |= words[w].flag;
	}
	*ret = flags;
	return 0;
}
