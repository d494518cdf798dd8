/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Into namespaces, with the rights of their owner. See enter.h. */
#include "host/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/features.h"
#include "util/alloc.h"
#include "util/cleanup.h"

bool namespace_is_own(int fd, const char *link)
{
	_cleanup_(free_p) char *path = xasprintf("/proc/thread-self/ns/%s", link);
	struct stat own, st;

	return fstat(fd, &st) == 0 && stat(path, &own) == 0 && own.st_dev == st.st_dev &&
	       own.st_ino == st.st_ino;
}

/* as cap_capable() of the kernel: the owner of the namespace right below ours has them all below */
bool namespace_may_enter(int nsfd)
{
	_cleanup_(close_p) int user = -1;

	if (features_capability_now(CAP_SYS_ADMIN))
		return true;
	user = ioctl(nsfd, NS_GET_NSTYPE) == CLONE_NEWUSER ? fcntl(nsfd, F_DUPFD_CLOEXEC, 3)
	                                                   : ioctl(nsfd, NS_GET_USERNS);
	while (user >= 0) {
		_cleanup_(close_p) int parent = ioctl(user, NS_GET_PARENT);
		uid_t owner;
		if (parent >= 0 && namespace_is_own(parent, "user"))
			return ioctl(user, NS_GET_OWNER_UID, &owner) == 0 && owner == geteuid();
		close_p(&user);
		user = take_fd(&parent);
	}
	return false;
}

int namespace_enter_owner(int nsfd)
{
	_cleanup_(close_p) int owner = ioctl(nsfd, NS_GET_USERNS);

	/* EINVAL: we are in it */
	if (owner < 0 || (setns(owner, CLONE_NEWUSER) < 0 && errno != EINVAL))
		return -1;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* other credentials have cleared it */
	return 0;
}

int namespace_enter(int nsfd, int type)
{
	if (setns(nsfd, type) == 0 || (errno == EPERM && namespace_is_own(nsfd, "mnt")))
		return 0;
	if (errno != EPERM || namespace_enter_owner(nsfd) < 0)
		return -1;
	/* one of his own, where he may make file systems */
	if (type != CLONE_NEWNS && unshare(CLONE_NEWNS) < 0)
		return -1;
	return setns(nsfd, type);
}
