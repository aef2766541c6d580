/* Which certificate a server shows. */
#include "support/tls_fixture.h"
#include "support/tls_peer.h"
#include "tls/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* A certificate of the one authority of these tests. */
static pki_cert *leaf(const char *san, enum pki_key key)
{
    char subject[64];
    static int count;

    snprintf(subject, sizeof subject, "/CN=leaf %d", ++count);
    return PKI_CERT(.issuer = root, .subject = subject, .san = san, .key = key);
}

static weir_tls_config *server_config(const pki_cert *first)
{
    return meeting_server(PKI_PEM(first), pki_key_pem(first));
}

/* The client that asks for `name` gets `expected`, and finds it good or not. */
static void check_shown(weir_tls_config *client, weir_tls_config *server, const char *name, int rc,
                        const pki_cert *expected)
{
    struct meeting m;

    meeting_hold(&m, client, server, name);
    assert_int_equal(m.client.rc, rc);
    if (rc == 0) {
        assert_string_equal(meeting_chain(&m), PKI_PEM(expected));
        assert_true(m.client.state.peer_verified);
    }
    meeting_end(&m);
}

static void one_certificate_serves_everybody(void **state)
{
    pki_cert *a = leaf("DNS:a.test,IP:127.0.0.1", PKI_EC);
    weir_tls_config *client = client_of_root(), *server = server_config(a);

    (void)state;
    check_shown(client, server, "a.test", 0, a);
    check_shown(client, server, "127.0.0.1", 0, a);
    check_shown(client, server, "b.test", WEIR_ECERT, NULL);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

static void several_are_told_apart_by_name(void **state)
{
    pki_cert *a = leaf("DNS:a.test,IP:127.0.0.1", PKI_EC), *b = leaf("DNS:b.test", PKI_EC),
             *wild = leaf("DNS:*.wild.test", PKI_EC), *exact = leaf("DNS:x.wild.test", PKI_EC);
    weir_tls_config *client = client_of_root(), *server = server_config(a);

    (void)state;
    meeting_add(server, b, NULL);
    meeting_add(server, wild, NULL);
    meeting_add(server, exact, NULL);
    check_shown(client, server, "a.test", 0, a);
    check_shown(client, server, "b.test", 0, b);
    check_shown(client, server, "B.Test", 0, b);
    check_shown(client, server, "y.wild.test", 0, wild);
    check_shown(client, server, "x.wild.test", 0, wild); /* the first that fits */
    check_shown(client, server, "127.0.0.1", 0, a);      /* who asks for nothing gets the first */
    check_shown(client, server, "c.test", WEIR_ECERT, NULL);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

static void of_several_kinds_the_one_that_suits(void **state)
{
    static const char ecdsa[] = "ECDHE-ECDSA-AES128-GCM-SHA256",
                      rsa[] = "ECDHE-RSA-AES128-GCM-SHA256";
    pki_cert *ec_a = leaf("DNS:a.test,IP:127.0.0.1", PKI_EC),
             *rsa_a = leaf("DNS:a.test,IP:127.0.0.1", PKI_RSA_2048),
             *rsa_b = leaf("DNS:b.test", PKI_RSA_2048), *ec_b = leaf("DNS:b.test", PKI_EC);
    weir_tls_config *server = server_config(ec_a);

    (void)state;
    meeting_add(server, rsa_b, NULL);
    meeting_add(server, rsa_a, NULL);
    meeting_add(server, ec_b, NULL);
    for (int i = 0; i < 2; i++) {
        weir_tls_config *client = client_of_root();
        weir_tls_config_versions(client, WEIR_TLS_1_2, WEIR_TLS_1_2);
        assert_int_equal(weir_tls_config_ciphers(client, i ? rsa : ecdsa), 0);
        check_shown(client, server, "a.test", 0, i ? rsa_a : ec_a);
        check_shown(client, server, "b.test", 0, i ? rsa_b : ec_b);
        /* No name: the first, and what has the same names with another key. */
        check_shown(client, server, "127.0.0.1", 0, i ? rsa_a : ec_a);
        weir_tls_config_close(client);
    }
    weir_tls_config_close(server);
}

static void every_kind_of_key_works(void **state)
{
    static const enum pki_key kinds[] = {PKI_EC, PKI_RSA_2048, PKI_ED25519};

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        pki_cert *a = leaf("DNS:a.test", kinds[i]);
        weir_tls_config *client = client_of_root(), *server = server_config(a);
        check_shown(client, server, "a.test", 0, a);
        weir_tls_config_close(client);
        weir_tls_config_close(server);
    }
}

static void add_staple(weir_tls_config *c, const pki_cert *cert)
{
    struct pki_bytes staple = PKI_OCSP(.cert = cert, .issuer = root);

    assert_int_equal(weir_tls_config_staple_memory(c, staple.bytes, staple.len), 0);
}

/* A staple belongs to the certificate that was added last when it came. */
static void each_has_its_own_staple(void **state)
{
    pki_cert *a = leaf("DNS:a.test", PKI_EC), *b = leaf("DNS:b.test", PKI_EC),
             *none = leaf("DNS:none.test", PKI_EC);
    weir_tls_config *client = client_of_root(), *server = server_config(a);

    (void)state;
    add_staple(server, a);
    meeting_add(server, none, NULL);
    meeting_add(server, b, NULL);
    add_staple(server, a);
    add_staple(server, b); /* in the place of the other */
    assert_int_equal(weir_tls_config_require_staple(client), 0);
    check_shown(client, server, "a.test", 0, a);
    check_shown(client, server, "b.test", 0, b);
    check_shown(client, server, "none.test", WEIR_ECERT, NULL);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

/* ---- the program chooses --------------------------------------------------------------------- */

struct choice {
    weir_tls_config *answer;
    int asked;
    char name[64]; /* "-" if none */
};

static weir_tls_config *choose(void *arg, const char *name)
{
    struct choice *c = arg;

    c->asked++;
    snprintf(c->name, sizeof c->name, "%s", name ? name : "-");
    return weir_tls_config_ref(c->answer);
}

static void the_program_chooses(void **state)
{
    pki_cert *a = leaf("DNS:a.test,IP:127.0.0.1", PKI_EC), *b = leaf("DNS:b.test", PKI_EC);
    weir_tls_config *client = client_of_root(), *server = server_config(a);
    struct choice choice = {.answer = server_config(b)};

    (void)state;
    assert_int_equal(weir_tls_config_certificate_choose(server, choose, &choice), 0);
    check_shown(client, server, "b.test", 0, b);
    assert_int_equal(choice.asked, 1);
    assert_string_equal(choice.name, "b.test");
    /* What it returns is used from then on. */
    assert_int_equal(weir_tls_config_resume(choice.answer, false), -EBUSY);
    weir_tls_config_close(choice.answer);

    choice.answer = NULL;
    check_shown(client, server, "a.test", 0, a);
    check_shown(client, server, "127.0.0.1", 0, a);
    assert_string_equal(choice.name, "-");
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

static void the_choice_has_its_own_staple(void **state)
{
    pki_cert *a = leaf("DNS:a.test", PKI_EC), *b = leaf("DNS:b.test", PKI_EC);
    weir_tls_config *client = client_of_root(), *server = server_config(a);
    struct choice choice = {.answer = server_config(b)};

    (void)state;
    add_staple(choice.answer, b);
    weir_tls_config_certificate_choose(server, choose, &choice);
    assert_int_equal(weir_tls_config_require_staple(client), 0);
    check_shown(client, server, "b.test", 0, b);
    weir_tls_config_close(choice.answer);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

/* What the program says, in turn. */
struct answers {
    weir_tls_config *list[2];
    unsigned asked;
};

static weir_tls_config *answer(void *arg, const char *name)
{
    struct answers *a = arg;

    (void)name;
    assert_true(a->asked < 2);
    return weir_tls_config_ref(a->list[a->asked++]);
}

/* A client that has guessed wrong which key exchange the server wants begins anew (RFC 8446 4.1.4),
 * and the program is asked anew: what it says last counts, and nothing is left of the first. */
static void who_has_to_begin_anew_is_asked_for_twice(void **state)
{
    pki_cert *own = leaf("DNS:a.test", PKI_EC), *other = leaf("DNS:a.test", PKI_EC),
             *third = leaf("DNS:a.test", PKI_RSA_2048);
    weir_tls_config *configs[] = {server_config(other), server_config(third), NULL};

    (void)state;
    for (int first = 0; first < 3; first++)
        for (int second = 0; second < 3; second++) {
            const pki_cert *shown[] = {other, third, own};
            struct answers answers = {.list = {configs[first], configs[second]}};
            weir_tls_config *client = client_of_root(), *server = server_config(own);
            assert_int_equal(SSL_CTX_set1_groups_list(server->ctx, "P-384"), 1);
            weir_tls_config_certificate_choose(server, answer, &answers);
            check_shown(client, server, "a.test", 0, shown[second]);
            assert_int_equal(answers.asked, 2);
            weir_tls_config_close(client);
            weir_tls_config_close(server);
        }
    weir_tls_config_close(configs[0]);
    weir_tls_config_close(configs[1]);
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static weir_tls_config *choose_running(void *rc, const char *name)
{
    (void)name;
    *(int *)rc = weir_run(do_nothing, NULL, NULL, NULL);
    return NULL;
}

static int meets(void *arg)
{
    weir_tls_config **both = arg;

    return meet(both[0], both[1], "a.test");
}

/* It is in no task then, but the thread is still one that tasks share. */
static void no_run_inside_a_choice(void **state)
{
    pki_cert *a = leaf("DNS:a.test", PKI_EC);
    weir_tls_config *both[] = {client_of_root(), server_config(a)};
    int rc = 1, met = 1;

    (void)state;
    weir_tls_config_certificate_choose(both[1], choose_running, &rc);
    assert_int_equal(weir_run(meets, both, WEIR_RUN_OPTIONS(.models = WEIR_TASKS), &met), 0);
    assert_int_equal(met, 0);
    assert_int_equal(rc, -EBUSY);
    weir_tls_config_close(both[0]);
    weir_tls_config_close(both[1]);
}

/* Whatever a client writes there never reaches the program, which may take it for a file's name or
 * show it on a terminal. */
static void names_that_are_none_are_not_asked_for(void **state)
{
    static const char *const bad[] = {
        "../../etc/passwd",
        "a/b",
        ".hidden",
        "a..b",
        "x y",
        "%n",
        "\x1b]0;a.test\x07",
        "a\nb.c",
        "a.test\r",
        "\x7f.test",
        "m\xc3\xbc.test",
    };
    pki_cert *a = leaf("DNS:a.test", PKI_EC);
    weir_tls_config *server = server_config(a);
    struct choice choice = {.answer = NULL};

    (void)state;
    weir_tls_config_certificate_choose(server, choose, &choice);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_socket *s;
        weir_tls_state info;
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(weir_from_fd(&s, fds[0]), 0);
        assert_int_equal(weir_set_tls(s, server, NULL), 0);
        struct tls_peer *peer = TLS_PEER(fds[1], .client = true, .name = bad[i]);
        assert_int_equal(weir_handshake(s), 0);
        assert_int_equal(choice.asked, i + 1);
        assert_string_equal(choice.name, "-");
        assert_int_equal(weir_tls_info(s, &info), 0);
        assert_string_equal(info.name, "");
        weir_close(s);
        tls_peer_join(peer, NULL);
    }
    weir_tls_config_close(server);
}

static void nothing_to_show_is_told(void **state)
{
    weir_tls_config *client = client_of_root(), *server, *empty;
    struct choice choice = {.answer = NULL};
    struct meeting m;

    (void)state;
    assert_int_equal(weir_tls_config_open(&server), 0);
    assert_int_equal(weir_tls_config_open(&empty), 0);
    weir_tls_config_certificate_choose(server, choose, &choice);
    for (int i = 0; i < 2; i++) {
        choice.answer = i ? empty : NULL;
        meeting_hold(&m, client, server, "a.test");
        assert_int_equal(m.server.rc, WEIR_ETLS);
        assert_non_null(strstr(m.server.story, "there is no certificate for a.test"));
        assert_int_equal(m.client.rc, WEIR_ETLS);
        assert_non_null(strstr(m.client.story, "the peer refuses: "));
        meeting_end(&m);
    }
    weir_tls_config_close(client);
    weir_tls_config_close(server);
    weir_tls_config_close(empty);
}

/* With a certificate of its own, a server whose program chose an empty configuration must not fall
 * back on that. */
static void an_empty_choice_shows_nothing(void **state)
{
    pki_cert *a = leaf("DNS:a.test", PKI_EC);
    weir_tls_config *client = client_of_root(), *server = server_config(a), *empty;
    struct choice choice;

    (void)state;
    assert_int_equal(weir_tls_config_open(&empty), 0);
    choice = (struct choice){.answer = empty};
    weir_tls_config_certificate_choose(server, choose, &choice);
    check_shown(client, server, "a.test", WEIR_ETLS, NULL);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
    weir_tls_config_close(empty);
}

/* The choice is held while it is in use, though its owner lets go of it in the next moment. */
static void the_choice_is_held(void **state)
{
    pki_cert *a = leaf("DNS:a.test", PKI_EC);
    weir_tls_config *client = client_of_root(), *server;
    struct choice choice = {.answer = server_config(a)};
    weir_socket *pair[2];
    int rc;

    (void)state;
    assert_int_equal(weir_tls_config_open(&server), 0);
    weir_tls_config_certificate_choose(server, choose, &choice);
    assert_int_equal(weir_pair(pair, SOCK_STREAM), 0);
    for (int i = 0; i < 2; i++) {
        weir_set_blocking(pair[i], false);
        assert_int_equal(weir_set_tls(pair[i], i ? server : client, i ? NULL : "a.test"), 0);
    }
    assert_int_equal(weir_handshake(pair[0]), -EAGAIN);
    assert_int_equal(weir_handshake(pair[1]), -EAGAIN);
    assert_int_equal(choice.asked, 1);
    weir_tls_config_close(choice.answer);
    for (int i = 0; i < 10; i++) {
        rc = weir_handshake(pair[0]);
        (void)weir_handshake(pair[1]);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(weir_handshake(pair[1]), 0);
    weir_close(pair[0]);
    weir_close(pair[1]);
    weir_tls_config_close(client);
    weir_tls_config_close(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_certificate_serves_everybody),
        cmocka_unit_test(several_are_told_apart_by_name),
        cmocka_unit_test(of_several_kinds_the_one_that_suits),
        cmocka_unit_test(every_kind_of_key_works),
        cmocka_unit_test(each_has_its_own_staple),
        cmocka_unit_test(the_program_chooses),
        cmocka_unit_test(the_choice_has_its_own_staple),
        cmocka_unit_test(who_has_to_begin_anew_is_asked_for_twice),
        cmocka_unit_test(no_run_inside_a_choice),
        cmocka_unit_test(names_that_are_none_are_not_asked_for),
        cmocka_unit_test(nothing_to_show_is_told),
        cmocka_unit_test(an_empty_choice_shows_nothing),
        cmocka_unit_test(the_choice_is_held),
    };
    return cmocka_run_group_tests(tests, tls_fixture_make_root, tls_fixture_end);
}
