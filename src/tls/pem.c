/* Certificates, keys and lists out of files and memory. */
#include "../story.h"
#include "../sys.h"
#include "private.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <weir/error.h>

/* ---- bytes ---------------------------------------------------------------------------------- */

void blob_wipe(struct blob *b)
{
    if (b->bytes)
        OPENSSL_cleanse(b->bytes, b->len);
    free(b->bytes);
    *b = (struct blob){.bytes = NULL};
}

int blob_copy(struct blob *ret, const void *bytes, size_t len)
{
    unsigned char *copy = sys_alloc(len + 1);

    if (!copy)
        return -ENOMEM;
    memcpy(copy, bytes, len);
    *ret = (struct blob){copy, len};
    return 0;
}

/* Appends what can be read to `b`, of which `*used` bytes are taken: their number, 0 at the end. */
static ssize_t read_more(int fd, struct blob *b, size_t *used)
{
    ssize_t n;

    if (*used == b->len) {
        struct blob larger = {.len = b->len ? 2 * b->len : 4096};

        larger.bytes = sys_alloc(larger.len);
        if (!larger.bytes)
            return -ENOMEM;
        if (*used)
            memcpy(larger.bytes, b->bytes, *used);
        blob_wipe(b);
        *b = larger;
    }
    do
        n = sys_read(fd, b->bytes + *used, b->len - *used);
    while (n == -EINTR);
    *used += n > 0 ? (size_t)n : 0;
    return n;
}

const char *pem_name(const char *path, char buf[FILE_NAME_MAX])
{
    struct story_quote q;

    snprintf(buf, FILE_NAME_MAX, "\"%s\"", story_quote(&q, path, strlen(path)));
    return buf;
}

int blob_read(struct blob *ret, const char *path, size_t max)
{
    struct blob b = {.bytes = NULL};
    char name[FILE_NAME_MAX];
    size_t used = 0;
    int fd = sys_open(path, O_RDONLY | O_NOCTTY);
    ssize_t n;

    pem_name(path, name);
    if (fd < 0)
        return story_tell(fd, "cannot open %s: %s", name, weir_strerror(fd));
    do
        n = read_more(fd, &b, &used);
    while (n > 0 && used <= max);
    sys_close(fd);
    if (n == 0) {
        *ret = (struct blob){b.bytes, used};
        return 0;
    }
    blob_wipe(&b);
    if (n > 0)
        return story_tell(-EINVAL, "%s is larger than %zu bytes", name, max);
    return story_tell((int)n, "cannot read %s: %s", name, weir_strerror((int)n));
}

/* ---- PEM ------------------------------------------------------------------------------------ */

/* Instead of OpenSSL's own, which asks at the terminal. */
static int refuse_password(char *buf, int size, int writing, void *asked)
{
    (void)buf, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static BIO *open_bio(const struct pem *in)
{
    ERR_clear_error();
    return in->len <= INT_MAX ? BIO_new_mem_buf(in->bytes, (int)in->len) : NULL;
}

/* After a block that could not be read: 0 if it was the end, with `count` of them before. */
static int end_of(const struct pem *in, int count, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    char *whole = NULL;
    int rc;

    if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE) {
        ERR_clear_error();
        return count ? 0 : story_tell(-EINVAL, "%s: there is no %s in it (PEM)", in->name, what);
    }
    story_append(&whole, "%s: %s %d", in->name, what, count + 1);
    rc = tell_failure(whole ? whole : in->name);
    free(whole);
    return rc;
}

int pem_certificates(const struct pem *in, STACK_OF(X509) **ret)
{
    STACK_OF(X509) *list = sk_X509_new_null();
    BIO *bio = open_bio(in);
    bool asked = false;
    int rc = -ENOMEM;

    while (list && bio) {
        X509 *x = PEM_read_bio_X509_AUX(bio, NULL, refuse_password, &asked);
        if (!x) {
            rc = end_of(in, sk_X509_num(list), "certificate");
            break;
        }
        if (!sk_X509_push(list, x)) {
            X509_free(x);
            break;
        }
    }
    BIO_free(bio);
    if (rc == 0)
        *ret = list;
    else
        sk_X509_pop_free(list, X509_free);
    return rc;
}

int pem_crls(const struct pem *in, STACK_OF(X509_CRL) **ret)
{
    STACK_OF(X509_CRL) *list = sk_X509_CRL_new_null();
    BIO *bio = open_bio(in);
    bool asked = false;
    int rc = -ENOMEM;

    while (list && bio) {
        X509_CRL *crl = PEM_read_bio_X509_CRL(bio, NULL, refuse_password, &asked);
        if (!crl) {
            rc = end_of(in, sk_X509_CRL_num(list), "revocation list");
            break;
        }
        if (!sk_X509_CRL_push(list, crl)) {
            X509_CRL_free(crl);
            break;
        }
    }
    BIO_free(bio);
    if (rc == 0)
        *ret = list;
    else
        sk_X509_CRL_pop_free(list, X509_CRL_free);
    return rc;
}

/* What OpenSSL's decoders say of something that is no key says nothing about it. */
int pem_key(const struct pem *in, EVP_PKEY **ret)
{
    BIO *bio = open_bio(in);
    bool asked = false;

    if (!bio)
        return -ENOMEM;
    *ret = PEM_read_bio_PrivateKey(bio, NULL, refuse_password, &asked);
    BIO_free(bio);
    if (*ret) {
        ERR_clear_error();
        return 0;
    }
    if (!asked && ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE)
        return tell_failure(in->name);
    ERR_clear_error();
    if (asked)
        return story_tell(-EINVAL, "%s: the key is encrypted; one without a password is wanted",
                          in->name);
    return story_tell(-EINVAL, "%s: there is no private key in it (PEM)", in->name);
}
