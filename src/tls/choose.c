/* Which certificates a server shows. */
#include "../story.h"
#include "private.h"

#include <ctype.h>
#include <string.h>

/* What a client asks for is anybody's text, and programs make names of files of it. */
bool choose_is_host_name(const char *name)
{
    bool dot = true; /* was before */

    for (; *name; name++) {
        if (!isascii((unsigned char)*name) ||
            !(isalnum((unsigned char)*name) || strchr("-_.", *name)) || (dot && *name == '.'))
            return false;
        dot = *name == '.';
    }
    return true;
}

static bool names(const struct identity *id, const char *name)
{
    return X509_check_host(id->leaf, name, strlen(name),
                           X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
                           NULL) == 1;
}

static const ASN1_OCTET_STRING *names_of(const struct identity *id)
{
    int at = X509_get_ext_by_NID(id->leaf, NID_subject_alt_name, -1);

    return at < 0 ? NULL : X509_EXTENSION_get_data(X509_get_ext(id->leaf, at));
}

/* They differ in their keys only, it seems. */
static bool same_names(const struct identity *a, const struct identity *b)
{
    const ASN1_OCTET_STRING *of_a = names_of(a), *of_b = names_of(b);

    return a == b || (of_a && of_b && ASN1_OCTET_STRING_cmp(of_a, of_b) == 0);
}

static bool has_kind(const int *kinds, size_t count, int kind)
{
    for (size_t i = 0; i < count; i++)
        if (kinds[i] == kind)
            return true;
    return false;
}

#define KINDS_MAX 8

/* Those that name `name`, or if it is NULL those that are like the first: of each kind of key one,
 * of which OpenSSL takes what suits the client. How many; -1 without memory. */
static int show(SSL *ssl, const struct identity *list, const char *name)
{
    int kinds[KINDS_MAX];
    size_t count = 0;

    SSL_certs_clear(ssl);
    for (const struct identity *id = list; id && count < KINDS_MAX; id = id->next) {
        int kind = EVP_PKEY_get_base_id(id->key);
        if ((name ? !names(id, name) : !same_names(list, id)) || has_kind(kinds, count, kind))
            continue;
        if (!SSL_use_cert_and_key(ssl, id->leaf, id->key, id->chain, 1))
            return -1;
        kinds[count++] = kind;
    }
    return (int)count;
}

/* Asks the program, which gives a reference away. The configuration is in use from now on. */
static weir_tls_config *ask(struct tls *t, const char *name)
{
    weir_tls_config *c = t->config;

    choose_done(t);
    if (!c->choose)
        return c;
    weir_tls_config *chosen = c->choose(c->choose_arg, name);
    if (!chosen)
        return c;
    t->chosen = chosen;
    atomic_store(&chosen->used, true);
    return chosen;
}

/* 1 to go on, 0 to fail. */
static int choose_from(SSL *ssl, struct tls *t, const weir_tls_config *from, const char *name)
{
    struct story_quote q;

    if (!from->identities) {
        SSL_certs_clear(ssl);
        story_append(&t->story, "there is no certificate for %s",
                     name ? story_quote(&q, name, strlen(name)) : "whoever asks for no name");
        return 1; /* for OpenSSL to refuse with a fitting alert */
    }
    if (from == t->config && !from->identities->next && !t->shows_other)
        return 1; /* OpenSSL has it already */
    t->shows_other = true;
    int count = name ? show(ssl, from->identities, name) : 0;
    if (count == 0)
        count = show(ssl, from->identities, NULL);
    return count > 0;
}

/* What the program, or a name that cannot be read, leaves in the error queue would seem to be the
 * reason of a handshake that only waits. */
static int choose(SSL *ssl, void *unused)
{
    struct tls *t = tls_of(ssl);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)unused;
    if (!t->server)
        return 1;
    if (name && (!*name || !choose_is_host_name(name)))
        name = NULL;
    ERR_set_mark();
    int good = choose_from(ssl, t, ask(t, name), name);
    ERR_pop_to_mark();
    return good;
}

/* The client is told that its name was looked at. */
static int acknowledge(SSL *ssl, int *alert, void *unused)
{
    (void)ssl, (void)alert, (void)unused;
    return SSL_TLSEXT_ERR_OK;
}

void choose_init(weir_tls_config *c)
{
    SSL_CTX_set_cert_cb(c->ctx, choose, NULL);
    SSL_CTX_set_tlsext_servername_callback(c->ctx, acknowledge);
}

void choose_done(struct tls *t)
{
    weir_tls_config_close(t->chosen);
    t->chosen = NULL;
}
