/* Looking up strings in JSON text that is known to be well formed (the server wrote it). */
#ifndef SHARDPACK_JSON_TEXT_H
#define SHARDPACK_JSON_TEXT_H

#include <stddef.h>

/* The value of a member of the object that begins at `object`; NULL if that is no object or has no such member. */
const char *json_member(const char *object, const char *key);

/* Decode the string that begins at `value` into `out`, cut at size - 1 bytes; 0 if it is no string. */
int json_string(const char *value, char *out, size_t size);

#endif
