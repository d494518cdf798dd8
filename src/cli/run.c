/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stasis run: start a program so that it can be checkpointed cleanly. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/terminal.h"

static const struct option long_options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };

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

/* the leader of the new session takes the slave wherever it would have had the user's terminal */
static int run_in_terminal(void *data, int slave, int ready)
{
	ioctl(slave, TIOCSCTTY, 0);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (isatty(fd))
			dup2(slave, fd);
	(void)ready; /* closed by exec */
	return exec_clean(data);
}

static int run_plain(char **command)
{
	fflush(NULL);
	pid_t child = fork();

	if (child < 0) {
		perror("stasis: run: fork");
		return EXIT_INTERNAL;
	}
	if (child == 0) {
		setsid();
		_exit(exec_clean(command));
	}
	forget_standard_files();
	return follow(child);
}

static int run_main(int argc, char **argv)
{
	struct error err;
	int exit_code = EXIT_DONE, status;

	if (next_option(&run_command, argc, argv, "+:h", long_options, &exit_code) != -1)
		return exit_code;
	if (optind >= argc)
		return usage_error(&run_command, "it needs a command to run");
	if (terminal_present()) {
		status = terminal_run(run_in_terminal, argv + optind, &err);
		if (status < 0)
			report_error(&err, "run", false, false);
	} else
		status = run_plain(argv + optind);
	if (status < 0)
		return EXIT_INTERNAL;
	end_as(status);
}

const struct command run_command = {
	.name = "run",
	.run = run_main,
	.summary = "start a program so that it can be checkpointed cleanly",
	.help = "usage: stasis run -- CMD [ARGUMENT]...\n"
		"\n"
		"Starts CMD in a session of its own, without descriptors that it would have "
		"inherited\n"
		"by accident. On a terminal it gets a new pty, which `stasis restart` on a "
		"terminal\n"
		"replaces by another. Signals go to CMD; its exit status, or signal, is the "
		"result;\n"
		"126 and 127 when CMD could not be started, 125 when Stasis itself failed.\n"
		"\n"
		"example: a shell that can be moved to another window\n"
		"  stasis run -- bash               # first window; `echo $$` in it says 4711\n"
		"  stasis checkpoint 4711 -o shell  # second window\n"
		"  stasis restart shell             # third window\n",
};
