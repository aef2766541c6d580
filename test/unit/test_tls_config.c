/* Configurations: what they take, what they refuse and how they say so. */
#include "support/tls_fixture.h"
#include "sys.h"
#include "tls/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- wrong use ------------------------------------------------------------------------------- */

static weir_tls_config *choose_nothing(void *arg, const char *name)
{
    (void)arg, (void)name;
    return NULL;
}

#define CHANGES 17

/* Every call that changes a configuration, with arguments that are fine. */
static int change(int which, weir_tls_config *c)
{
    const struct pki_standard *p = pki_standard();
    const char *crl = PKI_CRL(.issuer = p->ca);
    struct pki_bytes staple = PKI_OCSP(.cert = p->server, .issuer = p->intermediate);

    switch (which) {
    case 0:
        return weir_tls_config_trust_system(c);
    case 1:
        return weir_tls_config_trust_file(c, p->ca_file);
    case 2:
        return weir_tls_config_trust_directory(c, pki_hashed_directory(p->ca));
    case 3:
        return weir_tls_config_trust_memory(c, p->ca_pem, strlen(p->ca_pem));
    case 4:
        return weir_tls_config_revoked_file(c, pki_text_file("crl.pem", crl));
    case 5:
        return weir_tls_config_revoked_memory(c, crl, strlen(crl));
    case 6:
        return weir_tls_config_require_staple(c);
    case 7:
        return weir_tls_config_trust_anyone_insecurely(c);
    case 8:
        return weir_tls_config_certificate_files(c, p->server_file, p->server_key_file);
    case 9:
        return weir_tls_config_certificate_memory(c, p->server_pem, strlen(p->server_pem),
                                                  p->server_key_pem, strlen(p->server_key_pem));
    case 10:
        return weir_tls_config_certificate_choose(c, choose_nothing, NULL);
    case 11:
        return weir_tls_config_staple_memory(c, staple.bytes, staple.len);
    case 12:
        return weir_tls_config_ask_client(c, WEIR_TLS_CLIENT_OPTIONAL);
    case 13:
        return weir_tls_config_versions(c, WEIR_TLS_1_2, WEIR_TLS_1_3);
    case 14:
        return weir_tls_config_ciphers(c, "ECDHE+AESGCM");
    case 15:
        return weir_tls_config_alpn(c, "h2");
    case 16:
        return weir_tls_config_resume(c, true);
    default:
        return weir_tls_config_log_keys(c, pki_text_file("keys.log", ""));
    }
}

static void every_change_works_before_use_and_none_after(void **state)
{
    weir_socket *s;

    (void)state;
    for (int i = 0; i <= CHANGES; i++) {
        assert_int_equal(change(i, NULL), -EINVAL);
        if (change(i, config) != 0)
            fail_msg("change %d", i);
    }
    assert_int_equal(weir_socket_open(&s, AF_INET, SOCK_STREAM, 0), 0);
    assert_int_equal(weir_set_tls(s, config, "a.test"), 0);
    for (int i = 0; i <= CHANGES; i++)
        if (change(i, config) != -EBUSY)
            fail_msg("change %d", i);
    check_story("cannot be changed once it is used");
    weir_close(s);
}

static void null_is_refused(void **state)
{
    (void)state;
    assert_int_equal(weir_tls_config_open(NULL), -EINVAL);
    assert_null(weir_tls_config_ref(NULL));
    assert_int_equal(weir_tls_config_close(NULL), 0);
    assert_int_equal(weir_tls_config_trust_file(config, NULL), -EINVAL);
    assert_int_equal(weir_tls_config_trust_directory(config, NULL), -EINVAL);
    assert_int_equal(weir_tls_config_trust_memory(config, NULL, 1), -EINVAL);
    assert_int_equal(weir_tls_config_revoked_file(config, NULL), -EINVAL);
    assert_int_equal(weir_tls_config_revoked_memory(config, NULL, 0), -EINVAL);
    assert_int_equal(weir_tls_config_certificate_files(config, NULL, "x"), -EINVAL);
    assert_int_equal(weir_tls_config_certificate_files(config, "x", NULL), -EINVAL);
    assert_int_equal(weir_tls_config_certificate_memory(config, NULL, 0, "", 0), -EINVAL);
    assert_int_equal(weir_tls_config_certificate_memory(config, "", 0, NULL, 0), -EINVAL);
    assert_int_equal(weir_tls_config_certificate_choose(config, NULL, NULL), -EINVAL);
    assert_int_equal(weir_tls_config_staple_file(config, NULL), -EINVAL);
    assert_int_equal(weir_tls_config_staple_memory(config, NULL, 0), -EINVAL);
    assert_int_equal(weir_tls_config_ciphers(config, NULL), -EINVAL);
    assert_int_equal(weir_tls_config_alpn(config, NULL), -EINVAL);
    assert_int_equal(weir_tls_config_log_keys(config, NULL), -EINVAL);
}

static void references_are_counted(void **state)
{
    weir_tls_config *c;

    (void)state;
    assert_int_equal(weir_tls_config_open(&c), 0);
    assert_ptr_equal(weir_tls_config_ref(c), c);
    assert_int_equal(weir_tls_config_close(c), 0);
    assert_int_equal(weir_tls_config_require_staple(c), 0); /* still there */
    assert_int_equal(weir_tls_config_close(c), 0);
}

static void a_server_needs_a_certificate(void **state)
{
    weir_socket *pair[2];
    char story[256];

    (void)state;
    assert_int_equal(weir_pair(pair, SOCK_STREAM), 0);
    assert_int_equal(weir_set_tls(pair[0], config, NULL), -EINVAL);
    weir_error_detail(pair[0], story, sizeof story);
    assert_string_equal(story, "a server needs a certificate, a client the name of its peer");
    /* It was not used by that. */
    assert_int_equal(change(9, config), 0);
    assert_int_equal(weir_set_tls(pair[0], config, NULL), 0);
    weir_close(pair[0]);
    weir_close(pair[1]);
}

static void a_listener_needs_a_configuration(void **state)
{
    weir_socket *s = NULL;
    char story[256];

    (void)state;
    assert_int_equal(weir_listen_on(&s, "tls://127.0.0.1:0", NULL), -EINVAL);
    weir_error_detail(NULL, story, sizeof story);
    assert_non_null(strstr(story, "needs a configuration with a certificate"));
    assert_int_equal(weir_listen_on(&s, "tls://127.0.0.1:0", WEIR_LISTEN_OPTIONS(.tls = config)),
                     -EINVAL);
    weir_error_detail(NULL, story, sizeof story);
    assert_non_null(strstr(story, "a server needs a certificate"));
    assert_null(s);
}

/* Who forgets the scheme must not talk in the clear. */
static void tls_is_not_asked_for_in_vain(void **state)
{
    weir_socket *s = NULL;
    char story[256];

    (void)state;
    assert_int_equal(weir_dial(&s, "127.0.0.1:1", WEIR_DIAL_OPTIONS(.tls = config)), -EINVAL);
    weir_error_detail(NULL, story, sizeof story);
    assert_string_equal(story, "TLS was asked for, and 127.0.0.1:1 does not begin with tls://");
    assert_int_equal(weir_dial(&s, "unix:@none", WEIR_DIAL_OPTIONS(.tls_name = "a.test")), -EINVAL);
    assert_int_equal(weir_listen_on(&s, "tcp://127.0.0.1:0", WEIR_LISTEN_OPTIONS(.tls = config)),
                     -EINVAL);
    assert_null(s);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void files_that_cannot_be_read_are_named(void **state)
{
    const struct pki_standard *p = pki_standard();

    (void)state;
    assert_int_equal(weir_tls_config_trust_file(config, "/no/such.pem"), -ENOENT);
    check_story("cannot open \"/no/such.pem\": no such file or directory");
    assert_int_equal(weir_tls_config_revoked_file(config, "/no/such.crl"), -ENOENT);
    check_story("\"/no/such.crl\"");
    assert_int_equal(weir_tls_config_certificate_files(config, p->server_file, "/no/key"), -ENOENT);
    check_story("\"/no/key\"");
    assert_int_equal(weir_tls_config_staple_file(config, "/no/staple"), -ENOENT);
    check_story("\"/no/staple\"");
    assert_int_equal(weir_tls_config_trust_directory(config, "/no/such"), -ENOENT);
    check_story("\"/no/such\"");
    assert_int_equal(weir_tls_config_log_keys(config, "/no/such/log"), -ENOENT);
    check_story("\"/no/such/log\"");
    assert_int_equal(weir_tls_config_trust_file(config, "/"), -EISDIR);
    check_story("cannot read \"/\": is a directory");
    assert_int_equal(weir_tls_config_trust_directory(config, p->ca_file), -ENOTDIR);
}

static void content_that_is_none_is_told(void **state)
{
    const struct pki_standard *p = pki_standard();
    const char *junk = pki_text_file("junk", "neither this nor that\n");

    (void)state;
    assert_int_equal(weir_tls_config_trust_file(config, junk), -EINVAL);
    check_story("junk\": there is no certificate in it");
    assert_int_equal(weir_tls_config_trust_memory(config, "", 0), -EINVAL);
    check_story("what was given: there is no certificate in it");
    assert_int_equal(weir_tls_config_revoked_file(config, junk), -EINVAL);
    check_story("junk\": there is no revocation list in it");
    assert_int_equal(weir_tls_config_certificate_files(config, junk, p->server_key_file), -EINVAL);
    check_story("junk\": there is no certificate in it");
    assert_int_equal(weir_tls_config_certificate_files(config, p->server_file, junk), -EINVAL);
    check_story("junk\": there is no private key in it");
    assert_int_equal(change(9, config), 0);
    assert_int_equal(weir_tls_config_staple_file(config, junk), -EINVAL);
    check_story("junk\": this is no OCSP response");
}

static void a_broken_block_is_counted(void **state)
{
    const struct pki_standard *p = pki_standard();
    char *two;

    (void)state;
    assert_true(asprintf(&two, "%s%s", p->ca_pem, p->ca_pem) > 0);
    char *second = strstr(two + 10, "-----BEGIN");
    memset(strchr(second, '\n') + 10, '!', 40);
    assert_int_equal(weir_tls_config_trust_memory(config, two, strlen(two)), -EINVAL);
    check_story("what was given: certificate 2: bad base64");
    free(two);
}

static void what_stands_around_pem_does_not_matter(void **state)
{
    const struct pki_standard *p = pki_standard();
    char *both;
    const char *file;

    (void)state;
    /* Chain and key in one file, in either order, with remarks. */
    for (int i = 0; i < 2; i++) {
        assert_true(asprintf(&both, "a remark\n%s\nanother\n%s\nend",
                             i ? p->server_key_pem : p->server_pem,
                             i ? p->server_pem : p->server_key_pem) > 0);
        file = pki_text_file("both.pem", both);
        assert_int_equal(weir_tls_config_certificate_files(config, file, file), 0);
        assert_int_equal(add_memory(both, both), 0);
        free(both);
    }
}

static void large_files_are_refused(void **state)
{
    static char blanks[(1 << 20) + 1];
    const struct pki_standard *p = pki_standard();

    (void)state;
    memset(blanks, ' ', sizeof blanks);
    const char *file = pki_file("large", blanks, sizeof blanks);
    assert_int_equal(weir_tls_config_certificate_files(config, p->server_file, file), -EINVAL);
    check_story("is larger than 1048576 bytes");
    assert_int_equal(weir_tls_config_trust_file(config, file), -EINVAL);
    check_story("there is no certificate in it");
}

/* ---- certificates and keys ------------------------------------------------------------------- */

static void keys_that_cannot_be_used_are_told(void **state)
{
    const struct pki_standard *p = pki_standard();
    pki_cert *weak = PKI_CERT(.issuer = p->ca, .subject = "/CN=weak", .key = PKI_RSA_1024),
             *old = PKI_CERT(.issuer = p->ca, .subject = "/CN=old", .digest = "SHA1");

    (void)state;
    assert_int_equal(add_memory(p->server_pem, pki_key_pem_encrypted(p->server)), -EINVAL);
    check_story("the key: the key is encrypted");
    assert_int_equal(add_memory(p->server_pem, p->client_key_pem), -EINVAL);
    check_story("the key belongs to another certificate");
    assert_int_equal(add_memory(PKI_PEM(p->intermediate, p->server), p->server_key_pem), -EINVAL);
    check_story("the key belongs to another certificate");
    assert_int_equal(add_memory(PKI_PEM(weak), pki_key_pem(weak)), -EINVAL);
    check_story("the key is too weak");
    assert_int_equal(add_memory(PKI_PEM(old), pki_key_pem(old)), -EINVAL);
    check_story("signed with a hash that is too weak");
    assert_null(config->identities);
    /* The same for one that is not the first of its kind. */
    assert_int_equal(change(9, config), 0);
    assert_int_equal(add_memory(p->server_pem, p->client_key_pem), -EINVAL);
    check_story("the key belongs to another certificate");
    assert_int_equal(add_memory(PKI_PEM(old), pki_key_pem(old)), -EINVAL);
    assert_null(config->identities->next);
}

static void a_staple_wants_a_certificate(void **state)
{
    static const char large[70000];

    (void)state;
    assert_int_equal(change(11, config), -ENOENT);
    check_story("there is no certificate to staple it to");
    assert_int_equal(weir_tls_config_staple_memory(config, large, sizeof large), -EINVAL);
}

/* ---- what fails ------------------------------------------------------------------------------ */

static int left;

static int fail_one(enum sys_call call)
{
    if (call != SYS_ALLOC && call != SYS_OPEN && call != SYS_RECV)
        return 0;
    return left-- == 0 ? call == SYS_ALLOC ? -ENOMEM : -EIO : 0;
}

static const struct sys_faults failing = {.error = fail_one};

/* Whatever fails is told, nothing leaks, and the same call works afterwards. */
static void every_failure_is_survived(void **state)
{
    (void)state;
    for (int i = 0; i <= CHANGES; i++)
        for (int nth = 0, failed = 1; failed; nth++) {
            change(i, config); /* files and the like are there */
            left = nth;
            sys_faults = &failing;
            int rc = change(i, config);
            sys_faults = NULL;
            failed = left < 0;
            if (rc != 0 && rc != -ENOMEM && rc != -EIO)
                fail_msg("change %d, failure %d: %d", i, nth, rc);
            if (failed && rc == 0 && i != 17)
                fail_msg("change %d hides failure %d", i, nth);
        }
    for (int nth = 0, rc = -1; rc; nth++) {
        weir_tls_config *c;
        left = nth;
        sys_faults = &failing;
        rc = weir_tls_config_open(&c);
        sys_faults = NULL;
        assert_true(rc == 0 || rc == -ENOMEM);
        if (rc == 0)
            weir_tls_config_close(c);
    }
}

/* A file that comes in pieces, interrupted now and then, is read all the same. */
static size_t little(enum sys_call call, size_t len)
{
    return call == SYS_RECV && len > 7 ? 7 : len;
}

static int interrupt(enum sys_call call)
{
    static int count;

    return call == SYS_RECV && ++count % 3 == 0 ? -EINTR : 0;
}

static const struct sys_faults in_pieces = {.amount = little, .error = interrupt};

static void files_are_read_in_pieces(void **state)
{
    (void)state;
    sys_faults = &in_pieces;
    int rc = change(8, config);
    sys_faults = NULL;
    assert_int_equal(rc, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(every_change_works_before_use_and_none_after),
        CONFIG_TEST(null_is_refused),
        CONFIG_TEST(references_are_counted),
        CONFIG_TEST(a_server_needs_a_certificate),
        CONFIG_TEST(a_listener_needs_a_configuration),
        CONFIG_TEST(tls_is_not_asked_for_in_vain),
        CONFIG_TEST(files_that_cannot_be_read_are_named),
        CONFIG_TEST(content_that_is_none_is_told),
        CONFIG_TEST(a_broken_block_is_counted),
        CONFIG_TEST(what_stands_around_pem_does_not_matter),
        CONFIG_TEST(large_files_are_refused),
        CONFIG_TEST(keys_that_cannot_be_used_are_told),
        CONFIG_TEST(a_staple_wants_a_certificate),
        CONFIG_TEST(every_failure_is_survived),
        CONFIG_TEST(files_are_read_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, tls_fixture_end);
}
