/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stasis restart */
#include "core/restart.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/bar.h"
#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/json.h"
#include "cli/terminal.h"
#include "core/external.h"
#include "core/image_file.h"
#include "util/cleanup.h"

enum {
	OPTION_DETACH = OPTION_LAST,
	OPTION_PIDFILE,
	OPTION_STOPPED,
	OPTION_NEW_PIDNS,
	OPTION_MNTNS,
	OPTION_ROOT,
	OPTION_FILES_CHANGED,
	OPTION_CLOCK
};

static const struct option long_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "detach", no_argument, NULL, OPTION_DETACH },
	{ "pidfile", required_argument, NULL, OPTION_PIDFILE },
	{ "leave-stopped", no_argument, NULL, OPTION_STOPPED },
	{ "new-pidns", no_argument, NULL, OPTION_NEW_PIDNS },
	{ "mntns", required_argument, NULL, OPTION_MNTNS },
	{ "root", required_argument, NULL, OPTION_ROOT },
	{ "files-changed", required_argument, NULL, OPTION_FILES_CHANGED },
	{ "drop-masters", no_argument, NULL, OPTION_DROP_MASTERS },
	{ "clock", required_argument, NULL, OPTION_CLOCK },
	{ "cgroup", required_argument, NULL, OPTION_CGROUP },
	{ "external", required_argument, NULL, OPTION_EXTERNAL },
	{ "log-format", required_argument, NULL, OPTION_LOG_FORMAT },
	{ "progress", required_argument, NULL, OPTION_PROGRESS },
	{ "verbose", no_argument, NULL, 'v' },
	{ 0 },
};

struct arguments {
	struct restart_options options;
	const char *pidfile;
	bool show_bar;
	pid_t relay; /* under a pty: who holds its master */
};

static int take_external(struct arguments *a)
{
	struct error err;

	if (externals_add_supply(a->options.externals, optarg, &err) < 0)
		return usage_error(&restart_command, "%s", err.cause);
	return 0;
}

static int take_files_changed(struct arguments *a)
{
	a->options.files_changed_allow = !strcmp(optarg, "allow");
	if (a->options.files_changed_allow || !strcmp(optarg, "refuse"))
		return 0;
	return bad_value(&restart_command, "--files-changed", "refuse or allow");
}

static int take_clock(struct arguments *a)
{
	bool goes_on = !strcmp(optarg, "continue");

	a->options.clock = goes_on ? CLOCK_MODE_CONTINUE : CLOCK_MODE_REAL;
	return goes_on || !strcmp(optarg, "real")
	               ? 0
	               : bad_value(&restart_command, "--clock", "real or continue");
}

/* one option; 0 or an exit code */
static int take_option(int option, struct arguments *a)
{
	struct restart_options *o = &a->options;

	switch (option) {
	case 'v':
		o->verbose = true;
		return 0;
	case OPTION_DETACH:
		o->detach = true;
		return 0;
	case OPTION_PIDFILE:
		a->pidfile = optarg;
		return 0;
	case OPTION_STOPPED:
		o->leave_stopped = true;
		return 0;
	case OPTION_NEW_PIDNS:
		o->new_pidns = true;
		return 0;
	case OPTION_MNTNS:
		o->mntns_new = true;
		return strcmp(optarg, "new") ? bad_value(&restart_command, "--mntns", "new") : 0;
	case OPTION_ROOT:
		o->root = optarg;
		return 0;
	case OPTION_FILES_CHANGED:
		return take_files_changed(a);
	case OPTION_DROP_MASTERS:
		o->drop_masters = true;
		return 0;
	case OPTION_CLOCK:
		return take_clock(a);
	case OPTION_CGROUP:
		return take_cgroup(&restart_command, &o->cgroup);
	case OPTION_EXTERNAL:
		return take_external(a);
	case OPTION_LOG_FORMAT:
		return take_log_format(&restart_command, &o->json);
	default:
		return take_progress(&restart_command, &a->show_bar);
	}
}

/* 0, an exit code, or -1 when --help was all that was asked */
static int parse(int argc, char **argv, struct arguments *a)
{
	int option, exit_code = EXIT_DONE;

	while ((option = next_option(&restart_command, argc, argv, ":hv", long_options,
	                             &exit_code)) >= 0) {
		exit_code = take_option(option, a);
		if (exit_code)
			return exit_code;
	}
	if (option == -2)
		return exit_code == EXIT_DONE ? -1 : exit_code;
	if (argc - optind > 1)
		return usage_error(&restart_command, "it takes one FILE");
	a->options.input = optind < argc ? argv[optind] : "-";
	if (a->pidfile && !a->options.detach)
		return usage_error(&restart_command, "--pidfile needs --detach");
	if (!strcmp(a->options.input, "-") && isatty(STDIN_FILENO))
		return usage_error(&restart_command, "the image would come from a terminal; give a "
		                                     "FILE, or redirect standard input");
	return 0;
}

static void print_summary(const struct restart_result *result, bool json)
{
	if (!json) {
		fprintf(stderr, "stasis: restart: %zu task%s, memory %s, total %s\n",
		        result->n_tasks, result->n_tasks == 1 ? "" : "s",
		        human_bytes(result->memory_bytes).text, human_time(result->total_us).text);
		return;
	}
	json_object *o = json_object_new_object();
	json_add_text(o, "level", "info");
	json_add_text(o, "phase", "restart");
	json_add_number(o, "tasks", result->n_tasks);
	json_add(o, "root", json_object_new_int(result->root));
	json_add_number(o, "memory_bytes", result->memory_bytes);
	json_add_number(o, "total_us", result->total_us);
	json_print_line(stderr, o);
}

/* runs the restart and says how it went; 0, or an exit code */
static int restart_go(struct arguments *a, struct restart_result *result)
{
	struct restart_options *o = &a->options;
	struct progress bar = { .draw = bar_draw };
	struct error err = ERROR_INIT;

	if (a->show_bar && !o->json)
		o->progress = &bar;
	*result = (struct restart_result){ .root_pidfd = -1 };
	/* a limit of file sizes is an error; the tasks get their own back */
	signal(SIGXFSZ, SIG_IGN);
	int r = restart_run(o, result, &err);
	o->progress = NULL;
	bar_clear(&bar);
	if (r == 0)
		print_summary(result, o->json);
	report_refusals(&result->refusals, "restart", o->json, o->verbose);
	if (r < 0 && !result->refusals.n)
		report_error(&err, "restart", o->json, o->verbose);
	refusals_done(&result->refusals);
	if (r == 0)
		return 0;
	return result->began ? EXIT_ROLLED_BACK : EXIT_REFUSED;
}

/* in the foreground: the tree's root is us from here on */
static int restart_follow(struct arguments *a)
{
	struct restart_result result;

	a->options.keep_blocked = true; /* follow() hands on what comes from the launch on */
	int exit_code = restart_go(a, &result);
	if (exit_code)
		return exit_code;
	if (a->relay)
		prctl(PR_SET_PDEATHSIG, 0); /* from now on the terminal's hangup tells the tree */
	close_p(&a->options.relay);         /* so that it learns that the tree runs */
	close_p(&a->options.terminal);      /* or the tree's hangup would wait for us */
	int status = follow(result.root);
	close_p(&result.root_pidfd);
	if (status < 0)
		return EXIT_INTERNAL;
	end_as(status);
}

/* in the session of the new pty; see terminal_run() */
static int restart_in_terminal(void *data, int slave, int ready)
{
	struct arguments *a = data;

	/* until the tree runs the two are one command: killed with the relay, it undoes all */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != a->relay)
		return EXIT_INTERNAL;
	a->options.terminal = slave;
	a->options.relay = ready;
	return restart_follow(a);
}

static int restart_foreground(struct arguments *a)
{
	struct error err;

	int terminal = terminal_find(!strcmp(a->options.input, "-"));
	if (terminal < 0)
		return restart_follow(a);
	a->relay = getpid();
	int status = terminal_run(terminal, restart_in_terminal, a, 0, &err);
	if (status < 0) {
		report_error(&err, "restart", a->options.json, a->options.verbose);
		return EXIT_INTERNAL;
	}
	end_as(status);
}

/*
 * Opened before anything else, so that a bad path is a refusal and not a tree nobody knows of; a
 * file that is not there gets its name only with the pid in it, so that a failure leaves none.
 */
static int open_pidfile(const struct arguments *a, struct image_file *file)
{
	struct error err = ERROR_INIT;

	*file = IMAGE_FILE_INIT;
	if (!a->pidfile)
		return 0;
	file->fd = open(a->pidfile, O_WRONLY | O_CLOEXEC);
	file->path = "-"; /* it has its name */
	if (file->fd >= 0)
		return 0;
	if (errno != ENOENT)
		error_raise(&err, errno, "open the file");
	else if (image_file_open(file, a->pidfile, false, &err) == 0)
		return 0;
	error_object(&err, "pid file %s", a->pidfile);
	report_error(&err, "restart", a->options.json, a->options.verbose);
	return EXIT_REFUSED;
}

static int write_pidfile(struct image_file *file, pid_t pid, struct error *err)
{
	mode_t mask = umask(0);

	umask(mask);
	if (strcmp(file->path, "-") && fchmod(file->fd, 0666 & ~mask) < 0)
		return error_raise(err, errno, "fchmod");
	/* EINVAL: a FIFO or a device */
	if ((ftruncate(file->fd, 0) < 0 && errno != EINVAL) || dprintf(file->fd, "%d\n", pid) < 0)
		return error_raise(err, errno, "write the pid %d", pid);
	int r = image_file_publish(file, err);
	return r < 0 ? error_trace(err, r) : 0;
}

/* the tree runs, whatever happens here: 0, or an exit code that says that its pid got lost */
static int tell_pid(struct arguments *a, struct image_file *file, pid_t pid)
{
	struct error err = ERROR_INIT;
	int exit_code = EXIT_DONE;

	if (file->fd >= 0 && write_pidfile(file, pid, &err) < 0) {
		error_object(&err, "pid file %s", a->pidfile);
		error_hint(&err, "the tree runs: its root is pid %d", pid);
		report_error(&err, "restart", a->options.json, a->options.verbose);
		exit_code = EXIT_INTERNAL;
	}
	printf("%d\n", pid);
	if (finish_output(&err) < 0) {
		error_hint(&err, "the tree runs: its root is pid %d", pid);
		report_error(&err, "restart", a->options.json, a->options.verbose);
		exit_code = EXIT_INTERNAL;
	}
	return exit_code;
}

static int restart_detached(struct arguments *a)
{
	struct image_file pidfile;
	struct restart_result result;

	int exit_code = open_pidfile(a, &pidfile);
	if (exit_code)
		return exit_code;
	exit_code = restart_go(a, &result);
	if (exit_code == 0) {
		close_p(&result.root_pidfd);
		exit_code = tell_pid(a, &pidfile, result.root);
	}
	image_file_close(&pidfile);
	return exit_code;
}

static int restart_main(int argc, char **argv)
{
	struct arguments a = {
		.options = { .input = "-",
		             .externals = externals_new(),
		             .terminal = -1,
		             .relay = -1 },
		.show_bar = isatty(STDERR_FILENO),
	};
	int exit_code = parse(argc, argv, &a);

	if (exit_code == 0)
		exit_code = a.options.detach ? restart_detached(&a) : restart_foreground(&a);
	externals_free(a.options.externals);
	return exit_code < 0 ? EXIT_DONE : exit_code;
}

const struct command restart_command = {
	.name = "restart",
	.run = restart_main,
	.summary = "start the process tree of an image again",
	.help = "usage: stasis restart [FILE|-] [OPTIONS]\n"
		"\n"
		"Makes the process tree of an image again, with the same pids, and lets it run on. "
		"In\n"
		"the foreground it is as if the program ran here: signals go to it, and stasis "
		"ends\n"
		"with its exit status or by its signal. On a terminal the tree gets a new pty.\n"
		"Restart as root only images that you trust: they run code as their recorded "
		"users.\n"
		"\n"
		"      --detach          return when the tree runs, and print the pid of its root\n"
		"      --pidfile FILE    with --detach: write the pid there, too\n"
		"      --leave-stopped   leave the tree stopped (SIGCONT to each process starts "
		"it)\n"
		"      --new-pidns       in a new pid namespace, where all pids are free\n"
		"      --mntns new       make the mount namespaces of the image again (a "
		"container's are\n"
		"                        made without being asked for)\n"
		"      --root DIR        the container's root file system is at DIR now\n"
		"      --files-changed refuse|allow\n"
		"                        whether files may differ from what was recorded (refuse)\n"
		"      --drop-masters    mounts that received from one that is not shared here any "
		"more\n"
		"                        are private\n"
		"      --clock real|continue\n"
		"                        whether CLOCK_MONOTONIC and CLOCK_BOOTTIME are this "
		"machine's\n"
		"                        (real) or go on where they were, in a time namespace\n"
		"      --cgroup keep|ignore\n"
		"                        whether tasks go back to their cgroups (keep)\n"
		"      --external NAME=fd:N|PATH\n"
		"                        what to use for the external object NAME (or "
		"mount:[/PATH]);\n"
		"                        for a terminal also a socket, to which a new one's master "
		"goes\n"
		"      --log-format text|json\n"
		"                        json: errors and refusals are JSON lines on standard "
		"error\n"
		"      --progress auto|always|never\n"
		"  -v, --verbose         also say where in Stasis an error arose\n"
		"\n"
		"exit status: the program's; 1 refused, nothing was made; 2 usage; 3 failed and\n"
		"rolled back; 125 Stasis itself failed (with --detach: the pid could not be told)\n"
		"\n"
		"example: move a job to another host\n"
		"  stasis checkpoint 4711 --kill -o - | ssh host stasis restart --detach\n",
};
