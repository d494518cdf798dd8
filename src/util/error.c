/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors: filling, annotating and printing the one error value. See error.h. */
#include "util/error.h"

#include <string.h>

static const struct {
	enum code code;
	const char *name;
} codes[] = {
#define CODE(number, symbol, name, text) { CODE_##symbol, name },
#include "util/codes.def"
#undef CODE
};

static const struct {
	enum code code;
	const char *text;
} hints[] = {
#define HINT(symbol, text) { CODE_##symbol, text },
#include "util/hints.def"
#undef HINT
};

static void push_frame(struct error *err, const char *function, unsigned line)
{
	if (err->n_frames >= sizeof(err->frames) / sizeof(err->frames[0]))
		return;
	struct error_frame *frame = &err->frames[err->n_frames++];
	snprintf(frame->function, sizeof(frame->function), "%s", function);
	frame->line = line;
}

int error_raise_at(struct error *err, int errnum, enum code code, const char *function,
                   unsigned line, const char *format, ...)
{
	va_list ap;

	if (errnum <= 0)
		errnum = EINVAL;
	*err = ERROR_INIT;
	err->errnum = errnum;
	err->code = code;
	va_start(ap, format);
	vsnprintf(err->cause, sizeof(err->cause), format, ap);
	va_end(ap);
	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (hints[i].code == code)
			error_hint(err, "%s", hints[i].text);
	push_frame(err, function, line);
	return -errnum;
}

void error_trace_at(struct error *err, const char *function, unsigned line)
{
	push_frame(err, function, line);
}

void error_hint(struct error *err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(err->hint, sizeof(err->hint), format, ap);
	va_end(ap);
}

void error_task(struct error *err, pid_t pid, const char *comm)
{
	if (err->pid)
		return;
	err->pid = pid;
	snprintf(err->comm, sizeof(err->comm), "%s", comm ? comm : "");
}

void error_fd(struct error *err, int fd)
{
	if (err->fd < 0)
		err->fd = fd;
}

void error_object(struct error *err, const char *format, ...)
{
	va_list ap;

	if (err->object[0])
		return;
	va_start(ap, format);
	vsnprintf(err->object, sizeof(err->object), format, ap);
	va_end(ap);
}

const char *code_name(enum code code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return codes[i].name;
	return NULL;
}

void error_print(FILE *f, const struct error *err, const char *phase, bool verbose)
{
	flockfile(f);
	fprintf(f, "stasis: %s:", phase);
	if (err->pid)
		fprintf(f, err->comm[0] ? " pid %d (%s)" : " pid %d", err->pid, err->comm);
	if (err->fd >= 0)
		fprintf(f, " fd %d", err->fd);
	if (err->pid || err->fd >= 0)
		fputc(':', f);
	if (err->object[0])
		fprintf(f, " %s:", err->object);
	fprintf(f, " %s", err->cause);
	if (err->code)
		fprintf(f, " [STASIS-E%04d %s]", err->code, code_name(err->code));
	else
		fprintf(f, ": %s", strerror(err->errnum));
	fputc('\n', f);
	if (err->hint[0])
		fprintf(f, "  hint: %s\n", err->hint);
	if (verbose && err->n_frames) {
		fputs("  at:", f);
		for (uint32_t i = 0; i < err->n_frames; i++)
			fprintf(f, "%s %s:%u", i ? " <" : "", err->frames[i].function,
			        err->frames[i].line);
		fputc('\n', f);
	}
	funlockfile(f);
}
