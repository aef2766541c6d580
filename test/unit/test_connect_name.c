/* Connecting by name: the race on real sockets, and names that are slow, wrong or never
 * answered. */
#include "socket.h"
#include "support/connect_fixture.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Places of this process alone, all at one port. */
static const char *const places[] = {"127.61.0.1", "127.61.0.2", "127.61.0.3", "127.61.0.4",
                                     "127.61.0.5", "127.61.0.6", "127.61.0.7", "127.61.0.8"};

static char peer_text[WEIR_ADDRESS_TEXT_MAX];

static const char *peer_of(weir_socket *s)
{
    weir_address a;

    assert_int_equal(weir_peer_address(s, &a), 0);
    weir_address_format(&a, peer_text, sizeof peer_text);
    *strrchr(peer_text, ':') = '\0';
    return peer_text;
}

static void first_address_that_answers_is_taken(void **state)
{
    (void)state;
    weir_address a;
    fixture_refuse(places[0], 0, &a);
    uint16_t port = weir_address_port(&a);
    fixture_refuse(places[1], port, &a);
    fixture_listen(places[2], port, &a);
    for (int i = 0; i < 3; i++)
        fixture_name("www.test", places[i]);
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "www.test", port), 0);
    assert_string_equal(peer_of(s), places[2]);
    assert_int_equal(weir_connect(s, "www.test", port), -EISCONN);
}

static void ipv6_goes_first_and_ipv4_stands_in(void **state)
{
    (void)state;
    weir_address four, six;
    fixture_listen("127.0.0.1", 0, &four);
    uint16_t port = weir_address_port(&four);
    fixture_refuse("::1", port, &six);
    fixture_name("both.test", "127.0.0.1");
    fixture_name("both.test", "::1");
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "both.test", port), 0);
    assert_string_equal(peer_of(s), "127.0.0.1");
}

static void all_refused_tells_of_each(void **state)
{
    (void)state;
    weir_address a, b;
    char story[160];
    fixture_refuse(places[0], 0, &a);
    fixture_refuse(places[1], weir_address_port(&a), &b);
    fixture_name("dead.test", places[0]);
    fixture_name("dead.test", places[1]);
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "dead.test", weir_address_port(&a)), -ECONNREFUSED);
    snprintf(story, sizeof story, "%s:%d: connection refused; %s:%d: connection refused", places[0],
             weir_address_port(&a), places[1], weir_address_port(&a));
    assert_true(fixture_story_has(s, story));
}

#define LONG_LIST 100
#define AT_A_TIME 16

/* A program that must not be held up is back after a few attempts, however long the list; the
 * rest is due at once. */
static void long_list_is_tried_in_portions_to_its_end(void **state)
{
    (void)state;
    weir_address a;
    struct interest in;
    fixture_listen("127.61.9.9", 0, &a);
    for (int i = 1; i <= LONG_LIST; i++) {
        char text[32];
        snprintf(text, sizeof text, "127.61.8.%d", i);
        fixture_name("long.test", text);
    }
    fixture_name("long.test", "127.61.9.9");
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    fixture_fail(SYS_CONNECT, -ENETUNREACH, 0, LONG_LIST);
    int rc = weir_connect(s, "long.test", weir_address_port(&a));
    for (int before = fixture_calls(SYS_CONNECT); rc == -EINPROGRESS;) {
        rc = weir_connect_status(s);
        int tried = fixture_calls(SYS_CONNECT) - before;
        assert_in_range(tried, 0, AT_A_TIME);
        fixture_interest(s, &in);
        if (tried == AT_A_TIME)
            assert_true(in.wake_at_ns <= sys_now());
        before += tried;
    }
    assert_int_equal(rc, 0);
    assert_string_equal(peer_of(s), "127.61.9.9");
    assert_int_equal(fixture_calls(SYS_CONNECT), LONG_LIST + 1);
}

/* A success that is the last of its portion is reported with it. */
static void success_is_not_put_off(void **state)
{
    (void)state;
    for (int i = 1; i <= LONG_LIST; i++) {
        char text[32];
        snprintf(text, sizeof text, "127.61.8.%d", i);
        fixture_name("long.test", text);
    }
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_DGRAM);

    fixture_fail(SYS_CONNECT, -ENETUNREACH, 0, AT_A_TIME - 1);
    int rc = weir_connect(s, "long.test", 9);
    while (fixture_calls(SYS_CONNECT) == 0)
        rc = weir_connect_status(s);
    assert_int_equal(rc, 0);
    assert_string_equal(peer_of(s), "127.61.8.16");
}

static void only_the_family_of_the_socket_is_asked_for(void **state)
{
    (void)state;
    weir_address a;
    fixture_listen(places[0], 0, &a);
    fixture_name("four.test", places[0]);
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "four.test", weir_address_port(&a)), 0);
    assert_int_equal(fixture_asked("four.test", AF_INET), 1);
    assert_int_equal(fixture_asked("four.test", AF_INET6), 0);
}

/* ---- the race ------------------------------------------------------------------------------ */

/* Places that never answer, `count` of them, and one that listens after them. Returns the port. */
static uint16_t full_then_good(const char *name, int count, int *ret_listener)
{
    weir_address a;
    uint16_t port = 0;

    for (int i = 0; i < count; i++) {
        fixture_full(places[i], port, &a);
        port = weir_address_port(&a);
        fixture_name(name, places[i]);
    }
    *ret_listener = fixture_listen(places[count], port, &a);
    fixture_name(name, places[count]);
    return port;
}

static void silent_address_is_overtaken(void **state)
{
    (void)state;
    int listener;
    uint16_t port = full_then_good("slow.test", 1, &listener);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "slow.test", port), -EINPROGRESS);
    assert_int_equal(fixture_drive(s, 1), -EINPROGRESS);
    assert_true(fixture_is_lonely(listener));
    fixture_later(250);
    assert_int_equal(fixture_drive(s, 3), 0);
    assert_string_equal(peer_of(s), places[1]);
}

/* The blocking call comes to the same end on the real clock. */
static void blocking_caller_wakes_for_the_next_attempt(void **state)
{
    (void)state;
    int listener;
    uint16_t port = full_then_good("slow.test", 1, &listener);
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "slow.test", port), 0);
    assert_string_equal(peer_of(s), places[1]);
}

static void losers_are_closed_before_connect_returns(void **state)
{
    (void)state;
    int listener;
    uint16_t port = full_then_good("slow.test", 2, &listener);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);
    int open = fixture_open_fds();

    assert_int_equal(weir_connect(s, "slow.test", port), -EINPROGRESS);
    for (unsigned i = 1; i <= 2; i++) {
        assert_int_equal(fixture_drive(s, i), -EINPROGRESS);
        fixture_later(250);
    }
    assert_int_equal(fixture_drive(s, 9), 0);
    assert_int_equal(fixture_open_fds(), open + 1);
}

static void six_attempts_are_the_most(void **state)
{
    (void)state;
    int listener;
    struct interest in;
    uint16_t port = full_then_good("six.test", 7, &listener);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "six.test", port), -EINPROGRESS);
    for (unsigned i = 1; i <= 6; i++) {
        assert_int_equal(fixture_drive(s, i), -EINPROGRESS);
        fixture_later(250);
    }
    assert_int_equal(weir_connect_status(s), -EINPROGRESS);
    fixture_interest(s, &in);
    assert_int_equal(in.count, 6);
    assert_true(in.wake_at_ns == NEVER);
    assert_true(fixture_is_lonely(listener));
}

/* Two stand before anybody has looked: one is the connection, the other is closed and not
 * leaked. */
static void of_two_winners_one_is_closed(void **state)
{
    (void)state;
    weir_address a;
    int first = fixture_listen(places[0], 0, &a), second;
    uint16_t port = weir_address_port(&a);
    char byte;
    second = fixture_listen(places[1], port, &a);
    fixture_name("two.test", places[0]);
    fixture_name("two.test", places[1]);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);
    int open = fixture_open_fds();

    fixture_fail(SYS_POLL, -ENOMEM, 0, 1000000); /* nobody looks */
    assert_int_equal(weir_connect(s, "two.test", port), -EINPROGRESS);
    assert_int_equal(fixture_drive(s, 1), -EINPROGRESS);
    fixture_later(250);
    assert_int_equal(fixture_drive(s, 2), -EINPROGRESS);
    int accepted[] = {fixture_accept(first), fixture_accept(second)};
    fixture_fail(SYS_POLL, 0, 0, 0);
    assert_int_equal(fixture_drive(s, 3), 0);
    assert_int_equal(fixture_open_fds(), open + 3);
    assert_int_equal(weir_send(s, "x", 1), 1);
    int won = strcmp(peer_of(s), places[1]) == 0;
    assert_int_equal(recv(accepted[won], &byte, 1, 0), 1);
    assert_int_equal(recv(accepted[!won], &byte, 1, 0), 0);
}

/* Two attempts from one port at a time would be in each other's way. */
static void fixed_port_goes_one_after_the_other(void **state)
{
    (void)state;
    int listener;
    struct interest in;
    weir_address mine;
    uint16_t port = full_then_good("fixed.test", 1, &listener);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);
    fixture_listen("127.0.0.1", 0, &mine); /* its port is free at another place */

    assert_int_equal(weir_bind(s, "127.62.0.1", weir_address_port(&mine)), 0);
    assert_int_equal(weir_connect(s, "fixed.test", port), -EINPROGRESS);
    assert_int_equal(fixture_drive(s, 1), -EINPROGRESS);
    int tried = fixture_calls(SYS_SOCKET);
    fixture_later(10000);
    assert_int_equal(weir_connect_status(s), -EINPROGRESS);
    fixture_interest(s, &in);
    assert_int_equal(in.count, 1);
    assert_int_equal(fixture_calls(SYS_SOCKET), tried);
}

static void fixed_port_is_used_again_after_a_failure(void **state)
{
    (void)state;
    weir_address a, local, mine;
    fixture_refuse(places[0], 0, &a);
    uint16_t port = weir_address_port(&a);
    fixture_listen(places[1], port, &a);
    fixture_name("next.test", places[0]);
    fixture_name("next.test", places[1]);
    fixture_listen("127.0.0.1", 0, &mine); /* its port is free at another place */
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_bind(s, "127.62.0.1", weir_address_port(&mine)), 0);
    assert_int_equal(weir_connect(s, "next.test", port), 0);
    assert_string_equal(peer_of(s), places[1]);
    assert_int_equal(weir_local_address(s, &local), 0);
    assert_int_equal(weir_address_port(&local), weir_address_port(&mine));
}

static void options_are_applied_to_every_attempt(void **state)
{
    (void)state;
    weir_address a;
    int value = 1;
    socklen_t length = sizeof value;
    fixture_refuse(places[0], 0, &a);
    uint16_t port = weir_address_port(&a);
    fixture_listen(places[1], port, &a);
    fixture_name("opt.test", places[0]);
    fixture_name("opt.test", places[1]);
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);

    assert_int_equal(weir_set_option(s, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value), 0);
    assert_int_equal(weir_connect(s, "opt.test", port), 0);
    value = 0;
    assert_int_equal(weir_get_option(s, IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
    assert_int_equal(value, 1);
}

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

static void nonblocking_connect_is_back_while_the_name_is_unknown(void **state)
{
    (void)state;
    weir_address a;
    struct interest in;
    fixture_listen(places[0], 0, &a);
    fixture_name("held.test", places[0]);
    fixture_name_hold("held.test");
    weir_socket *s = fixture_nonblocking(AF_UNSPEC, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "held.test", weir_address_port(&a)), -EINPROGRESS);
    assert_int_equal(weir_connect(s, "held.test", weir_address_port(&a)), -EALREADY);
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
    weir_address a;
    struct interest in;
    fixture_listen(places[0], 0, &a);
    fixture_name("held.test", places[0]);
    fixture_name_hold("held.test");
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "held.test", weir_address_port(&a)), -EINPROGRESS);
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
    uint16_t port = full_then_good("slow.test", 2, &listener);
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
    fixture_refuse(places[0], 0, &a);
    uint16_t port = weir_address_port(&a);
    fixture_full(places[1], port, &a);
    fixture_name("next.test", places[0]);
    fixture_name("next.test", places[1]);
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
    fixture_full(places[0], 0, &a);
    fixture_name("one.test", places[0]);
    fixture_name("one.test", places[1]);
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
    fixture_listen(places[0], 0, &a);
    fixture_name("held.test", places[0]);
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
    fixture_name("udp.test", places[0]);
    fixture_name("udp.test", places[1]);
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_DGRAM);

    assert_int_equal(weir_connect(s, "udp.test", 9), 0);
    assert_string_equal(peer_of(s), places[0]);
    int fd = weir_fd(s);
    fixture_fail(SYS_CONNECT, -ENETUNREACH, 0, 1);
    assert_int_equal(weir_connect(s, "udp.test", 9), 0);
    assert_string_equal(peer_of(s), places[1]);
    assert_int_equal(weir_fd(s), fd);
}

/* While the new peer's name is looked up the old one is still there, and stays if that fails. */
static void datagram_socket_keeps_its_peer_when_the_name_fails(void **state)
{
    (void)state;
    fixture_name("udp.test", places[0]);
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_DGRAM);

    assert_int_equal(weir_connect(s, "udp.test", 9), 0);
    assert_int_equal(weir_connect(s, "nobody.test", 9), WEIR_ENONAME);
    assert_string_equal(peer_of(s), places[0]);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(first_address_that_answers_is_taken),
        TEST(ipv6_goes_first_and_ipv4_stands_in),
        TEST(all_refused_tells_of_each),
        TEST(long_list_is_tried_in_portions_to_its_end),
        TEST(success_is_not_put_off),
        TEST(only_the_family_of_the_socket_is_asked_for),
        TEST(silent_address_is_overtaken),
        TEST(blocking_caller_wakes_for_the_next_attempt),
        TEST(losers_are_closed_before_connect_returns),
        TEST(six_attempts_are_the_most),
        TEST(of_two_winners_one_is_closed),
        TEST(fixed_port_goes_one_after_the_other),
        TEST(fixed_port_is_used_again_after_a_failure),
        TEST(options_are_applied_to_every_attempt),
        TEST(failed_lookups_are_told_by_name),
        TEST(text_that_is_no_name_is_refused_at_once),
        TEST(nonblocking_connect_is_back_while_the_name_is_unknown),
        TEST(answer_that_nobody_waited_for_is_not_lost),
        TEST(watchers_are_told_of_every_change),
        TEST(watchers_are_told_of_a_replacement),
        TEST(watchers_are_told_of_a_new_time),
        TEST(answer_wakes_a_blocked_caller),
        TEST(silent_name_server_is_bounded_by_the_limit),
        TEST(background_connect_is_bounded_by_the_timeout),
        TEST(close_and_abort_end_a_lookup),
        TEST(datagram_socket_takes_the_first_that_can_be_connected),
        TEST(datagram_socket_keeps_its_peer_when_the_name_fails),
        TEST(bound_datagram_socket_stays_bound_when_the_name_fails),
    };

    return cmocka_run_group_tests_name("connect_name", tests, NULL, NULL);
}
