/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hook of the test suite (builds with -Dtest_hooks=true only): STASIS_DROP=pipe.capacity makes a
 * restart forget one field of one message, so that `make test-mutation` can prove that a test
 * notices. Fields of nested messages are named with their path: "mm.mappings.flags".
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

struct kind;

#ifdef STASIS_TEST_HOOKS
/* clears what STASIS_DROP names in a freshly decoded message of this kind; sees to that once */
void drop_fields(const struct kind *kind, ProtobufCMessage *message);
#else
static inline void drop_fields(const struct kind *kind, ProtobufCMessage *message)
{
	(void)kind;
	(void)message;
}
#endif
