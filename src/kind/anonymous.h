/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kinds of anonymous inodes have in common: all that is known of them is in fdinfo. */
#pragma once

#include "kind/kind.h"

/* the text of fdinfo; the caller's */
int anonymous_read(const struct descriptor *d, char **ret, struct error *err);
/* the number behind a key at the beginning of a line, "eventfd-count:"; false if it is not there */
bool anonymous_number(const char *text, const char *key, int base, uint64_t *ret);
/* what `--external KEY=NAME` says of it, the caller's; NULL: nothing can be said */
char *anonymous_key(const char *link, const char *info);
/* refuses one that someone outside has open by the same description */
int anonymous_judge(struct checkpoint *c, const struct descriptor *d, const char *info,
                    struct error *err);
