/* Whom to accept. */
#include "../story.h"
#include "private.h"

#include <arpa/inet.h>
#include <string.h>
#include <weir/error.h>

/* Certificates under a trusted one, its own not counted. */
#define DEPTH_MAX 10

/* A missing list matters for the peer's own certificate only: authorities seldom have one. */
static int pardon(int good, X509_STORE_CTX *ctx)
{
    if (!good && X509_STORE_CTX_get_error(ctx) == X509_V_ERR_UNABLE_TO_GET_CRL &&
        X509_STORE_CTX_get_error_depth(ctx) > 0) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        return 1;
    }
    return good;
}

/* OpenSSL takes any key that TLS has ever used in any way. Here it has to sign (RFC 8446 4.4.2.2),
 * unless a client of TLS 1.2 was told to have its secret encrypted with it. */
static bool key_may_do(const SSL *ssl, X509 *leaf)
{
    const SSL_CIPHER *cipher = SSL_get_pending_cipher(ssl);
    bool encrypts = !SSL_is_server(ssl) && SSL_version(ssl) < TLS1_3_VERSION && cipher &&
                    SSL_CIPHER_get_kx_nid(cipher) == NID_kx_rsa;

    return X509_get_key_usage(leaf) & (encrypts ? KU_KEY_ENCIPHERMENT : KU_DIGITAL_SIGNATURE);
}

/* OpenSSL 3.0 copies the name that is wanted for each verification, and if there is no memory for
 * that it goes on without one. */
static bool name_is_there(const struct tls *t, X509_STORE_CTX *ctx)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    char *address = X509_VERIFY_PARAM_get1_ip_asc(param);
    bool there = address || X509_VERIFY_PARAM_get0_host(param, 0);

    OPENSSL_free(address);
    return there || t->server;
}

static bool verify_chain(const SSL *ssl, X509_STORE_CTX *ctx)
{
    X509 *leaf = X509_STORE_CTX_get0_cert(ctx);

    if (!name_is_there(tls_of(ssl), ctx)) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_OUT_OF_MEM);
        X509_STORE_CTX_set_current_cert(ctx, leaf);
        return false;
    }
    if (X509_verify_cert(ctx) <= 0)
        return false;
    if (key_may_do(ssl, leaf))
        return true;
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_INVALID_PURPOSE);
    X509_STORE_CTX_set_error_depth(ctx, 0);
    X509_STORE_CTX_set_current_cert(ctx, leaf);
    return false;
}

/* Until when the chain, and the lists it was looked up in, are in date. */
static int64_t end_of(X509_STORE_CTX *ctx, const weir_tls_config *c)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
    int64_t end = c->crls ? c->crls_until : INT64_MAX;

    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t one = reason_seconds(X509_get0_notAfter(sk_X509_value(chain, i)), 0);
        end = one < end ? one : end;
    }
    return end;
}

static int verify(struct tls *t, X509_STORE_CTX *ctx)
{
    if (t->config->insecure) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
        return 1;
    }
    X509_STORE_CTX_set_verify_cb(ctx, pardon);
    if (verify_chain(t->ssl, ctx)) {
        t->good_until = end_of(ctx, t->config);
        return 1;
    }
    if (X509_STORE_CTX_get_error(ctx) == X509_V_OK)
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
    t->bad_peer = true;
    reason_tell(t, ctx, &t->story);
    return 0;
}

/* What was looked for and not found is no reason for anything: it leaves the error queue. */
static int verify_peer(X509_STORE_CTX *ctx, void *unused)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());

    (void)unused;
    ERR_set_mark();
    int good = verify(tls_of(ssl), ctx);
    ERR_pop_to_mark();
    return good;
}

void verify_init(weir_tls_config *c)
{
    SSL_CTX_set_cert_verify_callback(c->ctx, verify_peer, NULL);
}

/* ---- for one connection ---------------------------------------------------------------------- */

static int mode_of(const struct tls *t)
{
    if (!t->server)
        return t->config->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    switch (t->config->ask) {
    case WEIR_TLS_CLIENT_OPTIONAL:
        return SSL_VERIFY_PEER;
    case WEIR_TLS_CLIENT_REQUIRED:
        return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    default:
        return SSL_VERIFY_NONE;
    }
}

/* Without the scope, which means something on this machine only, and without the dot that ends a
 * full name. */
static bool plain_name(const char *name, char *buf, size_t size)
{
    size_t len = strchr(name, ':') ? strcspn(name, "%") : strlen(name);

    if (len > 1 && name[len - 1] == '.')
        len--;
    if (len == 0 || len >= size)
        return false;
    memcpy(buf, name, len);
    buf[len] = '\0';
    return true;
}

/* Addresses are no names for server_name (RFC 6066 3). */
static int expect_name(const struct tls *t)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
    unsigned char address[16];
    char name[256];

    if (!plain_name(t->name, name, sizeof name))
        return -EINVAL;
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(param, name) ? 0 : -ENOMEM;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (!X509_VERIFY_PARAM_set1_host(param, name, 0) || !SSL_set_tlsext_host_name(t->ssl, name))
        return -ENOMEM;
    return 0;
}

/* Whoever was named is trusted, also if others have signed him: X509_V_FLAG_PARTIAL_CHAIN. */
int verify_prepare(struct tls *t)
{
    const weir_tls_config *c = t->config;
    unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN;

    if (c->crls)
        flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
    t->good_until = INT64_MAX;
    SSL_set_verify(t->ssl, mode_of(t), NULL);
    SSL_set_verify_depth(t->ssl, DEPTH_MAX);
    X509_VERIFY_PARAM_set_flags(SSL_get0_param(t->ssl), flags);
    if (!SSL_set1_verify_cert_store(t->ssl, trust_of(c, t->server)))
        return -ENOMEM;
    if (t->server || (c->insecure && !t->name))
        return 0;
    return t->name ? expect_name(t) : -EINVAL;
}
