/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text for terminals. See text.h. */
#include "util/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "util/alloc.h"

/* how many bytes the character takes that begins with this one; 0: none begins so */
static size_t sequence_length(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first < 0xe0)
		return 2;
	if (first >= 0xe0 && first < 0xf0)
		return 3;
	return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

/* the character at the start of @s, its length in *ret_length; -1 when it is not well-formed */
static int32_t decode(const unsigned char *s, size_t size, size_t *ret_length)
{
	static const int32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = sequence_length(s[0]);

	if (n == 0 || n > size)
		return -1;
	int32_t c = n == 1 ? s[0] : s[0] & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return -1;
		c = c << 6 | (s[i] & 0x3f);
	}
	*ret_length = n;
	return c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? -1 : c;
}

static bool is_harmless(int32_t c)
{
	bool control = c < ' ' || (c >= 0x7f && c < 0xa0);
	bool direction = c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
	                 (c >= 0x2066 && c <= 0x2069);

	return !control && !direction && c != '\\';
}

char *text_printable(const void *data, size_t size)
{
	const unsigned char *s = data;
	char *text = xmalloc(size * 4 + 1), *to = text;

	for (size_t i = 0, n; i < size; i += n) {
		int32_t c = decode(s + i, size - i, &n);
		if (c >= 0 && is_harmless(c)) {
			memcpy(to, s + i, n);
			to += n;
			continue;
		}
		n = 1;
		to += snprintf(to, 5, "\\x%02x", s[i]);
	}
	*to = 0;
	return text;
}
