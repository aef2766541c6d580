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
#include <sys/wait.h>

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

/* A program that asks "weir_connect" again and again must see the failure that came in the
 * background, not start anew for ever. */
static void failure_in_the_background_is_told_before_the_next_try(void **state)
{
    (void)state;
    weir_address full, alive;
    fixture_full(HERE, 0, &full);
    fixture_listen(HERE, 0, &alive);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    weir_set_timeout(s, 100000);
    assert_int_equal(weir_connect_address(s, &full), -EINPROGRESS);
    fixture_later(100000);
    assert_int_equal(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    assert_int_equal(weir_connect_address(s, &alive), WEIR_EDEADLINE);
    assert_int_equal(weir_connect_address(s, &alive), -EINPROGRESS);
    assert_int_equal(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    assert_int_equal(weir_connect_address(s, &alive), 0);
}

static void failure_that_status_told_is_not_told_again(void **state)
{
    (void)state;
    weir_address full, alive;
    fixture_full(HERE, 0, &full);
    fixture_listen(HERE, 0, &alive);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    weir_set_timeout(s, 100000);
    assert_int_equal(weir_connect_address(s, &full), -EINPROGRESS);
    fixture_later(100000);
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

/* ---- adopted descriptors ------------------------------------------------------------------- */

static weir_socket *adopt(int fd)
{
    weir_socket *s;

    assert_int_equal(weir_from_fd(&s, fd), 0);
    return s;
}

/* O_NONBLOCK is turned on for the attempt alone: the descriptor is given back as it came. */
static void adopted_descriptor_is_the_one_that_connects(void **state)
{
    (void)state;
    weir_address a;
    fixture_listen(HERE, 0, &a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    weir_socket *s = adopt(fd);

    assert_int_equal(weir_connect_address(s, &a), 0);
    assert_int_equal(weir_fd(s), fd);
    assert_int_equal(weir_detach(s), fd);
    assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
}

static void adopted_descriptor_does_not_block(void **state)
{
    (void)state;
    weir_address full;
    fixture_full(HERE, 0, &full);
    weir_socket *s = adopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

    weir_set_blocking(s, false);
    assert_int_equal(weir_connect_address(s, &full), -EINPROGRESS);
    weir_close(s);
}

/* The descriptor is used up by the first attempt; where it was bound is not forgotten. */
static void adopted_and_bound_stays_bound_for_the_next_attempt(void **state)
{
    (void)state;
    weir_address dead, alive, local, before;
    fixture_refuse(HERE, 0, &dead);
    fixture_listen(HERE, 0, &alive);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    weir_address any;
    socklen_t length;
    assert_int_equal(weir_address_parse("127.0.0.8:0", &any), 0);
    const struct sockaddr *sa = weir_address_sockaddr(&any, &length);
    assert_int_equal(bind(fd, sa, length), 0);
    weir_socket *s = adopt(fd);
    assert_int_equal(weir_local_address(s, &before), 0);

    assert_int_equal(weir_connect_address(s, &dead), -ECONNREFUSED);
    assert_int_equal(weir_connect_address(s, &alive), 0);
    assert_int_equal(weir_local_address(s, &local), 0);
    assert_true(weir_address_equal(&local, &before));
    fd = weir_detach(s);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK); /* another descriptor, and as weir makes them */
    close(fd);
}

/* ---- datagrams ----------------------------------------------------------------------------- */

static void datagram_socket_connects_at_once_and_again(void **state)
{
    (void)state;
    weir_socket *s = fixture_nonblocking(AF_UNSPEC, SOCK_DGRAM);
    weir_address one, two, six, peer;
    assert_int_equal(weir_address_parse("127.0.0.1:9", &one), 0);
    assert_int_equal(weir_address_parse("127.0.0.2:9", &two), 0);
    assert_int_equal(weir_address_parse("[::1]:9", &six), 0);

    assert_int_equal(weir_connect_address(s, &one), 0);
    int fd = weir_fd(s);
    assert_int_equal(weir_connect_address(s, &two), 0);
    assert_int_equal(weir_fd(s), fd);
    assert_int_equal(weir_peer_address(s, &peer), 0);
    assert_true(weir_address_equal(&peer, &two));
    assert_int_equal(weir_connect_address(s, &six), -EAFNOSUPPORT);
    assert_int_equal(weir_connect(s, "127.0.0.1", 9), 0);
    assert_int_equal(weir_connect_status(s), 0);
}

static void failed_reconnect_keeps_the_old_peer(void **state)
{
    (void)state;
    weir_socket *s = fixture_socket(AF_INET, SOCK_DGRAM);
    weir_address one, two, peer;
    assert_int_equal(weir_address_parse("127.0.0.1:9", &one), 0);
    assert_int_equal(weir_address_parse("127.0.0.2:9", &two), 0);

    assert_int_equal(weir_connect_address(s, &one), 0);
    fixture_fail(SYS_CONNECT, -ENETUNREACH, 0, 1);
    assert_int_equal(weir_connect_address(s, &two), -ENETUNREACH);
    assert_int_equal(weir_connect_status(s), -ENETUNREACH);
    assert_int_equal(weir_peer_address(s, &peer), 0);
    assert_true(weir_address_equal(&peer, &one));
    assert_int_equal(weir_send(s, "x", 1), 1);
}

/* ---- Unix ---------------------------------------------------------------------------------- */

static void place(char *text, size_t size, const char *what)
{
    snprintf(text, size, "unix:@weir-connect-%s-%d", what, (int)getpid());
}

static void unix_socket_connects_by_text(void **state)
{
    (void)state;
    char text[64];
    weir_address a;
    place(text, sizeof text, "text");
    fixture_listen(text, 0, &a);

    assert_int_equal(weir_connect(fixture_socket(AF_UNIX, SOCK_STREAM), text, 0), 0);
    assert_int_equal(weir_connect(fixture_nonblocking(AF_UNSPEC, SOCK_STREAM), text, 0), 0);
}

/* poll(2) says "writable" all the time while the queue is full: only time leads on. */
static void unix_socket_waits_for_room_in_the_queue(void **state)
{
    (void)state;
    char text[64];
    weir_address a;
    struct interest in;
    uint64_t started_ns = 0;
    place(text, sizeof text, "full");
    int listener = fixture_full(text, 0, &a);
    weir_socket *s = fixture_nonblocking(AF_UNIX, SOCK_STREAM);

    assert_int_equal(weir_connect_address(s, &a), -EINPROGRESS);
    fixture_interest(s, &in);
    assert_true(in.wake_at_ns <= sys_now() + NS_PER_MS);
    for (int i = 0; i < 8; i++) {
        fixture_later(50);
        started_ns = sys_now();
        assert_int_equal(weir_connect_address(s, &a), -EALREADY);
        fixture_interest(s, &in);
        assert_int_equal(in.count, 0);
        assert_true(in.wake_at_ns <= sys_now() + 50 * NS_PER_MS);
    }
    assert_true(in.wake_at_ns >= started_ns + 50 * NS_PER_MS);
    fixture_accept(listener);
    fixture_later(50);
    assert_int_equal(weir_connect_address(s, &a), 0);
}

static void unix_socket_blocks_while_the_queue_is_full(void **state)
{
    (void)state;
    char text[64];
    struct fixture_caller c = {.s = fixture_socket(AF_UNIX, SOCK_STREAM)};
    place(text, sizeof text, "blocks");
    int listener = fixture_full(text, 0, &c.address);

    fixture_call(&c);
    fixture_until_asleep(&c);
    fixture_accept(listener);
    assert_int_equal(fixture_join(&c), 0);
    weir_socket *s = fixture_socket(AF_UNIX, SOCK_STREAM);
    weir_set_timeout(s, 5);
    assert_int_equal(weir_connect_address(s, &c.address), WEIR_EDEADLINE);
    assert_true(fixture_story_has(s, "queue is full"));
}

/* A Unix socket that is bound could not be bound again: the name is taken. So it keeps its
 * descriptor. */
static void bound_unix_socket_survives_a_failure(void **state)
{
    (void)state;
    char mine[64], nobody[64], somebody[64];
    weir_address a, local;
    place(mine, sizeof mine, "mine");
    place(nobody, sizeof nobody, "nobody");
    place(somebody, sizeof somebody, "somebody");
    fixture_listen(somebody, 0, &a);
    weir_socket *s = fixture_socket(AF_UNIX, SOCK_STREAM);

    assert_int_equal(weir_bind(s, mine, 0), 0);
    assert_int_equal(weir_connect(s, nobody, 0), -ECONNREFUSED);
    assert_int_equal(socket_phase(s), PHASE_BOUND);
    assert_true(weir_fd(s) >= 0);
    assert_int_equal(weir_connect(s, somebody, 0), 0);
    assert_int_equal(weir_local_address(s, &local), 0);
    assert_int_equal(weir_address_parse(mine, &a), 0);
    assert_true(weir_address_equal(&a, &local));
}

/* ---- several at once ----------------------------------------------------------------------- */

static void abort_ends_a_connect_that_waits(void **state)
{
    (void)state;
    struct fixture_caller c = {.s = fixture_socket(AF_INET, SOCK_STREAM)};
    fixture_full(HERE, 0, &c.address);
    int open = fixture_open_fds();

    fixture_call(&c);
    fixture_until_asleep(&c);
    weir_abort(c.s);
    assert_int_equal(fixture_join(&c), WEIR_ECLOSED);
    assert_int_equal(fixture_open_fds(), open);
    assert_int_equal(weir_connect_address(c.s, &c.address), WEIR_ECLOSED);
}

static void close_while_connecting_leaks_nothing(void **state)
{
    (void)state;
    weir_address full;
    fixture_full(HERE, 0, &full);
    int open = fixture_open_fds();
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect_address(s, &full), -EINPROGRESS);
    fixture_close(s);
    assert_int_equal(fixture_open_fds(), open);
}

static void all_who_wait_for_a_connect_get_its_result(void **state)
{
    (void)state;
    char text[64];
    place(text, sizeof text, "all");
    struct fixture_caller c[3] = {{.s = fixture_socket(AF_UNIX, SOCK_STREAM)}};
    int listener = fixture_full(text, 0, &c[0].address);

    c[1] = c[2] = c[0];
    for (int i = 0; i < 3; i++) {
        fixture_call(&c[i]);
        fixture_until_asleep(&c[i]);
    }
    fixture_accept(listener);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_join(&c[i]), 0);
    assert_int_equal(weir_connect_address(c[0].s, &c[0].address), -EISCONN);
}

/* The limit of a call that merely joined does not end what another call still waits for. */
static void limit_of_one_waiter_leaves_the_connect_to_its_owner(void **state)
{
    (void)state;
    char text[64];
    place(text, sizeof text, "owner");
    struct fixture_caller owner = {.s = fixture_socket(AF_UNIX, SOCK_STREAM)};
    int listener = fixture_full(text, 0, &owner.address);
    struct fixture_caller guest = owner;

    guest.limit_ms = 5;
    fixture_call(&owner);
    fixture_until_asleep(&owner);
    fixture_call(&guest);
    assert_int_equal(fixture_join(&guest), WEIR_EDEADLINE);
    fixture_accept(listener);
    assert_int_equal(fixture_join(&owner), 0);
}

/* What goes on in the background belongs to nobody: whoever waits for it, his limit ends it. */
static void limit_ends_a_connect_of_the_background(void **state)
{
    (void)state;
    weir_address full;
    fixture_full(HERE, 0, &full);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect_address(s, &full), -EINPROGRESS);
    weir_set_blocking(s, true);
    weir_scope scope = weir_deadline_start(5);
    assert_int_equal(weir_connect_address(s, &full), WEIR_EDEADLINE);
    weir_scope_end(scope);
    assert_int_equal(weir_connect_status(s), WEIR_EDEADLINE);
}

static void child_goes_on_with_a_connect_of_its_parent(void **state)
{
    (void)state;
    weir_address a;
    int status;
    fixture_listen(HERE, 0, &a);
    weir_socket *s = fixture_nonblocking(AF_INET, SOCK_STREAM);

    assert_int_equal(weir_connect_address(s, &a), -EINPROGRESS);
    pid_t child = fork();
    if (child == 0)
        _exit(weir_wait(s, WEIR_WRITABLE) == WEIR_WRITABLE && weir_connect_status(s) == 0 ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    assert_int_equal(weir_connect_status(s), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blocking_connect_waits_and_is_told_once),
        TEST(numeric_host_and_open_family),
        TEST(nonblocking_connect_says_not_yet_then_0_once),
        TEST(unanswered_connect_stays_in_progress),
        TEST(accepted_and_reset_is_a_success),
        TEST(interrupted_connect_goes_on),
        TEST(refused_connect_says_so_and_can_be_repeated),
        TEST(failure_in_the_background_is_told_before_the_next_try),
        TEST(failure_that_status_told_is_not_told_again),
        TEST(connect_out_of_time_can_be_repeated_with_its_options),
        TEST(limit_that_has_passed_begins_nothing),
        TEST(connection_to_itself_is_refused),
        TEST(failing_system_calls_are_reported_and_leak_nothing),
        TEST(wrong_use_is_refused),
        TEST(listener_does_not_connect),
        TEST(sockets_that_were_connected_elsewhere_are_connected),
        TEST(adopted_descriptor_is_the_one_that_connects),
        TEST(adopted_descriptor_does_not_block),
        TEST(adopted_and_bound_stays_bound_for_the_next_attempt),
        TEST(datagram_socket_connects_at_once_and_again),
        TEST(failed_reconnect_keeps_the_old_peer),
        TEST(unix_socket_connects_by_text),
        TEST(unix_socket_waits_for_room_in_the_queue),
        TEST(unix_socket_blocks_while_the_queue_is_full),
        TEST(bound_unix_socket_survives_a_failure),
        TEST(abort_ends_a_connect_that_waits),
        TEST(close_while_connecting_leaks_nothing),
        TEST(all_who_wait_for_a_connect_get_its_result),
        TEST(limit_of_one_waiter_leaves_the_connect_to_its_owner),
        TEST(limit_ends_a_connect_of_the_background),
        TEST(child_goes_on_with_a_connect_of_its_parent),
    };

    return cmocka_run_group_tests_name("connect_address", tests, NULL, NULL);
}
