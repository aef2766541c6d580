/* Certificates that have to be accepted, however odd. */
#include "support/pki_private.h"
#include "support/tls_trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct good {
    const char *what;
    bool servers_only; /* of no meaning in a certificate of a client */
    bool not_verified; /* nobody has looked */
    struct trial_spec spec;
};

/* ---- chains ---------------------------------------------------------------------------------- */

/* Root, three authorities, leaf. */
static void make_five(struct trial *t, pki_cert *ret[3])
{
    pki_cert *above = t->root;
    for (int i = 0; i < 3; i++)
        above = ret[i] = PKI_CERT(.issuer = above, .ca = true,
                                  .subject = (const char *const[]){"/CN=A", "/CN=B", "/CN=C"}[i]);
    t->leaf = PKI_CERT(.issuer = above, .subject = "/CN=Leaf", .san = "DNS:server.test",
                       .purpose = "serverAuth,clientAuth");
    t->key = pki_key_pem(t->leaf);
}

static void show_five(struct trial *t)
{
    pki_cert *above[3];
    make_five(t, above);
    t->chain = PKI_PEM(t->leaf, above[2], above[1], above[0]);
}

static void show_five_in_disorder(struct trial *t)
{
    pki_cert *above[3];
    make_five(t, above);
    t->chain = PKI_PEM(t->leaf, above[0], above[2], above[1]);
}

static void show_strangers_as_well(struct trial *t)
{
    pki_cert *stranger = PKI_CERT(.ca = true, .subject = "/CN=Stranger");
    pki_cert *namesake = PKI_CERT(.ca = true, .subject = "/CN=Middle");
    t->chain = PKI_PEM(t->leaf, stranger, namesake, t->middle);
}

static void show_twice(struct trial *t)
{
    t->chain = PKI_PEM(t->leaf, t->middle, t->middle);
}

static void show_root_as_well(struct trial *t)
{
    t->chain = PKI_PEM(t->leaf, t->middle, t->root);
}

static void show_leaf_only(struct trial *t)
{
    t->chain = PKI_PEM(t->leaf);
    t->trust = PKI_PEM(t->root, t->middle);
}

static void trust_middle(struct trial *t)
{
    t->trust = PKI_PEM(t->middle);
}

static void trust_itself(struct trial *t)
{
    t->leaf = PKI_CERT(.subject = "/CN=Leaf", .san = "DNS:server.test",
                       .purpose = "serverAuth,clientAuth");
    t->key = pki_key_pem(t->leaf);
    t->chain = t->trust = PKI_PEM(t->leaf);
}

/* The authority has a new certificate for its old key, the old one is shown. */
static void trust_a_renewed_root(struct trial *t)
{
    t->trust = PKI_PEM(PKI_CERT(.ca = true, .subject = "/CN=Root", .same_as = t->root));
    show_root_as_well(t);
}

static void trust_many(struct trial *t)
{
    t->trust = PKI_PEM(PKI_CERT(.ca = true, .subject = "/CN=A"),
                       PKI_CERT(.ca = true, .subject = "/CN=Root"), t->root,
                       PKI_CERT(.ca = true, .subject = "/CN=B"));
}

static void trust_anyone(struct trial *t)
{
    t->trust_anyone = true;
}

/* ---- revocation ------------------------------------------------------------------------------ */

static void revoke_others(struct trial *t)
{
    pki_cert *other =
        PKI_CERT(.issuer = t->middle, .subject = "/CN=Leaf", .san = "DNS:server.test");
    t->crl = PKI_CRL(.issuer = t->middle, .revoked = {other});
}

static void staple_good(struct trial *t)
{
    struct pki_bytes b = PKI_OCSP(.cert = t->leaf, .issuer = t->middle);
    t->require_staple = true;
    t->staple = b.bytes;
    t->staple_len = b.len;
}

static void staple_of_a_delegate(struct trial *t)
{
    pki_cert *delegate =
        PKI_CERT(.issuer = t->middle, .subject = "/CN=Delegate", .purpose = "OCSPSigning");
    struct pki_bytes b = PKI_OCSP(.cert = t->leaf, .issuer = t->middle, .signer = delegate);
    t->require_staple = true;
    t->staple = b.bytes;
    t->staple_len = b.len;
}

/* ---- names ----------------------------------------------------------------------------------- */

static const char *many_names(void)
{
    static char text[8192];
    size_t len = 0;
    for (int i = 0; i < 200; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "DNS:host%d.many.test,", i);
    snprintf(text + len, sizeof text - len, "DNS:server.test");
    return text;
}

static void give_many_names(struct trial *t)
{
    t->leaf = PKI_CERT(.issuer = t->middle, .subject = "/CN=Leaf", .san = many_names(),
                       .purpose = "serverAuth,clientAuth");
    t->chain = PKI_PEM(t->leaf, t->middle);
    t->key = pki_key_pem(t->leaf);
}

/* A server with `in_san` which is asked for as `asked`. */
#define NAME(title, in_san, asked)                                                                 \
    {                                                                                              \
        .what = (title), .servers_only = true, LEAF(.san = (in_san)), .spec.wanted = (asked)       \
    }

static const struct good names[] = {
    NAME("the name", "DNS:server.test", "server.test"),
    NAME("capitals that are asked for", "DNS:server.test", "SERVER.Test"),
    NAME("capitals in the certificate", "DNS:SERVER.TEST", "server.test"),
    NAME("a trailing dot", "DNS:server.test", "server.test."),
    NAME("the last of several", "DNS:a.test,IP:::1,DNS:b.test,DNS:server.test", "server.test"),
    NAME("a wildcard", "DNS:*.wild.test", "a.wild.test"),
    NAME("a wildcard and an A-label", "DNS:*.wild.test", "xn--bcher-kva.wild.test"),
    NAME("an A-label", "DNS:xn--bcher-kva.test", "xn--bcher-kva.test"),
    NAME("a label with an underscore", "DNS:a_b.test", "a_b.test"),
    NAME("an address", "IP:127.0.0.1", "127.0.0.1"),
    NAME("an address beside names", "DNS:server.test,IP:10.0.0.1,IP:127.0.0.1", "127.0.0.1"),
    NAME("an address of version 6", "IP:::1", "::1"),
    NAME("an address of version 6, written otherwise", "IP:2001:db8::1", "2001:DB8:0:0::1"),
    NAME("a name beside one with a zero byte", "DNS:evil\\0.test,DNS:server.test", "server.test"),
    {.what = "no subject", .servers_only = true, LEAF(.subject = "")},
    {.what = "another common name", LEAF(.subject = "/CN=other.test")},
    {.what = "two hundred names", ARRANGE(give_many_names)},
};

static const struct good chains[] = {
    {.what = "a chain"},
    {.what = "no intermediate", .spec.bare = true},
    {.what = "five", ARRANGE(show_five)},
    {.what = "five in disorder", ARRANGE(show_five_in_disorder)},
    {.what = "with strangers", ARRANGE(show_strangers_as_well)},
    {.what = "one of them twice", ARRANGE(show_twice)},
    {.what = "with the root", ARRANGE(show_root_as_well)},
    {.what = "an intermediate that is known", ARRANGE(show_leaf_only)},
    {.what = "an intermediate that is trusted", ARRANGE(trust_middle)},
    {.what = "trusted itself", ARRANGE(trust_itself)},
    {.what = "a root that was renewed",
     ARRANGE(trust_a_renewed_root),
     ROOT(.from_days = -10, .to_days = -1)},
    {.what = "one of several roots", ARRANGE(trust_many)},
    {.what = "the longest path that is allowed",
     ROOT(.basic = "critical,CA:TRUE,pathlen:1"),
     MIDDLE(.basic = "critical,CA:TRUE,pathlen:0")},
    {.what = "a root of version 1", ROOT(.version = 1)},
    {.what = "a list that has others", ARRANGE(revoke_others)},
};

static const struct good contents[] = {
    {.what = "RSA", LEAF(.key = PKI_RSA_2048)},
    {.what = "Ed25519", LEAF(.key = PKI_ED25519)},
    {.what = "RSA above", MIDDLE(.key = PKI_RSA_2048)},
    {.what = "SHA-384", LEAF(.digest = "SHA384")},
    {.what = "a root that signed itself with SHA-1", ROOT(.digest = "SHA1")},
    {.what = "no extended key usage", LEAF(.purpose = "")},
    {.what = "servers and clients", LEAF(.purpose = "critical,clientAuth,serverAuth")},
    {.what = "no key usage", LEAF(.usage = "")},
    {.what = "an authority of servers and clients", MIDDLE(.purpose = "serverAuth,clientAuth")},
    {.what = "an extension that matters to others", LEAF(.extension = "1.2.3.4=DER:0500")},
    {.what = "a permitted name", MIDDLE(.constraints = "critical,permitted;DNS:test")},
    {.what = "a permitted address",
     .servers_only = true,
     MIDDLE(.constraints = "critical,permitted;IP:127.0.0.0/255.0.0.0"),
     LEAF(.san = "IP:127.0.0.1"),
     .spec.wanted = "127.0.0.1"},
    {.what = "other names are excluded", MIDDLE(.constraints = "critical,excluded;DNS:other.test")},
    {.what = "a negative serial number", LEAF(.serial = "-1234")},
    {.what = "a serial number of 0", LEAF(.serial = "0")},
    {.what = "a date after 2050", LEAF(.from_days = -1, .to_days = 30000)},
};

static const struct good staples[] = {
    {.what = "by the authority", ARRANGE(staple_good)},
    {.what = "by whom it has named", ARRANGE(staple_of_a_delegate)},
};

/* Insecurely, and only then. */
static const struct good anyone[] = {
    {.what = "good", .not_verified = true, ARRANGE(trust_anyone)},
    {.what = "expired",
     .not_verified = true,
     ARRANGE(trust_anyone),
     LEAF(.from_days = -10, .to_days = -1)},
    {.what = "another name",
     .not_verified = true,
     ARRANGE(trust_anyone),
     LEAF(.san = "DNS:other.test")},
    {.what = "broken", .not_verified = true, ARRANGE(trust_anyone), LEAF(.broken = true)},
};

/* ---- trying ---------------------------------------------------------------------------------- */

static bool is_good(const struct good *g, const struct trial *t, enum trial_way way, int version)
{
    struct trial_result r;
    trial_run(t, way, version, &r);
    bool good = r.rc == 0 && r.alike && r.verified == !g->not_verified && r.peer.shaken &&
                r.peer.version == version;
    if (!good)
        print_error("%s (%d, %x): %d, %s; alike %d, verified %d; the peer: %s\n", g->what, (int)way,
                    version, r.rc, r.detail, r.alike, r.verified, r.peer.error);
    return good;
}

static unsigned try_way(const struct good *g, enum trial_way way)
{
    struct trial t = {.leaf = NULL};
    unsigned failures = 0;
    for (int version = WEIR_TLS_1_2; version <= WEIR_TLS_1_3; version++) {
        if (!trial_matters(way, version))
            continue;
        if (!t.leaf)
            trial_prepare(&t, &g->spec, !trial_is_server(way));
        failures += !is_good(g, &t, way, version);
    }
    pki_end();
    return failures;
}

static void expect_good(const struct good *table, size_t count, enum trial_way first,
                        enum trial_way last)
{
    unsigned failures = 0;
    for (size_t i = 0; i < count; i++) {
        for (enum trial_way way = first; way <= last; way++) {
            if (!trial_is_server(way) || !table[i].servers_only)
                failures += try_way(table + i, way);
        }
    }
    assert_int_equal(failures, 0);
}

#define GOOD(table, first, last)                                                                   \
    static void table##_are_accepted(void **state)                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        expect_good((table), sizeof(table) / sizeof *(table), (first), (last));                    \
    }

GOOD(names, TRIAL_CONNECT, TRIAL_SERVER)
GOOD(chains, TRIAL_CONNECT, TRIAL_SERVER)
GOOD(contents, TRIAL_CONNECT, TRIAL_SERVER)
GOOD(staples, TRIAL_CONNECT, TRIAL_LATER)
GOOD(anyone, TRIAL_CONNECT, TRIAL_SERVER)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_accepted),    cmocka_unit_test(chains_are_accepted),
        cmocka_unit_test(contents_are_accepted), cmocka_unit_test(staples_are_accepted),
        cmocka_unit_test(anyone_are_accepted),
    };

    return cmocka_run_group_tests_name("tls_certificates_accepted", tests, NULL, NULL);
}
