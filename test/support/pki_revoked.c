#include "support/pki_private.h"

#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static ASN1_TIME *days_from_now(int days)
{
    ASN1_TIME *t = X509_time_adj_ex(NULL, days, 0, NULL);
    PKI_MUST(t != NULL);
    return t;
}

/* The two dates of a list or an answer. */
static void dates(int from_days, int to_days, ASN1_TIME **ret_from, ASN1_TIME **ret_to)
{
    bool named = from_days || to_days;
    *ret_from = days_from_now(named ? from_days : -1);
    *ret_to = days_from_now(named ? to_days : 30);
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void crl_add(X509_CRL *crl, const pki_cert *c)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *since = days_from_now(-1);
    PKI_MUST(entry && X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(c->x509)) &&
             X509_REVOKED_set_revocationDate(entry, since) && X509_CRL_add0_revoked(crl, entry));
    ASN1_TIME_free(since);
}

static void crl_add_number(X509_CRL *crl)
{
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    PKI_MUST(number && ASN1_INTEGER_set(number, 1) &&
             X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0) == 1);
    ASN1_INTEGER_free(number);
}

const char *pki_crl(const struct pki_crl_spec *spec)
{
    const pki_cert *signer = spec->signer ? spec->signer : spec->issuer;
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *from, *to;
    dates(spec->from_days, spec->to_days, &from, &to);
    PKI_MUST(crl && X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
             X509_CRL_set_issuer_name(crl, X509_get_subject_name(spec->issuer->x509)) &&
             X509_CRL_set1_lastUpdate(crl, from) && X509_CRL_set1_nextUpdate(crl, to));
    crl_add_number(crl);
    for (int i = 0; i < 4 && spec->revoked[i]; i++)
        crl_add(crl, spec->revoked[i]);
    X509_CRL_sort(crl);

    PKI_MUST(X509_CRL_sign(crl, signer->key, pki_digest(signer->key, NULL)) > 0);
    if (spec->broken) {
        const ASN1_BIT_STRING *signature;
        X509_CRL_get0_signature(crl, &signature, NULL);
        pki_break(signature);
    }
    BIO *bio = BIO_new(BIO_s_mem());
    PKI_MUST(bio && PEM_write_bio_X509_CRL(bio, crl));
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    X509_CRL_free(crl);
    return pki_keep_bio(bio).bytes;
}

/* ---- answers --------------------------------------------------------------------------------- */

static OCSP_BASICRESP *ocsp_answer(const struct pki_ocsp_spec *spec)
{
    static const int statuses[] = {
        [PKI_GOOD] = V_OCSP_CERTSTATUS_GOOD,
        [PKI_REVOKED] = V_OCSP_CERTSTATUS_REVOKED,
        [PKI_UNKNOWN] = V_OCSP_CERTSTATUS_UNKNOWN,
    };
    const pki_cert *signer = spec->signer ? spec->signer : spec->issuer;
    OCSP_BASICRESP *answer = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, spec->cert->x509, spec->issuer->x509);
    ASN1_TIME *from, *to, *since = days_from_now(-1);
    dates(spec->from_days, spec->to_days, &from, &to);

    bool revoked = spec->status == PKI_REVOKED;
    PKI_MUST(answer && id &&
             OCSP_basic_add1_status(answer, id, statuses[spec->status],
                                    revoked ? OCSP_REVOKED_STATUS_KEYCOMPROMISE : 0,
                                    revoked ? since : NULL, from, to));
    PKI_MUST(
        OCSP_basic_sign(answer, signer->x509, signer->key, pki_digest(signer->key, NULL), NULL, 0));
    if (spec->broken)
        pki_break(OCSP_resp_get0_signature(answer));
    OCSP_CERTID_free(id);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    ASN1_TIME_free(since);
    return answer;
}

struct pki_bytes pki_ocsp(const struct pki_ocsp_spec *spec)
{
    OCSP_BASICRESP *answer = spec->refused ? NULL : ocsp_answer(spec);
    OCSP_RESPONSE *response = OCSP_response_create(
        answer ? OCSP_RESPONSE_STATUS_SUCCESSFUL : OCSP_RESPONSE_STATUS_TRYLATER, answer);
    BIO *bio = BIO_new(BIO_s_mem());
    PKI_MUST(response && bio && i2d_OCSP_RESPONSE_bio(bio, response));
    OCSP_BASICRESP_free(answer);
    OCSP_RESPONSE_free(response);
    return pki_keep_bio(bio);
}
