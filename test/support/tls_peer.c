#include "support/tls_peer.h"

#include "support/pki_private.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE      16384
#define PATIENCE_S 60

struct tls_peer_session {
    SSL_SESSION *session;
};

struct tls_peer {
    pthread_t thread;
    const struct tls_peer_options *options;
    struct tls_peer_options copy;
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    int wake_fd; /* counts what ends pauses */
    uint64_t sent;
    struct tls_peer_result result;
};

/* ---- setting up ------------------------------------------------------------------------------ */

static BIO *reader(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    PKI_MUST(bio != NULL);
    return bio;
}

static void show(SSL_CTX *ctx, const char *chain, const char *key)
{
    BIO *bio = reader(chain);
    X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    PKI_MUST(x509 && SSL_CTX_use_certificate(ctx, x509) == 1);
    do {
        X509_free(x509);
        x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    } while (x509 && SSL_CTX_add1_chain_cert(ctx, x509) == 1);
    PKI_MUST(x509 == NULL);
    BIO_free(bio);
    ERR_clear_error();

    bio = reader(key);
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    PKI_MUST(pkey && SSL_CTX_use_PrivateKey(ctx, pkey) == 1);
    EVP_PKEY_free(pkey);
    BIO_free(bio);
}

static void trust(SSL_CTX *ctx, const char *pem)
{
    BIO *bio = reader(pem);
    X509 *x509;
    while ((x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        PKI_MUST(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), x509) == 1);
        X509_free(x509);
    }
    BIO_free(bio);
    ERR_clear_error();
}

static int accept_any(int good, X509_STORE_CTX *ctx)
{
    (void)good, (void)ctx;
    return 1;
}

static void set_verify(SSL_CTX *ctx, const struct tls_peer_options *o)
{
    int mode = o->client ? (o->trust ? SSL_VERIFY_PEER : SSL_VERIFY_NONE)
                         : (o->ask || o->require ? SSL_VERIFY_PEER : SSL_VERIFY_NONE);
    if (o->require)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ctx, mode, o->trust ? NULL : accept_any);
    if (o->trust)
        trust(ctx, o->trust);
}

/* "h2,http/1.1" as on the wire. */
static unsigned alpn_wire(const char *text, unsigned char *ret)
{
    unsigned len = 0;
    while (text && *text) {
        size_t n = strcspn(text, ",");
        ret[len++] = (unsigned char)n;
        memcpy(ret + len, text, n);
        len += (unsigned)n;
        text += n + (text[n] == ',');
    }
    return len;
}

static int choose_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
                       const unsigned char *theirs, unsigned theirs_len, void *arg)
{
    unsigned char *own = arg; /* the length, and then the list */
    (void)ssl;
    int rc = SSL_select_next_proto((unsigned char **)(uintptr_t)ret, ret_len, own + 1, own[0],
                                   theirs, theirs_len);
    return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int staple(SSL *ssl, void *arg)
{
    const struct tls_peer_options *o = arg;
    if (o->client)
        return 1;
    unsigned char *copy = OPENSSL_memdup(o->staple, o->staple_len);
    PKI_MUST(copy && SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)o->staple_len) == 1);
    return SSL_TLSEXT_ERR_OK;
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_peer *p = SSL_get_app_data(ssl);
    SSL_SESSION_free(p->options->session->session);
    p->options->session->session = session;
    return 1;
}

static void set_sessions(SSL_CTX *ctx, const struct tls_peer_options *o)
{
    static unsigned char ticket_keys[80] = "the same for all";
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"peer", 4);
    if (!o->client)
        PKI_MUST(SSL_CTX_set_tlsext_ticket_keys(ctx, ticket_keys, sizeof ticket_keys) == 1);
    if (o->client && o->session) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ctx, keep_session);
    }
}

static SSL_CTX *context(struct tls_peer *p, unsigned char *alpn)
{
    const struct tls_peer_options *o = p->options;
    SSL_CTX *ctx = SSL_CTX_new(o->client ? TLS_client_method() : TLS_server_method());
    PKI_MUST(ctx != NULL);
    SSL_CTX_set_security_level(ctx, 0);
    PKI_MUST(SSL_CTX_set_min_proto_version(ctx, o->min) == 1 &&
             SSL_CTX_set_max_proto_version(ctx, o->max) == 1);
    PKI_MUST(SSL_CTX_set_cipher_list(ctx, o->ciphers ? o->ciphers : "ALL") == 1);
    SSL_CTX_set_max_cert_list(ctx, 1 << 24);
    if (o->chain)
        show(ctx, o->chain, o->key);
    set_verify(ctx, o);
    set_sessions(ctx, o);
    if (o->client ? o->want_staple : o->staple != NULL) {
        SSL_CTX_set_tlsext_status_cb(ctx, staple);
        SSL_CTX_set_tlsext_status_arg(ctx, &p->copy);
    }
    if (o->alpn && !o->client)
        SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, alpn);
    return ctx;
}

/* ---- what it sees ---------------------------------------------------------------------------- */

static void on_info(const SSL *ssl, int where, int value)
{
    struct tls_peer *p = SSL_get_app_data(ssl);
    if (where == SSL_CB_READ_ALERT && (value & 0xff) != SSL_AD_CLOSE_NOTIFY)
        p->result.alert = value & 0xff;
}

static void on_message(int written, int version, int type, const void *bytes, size_t len, SSL *ssl,
                       void *arg)
{
    struct tls_peer *p = arg;
    (void)version, (void)ssl;
    if (!written && type == SSL3_RT_HANDSHAKE && len > 0 &&
        *(const unsigned char *)bytes == SSL3_MT_KEY_UPDATE)
        p->result.key_updates++;
}

static void note_error(struct tls_peer *p)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(p->result.error, sizeof p->result.error, "%s", reason ? reason : "the stream failed");
    p->result.end = PEER_FAILED;
}

/* What a call that did not succeed means for the stream. Returns false. */
static bool note_end(struct tls_peer *p, int rc)
{
    int why = SSL_get_error(p->ssl, rc);
    bool cut = (why == SSL_ERROR_SYSCALL && !ERR_peek_error()) ||
               (why == SSL_ERROR_SSL &&
                ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
    if (why == SSL_ERROR_ZERO_RETURN)
        p->result.end = PEER_CLOSED;
    else if (cut)
        p->result.end = PEER_TRUNCATED;
    else
        note_error(p);
    ERR_clear_error();
    return false;
}

static void note_handshake(struct tls_peer *p)
{
    struct tls_peer_result *r = &p->result;
    const unsigned char *alpn;
    unsigned alpn_len;
    const char *name = SSL_get_servername(p->ssl, TLSEXT_NAMETYPE_host_name);
    X509 *x509 = SSL_get0_peer_certificate(p->ssl);

    r->shaken = true;
    r->resumed = SSL_session_reused(p->ssl);
    r->version = SSL_version(p->ssl);
    snprintf(r->cipher, sizeof r->cipher, "%s", SSL_get_cipher_name(p->ssl));
    SSL_get0_alpn_selected(p->ssl, &alpn, &alpn_len);
    snprintf(r->alpn, sizeof r->alpn, "%.*s", (int)alpn_len, (const char *)alpn);
    snprintf(r->name, sizeof r->name, "%s", name ? name : "");
    if (x509)
        X509_NAME_oneline(X509_get_subject_name(x509), r->subject, sizeof r->subject);
}

/* ---- what it does: each false if there is nothing more to do --------------------------------- */

static bool shake(struct tls_peer *p)
{
    int rc = SSL_do_handshake(p->ssl);
    if (rc != 1)
        return note_end(p, rc);
    note_handshake(p);
    return true;
}

static bool send_bytes(struct tls_peer *p, const void *bytes, size_t len)
{
    int rc = SSL_write(p->ssl, bytes, (int)len);
    return rc > 0 || note_end(p, rc);
}

static bool send_count(struct tls_peer *p, size_t count)
{
    unsigned char piece[PIECE];
    while (count > 0) {
        size_t len = count < PIECE ? count : PIECE;
        for (size_t i = 0; i < len; i++)
            piece[i] = tls_peer_byte(p->sent + i);
        if (!send_bytes(p, piece, len))
            return false;
        p->sent += len;
        count -= len;
    }
    return true;
}

/* 0 after the end. */
static size_t receive(struct tls_peer *p, unsigned char *bytes, size_t len)
{
    int rc = SSL_read(p->ssl, bytes, (int)len);
    if (rc <= 0) {
        note_end(p, rc);
        return 0;
    }
    for (int i = 0; i < rc; i++)
        p->result.differs |= bytes[i] != tls_peer_byte(p->result.received + (unsigned)i);
    p->result.received += (unsigned)rc;
    return (size_t)rc;
}

static bool receive_count(struct tls_peer *p, size_t count, size_t at_once)
{
    unsigned char piece[PIECE];
    bool all = count == 0;
    while (all || count > 0) {
        size_t got = receive(p, piece, all || count > at_once ? at_once : count);
        if (got == 0)
            return all && p->result.end == PEER_CLOSED;
        count -= all ? 0 : got;
    }
    return true;
}

static bool echo(struct tls_peer *p)
{
    unsigned char piece[PIECE];
    size_t got;
    while ((got = receive(p, piece, sizeof piece)) > 0) {
        if (!send_bytes(p, piece, got))
            return false;
    }
    return p->result.end == PEER_CLOSED;
}

static bool update_keys(struct tls_peer *p, const struct peer_step *step)
{
    int how = step->ask ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
    for (size_t i = 0; i < step->count || i == 0; i++) {
        int rc = SSL_key_update(p->ssl, how) == 1 ? SSL_do_handshake(p->ssl) : -1;
        if (rc != 1)
            return note_end(p, rc);
    }
    return true;
}

static bool renegotiate(struct tls_peer *p)
{
    int rc = SSL_renegotiate(p->ssl) == 1 ? SSL_do_handshake(p->ssl) : -1;
    return rc == 1 || note_end(p, rc);
}

static bool ticket(struct tls_peer *p)
{
    int rc = SSL_new_session_ticket(p->ssl) == 1 ? SSL_do_handshake(p->ssl) : -1;
    return rc == 1 || note_end(p, rc);
}

static bool raw(struct tls_peer *p, const struct peer_step *step)
{
    size_t len = step->count ? step->count : strlen(step->text), done = 0;
    while (done < len) {
        ssize_t rc = send(p->fd, step->text + done, len - done, MSG_NOSIGNAL);
        if (rc < 0)
            return false;
        done += (size_t)rc;
    }
    return true;
}

static bool reset(struct tls_peer *p)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(p->fd);
    p->fd = -1;
    return false;
}

static bool await(struct tls_peer *p)
{
    struct pollfd fd = {.fd = p->fd, .events = POLLIN};
    return poll(&fd, 1, PATIENCE_S * 1000) == 1;
}

static bool pause_here(struct tls_peer *p)
{
    uint64_t one;
    PKI_MUST(read(p->wake_fd, &one, sizeof one) == sizeof one);
    return true;
}

static bool take_step(struct tls_peer *p, const struct peer_step *step)
{
    switch (step->what) {
    case PEER_HANDSHAKE:
        return shake(p);
    case PEER_ECHO:
        return echo(p);
    case PEER_SEND:
        return send_count(p, step->count);
    case PEER_RECV:
    case PEER_AWAIT_END:
        return receive_count(p, step->count, PIECE);
    case PEER_RECV_ONE:
        return receive_count(p, step->count, 1);
    case PEER_KEY_UPDATE:
        return update_keys(p, step);
    case PEER_RENEGOTIATE:
        return renegotiate(p);
    case PEER_TICKET:
        return ticket(p);
    case PEER_END:
        return SSL_shutdown(p->ssl) >= 0;
    case PEER_CUT:
        return shutdown(p->fd, SHUT_WR) == 0;
    case PEER_RESET:
        return reset(p);
    case PEER_RAW:
        return raw(p, step);
    case PEER_AWAIT:
        return await(p);
    case PEER_PAUSE:
        return pause_here(p);
    case PEER_OVER:
        break;
    }
    return false;
}

static bool begins_by_itself(enum peer_do what)
{
    return what == PEER_HANDSHAKE || what == PEER_RAW || what == PEER_AWAIT || what == PEER_PAUSE ||
           what == PEER_CUT || what == PEER_RESET;
}

/* ---- its life -------------------------------------------------------------------------------- */

static SSL *connection(struct tls_peer *p)
{
    const struct tls_peer_options *o = p->options;
    unsigned char alpn[256];
    unsigned alpn_len = alpn_wire(o->alpn, alpn);
    SSL *ssl = SSL_new(p->ctx);
    PKI_MUST(ssl && SSL_set_fd(ssl, p->fd) == 1);
    SSL_set_app_data(ssl, p);
    SSL_set_info_callback(ssl, on_info);
    SSL_set_msg_callback(ssl, on_message);
    SSL_set_msg_callback_arg(ssl, p);
    if (!o->client) {
        SSL_set_accept_state(ssl);
        return ssl;
    }

    SSL_set_connect_state(ssl);
    PKI_MUST(!o->name || SSL_set_tlsext_host_name(ssl, o->name) == 1);
    PKI_MUST(!o->name || !o->trust || SSL_set1_host(ssl, o->name) == 1);
    PKI_MUST(!alpn_len || SSL_set_alpn_protos(ssl, alpn, alpn_len) == 0);
    PKI_MUST(!o->session || !o->session->session || SSL_set_session(ssl, o->session->session) == 1);
    PKI_MUST(!o->want_staple || SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp) == 1);
    return ssl;
}

/* Closing while there is something to read would reset the connection, and what the other side has
 * not read yet would be lost. */
static void linger(struct tls_peer *p)
{
    char rest[4096];
    if (p->fd < 0)
        return;
    shutdown(p->fd, SHUT_WR);
    struct pollfd fds[2] = {{.fd = p->fd, .events = POLLIN}, {.fd = p->wake_fd, .events = POLLIN}};
    do {
        poll(fds, 2, -1);
    } while (fds[0].revents ? recv(p->fd, rest, sizeof rest, MSG_DONTWAIT) > 0 : !fds[1].revents);
    close(p->fd);
}

/* False if nobody has come until the join. */
static bool take_connection(struct tls_peer *p)
{
    int listens = 0;
    socklen_t size = sizeof listens;
    getsockopt(p->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size);
    if (!listens)
        return true;

    struct pollfd fds[2] = {{.fd = p->fd, .events = POLLIN}, {.fd = p->wake_fd, .events = POLLIN}};
    poll(fds, 2, -1);
    int fd = !fds[0].revents ? -1 : accept4(p->fd, NULL, NULL, SOCK_CLOEXEC);
    close(p->fd);
    p->fd = fd;
    return fd >= 0;
}

static void *live(void *arg)
{
    struct tls_peer *p = arg;
    const struct peer_step *step = p->options->script;
    struct timeval patience = {.tv_sec = PATIENCE_S};
    sigset_t pipe;
    unsigned char alpn[257];

    if (!take_connection(p))
        return NULL;
    setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(p->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);

    /* OpenSSL writes with write(2). */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);

    alpn[0] = (unsigned char)alpn_wire(p->options->alpn, alpn + 1);
    p->ctx = context(p, alpn);
    p->ssl = connection(p);
    if (p->options->adjust)
        p->options->adjust(p->ssl, p->options->adjust_arg);

    bool goes_on = begins_by_itself(step->what) || shake(p);
    for (int i = 0; goes_on && i < PEER_STEPS; i++)
        goes_on = take_step(p, step + i);
    linger(p);
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    return NULL;
}

struct tls_peer *tls_peer_start(int fd, const struct tls_peer_options *options)
{
    struct tls_peer *p = calloc(1, sizeof *p);
    PKI_MUST(p != NULL);
    p->copy = *options;
    p->options = &p->copy;
    p->fd = fd;
    p->result.alert = -1;
    p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    PKI_MUST(p->wake_fd >= 0);
    PKI_MUST(pthread_create(&p->thread, NULL, live, p) == 0);
    return p;
}

static void wake(struct tls_peer *p, uint64_t times)
{
    PKI_MUST(write(p->wake_fd, &times, sizeof times) == sizeof times);
}

void tls_peer_go(struct tls_peer *p)
{
    wake(p, 1);
}

void tls_peer_join(struct tls_peer *p, struct tls_peer_result *ret)
{
    wake(p, PEER_STEPS + 1);
    pthread_join(p->thread, NULL);
    if (ret)
        *ret = p->result;
    close(p->wake_fd);
    free(p);
}

struct tls_peer_session *tls_peer_session_new(void)
{
    struct tls_peer_session *s = calloc(1, sizeof *s);
    PKI_MUST(s != NULL);
    return s;
}

void tls_peer_session_free(struct tls_peer_session *s)
{
    if (s)
        SSL_SESSION_free(s->session);
    free(s);
}
