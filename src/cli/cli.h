/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands: argv becomes an options struct of core/, core does the work, and what it returns is
 * printed here. cli/ is the only layer that prints.
 */
#pragma once

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/checkpoint.h"
#include "util/error.h"

/* what every command ends with; see stasis(1), EXIT STATUS */
enum exit_code {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1, /* refused or failed; the application is as it was */
	EXIT_USAGE = 2,
	EXIT_ROLLED_BACK = 3, /* a restart failed after it had made something; all of it is gone */
	EXIT_INTERNAL = 125,
};

/* one subcommand; argv[0] is its name */
struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary; /* one line for `stasis --help` */
	const char *help;    /* the whole text of `stasis NAME --help`, with one worked example */
};

extern const struct command checkpoint_command, restart_command, check_command, inspect_command,
	verify_command, cleanup_command, run_command;

/* prints "stasis NAME: ..." and how to get help; returns EXIT_USAGE */
int usage_error(const struct command *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * next_option() - getopt_long(3) with messages and --help of ours
 * @short_options:	must begin with ':' ("+:" to stop at the first operand)
 * Returns the option's value, -1 at the end of options, or -2 when the command is to end with
 * *ret_exit: --help was printed, or the usage error was.
 */
int next_option(const struct command *command, int argc, char **argv, const char *short_options,
                const struct option *options, int *ret_exit);

/* options that several commands have, numbered above all characters */
enum {
	OPTION_LOG_FORMAT = 256,
	OPTION_PROGRESS,
	OPTION_EXTERNAL,
	OPTION_CGROUP,
	OPTION_CONTAINER,
	OPTION_SUBTREE,
	OPTION_DROP_MASTERS,
	OPTION_LAST
};

/* the value of @option, in optarg, is none; @grammar says what it could be. Returns EXIT_USAGE. */
int bad_value(const struct command *command, const char *option, const char *grammar);

/* take the value of one of these; 0 or EXIT_USAGE */
int take_log_format(const struct command *command, bool *ret_json);
int take_progress(const struct command *command, bool *ret_progress); /* auto: on a terminal */
int take_cgroup(const struct command *command, enum cgroup_mode *ret);
/* what decides what is refused: --container, --subtree, --external, --drop-masters, --cgroup; 0 or
 * EXIT_USAGE */
int take_policy(const struct command *command, int option, struct checkpoint_options *options);

/* parse one value; false when it is no number in range */
bool parse_seconds(const char *text, unsigned *ret_ms); /* "10", "0.5"; at most a day */
bool parse_pid(const char *text, int *ret_pid);

/* the one operand FILE of a command that reads an image; 0 or EXIT_USAGE. '-' from a terminal is
 * none. */
int image_operand(const struct command *command, int argc, char **argv, const char **ret_path);
/* opens an image to read; "-" is a copy of standard input */
int image_open(const char *path, int *ret_fd, struct error *err);
/* flushes standard output: an error when something that was printed is not there */
int finish_output(struct error *err);

/* an error, as text or as one JSON line, on stderr */
void report_error(const struct error *err, const char *phase, bool json, bool verbose);
void report_refusals(const struct refusals *refusals, const char *phase, bool json, bool verbose);

/* an error as a JSON object; the caller's (json_object_put) */
struct json_object;
struct json_object *error_to_json(const struct error *err, const char *level, const char *phase);

/* "12.3 MiB", "840 us": for people */
struct human {
	char text[24];
};
struct human human_bytes(uint64_t bytes);
struct human human_time(uint64_t us);
