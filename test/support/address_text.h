/* Addresses and their texts; what is none fails the test. */
#ifndef ADDRESS_TEXT_H
#define ADDRESS_TEXT_H

#include <weir.h>

weir_address parsed(const char *text);
/* Valid until the next call. */
const char *formatted(const weir_address *a);
/* Of the caller's last failure. */
const char *last_story(void);

#endif
