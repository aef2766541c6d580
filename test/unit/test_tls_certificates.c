/* Certificates that must not be accepted because of what stands in them. */
#include "support/pki_private.h"
#include "support/tls_bad.h"

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A server with `in_san` which is asked for as `asked`. */
#define NAME(title, in_san, asked)                                                                 \
    {                                                                                              \
        .what = (title), .cause = OTHER_NAME, .whose = "CN=Leaf", .servers_only = true,            \
        LEAF(.san = (in_san)), .spec.wanted = (asked)                                              \
    }

static const struct bad names[] = {
    NAME("another name", "DNS:other.test", "server.test"),
    NAME("a name that begins alike", "DNS:server.test.evil.test", "server.test"),
    NAME("a name that ends alike", "DNS:eserver.test", "server.test"),
    NAME("a part of the name", "DNS:test", "server.test"),
    NAME("a leading dot", "DNS:.test", "server.test"),
    NAME("a trailing dot in the certificate", "DNS:server.test.", "server.test"),
    NAME("a wildcard for everything", "DNS:*", "server.test"),
    NAME("a wildcard for a top-level domain", "DNS:*.test", "server.test"),
    NAME("a wildcard for com", "DNS:*.com", "server.com"),
    NAME("two wildcards", "DNS:*.*.test", "a.b.test"),
    NAME("a wildcard within", "DNS:a.*.test", "a.b.test"),
    NAME("a wildcard and two labels", "DNS:*.wild.test", "a.b.wild.test"),
    NAME("a wildcard and no label", "DNS:*.wild.test", "wild.test"),
    NAME("a partial wildcard at the end", "DNS:f*.wild.test", "foo.wild.test"),
    NAME("a partial wildcard at the beginning", "DNS:*o.wild.test", "foo.wild.test"),
    NAME("a partial wildcard in the middle", "DNS:f*o.wild.test", "foo.wild.test"),
    NAME("a partial wildcard of an A-label", "DNS:xn--*.wild.test", "xn--bcher-kva.wild.test"),
    NAME("a U-label", "DNS:b\303\274cher.test", "xn--bcher-kva.test"),
    NAME("a wildcard for an address", "DNS:*.0.0.1", "127.0.0.1"),
    NAME("an address as a name", "DNS:127.0.0.1", "127.0.0.1"),
    NAME("an address of version 6 as a name", "DNS:::1", "::1"),
    NAME("a name's address", "IP:127.0.0.1", "server.test"),
    NAME("another address", "IP:127.0.0.2,DNS:server.test", "127.0.0.1"),
    NAME("another address of version 6", "IP:::2", "::1"),
    NAME("an address that begins alike", "IP:7f00:1::", "127.0.0.1"),
    NAME("a zero byte", "DNS:server.test\\0.evil.test", "server.test"),
    NAME("a zero byte before the name", "DNS:evil.test\\0server.test", "server.test"),
    NAME("a zero byte at the end", "DNS:server.test\\0", "server.test"),
    NAME("an address of a page", "URI:https://server.test/", "server.test"),
    NAME("an address of a person", "email:root@server.test", "server.test"),
    NAME("an empty list of names", "EMPTY", "server.test"),
    {.what = "an empty list of names, and a common name",
     .cause = OTHER_NAME,
     .whose = "CN=server.test",
     .servers_only = true,
     LEAF(.san = "EMPTY", .subject = "/CN=server.test")},
    {.what = "a common name only",
     .cause = OTHER_NAME,
     .whose = "CN=server.test",
     .servers_only = true,
     LEAF(.san = "NONE", .subject = "/CN=server.test")},
    {.what = "a common name beside others",
     .cause = OTHER_NAME,
     .whose = "CN=server.test",
     .servers_only = true,
     LEAF(.san = "DNS:other.test", .subject = "/CN=server.test")},
    {.what = "a common name with a zero byte",
     .cause = OTHER_NAME,
     .servers_only = true,
     LEAF(.san = "NONE", .subject = "/CN=server.test\\0.evil.test")},
    {.what = "a common name that is an address",
     .cause = OTHER_NAME,
     .whose = "CN=127.0.0.1",
     .servers_only = true,
     LEAF(.san = "NONE", .subject = "/CN=127.0.0.1"),
     .spec.wanted = "127.0.0.1"},
    {.what = "version 1",
     .cause = OTHER_NAME,
     .whose = "CN=server.test",
     .servers_only = true,
     LEAF(.version = 1, .subject = "/CN=server.test")},
};

/* Signs the leaf anew, as it has become. */
static void sign_again(struct trial *t)
{
    PKI_MUST(X509_sign(t->leaf->x509, t->middle->key, EVP_sha256()) > 0);
    t->chain = PKI_PEM(t->leaf, t->middle);
}

static void write_no_date(struct trial *t)
{
    PKI_MUST(ASN1_STRING_set(X509_getm_notAfter(t->leaf->x509), "tomorrow, maybe", -1) == 1);
    sign_again(t);
}

static const struct bad dates[] = {
    {.what = "expired",
     .cause = EXPIRED,
     .whose = "CN=Leaf",
     LEAF(.from_days = -10, .to_days = -1)},
    {.what = "not yet valid",
     .cause = NOT_YET,
     .whose = "CN=Leaf",
     LEAF(.from_days = 1, .to_days = 10)},
    {.what = "ends before it begins",
     .cause = EXPIRED,
     .whose = "CN=Leaf",
     LEAF(.from_days = -1, .to_days = -10)},
    {.what = "a date that is none", .cause = BAD_DATE, .whose = "CN=Leaf", ARRANGE(write_no_date)},
    {.what = "an expired intermediate",
     .cause = EXPIRED,
     .whose = "CN=Middle",
     MIDDLE(.from_days = -10, .to_days = -1)},
    {.what = "an intermediate of tomorrow",
     .cause = NOT_YET,
     .whose = "CN=Middle",
     MIDDLE(.from_days = 1, .to_days = 10)},
    {.what = "an expired root",
     .cause = EXPIRED,
     .whose = "CN=Root",
     ROOT(.from_days = -10, .to_days = -1)},
};

static const struct bad purposes[] = {
    {.what = "for code", .cause = PURPOSE, .whose = "CN=Leaf", LEAF(.purpose = "codeSigning")},
    {.what = "for mail",
     .cause = PURPOSE,
     .whose = "CN=Leaf",
     LEAF(.purpose = "critical,emailProtection")},
    {.what = "for clients",
     .cause = PURPOSE,
     .whose = "CN=Leaf",
     .servers_only = true,
     LEAF(.purpose = "clientAuth")},
    {.what = "a key for signing certificates",
     .cause = KEY_USAGE,
     .version = WEIR_TLS_1_3,
     .whose = "CN=Leaf",
     LEAF(.usage = "critical,keyCertSign")},
    {.what = "a key for agreement",
     .cause = KEY_USAGE,
     .version = WEIR_TLS_1_3,
     .whose = "CN=Leaf",
     LEAF(.usage = "critical,keyAgreement")},
    {.what = "an intermediate for code",
     .cause = PURPOSE,
     .whose = "CN=Middle",
     MIDDLE(.purpose = "codeSigning")},
    {.what = "an intermediate that is none",
     .cause = NO_AUTHORITY,
     .whose = "CN=Middle",
     MIDDLE(.basic = "critical,CA:FALSE")},
    {.what = "an intermediate that does not say it is one",
     .cause = NO_AUTHORITY,
     .whose = "CN=Middle",
     MIDDLE(.basic = "")},
    {.what = "an intermediate that is a server",
     .cause = NO_AUTHORITY,
     .whose = "CN=Middle",
     MIDDLE(.basic = "", .usage = "critical,digitalSignature")},
    {.what = "an intermediate whose key signs no certificates",
     .cause = NO_AUTHORITY,
     .whose = "CN=Middle",
     MIDDLE(.usage = "critical,digitalSignature")},
    {.what = "an intermediate of version 1",
     .cause = NO_AUTHORITY,
     .whose = "CN=Middle",
     MIDDLE(.version = 1)},
    {.what = "a path that is too long",
     .cause = PATH_LENGTH,
     .whose = "CN=Root",
     ROOT(.basic = "critical,CA:TRUE,pathlen:0")},
};

static void sign_with_a_namesake(struct trial *t)
{
    pki_cert *namesake = PKI_CERT(.ca = true, .subject = "/CN=Middle", .same_as = NULL);
    PKI_MUST(X509_sign(t->leaf->x509, namesake->key, EVP_sha256()) > 0);
    t->chain = PKI_PEM(t->leaf, t->middle);
}

/* The peer's certificate gets another key after it was loaded with its own. */
static void change_key(struct ssl_st *ssl, void *arg)
{
    const struct trial *t = arg;
    X509 *x509 = SSL_get_certificate(ssl);
    PKI_MUST(X509_set_pubkey(x509, t->root->key) == 1);
    PKI_MUST(X509_sign(x509, t->middle->key, EVP_sha256()) > 0);
}

static void show_key_of_another(struct trial *t)
{
    t->adjust = change_key;
}

static const struct bad signatures[] = {
    {.what = "a weak key", .cause = WEAK_KEY, .whose = "CN=Leaf", LEAF(.key = PKI_RSA_1024)},
    {.what = "a weak key of the intermediate",
     .cause = WEAK_KEY,
     .whose = "CN=Middle",
     MIDDLE(.key = PKI_RSA_1024)},
    {.what = "a weak key of the root",
     .cause = WEAK_KEY,
     .whose = "CN=Root",
     ROOT(.key = PKI_RSA_1024)},
    {.what = "SHA-1", .cause = WEAK_HASH, .whose = "CN=Leaf", LEAF(.digest = "SHA1")},
    {.what = "MD5",
     .cause = WEAK_HASH,
     .whose = "CN=Leaf",
     MIDDLE(.key = PKI_RSA_2048),
     LEAF(.digest = "MD5")},
    {.what = "SHA-1 of the intermediate",
     .cause = WEAK_HASH,
     .whose = "CN=Middle",
     MIDDLE(.digest = "SHA1")},
    {.what = "a broken signature", .cause = SIGNATURE, .whose = "CN=Leaf", LEAF(.broken = true)},
    {.what = "a broken signature of the intermediate",
     .cause = SIGNATURE,
     .whose = "CN=Middle",
     MIDDLE(.broken = true)},
    {.what = "signed by a namesake",
     .cause = SIGNATURE,
     .whose = "CN=Leaf",
     ARRANGE(sign_with_a_namesake)},
    {.what = "another's certificate",
     .cause = OTHER_KEY,
     .rc = WEIR_ETLS,
     ARRANGE(show_key_of_another)},
};

static const struct bad extensions[] = {
    {.what = "a name that is not permitted",
     .cause = NOT_PERMITTED,
     .whose = "CN=Leaf",
     MIDDLE(.constraints = "critical,permitted;DNS:other.test")},
    {.what = "a name that the root does not permit",
     .cause = NOT_PERMITTED,
     .whose = "CN=Leaf",
     ROOT(.constraints = "critical,permitted;DNS:other.test")},
    {.what = "a name that is excluded",
     .cause = EXCLUDED,
     .whose = "CN=Leaf",
     MIDDLE(.constraints = "critical,excluded;DNS:test")},
    {.what = "a second name that is not permitted",
     .cause = NOT_PERMITTED,
     .whose = "CN=Leaf",
     MIDDLE(.constraints = "critical,permitted;DNS:server.test"),
     LEAF(.san = "DNS:server.test,DNS:other.test")},
    {.what = "a wildcard that is excluded",
     .cause = EXCLUDED,
     .whose = "CN=Leaf",
     .servers_only = true,
     MIDDLE(.constraints = "critical,excluded;DNS:wild.test"),
     LEAF(.san = "DNS:*.wild.test"),
     .spec.wanted = "a.wild.test"},
    {.what = "an address that is not permitted",
     .cause = NOT_PERMITTED,
     .whose = "CN=Leaf",
     MIDDLE(.constraints = "critical,permitted;IP:10.0.0.0/255.0.0.0"),
     LEAF(.san = "IP:127.0.0.1"),
     .spec.wanted = "127.0.0.1"},
    {.what = "an address that is excluded",
     .cause = EXCLUDED,
     .whose = "CN=Leaf",
     MIDDLE(.constraints = "critical,excluded;IP:127.0.0.0/255.0.0.0"),
     LEAF(.san = "IP:127.0.0.1"),
     .spec.wanted = "127.0.0.1"},
    {.what = "an unknown extension",
     .cause = CRITICAL,
     .whose = "CN=Leaf",
     LEAF(.extension = "1.2.3.4=critical,DER:0500")},
    {.what = "an unknown extension of the intermediate",
     .cause = CRITICAL,
     .whose = "CN=Middle",
     MIDDLE(.extension = "1.2.3.4=critical,DER:0500")},
    {.what = "names that are no list",
     .cause = MALFORMED,
     .version = WEIR_TLS_1_3,
     .whose = "CN=Leaf",
     LEAF(.san = "NONE", .extension = "subjectAltName=DER:30ff00")},
    {.what = "two lists of names",
     .cause = MALFORMED,
     .version = WEIR_TLS_1_3,
     .whose = "CN=Leaf",
     LEAF(.extension = "subjectAltName=DNS:server.test")},
    {.what = "an address of five bytes",
     .cause = OTHER_NAME,
     .whose = "CN=Leaf",
     .servers_only = true,
     LEAF(.san = "NONE", .extension = "subjectAltName=DER:300787057f00000100"),
     .spec.wanted = "127.0.0.1"},
};

BAD(names)
BAD(dates)
BAD(purposes)
BAD(signatures)
BAD(extensions)
BAD_OF_CLIENTS(dates)
BAD_OF_CLIENTS(purposes)
BAD_OF_CLIENTS(signatures)
BAD_OF_CLIENTS(extensions)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_servers),      cmocka_unit_test(dates_of_servers),
        cmocka_unit_test(purposes_of_servers),   cmocka_unit_test(signatures_of_servers),
        cmocka_unit_test(extensions_of_servers), cmocka_unit_test(dates_of_clients),
        cmocka_unit_test(purposes_of_clients),   cmocka_unit_test(signatures_of_clients),
        cmocka_unit_test(extensions_of_clients),
    };

    return cmocka_run_group_tests_name("tls_certificates", tests, NULL, NULL);
}
