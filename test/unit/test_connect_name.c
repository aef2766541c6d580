/* Connecting by names that are slow, wrong or never answered. */
#include "socket.h"
#include "support/connect_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- names that do not lead anywhere ------------------------------------------------------- */

static void failed_lookups_are_told_by_name(void **state)
{
    (void)state;
    static const struct {
        int v6, v4, rc;
        const char *story;
    } cases[] = {
        {WEIR_ENONAME, WEIR_ENONAME, WEIR_ENONAME, "n0.test: "},
        {WEIR_ENAMESERVER, WEIR_ENAMESERVER, WEIR_ENAMESERVER, "n1.test: "},
        {WEIR_ENONAME, WEIR_ENAMEAGAIN, WEIR_ENAMEAGAIN, "n2.test (IPv4): "},
        {WEIR_ENAMESERVER, WEIR_ENAMEAGAIN, WEIR_ENAMEAGAIN, "n3.test (IPv6): "},
    };
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%zu.test", i);
        fixture_name_fails(name, AF_INET6, cases[i].v6);
        fixture_name_fails(name, AF_INET, cases[i].v4);
        assert_int_equal(weir_connect(s, name, 80), cases[i].rc);
        assert_true(fixture_story_has(s, cases[i].story));
        assert_int_equal(weir_connect_status(s), cases[i].rc);
    }
}

static void text_that_is_no_name_is_refused_at_once(void **state)
{
    (void)state;
    char giant[4000], story[512];
    memset(giant, 'a', sizeof giant - 1);
    giant[sizeof giant - 1] = '\0';
    const struct {
        const char *host;
        int rc;
    } cases[] = {{"", -EINVAL},  {"*", -EINVAL},        {"a..b", -EINVAL},
                 {".", -EINVAL}, {"a b", -EINVAL},      {"caf\xc3\xa9.test", -EINVAL},
                 {"[", -EINVAL}, {giant, -ENAMETOOLONG}};
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(weir_connect(s, cases[i].host, 80), cases[i].rc);
        assert_true(weir_error_detail(s, story, sizeof story) > 0);
        assert_string_not_equal(story, weir_strerror(cases[i].rc));
        assert_int_equal(weir_connect_status(s), -ENOTCONN);
    }
}

/* Somebody listens at "held.test", a name that is not answered as yet. */
static weir_socket *connect_to_held(int family, uint16_t *ret_port)
{
    weir_address a;
    fixture_listen(fixture_places[0], 0, &a);
    fixture_name("held.test", fixture_places[0]);
    fixture_name_hold("held.test");
    weir_socket *s = fixture_nonblocking(family, SOCK_STREAM);

    *ret_port = weir_address_port(&a);
    assert_int_equal(weir_connect(s, "held.test", *ret_port), -EINPROGRESS);
    return s;
}

static void nonblocking_connect_is_back_while_the_name_is_unknown(void **state)
{
    (void)state;
    uint16_t port;
    struct interest in;
    weir_socket *s = connect_to_held(AF_UNSPEC, &port);

    assert_int_equal(weir_connect(s, "held.test", port), -EALREADY);
    fixture_interest(s, &in);
    assert_int_equal(in.count, 0);
    fixture_name_let_go("held.test");
    assert_int_equal(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    assert_int_equal(weir_connect_status(s), 0);
}

/* An answer that comes while nobody waits must be there for who comes next, or he waits for
 * ever. */
static void answer_that_nobody_waited_for_is_not_lost(void **state)
{
    (void)state;
    struct interest in;
    weir_socket *s = connect_to_held(AF_INET, &(uint16_t){0});

    fixture_interest(s, &in);
    assert_true(in.wake_at_ns == NEVER);
    fixture_name_let_go("held.test");
    uint64_t patience_ns = sys_now() + 10 * NS_PER_S;
    do
        fixture_interest(s, &in);
    while (in.wake_at_ns > sys_now() && sys_now() < patience_ns);
    assert_true(in.wake_at_ns <= sys_now());
}

/* Pollers: what they watch follows the connect, and no descriptor is closed before they let go. */
static void watchers_are_told_of_every_change(void **state)
{
    (void)state;
    weir_address a;
    int listener;
    uint16_t port = fixture_full_then_good("slow.test", 2, &listener);
    fixture_refuse("127.61.7.1", 0, &a);
    fixture_name("dead.test", "127.61.7.1");
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    struct fixture_watcher *w = fixture_watch(s);
    assert_int_equal(weir_connect(s, "dead.test", weir_address_port(&a)), -EINPROGRESS);
    assert_true(fixture_watcher_is_right(w));
    assert_int_equal(fixture_drive(s, 9), -ECONNREFUSED);
    assert_true(fixture_watcher_is_right(w));
    assert_int_equal(weir_connect(s, "slow.test", port), -EINPROGRESS);
    assert_true(fixture_watcher_is_right(w));
    for (unsigned i = 1; i <= 2; i++) {
        assert_int_equal(fixture_drive(s, i), -EINPROGRESS);
        assert_true(fixture_watcher_is_right(w));
        fixture_later(250);
    }
    assert_int_equal(fixture_drive(s, 9), 0);
    assert_true(fixture_watcher_is_right(w));
}

/* One attempt in the place of another, and nothing else changes. */
static void watchers_are_told_of_a_replacement(void **state)
{
    (void)state;
    weir_address a, mine;
    fixture_refuse(fixture_places[0], 0, &a);
    uint16_t port = weir_address_port(&a);
    fixture_full(fixture_places[1], port, &a);
    fixture_name("next.test", fixture_places[0]);
    fixture_name("next.test", fixture_places[1]);
    fixture_listen("127.0.0.1", 0, &mine); /* its port is free at another place */
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_bind(s, "127.62.0.1", weir_address_port(&mine)), 0);
    struct fixture_watcher *w = fixture_watch(s);
    assert_int_equal(weir_connect(s, "next.test", port), -EINPROGRESS);
    while (fixture_calls(SYS_CONNECT) < 2)
        assert_int_equal(weir_connect_status(s), -EINPROGRESS);
    assert_true(fixture_watcher_is_right(w));
    assert_int_equal(fixture_watched(w).count, 1);
}

static void watchers_are_told_of_a_new_time(void **state)
{
    (void)state;
    weir_address a;
    fixture_full(fixture_places[0], 0, &a);
    fixture_name("one.test", fixture_places[0]);
    fixture_name("one.test", fixture_places[1]);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    struct fixture_watcher *w = fixture_watch(s);
    assert_int_equal(weir_connect(s, "one.test", weir_address_port(&a)), -EINPROGRESS);
    assert_int_equal(fixture_drive(s, 1), -EINPROGRESS);
    assert_true(fixture_watched(w).wake_at_ns != NEVER);
    fixture_later(250); /* the second attempt fails at once: nothing to look at again for */
    uint64_t patience_ns = sys_now() + 10 * NS_PER_S;
    do
        assert_int_equal(weir_connect_status(s), -EINPROGRESS);
    while (fixture_watched(w).wake_at_ns != NEVER && sys_now() < patience_ns);
    assert_true(fixture_watched(w).wake_at_ns == NEVER);
}

static void answer_wakes_a_blocked_caller(void **state)
{
    (void)state;
    weir_address a;
    fixture_listen(fixture_places[0], 0, &a);
    fixture_name("held.test", fixture_places[0]);
    fixture_name_hold("held.test");
    struct fixture_caller c = {.s = fixture_socket(AF_UNSPEC, SOCK_STREAM),
                               .host = "held.test",
                               .port = weir_address_port(&a)};

    fixture_call(&c);
    fixture_until_asleep(&c);
    fixture_name_let_go("held.test");
    assert_int_equal(fixture_join(&c), 0);
}

static void silent_name_server_is_bounded_by_the_limit(void **state)
{
    (void)state;
    fixture_name_hold("held.test");
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);

    weir_set_timeout(s, 10);
    assert_int_equal(weir_connect(s, "held.test", 80), WEIR_EDEADLINE);
    assert_true(fixture_story_has(s, "held.test: the look-up has not ended"));
    assert_int_equal(weir_connect_status(s), WEIR_EDEADLINE);
}

static void background_connect_is_bounded_by_the_timeout(void **state)
{
    (void)state;
    fixture_name_hold("held.test");
    weir_socket *s = fixture_nonblocking(AF_UNSPEC, SOCK_STREAM);

    weir_set_timeout(s, 1000000);
    assert_int_equal(weir_connect(s, "held.test", 80), -EINPROGRESS);
    fixture_later(900000);
    assert_int_equal(weir_connect_status(s), -EINPROGRESS);
    fixture_later(100000);
    assert_int_equal(weir_connect_status(s), WEIR_EDEADLINE);
}

static void close_and_abort_end_a_lookup(void **state)
{
    (void)state;
    fixture_name_hold("held.test");
    struct fixture_caller c = {
        .s = fixture_socket(AF_UNSPEC, SOCK_STREAM), .host = "held.test", .port = 80};
    weir_socket *s = fixture_nonblocking(AF_UNSPEC, SOCK_STREAM);

    fixture_call(&c);
    fixture_until_asleep(&c);
    weir_abort(c.s);
    assert_int_equal(fixture_join(&c), WEIR_ECLOSED);
    assert_int_equal(weir_connect(s, "held.test", 80), -EINPROGRESS);
    fixture_close(s);
}

/* ---- datagrams ----------------------------------------------------------------------------- */

static void datagram_socket_takes_the_first_that_can_be_connected(void **state)
{
    (void)state;
    fixture_name("udp.test", fixture_places[0]);
    fixture_name("udp.test", fixture_places[1]);
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_DGRAM);

    assert_int_equal(weir_connect(s, "udp.test", 9), 0);
    assert_string_equal(fixture_peer(s), fixture_places[0]);
    int fd = weir_fd(s);
    fixture_fail(SYS_CONNECT, -ENETUNREACH, 0, 1);
    assert_int_equal(weir_connect(s, "udp.test", 9), 0);
    assert_string_equal(fixture_peer(s), fixture_places[1]);
    assert_int_equal(weir_fd(s), fd);
}

/* While the new peer's name is looked up the old one is still there, and stays if that fails. */
static void datagram_socket_keeps_its_peer_when_the_name_fails(void **state)
{
    (void)state;
    fixture_name("udp.test", fixture_places[0]);
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_DGRAM);

    assert_int_equal(weir_connect(s, "udp.test", 9), 0);
    assert_int_equal(weir_connect(s, "nobody.test", 9), WEIR_ENONAME);
    assert_string_equal(fixture_peer(s), fixture_places[0]);
    assert_int_equal(weir_send(s, "x", 1), 1);
}

static void bound_datagram_socket_stays_bound_when_the_name_fails(void **state)
{
    (void)state;
    weir_socket *s = fixture_nonblocking(AF_UNSPEC, SOCK_DGRAM);
    char byte;

    assert_int_equal(weir_bind(s, "127.0.0.1", 0), 0);
    weir_set_blocking(s, true);
    assert_int_equal(weir_connect(s, "nobody.test", 9), WEIR_ENONAME);
    weir_set_blocking(s, false);
    assert_int_equal(socket_phase(s), PHASE_BOUND);
    assert_int_equal(weir_recv(s, &byte, 1), -EAGAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(failed_lookups_are_told_by_name),
        FIXTURE_TEST(text_that_is_no_name_is_refused_at_once),
        FIXTURE_TEST(nonblocking_connect_is_back_while_the_name_is_unknown),
        FIXTURE_TEST(answer_that_nobody_waited_for_is_not_lost),
        FIXTURE_TEST(watchers_are_told_of_every_change),
        FIXTURE_TEST(watchers_are_told_of_a_replacement),
        FIXTURE_TEST(watchers_are_told_of_a_new_time),
        FIXTURE_TEST(answer_wakes_a_blocked_caller),
        FIXTURE_TEST(silent_name_server_is_bounded_by_the_limit),
        FIXTURE_TEST(background_connect_is_bounded_by_the_timeout),
        FIXTURE_TEST(close_and_abort_end_a_lookup),
        FIXTURE_TEST(datagram_socket_takes_the_first_that_can_be_connected),
        FIXTURE_TEST(datagram_socket_keeps_its_peer_when_the_name_fails),
        FIXTURE_TEST(bound_datagram_socket_stays_bound_when_the_name_fails),
    };

    return cmocka_run_group_tests_name("connect_name", tests, NULL, NULL);
}
