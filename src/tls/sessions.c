/* Sessions that are taken up again: the cache of a client, the tickets of a server. */
#include "../context.h"
#include "../sys.h"
#include "private.h"

#include <string.h>

#define SESSIONS_MAX 256 /* in one configuration */
#define PER_PEER_MAX 4   /* of TLS 1.3, where each serves once */

struct session {
    struct session *next;
    SSL_SESSION *ssl;
    int64_t good_until; /* as in struct tls */
    int version;
    char peer[]; /* t->session_key */
};

static void session_free(struct session *s)
{
    SSL_SESSION_free(s->ssl);
    free(s);
}

static bool is_usable(const struct session *s)
{
    int64_t now = sys_date();

    return SSL_SESSION_is_resumable(s->ssl) && now < s->good_until &&
           now < SSL_SESSION_get_time(s->ssl) + SSL_SESSION_get_timeout(s->ssl);
}

/* False in a child of the process: see struct session_cache. */
static bool enter(struct session_cache *cache)
{
    if (cache->fork_count != context_fork_count())
        return false;
    pthread_mutex_lock(&cache->lock);
    return true;
}

/* Takes out what the new one replaces, what cannot be used any more, and what is too much. Returns
 * a list of those. (lock) */
static struct session *make_room(struct session_cache *cache, const struct session *fresh)
{
    struct session *removed = NULL, **at = &cache->first;
    unsigned count = 0, same = 0;

    while (*at) {
        struct session *s = *at;
        bool kin = strcmp(s->peer, fresh->peer) == 0, keep = is_usable(s);

        if (kin && (s->version < TLS1_3_VERSION || fresh->version < TLS1_3_VERSION))
            keep = false;
        same += kin && keep;
        count += keep;
        if (keep && count < SESSIONS_MAX && (!kin || same < PER_PEER_MAX)) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        s->next = removed;
        removed = s;
        count -= keep;
    }
    return removed;
}

static struct session *session_new(const struct tls *t, SSL_SESSION *ssl)
{
    size_t size = strlen(t->session_key) + 1;
    struct session *s = sys_alloc(sizeof *s + size);

    if (!s)
        return NULL;
    s->good_until = t->good_until;
    s->version = SSL_SESSION_get_protocol_version(ssl);
    memcpy(s->peer, t->session_key, size);
    return s;
}

/* OpenSSL's callback: 1 to keep `ssl`. It comes after the peer was found good, or never. */
static int keep(SSL *of, SSL_SESSION *ssl)
{
    const struct tls *t = tls_of(of);
    struct session_cache *cache = &t->config->sessions;
    struct session *removed, *s;

    if (t->bad_peer || !t->session_key || !SSL_SESSION_is_resumable(ssl))
        return 0;
    s = session_new(t, ssl);
    if (!s || !enter(cache)) {
        free(s);
        return 0;
    }
    removed = make_room(cache, s);
    s->ssl = ssl;
    s->next = cache->first;
    cache->first = s;
    pthread_mutex_unlock(&cache->lock);
    while (removed) {
        struct session *next = removed->next;
        session_free(removed);
        removed = next;
    }
    return 1;
}

/* Those of TLS 1.3 leave the cache: whoever sees the same ticket twice knows that it is the same
 * client (RFC 8446 C.4). (lock) */
static struct session *take(struct session_cache *cache, const char *peer)
{
    for (struct session **at = &cache->first, *s; (s = *at) != NULL; at = &s->next) {
        if (strcmp(s->peer, peer) != 0 || !is_usable(s))
            continue;
        *at = s->next;
        if (s->version < TLS1_3_VERSION) {
            s->next = cache->first;
            cache->first = s;
        }
        return s;
    }
    return NULL;
}

int sessions_offer(struct tls *t)
{
    struct session_cache *cache = &t->config->sessions;
    struct session *s;
    int rc = 0;

    if (!t->config->resume || !t->session_key || !enter(cache))
        return 0;
    s = take(cache, t->session_key);
    if (s) {
        t->good_until = s->good_until;
        rc = SSL_set_session(t->ssl, s->ssl) ? 0 : -ENOMEM;
        if (s->version >= TLS1_3_VERSION)
            session_free(s);
    }
    pthread_mutex_unlock(&cache->lock);
    return rc;
}

void sessions_free(struct session_cache *cache)
{
    if (cache->fork_count != context_fork_count())
        return;
    while (cache->first) {
        struct session *next = cache->first->next;
        session_free(cache->first);
        cache->first = next;
    }
    pthread_mutex_destroy(&cache->lock);
}

/* ---- tickets of a server --------------------------------------------------------------------- */

/* A client that has shown a certificate is not asked for it again; its ticket says until when. */
static int mark_ticket(SSL *ssl, void *unused)
{
    const struct tls *t = tls_of(ssl);

    (void)unused;
    if (t->config->ask == WEIR_TLS_CLIENT_NONE)
        return 1;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &t->good_until,
                                           sizeof t->good_until);
}

static bool is_in_date(struct tls *t, SSL_SESSION *session)
{
    int64_t good_until;
    void *mark;
    size_t len;

    if (!SSL_SESSION_get0_ticket_appdata(session, &mark, &len) || len != sizeof good_until)
        return false;
    memcpy(&good_until, mark, sizeof good_until);
    if (sys_date() >= good_until)
        return false;
    t->good_until = good_until;
    return true;
}

static SSL_TICKET_RETURN look_at_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *key,
                                        size_t key_len, SSL_TICKET_STATUS found, void *unused)
{
    struct tls *t = tls_of(ssl);

    (void)key, (void)key_len, (void)unused;
    if (found != SSL_TICKET_SUCCESS && found != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (t->config->ask != WEIR_TLS_CLIENT_NONE && !is_in_date(t, session))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return found == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

/* ---- both ------------------------------------------------------------------------------------ */

void sessions_apply(weir_tls_config *c)
{
    if (c->resume)
        SSL_CTX_clear_options(c->ctx, SSL_OP_NO_TICKET);
    else
        SSL_CTX_set_options(c->ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(c->ctx, c->resume
                                               ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL
                                               : SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(c->ctx, c->resume ? 2 : 0);
}

/* A server that asks for certificates resumes nothing without a context; the keys of its tickets
 * are its own anyway. */
void sessions_init(weir_tls_config *c)
{
    pthread_mutex_init(&c->sessions.lock, NULL);
    c->sessions.fork_count = context_fork_count();
    SSL_CTX_set_session_id_context(c->ctx, (const unsigned char *)"weir", 4);
    SSL_CTX_sess_set_new_cb(c->ctx, keep);
    SSL_CTX_set_session_ticket_cb(c->ctx, mark_ticket, look_at_ticket, NULL);
    sessions_apply(c);
}
