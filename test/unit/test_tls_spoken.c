/* What a configuration makes of a connection: versions, ciphers, protocols, trust, secrets. */
#include "support/tls_fixture.h"
#include "sys.h"
#include "tls/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- what is spoken -------------------------------------------------------------------------- */

static void versions(void **state)
{
    static const int bad[][2] = {{0x0301, 0x0304}, {0x0303, 0x0305}, {0x0304, 0x0303}, {0, 0}};
    struct meeting m;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(weir_tls_config_versions(config, bad[i][0], bad[i][1]), -EINVAL);
    check_story("versions are WEIR_TLS_1_2 and WEIR_TLS_1_3");
    for (int v = WEIR_TLS_1_2; v <= WEIR_TLS_1_3; v++) {
        weir_tls_config *client = meeting_client(), *server = meeting_server(NULL, NULL);
        assert_int_equal(weir_tls_config_versions(client, v, v), 0);
        meeting_hold(&m, client, server, "server.test");
        assert_int_equal(m.client.rc, 0);
        assert_int_equal(m.client.state.version, v);
        meeting_end(&m);
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
}

static void no_common_version_is_told(void **state)
{
    weir_tls_config *client = meeting_client(), *server = meeting_server(NULL, NULL);
    struct meeting m;

    (void)state;
    weir_tls_config_versions(client, WEIR_TLS_1_2, WEIR_TLS_1_2);
    weir_tls_config_versions(server, WEIR_TLS_1_3, WEIR_TLS_1_3);
    meeting_hold(&m, client, server, "server.test");
    assert_int_equal(m.server.rc, WEIR_ETLS);
    assert_string_equal(m.server.story, "the peer offers no version of TLS that is allowed here");
    assert_int_equal(m.client.rc, WEIR_ETLS);
    assert_string_equal(m.client.story, "the peer refuses: protocol version (alert 70)");
    meeting_end(&m);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

/* The cipher that is agreed on when the client has that list; "" if none is. */
static const char *agreed(const char *ciphers, int version)
{
    static struct meeting m;
    weir_tls_config *client = meeting_client(), *server = meeting_server(NULL, NULL);

    assert_int_equal(weir_tls_config_ciphers(client, ciphers), 0);
    assert_int_equal(weir_tls_config_versions(client, version, version), 0);
    meeting_hold(&m, client, server, "server.test");
    meeting_end(&m);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
    return m.client.rc == 0 ? m.client.state.cipher : "";
}

static void ciphers(void **state)
{
    static const char tls12[] = "ECDHE-ECDSA-CHACHA20-POLY1305", tls13[] = "TLS_AES_128_GCM_SHA256";
    static const char *const bad[] = {
        "", ":", "NONSENSE", "TLS_NONSENSE:TLS_X", "aNULL:eNULL", "NULL-SHA256", "!ALL:-ALL"};

    (void)state;
    assert_string_equal(agreed(tls12, WEIR_TLS_1_2), tls12);
    assert_string_equal(agreed(tls13, WEIR_TLS_1_3), tls13);
    assert_string_equal(
        agreed("TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-CHACHA20-POLY1305", WEIR_TLS_1_2), tls12);
    assert_string_equal(
        agreed("ECDHE-ECDSA-CHACHA20-POLY1305:TLS_AES_128_GCM_SHA256", WEIR_TLS_1_3), tls13);
    /* What is not named keeps its defaults. */
    assert_string_equal(agreed(tls12, WEIR_TLS_1_3), "TLS_AES_256_GCM_SHA384");
    assert_string_equal(agreed(tls13, WEIR_TLS_1_2), "ECDHE-ECDSA-AES256-GCM-SHA384");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (weir_tls_config_ciphers(config, bad[i]) != -EINVAL)
            fail_msg("\"%s\" was taken", bad[i]);
}

/* A key that may only encrypt serves whoever still wants to use it so, and nobody else. */
static void keys_that_only_encrypt(void **state)
{
    static const struct {
        const char *cipher;
        int rc;
    } cases[] = {{"AES128-GCM-SHA256", 0}, {"ECDHE-RSA-AES128-GCM-SHA256", WEIR_ECERT}};
    pki_cert *leaf = PKI_CERT(.issuer = pki_standard()->ca, .subject = "/CN=a", .san = "DNS:a.test",
                              .key = PKI_RSA_2048, .usage = "critical,keyEncipherment");

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_tls_config *client = meeting_client(),
                        *server = meeting_server(PKI_PEM(leaf), pki_key_pem(leaf));
        struct meeting m;
        assert_int_equal(weir_tls_config_ciphers(server, cases[i].cipher), 0);
        assert_int_equal(weir_tls_config_ciphers(client, cases[i].cipher), 0);
        weir_tls_config_versions(client, WEIR_TLS_1_2, WEIR_TLS_1_2);
        meeting_hold(&m, client, server, "a.test");
        assert_int_equal(m.client.rc, cases[i].rc);
        if (cases[i].rc)
            assert_non_null(strstr(m.client.story, "its key usage forbids it"));
        meeting_end(&m);
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
}

/* Nothing that is written there lets anybody in without a good certificate. */
static void ciphers_do_not_weaken_certificates(void **state)
{
    pki_cert *weak =
        PKI_CERT(.issuer = pki_standard()->ca, .subject = "/CN=weak", .digest = "SHA1");

    (void)state;
    assert_int_equal(weir_tls_config_ciphers(config, "ALL:COMPLEMENTOFALL:@SECLEVEL=0"), 0);
    assert_int_equal(SSL_CTX_get_security_level(config->ctx), 2);
    assert_int_equal(add_memory(PKI_PEM(weak), pki_key_pem(weak)), -EINVAL);
    STACK_OF(SSL_CIPHER) *list = SSL_CTX_get_ciphers(config->ctx);
    for (int i = 0; i < sk_SSL_CIPHER_num(list); i++) {
        const SSL_CIPHER *c = sk_SSL_CIPHER_value(list, i);
        assert_int_not_equal(SSL_CIPHER_get_auth_nid(c), NID_auth_null);
        assert_int_not_equal(SSL_CIPHER_get_cipher_nid(c), NID_undef);
    }
}

static void protocols(void **state)
{
    static const char *const bad[] = {"", ",", "h2,", ",h2", "h2,,http/1.1"};
    static const struct {
        const char *client, *server, *agreed; /* NULL: none offered; refused */
    } cases[] = {
        {"h2,http/1.1", "http/1.1,h2", "http/1.1"},
        {"http/1.1", "h2,http/1.1", "http/1.1"},
        {"h2", NULL, ""},
        {NULL, "h2", ""},
        {"http/1.1", "h2", NULL},
        {"h2c", "h2", NULL},
    };
    char *long_name;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(weir_tls_config_alpn(config, bad[i]), -EINVAL);
    assert_true(asprintf(&long_name, "%0256d", 1) > 0);
    assert_int_equal(weir_tls_config_alpn(config, long_name), -EINVAL);
    assert_int_equal(weir_tls_config_alpn(config, long_name + 1), 0);
    free(long_name);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_tls_config *client = meeting_client(), *server = meeting_server(NULL, NULL);
        struct meeting m;
        if (cases[i].client)
            assert_int_equal(weir_tls_config_alpn(client, cases[i].client), 0);
        if (cases[i].server)
            assert_int_equal(weir_tls_config_alpn(server, cases[i].server), 0);
        meeting_hold(&m, client, server, "server.test");
        assert_int_equal(m.client.rc, cases[i].agreed ? 0 : WEIR_ETLS);
        if (cases[i].agreed) {
            assert_string_equal(m.client.state.alpn, cases[i].agreed);
            assert_string_equal(m.server.state.alpn, cases[i].agreed);
        } else {
            assert_non_null(strstr(m.server.story, "no application protocol that is spoken here"));
        }
        meeting_end(&m);
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
}

/* ---- trust ----------------------------------------------------------------------------------- */

static void trust_adds_up(void **state)
{
    pki_cert *one = PKI_CERT(.ca = true, .subject = "/CN=one"),
             *two = PKI_CERT(.ca = true, .subject = "/CN=two"),
             *three = PKI_CERT(.ca = true, .subject = "/CN=three"), *leaf;
    const pki_cert *roots[] = {one, two, three};
    weir_tls_config *client;
    const char *pem = PKI_PEM(one);

    (void)state;
    assert_int_equal(weir_tls_config_open(&client), 0);
    assert_int_equal(weir_tls_config_trust_memory(client, pem, strlen(pem)), 0);
    assert_int_equal(weir_tls_config_trust_file(client, pki_text_file("two", PKI_PEM(two))), 0);
    assert_int_equal(weir_tls_config_trust_directory(client, pki_hashed_directory(three)), 0);
    for (int i = 0; i < 3; i++) {
        leaf = PKI_CERT(.issuer = roots[i], .subject = "/CN=x", .san = "DNS:x.test");
        weir_tls_config *server = meeting_server(PKI_PEM(leaf), pki_key_pem(leaf));
        assert_int_equal(meet(client, server, "x.test"), 0);
        weir_tls_config_close(server);
    }
    weir_tls_config *server = meeting_server(NULL, NULL);
    assert_int_equal(meet(client, server, "server.test"), WEIR_ECERT);
    weir_tls_config_close(server);
    weir_tls_config_close(client);
}

/* What the system trusts, here one authority, is for clients that name nobody, and for those who
 * ask for it; not for servers. */
static void the_system_is_trusted_by_default(void **state)
{
    const struct pki_standard *p = pki_standard();
    const char *other = PKI_PEM(PKI_CERT(.ca = true, .subject = "/CN=other"));
    pki_cert *both = PKI_CERT(.issuer = p->ca, .subject = "/CN=both", .san = "DNS:server.test",
                              .purpose = "serverAuth,clientAuth");
    weir_tls_config *server = meeting_server(NULL, NULL), *client;

    (void)state;
    setenv("SSL_CERT_FILE", p->ca_file, 1);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(weir_tls_config_open(&client), 0);
        if (i & 1)
            assert_int_equal(weir_tls_config_trust_memory(client, other, strlen(other)), 0);
        if (i & 2)
            assert_int_equal(weir_tls_config_trust_system(client), 0);
        assert_int_equal(meet(client, server, "server.test"), i == 1 ? WEIR_ECERT : 0);
        weir_tls_config_close(client);
    }
    /* The same configuration on both sides, with a certificate for both: its server trusts
     * nobody. */
    assert_int_equal(weir_tls_config_open(&client), 0);
    meeting_add(client, both, NULL);
    weir_tls_config_ask_client(client, WEIR_TLS_CLIENT_REQUIRED);
    assert_int_equal(meet(client, server, "server.test"), 0);
    assert_int_equal(meet(client, client, "server.test"), WEIR_ETLS);
    unsetenv("SSL_CERT_FILE");
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

static void the_default_configuration_is_one(void **state)
{
    weir_tls_config *one, *two;

    (void)state;
    assert_int_equal(tls_default_config(&one), 0);
    assert_int_equal(tls_default_config(&two), 0);
    assert_ptr_equal(one, two);
    assert_false(one->insecure);
    weir_tls_config_close(one);
    weir_tls_config_close(two);
}

/* ---- what is asked of clients ---------------------------------------------------------------- */

static void clients_are_asked(void **state)
{
    static const struct {
        weir_tls_client what;
        int shows; /* 0: nothing, 1: a good one, 2: somebody else's */
        int rc;    /* of the server */
        const char *story;
    } cases[] = {
        {WEIR_TLS_CLIENT_NONE, 0, 0, NULL},
        {WEIR_TLS_CLIENT_NONE, 2, 0, NULL},
        {WEIR_TLS_CLIENT_OPTIONAL, 0, 0, NULL},
        {WEIR_TLS_CLIENT_OPTIONAL, 1, 0, NULL},
        {WEIR_TLS_CLIENT_OPTIONAL, 2, WEIR_ECERT, "that is not trusted"},
        {WEIR_TLS_CLIENT_REQUIRED, 0, WEIR_ETLS, "the client has shown no certificate"},
        {WEIR_TLS_CLIENT_REQUIRED, 1, 0, NULL},
        {WEIR_TLS_CLIENT_REQUIRED, 2, WEIR_ECERT, "that is not trusted"},
    };
    const struct pki_standard *p = pki_standard();
    pki_cert *other = PKI_CERT(.issuer = PKI_CERT(.ca = true, .subject = "/CN=other"),
                               .subject = "/CN=stranger", .purpose = "clientAuth");

    (void)state;
    assert_int_equal(weir_tls_config_ask_client(config, (weir_tls_client)3), -EINVAL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_tls_config *client = meeting_client(), *server = meeting_server(NULL, NULL);
        struct meeting m;
        weir_tls_config_ask_client(server, cases[i].what);
        weir_tls_config_trust_memory(server, p->ca_pem, strlen(p->ca_pem));
        if (cases[i].shows)
            meeting_add(client, cases[i].shows == 1 ? p->client : other, NULL);
        meeting_hold(&m, client, server, "server.test");
        assert_int_equal(m.server.rc, cases[i].rc);
        if (cases[i].rc)
            assert_non_null(strstr(m.server.story, cases[i].story));
        else
            assert_int_equal(m.server.state.peer_verified, cases[i].what && cases[i].shows == 1);
        meeting_end(&m);
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
}

/* Of several certificates of a client the first of each kind of key counts, and of these what the
 * server can read. */
static void clients_show_what_suits(void **state)
{
    const struct pki_standard *p = pki_standard();
    pki_cert *rsa = PKI_CERT(.issuer = p->ca, .subject = "/CN=rsa", .purpose = "clientAuth",
                             .key = PKI_RSA_2048),
             *second = PKI_CERT(.issuer = p->ca, .subject = "/CN=second", .purpose = "clientAuth");
    weir_tls_config *client = meeting_client();
    struct meeting m;

    (void)state;
    meeting_add(client, p->client, NULL);
    meeting_add(client, rsa, NULL);
    meeting_add(client, second, NULL);
    for (int i = 0; i < 2; i++) {
        weir_tls_config *server = meeting_server(NULL, NULL);
        weir_tls_config_trust_memory(server, p->ca_pem, strlen(p->ca_pem));
        weir_tls_config_ask_client(server, WEIR_TLS_CLIENT_REQUIRED);
        SSL_CTX_set1_client_sigalgs_list(server->ctx,
                                         i ? "rsa_pss_rsae_sha256" : "ecdsa_secp256r1_sha256");
        meeting_hold(&m, client, server, "server.test");
        assert_int_equal(m.server.rc, 0);
        if (i)
            assert_string_equal(m.server.state.subject, "CN=rsa");
        else
            assert_non_null(strstr(m.server.state.subject, "CN=client"));
        meeting_end(&m);
        weir_tls_config_close(server);
    }
    weir_tls_config_close(client);
}

/* Clients with several certificates choose by the names of authorities that a server sends. */
static void servers_name_whom_they_trust(void **state)
{
    const struct pki_standard *p = pki_standard();

    (void)state;
    assert_int_equal(weir_tls_config_trust_memory(config, p->ca_pem, strlen(p->ca_pem)), 0);
    const STACK_OF(X509_NAME) *names = SSL_CTX_get_client_CA_list(config->ctx);
    assert_int_equal(sk_X509_NAME_num(names), 1);
    assert_int_equal(
        X509_NAME_cmp(sk_X509_NAME_value(names, 0), X509_get_subject_name((X509 *)p->ca->x509)), 0);
}

/* ---- secrets --------------------------------------------------------------------------------- */

static void secrets_are_appended(void **state)
{
    const char *path = pki_text_file("secrets", "kept\n");
    weir_tls_config *client = meeting_client(), *server = meeting_server(NULL, NULL);
    char line[1024];
    int lines = 0, secrets = 0;
    struct stat status;

    (void)state;
    assert_int_equal(weir_tls_config_log_keys(client, path), 0);
    assert_int_equal(meet(client, server, "server.test"), 0);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (; fgets(line, sizeof line, f); lines++) {
        assert_true(lines || strcmp(line, "kept\n") == 0);
        secrets += strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0;
        assert_true(strchr(line, '\n') != NULL);
    }
    fclose(f);
    assert_int_equal(secrets, 1);
    assert_true(lines >= 5);
    /* A new one is nobody else's to read. */
    char fresh[4096];
    snprintf(fresh, sizeof fresh, "%s-fresh", path);
    mode_t mask = umask(0);
    assert_int_equal(weir_tls_config_log_keys(config, fresh), 0);
    umask(mask);
    assert_int_equal(stat(fresh, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    remove(fresh);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

/* ---- the machine's openssl.cnf --------------------------------------------------------------- */

/* Everything as weak as can be; main() has OpenSSL read it. */
static const char weak_settings[] = "openssl_conf = all\n"
                                    "[all]\nssl_conf = ssl\n"
                                    "[ssl]\nsystem_default = weak\n"
                                    "[weak]\n"
                                    "MinProtocol = TLSv1\nMaxProtocol = TLSv1.2\n"
                                    "CipherString = ALL:eNULL:@SECLEVEL=0\n"
                                    "Ciphersuites = TLS_AES_128_CCM_8_SHA256\n"
                                    "SignatureAlgorithms = RSA+SHA1:ECDSA+SHA1\n"
                                    "Groups = P-384\n"
                                    "NumTickets = 9\n"
                                    "VerifyMode = Request\n"
                                    "Options = UnsafeLegacyRenegotiation,-SessionTicket\n";

static void the_machines_settings_change_nothing(void **state)
{
    SSL_CTX *weak = SSL_CTX_new(TLS_method());

    (void)state;
    assert_int_equal(SSL_CTX_get_min_proto_version(weak), TLS1_VERSION); /* it was read */
    SSL_CTX_free(weak);
    assert_int_equal(SSL_CTX_get_min_proto_version(config->ctx), TLS1_2_VERSION);
    assert_int_equal(SSL_CTX_get_max_proto_version(config->ctx), 0);
    assert_int_equal(SSL_CTX_get_security_level(config->ctx), 2);
    assert_int_equal(SSL_CTX_get_num_tickets(config->ctx), 2);
    uint64_t options = SSL_CTX_get_options(config->ctx);
    assert_false(options & (SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION | SSL_OP_NO_TICKET |
                            SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT));
    assert_true(options & SSL_OP_NO_RENEGOTIATION);
    assert_true(options & SSL_OP_NO_COMPRESSION);
    assert_string_equal(agreed("TLS_AES_256_GCM_SHA384", WEIR_TLS_1_3), "TLS_AES_256_GCM_SHA384");
    assert_string_equal(agreed("TLS_AES_256_GCM_SHA384", WEIR_TLS_1_2),
                        "ECDHE-ECDSA-AES256-GCM-SHA384");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(versions),
        CONFIG_TEST(no_common_version_is_told),
        CONFIG_TEST(ciphers),
        CONFIG_TEST(keys_that_only_encrypt),
        CONFIG_TEST(ciphers_do_not_weaken_certificates),
        CONFIG_TEST(protocols),
        CONFIG_TEST(trust_adds_up),
        CONFIG_TEST(the_system_is_trusted_by_default),
        CONFIG_TEST(the_default_configuration_is_one),
        CONFIG_TEST(clients_are_asked),
        CONFIG_TEST(clients_show_what_suits),
        CONFIG_TEST(servers_name_whom_they_trust),
        CONFIG_TEST(secrets_are_appended),
        CONFIG_TEST(the_machines_settings_change_nothing),
    };
    setenv("OPENSSL_CONF", pki_text_file("openssl.cnf", weak_settings), 1);
    unsetenv("SSL_CERT_FILE");
    setenv("SSL_CERT_DIR", "/nonexistent", 1);
    return cmocka_run_group_tests(tests, NULL, tls_fixture_end);
}
