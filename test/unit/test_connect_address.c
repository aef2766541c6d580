/* Connecting to addresses: every way in which it can end, and what the socket is then good for. */
#include "socket.h"
#include "support/connect_fixture.h"

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HERE "127.0.0.1"

static int int_option(weir_socket *s, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;

    assert_int_equal(weir_get_option(s, level, name, &value, &length), 0);
    return value;
}

static void set_int_option(weir_socket *s, int level, int name, int value)
{
    assert_int_equal(weir_set_option(s, level, name, &value, sizeof value), 0);
}

/* ---- success ------------------------------------------------------------------------------- */

static void blocking_connect_waits_and_is_told_once(void **state)
{
    (void)state;
    weir_address a;
    fixture_listen(HERE, 0, &a);
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect_status(s), -ENOTCONN);
    assert_int_equal(weir_connect_address(s, &a), 0);
    assert_int_equal(weir_connect_address(s, &a), -EISCONN);
    assert_int_equal(weir_connect(s, HERE, 1), -EISCONN);
    assert_int_equal(weir_connect_status(s), 0);
    assert_int_equal(weir_connect_status(s), 0);
}

static void numeric_host_and_open_family(void **state)
{
    (void)state;
    const char *hosts[] = {"127.0.0.1", "::1"};

    for (int i = 0; i < 2; i++) {
        weir_address a, peer;
        fixture_listen(hosts[i], 0, &a);
        weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);
        assert_int_equal(weir_connect(s, hosts[i], weir_address_port(&a)), 0);
        assert_int_equal(weir_peer_address(s, &peer), 0);
        assert_true(weir_address_equal(&peer, &a));
    }
}

static void nonblocking_connect_says_not_yet_then_0_once(void **state)
{
    (void)state;
    weir_address a;
    fixture_listen(HERE, 0, &a);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect_address(s, &a), -EINPROGRESS);
    assert_int_equal(weir_fd(s), -ENOTCONN);
    assert_int_equal(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    assert_int_equal(weir_connect_address(s, &a), 0);
    assert_int_equal(weir_connect_address(s, &a), -EISCONN);
    assert_int_equal(weir_connect_status(s), 0);
}

/* A fresh TCP socket polls as writable, which must not be taken for a connection. */
static void unanswered_connect_stays_in_progress(void **state)
{
    (void)state;
    weir_address a;
    fixture_full(HERE, 0, &a);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect_address(s, &a), -EINPROGRESS);
    assert_int_equal(weir_connect_address(s, &a), -EALREADY);
    assert_int_equal(weir_connect_status(s), -EINPROGRESS);
    assert_int_equal(weir_send(s, "x", 1), -EAGAIN);
}

/* It was a connection, so it counts as one; and no byte that came before the reset is lost, nor
 * the reset. */
static void accepted_and_reset_is_a_success(void **state)
{
    (void)state;
    const char *texts[] = {"go away", ""};

    for (int i = 0; i < 2; i++) {
        weir_address a;
        char buf[16];
        int listener = fixture_listen(HERE, 0, &a);
        weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);
        assert_int_equal(weir_connect_address(s, &a), -EINPROGRESS);
        fixture_accept_and_reset(listener, texts[i]);
        assert_int_equal(fixture_drive(s, 2), 0);
        weir_set_blocking(s, true);
        if (*texts[i])
            assert_int_equal(weir_recv(s, buf, sizeof buf), strlen(texts[i]));
        assert_int_equal(weir_recv(s, buf, sizeof buf), -ECONNRESET);
        assert_int_equal(weir_recv(s, buf, sizeof buf), -ECONNRESET);
    }
}

static int hidden_fd;
static weir_address hidden_address;

static int connect_and_be_interrupted(void)
{
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(&hidden_address, &length);

    (void)connect(hidden_fd, sa, length);
    return -EINTR;
}

/* An interrupted connect(2) goes on; calling it again would give EALREADY. */
static void interrupted_connect_goes_on(void **state)
{
    (void)state;
    fixture_listen(HERE, 0, &hidden_address);
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);

    hidden_fd = dup(0); /* the number that the next descriptor will have */
    close(hidden_fd);
    fixture_instead_of_connect(connect_and_be_interrupted);
    assert_int_equal(weir_connect_address(s, &hidden_address), 0);
}

/* ---- failure ------------------------------------------------------------------------------- */

static void refused_connect_says_so_and_can_be_repeated(void **state)
{
    (void)state;
    weir_address dead, alive;
    char story[64];
    fixture_refuse(HERE, 0, &dead);
    fixture_listen(HERE, 0, &alive);
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect_address(s, &dead), -ECONNREFUSED);
    snprintf(story, sizeof story, HERE ":%d: connection refused", weir_address_port(&dead));
    assert_true(fixture_story_has(s, story));
    assert_int_equal(weir_connect_status(s), -ECONNREFUSED);
    assert_int_equal(weir_fd(s), -ENOTCONN);
    assert_int_equal(weir_connect_address(s, &dead), -ECONNREFUSED);
    assert_int_equal(weir_connect_address(s, &alive), 0);
    assert_int_equal(weir_connect_status(s), 0);
}

/* Its connect has failed, and no call has said so. */
static weir_socket *out_of_time_in_the_background(void)
{
    weir_address full;
    fixture_full(HERE, 0, &full);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    weir_set_timeout(s, 100000);
    assert_int_equal(weir_connect_address(s, &full), -EINPROGRESS);
    fixture_later(100000);
    return s;
}

/* A program that asks "weir_connect" again and again must see the failure that came in the
 * background, not start anew for ever. */
static void failure_in_the_background_is_told_before_the_next_try(void **state)
{
    (void)state;
    weir_address alive;
    weir_socket *s = out_of_time_in_the_background();
    fixture_listen(HERE, 0, &alive);

    assert_int_equal(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    assert_int_equal(weir_connect_address(s, &alive), WEIR_EDEADLINE);
    assert_int_equal(weir_connect_address(s, &alive), -EINPROGRESS);
    assert_int_equal(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    assert_int_equal(weir_connect_address(s, &alive), 0);
}

static void failure_that_status_told_is_not_told_again(void **state)
{
    (void)state;
    weir_address alive;
    weir_socket *s = out_of_time_in_the_background();
    fixture_listen(HERE, 0, &alive);

    assert_int_equal(weir_connect_status(s), WEIR_EDEADLINE);
    assert_int_equal(weir_connect_address(s, &alive), -EINPROGRESS);
}

/* A limit ends the attempt, and leaves a socket that can connect again, with all that was set on
 * it. */
static void connect_out_of_time_can_be_repeated_with_its_options(void **state)
{
    (void)state;
    weir_address full, alive, local;
    char story[64];
    fixture_full(HERE, 0, &full);
    fixture_listen(HERE, 0, &alive);

    for (int by_scope = 0; by_scope < 2; by_scope++) {
        weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);
        set_int_option(s, IPPROTO_TCP, TCP_NODELAY, 1);
        set_int_option(s, IPPROTO_IP, IP_TOS, IPTOS_LOWDELAY);
        assert_int_equal(weir_bind(s, "127.0.0.9", 0), 0);
        int open = fixture_open_fds();
        weir_scope scope = weir_deadline_start(by_scope ? 20 : -1);
        weir_set_timeout(s, by_scope ? -1 : 20);
        assert_int_equal(weir_connect_address(s, &full), WEIR_EDEADLINE);
        weir_scope_end(scope);
        weir_set_timeout(s, -1);
        assert_int_equal(fixture_open_fds(), open - 1);
        snprintf(story, sizeof story, HERE ":%d: no answer yet", weir_address_port(&full));
        assert_true(fixture_story_has(s, story));
        assert_int_equal(weir_connect_status(s), WEIR_EDEADLINE);
        assert_int_equal(socket_phase(s), PHASE_NEW);

        assert_int_equal(weir_connect_address(s, &alive), 0);
        assert_int_equal(int_option(s, IPPROTO_TCP, TCP_NODELAY), 1);
        assert_int_equal(int_option(s, IPPROTO_IP, IP_TOS), IPTOS_LOWDELAY);
        assert_int_equal(weir_local_address(s, &local), 0);
        char text[WEIR_ADDRESS_TEXT_MAX];
        weir_address_format(&local, text, sizeof text);
        assert_int_equal(strncmp(text, "127.0.0.9:", 10), 0);
    }
}

static void limit_that_has_passed_begins_nothing(void **state)
{
    (void)state;
    weir_address a;
    int listener = fixture_listen(HERE, 0, &a);
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);
    weir_scope scope = weir_deadline_start(0);

    assert_int_equal(weir_connect_address(s, &a), WEIR_EDEADLINE);
    assert_true(fixture_is_lonely(listener));
    weir_scope_end(scope);
    assert_int_equal(weir_connect_address(s, &a), 0);
}

/* On loopback a connect to a port where nobody listens can meet itself. */
static void connection_to_itself_is_refused(void **state)
{
    (void)state;
    const char *hosts[] = {"127.0.0.1", "::1"};

    for (int i = 0; i < 2; i++) {
        weir_socket *s = fixture_socket(AF_UNSPEC, SOCK_STREAM);
        weir_address a;
        assert_int_equal(weir_bind(s, hosts[i], 0), 0);
        assert_int_equal(weir_local_address(s, &a), 0);
        assert_int_equal(weir_connect_address(s, &a), -ECONNREFUSED);
    }
}

static void failing_system_calls_are_reported_and_leak_nothing(void **state)
{
    (void)state;
    static const struct {
        enum sys_call call;
        int rc, want;
    } cases[] = {
        {SYS_SOCKET, -EMFILE, -EMFILE},         {SYS_CONNECT, -ENETUNREACH, -ENETUNREACH},
        {SYS_CONNECT, -EAGAIN, -EADDRNOTAVAIL}, /* of TCP this is no "not yet" */
        {SYS_SETSOCKOPT, -ENOBUFS, -ENOBUFS},   {SYS_ALLOC, -ENOMEM, -ENOMEM},
    };
    weir_address a;
    fixture_listen(HERE, 0, &a);
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);

    set_int_option(s, IPPROTO_TCP, TCP_NODELAY, 1);
    int open = fixture_open_fds();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture_fail(cases[i].call, cases[i].rc, 0, 1);
        assert_int_equal(weir_connect_address(s, &a), cases[i].want);
        assert_int_equal(fixture_open_fds(), open);
    }
    assert_int_equal(weir_connect_address(s, &a), 0);
}

/* ---- wrong use ----------------------------------------------------------------------------- */

static void wrong_use_is_refused(void **state)
{
    (void)state;
    weir_address a, none = {0}, six;
    fixture_listen(HERE, 0, &a);
    assert_int_equal(weir_address_parse("[::1]:80", &six), 0);
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);
    weir_socket *local = fixture_socket(AF_UNIX, SOCK_STREAM);

    assert_int_equal(weir_connect(NULL, HERE, 1), -EINVAL);
    assert_int_equal(weir_connect(s, NULL, 1), -EINVAL);
    assert_int_equal(weir_connect_address(NULL, &a), -EINVAL);
    assert_int_equal(weir_connect_address(s, NULL), -EINVAL);
    assert_int_equal(weir_connect_address(s, &none), -EINVAL);
    assert_int_equal(weir_connect_status(NULL), -EINVAL);
    assert_int_equal(weir_connect_address(s, &six), -EAFNOSUPPORT);
    assert_int_equal(weir_connect(s, "::1", 80), -EAFNOSUPPORT);
    assert_int_equal(weir_connect(s, "unix:@weir", 0), -EAFNOSUPPORT);
    assert_true(fixture_story_has(s, "family"));
    assert_int_equal(weir_connect(local, HERE, 80), -EAFNOSUPPORT);
    assert_int_equal(weir_connect(local, "localhost", 80), -EAFNOSUPPORT);
    assert_int_equal(weir_connect(local, "unix:@weir", 80), -EINVAL);
    assert_int_equal(weir_connect_status(s), -ENOTCONN);
    assert_int_equal(weir_connect_address(s, &a), 0);
}

static void listener_does_not_connect(void **state)
{
    (void)state;
    weir_address a;
    fixture_listen(HERE, 0, &a);
    weir_socket *s = fixture_socket(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_bind(s, HERE, 0), 0);
    assert_int_equal(weir_listen(s, 1), 0);
    assert_int_equal(weir_connect_address(s, &a), -EINVAL);
    assert_int_equal(weir_connect_status(s), -ENOTCONN);
}

static void sockets_that_were_connected_elsewhere_are_connected(void **state)
{
    (void)state;
    weir_socket *pair[2];
    weir_address a;

    assert_int_equal(weir_pair(pair, SOCK_STREAM), 0);
    assert_int_equal(weir_address_parse("unix:@weir", &a), 0);
    assert_int_equal(weir_connect_address(pair[0], &a), -EISCONN);
    assert_int_equal(weir_connect_status(pair[0]), 0);
    weir_close(pair[0]);
    weir_close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(blocking_connect_waits_and_is_told_once),
        FIXTURE_TEST(numeric_host_and_open_family),
        FIXTURE_TEST(nonblocking_connect_says_not_yet_then_0_once),
        FIXTURE_TEST(unanswered_connect_stays_in_progress),
        FIXTURE_TEST(accepted_and_reset_is_a_success),
        FIXTURE_TEST(interrupted_connect_goes_on),
        FIXTURE_TEST(refused_connect_says_so_and_can_be_repeated),
        FIXTURE_TEST(failure_in_the_background_is_told_before_the_next_try),
        FIXTURE_TEST(failure_that_status_told_is_not_told_again),
        FIXTURE_TEST(connect_out_of_time_can_be_repeated_with_its_options),
        FIXTURE_TEST(limit_that_has_passed_begins_nothing),
        FIXTURE_TEST(connection_to_itself_is_refused),
        FIXTURE_TEST(failing_system_calls_are_reported_and_leak_nothing),
        FIXTURE_TEST(wrong_use_is_refused),
        FIXTURE_TEST(listener_does_not_connect),
        FIXTURE_TEST(sockets_that_were_connected_elsewhere_are_connected),
    };

    return cmocka_run_group_tests_name("connect_address", tests, NULL, NULL);
}
