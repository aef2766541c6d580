/* What tests say to a puppet over TLS and hear from it: bytes as tls_peer_byte has them. */
#ifndef TLS_TALK_H
#define TLS_TALK_H

#include "support/tls_puppet.h"

/* As puppet_meet, both handshakes over, and with a limit. */
weir_socket *talk_begin(struct puppet **ret, const struct puppet_row *row);
void talk_end(weir_socket *s, struct puppet *p);

/* `count` bytes of the stream, from the place `at` on; at most 1000. */
void talk_send(weir_socket *s, uint64_t at, size_t count);
void talk_receive(weir_socket *s, uint64_t at, size_t count);

/* Hands everything over: so much has come to the puppet by now, and close_notify or not. */
void talk_is_heard(struct puppet *p, uint64_t count, bool closed);

/* Little is on the way at a time. */
void talk_make_small(weir_socket *s);

#endif
