/* Datagrams: messages with an address. */
#ifndef WEIR_DATAGRAM_H
#define WEIR_DATAGRAM_H

#include <weir/address.h>
#include <weir/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is known of a received datagram besides its bytes. */
typedef struct weir_datagram_info {
    weir_address from; /* the sender; no address if the sender has none (an unbound Unix socket) */
    weir_address to;   /* where it was sent to (IP_PKTINFO, IPV6_RECVPKTINFO: ip(7), ipv6(7)), with
                          the local port; no address if the system does not say */
    size_t size;       /* the length of the whole message, also of the part that did not fit */
    bool truncated;    /* it did not fit, the rest is lost */
} weir_datagram_info;

/* Sends one message of `len` bytes (0 is a message too) to `to`, or to the connected peer if `to`
 * is NULL. A socket that is not bound yet gets a local address from the system.
 *
 * With no room: a blocking socket waits, a non-blocking one returns. A full Unix receiver counts as
 * no room.
 *
 * Returns `len`, or
 *   -EAGAIN        no room, the socket is non-blocking
 *   -EDESTADDRREQ  no `to`, not connected
 *   -EMSGSIZE      longer than the transport can carry
 *   -EAFNOSUPPORT  an address of another family than the socket's
 *   -EOPNOTSUPP    not a datagram socket
 *   -ECONNREFUSED  an earlier message met a closed port (connected sockets); the socket is still
 *                  good
 * Other errors are those of sendto(2). */
WEIR_API ssize_t weir_send_to(weir_socket *s, const void *buf, size_t len, const weir_address *to);

/* Receives one message into `buf`, at most `len` bytes of it. `*ret` (may be NULL) tells the rest.
 * An empty datagram is a message of length 0, not an end.
 *
 * Where the destination is asked for (`ret` is not NULL), messages that were in the queue before
 * the first such call come without it.
 *
 * Returns the number of bytes stored, 0..len, or
 *   -EAGAIN      nothing there yet, the socket is non-blocking
 *   -EINVAL      `buf` is NULL while `len` is not 0
 *   -ENOTCONN    the socket is neither bound nor connected: nothing can come
 *   -EOPNOTSUPP  not a datagram socket
 * Other errors are those of recvmsg(2). */
WEIR_API ssize_t weir_recv_from(weir_socket *s, void *buf, size_t len, weir_datagram_info *ret);

#ifdef __cplusplus
}
#endif

#endif
