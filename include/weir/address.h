/* Addresses as values: IPv4, IPv6 and Unix. */
#ifndef WEIR_ADDRESS_H
#define WEIR_ADDRESS_H

#include <weir/base.h>

#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Room for the longest text of weir_address_format, with its terminator: every byte of a Unix name
 * escaped. */
#define WEIR_ADDRESS_TEXT_MAX 448

/* An address: a plain value to be copied and compared with weir_address_equal. {0} is "no address"
 * (family AF_UNSPEC). The fields are weir's own; use the calls below. */
typedef struct weir_address {
    uint32_t length; /* bytes used of `bytes` as a sockaddr */
    union {
        uint16_t family; /* AF_INET, AF_INET6, AF_UNIX or AF_UNSPEC */
        unsigned char bytes[112];
        uint64_t align;
    };
} weir_address;

/* Reads an address from text, without ever asking a name server:
 *
 *     192.0.2.1:80            IPv4 and port
 *     [2001:db8::1]:443       IPv6 and port; [fe80::1%eth0]:22 and [fe80::1%2]:22 with a scope
 *     *:8080 or :8080         every local address (the IPv6 one, "::")
 *     unix:/run/thing.sock    Unix, a path of 1 to 107 bytes
 *     unix:@name              Unix, an abstract name (unix(7)) of 1 to 107 bytes
 *
 * The first three may have tcp://, udp:// or tls:// in front; what kind of socket is meant is not
 * part of an address. Ports are decimal, 0 to 65535; IPv4 is four decimal numbers without leading
 * zeros. In Unix names \xHH stands for a byte and \\ for a backslash: \x40 begins a path with "@".
 *
 * Returns 0, or
 *   -EINVAL        the text is no address; weir_error_detail(NULL, …) says where and why
 *   -ENAMETOOLONG  the Unix name or the host name is too long
 *   -ENODEV        there is no interface of the name given as scope
 *   -EMFILE, -ENFILE  to look up an interface takes a descriptor, and there is none
 *   WEIR_ENONAME   the host is a name, not a number: use weir_connect, weir_dial or weir_resolve
 * `*ret` is untouched on failure. */
WEIR_API int weir_address_parse(const char *text, weir_address *ret);

/* Makes an address of a numeric host, without brackets, and a port: ("192.0.2.1", 80), ("::1", 80),
 * ("fe80::1%eth0", 22). NULL, "" and "*" mean every local address ("::").
 *
 * Returns 0, or an error as weir_address_parse. */
WEIR_API int weir_address_from_host(const char *host, uint16_t port, weir_address *ret);

/* Writes the address in the form that weir_address_parse reads: IPv6 as RFC 5952 wants it, a scope
 * as its number, bytes of Unix names that are not printable ASCII as \xHH.
 *
 * Writes at most `size` bytes, terminated if `size` > 0. Returns the length of the whole text,
 * which is ≥ `size` if it did not fit (WEIR_ADDRESS_TEXT_MAX always fits), or
 *   -EINVAL   `a` is NULL, or `buf` is NULL while `size` is not 0
 * weir_address_parse does not read what stands for no address ("none"), an unnamed Unix socket
 * ("unix:"), an empty abstract name ("unix:@") and a path of 108 bytes. */
WEIR_API int weir_address_format(const weir_address *a, char *buf, size_t size);

/* True if both name the same place: family, host, port and scope, or the same Unix name. */
WEIR_API bool weir_address_equal(const weir_address *a, const weir_address *b);

/* AF_INET, AF_INET6, AF_UNIX, or AF_UNSPEC for no address. */
WEIR_API int weir_address_family(const weir_address *a);

/* The port of an IPv4 or IPv6 address, 0 for others. */
WEIR_API uint16_t weir_address_port(const weir_address *a);

/* Sets the port of an IPv4 or IPv6 address. Returns 0, or -EINVAL for others. */
WEIR_API int weir_address_set_port(weir_address *a, uint16_t port);

/* Copies a system address (sockaddr(3type)) of `length` bytes.
 *
 * Returns 0, or
 *   -EINVAL         NULL, or `length` is too short or too long for its family
 *   -EAFNOSUPPORT   a family other than AF_INET, AF_INET6, AF_UNIX */
WEIR_API int weir_address_from_sockaddr(weir_address *ret, const struct sockaddr *sa,
                                        socklen_t length);

/* The address as the system wants it; it lives as long as `*a`, its length goes to `*ret_length`
 * (which may be NULL). NULL if `a` is NULL. */
WEIR_API const struct sockaddr *weir_address_sockaddr(const weir_address *a, socklen_t *ret_length);

#ifdef __cplusplus
}
#endif

#endif
