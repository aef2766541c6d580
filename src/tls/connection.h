/* One connection, see connection.c. All under the lock of `t`. */
#ifndef TLS_CONNECTION_H
#define TLS_CONNECTION_H

#include "private.h"

struct tls *connection_new(weir_socket *s, weir_tls_config *c); /* NULL without memory */
void connection_free(struct tls *t);

/* Nothing is left of it but that it is closed. */
void connection_end(struct tls *t);

/* As if it had never begun. */
void connection_reset(struct tls *t);

/* 0 when it is over, -EAGAIN, or how it failed, again and again. */
int connection_handshake(struct tls *t);

/* A count, 0 after the peer's close_notify, -EAGAIN, or the error. */
ssize_t connection_receive(struct tls *t, void *buf, size_t len, bool peek);

/* What TLS can have in one record (RFC 8446 5.1). */
#define TLS_RECORD ((size_t)16384)

/* What can be done without being asked for: the handshake, messages that come later, the outbox.
 * 0, -EAGAIN while the handshake goes on or the outbox waits, or the error. */
int connection_go_on(struct tls *t);

/* How much has been encrypted, -EAGAIN, or the error. */
ssize_t connection_send(struct tls *t, const void *bytes, size_t len);

/* Says close_notify, once, if there has been a handshake: 0, or -EAGAIN until it is with the
 * kernel. */
int connection_say_end(struct tls *t);

/* Hands the outbox on: 0, -EAGAIN, or why nothing can be written any more. */
int connection_flush(struct tls *t);

/* How things stand for those who wait. */
struct outlook {
    bool over;    /* it has failed */
    bool shaking; /* the handshake goes on, or a message of the protocol that comes later */
    bool input;   /* there may be something to receive without looking at the descriptor */
    bool output;  /* the outbox waits for the kernel */
    bool reads;   /* input from the peer would help */
    bool writes;  /* it is ours to begin, or to answer */
};
struct outlook connection_outlook(const struct tls *t);

#endif
