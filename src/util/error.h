/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors: one flat value that carries the whole chain from cause to context.
 *
 * Functions return 0 or a negative errno and fill *err only on failure; a positive return is a
 * condition documented for that one function. The struct has no pointers and fits PIPE_BUF, so the
 * tracer can send one to the coordinator in one write. Who knows the context adds it on the way up
 * (error_task, error_object); only cli/ prints.
 */
#pragma once

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/** enum code - the stable code of a refusal; numbers and texts are in codes.def, never reused */
enum code {
	CODE_NONE = 0,
#define CODE(number, symbol, name, text) CODE_##symbol = (number),
#include "codes.def"
#undef CODE
};

struct error_frame {
	char function[40];
	uint32_t line;
};

struct error {
	int32_t errnum;   /* errno value > 0 */
	int32_t code;     /* enum code, CODE_NONE when it is a plain failure */
	int32_t pid;      /* the task in the coordinator's pid namespace, 0 = none */
	int32_t fd;       /* descriptor number in that task, -1 = none */
	char comm[20];    /* of pid */
	char object[256]; /* "pipe:[7]", "/etc/passwd", "7f0000000000-7f0000001000" */
	char cause[320];  /* what was attempted and failed, or why it is refused */
	char hint[320];   /* what the user can do; empty = nothing known */
	uint32_t n_frames;
	struct error_frame frames[16]; /* innermost first */
};
static_assert(sizeof(struct error) <= PIPE_BUF, "one atomic pipe write");

#define ERROR_INIT ((struct error){ .fd = -1 })

/* what the macros below do; the first returns -errnum */
int error_raise_at(struct error *err, int errnum, enum code code, const char *function,
                   unsigned line, const char *format, ...) __attribute__((format(printf, 6, 7)));
void error_trace_at(struct error *err, const char *function, unsigned line);

/**
 * error_raise() - start an error
 * @err:	filled anew
 * @errnum:	errno value, > 0; 0 counts as EINVAL
 * The rest is a printf format and its arguments: what was attempted, on what. No trailing errno
 * text, printing adds it. Returns -errnum.
 */
#define error_raise(err, errnum, ...) \
	error_negative(error_raise_at((err), (errnum), CODE_NONE, __func__, __LINE__, __VA_ARGS__))

/*
 * error_refuse() - start an error that is a refusal with a stable code, and the hint that
 * hints.def has for it; returns -EOPNOTSUPP
 */
#define error_refuse(err, code, ...) \
	error_negative(error_raise_at((err), EOPNOTSUPP, (code), __func__, __LINE__, __VA_ARGS__))

/** error_trace() - pass an error on, noting where; returns @r */
#define error_trace(err, r)                                \
	({                                                 \
		int _r = (r);                              \
		error_trace_at((err), __func__, __LINE__); \
		_r;                                        \
	})

/* what the analysers cannot see in another file, and would follow into "success" without */
#define error_negative(r)                        \
	({                                       \
		int _negative = (r);             \
		if (_negative >= 0)              \
			__builtin_unreachable(); \
		_negative;                       \
	})

/* what the user can do, instead of what was there */
void error_hint(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
void error_task(struct error *err, pid_t pid, const char *comm); /* unless already set */
void error_fd(struct error *err, int fd);                        /* unless already set */
void error_object(struct error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3))); /* unless already set */

const char *code_name(enum code code); /* "pipe.capacity", NULL if unknown */

/**
 * error_print() - print in the one shape all messages have
 *	stasis: restart: pid 4711 (nginx) fd 9: pipe:[7]: what failed: errno text [STASIS-E0123 x.y]
 *	  hint: ...
 * @phase:	"checkpoint", "restart"...
 * @verbose:	adds the "at:" line of frames
 */
void error_print(FILE *f, const struct error *err, const char *phase, bool verbose);
