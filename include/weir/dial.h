/* From a text to a connection, or to a listener, in one call. */
#ifndef WEIR_DIAL_H
#define WEIR_DIAL_H

#include <weir/base.h>
#include <weir/socket.h>
#include <weir/tls.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Targets:
 *
 *     tcp://example.com:80   tcp://192.0.2.1:80   tcp://[2001:db8::1]:80
 *     tls://example.com:443  the same with TLS (tls.h)
 *     udp://example.com:53   a datagram socket, connected
 *     unix:/run/thing.sock   unix:@abstract       a Unix stream socket
 *     example.com:80         the same as tcp://example.com:80
 *
 * A build without TLS returns -EPROTONOSUPPORT for tls://. TCP sockets made here send small
 * messages at once (TCP_NODELAY, tcp(7)); on a socket of weir_socket_open that is left to
 * weir_set_option. */

/* How to dial. Made by WEIR_DIAL_OPTIONS(.timeout_ms = 3000); what is not named has its default.
 * Later versions add to the end: `size` says how much of it the program knows. */
typedef struct weir_dial_options {
    size_t size;          /* sizeof(weir_dial_options), set by the macro */
    bool nonblocking;     /* the socket starts in non-blocking mode; default: blocking */
    int64_t timeout_ms;   /* as weir_set_timeout, on the new socket; 0 or less: none */
    const char *local;    /* where to connect from, as weir_address_parse; NULL: anywhere */
    weir_tls_config *tls; /* for tls:// alone; NULL: what a client needs, with the system's trust */
    const char *tls_name; /* for tls:// alone: for whom the certificate has to be; NULL: the host */
} weir_dial_options;

#define WEIR_DIAL_OPTIONS(...)                                                                     \
    (&(const weir_dial_options){.size = sizeof(weir_dial_options), __VA_ARGS__})

/* Makes a socket and connects it: names, every address and the connection are one operation under
 * one limit (weir_connect). `options` may be NULL.
 *
 * Returns 0 and the connected socket, or
 *   -EINPROGRESS      non-blocking: `*ret` is the socket, which goes on connecting
 *                     (weir_connect_status)
 *   -EINVAL           the target is no target, or has no host ("*:80"), or is not tls:// though
 *                     TLS is asked for, or `options` has no size; weir_error_detail(NULL, …) says
 *                     where and why
 *   -EPROTONOSUPPORT  an unknown scheme, or tls:// in a build without it
 * or as weir_connect. On any failure `*ret` is untouched and weir_error_detail(NULL, …) tells each
 * address tried. */
WEIR_API int weir_dial(weir_socket **ret, const char *target, const weir_dial_options *options);

/* How to listen. Made by WEIR_LISTEN_OPTIONS(.backlog = 100). */
typedef struct weir_listen_options {
    size_t size;          /* sizeof(weir_listen_options), set by the macro */
    int backlog;          /* as weir_listen; 0: the system's limit */
    bool nonblocking;     /* the listener starts in non-blocking mode */
    bool reuse_port;      /* SO_REUSEPORT: several listeners share the port (socket(7)) */
    weir_tls_config *tls; /* for tls:// alone, where there has to be one, with a certificate */
} weir_listen_options;

#define WEIR_LISTEN_OPTIONS(...)                                                                   \
    (&(const weir_listen_options){.size = sizeof(weir_listen_options), __VA_ARGS__})

/* Makes a listener, or for udp:// a bound datagram socket. Hosts are
 *
 *     numeric              127.0.0.1:80, [::1]:80; [::] includes IPv4 if the system says so
 *     "*" or empty         every local address, over IPv6 and IPv4; over IPv4 alone where there is
 *                          no IPv6
 *     a name               the first of its addresses that is one of this machine
 *
 * Port 0 is a free one (weir_local_address tells). TCP listeners may be started again right after
 * the last one ended (SO_REUSEADDR), and what they accept sends small messages at once. A Unix path
 * is not removed, neither before nor after.
 *
 * A name is looked up and waited for, also with `nonblocking`. `options` may be NULL.
 *
 * Returns 0 and the listener, or as weir_dial and weir_bind. On any failure `*ret` is untouched and
 * weir_error_detail(NULL, …) tells each address tried. */
WEIR_API int weir_listen_on(weir_socket **ret, const char *target,
                            const weir_listen_options *options);

#ifdef __cplusplus
}
#endif

#endif
