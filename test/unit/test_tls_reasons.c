/* What is told of a certificate that is not good, word by word. */
#include "support/tls_fixture.h"
#include "tls/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *crl; /* NULL: none */

/* The client's story about `leaf`. */
static const char *story(const pki_cert *leaf, const pki_cert *intermediate, const char *name)
{
    static struct meeting m;
    weir_tls_config *server = meeting_server(PKI_PEM(leaf, intermediate), pki_key_pem(leaf)),
                    *client = client_of_root();

    if (crl)
        assert_int_equal(weir_tls_config_revoked_memory(client, crl, strlen(crl)), 0);
    meeting_hold(&m, client, server, name);
    assert_int_equal(m.client.rc, WEIR_ECERT);
    meeting_end(&m);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
    return m.client.story;
}

static const char *text_of(const ASN1_TIME *date)
{
    static char text[64];
    struct tm tm;

    assert_true(ASN1_TIME_to_tm(date, &tm));
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    return text;
}

static void dates(void **state)
{
    pki_cert *old = PKI_CERT(.issuer = root, .subject = "/O=Weir/CN=old", .san = "DNS:old.test",
                             .from_days = -10, .to_days = -2),
             *young = PKI_CERT(.issuer = root, .subject = "/CN=young", .san = "DNS:young.test",
                               .from_days = 2, .to_days = 10);
    char expected[512];

    (void)state;
    snprintf(expected, sizeof expected,
             "the certificate CN=old,O=Weir, issued by CN=Root, expired on %s (wanted: old.test)",
             text_of(X509_get0_notAfter(old->x509)));
    assert_string_equal(story(old, NULL, "old.test"), expected);
    snprintf(expected, sizeof expected,
             "the certificate CN=young, issued by CN=Root, is not valid before %s (wanted: "
             "young.test)",
             text_of(X509_get0_notBefore(young->x509)));
    assert_string_equal(story(young, NULL, "young.test"), expected);
}

static void names(void **state)
{
    pki_cert *two =
                 PKI_CERT(.issuer = root, .subject = "/CN=two", .san = "DNS:a.test,IP:192.0.2.1"),
             *many = PKI_CERT(.issuer = root, .subject = "/CN=many",
                              .san = "DNS:a,DNS:b,DNS:c,DNS:d,DNS:e,DNS:f,DNS:g"),
             *none = PKI_CERT(.issuer = root, .subject = "/CN=none.test"),
             *odd = PKI_CERT(.issuer = root, .subject = "/CN=odd",
                             .san = "DNS:server.test\\0.evil.test"),
             *nameless = PKI_CERT(.issuer = root, .san = "DNS:a.test");

    (void)state;
    assert_string_equal(story(two, NULL, "b.test"), "the certificate CN=two, issued by CN=Root, is "
                                                    "for a.test, 192.0.2.1, not for b.test");
    assert_string_equal(story(two, NULL, "192.0.2.2"),
                        "the certificate CN=two, issued by CN=Root, is for a.test, 192.0.2.1, not "
                        "for 192.0.2.2");
    assert_string_equal(story(many, NULL, "b.test"),
                        "the certificate CN=many, issued by CN=Root, is for a, b, c, d, e and 2 "
                        "more, not for b.test");
    assert_string_equal(story(none, NULL, "none.test"),
                        "the certificate CN=none.test, issued by CN=Root, is for no host at all, "
                        "not for none.test");
    assert_string_equal(story(odd, NULL, "server.test"),
                        "the certificate CN=odd, issued by CN=Root, is for "
                        "server.test\\x00.evil.test, not for server.test");
    assert_string_equal(story(nameless, NULL, "b.test"),
                        "the certificate for a.test, issued by CN=Root, is for a.test, not for "
                        "b.test");
}

static void trust(void **state)
{
    pki_cert *other = PKI_CERT(.ca = true, .subject = "/CN=Other"),
             *between = PKI_CERT(.ca = true, .issuer = root, .subject = "/CN=Between"),
             *alone = PKI_CERT(.subject = "/CN=alone", .san = "DNS:a.test"),
             *below_other = PKI_CERT(.issuer = other, .subject = "/CN=x", .san = "DNS:a.test"),
             *below_between = PKI_CERT(.issuer = between, .subject = "/CN=y", .san = "DNS:a.test");

    (void)state;
    assert_string_equal(story(alone, NULL, "a.test"),
                        "the certificate CN=alone, issued by CN=alone, is signed by itself and not "
                        "trusted (wanted: a.test)");
    assert_string_equal(story(below_other, other, "a.test"),
                        "the certificate CN=x, issued by CN=Other, is signed by an authority that "
                        "is not trusted: CN=Other (wanted: a.test)");
    assert_string_equal(
        story(below_between, NULL, "a.test"),
        "the certificate CN=y, issued by CN=Between, is signed by an authority that "
        "is not trusted, or the chain is incomplete: the certificate of CN=Between "
        "is missing (wanted: a.test)");
}

static void revocation(void **state)
{
    pki_cert *leaf = PKI_CERT(.issuer = root, .subject = "/CN=gone", .san = "DNS:a.test");
    const char *told;

    (void)state;
    crl = PKI_CRL(.issuer = root, .revoked = {leaf});
    told = story(leaf, NULL, "a.test");
    assert_non_null(strstr(told, "the certificate CN=gone, issued by CN=Root, was revoked on 20"));
    crl = PKI_CRL(.issuer = PKI_CERT(.ca = true, .subject = "/CN=Other"));
    assert_string_equal(story(leaf, NULL, "a.test"),
                        "the certificate CN=gone, issued by CN=Root, is covered by no revocation "
                        "list: there is none of its issuer (wanted: a.test)");
    crl = NULL;
}

/* A list is wanted for the peer's own certificate, not for those of authorities. */
static void authorities_need_no_list(void **state)
{
    pki_cert *between = PKI_CERT(.ca = true, .issuer = root, .subject = "/CN=Between"),
             *leaf = PKI_CERT(.issuer = between, .subject = "/CN=y", .san = "DNS:a.test");
    const char *list = PKI_CRL(.issuer = between);
    weir_tls_config *server = meeting_server(PKI_PEM(leaf, between), pki_key_pem(leaf)),
                    *client = client_of_root();
    struct meeting m;

    (void)state;
    weir_tls_config_revoked_memory(client, list, strlen(list));
    meeting_hold(&m, client, server, "a.test");
    assert_int_equal(m.client.rc, 0);
    assert_true(m.client.state.peer_verified);
    meeting_end(&m);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

/* What a certificate says goes to terminals and logs. */
static void foreign_text_is_tame(void **state)
{
    char subject[1024] = "/O=", san[2048] = "";
    pki_cert *leaf;
    const char *told;

    (void)state;
    memset(subject + 3, 'o', 60);
    for (int i = 0; i < 10; i++)
        strcat(subject, "/OU=\x1b[31mred\nline\x7f\xc3\xa9");
    for (int i = 0; i < 5; i++)
        snprintf(san + strlen(san), sizeof san - strlen(san), "%sDNS:%s\x1b[31m%0200d",
                 i ? "," : "", "a", i);
    leaf = PKI_CERT(.issuer = root, .subject = subject, .san = san);
    told = story(leaf, NULL, "a.test");
    for (const char *at = told; *at; at++)
        assert_true((*at >= 0x20 && *at < 0x7f) || strncmp(at, "…", 3) == 0 ||
                    strncmp(at - 1, "…", 3) == 0 || strncmp(at - 2, "…", 3) == 0);
    assert_true(strlen(told) < 1000);
    assert_non_null(strstr(told, "CN=Root"));
}

static void names_are_cut_to_what_is_there(void **state)
{
    pki_cert *leaf = PKI_CERT(.issuer = root, .subject = "/O=Some Organization/CN=x.test");
    X509_NAME *name = X509_get_subject_name((X509 *)leaf->x509);
    char buf[40];

    (void)state;
    for (size_t size = 1; size < sizeof buf; size++) {
        memset(buf, '#', sizeof buf);
        tell_name(name, buf, size);
        assert_true(strlen(buf) < size);
        assert_int_equal(buf[size], '#');
        if (size > 29)
            assert_string_equal(buf, "CN=x.test,O=Some Organization");
        if (size == 12)
            assert_string_equal(buf, "CN=x.tes...");
    }
}

/* ---- OpenSSL's own reasons ------------------------------------------------------------------- */

static char *told_of(int lib, int reason)
{
    char *told = NULL;

    ERR_clear_error();
    ERR_raise(lib, reason);
    tell_reasons(&told);
    assert_int_equal(ERR_peek_error(), 0);
    return told;
}

static void reasons_have_words(void **state)
{
    static const struct {
        int lib, reason;
        const char *words;
    } cases[] = {
        {ERR_LIB_SSL, SSL_R_HTTP_REQUEST, "the peer speaks HTTP, not TLS"},
        {ERR_LIB_SSL, SSL_R_WRONG_VERSION_NUMBER, "the peer does not speak TLS"},
        {ERR_LIB_SSL, SSL_AD_REASON_OFFSET + 48, "the peer refuses: unknown CA (alert 48)"},
        {ERR_LIB_SSL, SSL_R_UNEXPECTED_MESSAGE,
         "the peer sends what is not due now, as one without TLS does that sends back what it is "
         "sent"},
        {ERR_LIB_SSL, SSL_R_LENGTH_MISMATCH, "length mismatch"},
        {ERR_LIB_PEM, PEM_R_BAD_END_LINE, "bad end line"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *told = told_of(cases[i].lib, cases[i].reason);
        assert_string_equal(told, cases[i].words);
        free(told);
    }
}

static void data_of_reasons_is_tame(void **state)
{
    char *told = NULL;

    (void)state;
    ERR_raise_data(ERR_LIB_PEM, PEM_R_BAD_END_LINE, "a\x1b[31mb");
    tell_reasons(&told);
    assert_string_equal(told, "bad end line (a\\x1b[31mb)");
    free(told);
}

static void lack_of_memory_is_not_wrong_content(void **state)
{
    (void)state;
    ERR_raise(ERR_LIB_PEM, ERR_R_MALLOC_FAILURE);
    assert_int_equal(tell_failure("x"), -ENOMEM);
    ERR_raise(ERR_LIB_PEM, PEM_R_BAD_END_LINE);
    assert_int_equal(tell_failure("x"), -EINVAL);
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates),
        cmocka_unit_test(names),
        cmocka_unit_test(trust),
        cmocka_unit_test(revocation),
        cmocka_unit_test(authorities_need_no_list),
        cmocka_unit_test(foreign_text_is_tame),
        cmocka_unit_test(names_are_cut_to_what_is_there),
        cmocka_unit_test(reasons_have_words),
        cmocka_unit_test(data_of_reasons_is_tame),
        cmocka_unit_test(lack_of_memory_is_not_wrong_content),
    };
    return cmocka_run_group_tests(tests, tls_fixture_make_root, tls_fixture_end);
}
