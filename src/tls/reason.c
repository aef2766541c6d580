/* What is wrong with a chain of certificates, for people to read. All that stands in a certificate
 * is foreign. */
#include "../story.h"
#include "private.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* ---- parts of a sentence --------------------------------------------------------------------- */

#define WHAT_MAX       640
#define NAME_MAX_SHOWN 160

struct text {
    char *bytes;
    size_t size, len;
};

static __attribute__((format(printf, 2, 3))) void put(struct text *t, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int n = vsnprintf(t->bytes + t->len, t->size - t->len, format, arguments);
    va_end(arguments);
    if (n > 0)
        t->len = t->len + (size_t)n < t->size ? t->len + (size_t)n : t->size - 1;
}

const char *reason_date(const ASN1_TIME *time, char buf[DATE_MAX])
{
    struct tm tm;

    if (!time || !ASN1_TIME_to_tm(time, &tm) ||
        strftime(buf, DATE_MAX, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        snprintf(buf, DATE_MAX, "an unreadable date");
    return buf;
}

int64_t reason_seconds(const ASN1_TIME *time, int64_t otherwise)
{
    struct tm tm;

    return time && ASN1_TIME_to_tm(time, &tm) ? (int64_t)timegm(&tm) : otherwise;
}

static void put_name(struct text *t, const X509_NAME *name)
{
    char line[NAME_MAX_SHOWN];

    tell_name(name, line, sizeof line);
    put(t, "%s", line[0] ? line : "nobody by name");
}

/* False for a kind of name that no host has. */
static bool put_host(struct text *t, const GENERAL_NAME *name)
{
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, NULL);
    char address[INET6_ADDRSTRLEN];
    struct story_quote q;

    if (name->type == GEN_DNS) {
        put(t, "%s",
            story_quote(&q, (const char *)ASN1_STRING_get0_data(value),
                        (size_t)ASN1_STRING_length(value)));
        return true;
    }
    if (name->type != GEN_IPADD)
        return false;
    int len = ASN1_STRING_length(value);
    if ((len != 4 && len != 16) ||
        !inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value), address,
                   sizeof address))
        snprintf(address, sizeof address, "an unreadable address");
    put(t, "%s", address);
    return true;
}

#define HOSTS_SHOWN 5

/* The hosts that a certificate is for: how many there are. */
static int put_hosts(struct text *t, const X509 *x)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    int count = 0, hosts = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        bool host = name->type == GEN_DNS || name->type == GEN_IPADD;

        if (host && hosts < HOSTS_SHOWN) {
            put(t, hosts ? ", " : "");
            put_host(t, name);
        }
        hosts += host;
        count++;
    }
    if (hosts > HOSTS_SHOWN)
        put(t, " and %d more", hosts - HOSTS_SHOWN);
    GENERAL_NAMES_free(names);
    return hosts;
}

/* Most certificates of today have no other name than those of their hosts. */
static void put_subject(struct text *t, const X509 *x)
{
    const X509_NAME *subject = X509_get_subject_name(x);

    if (X509_NAME_entry_count(subject) > 0) {
        put_name(t, subject);
        return;
    }
    put(t, "for ");
    if (put_hosts(t, x) == 0)
        put_name(t, subject);
}

void reason_describe(const X509 *x, char *buf, size_t size)
{
    struct text t = {buf, size, 0};

    put(&t, "the certificate ");
    put_subject(&t, x);
    put(&t, ", issued by ");
    put_name(&t, X509_get_issuer_name(x));
}

/* ---- what is wrong --------------------------------------------------------------------------- */

struct words {
    int code;
    const char *words;
};

static const struct words plain[] = {
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, "is not signed by its issuer: the signature is wrong"},
    {X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY, "has an issuer whose key cannot be read"},
    {X509_V_ERR_UNSUPPORTED_SIGNATURE_ALGORITHM, "is signed in a way that is not known here"},
    {X509_V_ERR_SIGNATURE_ALGORITHM_MISMATCH, "is signed in another way than its issuer can"},
    {X509_V_ERR_SIGNATURE_ALGORITHM_INCONSISTENCY, "names two algorithms for its one signature"},
    {X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD, "begins on a date that cannot be read"},
    {X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD, "ends on a date that cannot be read"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "is signed by itself and not trusted"},
    {X509_V_ERR_CERT_UNTRUSTED, "is signed by an authority that is not trusted for this purpose"},
    {X509_V_ERR_CERT_CHAIN_TOO_LONG, "ends a chain that is too long"},
    {X509_V_ERR_INVALID_CA, "has signed another one, but is not that of an authority"},
    {X509_V_ERR_INVALID_NON_CA, "is that of an authority"},
    {X509_V_ERR_PATH_LENGTH_EXCEEDED,
     "has more certificates under it than it allows (its path length)"},
    {X509_V_ERR_KEYUSAGE_NO_CERTSIGN,
     "has signed another one, though its key usage does not allow that"},
    {X509_V_ERR_KEYUSAGE_NO_CRL_SIGN,
     "has signed a revocation list, though its key usage does not allow that"},
    {X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION, "has a critical extension that is not known here"},
    {X509_V_ERR_INVALID_EXTENSION, "has an extension that cannot be read or contradicts others"},
    {X509_V_ERR_PERMITTED_VIOLATION,
     "is for a name outside of those that its authority may certify (name constraints, permitted)"},
    {X509_V_ERR_EXCLUDED_VIOLATION,
     "is for a name among those that its authority may not certify (name constraints, excluded)"},
    {X509_V_ERR_SUBTREE_MINMAX, "is under name constraints that are not understood here"},
    {X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE, "is under name constraints of an unknown kind"},
    {X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX, "is under name constraints that cannot be read"},
    {X509_V_ERR_UNSUPPORTED_NAME_SYNTAX,
     "has a name that cannot be compared with its name constraints"},
    {X509_V_ERR_EC_KEY_EXPLICIT_PARAMS, "has a key on a curve without a name"},
    {X509_V_ERR_PROXY_CERTIFICATES_NOT_ALLOWED, "is a proxy's"},
    {X509_V_ERR_PATH_LOOP, "is part of a chain that leads back to itself"},
    {X509_V_ERR_UNABLE_TO_GET_CRL, "is covered by no revocation list: there is none of its issuer"},
    {X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, "has a revocation list whose issuer is not known"},
    {X509_V_ERR_CRL_SIGNATURE_FAILURE,
     "cannot be checked: the revocation list is not signed by its issuer"},
    {X509_V_ERR_DIFFERENT_CRL_SCOPE, "is not among those that the revocation list is about"},
    {X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION,
     "cannot be checked: the revocation list has a critical extension that is not known here"},
    {X509_V_ERR_CRL_PATH_VALIDATION_ERROR,
     "cannot be checked: whoever signed the revocation list is not trusted"},
};

static void put_plain(struct text *t, int code)
{
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (plain[i].code == code) {
            put(t, "%s", plain[i].words);
            return;
        }
    put(t, "is not good: %s", X509_verify_cert_error_string(code));
}

static void put_key(struct text *t, const X509 *x)
{
    const EVP_PKEY *key = X509_get0_pubkey(x);
    const char *kind = key ? EVP_PKEY_get0_type_name(key) : NULL;

    put(t, "has a key that is too weak (%s, %d bits)", kind ? kind : "unknown",
        key ? EVP_PKEY_get_bits(key) : 0);
}

static void put_hash(struct text *t, const X509 *x)
{
    put(t, "is signed with a hash that is too weak (%s)", OBJ_nid2ln(X509_get_signature_nid(x)));
}

/* Whether it is the purpose or the use of the key. */
static void put_purpose(struct text *t, X509 *x, bool server, int depth)
{
    uint32_t wanted = server ? XKU_SSL_SERVER : XKU_SSL_CLIENT;
    const char *whom = server ? "servers" : "clients";

    if (X509_get_extension_flags(x) & EXFLAG_INVALID)
        put_plain(t, X509_V_ERR_INVALID_EXTENSION);
    else if (!(X509_get_extended_key_usage(x) & wanted))
        put(t,
            depth ? "is that of an authority that is not for %s (its extended key usage)"
                  : "is not for %s (its extended key usage)",
            whom);
    else
        put(t, "is not for %s: its key usage forbids it", whom);
}

static void put_mismatch(struct text *t, const X509 *x, const char *wanted)
{
    struct story_quote q;

    put(t, "is for ");
    if (put_hosts(t, x) == 0)
        put(t, "no host at all");
    put(t, ", not for %s", story_quote(&q, wanted, strlen(wanted)));
}

/* The list of whoever has issued `x`; NULL if there is none. */
static X509_CRL *list_for(const weir_tls_config *c, const X509 *x)
{
    for (int i = 0; i < sk_X509_CRL_num(c->crls); i++) {
        X509_CRL *one = sk_X509_CRL_value(c->crls, i);
        if (X509_NAME_cmp(X509_CRL_get_issuer(one), X509_get_issuer_name(x)) == 0)
            return one;
    }
    return NULL;
}

static void put_revoked(struct text *t, X509 *x, X509_CRL *crl)
{
    X509_REVOKED *entry = NULL;
    char date[DATE_MAX];

    if (!crl || X509_CRL_get0_by_cert(crl, &entry, x) != 1 || !entry) {
        put(t, "has been revoked");
        return;
    }
    put(t, "was revoked on %s", reason_date(X509_REVOKED_get0_revocationDate(entry), date));
    ASN1_ENUMERATED *why = X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, NULL, NULL);
    if (why)
        put(t, " (%s)", OCSP_crl_reason_str(ASN1_ENUMERATED_get(why)));
    ASN1_ENUMERATED_free(why);
}

/* Whoever is missing may be unknown, or merely not sent: nobody can tell. OpenSSL looks for no
 * issuer of what it cannot read. */
static void put_missing(struct text *t, X509 *last)
{
    if (X509_get_extension_flags(last) & EXFLAG_INVALID) {
        put_plain(t, X509_V_ERR_INVALID_EXTENSION);
        return;
    }
    put(t, "is signed by an authority that is not trusted, or the chain is incomplete: the "
           "certificate of ");
    put_name(t, X509_get_issuer_name(last));
    put(t, " is missing");
}

/* `x` is what OpenSSL stopped at. */
static void put_fault(struct text *t, X509_STORE_CTX *failed, const struct tls *owner, X509 *x)
{
    int code = X509_STORE_CTX_get_error(failed);
    X509_CRL *crl = list_for(owner->config, x);
    char date[DATE_MAX];

    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        put(t, "expired on %s", reason_date(X509_get0_notAfter(x), date));
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        put(t, "is not valid before %s", reason_date(X509_get0_notBefore(x), date));
        break;
    case X509_V_ERR_CRL_HAS_EXPIRED:
        put(t, "cannot be checked: the revocation list ended on %s",
            reason_date(crl ? X509_CRL_get0_nextUpdate(crl) : NULL, date));
        break;
    case X509_V_ERR_CRL_NOT_YET_VALID:
        put(t, "cannot be checked: the revocation list begins on %s",
            reason_date(crl ? X509_CRL_get0_lastUpdate(crl) : NULL, date));
        break;
    case X509_V_ERR_CERT_REVOKED:
        put_revoked(t, x, crl);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        put_mismatch(t, x, owner->name);
        break;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_REJECTED:
        put(t, "is signed by an authority that is %s: ",
            code == X509_V_ERR_CERT_REJECTED ? "distrusted" : "not trusted");
        put_name(t, X509_get_subject_name(x));
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        put_missing(t, x);
        break;
    case X509_V_ERR_INVALID_PURPOSE:
        put_purpose(t, x, !owner->server, X509_STORE_CTX_get_error_depth(failed));
        break;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
        put_key(t, x);
        break;
    case X509_V_ERR_CA_MD_TOO_WEAK:
        put_hash(t, x);
        break;
    default:
        put_plain(t, code);
    }
}

/* What is wrong with trust is told of the peer's own certificate, the rest of the one concerned. */
static bool is_of_trust(int code)
{
    return code == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN || code == X509_V_ERR_CERT_REJECTED ||
           code == X509_V_ERR_CERT_UNTRUSTED || code == X509_V_ERR_CERT_CHAIN_TOO_LONG ||
           code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
           code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
}

void reason_tell(const struct tls *t, X509_STORE_CTX *failed, char **story)
{
    int code = X509_STORE_CTX_get_error(failed);
    X509 *leaf = X509_STORE_CTX_get0_cert(failed), *x = X509_STORE_CTX_get_current_cert(failed);
    bool named = code == X509_V_ERR_HOSTNAME_MISMATCH || code == X509_V_ERR_IP_ADDRESS_MISMATCH;
    char who[WHAT_MAX], what[WHAT_MAX];
    struct text fault = {what, sizeof what, 0};
    struct story_quote q;

    if (!x)
        x = leaf;
    reason_describe(is_of_trust(code) ? leaf : x, who, sizeof who);
    put_fault(&fault, failed, t, x);
    if (t->server || named || !t->name)
        story_append(story, "%s, %s", who, what);
    else
        story_append(story, "%s, %s (wanted: %s)", who, what,
                     story_quote(&q, t->name, strlen(t->name)));
}
