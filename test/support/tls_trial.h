/* Trials: somebody shows a certificate to a socket with TLS, and what comes of it, in each of the
 * ways in which that can come about. */
#ifndef TLS_TRIAL_H
#define TLS_TRIAL_H

#include "support/pki.h"
#include "support/tls_peer.h"

#include <weir.h>
#include <weir/tls.h>

enum trial_way {
    TRIAL_CONNECT, /* a client that has TLS from the start: weir_connect */
    TRIAL_LATER,   /* a client on a connection: weir_set_tls, weir_handshake */
    TRIAL_ACCEPT,  /* a server that a listener with TLS has accepted */
    TRIAL_SERVER,  /* a server on a connection */
    TRIAL_WAYS
};

static inline bool trial_is_server(enum trial_way way)
{
    return way >= TRIAL_ACCEPT;
}

struct trial {
    pki_cert *leaf, *middle, *root;
    /* What is shown. */
    const char *chain, *key;
    const void *staple;
    size_t staple_len;
    void (*adjust)(struct ssl_st *ssl, void *arg); /* of the peer */
    const char *raw; /* sent in the place of any answer to a client's first message */
    size_t raw_len;
    /* To whom. */
    const char *trust, *crl; /* PEM */
    const char *wanted;      /* name, of a server; "server.test" */
    bool require_staple, trust_anyone;
};

/* Certificates as they are shown: leaf, middle, and root, which is trusted. What is not named makes
 * a good one. Their subjects are CN=Leaf, CN=Middle and CN=Root; the leaf is for "server.test", in
 * its SAN. */
struct trial_spec {
    struct pki_spec leaf, middle, root; /* the issuers are set; a .san of "NONE": none */
    bool bare;                          /* there is no middle */
    const char *wanted;
    void (*arrange)(struct trial *t); /* changes what was made */
};

/* For rows of tables that have a `struct trial_spec spec`. */
#define LEAF(...)   .spec.leaf = {__VA_ARGS__}
#define MIDDLE(...) .spec.middle = {__VA_ARGS__}
#define ROOT(...)   .spec.root = {__VA_ARGS__}
#define ARRANGE(fn) .spec.arrange = (fn)

/* Makes the certificates, for a server or for a client. They stay until pki_end. */
void trial_prepare(struct trial *t, const struct trial_spec *spec, bool server);

struct trial_result {
    int rc;            /* how the handshake ended */
    char detail[2048]; /* the story */
    bool alike;        /* asked again, it ended like that again, and nothing could be sent or
                        * received, or all was well */
    bool verified;     /* as weir_tls_info says */
    struct tls_peer_result peer;
};

/* `version` as in struct tls_peer_result; 0: any. */
void trial_run(const struct trial *t, enum trial_way way, int version, struct trial_result *ret);

/* Where things are slow, each version is left out of every other way; Valgrind sees every fifth of
 * what is left. */
bool trial_matters(enum trial_way way, int version);

#endif
