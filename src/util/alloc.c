/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allocation that does not fail. See alloc.h. */
#include "util/alloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void __attribute__((noreturn)) out_of_memory(void)
{
	static const char text[] = "stasis: out of memory\n";
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(125);
}

void *xmalloc(size_t size)
{
	void *p = malloc(size ? size : 1);
	if (!p)
		out_of_memory();
	return p;
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);
	if (!p)
		out_of_memory();
	return p;
}

void *xrealloc(void *p, size_t n, size_t size)
{
	p = reallocarray(p, n ? n : 1, size ? size : 1);
	if (!p)
		out_of_memory();
	return p;
}

char *xstrdup(const char *s)
{
	return xmemdup(s, strlen(s) + 1);
}

char *xstrndup(const char *s, size_t size)
{
	char *copy = strndup(s, size);
	if (!copy)
		out_of_memory();
	return copy;
}

void *xmemdup(const void *p, size_t size)
{
	void *copy = xmalloc(size);
	if (size) /* memcpy(3) takes no NULL */
		memcpy(copy, p, size);
	return copy;
}

char *xvasprintf(const char *format, va_list ap)
{
	char *s = NULL;

	if (vasprintf(&s, format, ap) < 0)
		out_of_memory();
	return s;
}

char *xasprintf(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	char *s = xvasprintf(format, ap);
	va_end(ap);
	return s;
}

void *array_grow(void *items, size_t n, size_t size)
{
	if (n == 0)
		return xrealloc(items, 4, size);
	if (n >= 4 && (n & (n - 1)) == 0) {
		if (n > SIZE_MAX / 2)
			out_of_memory();
		return xrealloc(items, n * 2, size);
	}
	return items;
}
