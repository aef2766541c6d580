/* Dialling and listening by text. */
#include "socket.h"
#include "support/connect_fixture.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <weir/dial.h>

static char target_text[WEIR_ADDRESS_TEXT_MAX + 16];

/* scheme + the address of a listener */
static const char *target(const char *scheme, const weir_address *a)
{
    char text[WEIR_ADDRESS_TEXT_MAX];

    weir_address_format(a, text, sizeof text);
    snprintf(target_text, sizeof target_text, "%s%s", scheme, text);
    return target_text;
}

static int int_option(weir_socket *s, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;

    assert_int_equal(weir_get_option(s, level, name, &value, &length), 0);
    return value;
}

static weir_address where(weir_socket *s)
{
    weir_address a;

    assert_int_equal(weir_local_address(s, &a), 0);
    return a;
}

/* Dials, expects success, and sends a byte each way. */
static void expect_conversation(weir_socket *listener, const char *text)
{
    weir_socket *s, *peer;
    char byte;

    assert_int_equal(weir_dial(&s, text, NULL), 0);
    assert_int_equal(weir_accept(listener, &peer), 0);
    assert_int_equal(weir_send(s, "a", 1), 1);
    assert_int_equal(weir_recv(peer, &byte, 1), 1);
    assert_int_equal(weir_send(peer, "b", 1), 1);
    assert_int_equal(weir_recv(s, &byte, 1), 1);
    weir_close(s);
    weir_close(peer);
}

/* ---- dialling ------------------------------------------------------------------------------ */

static void every_form_of_target_leads_to_a_connection(void **state)
{
    (void)state;
    char unix_text[64];
    snprintf(unix_text, sizeof unix_text, "unix:@weir-dial-%d", (int)getpid());
    const char *listeners[] = {"tcp://127.0.0.1:0", "127.0.0.1:0", "[::1]:0", unix_text};

    for (size_t i = 0; i < sizeof listeners / sizeof *listeners; i++) {
        weir_socket *l;
        assert_int_equal(weir_listen_on(&l, listeners[i], NULL), 0);
        weir_address a = where(l);
        expect_conversation(l, target("", &a));
        if (a.family != AF_UNIX)
            expect_conversation(l, target("tcp://", &a));
        weir_close(l);
    }
}

static void dialled_tcp_sends_small_messages_at_once(void **state)
{
    (void)state;
    weir_address a;
    weir_socket *s;
    fixture_listen("127.0.0.1", 0, &a);

    assert_int_equal(weir_dial(&s, target("", &a), NULL), 0);
    assert_int_equal(int_option(s, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(weir_get_blocking(s), 1);
    weir_close(s);
}

static void dialled_udp_is_connected(void **state)
{
    (void)state;
    weir_socket *l, *s;
    char byte;

    assert_int_equal(weir_listen_on(&l, "udp://127.0.0.1:0", NULL), 0);
    weir_address a = where(l);
    assert_int_equal(weir_dial(&s, target("udp://", &a), NULL), 0);
    assert_int_equal(weir_send(s, "x", 1), 1);
    assert_int_equal(weir_recv(l, &byte, 1), 1);
    weir_close(s);
    weir_close(l);
}

static void dialled_by_name(void **state)
{
    (void)state;
    weir_address a;
    weir_socket *s;
    char text[64];
    fixture_listen("127.0.0.1", 0, &a);
    fixture_name("dial.test", "127.0.0.1");

    snprintf(text, sizeof text, "tcp://dial.test:%d", weir_address_port(&a));
    assert_int_equal(weir_dial(&s, text, NULL), 0);
    weir_close(s);
}

static void nonblocking_dial_gives_a_socket_that_goes_on(void **state)
{
    (void)state;
    weir_address a;
    weir_socket *s = NULL;
    char text[64];
    fixture_listen("127.0.0.1", 0, &a);
    fixture_name("dial.test", "127.0.0.1");
    fixture_name_hold("dial.test");

    snprintf(text, sizeof text, "dial.test:%d", weir_address_port(&a));
    assert_int_equal(weir_dial(&s, text, WEIR_DIAL_OPTIONS(.nonblocking = true)), -EINPROGRESS);
    assert_non_null(s);
    assert_int_equal(weir_get_blocking(s), 0);
    fixture_name_let_go("dial.test");
    assert_int_equal(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    assert_int_equal(weir_connect_status(s), 0);
    weir_close(s);
}

static void dial_is_bounded_by_its_timeout(void **state)
{
    (void)state;
    weir_address full;
    weir_socket *s = NULL;
    fixture_full("127.0.0.1", 0, &full);

    assert_int_equal(weir_dial(&s, target("", &full), WEIR_DIAL_OPTIONS(.timeout_ms = 10)),
                     WEIR_EDEADLINE);
    assert_null(s);
    assert_true(fixture_story_has(NULL, "no answer yet"));
}

static void dial_from_a_local_address(void **state)
{
    (void)state;
    weir_address a;
    weir_socket *s = NULL;
    char text[WEIR_ADDRESS_TEXT_MAX];
    fixture_listen("127.0.0.1", 0, &a);

    assert_int_equal(weir_dial(&s, target("", &a), WEIR_DIAL_OPTIONS(.local = "127.0.0.7:0")), 0);
    weir_address local = where(s);
    weir_address_format(&local, text, sizeof text);
    assert_int_equal(strncmp(text, "127.0.0.7:", 10), 0);
    weir_close(s);

    s = NULL;
    assert_int_equal(weir_dial(&s, target("", &a), WEIR_DIAL_OPTIONS(.local = "192.0.2.1:0")),
                     -EADDRNOTAVAIL);
    assert_true(fixture_story_has(NULL, "192.0.2.1:0"));
    assert_int_equal(weir_dial(&s, target("", &a), WEIR_DIAL_OPTIONS(.local = "nonsense")),
                     -EINVAL);
    assert_null(s);
}

/* The story of a failure outlives the socket: it is the thread's. */
static void failed_dial_tells_of_each_address(void **state)
{
    (void)state;
    weir_address a, b;
    weir_socket *s = NULL;
    char text[64];
    fixture_refuse("127.61.1.1", 0, &a);
    fixture_refuse("127.61.1.2", weir_address_port(&a), &b);
    fixture_name("dead.test", "127.61.1.1");
    fixture_name("dead.test", "127.61.1.2");

    snprintf(text, sizeof text, "dead.test:%d", weir_address_port(&a));
    assert_int_equal(weir_dial(&s, text, NULL), -ECONNREFUSED);
    assert_null(s);
    assert_true(fixture_story_has(NULL, "127.61.1.1:"));
    assert_true(fixture_story_has(NULL, "127.61.1.2:"));
    assert_int_equal(weir_dial(&s, "nobody.test:80", NULL), WEIR_ENONAME);
    assert_true(fixture_story_has(NULL, "nobody.test: "));
}

static void wrong_targets_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        {"", -EINVAL},
        {"host", -EINVAL},
        {"host:http", -EINVAL},
        {"127.0.0.1:65536", -EINVAL},
        {"tcp://a..b:80", -EINVAL},
        {"tcp://*:80", -EINVAL},
        {":80", -EINVAL},
        {"unix:", -EINVAL},
        {"gopher://host:70", -EPROTONOSUPPORT},
        {"dtls://127.0.0.1:443", -EPROTONOSUPPORT},
    };
    weir_socket *s = NULL;
    char story[256];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(weir_dial(&s, cases[i].text, NULL), cases[i].rc);
        assert_true(weir_error_detail(NULL, story, sizeof story) > 0);
        assert_null(s);
    }
    assert_int_equal(weir_listen_on(&s, "dtls://*:443", NULL), -EPROTONOSUPPORT);
    assert_int_equal(weir_listen_on(&s, "host", NULL), -EINVAL);
    assert_int_equal(weir_dial(NULL, "127.0.0.1:1", NULL), -EINVAL);
    assert_int_equal(weir_dial(&s, NULL, NULL), -EINVAL);
    assert_int_equal(weir_listen_on(NULL, "127.0.0.1:0", NULL), -EINVAL);
    assert_int_equal(weir_listen_on(&s, NULL, NULL), -EINVAL);
    assert_null(s);
}

/* A caller who was compiled when there were fewer options, or when there were more. */
static void options_of_another_size_are_understood(void **state)
{
    (void)state;
    struct {
        weir_dial_options known;
        char more[64];
    } longer = {.known = {.size = sizeof longer, .nonblocking = true}};
    weir_dial_options shorter = {.size = offsetof(weir_dial_options, timeout_ms),
                                 .nonblocking = true,
                                 .local = "nonsense that must not be read"};
    weir_dial_options none = {.nonblocking = true};
    weir_address full;
    weir_socket *s;
    fixture_full("127.0.0.1", 0, &full);

    assert_int_equal(weir_dial(&s, target("", &full), &longer.known), -EINPROGRESS);
    weir_close(s);
    assert_int_equal(weir_dial(&s, target("", &full), &shorter), -EINPROGRESS);
    weir_close(s);
    assert_int_equal(weir_dial(&s, target("", &full), &none), -EINVAL);
}

static void without_memory_or_descriptors_nothing_leaks(void **state)
{
    (void)state;
    weir_address a;
    weir_socket *s = NULL;
    fixture_listen("127.0.0.1", 0, &a);
    char text[WEIR_ADDRESS_TEXT_MAX + 16];
    snprintf(text, sizeof text, "%s", target("", &a));

    for (int skip = 0, rc = -ENOMEM; rc == -ENOMEM; skip++) {
        fixture_fail(SYS_ALLOC, -ENOMEM, skip, 1);
        rc = weir_dial(&s, text, WEIR_DIAL_OPTIONS(.local = "127.0.0.1:0"));
        fixture_fail(SYS_ALLOC, 0, 0, 0);
        assert_true(rc == 0 || rc == -ENOMEM);
    }
    weir_close(s);
    s = NULL;
    for (int skip = 0, rc = -ENOMEM; rc == -ENOMEM; skip++) {
        fixture_fail(SYS_ALLOC, -ENOMEM, skip, 1);
        rc = weir_listen_on(&s, "127.0.0.1:0", NULL);
        fixture_fail(SYS_ALLOC, 0, 0, 0);
        assert_true(rc == 0 || rc == -ENOMEM);
    }
    weir_close(s);
    fixture_fail(SYS_SOCKET, -EMFILE, 0, 2);
    assert_int_equal(weir_dial(&s, text, NULL), -EMFILE);
    assert_int_equal(weir_listen_on(&s, "127.0.0.1:0", NULL), -EMFILE);
}

/* ---- listening ----------------------------------------------------------------------------- */

static void every_local_address_is_of_both_families(void **state)
{
    (void)state;
    weir_socket *l;
    char text[64];

    assert_int_equal(weir_listen_on(&l, "tcp://*:0", NULL), 0);
    weir_address a = where(l);
    assert_int_equal(a.family, AF_INET6);
    snprintf(text, sizeof text, "127.0.0.1:%d", weir_address_port(&a));
    expect_conversation(l, text);
    snprintf(text, sizeof text, "[::1]:%d", weir_address_port(&a));
    expect_conversation(l, text);
    weir_close(l);
}

static void every_local_address_without_ipv6_is_ipv4(void **state)
{
    (void)state;
    static const struct {
        enum sys_call call;
        int rc;
    } lacks[] = {{SYS_SOCKET, -EAFNOSUPPORT}, {SYS_BIND, -EADDRNOTAVAIL}};

    for (int i = 0; i < 2; i++) {
        weir_socket *l;
        fixture_fail(lacks[i].call, lacks[i].rc, 0, 1);
        assert_int_equal(weir_listen_on(&l, ":0", NULL), 0);
        assert_int_equal(where(l).family, AF_INET);
        weir_close(l);
    }
}

static void listener_takes_the_first_address_of_a_name_that_is_here(void **state)
{
    (void)state;
    weir_socket *l;
    char text[WEIR_ADDRESS_TEXT_MAX];
    fixture_name("here.test", "192.0.2.1");
    fixture_name("here.test", "127.61.2.1");
    fixture_name("gone.test", "192.0.2.1");

    assert_int_equal(weir_listen_on(&l, "here.test:0", NULL), 0);
    weir_address a = where(l);
    weir_address_format(&a, text, sizeof text);
    assert_int_equal(strncmp(text, "127.61.2.1:", 11), 0);
    weir_close(l);
    assert_int_equal(weir_listen_on(&l, "gone.test:0", NULL), -EADDRNOTAVAIL);
    assert_true(fixture_story_has(NULL, "192.0.2.1:0: "));
    assert_int_equal(weir_listen_on(&l, "nobody.test:0", NULL), WEIR_ENONAME);
    assert_true(fixture_story_has(NULL, "nobody.test"));
}

static void place_that_is_taken_is_told(void **state)
{
    (void)state;
    weir_address a;
    weir_socket *l;
    fixture_listen("127.0.0.1", 0, &a);

    assert_int_equal(weir_listen_on(&l, target("tcp://", &a), NULL), -EADDRINUSE);
    assert_true(fixture_story_has(NULL, target("", &a)));
}

/* Half of the addresses would be less than was asked for. */
static void place_that_is_taken_in_ipv6_is_not_exchanged_for_ipv4(void **state)
{
    (void)state;
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    socklen_t length = sizeof any;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    weir_socket *l = NULL;
    char text[32];

    assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &length), 0);
    snprintf(text, sizeof text, "*:%d", ntohs(any.sin6_port));
    assert_int_equal(weir_listen_on(&l, text, NULL), -EADDRINUSE);
    assert_null(l);
    close(fd);
}

static void listeners_share_a_port_when_all_say_so(void **state)
{
    (void)state;
    const char *schemes[] = {"tcp://", "udp://"};

    for (int i = 0; i < 2; i++) {
        weir_socket *one, *two;
        char text[64];
        snprintf(text, sizeof text, "%s127.0.0.1:0", schemes[i]);
        assert_int_equal(weir_listen_on(&one, text, WEIR_LISTEN_OPTIONS(.reuse_port = true)), 0);
        weir_address a = where(one);
        assert_int_equal(weir_listen_on(&two, target(schemes[i], &a), NULL), -EADDRINUSE);
        assert_int_equal(
            weir_listen_on(&two, target(schemes[i], &a), WEIR_LISTEN_OPTIONS(.reuse_port = true)),
            0);
        weir_close(one);
        weir_close(two);
    }
}

/* Connections of the last run that are still fading away do not keep a server from starting
 * again. */
static void listener_can_be_started_again_at_once(void **state)
{
    (void)state;
    weir_socket *l, *s, *peer;

    assert_int_equal(weir_listen_on(&l, "127.0.0.1:0", NULL), 0);
    weir_address a = where(l);
    assert_int_equal(weir_dial(&s, target("", &a), NULL), 0);
    assert_int_equal(weir_accept(l, &peer), 0);
    weir_close(peer); /* the end that closes first is the one that waits */
    weir_close(s);
    weir_close(l);
    assert_int_equal(weir_listen_on(&l, target("", &a), NULL), 0);
    weir_close(l);
}

static void accepted_connections_send_small_messages_at_once(void **state)
{
    (void)state;
    weir_socket *l, *s, *peer;

    assert_int_equal(weir_listen_on(&l, "127.0.0.1:0", NULL), 0);
    weir_address a = where(l);
    assert_int_equal(weir_dial(&s, target("", &a), NULL), 0);
    assert_int_equal(weir_accept(l, &peer), 0);
    assert_int_equal(int_option(peer, IPPROTO_TCP, TCP_NODELAY), 1);
    weir_close(peer);
    weir_close(s);
    weir_close(l);
}

static void listener_can_start_in_nonblocking_mode(void **state)
{
    (void)state;
    weir_socket *l, *peer;

    assert_int_equal(weir_listen_on(&l, "127.0.0.1:0", WEIR_LISTEN_OPTIONS(.nonblocking = true)),
                     0);
    assert_int_equal(weir_accept(l, &peer), -EAGAIN);
    weir_close(l);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_form_of_target_leads_to_a_connection),
        TEST(dialled_tcp_sends_small_messages_at_once),
        TEST(dialled_udp_is_connected),
        TEST(dialled_by_name),
        TEST(nonblocking_dial_gives_a_socket_that_goes_on),
        TEST(dial_is_bounded_by_its_timeout),
        TEST(dial_from_a_local_address),
        TEST(failed_dial_tells_of_each_address),
        TEST(wrong_targets_are_refused),
        TEST(options_of_another_size_are_understood),
        TEST(without_memory_or_descriptors_nothing_leaks),
        TEST(every_local_address_is_of_both_families),
        TEST(every_local_address_without_ipv6_is_ipv4),
        TEST(listener_takes_the_first_address_of_a_name_that_is_here),
        TEST(place_that_is_taken_is_told),
        TEST(place_that_is_taken_in_ipv6_is_not_exchanged_for_ipv4),
        TEST(listeners_share_a_port_when_all_say_so),
        TEST(listener_can_be_started_again_at_once),
        TEST(accepted_connections_send_small_messages_at_once),
        TEST(listener_can_start_in_nonblocking_mode),
    };

    return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
