/* OCSP responses that a server staples to its certificate (RFC 6066 8, RFC 6960). */
#include "../story.h"
#include "../sys.h"
#include "private.h"

#include <string.h>

/* ---- the server gives it --------------------------------------------------------------------- */

static const struct blob *find(const struct identity *list, const X509 *leaf)
{
    for (; list; list = list->next)
        if (list->leaf == leaf)
            return list->staple.bytes ? &list->staple : NULL;
    return NULL;
}

static int give(SSL *ssl, const struct tls *t)
{
    const X509 *leaf = SSL_get_certificate(ssl);
    const struct blob *staple = find((t->chosen ? t->chosen : t->config)->identities, leaf);
    unsigned char *copy = staple ? OPENSSL_memdup(staple->bytes, staple->len) : NULL;

    if (!copy)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->len);
    return SSL_TLSEXT_ERR_OK;
}

/* ---- the client checks it -------------------------------------------------------------------- */

/* Clocks may differ by so much. A response that does not say when it ends is good for a week. */
#define SKEW_S  300L
#define MAX_AGE 604800L

/* A response that was signed with MD5 or SHA-1 can be somebody else's. */
static bool is_weak(const OCSP_BASICRESP *basic)
{
    int signature = OBJ_obj2nid(OCSP_resp_get0_tbs_sigalg(basic)->algorithm), hash;
    const EVP_MD *digest = OBJ_find_sigid_algs(signature, &hash, NULL) && hash != NID_undef
                               ? EVP_get_digestbynid(hash)
                               : NULL;

    return digest && EVP_MD_get_size(digest) < 28;
}

/* What the response says about `leaf`; NULL if nothing. */
static OCSP_SINGLERESP *find_answer(OCSP_BASICRESP *basic, const X509 *leaf, const X509 *issuer)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);
        OCSP_CERTID *theirs = (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(one), *ours;
        ASN1_OBJECT *hash;

        OCSP_id_get0_info(NULL, &hash, NULL, NULL, theirs);
        const EVP_MD *digest = EVP_get_digestbyobj(hash);
        ours = digest ? OCSP_cert_to_id(digest, leaf, issuer) : NULL;
        bool same = ours && OCSP_id_cmp(ours, theirs) == 0;
        OCSP_CERTID_free(ours);
        if (same)
            return one;
    }
    return NULL;
}

static const char *check_answer(struct tls *t, OCSP_SINGLERESP *answer, char date[DATE_MAX])
{
    ASN1_GENERALIZEDTIME *revoked, *from, *until;
    int status = OCSP_single_get0_status(answer, NULL, &revoked, &from, &until);

    if (!OCSP_check_validity(from, until, SKEW_S, until ? -1 : MAX_AGE))
        return "the OCSP response that the server staples is out of date, or not valid yet";
    if (status == V_OCSP_CERTSTATUS_REVOKED) {
        reason_date(revoked, date);
        return "was revoked on";
    }
    if (status != V_OCSP_CERTSTATUS_GOOD)
        return "is not known to those who answer for it (OCSP)";
    int64_t end = until ? reason_seconds(until, 0) : reason_seconds(from, 0) + MAX_AGE;
    if (end < t->good_until)
        t->good_until = end;
    return NULL;
}

/* NULL if all is well, or what is wrong. */
static const char *check_basic(struct tls *t, OCSP_BASICRESP *basic, char date[DATE_MAX])
{
    STACK_OF(X509) *chain = SSL_get0_verified_chain(t->ssl);
    X509 *leaf = sk_X509_value(chain, 0);
    X509 *issuer = sk_X509_num(chain) > 1 ? sk_X509_value(chain, 1) : leaf;

    if (is_weak(basic))
        return "the OCSP response that the server staples is signed with a hash that is too weak";
    if (OCSP_basic_verify(basic, chain, trust_of(t->config, false), OCSP_PARTIAL_CHAIN) <= 0)
        return "the OCSP response that the server staples is not signed by whoever may do so";
    OCSP_SINGLERESP *answer = find_answer(basic, leaf, issuer);
    if (!answer)
        return "the OCSP response that the server staples is for another certificate";
    return check_answer(t, answer, date);
}

static const char *check_bytes(struct tls *t, const unsigned char *der, long len,
                               char date[DATE_MAX])
{
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &der, len);
    int status = response ? OCSP_response_status(response) : -1;
    OCSP_BASICRESP *basic =
        status == OCSP_RESPONSE_STATUS_SUCCESSFUL ? OCSP_response_get1_basic(response) : NULL;
    const char *fault;

    if (basic)
        fault = check_basic(t, basic, date);
    else if (response && status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        fault = "the OCSP response that the server staples says nothing (an error)";
    else
        fault = "the OCSP response that the server staples cannot be read";
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return fault;
}

/* In a session that was resumed nothing is stapled; the first one was not kept for longer than its
 * response was good. */
static int check(SSL *ssl, struct tls *t)
{
    const unsigned char *der;
    char date[DATE_MAX] = "", who[512];
    long len = SSL_get_tlsext_status_ocsp_resp(ssl, &der);
    const char *fault;

    if (!t->config->require_staple || t->config->insecure || SSL_session_reused(ssl))
        return 1;
    fault = len > 0 && der ? check_bytes(t, der, len, date)
                           : "the server staples no OCSP response, which is required";
    if (!fault)
        return 1;
    reason_describe(SSL_get0_peer_certificate(ssl), who, sizeof who);
    t->bad_peer = true;
    story_append(&t->story, "%s: %s%s%s (wanted: %s)", who, fault, *date ? " " : "", date, t->name);
    return 0;
}

/* ---- both ------------------------------------------------------------------------------------ */

/* OpenSSL has one callback for the two. */
static int status(SSL *ssl, void *unused)
{
    struct tls *t = tls_of(ssl);

    (void)unused;
    ERR_set_mark();
    int rc = t->server ? give(ssl, t) : check(ssl, t);
    ERR_pop_to_mark();
    return rc;
}

void staple_init(weir_tls_config *c)
{
    SSL_CTX_set_tlsext_status_cb(c->ctx, status);
}

int staple_prepare(struct tls *t)
{
    if (!t->config->require_staple || t->config->insecure)
        return 0;
    return SSL_set_tlsext_status_type(t->ssl, TLSEXT_STATUSTYPE_ocsp) ? 0 : -ENOMEM;
}
