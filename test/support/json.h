/* JSON, strictly (RFC 8259). */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>

/* True if `text` is one value and nothing else but white space. */
bool json_is_valid(const char *text);

#endif
