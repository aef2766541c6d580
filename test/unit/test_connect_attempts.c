/* Connecting by name: the addresses that it has, one after the other and side by side, on real
 * sockets. */
#include "clock.h"
#include "support/connect_fixture.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void first_address_that_answers_is_taken(void **state)
{
    (void)state;
    weir_address a;
    fixture_refuse(fixture_places[0], 0, &a);
    uint16_t port = weir_address_port(&a);
    fixture_refuse(fixture_places[1], port, &a);
    fixture_listen(fixture_places[2], port, &a);
    for (int i = 0; i < 3; i++)
        fixture_name("www.test", fixture_places[i]);
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "www.test", port), 0);
    assert_string_equal(fixture_peer(s), fixture_places[2]);
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
    assert_string_equal(fixture_peer(s), "127.0.0.1");
}

static void all_refused_tells_of_each(void **state)
{
    (void)state;
    weir_address a, b;
    char story[160];
    fixture_refuse(fixture_places[0], 0, &a);
    fixture_refuse(fixture_places[1], weir_address_port(&a), &b);
    fixture_name("dead.test", fixture_places[0]);
    fixture_name("dead.test", fixture_places[1]);
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "dead.test", weir_address_port(&a)), -ECONNREFUSED);
    snprintf(story, sizeof story, "%s:%d: connection refused; %s:%d: connection refused",
             fixture_places[0], weir_address_port(&a), fixture_places[1], weir_address_port(&a));
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
    assert_string_equal(fixture_peer(s), "127.61.9.9");
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
    assert_string_equal(fixture_peer(s), "127.61.8.16");
}

static void only_the_family_of_the_socket_is_asked_for(void **state)
{
    (void)state;
    weir_address a;
    fixture_listen(fixture_places[0], 0, &a);
    fixture_name("four.test", fixture_places[0]);
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "four.test", weir_address_port(&a)), 0);
    assert_int_equal(fixture_asked("four.test", AF_INET), 1);
    assert_int_equal(fixture_asked("four.test", AF_INET6), 0);
}

/* ---- the race ------------------------------------------------------------------------------ */

static void silent_address_is_overtaken(void **state)
{
    (void)state;
    int listener;
    uint16_t port = fixture_full_then_good("slow.test", 1, &listener);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "slow.test", port), -EINPROGRESS);
    assert_int_equal(fixture_drive(s, 1), -EINPROGRESS);
    assert_true(fixture_is_lonely(listener));
    fixture_later(250);
    assert_int_equal(fixture_drive(s, 3), 0);
    assert_string_equal(fixture_peer(s), fixture_places[1]);
}

/* The blocking call comes to the same end on the real clock. */
static void blocking_caller_wakes_for_the_next_attempt(void **state)
{
    (void)state;
    int listener;
    uint16_t port = fixture_full_then_good("slow.test", 1, &listener);
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect(s, "slow.test", port), 0);
    assert_string_equal(fixture_peer(s), fixture_places[1]);
}

static void losers_are_closed_before_connect_returns(void **state)
{
    (void)state;
    int listener;
    uint16_t port = fixture_full_then_good("slow.test", 2, &listener);
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
    uint16_t port = fixture_full_then_good("six.test", 7, &listener);
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
    int first = fixture_listen(fixture_places[0], 0, &a), second;
    uint16_t port = weir_address_port(&a);
    char byte;
    second = fixture_listen(fixture_places[1], port, &a);
    fixture_name("two.test", fixture_places[0]);
    fixture_name("two.test", fixture_places[1]);
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
    int won = strcmp(fixture_peer(s), fixture_places[1]) == 0;
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
    uint16_t port = fixture_full_then_good("fixed.test", 1, &listener);
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
    fixture_refuse(fixture_places[0], 0, &a);
    uint16_t port = weir_address_port(&a);
    fixture_listen(fixture_places[1], port, &a);
    fixture_name("next.test", fixture_places[0]);
    fixture_name("next.test", fixture_places[1]);
    fixture_listen("127.0.0.1", 0, &mine); /* its port is free at another place */
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_bind(s, "127.62.0.1", weir_address_port(&mine)), 0);
    assert_int_equal(weir_connect(s, "next.test", port), 0);
    assert_string_equal(fixture_peer(s), fixture_places[1]);
    assert_int_equal(weir_local_address(s, &local), 0);
    assert_int_equal(weir_address_port(&local), weir_address_port(&mine));
}

static void options_are_applied_to_every_attempt(void **state)
{
    (void)state;
    weir_address a;
    int value = 1;
    socklen_t length = sizeof value;
    fixture_refuse(fixture_places[0], 0, &a);
    uint16_t port = weir_address_port(&a);
    fixture_listen(fixture_places[1], port, &a);
    fixture_name("opt.test", fixture_places[0]);
    fixture_name("opt.test", fixture_places[1]);
    weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);

    assert_int_equal(weir_set_option(s, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value), 0);
    assert_int_equal(weir_connect(s, "opt.test", port), 0);
    value = 0;
    assert_int_equal(weir_get_option(s, IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
    assert_int_equal(value, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(first_address_that_answers_is_taken),
        FIXTURE_TEST(ipv6_goes_first_and_ipv4_stands_in),
        FIXTURE_TEST(all_refused_tells_of_each),
        FIXTURE_TEST(long_list_is_tried_in_portions_to_its_end),
        FIXTURE_TEST(success_is_not_put_off),
        FIXTURE_TEST(only_the_family_of_the_socket_is_asked_for),
        FIXTURE_TEST(silent_address_is_overtaken),
        FIXTURE_TEST(blocking_caller_wakes_for_the_next_attempt),
        FIXTURE_TEST(losers_are_closed_before_connect_returns),
        FIXTURE_TEST(six_attempts_are_the_most),
        FIXTURE_TEST(of_two_winners_one_is_closed),
        FIXTURE_TEST(fixed_port_goes_one_after_the_other),
        FIXTURE_TEST(fixed_port_is_used_again_after_a_failure),
        FIXTURE_TEST(options_are_applied_to_every_attempt),
    };

    return cmocka_run_group_tests_name("connect_attempts", tests, NULL, NULL);
}
