/* Connecting sockets of other kinds: adopted descriptors, datagrams, Unix sockets. */
#include "socket.h"
#include "support/connect_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HERE "127.0.0.1"

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

static void unix_socket_connects_by_text(void **state)
{
    (void)state;
    char text[64];
    weir_address a;
    fixture_place(text, sizeof text, "text");
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
    fixture_place(text, sizeof text, "full");
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
    fixture_place(text, sizeof text, "blocks");
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
    fixture_place(mine, sizeof mine, "mine");
    fixture_place(nobody, sizeof nobody, "nobody");
    fixture_place(somebody, sizeof somebody, "somebody");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(adopted_descriptor_is_the_one_that_connects),
        FIXTURE_TEST(adopted_descriptor_does_not_block),
        FIXTURE_TEST(adopted_and_bound_stays_bound_for_the_next_attempt),
        FIXTURE_TEST(datagram_socket_connects_at_once_and_again),
        FIXTURE_TEST(failed_reconnect_keeps_the_old_peer),
        FIXTURE_TEST(unix_socket_connects_by_text),
        FIXTURE_TEST(unix_socket_waits_for_room_in_the_queue),
        FIXTURE_TEST(unix_socket_blocks_while_the_queue_is_full),
        FIXTURE_TEST(bound_unix_socket_survives_a_failure),
    };

    return cmocka_run_group_tests_name("connect_kinds", tests, NULL, NULL);
}
