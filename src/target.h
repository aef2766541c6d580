/* The texts that weir_dial and weir_listen_on take, taken apart. */
#ifndef TARGET_H
#define TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weir/address.h>

#define HOST_MAX 253

enum scheme { SCHEME_NONE, SCHEME_TCP, SCHEME_UDP, SCHEME_TLS, SCHEME_UNIX };

struct target {
    enum scheme scheme;
    bool any; /* the host was "*" or empty: every local address; `host` is empty then */
    uint16_t port;
    char host[HOST_MAX + 1 + 32]; /* a name or a numeric host without brackets; room for a scope */
    /* The Unix address, or that of a numeric host or of `any` ("::") with the port; no address
     * (AF_UNSPEC) if the host is a name. */
    weir_address address;
};

/* Returns 0, or with the story told -EINVAL, -EPROTONOSUPPORT (an unknown scheme), -ENAMETOOLONG (a
 * host name or a Unix name), -ENODEV (a scope), -EMFILE and kin (a scope by name takes a
 * descriptor); `*ret` is undefined then. Never WEIR_ENONAME: a name is fine here. */
int target_parse(const char *text, struct target *ret);

/* Checks a host name as RFC 1123 wants it: letters, digits, "_", "-" but not at the ends of a
 * label; labels of 1 to 63 bytes, 253 in all; one dot at the end is allowed. A name whose last
 * label is a number, decimal or 0x…, is none: it would be an IPv4 address to some and a name to
 * others. 0, -EINVAL, -ENAMETOOLONG, with the story told. */
int target_check_name(const char *name);

/* A numeric host: 0 and the address with `port`; WEIR_ENONAME if it is no number, -ENODEV and kin
 * for its scope. No story. "*", "" are not numeric. */
int target_numeric(const char *host, uint16_t port, weir_address *ret);

/* Tells that the scope of a numeric host failed with `rc`, which it returns. */
int target_tell_scope(int rc, const char *host, size_t len);

#endif
