/* Certificates that must not be accepted because of those above them, or of what others say of
 * them, or because they are none. */
#include "support/pki_private.h"
#include "support/tls_bad.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- chains --------------------------------------------------------------------------------- */

static const char *join(const char *a, const char *b)
{
    size_t size = strlen(a) + strlen(b) + 1;
    char *both = pki_keep(size);
    snprintf(both, size, "%s%s", a, b);
    return both;
}

static void show_alone(struct trial *t)
{
    t->chain = PKI_PEM(t->leaf);
}

static void show_signer_first(struct trial *t)
{
    t->chain = PKI_PEM(t->middle, t->leaf);
    t->key = pki_key_pem(t->middle);
}

static void show_root_as_well(struct trial *t)
{
    t->chain = PKI_PEM(t->leaf, t->middle, t->root);
}

static void trust_somebody_else(struct trial *t)
{
    t->trust = PKI_PEM(PKI_CERT(.ca = true, .subject = "/CN=Somebody Else"));
}

static void show_root_that_is_unknown(struct trial *t)
{
    show_root_as_well(t);
    trust_somebody_else(t);
}

static void trust_a_namesake(struct trial *t)
{
    t->trust = PKI_PEM(PKI_CERT(.ca = true, .subject = "/CN=Root"));
}

static void reject_root(struct trial *t)
{
    t->trust = pki_pem_rejected(t->root);
}

static void sign_itself(struct trial *t)
{
    struct pki_spec spec = {.subject = "/CN=Leaf", .san = "DNS:server.test", .basic = ""};
    t->leaf = pki_make(&spec);
    t->chain = PKI_PEM(t->leaf);
    t->key = pki_key_pem(t->leaf);
}

/* So many authorities between the root and the leaf. */
static void show_many(struct trial *t, int count)
{
    pki_cert *above = t->root;
    const char *chain = "";
    for (int i = 0; i < count; i++) {
        char subject[32];
        snprintf(subject, sizeof subject, "/CN=Authority %d", i);
        above = PKI_CERT(.issuer = above, .ca = true, .subject = subject);
        chain = join(PKI_PEM(above), chain);
    }
    t->leaf = PKI_CERT(.issuer = above, .subject = "/CN=Leaf", .san = "DNS:server.test",
                       .purpose = "serverAuth,clientAuth");
    t->key = pki_key_pem(t->leaf);
    t->chain = join(PKI_PEM(t->leaf), chain);
}

static void show_twenty(struct trial *t)
{
    show_many(t, 20);
}

/* More than OpenSSL itself would look at. */
static void show_a_hundred_and_thirty(struct trial *t)
{
    show_many(t, 130);
}

static const struct bad chains[] = {
    {.what = "an unknown root",
     .cause = INCOMPLETE,
     .whose = "CN=Leaf",
     .also = "CN=Root",
     ARRANGE(trust_somebody_else)},
    {.what = "an unknown root that is shown",
     .cause = UNKNOWN_ROOT,
     .whose = "CN=Leaf",
     .also = "CN=Root",
     ARRANGE(show_root_that_is_unknown)},
    {.what = "a root that has another's name",
     .cause = INCOMPLETE,
     .whose = "CN=Leaf",
     .also = "CN=Root",
     ARRANGE(trust_a_namesake)},
    {.what = "a root that is rejected",
     .cause = REJECTED,
     .whose = "CN=Leaf",
     .also = "CN=Root",
     ARRANGE(reject_root)},
    {.what = "signed by itself",
     .cause = SELF_SIGNED,
     .whose = "CN=Leaf",
     .servers_only = true,
     ARRANGE(sign_itself)},
    {.what = "a missing intermediate",
     .cause = INCOMPLETE,
     .whose = "CN=Leaf",
     .also = "CN=Middle",
     ARRANGE(show_alone)},
    {.what = "the intermediate first",
     .cause = KEY_USAGE,
     .version = WEIR_TLS_1_3,
     .whose = "CN=Middle",
     ARRANGE(show_signer_first)},
    {.what = "twenty", .cause = TOO_LONG, .whose = "CN=Leaf", ARRANGE(show_twenty)},
    {.what = "a hundred and thirty",
     .cause = TOO_LONG,
     .whose = "CN=Leaf",
     ARRANGE(show_a_hundred_and_thirty)},
};

/* ---- revocation ------------------------------------------------------------------------------ */

static void revoke_leaf(struct trial *t)
{
    t->crl = PKI_CRL(.issuer = t->middle, .revoked = {t->leaf});
}

static void revoke_middle(struct trial *t)
{
    t->crl = join(PKI_CRL(.issuer = t->middle), PKI_CRL(.issuer = t->root, .revoked = {t->middle}));
}

static void revoke_root(struct trial *t)
{
    t->crl = join(PKI_CRL(.issuer = t->middle), PKI_CRL(.issuer = t->root, .revoked = {t->root}));
}

static void list_out_of_date(struct trial *t)
{
    t->crl = PKI_CRL(.issuer = t->middle, .from_days = -20, .to_days = -10);
}

static void list_of_tomorrow(struct trial *t)
{
    t->crl = PKI_CRL(.issuer = t->middle, .from_days = 1, .to_days = 10);
}

static void list_forged(struct trial *t)
{
    t->crl = PKI_CRL(.issuer = t->middle, .signer = t->leaf);
}

static void list_broken(struct trial *t)
{
    t->crl = PKI_CRL(.issuer = t->middle, .broken = true);
}

static void list_of_others(struct trial *t)
{
    t->crl = PKI_CRL(.issuer = PKI_CERT(.ca = true, .subject = "/CN=Somebody Else"));
}

static const struct bad lists[] = {
    {.what = "revoked", .cause = REVOKED, .whose = "CN=Leaf", ARRANGE(revoke_leaf)},
    {.what = "a revoked intermediate",
     .cause = REVOKED,
     .whose = "CN=Middle",
     ARRANGE(revoke_middle)},
    {.what = "a revoked root", .cause = REVOKED, .whose = "CN=Root", ARRANGE(revoke_root)},
    {.what = "a list out of date", .cause = OLD_LIST, ARRANGE(list_out_of_date)},
    {.what = "a list of tomorrow", .cause = EARLY_LIST, ARRANGE(list_of_tomorrow)},
    {.what = "a list by somebody else", .cause = FORGED_LIST, ARRANGE(list_forged)},
    {.what = "a list with a broken signature", .cause = FORGED_LIST, ARRANGE(list_broken)},
    {.what = "a list of another authority",
     .cause = NO_LIST,
     .whose = "CN=Leaf",
     ARRANGE(list_of_others)},
};

/* ---- staples --------------------------------------------------------------------------------- */

static void staple(struct trial *t, struct pki_bytes b)
{
    t->require_staple = true;
    t->staple = b.bytes;
    t->staple_len = b.len;
}

static void staple_none(struct trial *t)
{
    t->require_staple = true;
}

static void staple_revoked(struct trial *t)
{
    staple(t, PKI_OCSP(.cert = t->leaf, .issuer = t->middle, .status = PKI_REVOKED));
}

static void staple_unknown(struct trial *t)
{
    staple(t, PKI_OCSP(.cert = t->leaf, .issuer = t->middle, .status = PKI_UNKNOWN));
}

static void staple_of_another(struct trial *t)
{
    pki_cert *other = PKI_CERT(.issuer = t->middle, .subject = "/CN=Leaf");
    staple(t, PKI_OCSP(.cert = other, .issuer = t->middle));
}

static void staple_out_of_date(struct trial *t)
{
    staple(t, PKI_OCSP(.cert = t->leaf, .issuer = t->middle, .from_days = -20, .to_days = -10));
}

static void staple_of_tomorrow(struct trial *t)
{
    staple(t, PKI_OCSP(.cert = t->leaf, .issuer = t->middle, .from_days = 1, .to_days = 10));
}

static void staple_broken(struct trial *t)
{
    staple(t, PKI_OCSP(.cert = t->leaf, .issuer = t->middle, .broken = true));
}

/* By somebody whom the same authority has signed, for other things. */
static void staple_by_nobody(struct trial *t)
{
    pki_cert *nobody = PKI_CERT(.issuer = t->middle, .subject = "/CN=Nobody");
    staple(t, PKI_OCSP(.cert = t->leaf, .issuer = t->middle, .signer = nobody));
}

static void staple_by_itself(struct trial *t)
{
    staple(t, PKI_OCSP(.cert = t->leaf, .issuer = t->middle, .signer = t->leaf));
}

static void staple_refused(struct trial *t)
{
    staple(t, PKI_OCSP(.refused = true));
}

static void staple_garbage(struct trial *t)
{
    staple(t, (struct pki_bytes){"no OCSP response", 16});
}

static const struct bad staples[] = {
    {.what = "no staple", .cause = NO_STAPLE, ARRANGE(staple_none)},
    {.what = "revoked", .cause = STAPLE_REVOKED, ARRANGE(staple_revoked)},
    {.what = "unknown", .cause = STAPLE_UNKNOWN, ARRANGE(staple_unknown)},
    {.what = "for another certificate", .cause = STAPLE_OTHER, ARRANGE(staple_of_another)},
    {.what = "out of date", .cause = STAPLE_DATE, ARRANGE(staple_out_of_date)},
    {.what = "of tomorrow", .cause = STAPLE_DATE, ARRANGE(staple_of_tomorrow)},
    {.what = "a broken signature", .cause = STAPLE_FORGED, ARRANGE(staple_broken)},
    {.what = "by nobody of importance", .cause = STAPLE_FORGED, ARRANGE(staple_by_nobody)},
    {.what = "by the certificate itself", .cause = STAPLE_FORGED, ARRANGE(staple_by_itself)},
    {.what = "no answer", .cause = STAPLE_REFUSED, ARRANGE(staple_refused)},
    {.what = "garbage", .cause = STAPLE_GARBAGE, ARRANGE(staple_garbage)},
};

/* ---- messages that OpenSSL would not send ---------------------------------------------------- */

/* What a server of TLS 1.2 says first, and a Certificate message (RFC 5246 7.4.2) with `list`. */
static void answer_raw(struct trial *t, const void *list, size_t len)
{
    static const unsigned char hello[] = {
        0x16, 3,    3,    0, 0x31, 2, 0, 0, 0x2d, 3,  3, /* a record, ServerHello, TLS 1.2 */
        1,    2,    3,    4, 5,    6, 7, 8, 9,    10, 11, 12, 13, 14, 15, 16, /* random */
        1,    2,    3,    4, 5,    6, 7, 8, 9,    10, 11, 12, 13, 14, 15, 16, /* */
        0,    0xc0, 0x2b, 0, /* no session, ECDHE-ECDSA-AES128-GCM-SHA256, no compression */
        0,    5,    0xff, 1, 0,    1, 0, /* no renegotiation yet */
    };
    size_t message = len + 3, record = message + 4;
    const unsigned char head[] = {
        0x16,
        3,
        3,
        (unsigned char)(record >> 8),
        (unsigned char)record,
        11,
        0,
        (unsigned char)(message >> 8),
        (unsigned char)message,
        0,
        (unsigned char)(len >> 8),
        (unsigned char)len,
    };
    char *raw = pki_keep(sizeof hello + sizeof head + len);
    memcpy(raw, hello, sizeof hello);
    memcpy(raw + sizeof hello, head, sizeof head);
    memcpy(raw + sizeof hello + sizeof head, list, len);
    t->raw = raw;
    t->raw_len = sizeof hello + sizeof head + len;
}

static void answer_with_certificate(struct trial *t, const char *der, size_t len)
{
    char *list = pki_keep(len + 3);
    list[1] = (char)(len >> 8);
    list[2] = (char)len;
    memcpy(list + 3, der, len);
    answer_raw(t, list, len + 3);
}

static void send_empty_list(struct trial *t)
{
    answer_raw(t, "", 0);
}

static void send_garbage(struct trial *t)
{
    answer_with_certificate(t, "no certificate", 14);
}

static void send_cut_certificate(struct trial *t)
{
    struct pki_bytes der = pki_der(t->leaf);
    answer_with_certificate(t, der.bytes, der.len - 1);
}

static void send_certificate_and_more(struct trial *t)
{
    struct pki_bytes der = pki_der(t->leaf);
    answer_with_certificate(t, der.bytes, der.len + 1);
}

static void send_wrong_length(struct trial *t)
{
    struct pki_bytes der = pki_der(t->leaf);
    char *list = pki_keep(der.len + 3);
    memset(list, 0xff, 3);
    memcpy(list + 3, der.bytes, der.len);
    answer_raw(t, list, der.len + 3);
}

static const struct bad messages[] = {
    {.what = "an empty list",
     .cause = LENGTHS,
     .rc = WEIR_ETLS,
     .version = WEIR_TLS_1_2,
     ARRANGE(send_empty_list)},
    {.what = "garbage",
     .cause = GARBAGE,
     .rc = WEIR_ETLS,
     .version = WEIR_TLS_1_2,
     ARRANGE(send_garbage)},
    {.what = "a cut certificate",
     .cause = GARBAGE,
     .rc = WEIR_ETLS,
     .version = WEIR_TLS_1_2,
     ARRANGE(send_cut_certificate)},
    {.what = "a byte too many",
     .cause = LENGTHS,
     .rc = WEIR_ETLS,
     .version = WEIR_TLS_1_2,
     ARRANGE(send_certificate_and_more)},
    {.what = "a wrong length",
     .cause = LENGTHS,
     .rc = WEIR_ETLS,
     .version = WEIR_TLS_1_2,
     ARRANGE(send_wrong_length)},
};

BAD(chains)
BAD(lists)
BAD(staples)
BAD(messages)
BAD_OF_CLIENTS(chains)
BAD_OF_CLIENTS(lists)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_of_servers),  cmocka_unit_test(lists_of_servers),
        cmocka_unit_test(staples_of_servers), cmocka_unit_test(messages_of_servers),
        cmocka_unit_test(chains_of_clients),  cmocka_unit_test(lists_of_clients),
    };

    return cmocka_run_group_tests_name("tls_certificates_trust", tests, NULL, NULL);
}
