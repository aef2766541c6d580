#include "support/tls_puppet.h"

#include "support/pki_private.h"
#include "support/tls_meeting.h"
#include "support/tls_peer.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE 16384

const struct puppet_row puppet_rows[PUPPET_ROWS] = {
    {"client, TLS 1.3", false, WEIR_TLS_1_3},
    {"server, TLS 1.3", true, WEIR_TLS_1_3},
    {"client, TLS 1.2", false, WEIR_TLS_1_2},
    {"server, TLS 1.2", true, WEIR_TLS_1_2},
};

/* ---- what is shared -------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static SSL_CTX *contexts[2];
static weir_tls_config *configs[2];

static void show(SSL_CTX *ctx)
{
    const struct pki_standard *pki = pki_standard();
    PKI_MUST(SSL_CTX_use_certificate(ctx, pki->server->x509) == 1);
    PKI_MUST(SSL_CTX_use_PrivateKey(ctx, pki->server->key) == 1);
    PKI_MUST(SSL_CTX_add1_chain_cert(ctx, pki->intermediate->x509) == 1);
}

/* What the ticket carries makes it as long as that. */
static int on_ticket(SSL *ssl, void *unused)
{
    static const char much[4 * PUPPET_RECORD];
    const struct puppet *p = SSL_get_app_data(ssl);
    (void)unused;
    return !p->large_tickets ||
           SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), much, sizeof much);
}

static SSL_CTX *context(bool client)
{
    pthread_mutex_lock(&lock);
    SSL_CTX *ctx = contexts[client];
    if (!ctx) {
        ctx = contexts[client] = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
        PKI_MUST(ctx != NULL);
        SSL_CTX_set_security_level(ctx, 0);
        SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        PKI_MUST(SSL_CTX_set_cipher_list(ctx, "ALL") == 1);
        if (!client) {
            show(ctx);
            SSL_CTX_set_session_ticket_cb(ctx, on_ticket, NULL, NULL);
        }
    }
    pthread_mutex_unlock(&lock);
    return ctx;
}

weir_tls_config *puppet_config(bool server)
{
    pthread_mutex_lock(&lock);
    if (!configs[server]) {
        configs[server] = server ? meeting_server(NULL, NULL) : meeting_client();
        PKI_MUST(weir_tls_config_resume(configs[server], false) == 0);
    }
    pthread_mutex_unlock(&lock);
    return configs[server];
}

void puppet_end(void)
{
    for (int i = 0; i < 2; i++) {
        SSL_CTX_free(contexts[i]);
        weir_tls_config_close(configs[i]);
        contexts[i] = NULL;
        configs[i] = NULL;
    }
    pki_end();
}

/* ---- what it sees ---------------------------------------------------------------------------- */

static void on_info(const SSL *ssl, int where, int value)
{
    struct puppet *p = SSL_get_app_data(ssl);
    if (where == SSL_CB_READ_ALERT && (value & 0xff) != SSL_AD_CLOSE_NOTIFY)
        p->alert = value & 0xff;
}

static void on_message(int written, int version, int type, const void *bytes, size_t len, SSL *ssl,
                       void *arg)
{
    struct puppet *p = arg;
    (void)version, (void)ssl;
    if (!written && type == SSL3_RT_HANDSHAKE && len > 0 &&
        *(const unsigned char *)bytes == SSL3_MT_KEY_UPDATE)
        p->updates++;
}

/* What a call came to that is no success. Returns false. */
static bool note(struct puppet *p, int rc)
{
    int why = SSL_get_error(p->ssl, rc);
    if (why == SSL_ERROR_ZERO_RETURN) {
        p->closed = true;
    } else if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
        const char *reason = ERR_reason_error_string(ERR_peek_error());
        snprintf(p->error, sizeof p->error, "%s", reason ? reason : "?");
        p->failed = true;
    }
    ERR_clear_error();
    return false;
}

/* ---- its life -------------------------------------------------------------------------------- */

struct puppet *puppet_open(weir_socket *line, bool client, int version)
{
    struct puppet *p = calloc(1, sizeof *p);
    PKI_MUST(p != NULL);
    p->line = line;
    p->alert = -1;
    p->ssl = SSL_new(context(client));
    p->in = BIO_new(BIO_s_mem());
    p->out = BIO_new(BIO_s_mem());
    PKI_MUST(p->ssl && p->in && p->out);
    BIO_set_mem_eof_return(p->in, -1);
    SSL_set_bio(p->ssl, p->in, p->out);
    SSL_set_app_data(p->ssl, p);
    SSL_set_info_callback(p->ssl, on_info);
    SSL_set_msg_callback(p->ssl, on_message);
    SSL_set_msg_callback_arg(p->ssl, p);
    PKI_MUST(SSL_set_min_proto_version(p->ssl, version) == 1 &&
             SSL_set_max_proto_version(p->ssl, version) == 1);
    if (client)
        SSL_set_connect_state(p->ssl);
    else
        SSL_set_accept_state(p->ssl);
    return p;
}

void puppet_close(struct puppet *p)
{
    puppet_vanish(p);
    SSL_free(p->ssl);
    free(p);
}

static void give_tls(weir_socket *s, bool server)
{
    PKI_MUST(weir_set_tls(s, puppet_config(server), server ? NULL : "server.test") == 0);
}

weir_socket *puppet_meet(struct puppet **ret, const struct puppet_row *row)
{
    weir_socket *pair[2];
    PKI_MUST(weir_pair(pair, SOCK_STREAM) == 0);
    give_tls(pair[0], row->server);
    *ret = puppet_open(pair[1], row->server, row->version);
    return pair[0];
}

weir_socket *puppet_meet_by_tcp(struct puppet **ret, const struct puppet_row *row)
{
    weir_socket *listener, *near, *far;
    weir_address a;
    PKI_MUST(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL) == 0);
    PKI_MUST(weir_local_address(listener, &a) == 0);
    if (row->server)
        give_tls(listener, true);
    PKI_MUST(weir_socket_open(&near, AF_INET, SOCK_STREAM, 0) == 0);
    PKI_MUST(weir_connect_address(near, &a) == 0);
    PKI_MUST(weir_accept(listener, &far) == 0);
    weir_close(listener);
    if (!row->server)
        give_tls(near, false);
    *ret = puppet_open(row->server ? near : far, row->server, row->version);
    return row->server ? far : near;
}

/* ---- the line -------------------------------------------------------------------------------- */

size_t puppet_owes(const struct puppet *p)
{
    return BIO_ctrl_pending(p->out);
}

/* By the system calls themselves, which sys_faults does not bend. */
static ssize_t put(struct puppet *p, const void *bytes, size_t len)
{
    ssize_t n = p->line ? send(weir_fd(p->line), bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    return n > 0 ? n : 0;
}

size_t puppet_give(struct puppet *p, size_t max)
{
    size_t all = 0;
    while (all < max && puppet_owes(p)) {
        char *bytes;
        size_t len = (size_t)BIO_get_mem_data(p->out, &bytes);
        ssize_t n = put(p, bytes, len < max - all ? len : max - all);
        if (n == 0)
            break;
        char away[PIECE];
        for (ssize_t rest = n; rest > 0;)
            rest -= BIO_read(p->out, away, rest < PIECE ? (int)rest : PIECE);
        all += (size_t)n;
    }
    p->given += all;
    return all;
}

size_t puppet_take(struct puppet *p, size_t max)
{
    size_t all = 0;
    while (all < max && p->line && !p->ended) {
        char bytes[PIECE];
        size_t len = max - all < sizeof bytes ? max - all : sizeof bytes;
        ssize_t n = recv(weir_fd(p->line), bytes, len, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            p->ended = true;
            BIO_set_mem_eof_return(p->in, 0);
            break;
        }
        PKI_MUST(BIO_write(p->in, bytes, (int)n) == n);
        all += (size_t)n;
    }
    p->taken += all;
    return all;
}

void puppet_cut(struct puppet *p)
{
    if (p->line)
        shutdown(weir_fd(p->line), SHUT_WR);
}

void puppet_vanish(struct puppet *p)
{
    weir_close(p->line);
    p->line = NULL;
}

void puppet_damage(struct puppet *p, size_t at)
{
    char *bytes;
    PKI_MUST((size_t)BIO_get_mem_data(p->out, &bytes) > at);
    bytes[at] ^= 1;
}

void puppet_raw(struct puppet *p, const void *bytes, size_t len)
{
    PKI_MUST(put(p, bytes, len) == (ssize_t)len);
}

/* ---- what it does ---------------------------------------------------------------------------- */

bool puppet_shake(struct puppet *p)
{
    ERR_clear_error();
    int rc = p->failed ? -1 : SSL_do_handshake(p->ssl);
    p->shaken |= rc == 1;
    return rc == 1 || (!p->failed && note(p, rc));
}

bool puppet_say(struct puppet *p, size_t len)
{
    unsigned char piece[PIECE];
    while (len > 0) {
        size_t now = len < sizeof piece ? len : sizeof piece;
        for (size_t i = 0; i < now; i++)
            piece[i] = tls_peer_byte(p->said + i);
        ERR_clear_error();
        int rc = SSL_write(p->ssl, piece, (int)now);
        if (rc <= 0)
            return note(p, rc);
        p->said += (size_t)rc;
        len -= (size_t)rc;
    }
    return true;
}

bool puppet_hear(struct puppet *p)
{
    unsigned char piece[PIECE];
    while (!p->closed && !p->failed) {
        ERR_clear_error();
        int rc = SSL_read(p->ssl, piece, sizeof piece);
        if (rc <= 0) {
            note(p, rc);
            return !p->closed && !p->failed;
        }
        for (int i = 0; i < rc; i++)
            p->differs |= piece[i] != tls_peer_byte(p->heard + (unsigned)i);
        p->heard += (unsigned)rc;
    }
    return false;
}

static bool at_once(struct puppet *p, bool asked)
{
    ERR_clear_error();
    int rc = asked ? SSL_do_handshake(p->ssl) : -1;
    return rc == 1 || note(p, rc);
}

bool puppet_update_keys(struct puppet *p, bool ask)
{
    if (SSL_version(p->ssl) != TLS1_3_VERSION)
        return true;
    int how = ask ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
    return at_once(p, SSL_key_update(p->ssl, how) == 1);
}

bool puppet_send_ticket(struct puppet *p)
{
    return at_once(p, SSL_new_session_ticket(p->ssl) == 1);
}

bool puppet_send_long_ticket(struct puppet *p)
{
    PKI_MUST(SSL_set_max_send_fragment(p->ssl, PUPPET_RECORD) == 1);
    p->large_tickets = true;
    return puppet_send_ticket(p);
}

bool puppet_renegotiate(struct puppet *p)
{
    return at_once(p, SSL_renegotiate(p->ssl) == 1);
}

bool puppet_say_end(struct puppet *p)
{
    ERR_clear_error();
    int rc = SSL_shutdown(p->ssl);
    return rc >= 0 || note(p, rc);
}

bool puppet_turn(struct puppet *p)
{
    size_t before = p->given + p->taken;
    puppet_take(p, ALL);
    if (!p->shaken)
        (void)puppet_shake(p);
    if (p->shaken)
        (void)puppet_hear(p);
    puppet_give(p, ALL);
    return p->given + p->taken > before;
}

void puppet_shake_both(struct puppet *p, weir_socket *s)
{
    int mode = weir_get_blocking(s), rc;
    weir_set_blocking(s, false);
    do
        rc = weir_handshake(s);
    while (puppet_turn(p) || rc == -EAGAIN);
    weir_set_blocking(s, mode);
    PKI_MUST(rc == 0 && p->shaken);
}
