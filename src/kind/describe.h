/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects as JSON, for `stasis inspect`: by the kind's own operation, otherwise by what the
 * message's descriptor says. Works on objects that validate() would refuse.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

struct json_object;
struct object;
struct objects;

/*
 * The state of an object. Names of members are those of the .proto file: enums by their names,
 * bytes as text (util/text.h), every field in its place also when it is empty. The caller's
 * (json_object_put()).
 */
struct json_object *object_describe(const struct objects *objects, const struct object *object);
/* the same of any message, by its descriptor alone */
struct json_object *message_describe(const ProtobufCMessage *message);
/*
 * The name of an object in one line: its path or name where it has one, else its kind and id. The
 * caller frees it.
 */
char *object_title(const struct objects *objects, const struct object *object);
/* how many bytes one value of a field of this type takes in the message's struct */
size_t value_size(ProtobufCType type);
