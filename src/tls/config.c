/* Configurations: what is spoken, and by whom. */
#include "../context.h"
#include "../story.h"
#include "../sys.h"
#include "private.h"

#include <string.h>
#include <weir/error.h>

/* Said explicitly, so that the machine's openssl.cnf changes nothing of it. */
#define SECURITY_LEVEL 2 /* 112 bits */
#define CIPHERS        "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aDSS"
#define CIPHERSUITES   "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
#define GROUPS         "X25519:P-256:X448:P-384:P-521"
#define SIGNATURES                                                                                 \
    "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ed25519:ed448:"          \
    "rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:rsa_pss_rsae_sha256:"                \
    "rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512"

static bool set_versions(SSL_CTX *ctx, int min, int max)
{
    return SSL_CTX_set_min_proto_version(ctx, min) && SSL_CTX_set_max_proto_version(ctx, max);
}

static bool set_defaults(SSL_CTX *ctx)
{
    SSL_CTX_clear_options(ctx, SSL_CTX_get_options(ctx));
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
    return set_versions(ctx, TLS1_2_VERSION, 0) && SSL_CTX_set_cipher_list(ctx, CIPHERS) &&
           SSL_CTX_set_ciphersuites(ctx, CIPHERSUITES) && SSL_CTX_set1_groups_list(ctx, GROUPS) &&
           SSL_CTX_set1_sigalgs_list(ctx, SIGNATURES) &&
           SSL_CTX_set1_client_sigalgs_list(ctx, SIGNATURES);
}

/* ---- lifetime -------------------------------------------------------------------------------- */

int weir_tls_config_open(weir_tls_config **ret)
{
    weir_tls_config *c = ret ? sys_alloc(sizeof *c) : NULL;

    if (!c)
        return ret ? -ENOMEM : -EINVAL;
    atomic_init(&c->references, 1);
    c->keys_fd = -1;
    c->resume = true;
    c->crls_until = INT64_MAX;
    ERR_clear_error();
    c->ctx = SSL_CTX_new(TLS_method());
    c->bio = connection_bio_new();
    if (!c->ctx || !c->bio)
        goto fail;
    sessions_init(c);
    verify_init(c);
    choose_init(c);
    staple_init(c);
    if (!set_defaults(c->ctx))
        goto fail;
    *ret = c;
    return 0;
fail:
    (void)tell_failure("OpenSSL cannot be set up");
    weir_tls_config_close(c);
    return -ENOMEM;
}

weir_tls_config *weir_tls_config_ref(weir_tls_config *c)
{
    if (c)
        atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
    return c;
}

int weir_tls_config_close(weir_tls_config *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) > 1)
        return 0;
    sessions_free(&c->sessions);
    identities_free(c->identities);
    X509_STORE_free(c->system);
    sk_X509_CRL_pop_free(c->crls, X509_CRL_free);
    SSL_CTX_free(c->ctx);
    BIO_meth_free(c->bio);
    blob_wipe(&c->alpn);
    sys_close(c->keys_fd);
    free(c);
    return 0;
}

int config_changeable(const weir_tls_config *c)
{
    if (!c)
        return -EINVAL;
    return atomic_load(&c->used)
               ? story_tell(-EBUSY, "a configuration cannot be changed once it is used")
               : 0;
}

int config_use(weir_tls_config *c, bool server)
{
    if (server && !c->identities && !c->choose)
        return story_tell(-EINVAL, "a server needs a certificate, a client the name of its peer");
    int rc = server ? 0 : trust_prepare(c);
    if (rc < 0)
        return rc;
    if (!atomic_load_explicit(&c->used, memory_order_relaxed))
        atomic_store(&c->used, true);
    return 0;
}

/* One for the process, so that its sessions serve all; another one in a child of it, whose sessions
 * would be of no use (struct session_cache). It is never freed. */
int tls_default_config(weir_tls_config **ret)
{
    static _Atomic(weir_tls_config *) everybodys;
    weir_tls_config *c = atomic_load(&everybodys), *old = c;
    int rc;

    if (!c || c->sessions.fork_count != context_fork_count()) {
        rc = weir_tls_config_open(&c);
        if (rc < 0)
            return rc;
        if (atomic_compare_exchange_strong(&everybodys, &old, c)) {
            weir_tls_config_close(old);
        } else {
            weir_tls_config_close(c);
            c = old;
        }
    }
    *ret = weir_tls_config_ref(c);
    return 0;
}

/* ---- what is asked for ----------------------------------------------------------------------- */

int weir_tls_config_trust_anyone_insecurely(weir_tls_config *c)
{
    int rc = config_changeable(c);

    if (rc == 0)
        c->insecure = true;
    return rc;
}

int weir_tls_config_require_staple(weir_tls_config *c)
{
    int rc = config_changeable(c);

    if (rc == 0)
        c->require_staple = true;
    return rc;
}

int weir_tls_config_ask_client(weir_tls_config *c, weir_tls_client what)
{
    int rc = config_changeable(c);

    if (rc < 0)
        return rc;
    if (what > WEIR_TLS_CLIENT_REQUIRED)
        return story_tell(-EINVAL, "%d is nothing that can be asked of a client", (int)what);
    c->ask = what;
    return 0;
}

int weir_tls_config_certificate_choose(weir_tls_config *c, weir_tls_choose *choose, void *arg)
{
    int rc = choose ? config_changeable(c) : -EINVAL;

    if (rc < 0)
        return rc;
    c->choose = choose;
    c->choose_arg = arg;
    return 0;
}

int weir_tls_config_resume(weir_tls_config *c, bool on)
{
    int rc = config_changeable(c);

    if (rc < 0)
        return rc;
    c->resume = on;
    sessions_apply(c);
    return 0;
}
