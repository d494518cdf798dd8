/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text for terminals: what is well-formed and harmless stays, all else can be read and does
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "util/text.h"

static void check(const char *bytes, size_t size, const char *expected)
{
	char *text = text_printable(bytes, size);

	assert_string_equal(text, expected);
	free(text);
}

static void test_text(void **state)
{
	check("", 0, "");
	check("nginx: worker", 13, "nginx: worker");
	check("Grüße €𝄞", strlen("Grüße €𝄞"), "Grüße €𝄞");
	check("a\\b", 3, "a\\x5cb");
	check("\x1b[31m\n\x7f", 7, "\\x1b[31m\\x0a\\x7f");
	check("a\0b", 3, "a\\x00b");
	check("\xc2\x9b"
	      "1m",
	      4, "\\xc2\\x9b1m");                    /* CSI as one character */
	check("\xe2\x80\xae", 3, "\\xe2\\x80\\xae"); /* right-to-left override */
	check("\xff\xc3", 2, "\\xff\\xc3");
	check("\xe2\x82", 2, "\\xe2\\x82"); /* cut off */
	check("\xc0\xaf", 2, "\\xc0\\xaf"); /* overlong */
	check("\xe0\x80\xaf", 3, "\\xe0\\x80\\xaf");
	check("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");          /* a surrogate */
	check("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* beyond Unicode */
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_text) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
