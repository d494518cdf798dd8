/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Namespaces: every sort that there is has a kind that it is the business of.
 *
 * TEST own round-trip -- own
 */
#include "cases.h"

static void own(void)
{
	subject_checkpoint();
}

int main(int argc, char **argv)
{
	static const struct subject_case cases[] = {
		{ "own", own },
	};

	return SUBJECT_CASES(cases, argc, argv);
}
