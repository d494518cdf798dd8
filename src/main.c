/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of subcommands, and what all of them need. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/cli.h"
#include "host/features.h"

#define FILES_MIN 32 /* with fewer descriptors a question to /proc fails anywhere */

static const struct command *const commands[] = {
	&checkpoint_command, &restart_command, &check_command, &inspect_command,
	&verify_command,     &cleanup_command, &run_command,
};

static void print_help(FILE *f)
{
	fputs("usage: stasis COMMAND [OPTIONS]\n\n"
	      "Checkpoints a running process tree into one image and restarts it.\n\n",
	      f);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(f, "  %-12s%s\n", commands[i]->name, commands[i]->summary);
	fputs("\n'stasis COMMAND --help' explains one and shows an example; stasis(1) has it "
	      "all.\n",
	      f);
}

static int check_limit(struct error *err)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= FILES_MIN)
		return 0;
	error_raise(err, EMFILE, "the limit of open files is %llu",
	            (unsigned long long)limit.rlim_cur);
	error_hint(err, "ulimit -n %d", FILES_MIN);
	return -EMFILE;
}

int main(int argc, char **argv)
{
	struct error err;

	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help(stdout);
		return EXIT_DONE;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("stasis " STASIS_VERSION);
		return EXIT_DONE;
	}
	if (features_init(&err) < 0) {
		report_error(&err, argv[1], false, false);
		return EXIT_USAGE;
	}
	if (check_limit(&err) < 0) {
		report_error(&err, argv[1], false, false);
		return EXIT_REFUSED;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i]->name))
			return commands[i]->run(argc - 1, argv + 1);
	fprintf(stderr, "stasis: there is no command '%s'\nTry 'stasis --help'.\n", argv[1]);
	return EXIT_USAGE;
}
