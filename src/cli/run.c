/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stasis run: start a program so that it can be checkpointed cleanly. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/isolate.h"
#include "cli/terminal.h"

enum { OPTION_ISOLATE = OPTION_LAST, OPTION_ROOT, OPTION_TMPFS, OPTION_BIND };

static const struct option long_options[] = { { "help", no_argument, NULL, 'h' },
	                                      { "isolate", no_argument, NULL, OPTION_ISOLATE },
	                                      { "root", required_argument, NULL, OPTION_ROOT },
	                                      { "tmpfs", required_argument, NULL, OPTION_TMPFS },
	                                      { "bind", required_argument, NULL, OPTION_BIND },
	                                      { 0 } };

struct run {
	char **command;
	struct isolate isolate;
};

/* nothing inherited but the standard descriptors; exec's failures end as env(1)'s do */
static int exec_clean(char **command)
{
	if (close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) < 0) {
		perror("stasis: run: close_range");
		return EXIT_INTERNAL;
	}
	execvp(command[0], command);
	int errnum = errno;
	fprintf(stderr, "stasis: run: %s: %s\n", command[0], strerror(errnum));
	return errnum == ENOENT ? 127 : 126;
}

/* in the child: the container, if one is wanted; @slave is -1 without a terminal */
static int enter(const struct run *run, int *slave, int ready)
{
	struct error err;

	if (!run->isolate.active)
		return 0;
	int r = isolate_enter(&run->isolate, &err);
	/* one that has no /dev keeps the host's */
	if (r == 0 && *slave >= 0 && access("/dev/pts/ptmx", F_OK) == 0)
		r = terminal_move(slave, ready, "/dev/pts/ptmx", &err);
	if (r < 0)
		report_error(&err, "run", false, false);
	return r;
}

/* the leader of the new session takes the slave wherever it would have had the user's terminal */
static int run_in_terminal(void *data, int slave, int ready)
{
	struct run *run = data;

	if (enter(run, &slave, ready) < 0)
		return EXIT_INTERNAL;
	ioctl(slave, TIOCSCTTY, 0);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (isatty(fd))
			dup2(slave, fd);
	return exec_clean(run->command); /* closes ready */
}

static int no_child(void)
{
	struct error err;

	error_raise(&err, errno, "make the child and its namespaces");
	error_hint(&err, "run as root, or allow unprivileged user namespaces");
	report_error(&err, "run", false, false);
	return -1;
}

static int run_plain(struct run *run, uint64_t flags)
{
	pid_t child = fork_into(flags);
	int none = -1;

	if (child < 0)
		return no_child();
	if (child == 0) {
		setsid();
		_exit(enter(run, &none, -1) < 0 ? EXIT_INTERNAL : exec_clean(run->command));
	}
	forget_standard_files();
	return follow(child);
}

/* the value of one option of --isolate; an exit code */
static int take_option(struct isolate *isolate, int option)
{
	switch (option) {
	case OPTION_ISOLATE:
		isolate->active = true;
		break;
	case OPTION_ROOT:
		isolate->root = optarg;
		break;
	case OPTION_TMPFS:
		if (!isolate_add_tmpfs(isolate, optarg))
			return usage_error(&run_command, "--tmpfs %s: not an absolute path",
			                   optarg);
		break;
	default:
		if (!isolate_add_bind(isolate, optarg))
			return usage_error(&run_command, "--bind %s: not SRC:DST or SRC:DST:ro",
			                   optarg);
	}
	return EXIT_DONE;
}

static int parse(struct run *run, int argc, char **argv, int *ret_exit)
{
	int option;

	while ((option = next_option(&run_command, argc, argv, "+:h", long_options, ret_exit)) >=
	       0) {
		*ret_exit = take_option(&run->isolate, option);
		if (*ret_exit)
			return -2;
	}
	if (option == -2)
		return option;
	if ((run->isolate.root || run->isolate.n_mounts) && !run->isolate.active)
		*ret_exit = usage_error(&run_command, "--root, --tmpfs and --bind need --isolate");
	else if (optind >= argc)
		*ret_exit = usage_error(&run_command, "it needs a command to run");
	run->command = argv + optind;
	return *ret_exit ? -2 : 0;
}

static int run_main(int argc, char **argv)
{
	int exit_code = EXIT_DONE, status;
	struct run run = { 0 };
	struct error err;

	if (parse(&run, argc, argv, &exit_code) < 0)
		return exit_code;
	uint64_t flags = isolate_prepare(&run.isolate);
	int terminal = terminal_find(false);
	if (terminal >= 0) {
		status = terminal_run(terminal, run_in_terminal, &run, flags, &err);
		if (status < 0)
			report_error(&err, "run", false, false);
	} else
		status = run_plain(&run, flags);
	if (status < 0)
		return EXIT_INTERNAL;
	end_as(status);
}

const struct command run_command = {
	.name = "run",
	.run = run_main,
	.summary = "start a program so that it can be checkpointed cleanly",
	.help = "usage: stasis run [OPTIONS] [--] CMD [ARGUMENT]...\n"
		"\n"
		"Starts CMD in a session of its own, without descriptors that it would have "
		"inherited\n"
		"by accident. On a terminal it gets a new pty, which `stasis restart` on a "
		"terminal\n"
		"replaces by another. Signals go to CMD; its exit status, or signal, is the "
		"result;\n"
		"126 and 127 when CMD could not be started, 125 when Stasis itself failed.\n"
		"\n"
		"  --isolate             in a container: pid, mount, UTS and IPC namespaces of "
		"its own,\n"
		"                        with a new /proc and /dev. CMD is pid 1. Without "
		"privileges\n"
		"                        also a user namespace, in which the caller is root.\n"
		"  --root DIR            its root is DIR (default: the host's /)\n"
		"  --tmpfs DIR           a new tmpfs on DIR of the container\n"
		"  --bind SRC:DST[:ro]   SRC of the host on DST of the container\n"
		"\n"
		"example: a shell that can be moved to another window\n"
		"  stasis run -- bash               # first window; `echo $$` in it says 4711\n"
		"  stasis checkpoint 4711 -o shell  # second window\n"
		"  stasis restart shell             # third window\n",
};
