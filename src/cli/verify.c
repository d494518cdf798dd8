/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stasis verify: everything that a restart would check of an image before it makes anything, and
 * every page block besides. */
#include <pthread.h>

#include "cli/cli.h"
#include "core/contents.h"
#include "kind/object.h"
#include "util/cleanup.h"

static const struct option long_options[] = {
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

struct counting {
	pthread_mutex_t lock;
	uint64_t n_data_pages, n_zero_pages;
};

static int count_block(void *context, struct object *object, const struct page_block *block,
                       struct error *err)
{
	struct counting *c = context;

	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 0; i < block->n_runs; i++)
		*(block->runs[i].zero ? &c->n_zero_pages
		                      : &c->n_data_pages) += block->runs[i].n_pages;
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static int verify_contents(struct contents *c, struct error *err)
{
	struct counting counted = { .lock = PTHREAD_MUTEX_INITIALIZER };
	int r = contents_read(c, err);

	if (r == 0)
		r = contents_check(c, err);
	if (r == 0)
		r = contents_each_block(c, count_block, &counted, err);
	if (r < 0)
		return error_trace(err, r);
	const struct image_totals *totals = image_reader_totals(c->reader);
	if (totals->n_data_pages != counted.n_data_pages ||
	    totals->n_zero_pages != counted.n_zero_pages)
		return error_refuse(err, CODE_image_invalid,
		                    "the trailer counts other pages than there are");
	return 0;
}

static void print_verdict(const char *path, const struct contents *c)
{
	const struct image_totals *totals = image_reader_totals(c->reader);

	printf("%s: valid: %zu task%s, %zu objects, %llu pages and %llu zero pages, %s\n", path,
	       c->n_tasks, c->n_tasks == 1 ? "" : "s", objects_count(c->objects),
	       (unsigned long long)totals->n_data_pages, (unsigned long long)totals->n_zero_pages,
	       human_bytes(totals->size).text);
}

static int verify_file(const char *path)
{
	struct error err = ERROR_INIT;
	struct contents c = { 0 };
	_cleanup_(close_p) int fd = -1;
	int r = image_open(path, &fd, &err);

	if (r == 0)
		r = contents_open(&c, fd, &err);
	if (r == 0)
		r = verify_contents(&c, &err);
	if (r == 0)
		print_verdict(path, &c);
	contents_close(&c);
	if (r == 0)
		r = finish_output(&err);
	if (r < 0)
		report_error(&err, "verify", false, false);
	return r < 0 ? EXIT_REFUSED : EXIT_DONE;
}

static int verify_main(int argc, char **argv)
{
	const char *path;
	int exit_code = EXIT_DONE;

	int option = next_option(&verify_command, argc, argv, ":h", long_options, &exit_code);
	if (option == -2)
		return exit_code;
	exit_code = image_operand(&verify_command, argc, argv, &path);
	return exit_code ? exit_code : verify_file(path);
}

const struct command verify_command = {
	.name = "verify",
	.run = verify_main,
	.summary = "check that an image is whole",
	.help = "usage: stasis verify FILE\n"
		"\n"
		"Checks an image as a restart does: all checksums, the structure, the state of "
		"every\n"
		"object, whether the tree can be built, every page block, the trailer. '-' is "
		"standard\n"
		"input. Whether this host can restart it is only said by a restart, before "
		"anything is\n"
		"made.\n"
		"\n"
		"exit status: 0 valid, 1 not, 2 usage\n"
		"\n"
		"example: is the copy complete?\n"
		"  ssh host cat job.stasis | stasis verify -\n",
};
