/* Sessions: what is taken up again, by whom, and until when. */
#include "support/tls_fixture.h"
#include "sys.h"
#include "tls/private.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* Of the test that runs. */
static int version;
static weir_tls_config *client, *server;

static weir_tls_config *limited(weir_tls_config *c)
{
    assert_int_equal(weir_tls_config_versions(c, version, version), 0);
    return c;
}

static int set_up(void **state)
{
    version = *(const int *)*state;
    client = meeting_client();
    server = limited(meeting_server(NULL, NULL));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    weir_tls_config_close(client);
    return weir_tls_config_close(server);
}

static void serve_with(weir_tls_config *c)
{
    weir_tls_config_close(server);
    server = limited(c);
}

/* One meeting, which goes well: whether it took a session up. Both sides agree. */
static bool resumes(weir_tls_config *near, weir_tls_config *far, const char *name)
{
    struct meeting m;
    bool resumed;

    meeting_hold(&m, near, far, name);
    assert_int_equal(m.client.rc, 0);
    assert_int_equal(m.server.rc, 0);
    resumed = m.client.state.resumed;
    assert_int_equal(m.server.state.resumed, resumed);
    /* What was known of the peer stays known. */
    assert_string_equal(m.client.state.subject, "CN=server.test,O=Weir");
    assert_true(m.client.state.peer_verified);
    assert_string_equal(m.server.state.name, strcmp(name, "127.0.0.1") == 0 ? "" : name);
    meeting_end(&m);
    return resumed;
}

static unsigned cached(const weir_tls_config *c)
{
    unsigned count = 0;

    struct entry {
        struct entry *next;
    };
    for (const struct entry *e = (const void *)c->sessions.first; e; e = e->next)
        count++;
    return count;
}

static void the_second_time_is_a_resumption(void **state)
{
    (void)state;
    assert_false(resumes(client, server, "server.test"));
    for (int again = 0; again < 6; again++)
        assert_true(resumes(client, server, "server.test"));
}

/* Names are compared as they are given: another name is another peer. */
static void another_name_is_another_peer(void **state)
{
    (void)state;
    assert_false(resumes(client, server, "server.test"));
    assert_false(resumes(client, server, "a.wild.test"));
    assert_false(resumes(client, server, "127.0.0.1"));
    assert_true(resumes(client, server, "server.test"));
    assert_true(resumes(client, server, "a.wild.test"));
}

/* A client's trust, and a server's keys of tickets, belong to a configuration. */
static void another_configuration_resumes_nothing(void **state)
{
    (void)state;
    weir_tls_config *client2 = meeting_client(), *server2 = limited(meeting_server(NULL, NULL));
    assert_false(resumes(client, server, "server.test"));
    assert_false(resumes(client2, server, "server.test"));
    assert_false(resumes(client, server2, "server.test"));
    assert_true(resumes(client, server2, "server.test"));
    weir_tls_config_close(client2);
    weir_tls_config_close(server2);
}

static void a_client_can_do_without(void **state)
{
    (void)state;
    weir_tls_config_resume(client, false);
    assert_false(resumes(client, server, "server.test"));
    assert_int_equal(cached(client), 0);
    assert_false(resumes(client, server, "server.test"));
}

static void a_server_can_do_without(void **state)
{
    (void)state;
    weir_tls_config_resume(server, false);
    assert_false(resumes(client, server, "server.test"));
    assert_int_equal(cached(client), 0);
    assert_false(resumes(client, server, "server.test"));
}

/* The same ticket twice would tell anybody who listens that it is the same client. */
static void tickets_of_tls_1_3_serve_once(void **state)
{
    struct meeting m[3];
    unsigned before;

    (void)state;
    assert_false(resumes(client, server, "server.test"));
    before = cached(client);
    assert_int_equal(before, 2);
    for (int i = 0; i < 3; i++) {
        weir_socket *pair[2];
        assert_int_equal(weir_pair(pair, SOCK_STREAM), 0);
        weir_set_blocking(pair[0], false);
        assert_int_equal(weir_set_tls(pair[0], client, "server.test"), 0);
        assert_int_equal(weir_handshake(pair[0]), -EAGAIN);
        assert_int_equal(cached(client), i < 2 ? 1 - i : 0);
        m[i].client.s = pair[0];
        m[i].server.s = pair[1];
    }
    for (int i = 0; i < 3; i++)
        meeting_end(&m[i]);
}

static void those_of_tls_1_2_serve_several_at_once(void **state)
{
    struct meeting m[3];

    (void)state;
    assert_false(resumes(client, server, "server.test"));
    for (int i = 0; i < 3; i++) {
        meeting_hold(&m[i], client, server, "server.test");
        assert_true(m[i].client.state.resumed);
    }
    assert_int_equal(cached(client), 1);
    for (int i = 0; i < 3; i++)
        meeting_end(&m[i]);
}

/* What a server does not take up any more is replaced. */
static void of_tls_1_2_the_newest_counts(void **state)
{
    weir_tls_config *another = limited(meeting_server(NULL, NULL));

    (void)state;
    assert_false(resumes(client, server, "server.test"));
    assert_false(resumes(client, another, "server.test"));
    assert_int_equal(cached(client), 1);
    assert_true(resumes(client, another, "server.test"));
    weir_tls_config_close(another);
}

static void the_cache_has_bounds(void **state)
{
    char name[64];

    (void)state;
    for (int i = 0; i < 260; i++) {
        snprintf(name, sizeof name, "n%d.wild.test", i);
        assert_false(resumes(client, server, name));
    }
    assert_int_equal(cached(client), 256);
    assert_false(resumes(client, server, "n0.wild.test")); /* the oldest has left */
    assert_true(resumes(client, server, "n259.wild.test"));
}

/* One peer does not fill the cache of all. */
static void one_peer_has_a_share(void **state)
{
    struct meeting m[8];

    (void)state;
    for (int i = 0; i < 8; i++) {
        weir_tls_config *other = meeting_server(NULL, NULL); /* no ticket of the last serves */
        meeting_hold(&m[i], client, other, "server.test");
        assert_int_equal(m[i].client.rc, 0);
        weir_tls_config_close(other);
    }
    assert_int_equal(cached(client), 4);
    for (int i = 0; i < 8; i++)
        meeting_end(&m[i]);
}

/* ---- who was not good ------------------------------------------------------------------------ */

static void nothing_of_a_bad_peer_is_kept(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++)
        assert_int_equal(meet(client, server, "other.test"), WEIR_ECERT);
    assert_int_equal(cached(client), 0);
}

static void whoever_trusts_anyone_has_verified_nobody(void **state)
{
    (void)state;
    weir_tls_config_trust_anyone_insecurely(client);
    for (int again = 0; again < 2; again++) {
        struct meeting m;
        meeting_hold(&m, client, server, "other.test");
        assert_int_equal(m.client.rc, 0);
        assert_int_equal(m.client.state.resumed, again);
        assert_false(m.client.state.peer_verified);
        meeting_end(&m);
    }
}

/* ---- until when ------------------------------------------------------------------------------ */

static int64_t moved_s;

static int64_t moved_date(void)
{
    return (int64_t)time(NULL) + moved_s;
}

static const struct sys_faults later = {.date = moved_date};

/* The date passes for the library, while OpenSSL, which would refuse the certificate, sees nothing
 * of it: a session that is resumed would not have been checked. */
static void move_date(int64_t s)
{
    moved_s = s;
    sys_faults = s ? &later : NULL;
}

/* Sessions that would go on for long, so that nothing else ends them. */
static void live_long(void)
{
    SSL_CTX_set_timeout(client->ctx, 6 * 24 * 3600);
    SSL_CTX_set_timeout(server->ctx, 6 * 24 * 3600);
}

static weir_tls_config *server_for(int to_days)
{
    const struct pki_standard *pki = pki_standard();
    pki_cert *leaf = PKI_CERT(.issuer = pki->ca, .subject = "/O=Weir/CN=server.test",
                              .san = "DNS:server.test", .from_days = -1, .to_days = to_days);

    return meeting_server(PKI_PEM(leaf), pki_key_pem(leaf));
}

/* Also after it was resumed in between, and given a new ticket. */
static void no_session_outlives_its_certificate(void **state)
{
    (void)state;
    serve_with(server_for(1));
    live_long();
    assert_false(resumes(client, server, "server.test"));
    assert_true(resumes(client, server, "server.test"));
    move_date(3600);
    assert_true(resumes(client, server, "server.test"));
    move_date(25 * 3600);
    assert_false(resumes(client, server, "server.test"));
    move_date(0);
}

static void no_session_lives_for_ever(void **state)
{
    (void)state;
    serve_with(server_for(300));
    assert_false(resumes(client, server, "server.test"));
    move_date(3 * 3600);
    assert_false(resumes(client, server, "server.test"));
    move_date(0);
}

static void no_session_outlives_the_revocation_lists(void **state)
{
    const struct pki_standard *pki = pki_standard();
    const char *crl = PKI_CRL(.issuer = pki->intermediate, .from_days = -1, .to_days = 2);

    (void)state;
    live_long();
    assert_int_equal(weir_tls_config_revoked_memory(client, crl, strlen(crl)), 0);
    assert_false(resumes(client, server, "server.test"));
    assert_true(resumes(client, server, "server.test"));
    move_date(49 * 3600);
    assert_false(resumes(client, server, "server.test"));
    move_date(0);
}

static void no_session_outlives_the_staple(void **state)
{
    const struct pki_standard *pki = pki_standard();
    struct pki_bytes staple =
        PKI_OCSP(.cert = pki->server, .issuer = pki->intermediate, .from_days = -1, .to_days = 1);

    (void)state;
    live_long();
    assert_int_equal(weir_tls_config_staple_memory(server, staple.bytes, staple.len), 0);
    assert_int_equal(weir_tls_config_require_staple(client), 0);
    assert_false(resumes(client, server, "server.test"));
    assert_true(resumes(client, server, "server.test"));
    move_date(25 * 3600);
    assert_false(resumes(client, server, "server.test"));
    move_date(0);
}

/* ---- clients with certificates --------------------------------------------------------------- */

static void certify_client(int to_days)
{
    const struct pki_standard *pki = pki_standard();
    pki_cert *leaf = PKI_CERT(.issuer = pki->ca, .subject = "/CN=client", .purpose = "clientAuth",
                              .from_days = -1, .to_days = to_days);

    meeting_add(client, leaf, NULL);
}

static void ask_clients(void)
{
    const char *ca = pki_standard()->ca_pem;

    assert_int_equal(weir_tls_config_trust_memory(server, ca, strlen(ca)), 0);
    assert_int_equal(weir_tls_config_ask_client(server, WEIR_TLS_CLIENT_REQUIRED), 0);
}

static void clients_are_known_by_their_sessions(void **state)
{
    (void)state;
    certify_client(30);
    ask_clients();
    for (int again = 0; again < 3; again++) {
        struct meeting m;
        meeting_hold(&m, client, server, "server.test");
        assert_int_equal(m.server.rc, 0);
        assert_int_equal(m.server.state.resumed, again > 0);
        assert_true(m.server.state.peer_verified);
        assert_string_equal(m.server.state.subject, "CN=client");
        meeting_end(&m);
    }
}

/* The server's date alone passes: the client offers what it has. */
static bool resumes_later(int64_t s)
{
    struct meeting m;
    weir_socket *pair[2];
    bool resumed;

    assert_int_equal(weir_pair(pair, SOCK_STREAM), 0);
    m = (struct meeting){.client.s = pair[0], .server.s = pair[1]};
    for (int i = 0; i < 2; i++) {
        weir_set_blocking(pair[i], false);
        assert_int_equal(weir_set_tls(pair[i], i ? server : client, i ? NULL : "server.test"), 0);
    }
    for (int i = 0; i < 10; i++) {
        m.client.rc = weir_handshake(pair[0]);
        move_date(s);
        m.server.rc = weir_handshake(pair[1]);
        move_date(0);
    }
    assert_int_equal(m.client.rc, 0);
    assert_int_equal(m.server.rc, 0);
    assert_int_equal(weir_tls_info(pair[1], &m.server.state), 0);
    resumed = m.server.state.resumed;
    meeting_end(&m);
    return resumed;
}

static void no_ticket_outlives_the_clients_certificate(void **state)
{
    (void)state;
    certify_client(1);
    ask_clients();
    live_long();
    assert_false(resumes(client, server, "server.test"));
    assert_true(resumes_later(3600));
    assert_true(resumes(client, server, "server.test")); /* and gets a new ticket */
    assert_false(resumes_later(25 * 3600));
}

/* ---- threads --------------------------------------------------------------------------------- */

#define THREADS  4
#define MEETINGS 20

static atomic_int failures;

static void *meet_often(void *trusting)
{
    static const char *const names[] = {"server.test", "a.wild.test", "127.0.0.1"};

    for (int i = 0; i < MEETINGS; i++)
        failures += meet(trusting, server, names[i % 3]) != 0;
    return NULL;
}

/* The first use is everybody's: there is nothing that the others have prepared. The system's trust
 * has to be read, too. */
static void threads_share_configurations(void **state)
{
    pthread_t threads[THREADS];
    weir_tls_config *trusting;

    (void)state;
    setenv("SSL_CERT_FILE", pki_standard()->ca_file, 1);
    assert_int_equal(weir_tls_config_open(&trusting), 0);
    failures = 0;
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, meet_often, trusting), 0);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    assert_int_equal(failures, 0);
    assert_in_range(cached(trusting), 1, 3 * 4);
    weir_tls_config_close(trusting);
    unsetenv("SSL_CERT_FILE");
}

/* A child leaves the cache alone, which a thread of its parent may have locked. */
static void a_child_has_no_share(void **state)
{
    int status;

    (void)state;
    assert_false(resumes(client, server, "server.test"));
    pthread_mutex_lock(&client->sessions.lock);
    pid_t child = fork();
    if (child == 0) {
        struct meeting m;
        meeting_hold(&m, client, server, "server.test");
        _exit(m.client.rc != 0 || m.client.state.resumed);
    }
    pthread_mutex_unlock(&client->sessions.lock);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(resumes(client, server, "server.test"));
}

#define TEST(name, number)                                                                         \
    cmocka_unit_test_prestate_setup_teardown(name, set_up, tear_down, &tls_1_##number)
#define EACH(name) TEST(name, 2), TEST(name, 3)

int main(void)
{
    static int tls_1_2 = WEIR_TLS_1_2, tls_1_3 = WEIR_TLS_1_3;
    const struct CMUnitTest tests[] = {
        EACH(the_second_time_is_a_resumption),
        EACH(another_name_is_another_peer),
        EACH(another_configuration_resumes_nothing),
        EACH(a_client_can_do_without),
        EACH(a_server_can_do_without),
        TEST(tickets_of_tls_1_3_serve_once, 3),
        TEST(those_of_tls_1_2_serve_several_at_once, 2),
        TEST(of_tls_1_2_the_newest_counts, 2),
        TEST(the_cache_has_bounds, 2),
        TEST(one_peer_has_a_share, 3),
        EACH(nothing_of_a_bad_peer_is_kept),
        EACH(whoever_trusts_anyone_has_verified_nobody),
        EACH(no_session_outlives_its_certificate),
        EACH(no_session_lives_for_ever),
        EACH(no_session_outlives_the_revocation_lists),
        EACH(no_session_outlives_the_staple),
        EACH(clients_are_known_by_their_sessions),
        EACH(no_ticket_outlives_the_clients_certificate),
        EACH(threads_share_configurations),
        TEST(a_child_has_no_share, 3),
    };
    return cmocka_run_group_tests(tests, NULL, tls_fixture_end);
}
