/* The public calls on sockets with TLS. */
#include "../connect.h"
#include "../socket.h"
#include "../story.h"
#include "../sys.h"
#include "connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

/* Nothing of a server is due before the client has begun: what is there was sent before TLS, and
 * anybody can have put it there. */
static int check_silence(weir_socket *s)
{
    char bytes[64];
    ssize_t n = sys_recv(atomic_load_explicit(&s->fd, memory_order_relaxed), bytes, sizeof bytes,
                         MSG_PEEK | MSG_DONTWAIT);

    if (n <= 0)
        return 0;
    return story_tell(WEIR_ETLS, "the server has sent bytes before the handshake");
}

static int check_use(const weir_socket *s, const weir_tls_config *c, const char *name)
{
    enum phase phase = socket_phase(s);

    if (socket_closed(s))
        return WEIR_ECLOSED;
    if (s->tls)
        return -EALREADY;
    if (s->type != SOCK_STREAM || s->layer != &layer_plain)
        return -EOPNOTSUPP;
    if (phase == PHASE_CONNECTING)
        return -EBUSY;
    if (phase == PHASE_LISTENING && name)
        return story_tell(-EINVAL, "a listener has no peer to name");
    if (!c && (phase == PHASE_LISTENING || (phase == PHASE_CONNECTED && !name)))
        return story_tell(-EINVAL, "a server needs a configuration with a certificate, a "
                                   "client the name of its peer");
    return 0;
}

/* (lock) */
static int put_on(weir_socket *s, weir_tls_config *c, const char *name)
{
    bool connected = socket_phase(s) == PHASE_CONNECTED;
    bool server = connected ? !name : socket_phase(s) == PHASE_LISTENING;
    struct tls *t;
    int rc = connected && !server ? check_silence(s) : 0;

    if (rc == 0)
        rc = tls_new(&t, s, c, name, server);
    if (rc < 0)
        return rc;
    s->tls = t;
    if (!connected)
        return 0;
    s->layer = &layer_tls;
    s->tcp = false;
    s->drained = false;
    atomic_fetch_or_explicit(&s->state, STATE_UNREADY, memory_order_release);
    socket_wake(s, WAKE_CHANGED);
    return 0;
}

/* What a handshake ends with is small and not answered: whatever is small and follows it would wait
 * for an acknowledgement that the peer delays (RFC 9293 3.7.4). Accepted sockets inherit it. */
static void send_at_once(weir_socket *s)
{
    static const int on = 1;

    if (s->family != AF_UNIX)
        (void)weir_set_option(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int weir_set_tls(weir_socket *s, weir_tls_config *c, const char *name)
{
    weir_tls_config *own = NULL;
    if (!s)
        return -EINVAL;
    uint64_t alone = s->receiving | s->sending;
    int rc = socket_enter(s, alone);
    if (rc < 0)
        return rc;
    if (!c && (rc = tls_default_config(&own)) < 0)
        goto leave;
    pthread_mutex_lock(&s->lock);
    rc = check_use(s, c, name);
    if (rc == 0)
        rc = put_on(s, c ? c : own, name);
    if (rc < 0)
        story_move(s);
    pthread_mutex_unlock(&s->lock);
    if (rc == 0)
        send_at_once(s);
leave:
    weir_tls_config_close(own);
    socket_leave(s, alone);
    return rc;
}

/* ---- the handshake -------------------------------------------------------------------------- */

static int shake(weir_socket *s, uint64_t deadline_ns)
{
    int rc = socket_phase(s) == PHASE_CONNECTED ? 0 : socket_settle(s, deadline_ns);

    while (rc == 0) {
        pthread_mutex_lock(&s->lock);
        rc = tls_handshake(s);
        pthread_mutex_unlock(&s->lock);
        if (rc != -EAGAIN)
            return rc < 0 && socket_closed(s) ? WEIR_ECLOSED : rc;
        rc = wait_ready(s, WEIR_READABLE, deadline_ns, NEVER);
    }
    return rc;
}

int weir_handshake(weir_socket *s)
{
    uint64_t deadline_ns;
    int rc = socket_enter(s, 0);

    if (rc < 0)
        return rc;
    rc = !s->tls ? -EINVAL : socket_inherited(s) ? -EPERM : wait_enter(s, &deadline_ns);
    if (rc == 0)
        rc = shake(s, deadline_ns);
    socket_leave(s, 0);
    return rc;
}

/* ---- what is known --------------------------------------------------------------------------- */

/* Enters with the lock of tls when the handshake is over. */
static int enter_shaken(weir_socket *s)
{
    int rc = socket_enter(s, 0);

    if (rc < 0)
        return rc;
    rc = !s->tls || socket_phase(s) == PHASE_LISTENING ? -EINVAL
         : socket_inherited(s)                         ? -EPERM
         : socket_phase(s) != PHASE_CONNECTED          ? -EAGAIN
                                                       : 0;
    if (rc == 0) {
        pthread_mutex_lock(&s->tls->lock);
        rc = s->tls->done ? 0 : s->tls->error ? s->tls->error : -EAGAIN;
        if (rc < 0)
            pthread_mutex_unlock(&s->tls->lock);
    }
    if (rc < 0)
        socket_leave(s, 0);
    return rc;
}

static void leave_shaken(weir_socket *s)
{
    pthread_mutex_unlock(&s->tls->lock);
    socket_leave(s, 0);
}

static void copy_text(char *into, size_t size, const char *text, size_t len)
{
    if (len >= size)
        len = size - 1;
    if (len)
        memcpy(into, text, len);
    into[len] = '\0';
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;

    return time && ASN1_TIME_to_tm(time, &tm) ? (int64_t)timegm(&tm) : 0;
}

static void describe_peer(X509 *peer, weir_tls_state *ret)
{
    unsigned len = sizeof ret->sha256;

    tell_name(X509_get_subject_name(peer), ret->subject, sizeof ret->subject);
    tell_name(X509_get_issuer_name(peer), ret->issuer, sizeof ret->issuer);
    (void)X509_digest(peer, EVP_sha256(), ret->sha256, &len);
    ret->not_before = seconds_of(X509_get0_notBefore(peer));
    ret->not_after = seconds_of(X509_get0_notAfter(peer));
}

/* By a client, which can write there what it likes. */
static const char *name_asked_for(const SSL *ssl)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    return name && choose_is_host_name(name) ? name : NULL;
}

static void describe(const struct tls *t, weir_tls_state *ret)
{
    const SSL *ssl = t->ssl;
    const char *cipher = SSL_get_cipher_name(ssl);
    const char *name = t->server ? name_asked_for(ssl) : t->name;
    const unsigned char *alpn;
    unsigned alpn_len;
    X509 *peer = SSL_get0_peer_certificate(ssl);
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);

    *ret = (weir_tls_state){.version = SSL_version(ssl), .resumed = SSL_session_reused(ssl) == 1};
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_len);
    copy_text(ret->cipher, sizeof ret->cipher, cipher, strlen(cipher));
    copy_text(ret->alpn, sizeof ret->alpn, alpn ? (const char *)alpn : "", alpn_len);
    copy_text(ret->name, sizeof ret->name, name ? name : "", name ? strlen(name) : 0);
    if (!peer)
        return;
    ret->peer_verified = !t->config->insecure && SSL_get_verify_result(ssl) == X509_V_OK;
    /* A server's chain is without the client's own certificate, SSL_get_peer_cert_chain(3). */
    ret->chain_count = chain ? (unsigned)sk_X509_num(chain) + t->server : 1;
    describe_peer(peer, ret);
}

int weir_tls_info(weir_socket *s, weir_tls_state *ret)
{
    int rc = ret ? enter_shaken(s) : -EINVAL;

    if (rc < 0)
        return rc;
    describe(s->tls, ret);
    leave_shaken(s);
    return 0;
}

static bool write_chain(BIO *out, const struct tls *t)
{
    X509 *peer = SSL_get0_peer_certificate(t->ssl);
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(t->ssl);
    bool good = !peer || PEM_write_bio_X509(out, peer);

    for (int i = t->server ? 0 : 1; good && i < sk_X509_num(chain); i++)
        good = PEM_write_bio_X509(out, sk_X509_value(chain, i));
    return good;
}

ssize_t weir_tls_peer_chain(weir_socket *s, char *buf, size_t size)
{
    ssize_t rc = buf || size == 0 ? enter_shaken(s) : -EINVAL;
    BIO *out;
    char *pem;

    if (rc < 0)
        return rc;
    rc = -ENOMEM;
    out = BIO_new(BIO_s_mem());
    if (out && write_chain(out, s->tls)) {
        rc = BIO_get_mem_data(out, &pem);
        if (size)
            copy_text(buf, size, pem, (size_t)rc);
    }
    BIO_free(out);
    leave_shaken(s);
    return rc;
}
