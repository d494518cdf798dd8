/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stasis checkpoint */
#include "core/checkpoint.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/bar.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "core/external.h"
#include "image/image.h"

enum {
	OPTION_FORCE = OPTION_LAST,
	OPTION_KILL,
	OPTION_RUNNING,
	OPTION_STOPPED,
	OPTION_COMPRESS,
	OPTION_TIMEOUT
};

static const struct option long_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "output", required_argument, NULL, 'o' },
	{ "force", no_argument, NULL, OPTION_FORCE },
	{ "kill", no_argument, NULL, OPTION_KILL },
	{ "leave-running", no_argument, NULL, OPTION_RUNNING },
	{ "leave-stopped", no_argument, NULL, OPTION_STOPPED },
	{ "container", no_argument, NULL, OPTION_CONTAINER },
	{ "subtree", no_argument, NULL, OPTION_SUBTREE },
	{ "external", required_argument, NULL, OPTION_EXTERNAL },
	{ "compress", required_argument, NULL, OPTION_COMPRESS },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "drop-masters", no_argument, NULL, OPTION_DROP_MASTERS },
	{ "cgroup", required_argument, NULL, OPTION_CGROUP },
	{ "log-format", required_argument, NULL, OPTION_LOG_FORMAT },
	{ "progress", required_argument, NULL, OPTION_PROGRESS },
	{ "verbose", no_argument, NULL, 'v' },
	{ 0 },
};

struct arguments {
	struct checkpoint_options options;
	bool after_given, show_bar;
};

/* zstd, zstd:N, lz4, none; level 0 is the library's default */
static bool parse_compression(const char *text, struct checkpoint_options *options)
{
	char *end;

	options->compression_level = 0;
	options->compression = IMAGE_ZSTD;
	if (!strcmp(text, "none"))
		options->compression = IMAGE_RAW;
	else if (!strcmp(text, "lz4"))
		options->compression = IMAGE_LZ4;
	else if (!strncmp(text, "zstd:", 5)) {
		long level = strtol(text + 5, &end, 10);
		if (text[5] < '1' || text[5] > '9' || *end || level > 19)
			return false;
		options->compression_level = (int)level;
	} else
		return !strcmp(text, "zstd");
	return true;
}

static int set_after(struct arguments *a, enum aftermath after)
{
	if (a->after_given && a->options.after != after)
		return usage_error(
			&checkpoint_command,
			"--kill, --leave-running and --leave-stopped exclude each other");
	a->after_given = true;
	a->options.after = after;
	return 0;
}

/* one option; 0 or an exit code */
static int take_option(int option, struct arguments *a)
{
	struct checkpoint_options *o = &a->options;

	switch (option) {
	case 'o':
		o->output = optarg;
		return 0;
	case 'v':
		o->verbose = true;
		return 0;
	case OPTION_FORCE:
		o->force = true;
		return 0;
	case OPTION_KILL:
		return set_after(a, AFTER_KILL);
	case OPTION_RUNNING:
		return set_after(a, AFTER_LEAVE_RUNNING);
	case OPTION_STOPPED:
		return set_after(a, AFTER_LEAVE_STOPPED);
	case OPTION_COMPRESS:
		return parse_compression(optarg, o)
		               ? 0
		               : bad_value(&checkpoint_command, "--compress",
		                           "zstd, zstd:1 to zstd:19, lz4 or none");
	case OPTION_TIMEOUT:
		return parse_seconds(optarg, &o->timeout_ms)
		               ? 0
		               : bad_value(&checkpoint_command, "--timeout", "seconds");
	case OPTION_LOG_FORMAT:
		return take_log_format(&checkpoint_command, &o->json);
	case OPTION_PROGRESS:
		return take_progress(&checkpoint_command, &a->show_bar);
	default:
		return take_policy(&checkpoint_command, option, o);
	}
}

/*
 * Where the image goes and what becomes of the tree when nothing was said: a reader at the other
 * end of a pipe may not have kept the image, so the tree stays.
 */
static int settle_output(struct arguments *a)
{
	struct checkpoint_options *o = &a->options;
	struct stat st;

	if (!o->output)
		o->output = "-";
	if (!*o->output)
		return usage_error(&checkpoint_command, "-o needs the name of a file");
	if (strcmp(o->output, "-"))
		return 0;
	if (isatty(STDOUT_FILENO))
		return usage_error(
			&checkpoint_command,
			"the image would go to a terminal; give -o FILE, or redirect it");
	if (fstat(STDOUT_FILENO, &st) < 0)
		return usage_error(&checkpoint_command, "standard output is closed; give -o FILE");
	if (!a->after_given && !S_ISREG(st.st_mode))
		o->after = AFTER_LEAVE_STOPPED;
	return 0;
}

static int parse(int argc, char **argv, struct arguments *a)
{
	int option, exit_code = EXIT_DONE;

	while ((option = next_option(&checkpoint_command, argc, argv, ":ho:v", long_options,
	                             &exit_code)) >= 0) {
		exit_code = take_option(option, a);
		if (exit_code)
			return exit_code;
	}
	if (option == -2)
		return exit_code == EXIT_DONE ? -1 : exit_code;
	if (argc - optind != 1)
		return usage_error(&checkpoint_command, "it takes one PID");
	if (!parse_pid(argv[optind], &a->options.root))
		return usage_error(&checkpoint_command, "'%s' is not a pid", argv[optind]);
	return settle_output(a);
}

static void print_summary_json(const struct checkpoint_result *result)
{
	json_object *o = json_object_new_object();

	json_add_text(o, "level", "info");
	json_add_text(o, "phase", "checkpoint");
	json_add_number(o, "tasks", result->n_tasks);
	json_add_number(o, "memory_bytes", result->memory_bytes);
	json_add_number(o, "image_bytes", result->image_bytes);
	json_add_number(o, "stop_us", result->stop_us);
	json_add_number(o, "total_us", result->total_us);
	json_print_line(stderr, o);
}

/* the one closing line */
static void print_summary(const struct checkpoint_result *r, bool json)
{
	if (json) {
		print_summary_json(r);
		return;
	}
	double ratio = r->image_bytes ? (double)r->memory_bytes / (double)r->image_bytes : 0;
	fprintf(stderr,
	        "stasis: checkpoint: %zu task%s, memory %s, image %s (ratio %.1f), stopped %s, "
	        "total %s\n",
	        r->n_tasks, r->n_tasks == 1 ? "" : "s", human_bytes(r->memory_bytes).text,
	        human_bytes(r->image_bytes).text, ratio, human_time(r->stop_us).text,
	        human_time(r->total_us).text);
}

static int checkpoint_go(struct arguments *a)
{
	struct checkpoint_options *o = &a->options;
	struct checkpoint_result result = { 0 };
	struct progress bar = { .draw = bar_draw };
	struct error err = ERROR_INIT;

	/* a reader that goes away is an error like a full disk, as is a limit of file sizes */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (a->show_bar && !o->json)
		o->progress = &bar;
	int r = checkpoint_run(o, &result, &err);
	o->progress = NULL;
	bar_clear(&bar);
	if (r == 0)
		print_summary(&result, o->json);
	report_refusals(&result.refusals, "checkpoint", o->json, o->verbose);
	if (r < 0 && !result.refusals.n)
		report_error(&err, "checkpoint", o->json, o->verbose);
	refusals_done(&result.refusals);
	return r < 0 ? EXIT_REFUSED : EXIT_DONE;
}

static int checkpoint_main(int argc, char **argv)
{
	struct arguments a = {
		.options = { .after = AFTER_KILL,
		             .timeout_ms = 10000,
		             .compression = IMAGE_ZSTD,
		             .externals = externals_new() },
		.show_bar = isatty(STDERR_FILENO),
	};
	int exit_code = parse(argc, argv, &a);

	if (exit_code == 0)
		exit_code = checkpoint_go(&a);
	externals_free(a.options.externals);
	return exit_code < 0 ? EXIT_DONE : exit_code;
}

const struct command checkpoint_command = {
	.name = "checkpoint",
	.run = checkpoint_main,
	.summary = "write a running process tree into an image",
	.help = "usage: stasis checkpoint PID [OPTIONS]\n"
		"\n"
		"Writes the process PID and all its descendants into one image. When the image is\n"
		"complete and synced the tree is killed, unless an option says otherwise. What "
		"cannot\n"
		"be saved exactly is refused, all of it at once, and the tree runs on as it was.\n"
		"\n"
		"  -o, --output FILE     the image; '-' is standard output, which is also the "
		"default\n"
		"                        when that is not a terminal. FILE appears when it is "
		"complete.\n"
		"      --force           replace FILE if it exists\n"
		"      --kill            kill the tree afterwards (the default, but not on a "
		"pipe)\n"
		"      --leave-running   let the tree run on\n"
		"      --leave-stopped   leave the tree stopped (the default when the image goes "
		"into a\n"
		"                        pipe: nobody knows whether the reader kept it)\n"
		"      --container       all that the tree uses must be its own alone: the default "
		"when PID\n"
		"                        is the init of a pid namespace\n"
		"      --subtree         not so: files and mounts of the host may be in use\n"
		"      --external KEY=NAME\n"
		"                        the object KEY (as a leak's hint prints it, pipe:[INO],\n"
		"                        tty:[DEV], file:[DEV:INO], mount:[/PATH]) stays outside; "
		"NAME\n"
		"                        stands for it\n"
		"      --drop-masters    mounts that receive from one that cannot be found again "
		"go "
		"without\n"
		"      --compress zstd[:N]|lz4|none\n"
		"      --timeout SECONDS how long to wait for tasks that do not stop (10)\n"
		"      --cgroup keep|ignore\n"
		"                        whether the cgroups are part of the state (keep)\n"
		"      --log-format text|json\n"
		"                        json: errors and refusals are JSON lines on standard "
		"error\n"
		"      --progress auto|always|never\n"
		"  -v, --verbose         also say where in Stasis an error arose\n"
		"\n"
		"example: checkpoint the process 4711, and start it again later\n"
		"  stasis checkpoint 4711 -o job.stasis\n"
		"  stasis restart job.stasis\n",
};
