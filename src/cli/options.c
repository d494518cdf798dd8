/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands' options have in common. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/external.h"

int usage_error(const struct command *command, const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "stasis %s: ", command->name);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "\nTry 'stasis %s --help'.\n", command->name);
	return EXIT_USAGE;
}

int next_option(const struct command *command, int argc, char **argv, const char *short_options,
                const struct option *options, int *ret_exit)
{
	opterr = 0;
	int current = optind;
	int option = getopt_long(argc, argv, short_options, options, NULL);

	if (option == 'h') {
		struct error err;
		fputs(command->help, stdout);
		*ret_exit = EXIT_DONE;
		if (finish_output(&err) < 0) {
			report_error(&err, command->name, false, false);
			*ret_exit = EXIT_REFUSED;
		}
		return -2;
	}
	if (option != '?' && option != ':')
		return option;
	/* after an unknown long option optopt is 0, and optind has gone past it */
	const char *word = optind > current ? argv[optind - 1] : argv[current];
	if (option == ':')
		*ret_exit = usage_error(command, "option '%s' needs a value", word);
	else if (optopt && optopt < 256 && strncmp(word, "--", 2))
		*ret_exit = usage_error(command, "there is no option '-%c'", optopt);
	else
		*ret_exit = usage_error(
			command, "option '%s' is not known, is ambiguous, or takes no value", word);
	return -2;
}

int bad_value(const struct command *command, const char *option, const char *grammar)
{
	return usage_error(command, "%s '%s': it is %s", option, optarg, grammar);
}

int take_log_format(const struct command *command, bool *ret_json)
{
	*ret_json = !strcmp(optarg, "json");
	if (*ret_json || !strcmp(optarg, "text"))
		return 0;
	return bad_value(command, "--log-format", "text or json");
}

int take_progress(const struct command *command, bool *ret_progress)
{
	bool is_auto = !strcmp(optarg, "auto"), always = !strcmp(optarg, "always");

	*ret_progress = is_auto ? isatty(STDERR_FILENO) : always;
	if (is_auto || always || !strcmp(optarg, "never"))
		return 0;
	return bad_value(command, "--progress", "auto, always or never");
}

int take_cgroup(const struct command *command, enum cgroup_mode *ret)
{
	*ret = strcmp(optarg, "ignore") ? CGROUP_KEEP : CGROUP_IGNORE;
	if (*ret == CGROUP_IGNORE || !strcmp(optarg, "keep"))
		return 0;
	return bad_value(command, "--cgroup", "keep or ignore");
}

static int set_container(const struct command *command, enum container_mode mode,
                         enum container_mode *ret)
{
	if (*ret != CONTAINER_AUTO && *ret != mode)
		return usage_error(command, "--container and --subtree exclude each other");
	*ret = mode;
	return 0;
}

int take_policy(const struct command *command, int option, struct checkpoint_options *options)
{
	struct error err;

	switch (option) {
	case OPTION_CONTAINER:
		return set_container(command, CONTAINER_YES, &options->container);
	case OPTION_SUBTREE:
		return set_container(command, CONTAINER_NO, &options->container);
	case OPTION_DROP_MASTERS:
		options->drop_masters = true;
		return 0;
	case OPTION_CGROUP:
		return take_cgroup(command, &options->cgroup);
	default:
		if (externals_add_key(options->externals, optarg, &err) < 0)
			return usage_error(command, "%s", err.cause);
		return 0;
	}
}

bool parse_seconds(const char *text, unsigned *ret_ms)
{
	char *end;
	double seconds = strtod(text, &end);

	/* the first character keeps "nan", "inf", signs and blanks out */
	if (end == text || *end || text[0] < '.' || text[0] > '9' || !(seconds <= 86400))
		return false;
	*ret_ms = (unsigned)(seconds * 1000 + 0.5);
	return true;
}

bool parse_pid(const char *text, int *ret_pid)
{
	char *end;

	errno = 0;
	long pid = strtol(text, &end, 10);
	if (errno || end == text || *end || text[0] < '0' || text[0] > '9' || pid < 1 ||
	    pid > INT_MAX)
		return false;
	*ret_pid = (int)pid;
	return true;
}

int image_operand(const struct command *command, int argc, char **argv, const char **ret_path)
{
	if (argc - optind != 1)
		return usage_error(command, "it takes one FILE");
	*ret_path = argv[optind];
	if (!strcmp(*ret_path, "-") && isatty(STDIN_FILENO))
		return usage_error(command, "the image would come from a terminal; give a FILE, or "
		                            "redirect standard input");
	return 0;
}

int image_open(const char *path, int *ret_fd, struct error *err)
{
	*ret_fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC)
	                            : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	return *ret_fd < 0 ? error_raise(err, errno, "open the image %s", path) : 0;
}

int finish_output(struct error *err)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return error_raise(err, errno ? errno : EIO, "writing to standard output");
}
