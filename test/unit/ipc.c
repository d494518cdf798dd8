/* SPDX-License-Identifier: GPL-2.0-or-later */
/* src/ipc: what lies in an IPC namespace, from one namespace into another; and hostile streams. */
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/enter.h"
#include "host/helper.h"
#include "ipc/ipc.h"
#include "ipc/stream.h"
#include "util/cleanup.h"

static struct error err;

static void need_root(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWIPC) < 0)
		skip();
}

/* a new one, empty, that everything fits into */
static void next_namespace(void)
{
	assert_int_equal(unshare(CLONE_NEWIPC), 0);
	assert_int_equal(ipc_settings_open_wide(&err), 0);
}

static void streams(void **state)
{
	struct ipc_stream stream = { 0 }, cut;
	struct ipc_message m;
	size_t at = 0;

	ipc_stream_add(&stream, 7, "seven", 5);
	ipc_stream_add(&stream, 1ull << 40, "", 0);
	assert_int_equal(stream.n, 2);
	assert_true(ipc_stream_valid(stream.size, stream.n, 5));
	assert_false(ipc_stream_valid(stream.size, stream.n, 1));
	assert_false(ipc_stream_valid(stream.size, 3, 5));
	assert_false(ipc_stream_valid(5, 0, 5));
	assert_false(ipc_stream_valid(IPC_STREAM_MAX + 1, 1, UINT64_MAX));
	assert_int_equal(ipc_stream_next(&stream, &at, &m, &err), 1);
	assert_true(m.type == 7 && m.size == 5 && !memcmp(m.data, "seven", 5));
	assert_int_equal(ipc_stream_next(&stream, &at, &m, &err), 1);
	assert_true(m.type == 1ull << 40 && m.size == 0);
	assert_int_equal(ipc_stream_next(&stream, &at, &m, &err), 0);
	for (size_t size = 1; size < stream.size; size++) {
		int r = 1;
		cut = stream;
		cut.size = size;
		for (at = 0; r > 0;)
			r = ipc_stream_next(&cut, &at, &m, &err);
		assert_int_equal(r, size == IPC_STREAM_HEADER + 5 ? 0 : -EBADMSG);
	}
	ipc_stream_free(&stream);
}

static void settings(void **state)
{
	char good[] = "kernel/shmmax", bad[] = "kernel/core_pattern", outside[] = "../../etc/x";
	char number[] = "10\t20", text[] = "|/bin/sh", none[] = "";
	IpcNsState__Setting s = IPC_NS_STATE__SETTING__INIT;

	s.name = good;
	s.value = number;
	assert_true(ipc_setting_valid(&s));
	s.value = text;
	assert_false(ipc_setting_valid(&s));
	s.value = none;
	assert_false(ipc_setting_valid(&s));
	s.value = number;
	s.name = bad;
	assert_false(ipc_setting_valid(&s));
	s.name = outside;
	assert_false(ipc_setting_valid(&s));
}

/* in our memory, in another namespace */
static int visit(void *arg, struct error *ret)
{
	int *fd = arg, there = *fd;

	*fd = -1;
	assert_int_equal(namespace_enter(there, CLONE_NEWIPC), 0);
	return semget(5, 1, 0600);
}

static void visits(void **state)
{
	need_root();
	_cleanup_(close_p) int there = open("/proc/thread-self/ns/ipc", O_RDONLY | O_CLOEXEC);
	assert_int_equal(semget(5, 1, IPC_CREAT | 0600) >= 0, true);
	next_namespace();
	assert_true(semget(5, 1, 0600) < 0);
	int fd = there;
	assert_true(helper_run_here(visit, &fd, &err) >= 0);
	assert_int_equal(fd, -1);
	assert_true(semget(5, 1, 0600) < 0);
}

static int begin(void *arg)
{
	return 0;
}

static int end(void *arg, struct error *error)
{
	++*(int *)arg;
	return 0;
}

/* no message is lost or out of order, whoever reads how often; the next one comes last */
static void queues(void **state)
{
	struct mq_attr attr = { .mq_maxmsg = 10, .mq_msgsize = 100 };
	struct ipc_stream first = { 0 }, second = { 0 };
	IpcMqState **list = NULL;
	size_t n = 0;
	int ended = 0;
	const struct ipc_mq_watch watch = { begin, end, &ended };
	char text[100];
	unsigned priority;

	need_root();
	mqd_t q = mq_open("/q", O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0600, &attr);
	assert_true(q >= 0);
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(mq_send(q, (char *)&i, sizeof(i), i % 3), 0);
	assert_int_equal(ipc_mq_list(&list, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(list[0]->n_messages, 9);
	assert_int_equal(ipc_mq_read(list[0], q, &watch, &first, &err), 0);
	assert_int_equal(ipc_mq_read(list[0], q, &watch, &second, &err), 0);
	assert_true(first.size == second.size && first.size == list[0]->stream_size);
	assert_memory_equal(first.data, second.data, first.size);
	static const unsigned order[] = { 2, 5, 8, 1, 4, 7, 0, 3, 6 };
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(mq_receive(q, text, sizeof(text), &priority), 4);
		assert_int_equal(*(unsigned *)text, order[i]);
		assert_int_equal(priority, order[i] % 3);
	}
	next_namespace();
	assert_int_equal(ipc_mq_make(list[0], &err), 0);
	assert_int_equal(ipc_mq_make(list[0], &err), -EEXIST);
	mq_close(q);
	q = ipc_mq_open(list[0], O_RDWR | O_NONBLOCK, &err);
	assert_true(q >= 0);
	assert_int_equal(ipc_mq_write(q, &first, &err), 0);
	ipc_stream_free(&second);
	assert_int_equal(ipc_mq_read(list[0], q, &watch, &second, &err), 0);
	assert_memory_equal(first.data, second.data, first.size);
	assert_int_equal(ended, 3);
	ipc_stream_free(&first);
	ipc_stream_free(&second);
	protobuf_c_message_free_unpacked(&list[0]->base, NULL);
	free(list);
	mq_close(q);
}

/* an id is exact, or it is an error */
static void ids(void **state)
{
	IpcPerm perm = IPC_PERM__INIT;
	IpcShmState s = IPC_SHM_STATE__INIT;

	need_root();
	next_namespace();
	perm.id = 5 * 32768 + 77;
	perm.key = 9;
	perm.mode = 0640;
	perm.cuid = 12;
	s.perm = &perm;
	s.size = 100;
	assert_int_equal(ipc_shm_make(&s, &err), 0);
	assert_int_equal(geteuid(), 0);
	assert_int_equal(shmget(9, 0, 0), 5 * 32768 + 77);
	perm.key = 10;
	assert_int_equal(ipc_shm_make(&s, &err), -EEXIST);
	perm.key = 9;
	perm.id = 78;
	assert_int_equal(ipc_shm_make(&s, &err), -EEXIST);
	assert_int_equal(geteuid(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams), cmocka_unit_test(settings), cmocka_unit_test(visits),
		cmocka_unit_test(queues),  cmocka_unit_test(ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
