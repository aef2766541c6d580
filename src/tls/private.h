/* What the files of this directory share; the only place that brings OpenSSL in.
 *
 * OpenSSL's error queue belongs to the thread: it is cleared before each call whose failure is
 * told, and read before anything else runs. */
#ifndef TLS_PRIVATE_H
#define TLS_PRIVATE_H

#include "tls.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- configurations ------------------------------------------------------------------------- */

/* Bytes on the heap, which may be secret. */
struct blob {
    unsigned char *bytes;
    size_t len;
};

/* Who one is: a chain, its key and what is stapled to it. */
struct identity {
    struct identity *next;
    X509 *leaf;
    STACK_OF(X509) *chain; /* without the leaf */
    EVP_PKEY *key;
    struct blob staple; /* DER; empty if none */
};

/* Sessions of a client, the most recently used first, by name and port. In a child of the process
 * that made it, it is left alone: a thread of the parent may have held its lock. */
struct session_cache {
    pthread_mutex_t lock;
    struct session *first;
    unsigned fork_count;
};

struct weir_tls_config {
    atomic_uint references;
    atomic_bool used;             /* nothing can be changed any more */
    SSL_CTX *ctx;                 /* for clients and servers */
    BIO_METHOD *bio;              /* connection.c's, made with the configuration */
    _Atomic(X509_STORE *) system; /* whom clients trust if nobody was named; NULL until needed */
    STACK_OF(X509_CRL) *crls;     /* NULL: none */
    int64_t crls_until;           /* the earliest end of one, seconds since 1970 */
    struct identity *identities;  /* in the order in which they were added */
    weir_tls_choose *choose;
    void *choose_arg;
    weir_tls_client ask;
    bool trusts;   /* somebody was named: the system is not trusted by itself */
    bool insecure; /* anybody is */
    bool require_staple;
    bool resume;
    struct blob alpn; /* as on the wire: length, bytes, …; empty if none */
    int keys_fd;      /* for secrets; -1 */
    struct session_cache sessions;
};

/* Ends the time in which it can be changed. 0, or -EINVAL with the story told:
 * a server without a certificate. -ENOMEM. config.c */
int config_use(weir_tls_config *c, bool server);

/* 0, or why it cannot be changed: -EINVAL without one, -EBUSY. */
int config_changeable(const weir_tls_config *c);

/* trust.c: what certificates of servers (or clients) are checked against; borrowed. */
X509_STORE *trust_of(const weir_tls_config *c, bool server);
/* Arranges for the system to be trusted by clients, unless somebody else is: 0 or -ENOMEM. */
int trust_prepare(weir_tls_config *c);

/* ---- connections ---------------------------------------------------------------------------- */

/* Ciphertext that the kernel has had no room for. */
struct outbox {
    unsigned char *bytes;
    size_t start, end, room;
};

struct tls {
    pthread_mutex_t lock;
    weir_socket *socket;     /* whose this is */
    weir_tls_config *config; /* a reference */
    weir_tls_config *chosen; /* by the program; a reference, until the handshake is over */
    bool shows_other;        /* than the first certificate of the configuration */
    SSL *ssl;                /* NULL before the first step of the handshake */
    struct outbox out;
    char *name; /* of the peer, for clients: as it is verified and asked for; NULL: not known */
    char *session_key; /* of a client, "NAME PORT"; NULL before the handshake */
    char *story;       /* why the handshake failed; NULL if it did not (yet) */
    bool server;
    bool name_given;    /* by the program; not to be taken from what is connected to */
    bool bad_peer;      /* verification failed: the story says why, and the error is WEIR_ECERT */
    bool done;          /* the handshake is over */
    size_t looked;      /* bytes that OpenSSL has read in this call */
    bool tired;         /* of which there were too many: there may be more to read */
    bool filled;        /* the last read has filled OpenSSL's buffer */
    bool starved;       /* OpenSSL has less than a record and waits for more */
    bool clogged;       /* it wants to write and the outbox is full */
    bool gathering;     /* what it writes waits in the outbox for more */
    bool ended;         /* the peer has ended the TCP direction */
    bool deaf;          /* nothing more is received: SHUT_RD */
    bool said_end;      /* close_notify has been written */
    atomic_bool silent; /* nothing more is said */
    int error;          /* that ended it; 0 if none */
    int io_error;       /* of the read that OpenSSL has just made */
    int write_error;    /* nothing can be written any more; 0 if none */
    unsigned fork_count;
    int64_t good_until; /* when what the peer has shown has to be checked again, since 1970 */
};

static inline struct tls *tls_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

/* ---- parts of a handshake ------------------------------------------------------------------- */

/* Each `prepare`, and then sessions_offer, gets a fresh t->ssl, whose app data is `t` and whose
 * role is set. 0 or -ENOMEM. */

/* verify.c: whom to accept: mode, name or address, callback; server_name. On a bad certificate the
 * callback sets t->bad_peer and appends to t->story: which certificate, what is wrong with it, the
 * name that was wanted. */
void verify_init(weir_tls_config *c);
int verify_prepare(struct tls *t);

/* reason.c: appends what is wrong with the chain, in a sentence. */
void reason_tell(const struct tls *t, X509_STORE_CTX *failed, char **story);
/* The certificate and who has issued it, for a sentence. */
void reason_describe(const X509 *x, char *buf, size_t size);
/* "2026-01-02 03:04:05 UTC" */
#define DATE_MAX 32
const char *reason_date(const ASN1_TIME *time, char buf[DATE_MAX]);
/* Seconds since 1970; `otherwise` if it is no date. */
int64_t reason_seconds(const ASN1_TIME *time, int64_t otherwise);

/* sessions.c: offers a session if there is one for t->session_key. New ones come by themselves. */
int sessions_offer(struct tls *t);
void sessions_init(weir_tls_config *c);  /* hooks itself into c->ctx */
void sessions_apply(weir_tls_config *c); /* c->resume has changed */
void sessions_free(struct session_cache *cache);

/* choose.c: which certificates of a server: server_name, callback of the program. */
void choose_init(weir_tls_config *c);
/* The handshake is over, or given up. */
void choose_done(struct tls *t);
/* A name as servers have them, without anything that could be more than that. */
bool choose_is_host_name(const char *name);

/* identity.c */
void identities_free(struct identity *list);

/* staple.c: a client that requires a staple asks for it and checks it; a server gives it. */
void staple_init(weir_tls_config *c);
int staple_prepare(struct tls *t);

/* ---- PEM ------------------------------------------------------------------------------------ */

/* Something to be read, and what it is called in stories. */
struct pem {
    const char *name;
    const void *bytes;
    size_t len;
};

/* What a file is called: its path in quotes. */
#define FILE_NAME_MAX 192
const char *pem_name(const char *path, char buf[FILE_NAME_MAX]);

#define PEM_FILE_MAX ((size_t)64 << 20) /* of certificates and revocation lists */
#define STAPLE_MAX   ((size_t)1 << 16)
#define KEY_FILE_MAX ((size_t)1 << 20)

/* pem.c: a whole file. 0, -ENOMEM, -errno, -EINVAL if it is larger, with the story told. */
int blob_read(struct blob *ret, const char *path, size_t max);
int blob_copy(struct blob *ret, const void *bytes, size_t len);
void blob_wipe(struct blob *b);

/* At least one, or -EINVAL with the story told; -ENOMEM. */
int pem_certificates(const struct pem *in, STACK_OF(X509) **ret);
int pem_crls(const struct pem *in, STACK_OF(X509_CRL) **ret);
int pem_key(const struct pem *in, EVP_PKEY **ret);

/* ---- what went wrong ------------------------------------------------------------------------ */

/* connection.c: OpenSSL's methods for reading and writing, for one configuration; NULL without
 * memory. */
BIO_METHOD *connection_bio_new(void);

/* tell.c: appends the reasons in OpenSSL's error queue, in words, and clears it. */
void tell_reasons(char **story);

/* Tells that `what` failed for the reasons in the queue, which is cleared; returns -EINVAL, or
 * -ENOMEM if that is the reason. */
int tell_failure(const char *what);

/* One line for a name in a certificate, printable ASCII, cut to `size`. */
void tell_name(const X509_NAME *name, char *buf, size_t size);

#endif
