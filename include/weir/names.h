/* Host names.
 *
 * weir_connect, weir_bind and weir_dial look names up by themselves; these calls are for programs
 * that want the addresses, or a say in where they come from.
 *
 * Numeric hosts and cached answers never leave the calling thread. Everything else is asked by one
 * background thread for the whole process, started on first use: /etc/hosts, then the name servers
 * of /etc/resolv.conf (or those of weir_set_nameservers or WEIR_NAMESERVERS), IPv4 and IPv6 at
 * once. Both files are read again when they change. Answers are kept for the time that their server
 * gives, "no such name" too, for at most a minute. Where nsswitch.conf(5) wants a source other than
 * files and dns, getaddrinfo(3) is asked, on at most four more threads. */
#ifndef WEIR_NAMES_H
#define WEIR_NAMES_H

#include <weir/address.h>
#include <weir/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where an answer came from. */
enum weir_name_source {
    WEIR_FROM_NUMERIC = 1, /* the host was an address */
    WEIR_FROM_CACHE,
    WEIR_FROM_HOSTS,   /* /etc/hosts, or localhost (RFC 6761) */
    WEIR_FROM_DNS,     /* a name server */
    WEIR_FROM_SYSTEM,  /* getaddrinfo(3) */
    WEIR_FROM_PROGRAM, /* weir_set_resolver */
};

/* "numeric", "cache", "hosts", "dns", "system", "program"; "unknown" for others. */
WEIR_API const char *weir_name_source_text(enum weir_name_source source);

/* Looks a host up and waits for the answer, under the limits of the calling thread.
 *
 * `family` is AF_UNSPEC, AF_INET or AF_INET6. Up to `max` addresses with port `port` go to `list`,
 * the one to try first in front (RFC 6724). `*ret_source` (may be NULL) is where they came from.
 *
 * Returns how many there are, which may be more than `max`, at least 1, or
 *   WEIR_ENONAME, WEIR_ENAMEAGAIN, WEIR_ENAMESERVER, -EINVAL, -ENAMETOOLONG  as weir_connect
 *   WEIR_EDEADLINE  a limit passed */
WEIR_API int weir_resolve(const char *host, uint16_t port, int family, weir_address *list,
                          size_t max, enum weir_name_source *ret_source);

/* Sets the name servers for the whole process: "192.0.2.1,192.0.2.2:5353,[2001:db8::1]:53"; NULL
 * goes back to WEIR_NAMESERVERS (the same form, not read in set-user-ID programs) or else
 * /etc/resolv.conf. Cached answers of name servers are forgotten. With servers set, nsswitch.conf
 * is not regarded: files, then these servers.
 *
 * Returns 0, or -EINVAL if the text has an entry that is no numeric address; nothing is changed
 * then. */
WEIR_API int weir_set_nameservers(const char *servers);

/* A resolver of the program's own: stores up to `max` addresses of `family` (AF_INET or AF_INET6)
 * for `name` into `list`, ports are ignored. Returns how many (0: none of this family),
 * WEIR_ENONAME, WEIR_ENAMEAGAIN or WEIR_ENAMESERVER. It may wait: it is called on one of at most
 * four threads of weir's, several at once. */
typedef int weir_resolver(void *arg, const char *name, int family, weir_address *list, int max);

/* Puts a resolver in the place of files and name servers for the whole process; NULL goes back to
 * them. Its answers are cached for 10 seconds. The cache is forgotten. Calls of an earlier resolver
 * that are running end on their own; `arg` must live as long. Returns 0. */
WEIR_API int weir_set_resolver(weir_resolver *resolver, void *arg);

#ifdef __cplusplus
}
#endif

#endif
