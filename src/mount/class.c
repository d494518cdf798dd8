/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is to become of each superblock. See class.h. */
#include "mount/class.h"

#include <string.h>

static const struct type {
	const char *name;
	enum mount_class class;
} types[] = {
	{ "tmpfs", MOUNT_CONTENT },
	{ "ramfs", MOUNT_CONTENT },
	{ "proc", MOUNT_INSTANCE },
	{ "devpts", MOUNT_INSTANCE },
	{ "bpf", MOUNT_INSTANCE },
	{ "hugetlbfs", MOUNT_INSTANCE },
	{ "sysfs", MOUNT_KEYED },
	{ "mqueue", MOUNT_KEYED },
	{ "cgroup", MOUNT_SINGLETON },
	{ "cgroup2", MOUNT_SINGLETON },
	{ "debugfs", MOUNT_SINGLETON },
	{ "tracefs", MOUNT_SINGLETON },
	{ "securityfs", MOUNT_SINGLETON },
	{ "pstore", MOUNT_SINGLETON },
	{ "efivarfs", MOUNT_SINGLETON },
	{ "configfs", MOUNT_SINGLETON },
	{ "fusectl", MOUNT_SINGLETON },
	{ "binfmt_misc", MOUNT_SINGLETON },
	{ "devtmpfs", MOUNT_SINGLETON },
	{ "overlay", MOUNT_COMPOSITE },
	{ "nsfs", MOUNT_NSFS },
};

enum mount_class mount_class_of_type(const char *type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i].name, type))
			return types[i].class;
	return MOUNT_REFUSED;
}

void mount_classify(struct mount_table *t, const struct mount_table *outside)
{
	for (size_t i = 0; i < t->n_sbs; i++) {
		struct mount_sb *sb = &t->sbs[i];
		sb->class = mount_class_of_type(sb->type);
		/* what is keyed or single is the same one when it is mounted anew */
		if (sb->class != MOUNT_NSFS && sb->class != MOUNT_SINGLETON &&
		    sb->class != MOUNT_KEYED &&
		    mount_table_find_sb(outside, sb->major, sb->minor) != MOUNT_NONE)
			sb->class = MOUNT_EXTERNAL;
	}
}
