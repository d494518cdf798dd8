/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stasis check: what this host allows, or what stands in the way of one tree. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "core/checkpoint.h"
#include "core/external.h"
#include "host/features.h"

enum { OPTION_JSON = OPTION_LAST };

static const struct option long_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "container", no_argument, NULL, OPTION_CONTAINER },
	{ "subtree", no_argument, NULL, OPTION_SUBTREE },
	{ "external", required_argument, NULL, OPTION_EXTERNAL },
	{ "drop-masters", no_argument, NULL, OPTION_DROP_MASTERS },
	{ "cgroup", required_argument, NULL, OPTION_CGROUP },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "verbose", no_argument, NULL, 'v' },
	{ 0 },
};

struct arguments {
	struct checkpoint_options options;
	bool has_pid, json;
};

/* ---- the host ---- */

static json_object *feature_to_json(enum feature f)
{
	const struct feature_info *info = feature_info(f);
	json_object *o = json_object_new_object();

	json_add_text(o, "name", info->name);
	json_add_bool(o, "available", feature(f));
	if (info->since)
		json_add_text(o, "since", info->since);
	json_add_text(o, "purpose", info->purpose);
	return o;
}

static int check_host(bool json)
{
	json_object *list = json ? json_object_new_array() : NULL;

	for (enum feature f = 0; f < N_FEATURES; f++) {
		const struct feature_info *info = feature_info(f);
		if (json)
			json_object_array_add(list, feature_to_json(f));
		else
			printf("%-4s%-30s%-8s%s\n", feature(f) ? "yes" : "no", info->name,
			       info->since ? info->since : "-", info->purpose);
	}
	if (json) {
		json_object *o = json_object_new_object();
		json_add(o, "features", list);
		json_print(o);
	}
	return EXIT_DONE;
}

/* ---- one tree ---- */

static json_object *list_to_json(const struct refusals *list, const char *level)
{
	json_object *array = json_object_new_array();

	for (size_t i = 0; i < list->n; i++)
		json_object_array_add(array, error_to_json(&list->items[i], level, "check"));
	return array;
}

static void print_tree_json(const struct arguments *a, const struct refusals *refused,
                            const struct refusals *unexamined)
{
	json_object *o = json_object_new_object();

	json_add(o, "pid", json_object_new_int(a->options.root));
	json_add_bool(o, "refused", refused->n > 0);
	json_add(o, "refusals", list_to_json(refused, "refusal"));
	json_add(o, "not_examined", list_to_json(unexamined, "not-examined"));
	json_print(o);
}

static int compare_causes(const void *a, const void *b)
{
	return strcmp(((const struct error *)a)->cause, ((const struct error *)b)->cause);
}

/* one line for each thing, however many tasks have it */
static void print_unexamined(struct refusals *list)
{
	if (!list->n)
		return;
	qsort(list->items, list->n, sizeof(list->items[0]), compare_causes);
	puts("not examined, since only a checkpoint attaches:");
	for (size_t i = 0, next; i < list->n; i = next) {
		next = i + 1;
		while (next < list->n && !compare_causes(&list->items[i], &list->items[next]))
			next++;
		if (next - i == 1 && list->items[i].pid)
			printf("  %s of pid %d (%s)\n", list->items[i].cause, list->items[i].pid,
			       list->items[i].comm);
		else if (list->items[i].pid)
			printf("  %s (%zu tasks)\n", list->items[i].cause, next - i);
		else
			printf("  %s\n", list->items[i].cause);
		printf("    %s\n", list->items[i].hint);
	}
}

static void print_tree(const struct arguments *a, const struct refusals *refused,
                       struct refusals *unexamined)
{
	for (size_t i = 0; i < refused->n; i++)
		error_print(stdout, &refused->items[i], "check", a->options.verbose);
	if (refused->n)
		printf("pid %d: %zu refusal%s\n", a->options.root, refused->n,
		       refused->n == 1 ? "" : "s");
	else
		printf("pid %d: nothing refused\n", a->options.root);
	print_unexamined(unexamined);
}

static int check_tree(struct arguments *a)
{
	struct refusals refused = { 0 }, unexamined = { 0 };
	struct error err = ERROR_INIT;

	int r = checkpoint_check(&a->options, &refused, &unexamined, &err);
	bool failed = r < 0 && !refused.n;
	bool any = refused.n > 0;
	if (failed)
		report_error(&err, "check", a->json, a->options.verbose);
	else if (a->json)
		print_tree_json(a, &refused, &unexamined);
	else
		print_tree(a, &refused, &unexamined);
	refusals_done(&refused);
	refusals_done(&unexamined);
	return failed || any ? EXIT_REFUSED : EXIT_DONE;
}

/* 0, an exit code, or -1 when --help was all that was asked */
static int parse(int argc, char **argv, struct arguments *a)
{
	int option, exit_code = EXIT_DONE;

	while ((option = next_option(&check_command, argc, argv, ":hv", long_options,
	                             &exit_code)) >= 0) {
		if (option == OPTION_JSON)
			a->json = true;
		else if (option == 'v')
			a->options.verbose = true;
		else
			exit_code = take_policy(&check_command, option, &a->options);
		if (exit_code)
			return exit_code;
	}
	if (option == -2)
		return exit_code == EXIT_DONE ? -1 : exit_code;
	if (argc - optind > 1)
		return usage_error(&check_command, "it takes one PID, or none");
	a->has_pid = optind < argc;
	if (a->has_pid && !parse_pid(argv[optind], &a->options.root))
		return usage_error(&check_command, "'%s' is not a pid", argv[optind]);
	return 0;
}

static int check_main(int argc, char **argv)
{
	struct arguments a = { .options = { .externals = externals_new(), .timeout_ms = 10000 } };
	int exit_code = parse(argc, argv, &a);
	struct error err;

	if (exit_code == 0) {
		exit_code = a.has_pid ? check_tree(&a) : check_host(a.json);
		if (finish_output(&err) < 0) {
			report_error(&err, "check", false, false);
			exit_code = EXIT_REFUSED;
		}
	}
	externals_free(a.options.externals);
	return exit_code < 0 ? EXIT_DONE : exit_code;
}

const struct command check_command = {
	.name = "check",
	.run = check_main,
	.summary = "say what this host allows, or what stands in the way of one tree",
	.help = "usage: stasis check [PID] [OPTIONS]\n"
		"\n"
		"Without PID: what this kernel and these privileges allow, one line per feature. "
		"With\n"
		"PID: everything for which a checkpoint of that tree would be refused, and what "
		"would\n"
		"lift it. Nothing is stopped or attached to; what only a checkpoint can see is "
		"listed\n"
		"as not examined.\n"
		"\n"
		"      --container, --subtree, --external KEY=NAME, --drop-masters, --cgroup "
		"keep|ignore\n"
		"                        what checkpoint will be given, see there\n"
		"      --json            on standard output, as one JSON object\n"
		"  -v, --verbose         also say where in Stasis a refusal arose\n"
		"\n"
		"exit status: 0 nothing would be refused, 1 something would be, 2 usage\n"
		"\n"
		"example: can the shell of this window be checkpointed?\n"
		"  stasis check $$\n",
};
