/* /etc/hosts, hosts(5). */
#ifndef HOSTS_H
#define HOSTS_H

#include "answer.h"

struct hosts;

/* Reads the text of the file; what is not understood is left out. NULL without memory. */
struct hosts *hosts_parse(const char *text, size_t len);
void hosts_free(struct hosts *h); /* NULL is allowed */

/* The addresses of `family` that the name (any case, with or without a dot at the end) has, in the
 * order of the file, not ranked. Returns 0, WEIR_ENONAME (also if the name has addresses of the
 * other family only; then `*ret_known` is true), -ENOMEM. */
int hosts_find(const struct hosts *h, const char *name, int family, struct answer **ret,
               bool *ret_known);

/* "localhost" and every name below it, RFC 6761: the loopback address, whatever the file says. */
bool hosts_is_localhost(const char *name);
struct answer *hosts_localhost(int family); /* NULL without memory */

#endif
