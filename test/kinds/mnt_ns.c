/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mount namespaces.
 *
 * TEST filesystem refuse code=mount.filesystem -- filesystem
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>

#include "cases.h"

/* a file system that nobody knows how to make again; its server never answers */
static void filesystem(void)
{
	char options[80];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0 && unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	CHECK(mount("none", "/mnt", "fuse", 0, options) == 0);
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	static const struct subject_case cases[] = {
		{ "filesystem", filesystem },
	};

	return SUBJECT_CASES(cases, argc, argv);
}
