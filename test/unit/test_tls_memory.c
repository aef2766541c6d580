/* When OpenSSL finds no memory: nothing breaks, and nobody is let in for it. */
#include "support/tls_fixture.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static long left = -1; /* allocations before the one that fails; < 0: none does */
static bool failed;

static bool fails(void)
{
    if (left < 0 || left-- > 0)
        return false;
    failed = true;
    return true;
}

static void *allocate(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : malloc(size);
}

static void *reallocate(void *memory, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : realloc(memory, size);
}

static void release(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    free(memory);
}

/* ---- configurations -------------------------------------------------------------------------- */

static const char *crl;
static struct pki_bytes staple;

static int fill(weir_tls_config *c)
{
    const struct pki_standard *p = pki_standard();
    int rc = weir_tls_config_trust_memory(c, p->ca_pem, strlen(p->ca_pem));

    if (rc == 0)
        rc = weir_tls_config_revoked_memory(c, crl, strlen(crl));
    if (rc == 0)
        rc = weir_tls_config_certificate_memory(c, p->server_pem, strlen(p->server_pem),
                                                p->server_key_pem, strlen(p->server_key_pem));
    if (rc == 0)
        rc = weir_tls_config_staple_memory(c, staple.bytes, staple.len);
    if (rc == 0)
        rc = weir_tls_config_ciphers(c, "ECDHE+AESGCM:TLS_AES_128_GCM_SHA256");
    if (rc == 0)
        rc = weir_tls_config_alpn(c, "h2,http/1.1");
    return rc;
}

/* What OpenSSL takes for wrong content is -EINVAL, since it does not always tell. */
static void configurations_survive(void **state)
{
    const struct pki_standard *p = pki_standard();

    (void)state;
    crl = PKI_CRL(.issuer = p->intermediate);
    staple = PKI_OCSP(.cert = p->server, .issuer = p->intermediate);
    for (long n = 0;; n += 17) {
        weir_tls_config *c;
        failed = false;
        left = n;
        int rc = weir_tls_config_open(&c);
        if (rc == 0) {
            rc = fill(c);
            weir_tls_config_close(c);
        }
        left = -1;
        assert_true(rc == 0 || (failed && (rc == -ENOMEM || rc == -EINVAL)));
        if (!failed)
            return;
    }
}

/* ---- handshakes ------------------------------------------------------------------------------ */

/* A meeting during which the nth allocation fails, and what came of it for the client. */
static int meet_without(weir_tls_config *client, weir_tls_config *server, const char *name, long n)
{
    weir_socket *pair[2];
    int rc[2] = {-EAGAIN, -EAGAIN};

    assert_int_equal(weir_pair(pair, SOCK_STREAM), 0);
    for (int i = 0; i < 2; i++) {
        weir_set_blocking(pair[i], false);
        assert_int_equal(weir_set_tls(pair[i], i ? server : client, i ? NULL : name), 0);
    }
    failed = false;
    left = n;
    for (int i = 0; i < 16; i++)
        if (rc[i % 2] == -EAGAIN)
            rc[i % 2] = weir_handshake(pair[i % 2]);
    left = -1;
    weir_close(pair[0]);
    weir_close(pair[1]);
    return rc[0];
}

enum fault { OTHER_NAME, STRANGER, EXPIRED, REVOKED, NO_STAPLE, WRONG_PURPOSE, FAULTS };

static pki_cert *faulty(enum fault fault)
{
    const struct pki_standard *p = pki_standard();
    struct pki_spec spec = {.issuer = p->ca, .subject = "/CN=x", .san = "DNS:x.test"};

    if (fault == OTHER_NAME)
        spec.san = "DNS:y.test";
    if (fault == STRANGER)
        spec.issuer = PKI_CERT(.ca = true, .subject = "/CN=Stranger");
    if (fault == EXPIRED)
        spec.from_days = -9, spec.to_days = -2;
    if (fault == WRONG_PURPOSE)
        spec.purpose = "clientAuth";
    return pki_make(&spec);
}

static void nobody_is_let_in_for_it(void **state)
{
    const struct pki_standard *p = pki_standard();

    (void)state;
    for (enum fault fault = 0; fault < FAULTS; fault++) {
        pki_cert *leaf = faulty(fault);
        weir_tls_config *server = meeting_server(PKI_PEM(leaf), pki_key_pem(leaf)),
                        *client = meeting_client();
        if (fault == REVOKED) {
            const char *list = PKI_CRL(.issuer = p->ca, .revoked = {leaf});
            assert_int_equal(weir_tls_config_revoked_memory(client, list, strlen(list)), 0);
        }
        if (fault == NO_STAPLE)
            assert_int_equal(weir_tls_config_require_staple(client), 0);
        assert_int_equal(meet(client, server, "x.test"), WEIR_ECERT);
        failed = true;
        for (long n = (long)fault; failed; n += 29)
            assert_int_not_equal(meet_without(client, server, "x.test", n), 0);
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations_survive),
        cmocka_unit_test(nobody_is_let_in_for_it),
    };
    if (!CRYPTO_set_mem_functions(allocate, reallocate, release))
        return 1;
    return cmocka_run_group_tests(tests, NULL, tls_fixture_end);
}
