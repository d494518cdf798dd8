/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stasis cleanup: play back the journals of restarts that were killed. */
#include <stdio.h>

#include "cli/cli.h"
#include "core/journal.h"

static const struct option long_options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };

static int cleanup_main(int argc, char **argv)
{
	size_t journals, effects;
	struct error err;
	int exit_code = EXIT_DONE;

	if (next_option(&cleanup_command, argc, argv, ":h", long_options, &exit_code) != -1)
		return exit_code;
	if (optind < argc)
		return usage_error(&cleanup_command, "it takes no arguments");
	int r = journal_play_back(&journals, &effects, &err);
	if (r < 0)
		report_error(&err, "cleanup", false, false);
	fprintf(stderr, "stasis: cleanup: %zu killed restart%s, %zu effect%s undone\n", journals,
	        journals == 1 ? "" : "s", effects, effects == 1 ? "" : "s");
	return r < 0 ? EXIT_REFUSED : EXIT_DONE;
}

const struct command cleanup_command = {
	.name = "cleanup",
	.run = cleanup_main,
	.summary = "undo what a restart left that was killed",
	.help = "usage: stasis cleanup\n"
		"\n"
		"The tasks of a restart that is killed die with it. What else it had made is in "
		"its\n"
		"journal in /run/stasis (or $XDG_RUNTIME_DIR/stasis), and is undone by this "
		"command.\n"
		"Restarts that are still at work are left alone.\n"
		"\n"
		"example: after kill -9 of a `stasis restart`\n"
		"  stasis cleanup\n",
};
