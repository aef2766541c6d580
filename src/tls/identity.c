/* Certificates of one's own. */
#include "../story.h"
#include "../sys.h"
#include "private.h"

#include <string.h>

static void identity_free(struct identity *id)
{
    if (!id)
        return;
    X509_free(id->leaf);
    sk_X509_pop_free(id->chain, X509_free);
    EVP_PKEY_free(id->key); /* which wipes it */
    blob_wipe(&id->staple);
    free(id);
}

void identities_free(struct identity *list)
{
    while (list) {
        struct identity *next = list->next;
        identity_free(list);
        list = next;
    }
}

static int load(struct identity *id, const struct pem *chain, const struct pem *key)
{
    int rc = pem_certificates(chain, &id->chain);

    if (rc < 0)
        return rc;
    id->leaf = sk_X509_shift(id->chain);
    return pem_key(key, &id->key);
}

static bool first_of_its_kind(const weir_tls_config *c, const struct identity *id)
{
    int kind = EVP_PKEY_get_base_id(id->key);

    for (const struct identity *other = c->identities; other; other = other->next)
        if (EVP_PKEY_get_base_id(other->key) == kind)
            return false;
    return true;
}

/* OpenSSL has room for one of each kind of key, and takes those: the others are for choose.c, and
 * are only looked at here as strictly as those. */
static int install(weir_tls_config *c, const struct identity *id, const char *name)
{
    int rc = -ENOMEM;

    ERR_clear_error();
    if (first_of_its_kind(c, id))
        return SSL_CTX_use_cert_and_key(c->ctx, id->leaf, id->key, id->chain, 1)
                   ? 0
                   : tell_failure(name);
    SSL *trial = SSL_new(c->ctx);
    if (trial)
        rc = SSL_use_cert_and_key(trial, id->leaf, id->key, id->chain, 1) ? 0 : tell_failure(name);
    SSL_free(trial);
    return rc;
}

static void append(weir_tls_config *c, struct identity *id)
{
    struct identity **end = &c->identities;

    while (*end)
        end = &(*end)->next;
    *end = id;
}

static int add(weir_tls_config *c, const struct pem *chain, const struct pem *key)
{
    struct identity *id = sys_alloc(sizeof *id);
    int rc = -ENOMEM;

    if (!id)
        return rc;
    rc = load(id, chain, key);
    if (rc == 0)
        rc = install(c, id, chain->name);
    if (rc < 0) {
        identity_free(id);
        return rc;
    }
    append(c, id);
    return 0;
}

int weir_tls_config_certificate_files(weir_tls_config *c, const char *chain, const char *key)
{
    struct blob chain_bytes = {.bytes = NULL}, key_bytes = {.bytes = NULL};
    char chain_name[FILE_NAME_MAX], key_name[FILE_NAME_MAX];
    int rc = chain && key ? config_changeable(c) : -EINVAL;

    if (rc == 0)
        rc = blob_read(&chain_bytes, chain, KEY_FILE_MAX);
    if (rc == 0)
        rc = blob_read(&key_bytes, key, KEY_FILE_MAX);
    if (rc == 0)
        rc = add(c, &(struct pem){pem_name(chain, chain_name), chain_bytes.bytes, chain_bytes.len},
                 &(struct pem){pem_name(key, key_name), key_bytes.bytes, key_bytes.len});
    blob_wipe(&chain_bytes);
    blob_wipe(&key_bytes);
    return rc;
}

int weir_tls_config_certificate_memory(weir_tls_config *c, const void *chain, size_t chain_len,
                                       const void *key, size_t key_len)
{
    int rc = chain && key ? config_changeable(c) : -EINVAL;

    return rc < 0 ? rc
                  : add(c, &(struct pem){"the chain", chain, chain_len},
                        &(struct pem){"the key", key, key_len});
}

/* ---- staples --------------------------------------------------------------------------------- */

/* Takes over what `der` holds. Only what is no response at all is refused: whether it is a good one
 * is for the clients to say, and changes with time. */
static int set_staple(weir_tls_config *c, struct blob *der, const char *name)
{
    const unsigned char *at = der->bytes;
    struct identity *last = c->identities;

    while (last && last->next)
        last = last->next;
    if (!last)
        return story_tell(-ENOENT, "%s: there is no certificate to staple it to", name);
    ERR_clear_error();
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der->len);
    if (!response || at != der->bytes + der->len) {
        OCSP_RESPONSE_free(response);
        ERR_clear_error();
        return story_tell(-EINVAL, "%s: this is no OCSP response (DER)", name);
    }
    OCSP_RESPONSE_free(response);
    blob_wipe(&last->staple);
    last->staple = *der;
    *der = (struct blob){.bytes = NULL};
    return 0;
}

int weir_tls_config_staple_file(weir_tls_config *c, const char *path)
{
    struct blob der = {.bytes = NULL};
    char name[FILE_NAME_MAX];
    int rc = path ? config_changeable(c) : -EINVAL;

    if (rc == 0)
        rc = blob_read(&der, path, STAPLE_MAX);
    if (rc < 0)
        return rc;
    rc = set_staple(c, &der, pem_name(path, name));
    blob_wipe(&der);
    return rc;
}

int weir_tls_config_staple_memory(weir_tls_config *c, const void *bytes, size_t len)
{
    struct blob der = {.bytes = NULL};
    int rc = bytes ? config_changeable(c) : -EINVAL;

    if (rc == 0 && len > STAPLE_MAX)
        rc = story_tell(-EINVAL, "an OCSP response of %zu bytes is too long", len);
    if (rc == 0)
        rc = blob_copy(&der, bytes, len);
    if (rc < 0)
        return rc;
    rc = set_staple(c, &der, "what was given");
    blob_wipe(&der);
    return rc;
}
