/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A task itself: its place in the tree, its name, whether it runs, is stopped or dead. */
#pragma once

#include "kind/kind.h"
#include "task.pb-c.h"

extern const struct kind task_kind;
