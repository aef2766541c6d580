/* Sending and receiving: what comes through, how it ends, what stays. */
#include "support/rig.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>

/* ---- moving bytes --------------------------------------------------------------------------- */

SCENARIO(bytes_go_both_ways)
{
    weir_socket *a, *b;
    char buf[16] = "";
    rig_pair(rig, &a, &b);
    for (int i = 0; i < 10; i++) {
        EXPECT(rig_send(rig, a, "ping", 4), 4);
        EXPECT(rig_recv(rig, b, buf, sizeof buf), 4);
        CHECK(!memcmp(buf, "ping", 4));
        EXPECT(rig_send(rig, b, "pong!", 5), 5);
        EXPECT(rig_recv(rig, a, buf, sizeof buf), 5);
        CHECK(!memcmp(buf, "pong!", 5));
    }
}

SCENARIO_FOR(recv_takes_what_is_there, STREAM)
{
    weir_socket *a, *b;
    char buf[16];
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, a, "abcdef", 6), 6);
    EXPECT(rig_recv(rig, b, buf, 4), 4);
    CHECK(!memcmp(buf, "abcd", 4));
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 2);
    CHECK(!memcmp(buf, "ef", 2));
}

SCENARIO(recv_with_nothing_there)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(RIG_BRIEFLY(rig, a, WEIR_READABLE, weir_recv(a, &byte, 1)), WEIR_EDEADLINE);
    EXPECT(weir_set_blocking(a, false), 0);
    EXPECT(weir_recv(a, &byte, 1), -EAGAIN);
    EXPECT(weir_send(b, "x", 1), 1);
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_READABLE);
    EXPECT(weir_recv(a, &byte, 1), 1);
    CHECK(byte == 'x');
}

static void send_late(struct rig *rig, void *arg)
{
    EXPECT(rig_send(rig, arg, "late", 4), 4);
}

SCENARIO(recv_wakes_for_bytes)
{
    weir_socket *a, *b;
    char buf[8];
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_when_asleep(rig, send_late, b);
    EXPECT(rig_recv(rig, a, buf, sizeof buf), 4);
    CHECK(!memcmp(buf, "late", 4));
    rig_join(t);
}

/* Fills the way to the peer; returns how much went. */
static size_t fill(weir_socket *s)
{
    static char block[65536];
    size_t sent = 0;
    ssize_t n;
    int blocking = weir_get_blocking(s);
    EXPECT(weir_set_blocking(s, false), 0);
    while ((n = weir_send(s, block, sizeof block)) > 0)
        sent += (size_t)n;
    EXPECT(n, -EAGAIN);
    EXPECT(weir_set_blocking(s, blocking), 0);
    return sent;
}

SCENARIO_FOR(send_with_no_room, STREAM)
{
    weir_socket *a, *b;
    static char sink[1 << 16];
    rig_pair(rig, &a, &b);
    size_t sent = fill(a), got = 0;
    ssize_t more;
    CHECK(sent > 0);
    /* TCP may make room once more when its acknowledgements have come. */
    while ((more = RIG_BRIEFLY(rig, a, WEIR_WRITABLE, weir_send(a, sink, sizeof sink))) > 0)
        sent += (size_t)more;
    EXPECT(more, WEIR_EDEADLINE);
    struct rig_thread *t = rig_push(rig, a);
    while (got < sent) {
        ssize_t n = rig_recv(rig, b, sink, sizeof sink);
        CHECK(n > 0);
        got += (size_t)n;
    }
    rig_join(t);
    CHECK(got == sent); /* what was refused was not sent after all */
    EXPECT(rig_send(rig, a, "x", 1), 1);
    EXPECT(rig_recv(rig, b, sink, sizeof sink), 1);
}

static void drain(struct rig *rig, void *arg)
{
    static char sink[1 << 16];
    ssize_t n;
    while ((n = rig_recv(rig, arg, sink, sizeof sink)) > 0)
        ;
    EXPECT(n, 0);
}

SCENARIO_FOR(send_wakes_for_room, STREAM)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    fill(a);
    struct rig_thread *t = rig_when_asleep(rig, drain, b);
    EXPECT(rig_send(rig, a, "x", 1), 1);
    EXPECT(rig_shutdown(rig, a), 0);
    rig_join(t);
}

SCENARIO(recv_timeout_keeps_late_bytes)
{
    weir_socket *s, *peer;
    char buf[8];
    rig_pair(rig, &s, &peer);
    EXPECT(RIG_BRIEFLY(rig, s, WEIR_READABLE, weir_recv(s, buf, sizeof buf)), WEIR_EDEADLINE);
    EXPECT(rig_send(rig, peer, "late", 4), 4);
    EXPECT(rig_recv(rig, s, buf, sizeof buf), 4);
    CHECK(!memcmp(buf, "late", 4));
}

/* ---- the end -------------------------------------------------------------------------------- */

SCENARIO_FOR(recv_at_the_end_gives_0_again_and_again, CONNECTION)
{
    weir_socket *a, *b;
    char buf[8];
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, a, "last", 4), 4);
    rig_close(rig, a);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 4);
    for (int i = 0; i < 5; i++)
        EXPECT(rig_recv(rig, b, buf, sizeof buf), 0);
}

static void shut(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_shutdown(arg, SHUT_WR), 0);
}

SCENARIO_FOR(recv_wakes_for_the_end, CONNECTION)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_when_asleep(rig, shut, b);
    EXPECT(rig_recv(rig, a, &byte, 1), 0);
    rig_join(t);
}

SCENARIO_FOR(half_close_leaves_the_other_direction, CONNECTION)
{
    weir_socket *a, *b;
    char buf[8];
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, a, "question", 8), 8);
    EXPECT(weir_shutdown(a, SHUT_WR), 0);
    EXPECT(rig_send(rig, a, "more", 4), -EPIPE);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 8);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 0);
    EXPECT(rig_send(rig, b, "answer", 6), 6);
    EXPECT(rig_recv(rig, a, buf, sizeof buf), 6);
    CHECK(!memcmp(buf, "answer", 6));
}

SCENARIO_FOR(shutdown_twice_is_no_error, CONNECTION)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_shutdown(a, SHUT_WR), 0);
    EXPECT(weir_shutdown(a, SHUT_WR), 0);
    EXPECT(weir_shutdown(b, SHUT_WR), 0);
    EXPECT(rig_recv(rig, a, &byte, 1), 0);
    EXPECT(rig_recv(rig, b, &byte, 1), 0);
    EXPECT(weir_shutdown(a, SHUT_WR), 0); /* now both directions have ended */
    EXPECT(weir_shutdown(a, SHUT_RDWR), 0);
}

SCENARIO_FOR(shutdown_of_reading_ends_the_stream_here, CONNECTION)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_shutdown(a, SHUT_RD), 0);
    EXPECT(rig_recv(rig, a, &byte, 1), 0);
    EXPECT(rig_send(rig, a, "x", 1), 1);
    EXPECT(rig_recv(rig, b, &byte, 1), 1);
}

SCENARIO(shutdown_with_wrong_arguments)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    EXPECT(weir_shutdown(a, 17), -EINVAL);
    EXPECT(weir_shutdown(a, -1), -EINVAL);
    EXPECT(weir_shutdown(NULL, SHUT_WR), -EINVAL);
    EXPECT(weir_shutdown(rig_open(rig), SHUT_WR), -ENOTCONN);
    EXPECT(rig_send(rig, a, "x", 1), 1);
}

/* ---- peers that go away --------------------------------------------------------------------- */

SCENARIO_FOR(reset_stays, CONNECTION)
{
    weir_socket *s, *peer;
    char byte;
    rig_pair(rig, &s, &peer);
    rig_reset(rig, s, peer);
    for (int i = 0; i < 3; i++) {
        EXPECT(rig_recv(rig, s, &byte, 1), -ECONNRESET);
        EXPECT(rig_send(rig, s, "x", 1), -ECONNRESET);
    }
}

SCENARIO_FOR(reset_stays_in_whole_calls, STREAM)
{
    weir_socket *s, *peer;
    char byte;
    size_t done = 0;
    rig_pair(rig, &s, &peer);
    rig_reset(rig, s, peer);
    for (int i = 0; i < 3; i++) {
        EXPECT(rig_recv_exact(rig, s, &byte, 1, &done), -ECONNRESET);
        EXPECT(rig_send_all(rig, s, "x", 1, &done), -ECONNRESET);
        struct iovec vector = {&byte, 1};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
        EXPECT(rig_recvmsg(rig, s, &message, 0), -ECONNRESET);
        EXPECT(rig_sendmsg(rig, s, &message, 0), -ECONNRESET);
    }
    CHECK(done == 0);
}

/* The kernel keeps the bytes that came before the reset; they must not be lost here. */
SCENARIO_FOR(reset_after_data, STREAM)
{
    weir_socket *s, *peer;
    char buf[8];
    rig_pair(rig, &s, &peer);
    EXPECT(rig_send(rig, peer, "last", 4), 4);
    rig_reset(rig, s, peer);
    EXPECT(rig_recv(rig, s, buf, sizeof buf), 4);
    CHECK(!memcmp(buf, "last", 4));
    EXPECT(rig_recv(rig, s, buf, sizeof buf), -ECONNRESET);
    EXPECT(rig_recv(rig, s, buf, sizeof buf), -ECONNRESET);
}

static void reset(struct rig *rig, void *arg)
{
    weir_socket *const *ends = arg;
    rig_reset(rig, ends[0], ends[1]);
}

SCENARIO_FOR(reset_wakes_a_receiver, CONNECTION)
{
    weir_socket *ends[2];
    char byte;
    rig_pair(rig, &ends[0], &ends[1]);
    struct rig_thread *t = rig_when_asleep(rig, reset, ends);
    EXPECT(rig_recv(rig, ends[0], &byte, 1), -ECONNRESET);
    rig_join(t);
}

/* The process has SIGPIPE at its default, which would end it. */
SCENARIO_FOR(send_to_a_peer_that_left, CONNECTION)
{
    weir_socket *a, *b;
    ssize_t n;
    rig_pair(rig, &a, &b);
    rig_close(rig, b);
    while ((n = rig_send(rig, a, "x", 1)) > 0) /* TCP learns of it from the answer to the first */
        CHECK(rig->transport->has & TCP);
    CHECK(n == -EPIPE || n == -ECONNRESET);
    n = rig_send(rig, a, "x", 1);
    CHECK(n == -EPIPE || n == -ECONNRESET);
    size_t done = 0;
    if (rig->transport->has & STREAM) {
        int rc = rig_send_all(rig, a, "x", 1, &done);
        CHECK(rc == -EPIPE || rc == -ECONNRESET);
    }
    CHECK(done == 0);
}

SCENARIO_FOR(peer_that_half_closes_still_listens, STREAM | RAW)
{
    weir_socket *s;
    int fd;
    char buf[8];
    rig_raw_pair(rig, &s, &fd);
    CHECK(!shutdown(fd, SHUT_WR));
    EXPECT(rig_recv(rig, s, buf, sizeof buf), 0);
    EXPECT(rig_send(rig, s, "still", 5), 5);
    CHECK(recv(fd, buf, sizeof buf, MSG_WAITALL | MSG_DONTWAIT) == 5);
}

/* A peer that accepts and resets at once. */
SCENARIO_FOR(peer_that_accepts_and_resets, LISTENER | TCP | RAW)
{
    weir_address where;
    int listener = rig_raw_listener(rig, 4, &where);
    weir_socket *s = rig_open(rig);
    struct pollfd readable = {.fd = listener, .events = POLLIN};
    char byte;
    EXPECT(rig_connect_address(rig, s, &where), 0);
    while (poll(&readable, 1, -1) < 0)
        ;
    int fd = rig_keep_fd(rig, accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    rig_raw_reset(rig, s, fd);
    EXPECT(rig_recv(rig, s, &byte, 1), -ECONNRESET);
    EXPECT(rig_send(rig, s, "x", 1), -ECONNRESET);
    EXPECT(weir_connect_status(s), 0);
}

/* ---- arguments ------------------------------------------------------------------------------ */

SCENARIO_FOR(recv_of_nothing_is_refused, STREAM)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(weir_recv(a, &byte, 0), -EINVAL);
    EXPECT(weir_recv(a, NULL, 1), -EINVAL);
    EXPECT(weir_recv(NULL, &byte, 1), -EINVAL);
    EXPECT(rig_recv(rig, a, &byte, 1), 1); /* nothing was lost */
}

SCENARIO_FOR(send_of_nothing_is_refused, STREAM)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_send(a, "x", 0), -EINVAL);
    EXPECT(weir_send(a, NULL, 1), -EINVAL);
    EXPECT(weir_send(NULL, "x", 1), -EINVAL);
    EXPECT(RIG_BRIEFLY(rig, b, WEIR_READABLE, weir_recv(b, &byte, 1)), WEIR_EDEADLINE);
}

SCENARIO_FOR(calls_before_connecting, CONNECTION)
{
    weir_socket *s = rig_open(rig);
    char byte;
    EXPECT(weir_send(s, "x", 1), -ENOTCONN);
    EXPECT(weir_recv(s, &byte, 1), -ENOTCONN);
    EXPECT(weir_wait(s, WEIR_READABLE), -ENOTCONN);
    size_t done = 0;
    if (rig->transport->has & STREAM) {
        EXPECT(weir_send_all(s, "x", 1, &done), -ENOTCONN);
        EXPECT(weir_recv_exact(s, &byte, 1, &done), -ENOTCONN);
    }
    EXPECT(weir_finish(s), -ENOTCONN);
}

SCENARIO_FOR(calls_on_a_listener, LISTENER)
{
    weir_socket *listener = rig_listener(rig);
    char byte;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    size_t done = 0;
    EXPECT(weir_send(listener, "x", 1), -EINVAL);
    EXPECT(weir_recv(listener, &byte, 1), -EINVAL);
    EXPECT(weir_sendmsg(listener, &message, 0), -EINVAL);
    EXPECT(weir_recvmsg(listener, &message, 0), -EINVAL);
    EXPECT(weir_send_all(listener, "x", 1, &done), -EINVAL);
    EXPECT(weir_recv_exact(listener, &byte, 1, &done), -EINVAL);
    EXPECT(RIG_BRIEFLY(rig, listener, WEIR_READABLE, weir_accept(listener, &(weir_socket *){NULL})),
           WEIR_EDEADLINE);
}

/* ---- waiting -------------------------------------------------------------------------------- */

SCENARIO(wait_tells_what_holds)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_wait(a, WEIR_READABLE | WEIR_WRITABLE), WEIR_WRITABLE);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_READABLE);
    EXPECT(weir_wait(a, WEIR_READABLE | WEIR_WRITABLE), WEIR_READABLE | WEIR_WRITABLE);
    EXPECT(rig_recv(rig, a, &byte, 1), 1);
    EXPECT(weir_set_timeout(a, RIG_MOMENT_MS), 0);
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_EDEADLINE);
    EXPECT(weir_wait(a, 0), -EINVAL);
    EXPECT(weir_wait(a, 64), -EINVAL);
    EXPECT(weir_wait(a, WEIR_READABLE | 64), -EINVAL);
    EXPECT(weir_wait(NULL, WEIR_READABLE), -EINVAL);
}

SCENARIO(wait_wakes_for_bytes)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_when_asleep(rig, send_late, b);
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_READABLE);
    rig_join(t);
}

SCENARIO(modes_can_be_changed_at_any_time)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    for (int i = 0; i < 3; i++) {
        EXPECT(weir_set_blocking(a, false), 0);
        EXPECT(weir_get_blocking(a), 0);
        EXPECT(weir_recv(a, &byte, 1), -EAGAIN);
        EXPECT(weir_set_blocking(a, true), 0);
        EXPECT(weir_get_blocking(a), 1);
        struct rig_thread *t = rig_when_asleep(rig, send_late, b);
        EXPECT(weir_recv(a, (char[4]){0}, 4), 4);
        rig_join(t);
    }
    EXPECT(weir_get_blocking(NULL), -EINVAL);
    EXPECT(weir_set_blocking(NULL, true), -EINVAL);
    EXPECT(weir_set_timeout(NULL, 1), -EINVAL);
}
