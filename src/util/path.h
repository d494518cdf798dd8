/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of files, as text. */
#pragma once

/* the directory that an absolute @path names a file in; the caller frees it */
char *path_folder(const char *path);
