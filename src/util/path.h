/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of files, as text. */
#pragma once

/* the directory that an absolute @path names a file in; the caller frees it */
char *path_folder(const char *path);
/* undoes the octal escapes (\\012) that the kernel writes in /proc, in place; returns @text */
char *path_unescape(char *text);
