/* A peer of OpenSSL's over memory, without a thread: what it says is kept until the test passes it
 * on, as many bytes at a time as the test likes, and what is said to it waits until the test hands
 * it over. So a test chooses each byte and each moment.
 *
 *     struct puppet *p;
 *     weir_socket *s = puppet_meet(&p, &puppet_rows[0]);    TLS is set, nothing has been said
 *     …
 *     puppet_close(p);
 *
 * Nothing here waits. What cannot be a result of a test ends the program. */
#ifndef TLS_PUPPET_H
#define TLS_PUPPET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weir.h>

/* What a test under every role and version runs through. */
struct puppet_row {
    const char *name;
    bool server; /* that is the socket's role; the puppet has the other */
    int version;
};
#define PUPPET_ROWS 4
extern const struct puppet_row puppet_rows[PUPPET_ROWS];
#define EACH_ROW(row)                                                                              \
    for (const struct puppet_row *row = puppet_rows; row < puppet_rows + PUPPET_ROWS; row++)

struct puppet {
    struct ssl_st *ssl;
    struct bio_st *in, *out;
    weir_socket *line;     /* NULL once it is cut off */
    uint64_t given, taken; /* bytes passed on and handed over */
    uint64_t said, heard;  /* inside TLS */
    bool shaken;           /* its handshake is over */
    bool ended;            /* nothing more comes on the line */
    bool closed;           /* close_notify has come */
    bool differs;          /* what it heard is not what tls_peer_byte says */
    int alert;             /* the last that came, but for close_notify; -1: none */
    unsigned updates;      /* KeyUpdates that came */
    bool failed;
    bool large_tickets;
    char error[256];
};

/* `line` is plain, and the puppet's from now on. Version 0: any. */
struct puppet *puppet_open(weir_socket *line, bool client, int version);
void puppet_close(struct puppet *p);

/* The socket at the other end of the puppet's line, in blocking mode, with TLS set: configurations
 * are puppet_config's. */
weir_socket *puppet_meet(struct puppet **ret, const struct puppet_row *row);
/* The same by TCP; the socket of a server was accepted by a listener that has TLS, that of a client
 * got it on the connection. */
weir_socket *puppet_meet_by_tcp(struct puppet **ret, const struct puppet_row *row);

/* What these sockets have: no sessions are resumed. Borrowed, until puppet_end. */
weir_tls_config *puppet_config(bool server);
/* Frees what is shared, at the end of a program; and pki_end. */
void puppet_end(void);

/* ---- the line -------------------------------------------------------------------------------- */

#define ALL SIZE_MAX

/* How many bytes it has said that have not been passed on. */
size_t puppet_owes(const struct puppet *p);
/* Passes on at most `max` bytes; how many. */
size_t puppet_give(struct puppet *p, size_t max);
/* Hands over at most `max` bytes; how many. */
size_t puppet_take(struct puppet *p, size_t max);
/* Ends its direction; everything, with what it was sent and has not read. */
void puppet_cut(struct puppet *p);
void puppet_vanish(struct puppet *p);
/* Changes the byte at that place of what it owes. */
void puppet_damage(struct puppet *p, size_t at);
/* Sends bytes past TLS. */
void puppet_raw(struct puppet *p, const void *bytes, size_t len);

/* ---- what it does: false if it cannot go on with what was handed over, or has failed --------- */

bool puppet_shake(struct puppet *p);
/* `len` bytes, as tls_peer_byte has them. */
bool puppet_say(struct puppet *p, size_t len);
/* Everything; false after the end. */
bool puppet_hear(struct puppet *p);
/* Nothing in TLS 1.2. */
bool puppet_update_keys(struct puppet *p, bool ask);
bool puppet_send_ticket(struct puppet *p);
/* One that is longer than a record, which has PUPPET_RECORD bytes from now on. */
bool puppet_send_long_ticket(struct puppet *p);
#define PUPPET_RECORD 512
/* close_notify. */
bool puppet_say_end(struct puppet *p);
/* Asks for a new handshake (TLS 1.2). */
bool puppet_renegotiate(struct puppet *p);

/* Takes, goes on with its handshake, hears, and gives everything: true if something moved. */
bool puppet_turn(struct puppet *p);

/* Both handshakes to their end, the socket in whatever mode it is. For sockets whose calls can be
 * made without a wait: it is in non-blocking mode meanwhile. */
void puppet_shake_both(struct puppet *p, weir_socket *s);

#endif
