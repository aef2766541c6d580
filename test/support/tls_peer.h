/* The other end of a TLS connection, by OpenSSL alone, in a thread of its own: a server or a client
 * that does what its script says.
 *
 *     struct tls_peer *p = TLS_PEER(fd, .chain = pki->server_pem, .key = pki->server_key_pem,
 *                                   .script = {STEP(PEER_ECHO), STEP(PEER_END)});
 *     …
 *     struct tls_peer_result r;
 *     tls_peer_join(p, &r);
 *
 * A peer has no opinions: it speaks whatever version it is told to, shows any certificate and
 * accepts any, unless told otherwise. All servers take up each other's sessions. After the script,
 * and after a step that failed, it ends its direction of the stream and waits for the other to end,
 * or for the join, so that nothing it said is lost to a reset. One that hears nothing for a minute
 * gives up. What cannot be a result of the test (no memory, a broken PEM) ends the program. */
#ifndef TLS_PEER_H
#define TLS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ssl_st;
struct tls_peer;

enum peer_do {
    PEER_OVER,       /* the end of the script */
    PEER_HANDSHAKE,  /* comes first by itself, unless the script begins with a step that needs none:
                         PEER_RAW, PEER_AWAIT, PEER_PAUSE, PEER_CUT, PEER_RESET */
    PEER_ECHO,       /* sends back what comes, up to the end */
    PEER_SEND,       /* `count` bytes, in pieces of 16 KiB; see tls_peer_byte */
    PEER_RECV,       /* `count` bytes, which have to be those of tls_peer_byte; 0: up to the end */
    PEER_RECV_ONE,   /* the same, one byte at a time */
    PEER_KEY_UPDATE, /* `count` times, 0: once; `ask`: asks for theirs too (TLS 1.3) */
    PEER_RENEGOTIATE, /* asks for it (TLS 1.2) */
    PEER_TICKET,      /* one more session ticket (TLS 1.3 servers) */
    PEER_END,         /* close_notify */
    PEER_AWAIT_END,   /* reads up to the end and throws away */
    PEER_CUT,         /* ends the stream of TCP, without close_notify */
    PEER_RESET,       /* resets the connection; the end of the script */
    PEER_RAW,         /* sends `text` (`count` bytes, 0: strlen) past TLS */
    PEER_AWAIT,       /* until something has come, and leaves it there */
    PEER_PAUSE,       /* until tls_peer_go, or the join */
};

struct peer_step {
    enum peer_do what;
    size_t count;
    const char *text;
    bool ask;
};

/* STEP(PEER_SEND, .count = 100) */
#define STEP(...)                                                                                  \
    {                                                                                              \
        .what = __VA_ARGS__                                                                        \
    }

#define PEER_STEPS 12

struct tls_peer_options {
    bool client;
    const char *chain, *key; /* PEM; NULL: none */
    const char *trust;       /* PEM; checks the peer's chain against it. NULL: accepts any */
    bool ask, require;       /* servers: a certificate of the client */
    const char *name;        /* clients: asked for, and with .trust checked. NULL: none */
    int min, max;            /* 0: what OpenSSL has */
    const char *ciphers;     /* of TLS 1.2; NULL: all */
    const char *alpn;        /* "h2,http/1.1" */
    const void *staple;      /* DER */
    size_t staple_len;
    bool want_staple;                              /* clients */
    struct tls_peer_session *session;              /* clients: taken up, and kept again */
    void (*adjust)(struct ssl_st *ssl, void *arg); /* for anything else, before the handshake */
    void *adjust_arg;
    struct peer_step script[PEER_STEPS];
};

enum peer_end {
    PEER_OPEN,      /* the script ended before the stream */
    PEER_CLOSED,    /* by close_notify */
    PEER_TRUNCATED, /* without it */
    PEER_FAILED,    /* an error; the text says which */
};

struct tls_peer_result {
    bool shaken; /* the handshake came to its end */
    bool resumed;
    int version; /* 0x0304 … */
    int alert;   /* the last that came, but for close_notify; -1: none */
    enum peer_end end;
    bool differs;      /* bytes came that are not those of tls_peer_byte */
    uint64_t received; /* bytes of the stream */
    char cipher[64], alpn[64];
    char name[256];       /* that the client asked for */
    char subject[256];    /* of the peer's certificate, one line; "" */
    unsigned key_updates; /* that came */
    char error[256];      /* OpenSSL's words; "" */
};

/* Takes `fd` over: a stream of any kind, or a listener, whose next connection the peer takes. What
 * the options point to has to stay until the join. */
struct tls_peer *tls_peer_start(int fd, const struct tls_peer_options *options);
#define TLS_PEER(fd, ...) tls_peer_start((fd), &(const struct tls_peer_options){__VA_ARGS__})

/* Ends a PEER_PAUSE, the one that it is in or the next one. */
void tls_peer_go(struct tls_peer *p);

/* Waits for the end of the script: one that reads ends when the other side ends. `ret` may be
 * NULL. */
void tls_peer_join(struct tls_peer *p, struct tls_peer_result *ret);

/* The byte at that place of what peers send and want to receive. */
static inline unsigned char tls_peer_byte(uint64_t at)
{
    return (unsigned char)((at * 31) ^ (at >> 8) ^ (at >> 16));
}

/* A client's session, for the next connection. */
struct tls_peer_session *tls_peer_session_new(void);
void tls_peer_session_free(struct tls_peer_session *s);

#endif
