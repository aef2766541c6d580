/* Cancelling: whoever waits is told, nothing is lost, and what is shared stays good. Ended by
 * somebody else of the same kind. */
#include "support/rig.h"

#include <fcntl.h>
#include <stdlib.h>

#define LARGE ((size_t)16 << 20)

/* ---- cancelled while it waits --------------------------------------------------------------- */

static void is_cancelled_in_recv(struct rig *rig, void *arg)
{
    char byte;
    EXPECT(rig_recv(rig, arg, &byte, 1), -ECANCELED);
    EXPECT(rig_recv(rig, arg, &byte, 1), -ECANCELED); /* again and again */
}

/* Starts `fn`, waits until it waits, cancels it, waits for its end. */
static void cancel_in(struct rig *rig, rig_function *fn, void *arg)
{
    struct rig_thread *t = rig_go(rig, fn, arg);
    rig_until_asleep(t);
    rig_cancel(t);
    rig_join(t);
}

SCENARIO_FOR(cancel_ends_a_receive, TASKS)
{
    weir_socket *a, *b;
    char buf[8];
    rig_pair(rig, &a, &b);
    cancel_in(rig, is_cancelled_in_recv, a);
    EXPECT(rig_send(rig, b, "later", 5), 5);
    EXPECT(rig_recv(rig, a, buf, sizeof buf), 5);
    CHECK(!memcmp(buf, "later", 5));
}

static void is_cancelled_in_recvmsg(struct rig *rig, void *arg)
{
    char byte;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    EXPECT(rig_recvmsg(rig, arg, &message, 0), -ECANCELED);
}

SCENARIO_FOR(cancel_ends_a_recvmsg, TASKS)
{
    weir_socket *a, *b;
    char buf[8];
    rig_pair(rig, &a, &b);
    cancel_in(rig, is_cancelled_in_recvmsg, a);
    EXPECT(rig_send(rig, b, "later", 5), 5);
    EXPECT(rig_recv(rig, a, buf, sizeof buf), 5);
}

struct partly {
    weir_socket *s;
    unsigned char *data;
    size_t len, done;
};

static void is_cancelled_in_recv_exact(struct rig *rig, void *arg)
{
    struct partly *p = arg;
    EXPECT(rig_recv_exact(rig, p->s, p->data, p->len, &p->done), -ECANCELED);
}

SCENARIO_FOR(cancel_of_recv_exact_says_how_far_it_got, STREAM | TASKS)
{
    weir_socket *b;
    unsigned char buf[10];
    struct partly p = {.data = buf, .len = sizeof buf};
    rig_pair(rig, &p.s, &b);
    EXPECT(rig_send(rig, b, "0123", 4), 4);
    cancel_in(rig, is_cancelled_in_recv_exact, &p);
    CHECK(p.done == 4 || p.done == 0); /* whoever was cancelled has begun, or not */
    EXPECT(rig_send(rig, b, "456789more", 10), 10);
    EXPECT(rig_recv_exact(rig, p.s, buf, sizeof buf, &p.done), 0);
    CHECK(!memcmp(buf, "0123456789", 10));
    EXPECT(rig_recv(rig, p.s, buf, sizeof buf), 4);
}

static void is_cancelled_in_send_all(struct rig *rig, void *arg)
{
    struct partly *p = arg;
    EXPECT(rig_send_all(rig, p->s, p->data, p->len, &p->done), -ECANCELED);
}

SCENARIO_FOR(cancel_of_send_all_says_how_far_it_got, STREAM | TASKS)
{
    weir_socket *b;
    struct partly p = {.data = malloc(LARGE), .len = LARGE};
    unsigned char *copy = malloc(LARGE), byte;
    size_t got = 0;
    CHECK(p.data && copy);
    rig_fill(p.data, LARGE, 3, 0);
    rig_pair(rig, &p.s, &b);
    cancel_in(rig, is_cancelled_in_send_all, &p);
    CHECK(p.done > 0 && p.done < LARGE);
    struct rig_thread *t = rig_push(rig, p.s);
    EXPECT(rig_recv_exact(rig, b, copy, p.done, &got), 0);
    rig_join(t);
    CHECK(rig_is_filled(copy, got, 3, 0));
    EXPECT(rig_send(rig, p.s, "x", 1), 1);
    EXPECT(rig_recv(rig, b, &byte, 1), 1);
    CHECK(byte == 'x');
    free(p.data);
    free(copy);
}

static void send_large(struct rig *rig, void *arg)
{
    struct partly *p = arg;
    EXPECT(rig_send_all(rig, p->s, p->data, p->len, &p->done), 0);
}

static void is_cancelled_in_send(struct rig *rig, void *arg)
{
    EXPECT(rig_send(rig, arg, "y", 1), -ECANCELED);
}

static void sends_z(struct rig *rig, void *arg)
{
    EXPECT(rig_send(rig, arg, "z", 1), 1);
}

/* Whoever is cancelled while it waits for its turn to send has sent nothing, and those behind it
 * keep their order. */
SCENARIO_FOR(cancel_in_the_queue_of_senders, STREAM | TASKS | WAITS)
{
    weir_socket *b;
    struct partly p = {.data = calloc(1, LARGE), .len = LARGE};
    unsigned char *copy = malloc(LARGE), byte;
    size_t got = 0;
    CHECK(p.data && copy);
    rig_pair(rig, &p.s, &b);
    struct rig_thread *large = rig_go(rig, send_large, &p);
    rig_until_asleep(large);
    struct rig_thread *cancelled = rig_go(rig, is_cancelled_in_send, p.s);
    rig_until_asleep(cancelled);
    struct rig_thread *last = rig_go(rig, sends_z, p.s);
    rig_until_asleep(last);
    rig_cancel(cancelled);
    rig_join(cancelled);
    EXPECT(rig_recv_exact(rig, b, copy, LARGE, &got), 0);
    EXPECT(rig_recv(rig, b, &byte, 1), 1);
    CHECK(byte == 'z');
    rig_join(last);
    rig_join(large);
    free(p.data);
    free(copy);
}

static void is_cancelled_in_accept(struct rig *rig, void *arg)
{
    weir_socket *none = NULL;
    EXPECT(rig_accept(rig, arg, &none), -ECANCELED);
    CHECK(none == NULL);
}

SCENARIO_FOR(cancel_ends_an_accept, LISTENER | TASKS)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    cancel_in(rig, is_cancelled_in_accept, listener);
    rig_meet(rig, s, &where, listener, &accepted);
}

struct connection {
    weir_socket *s;
    weir_address to;
};

static void is_cancelled_in_connect(struct rig *rig, void *arg)
{
    const struct connection *c = arg;
    EXPECT(rig_connect_address(rig, c->s, &c->to), -ECANCELED);
}

SCENARIO_FOR(cancel_ends_a_connect, LISTENER | TASKS | WAITS)
{
    struct connection c = {.s = rig_open(rig)};
    weir_socket *listener = rig_listener(rig), *accepted;
    weir_address where = rig_where(listener);
    rig_full_listener(rig, &c.to);
    cancel_in(rig, is_cancelled_in_connect, &c);
    EXPECT(weir_connect_status(c.s), -ECANCELED);
    rig_meet(rig, c.s, &where, listener, &accepted); /* it can connect again */
}

static void is_cancelled_in_wait(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_wait(arg, WEIR_READABLE), -ECANCELED);
}

SCENARIO_FOR(cancel_ends_a_wait, TASKS)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    cancel_in(rig, is_cancelled_in_wait, a);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_READABLE);
}

static void is_cancelled_in_poller(struct rig *rig, void *arg)
{
    weir_event event;
    (void)rig;
    EXPECT(weir_poller_wait(arg, &event, 1, -1), -ECANCELED);
}

SCENARIO_FOR(cancel_ends_the_wait_of_a_poller, TASKS)
{
    weir_socket *a, *b;
    weir_poller *p;
    weir_event event;
    rig_pair(rig, &a, &b);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, &event), 0);
    cancel_in(rig, is_cancelled_in_poller, p);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    EXPECT(weir_poller_close(p), 0);
}

static void is_cancelled_in_finish(struct rig *rig, void *arg)
{
    EXPECT(rig_finish(rig, arg), -ECANCELED);
}

SCENARIO_FOR(cancel_ends_a_finish, CONNECTION | TASKS)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    cancel_in(rig, is_cancelled_in_finish, a);
    EXPECT(rig_recv(rig, b, &byte, 1), 0); /* it has been told */
    EXPECT(weir_shutdown(b, SHUT_WR), 0);
    EXPECT(rig_finish(rig, a), 0);
}

static void is_cancelled_in_recv_from(struct rig *rig, void *arg)
{
    char byte;
    weir_datagram_info info;
    EXPECT(RIG_DONE(rig, arg, WEIR_READABLE, weir_recv_from(arg, &byte, 1, &info)), -ECANCELED);
}

SCENARIO_FOR(cancel_ends_the_wait_for_a_datagram, DATAGRAMS | TASKS)
{
    weir_socket *a, *b;
    char buf[8];
    rig_pair(rig, &a, &b);
    cancel_in(rig, is_cancelled_in_recv_from, a);
    EXPECT(rig_send(rig, b, "later", 5), 5);
    EXPECT(rig_recv(rig, a, buf, sizeof buf), 5);
}

/* ---- cancelled before, after, and at that moment -------------------------------------------- */

/* It runs all the same, and sees it in the first call that would wait. */
SCENARIO_FOR(cancel_before_it_has_begun, TASKS)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_go(rig, is_cancelled_in_recv, a);
    rig_cancel(t);
    rig_join(t);
}

static void takes_no_notice(struct rig *rig, void *arg)
{
    weir_socket *const *ends = arg;
    char byte;
    EXPECT(weir_wait(ends[0], WEIR_READABLE), -ECANCELED);
    EXPECT(weir_set_blocking(ends[0], false), 0);
    EXPECT(weir_recv(ends[0], &byte, 1), -EAGAIN);
    EXPECT(weir_send(ends[0], "x", 1), 1);
    rig_set_mode(rig, ends[0]);
}

SCENARIO_FOR(cancel_is_nothing_to_a_nonblocking_socket, TASKS)
{
    weir_socket *ends[2];
    char byte;
    rig_pair(rig, &ends[0], &ends[1]);
    cancel_in(rig, takes_no_notice, ends);
    EXPECT(rig_recv(rig, ends[1], &byte, 1), 1);
}

static void says_goodbye(struct rig *rig, void *arg)
{
    weir_socket *const *ends = arg;
    char byte;
    EXPECT(rig_recv(rig, ends[0], &byte, 1), -ECANCELED);
    {
        WEIR_SHIELDED_MS(RIG_LONG_MS);
        EXPECT(rig_send(rig, ends[0], "goodbye", 7), 7);
        EXPECT(rig_recv(rig, ends[0], &byte, 1), 1);
    }
    EXPECT(rig_recv(rig, ends[0], &byte, 1), -ECANCELED);
}

SCENARIO_FOR(shield_holds_off_a_cancel, TASKS)
{
    weir_socket *ends[2];
    char buf[8];
    rig_pair(rig, &ends[0], &ends[1]);
    struct rig_thread *t = rig_go(rig, says_goodbye, ends);
    rig_until_asleep(t);
    rig_cancel(t);
    EXPECT(rig_recv(rig, ends[1], buf, sizeof buf), 7);
    rig_until_asleep(t);
    EXPECT(rig_send(rig, ends[1], "x", 1), 1);
    rig_join(t);
}

struct moment {
    weir_socket *s;
    ssize_t rc;
};

static void receives_or_not(struct rig *rig, void *arg)
{
    struct moment *m = arg;
    char buf[8];
    m->rc = rig_recv(rig, m->s, buf, sizeof buf);
    CHECK(m->rc == 4 || m->rc == -ECANCELED);
    CHECK(m->rc < 0 || !memcmp(buf, "data", 4));
}

/* Either it has received them, or they are still there. */
SCENARIO_FOR(cancel_in_the_instant_that_bytes_come, TASKS)
{
    weir_socket *b;
    struct moment m;
    char buf[8];
    rig_pair(rig, &m.s, &b);
    for (int i = 0; i < 20; i++) {
        struct rig_thread *t = rig_go(rig, receives_or_not, &m);
        if (i % 4)
            rig_until_asleep(t);
        EXPECT(rig_send(rig, b, "data", 4), 4);
        if (i % 4 > 1)
            rig_give_way();
        rig_cancel(t);
        rig_join(t);
        if (m.rc < 0) {
            EXPECT(rig_recv(rig, m.s, buf, sizeof buf), 4);
            CHECK(!memcmp(buf, "data", 4));
        }
    }
    EXPECT(weir_set_blocking(m.s, false), 0);
    EXPECT(weir_recv(m.s, buf, sizeof buf), -EAGAIN);
}

static void accepts_or_not(struct rig *rig, void *arg)
{
    struct moment *m = arg;
    weir_socket *accepted = NULL;
    m->rc = rig_accept(rig, m->s, &accepted);
    CHECK(m->rc == (accepted ? 0 : -ECANCELED));
    if (accepted) {
        WEIR_SHIELDED_MS(RIG_LONG_MS);
        rig_welcome(rig, accepted);
        rig_close(rig, accepted);
    }
}

/* Either it has accepted, or the connection is still in the queue. */
SCENARIO_FOR(cancel_in_the_instant_that_a_connection_comes, LISTENER | TASKS)
{
    struct moment m = {.s = rig_listener(rig)};
    weir_address where = rig_where(m.s);
    weir_socket *accepted;
    char byte;
    for (int i = 0; i < 20; i++) {
        weir_socket *s = rig_open(rig);
        struct rig_thread *t = rig_go(rig, accepts_or_not, &m);
        if (i % 4)
            rig_until_asleep(t);
        struct rig_thread *visitor = rig_visit(rig, s, &where);
        if (i % 4 > 1)
            rig_give_way();
        rig_cancel(t);
        rig_join(t);
        if (m.rc < 0) {
            rig_admit(rig, m.s, &accepted);
            rig_close(rig, accepted);
        }
        rig_join(visitor);
        EXPECT(rig_recv(rig, s, &byte, 1), 0);
        rig_close(rig, s);
    }
    EXPECT(weir_set_blocking(m.s, false), 0);
    EXPECT(weir_accept(m.s, &accepted), -EAGAIN);
}

/* ---- limits that are inherited -------------------------------------------------------------- */

static void waits_in_vain(struct rig *rig, void *arg)
{
    char byte;
    (void)rig;
    CHECK(weir_time_left() >= 0);
    EXPECT(weir_wait(arg, WEIR_READABLE), WEIR_EDEADLINE);
    EXPECT(weir_set_blocking(arg, true), 0);
    EXPECT(weir_recv(arg, &byte, 1), WEIR_EDEADLINE);
    EXPECT(weir_time_left(), 0);
}

SCENARIO_FOR(limit_is_inherited, TASKS)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    weir_scope limit = weir_deadline_start(RIG_MOMENT_MS);
    struct rig_thread *t = rig_go(rig, waits_in_vain, a);
    weir_scope_end(limit); /* for the one who started it, not for the other */
    EXPECT(weir_time_left(), -1);
    rig_join(t);
}

static void is_not_limited(struct rig *rig, void *arg)
{
    char byte;
    CHECK(weir_time_left() > 0);
    EXPECT(rig_recv(rig, arg, &byte, 1), 1);
}

SCENARIO_FOR(shield_is_inherited, TASKS)
{
    weir_socket *a, *b;
    struct rig_thread *t;
    rig_pair(rig, &a, &b);
    WEIR_WITHIN_MS(0);
    {
        WEIR_SHIELDED_MS(RIG_LONG_MS);
        t = rig_go(rig, is_not_limited, a);
        EXPECT(rig_send(rig, b, "x", 1), 1);
    }
    EXPECT(weir_time_left(), 0);
    rig_join(t);
}

/* ---- ended by a sibling --------------------------------------------------------------------- */

static void receives_until_closed(struct rig *rig, void *arg)
{
    char byte;
    EXPECT(rig_recv(rig, arg, &byte, 1), WEIR_ECLOSED);
}

static void abort_it(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_abort(arg), 0);
}

static void close_it(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_close(arg), 0);
}

SCENARIO(abort_by_a_sibling)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    struct rig_thread *victim = rig_go(rig, receives_until_closed, a);
    rig_until_asleep(victim);
    rig_join(rig_go(rig, abort_it, a));
    rig_join(victim);
}

SCENARIO(close_by_a_sibling)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    weir_ref(a);
    struct rig_thread *victim = rig_go(rig, receives_until_closed, a);
    rig_until_asleep(victim);
    rig_join(rig_go(rig, close_it, a));
    rig_join(victim);
    rig_close(rig, a);
    if (rig->transport->has & CONNECTION)
        EXPECT(rig_recv(rig, b, &byte, 1), 0);
}

static void accepts_until_closed(struct rig *rig, void *arg)
{
    weir_socket *none = NULL;
    EXPECT(rig_accept(rig, arg, &none), WEIR_ECLOSED);
    CHECK(none == NULL);
}

SCENARIO_FOR(close_by_a_sibling_ends_all_acceptors, LISTENER)
{
    weir_socket *listener = rig_listener(rig);
    struct rig_thread *t[3];
    weir_ref(listener);
    for (int i = 0; i < 3; i++)
        t[i] = rig_go(rig, accepts_until_closed, listener);
    for (int i = 0; i < 3; i++)
        rig_until_asleep(t[i]);
    rig_join(rig_go(rig, close_it, listener));
    for (int i = 0; i < 3; i++)
        rig_join(t[i]);
    rig_close(rig, listener);
}

/* The number that was closed goes to the next socket at once, on which the same one waits. */
SCENARIO_FOR(number_that_is_used_again_is_waited_for_anew, OWN)
{
    for (int i = 0; i < 20; i++) {
        weir_socket *pair[2];
        char byte;
        EXPECT(weir_pair(pair, SOCK_STREAM), 0);
        struct rig_thread *t = rig_when_asleep(rig, abort_it, pair[0]);
        EXPECT(weir_recv(pair[0], &byte, 1), WEIR_ECLOSED);
        rig_join(t);
        EXPECT(weir_send(pair[1], "x", 1), -EPIPE);
        EXPECT(weir_close(pair[0]), 0);
        EXPECT(weir_close(pair[1]), 0);
        EXPECT(weir_pair(pair, SOCK_STREAM), 0);
        EXPECT(weir_set_timeout(pair[0], 1), 0);
        EXPECT(weir_recv(pair[0], &byte, 1), WEIR_EDEADLINE);
        EXPECT(weir_send(pair[1], "x", 1), 1);
        EXPECT(weir_recv(pair[0], &byte, 1), 1);
        EXPECT(weir_close(pair[0]), 0);
        EXPECT(weir_close(pair[1]), 0);
    }
}
