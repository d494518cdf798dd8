/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Allocation that does not fail: the coordinator is a tool, so lack of memory ends it with exit
 * code 125; the tracer then puts every task back as it does for any other death (task/tracer.c).
 * Sizes that come from an image are checked before they get here.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

/* malloc(3) and its like; what they return is the caller's (free) */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n, size_t size)
	__attribute__((returns_nonnull)); /* n * size, checked */
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t size) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));
char *xvasprintf(const char *format, va_list ap)
	__attribute__((format(printf, 1, 0), returns_nonnull));
void *xmemdup(const void *p, size_t size) __attribute__((returns_nonnull));

/**
 * array_push() - make room for one more element and return its address, zeroed
 * @items:	lvalue, pointer to the elements (NULL when empty), owned by the caller
 * @n:		lvalue, size_t number of elements; grows by one. Capacity is the next power of two.
 */
#define array_push(items, n)                                          \
	({                                                            \
		(items) = array_grow((items), (n), sizeof(*(items))); \
		typeof(items) _e = &(items)[(n)++];                   \
		memset(_e, 0, sizeof(*_e));                           \
		_e;                                                   \
	})
void *array_grow(void *items, size_t n, size_t size) __attribute__((returns_nonnull));
