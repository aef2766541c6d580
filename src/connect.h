/* The resumable connect: resolving → racing → connected.
 *
 * `struct connect` belongs to its socket (s->connect) and exists while phase is PHASE_CONNECTING.
 * Whoever holds the socket's lock may drive it: a blocking caller, a non-blocking one, a poller;
 * nothing in it waits. */
#ifndef CONNECT_H
#define CONNECT_H

#include "socket.h"

/* Starts: to a host by name or numeric address (`to` NULL), or to an address (`host` NULL). Returns
 * 0 if connected at once, -EINPROGRESS if it goes on, or the failure. (lock) */
int connect_begin(weir_socket *s, const char *host, uint16_t port, const weir_address *to);

/* Goes on as far as possible. At the end s->connect is gone and the phase is PHASE_CONNECTED, or
 * what it was before, with s->connect_error and the story set; waiters are woken if the interest
 * has changed. (lock) */
void connect_drive(weir_socket *s);

/* What to watch while connecting. (lock) */
void connect_interest(weir_socket *s, struct interest *ret);

/* Ends a connect that has not ended: attempts closed, look-up cancelled; s->connect_error = rc.
 * (lock) */
void connect_abandon(weir_socket *s, int rc);

/* Several calls may wait for one connect. The one that began it owns it, that is, ends it when its
 * time is up; without an owner (NULL) it goes on in the background, and whoever waits may end it. A
 * call is named by something on its stack. (lock) */
void connect_own(weir_socket *s, const void *call);
bool connect_may_end(const weir_socket *s, const void *call);

/* Sets an option that has been recorded on the attempts that go on already. (lock) */
void connect_set_option(weir_socket *s, const struct setting *o);

/* How the last connect ended: 0, its error, or -ENOTCONN if there was none. From now on it
 * counts as told, and the socket can connect again. (lock) */
int connect_outcome(weir_socket *s);

#endif
