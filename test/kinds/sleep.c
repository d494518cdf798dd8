/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest subject: one process that waits.
 *
 * TEST alone round-trip
 */
#include "subject.h"

int main(void)
{
	pid_t pid = getpid();

	subject_checkpoint();
	CHECK_EQ(syscall(SYS_getpid), pid);
	return 0;
}
