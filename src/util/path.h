/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of files, as text. */
#pragma once

#include <stdbool.h>

/* what /proc adds to the path of something that was deleted; a name can end like that, too */
#define PATH_DELETED " (deleted)"
bool path_ends_deleted(const char *path);

/* the directory that an absolute @path names a file in; the caller frees it */
char *path_folder(const char *path);
/* undoes the octal escapes (\\012) that the kernel writes in /proc, in place; returns @text */
char *path_unescape(char *text);
