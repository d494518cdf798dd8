/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * POSIX message queues. Names and owners show in the mqueue file system, the rest by descriptors of
 * it. The kernel lets nobody look at a message without taking it, so all are taken and sent back in
 * the same order, which keeps them as they were: by priority, and within one by age. That is done
 * by a process of its own, which does not end with us, so that nothing is lost.
 */
#include <dirent.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/ipc.h"
#include "ipc/perm.h"
#include "ipc/stream.h"
#include "util/alloc.h"
#include "util/cleanup.h"
#include "util/file.h"

/* ---- what is there ---- */

static int open_fs(struct error *err)
{
	_cleanup_(close_p) int context = fsopen("mqueue", FSOPEN_CLOEXEC);

	if (context < 0 && errno == ENODEV)
		return -ENODEV; /* CONFIG_POSIX_MQUEUE is off */
	if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return error_raise(err, errno, "make a file system of type mqueue");
	int fd = fsmount(context, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? error_raise(err, errno, "mount a file system of type mqueue") : fd;
}

int ipc_mq_look(int fd, IpcMqState *s, struct error *err)
{
	unsigned long size = 0;
	struct mq_attr attr;
	char text[256];
	struct stat st;
	int how = 0, signal = 0, pid = 0;

	ssize_t n = read(fd, text, sizeof(text) - 1);
	if (n < 0 || fstat(fd, &st) < 0 || syscall(SYS_mq_getsetattr, fd, NULL, &attr) < 0)
		return error_raise(err, errno, "look at message queue /%s", (char *)s->name.data);
	text[n] = 0;
	if (sscanf(text, "QSIZE:%lu NOTIFY:%d SIGNO:%d NOTIFY_PID:%d", &size, &how, &signal,
	           &pid) != 4)
		return error_raise(err, EBADMSG, "message queue /%s reads '%s'",
		                   (char *)s->name.data, text);
	s->device = st.st_dev;
	s->inode = st.st_ino;
	s->uid = st.st_uid;
	s->gid = st.st_gid;
	s->mode = st.st_mode & 07777;
	s->max_messages = (uint64_t)attr.mq_maxmsg;
	s->message_size = (uint64_t)attr.mq_msgsize;
	s->n_messages = (uint64_t)attr.mq_curmsgs;
	s->stream_size = s->n_messages * IPC_STREAM_HEADER + size;
	s->notify_pid = (uint32_t)pid;
	if (!how && !signal && !pid)
		return 0;
	s->notify = xmalloc(sizeof(*s->notify));
	ipc_mq_state__notify__init(s->notify);
	s->notify->how = (uint32_t)how;
	s->notify->signal = (uint32_t)signal;
	return 0;
}

static int open_queue(const char *name, int flags, struct error *err)
{
	/* always close-on-exec; O_CLOEXEC would only stay among the description's flags */
	int fd = (int)syscall(SYS_mq_open, name, flags, 0, NULL);

	return fd < 0 ? error_raise(err, errno, "open message queue /%s", name) : fd;
}

static int list_one(const char *name, IpcMqState ***ret, size_t *ret_n, struct error *err)
{
	_cleanup_(close_p) int fd = open_queue(name, O_RDONLY | O_NONBLOCK, err);

	if (fd < 0)
		return error_trace(err, fd);
	IpcMqState *s = xmalloc(sizeof(*s));
	ipc_mq_state__init(s);
	*array_push(*ret, *ret_n) = s;
	s->name.data = (uint8_t *)xstrdup(name);
	s->name.len = strlen(name);
	int r = ipc_mq_look(fd, s, err);
	return r < 0 ? error_trace(err, r) : 0;
}

int ipc_mq_list(IpcMqState ***ret, size_t *ret_n, struct error *err)
{
	_cleanup_(closedir_p) DIR *dir = NULL;
	_cleanup_(close_p) int fs = open_fs(err);

	if (fs == -ENODEV)
		return 0;
	if (fs < 0)
		return error_trace(err, fs);
	int fd = openat(fs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		close_p(&fd);
		return error_raise(err, errno, "open a file system of type mqueue");
	}
	for (struct dirent *e; (e = readdir(dir));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		int r = list_one(e->d_name, ret, ret_n, err);
		if (r < 0)
			return error_trace(err, r);
	}
	return 0;
}

int ipc_mq_read_directory(IpcNsState *state, struct error *err)
{
	_cleanup_(close_p) int fs = open_fs(err);
	struct stat st;

	if (fs == -ENODEV)
		return 0;
	if (fs < 0)
		return error_trace(err, fs);
	if (fstat(fs, &st) < 0)
		return error_raise(err, errno, "look at the directory of message queues");
	state->queues = xmalloc(sizeof(*state->queues));
	ipc_ns_state__directory__init(state->queues);
	state->queues->mode = st.st_mode & 07777;
	state->queues->uid = st.st_uid;
	state->queues->gid = st.st_gid;
	state->queues->device = st.st_dev;
	return 0;
}

int ipc_mq_open_directory(struct error *err)
{
	int fs = open_fs(err);

	/* who is root in a user namespace may only mount in a mount namespace of that */
	if (fs == -EPERM && unshare(CLONE_NEWNS) == 0)
		fs = open_fs(err);
	return fs == -ENODEV ? 0 : fs < 0 ? error_trace(err, fs) : fs;
}

int ipc_mq_write_directory(const IpcNsState *state, int fd, struct error *err)
{
	const IpcNsState__Directory *d = state->queues;
	int r = d ? file_give(fd, d->uid, d->gid, d->mode) : 0;

	return r < 0 ? error_raise(err, -r, "give the directory of message queues to %u:%u", d->uid,
	                           d->gid)
	             : 0;
}

char *ipc_mq_name(const IpcMqState *s)
{
	return xstrndup((const char *)s->name.data, s->name.len);
}

int ipc_mq_open(const IpcMqState *s, int flags, struct error *err)
{
	_cleanup_(free_p) char *name = ipc_mq_name(s);
	int fd = open_queue(name, flags, err);

	return fd < 0 ? error_trace(err, fd) : fd;
}

int ipc_mq_unlink(const IpcMqState *s, struct error *err)
{
	_cleanup_(free_p) char *name = ipc_mq_name(s);

	return syscall(SYS_mq_unlink, name) < 0
	               ? error_raise(err, errno, "unlink message queue /%s", name)
	               : 0;
}

/* ---- its messages ---- */

/* memory that the process of its own shares with us */
struct borrowed {
	int result;           /* 0; -errno */
	size_t size;          /* of data */
	uint64_t n;           /* messages in it */
	unsigned char data[]; /* as in a stream, and room for one more message */
};

/* system calls and memory only: we may have had threads. */
static int borrow(int fd, struct borrowed *b, uint64_t n, size_t message_size, size_t room)
{
	for (; b->n < n; b->n++) {
		unsigned char *at = b->data + b->size;
		unsigned priority = 0;
		if (room - b->size < IPC_STREAM_HEADER + message_size)
			return -EOVERFLOW;
		ssize_t size = syscall(SYS_mq_timedreceive, fd, at + IPC_STREAM_HEADER,
		                       message_size, &priority, NULL);
		if (size < 0)
			return -errno;
		uint64_t type = priority;
		uint32_t size32 = (uint32_t)size;
		memcpy(at, &type, sizeof(type));
		memcpy(at + sizeof(type), &size32, sizeof(size32));
		b->size += IPC_STREAM_HEADER + (size_t)size;
	}
	return 0;
}

static int send_one(int fd, const void *data, size_t size, unsigned priority)
{
	while (syscall(SYS_mq_timedsend, fd, data, size, priority, NULL) < 0)
		if (errno != EINTR && errno != ENOMEM)
			return -errno;
	return 0;
}

static int give_back(int fd, const struct borrowed *b)
{
	const unsigned char *at = b->data;

	for (uint64_t i = 0; i < b->n; i++) {
		uint32_t priority, size;
		memcpy(&priority, at, sizeof(priority));
		memcpy(&size, at + sizeof(uint64_t), sizeof(size));
		at += IPC_STREAM_HEADER;
		int r = send_one(fd, at, size, priority);
		if (r < 0)
			return r;
		at += size;
	}
	return 0;
}

/* into an empty queue a message comes, and goes again */
static int knock(int fd, struct borrowed *b, size_t message_size)
{
	int r = send_one(fd, "", 0, 0);

	if (r == 0 && syscall(SYS_mq_timedreceive, fd, b->data, message_size, NULL, NULL) < 0)
		r = -errno;
	return r;
}

static void put_times(int fd, const struct stat *st)
{
	const struct timespec times[] = { st->st_atim, st->st_mtim };

	futimens(fd, times);
}

static void __attribute__((noreturn))
borrower(int fd, const struct stat *st, struct borrowed *b, const IpcMqState *s, size_t room,
         const struct ipc_mq_watch *watch)
{
	prctl(PR_SET_NAME, "stasis-mq");
	b->result = watch->begin(watch->arg);
	if (b->result < 0)
		_exit(0);
	b->result = borrow(fd, b, s->n_messages, s->message_size, room);
	int r = s->n_messages ? give_back(fd, b) : knock(fd, b, s->message_size);
	if (r < 0)
		b->result = r;
	put_times(fd, st);
	_exit(0);
}

/* nothing but SIGKILL to itself ends it between taking and giving back */
static int run_borrower(int fd, const struct stat *st, const IpcMqState *s, struct borrowed *b,
                        size_t room, const struct ipc_mq_watch *watch, struct error *err)
{
	sigset_t all, before;
	int status = 0;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		borrower(fd, st, b, s, room, watch);
	}
	int saved = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return error_raise(err, saved, "fork");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status || b->result < 0)
		return error_raise(err, status ? ECHILD : -b->result,
		                   "take the messages of a queue and send them back");
	return 0;
}

int ipc_mq_read(const IpcMqState *s, int fd, const struct ipc_mq_watch *watch,
                struct ipc_stream *ret, struct error *err)
{
	size_t room = s->stream_size + IPC_STREAM_HEADER + s->message_size;
	size_t total = sizeof(struct borrowed) + room;
	struct error ignored;
	struct stat st;

	if (s->n_messages == 0 && !(s->notify && s->notify->signal))
		return 0;
	if (fstat(fd, &st) < 0)
		return error_raise(err, errno, "fstat of a message queue");
	struct borrowed *b = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
	                          -1, 0);
	if (b == MAP_FAILED)
		return error_raise(err, errno, "map memory for messages");
	int r = run_borrower(fd, &st, s, b, room, watch, err);
	int ended = watch->end(watch->arg, r < 0 ? &ignored : err);
	put_times(fd, &st);
	r = r < 0 ? r : ended;
	if (r == 0) {
		*ret = (struct ipc_stream){ .data = xmemdup(b->data, b->size),
			                    .size = b->size,
			                    .room = b->size,
			                    .n = b->n };
	}
	munmap(b, total);
	return r < 0 ? error_trace(err, r) : 0;
}

int ipc_mq_write(int fd, const struct ipc_stream *stream, struct error *err)
{
	struct ipc_message message;
	size_t at = 0;

	for (int r; (r = ipc_stream_next(stream, &at, &message, err));) {
		if (r < 0)
			return error_trace(err, r);
		if (mq_send(fd, message.data, message.size, (unsigned)message.type) < 0)
			return error_raise(err, errno, "send %zu bytes to a message queue",
			                   message.size);
	}
	return 0;
}

/* ---- making it ---- */

int ipc_mq_make(const IpcMqState *s, struct error *err)
{
	struct mq_attr attr = { .mq_maxmsg = (long)s->max_messages,
		                .mq_msgsize = (long)s->message_size };
	_cleanup_(free_p) char *name = ipc_mq_name(s);
	struct rlimit limit;

	/* what the kernel reserves for it counts for its owner */
	if (getrlimit(RLIMIT_MSGQUEUE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_MSGQUEUE, &limit);
	}
	int r = ipc_perm_become(s->uid, s->gid, err);
	if (r < 0)
		return error_trace(err, r);
	_cleanup_(close_p) int fd = (int)syscall(SYS_mq_open, name, O_RDWR | O_CREAT | O_EXCL,
	                                         s->mode & 0777, &attr);
	int saved = errno;
	r = ipc_perm_become(getuid(), getgid(), err);
	if (r < 0)
		return error_trace(err, r);
	if (fd < 0) {
		r = error_raise(err, saved, "make the message queue /%s", name);
		if (saved == EMFILE)
			error_hint(err, "raise RLIMIT_MSGQUEUE: ulimit -q");
		return r;
	}
	if (fchmod(fd, s->mode) < 0) /* not subject to the umask */
		return error_raise(err, errno, "chmod of message queue /%s", name);
	return 0;
}
