/* Whom to trust, and whom not any more. */
#include "../story.h"
#include "../sys.h"
#include "private.h"

#include <string.h>
#include <weir/error.h>

/* Everything is read before anything is added. */
static int add_trusted(weir_tls_config *c, const struct pem *in)
{
    STACK_OF(X509) *list;
    int rc = pem_certificates(in, &list);

    if (rc < 0)
        return rc;
    for (int i = 0; rc == 0 && i < sk_X509_num(list); i++) {
        X509 *x = sk_X509_value(list, i);
        if (!X509_STORE_add_cert(SSL_CTX_get_cert_store(c->ctx), x) ||
            !SSL_CTX_add_client_CA(c->ctx, x))
            rc = tell_failure(in->name);
    }
    sk_X509_pop_free(list, X509_free);
    c->trusts = true;
    return rc;
}

/* A list without an end is one that ends when it is asked for: it covers nothing. */
static int add_crl(weir_tls_config *c, X509_CRL *crl)
{
    int64_t until = reason_seconds(X509_CRL_get0_nextUpdate(crl), 0);

    if (!c->crls)
        c->crls = sk_X509_CRL_new_null();
    if (!c->crls || !X509_STORE_add_crl(SSL_CTX_get_cert_store(c->ctx), crl) ||
        !X509_CRL_up_ref(crl))
        return -ENOMEM;
    if (!sk_X509_CRL_push(c->crls, crl)) {
        X509_CRL_free(crl);
        return -ENOMEM;
    }
    if (until < c->crls_until)
        c->crls_until = until;
    return 0;
}

static int add_revoked(weir_tls_config *c, const struct pem *in)
{
    STACK_OF(X509_CRL) *list;
    int rc = pem_crls(in, &list);

    if (rc < 0)
        return rc;
    for (int i = 0; rc == 0 && i < sk_X509_CRL_num(list); i++)
        rc = add_crl(c, sk_X509_CRL_value(list, i));
    sk_X509_CRL_pop_free(list, X509_CRL_free);
    return rc;
}

typedef int add_to(weir_tls_config *c, const struct pem *in);

static int add_file(weir_tls_config *c, const char *path, add_to *add)
{
    char name[FILE_NAME_MAX];
    struct blob content = {.bytes = NULL};
    int rc = path ? config_changeable(c) : -EINVAL;

    if (rc == 0)
        rc = blob_read(&content, path, PEM_FILE_MAX);
    if (rc < 0)
        return rc;
    rc = add(c, &(struct pem){pem_name(path, name), content.bytes, content.len});
    blob_wipe(&content);
    return rc;
}

static int add_memory(weir_tls_config *c, const void *pem, size_t len, add_to *add)
{
    int rc = pem ? config_changeable(c) : -EINVAL;

    return rc < 0 ? rc : add(c, &(struct pem){"what was given", pem, len});
}

int weir_tls_config_trust_file(weir_tls_config *c, const char *path)
{
    return add_file(c, path, add_trusted);
}

int weir_tls_config_trust_memory(weir_tls_config *c, const void *pem, size_t len)
{
    return add_memory(c, pem, len, add_trusted);
}

int weir_tls_config_revoked_file(weir_tls_config *c, const char *path)
{
    return add_file(c, path, add_revoked);
}

int weir_tls_config_revoked_memory(weir_tls_config *c, const void *pem, size_t len)
{
    return add_memory(c, pem, len, add_revoked);
}

/* OpenSSL takes a colon for the end of one directory and the beginning of the next, and does not
 * look whether they are there. */
int weir_tls_config_trust_directory(weir_tls_config *c, const char *path)
{
    char name[FILE_NAME_MAX];
    struct stat status;
    int rc = path ? config_changeable(c) : -EINVAL;

    if (rc < 0)
        return rc;
    pem_name(path, name);
    rc = sys_stat(path, &status);
    if (rc == 0 && !S_ISDIR(status.st_mode))
        rc = -ENOTDIR;
    if (rc < 0)
        return story_tell(rc, "%s: %s", name, weir_strerror(rc));
    if (strchr(path, ':'))
        return story_tell(-EINVAL, "%s: a directory with a colon in its name cannot be used", name);
    ERR_clear_error();
    if (!SSL_CTX_load_verify_dir(c->ctx, path))
        return tell_failure(name);
    c->trusts = true;
    return 0;
}

/* ---- the system ----------------------------------------------------------------------------- */

int weir_tls_config_trust_system(weir_tls_config *c)
{
    int rc = config_changeable(c);

    if (rc < 0)
        return rc;
    ERR_clear_error();
    if (!SSL_CTX_set_default_verify_paths(c->ctx))
        return tell_failure("the system's certificates");
    ERR_clear_error();
    c->trusts = true;
    return 0;
}

static X509_STORE *new_system_store(const weir_tls_config *c)
{
    X509_STORE *store = X509_STORE_new();
    bool good = store && X509_STORE_set_default_paths(store);

    for (int i = 0; good && i < sk_X509_CRL_num(c->crls); i++)
        good = X509_STORE_add_crl(store, sk_X509_CRL_value(c->crls, i));
    ERR_clear_error();
    if (good)
        return store;
    X509_STORE_free(store);
    return NULL;
}

/* In a store of its own, since the same configuration may serve, and servers do not trust the
 * system; made when the first client needs it, who may not be the only one to be the first. */
int trust_prepare(weir_tls_config *c)
{
    X509_STORE *store, *none = NULL;

    if (c->trusts || c->insecure || atomic_load(&c->system))
        return 0;
    store = new_system_store(c);
    if (!store)
        return -ENOMEM;
    if (!atomic_compare_exchange_strong(&c->system, &none, store))
        X509_STORE_free(store);
    return 0;
}

X509_STORE *trust_of(const weir_tls_config *c, bool server)
{
    X509_STORE *system = server || c->trusts ? NULL : atomic_load(&c->system);

    return system ? system : SSL_CTX_get_cert_store(c->ctx);
}
