/* TLS on a socket, for the files that know nothing of OpenSSL.
 *
 * `struct tls` belongs to its socket (s->tls) and is there from weir_set_tls, or from the accept of
 * a listener that has it, to the end of the socket. In it is a lock of its own, which is held while
 * OpenSSL works and never while anybody waits. Lock order: socket, tls, configuration; but whoever
 * holds the lock of tls does not take that of its socket.
 *
 * OpenSSL writes into a buffer of ours, so that it never has to be called again with the same
 * bytes: what has been encrypted counts as sent. Whoever comes next hands on what the kernel had no
 * room for. */
#ifndef TLS_TLS_H
#define TLS_TLS_H

#include "../layer/layer.h"

#include <weir/address.h>
#include <weir/tls.h>

struct tls;

extern const struct layer_ops layer_tls;

/* A reference to what a client uses that has no configuration of its own. 0 or -errno, with the
 * story told. */
int tls_default_config(weir_tls_config **ret);

/* 0 if it can serve, else -EINVAL with the story told; NULL cannot. From now on it cannot be
 * changed. */
int tls_check_server(weir_tls_config *c);

/* For `s`, a client of the peer called `name` (NULL: to be named by tls_aim), or a server. Takes a
 * reference to `c`, which cannot be changed from now on. Returns 0, or with the story told -EINVAL
 * (a bad name, a server without a certificate), -ENOMEM. */
int tls_new(struct tls **ret, weir_socket *s, weir_tls_config *c, const char *name, bool server);

/* The socket, set up before it was known what it becomes, listens: 0, or -EINVAL with the story
 * told. (socket's lock) */
int tls_listen(weir_socket *s);

/* Gives `s`, which nobody else knows yet, what a listener has for those that it accepts: 0,
 * -ENOMEM, or WEIR_ECLOSED. */
int tls_accepted(weir_socket *s, const weir_socket *listener);

/* Also without a socket any more; says nothing to the peer. NULL is fine. */
void tls_free(struct tls *t);

/* A client connects to `host`, or if that is NULL to an address: that is what the certificate has
 * to be for, unless a name was given. 0, or with the story told -ENOMEM, -EINVAL (a Unix address is
 * no name). (socket's lock) */
int tls_aim(weir_socket *s, const char *host, const weir_address *to);

/* Goes on with the handshake: 0 when it is over, -EAGAIN, or how it failed, again and again.
 * (socket's lock) */
int tls_handshake(weir_socket *s);

/* The story of the failure, to be freed; NULL if there is none. */
char *tls_take_story(struct tls *t);

/* Forgets the connection, for the next attempt to connect. (socket's lock) */
void tls_reset(struct tls *t);

/* From now on nothing is said to the peer any more. */
void tls_silence(struct tls *t);

/* The socket is closed: lets go of all that is large or shared, while others still hold the socket.
 * Their calls return WEIR_ECLOSED. (socket's lock) */
void tls_release(struct tls *t);

/* Says close_notify if that takes no wait; for the end of the socket. (socket's lock) */
void tls_goodbye(weir_socket *s);

/* The process is a child of the one whose connection this is. */
bool tls_inherited(const struct tls *t);

#endif
