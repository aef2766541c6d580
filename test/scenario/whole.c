/* weir_send_all and weir_recv_exact: everything, or how far it got. */
#include "support/rig.h"

#include <poll.h>
#include <stdlib.h>

#define LARGE ((size_t)16 << 20)

static void send_large(struct rig *rig, void *arg)
{
    unsigned char *data = malloc(LARGE);
    size_t done = 0;
    CHECK(data != NULL);
    rig_fill(data, LARGE, 7, 0);
    EXPECT(rig_send_all(rig, arg, data, LARGE, &done), 0);
    CHECK(done == LARGE);
    free(data);
}

/* Takes little at a time, in sizes that vary, so that the sender runs into a full buffer again and
 * again. */
SCENARIO_FOR(send_all_through_a_slow_reader, STREAM)
{
    weir_socket *a, *b;
    static unsigned char buf[40000];
    size_t got = 0;
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_go(rig, send_large, a);
    rig_until_asleep(t);
    while (got < LARGE) {
        ssize_t n = rig_recv(rig, b, buf, 1 + rig_random(rig) % sizeof buf);
        CHECK(n > 0 && rig_is_filled(buf, (size_t)n, 7, got));
        got += (size_t)n;
    }
    rig_join(t);
    rig_close(rig, a);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 0); /* not a byte too many */
}

SCENARIO_FOR(recv_exact_takes_all_of_it, STREAM)
{
    weir_socket *a, *b;
    unsigned char *data = malloc(LARGE);
    size_t done = 0;
    CHECK(data != NULL);
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_go(rig, send_large, a);
    EXPECT(rig_recv_exact(rig, b, data, LARGE, &done), 0);
    CHECK(done == LARGE && rig_is_filled(data, LARGE, 7, 0));
    rig_join(t);
    free(data);
}

struct trickle {
    weir_socket *s;
    const char *text;
};

/* One byte at a time, each when the receiver has gone back to sleep. */
static void trickle(struct rig *rig, void *arg)
{
    const struct trickle *t = arg;
    for (const char *at = t->text; *at; at++) {
        rig_until_starter_sleeps(rig);
        EXPECT(rig_send(rig, t->s, at, 1), 1);
    }
}

SCENARIO_FOR(recv_exact_from_a_peer_that_trickles, STREAM)
{
    weir_socket *s;
    struct trickle peer = {.text = "one byte at a time"};
    char buf[18];
    size_t done = 0;
    rig_pair(rig, &s, &peer.s);
    struct rig_thread *t = rig_go(rig, trickle, &peer);
    EXPECT(rig_recv_exact(rig, s, buf, sizeof buf, &done), 0);
    CHECK(done == sizeof buf && !memcmp(buf, peer.text, sizeof buf));
    rig_join(t);
}

SCENARIO_FOR(recv_exact_resumes_after_a_limit, STREAM)
{
    weir_socket *s, *peer;
    char buf[10];
    size_t done = 0;
    rig_pair(rig, &s, &peer);
    EXPECT(rig_send(rig, peer, "0123", 4), 4);
    EXPECT(RIG_BRIEFLY(rig, s, WEIR_READABLE, weir_recv_exact(s, buf, sizeof buf, &done)),
           WEIR_EDEADLINE);
    EXPECT(done, 4);
    EXPECT(rig_send(rig, peer, "456", 3), 3);
    EXPECT(RIG_BRIEFLY(rig, s, WEIR_READABLE, weir_recv_exact(s, buf, sizeof buf, &done)),
           WEIR_EDEADLINE);
    EXPECT(done, 7);
    EXPECT(rig_send(rig, peer, "789more", 7), 7);
    EXPECT(rig_recv_exact(rig, s, buf, sizeof buf, &done), 0);
    EXPECT(done, 10);
    CHECK(!memcmp(buf, "0123456789", 10));
    EXPECT(rig_recv(rig, s, buf, sizeof buf), 4); /* not a byte more was taken */
}

SCENARIO_FOR(send_all_resumes_after_a_limit, STREAM)
{
    weir_socket *a, *b;
    unsigned char *data = malloc(LARGE), *copy = malloc(LARGE);
    size_t done = 0, got = 0;
    CHECK(data && copy);
    rig_fill(data, LARGE, 3, 0);
    rig_pair(rig, &a, &b);
    while (done < LARGE) {
        size_t before = done;
        ssize_t rc = RIG_BRIEFLY(rig, a, WEIR_WRITABLE, weir_send_all(a, data, LARGE, &done));
        EXPECT(rc, done < LARGE ? WEIR_EDEADLINE : 0);
        CHECK(done >= before);
        /* All that it says was sent is there, and nothing else. */
        struct rig_thread *t = rig_push(rig, a);
        EXPECT(rig_recv_exact(rig, b, copy, done, &got), 0);
        rig_join(t);
    }
    CHECK(rig_is_filled(copy, LARGE, 3, 0));
    EXPECT(weir_set_blocking(b, false), 0);
    EXPECT(weir_recv(b, copy, 1), -EAGAIN);
    free(data);
    free(copy);
}

SCENARIO_FOR(send_all_counts_what_went_before_it_would_wait, STREAM)
{
    weir_socket *a, *b;
    unsigned char *data = malloc(LARGE);
    size_t done = 0, got = 0;
    CHECK(data != NULL);
    rig_fill(data, LARGE, 5, 0);
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_blocking(a, false), 0);
    EXPECT(weir_send_all(a, data, LARGE, &done), -EAGAIN);
    CHECK(done > 0 && done < LARGE);
    size_t sent = done;
    EXPECT(weir_send_all(a, data, LARGE, &done), -EAGAIN);
    CHECK(done >= sent);
    struct rig_thread *t = rig_push(rig, a);
    EXPECT(rig_recv_exact(rig, b, data, done, &got), 0);
    rig_join(t);
    CHECK(rig_is_filled(data, got, 5, 0));
    free(data);
}

SCENARIO_FOR(recv_exact_at_the_end, STREAM)
{
    weir_socket *a, *b;
    char buf[8];
    size_t done = 0;
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, a, "half", 4), 4);
    EXPECT(weir_shutdown(a, SHUT_WR), 0);
    EXPECT(rig_recv_exact(rig, b, buf, sizeof buf, &done), WEIR_EEND);
    EXPECT(done, 4);
    CHECK(!memcmp(buf, "half", 4));
    EXPECT(rig_recv_exact(rig, b, buf, sizeof buf, &done), WEIR_EEND);
    EXPECT(done, 4);
    done = 0;
    EXPECT(rig_recv_exact(rig, b, buf, sizeof buf, &done),
           WEIR_EEND); /* even if none came at all */
    EXPECT(done, 0);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 0); /* an end is not an error */
}

SCENARIO_FOR(recv_exact_before_a_reset, STREAM)
{
    weir_socket *s, *peer;
    char buf[8];
    size_t done = 0;
    rig_pair(rig, &s, &peer);
    EXPECT(rig_send(rig, peer, "half", 4), 4);
    rig_reset(rig, s, peer);
    EXPECT(rig_recv_exact(rig, s, buf, sizeof buf, &done), -ECONNRESET);
    EXPECT(done, 4);
    CHECK(!memcmp(buf, "half", 4));
}

SCENARIO_FOR(whole_calls_with_wrong_arguments, STREAM)
{
    weir_socket *a, *b;
    char buf[4] = "abc";
    size_t done = 5;
    rig_pair(rig, &a, &b);
    EXPECT(weir_send_all(a, buf, 4, &done), -EINVAL);
    EXPECT(weir_recv_exact(a, buf, 4, &done), -EINVAL);
    EXPECT(done, 5);
    EXPECT(weir_send_all(a, buf, 4, NULL), -EINVAL);
    EXPECT(weir_recv_exact(a, buf, 4, NULL), -EINVAL);
    done = 0;
    EXPECT(weir_send_all(a, NULL, 4, &done), -EINVAL);
    EXPECT(weir_recv_exact(a, NULL, 4, &done), -EINVAL);
    EXPECT(weir_send_all(NULL, buf, 4, &done), -EINVAL);
    EXPECT(weir_recv_exact(NULL, buf, 4, &done), -EINVAL);
    EXPECT(done, 0);
    EXPECT(weir_send_all(a, buf, 0, &done), 0);
    EXPECT(weir_recv_exact(a, buf, 0, &done), 0);
    done = 4;
    EXPECT(weir_send_all(a, buf, 4, &done), 0); /* done already */
    EXPECT(weir_recv_exact(a, buf, 4, &done), 0);
    EXPECT(RIG_BRIEFLY(rig, b, WEIR_READABLE, weir_recv(b, buf, 4)), WEIR_EDEADLINE);
}

SCENARIO_FOR(whole_calls_are_for_streams, MESSAGES)
{
    weir_socket *a, *b;
    char buf[4] = "abc";
    size_t done = 0;
    rig_pair(rig, &a, &b);
    EXPECT(weir_send_all(a, buf, 4, &done), -EINVAL);
    EXPECT(weir_recv_exact(a, buf, 4, &done), -EINVAL);
    CHECK(done == 0);
}
