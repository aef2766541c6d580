/* Listening and accepting. */
#include "support/rig.h"

#include <netinet/in.h>
#include <time.h>

#define MANY 50

SCENARIO_FOR(accept_with_nobody_there, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *untouched = (weir_socket *)rig;
    EXPECT(RIG_BRIEFLY(rig, listener, WEIR_READABLE, weir_accept(listener, &untouched)),
           WEIR_EDEADLINE);
    CHECK(untouched == (weir_socket *)rig);
    EXPECT(weir_set_blocking(listener, false), 0);
    EXPECT(weir_accept(listener, &untouched), -EAGAIN);
    CHECK(untouched == (weir_socket *)rig);
}

SCENARIO_FOR(accept_without_listening, CONNECTION)
{
    weir_socket *a, *b, *fresh = rig_open(rig), *none = NULL;
    rig_pair(rig, &a, &b);
    EXPECT(weir_accept(fresh, &none), -EINVAL);
    EXPECT(weir_accept(a, &none), -EINVAL);
    EXPECT(weir_accept(a, NULL), -EINVAL);
    EXPECT(weir_accept(NULL, &none), -EINVAL);
    CHECK(none == NULL);
}

/* Each gets its own connection, in the order in which they came. */
SCENARIO_FOR(accept_takes_everybody_in_order, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *s[MANY], *accepted[MANY];
    weir_address where = rig_where(listener);
    struct rig_thread *t[MANY];
    for (int i = 0; i < MANY; i++)
        t[i] = rig_visit(rig, s[i] = rig_open(rig), &where);
    for (int i = 0; i < MANY; i++)
        rig_admit(rig, listener, &accepted[i]);
    for (unsigned char i = 0, got; i < MANY; i++) {
        rig_join(t[i]);
        EXPECT(rig_send(rig, s[i], &i, 1), 1);
        EXPECT(rig_recv(rig, accepted[i], &got, 1), 1);
        EXPECT(got, i);
    }
}

/* Also where the listener is in non-blocking mode and has a time-out. */
SCENARIO_FOR(accept_gives_a_blocking_socket, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    EXPECT(weir_set_blocking(listener, false), 0);
    EXPECT(weir_set_timeout(listener, 1), 0);
    struct rig_thread *t = rig_visit(rig, s, &where);
    EXPECT(weir_wait(listener, WEIR_READABLE), WEIR_READABLE);
    EXPECT(weir_accept(listener, &accepted), 0);
    rig_keep(rig, accepted);
    EXPECT(weir_get_blocking(accepted), 1);
    rig_welcome(rig, accepted);
    rig_join(t);
    EXPECT(rig_send(rig, s, "x", 1), 1);
    char byte;
    EXPECT(weir_recv(accepted, &byte, 1), 1);
}

static void connect_to(struct rig *rig, void *arg)
{
    rig_arrive(rig, rig_open(rig), arg);
}

SCENARIO_FOR(accept_wakes_for_a_connection, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *accepted;
    weir_address where = rig_where(listener);
    struct rig_thread *t = rig_when_asleep(rig, connect_to, &where);
    rig_admit(rig, listener, &accepted);
    rig_join(t);
}

static void accept_and_greet(struct rig *rig, void *arg)
{
    weir_socket *accepted;
    rig_admit(rig, arg, &accepted);
    EXPECT(rig_send(rig, accepted, "hello", 5), 5);
}

SCENARIO_FOR(accept_in_many_threads, LISTENER)
{
    weir_socket *listener = rig_listener(rig);
    weir_address where = rig_where(listener);
    struct rig_thread *t[8];
    char hello[5];
    for (int i = 0; i < 8; i++)
        t[i] = rig_go(rig, accept_and_greet, listener);
    for (int i = 0; i < 8; i++) {
        weir_socket *s = rig_open(rig);
        rig_arrive(rig, s, &where);
        EXPECT(rig_recv(rig, s, hello, sizeof hello), 5);
    }
    for (int i = 0; i < 8; i++)
        rig_join(t[i]);
}

/* The connection was reset while it waited to be accepted: it is skipped, or accepted and known to
 * be reset. */
SCENARIO_FOR(accept_of_a_connection_that_was_reset, LISTENER | TCP | RAW)
{
    weir_socket *listener = rig_listener(rig), *first = rig_open(rig), *s = rig_open(rig),
                *accepted;
    weir_address where = rig_where(listener);
    struct linger at_once = {.l_onoff = 1};
    char byte;
    EXPECT(rig_connect_address(rig, first, &where), 0);
    EXPECT(weir_set_option(first, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    rig_close(rig, first);
    EXPECT(rig_connect_address(rig, s, &where), 0);
    EXPECT(rig_send(rig, s, "x", 1), 1);
    EXPECT(rig_accept(rig, listener, &accepted), 0);
    ssize_t n = rig_recv(rig, accepted, &byte, 1);
    if (n == -ECONNRESET) {
        EXPECT(rig_accept(rig, listener, &accepted), 0);
        n = rig_recv(rig, accepted, &byte, 1);
    }
    EXPECT(n, 1);
}

/* ---- out of descriptors --------------------------------------------------------------------- */

static void restore_fds(struct rig *rig, void *arg)
{
    (void)arg;
    rig_restore_fds(rig);
}

SCENARIO_FOR(accept_without_descriptors_heals, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted = NULL;
    weir_address where = rig_where(listener);
    struct rig_thread *t = rig_visit(rig, s, &where);
    EXPECT(weir_set_blocking(listener, false), 0);
    rig_exhaust_fds(rig, 0);
    EXPECT(weir_accept(listener, &accepted), -EMFILE);
    EXPECT(weir_accept(listener, &accepted), -EMFILE);
    CHECK(accepted == NULL);
    rig_restore_fds(rig);
    EXPECT(weir_accept(listener, &accepted), 0);
    rig_welcome(rig, rig_keep(rig, accepted));
    rig_join(t);
    EXPECT(rig_send(rig, s, "x", 1), 1);
    char byte;
    EXPECT(weir_recv(accepted, &byte, 1), 1);
}

SCENARIO_FOR(accept_waits_for_a_descriptor, LISTENER | WAITS)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    struct rig_thread *visitor = rig_visit(rig, s, &where);
    rig_exhaust_fds(rig, 0);
    struct rig_thread *t = rig_when_asleep(rig, restore_fds, NULL);
    rig_admit(rig, listener, &accepted);
    rig_join(t);
    rig_join(visitor);
}

static int64_t now_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The connection is there all the time, so poll(2) alone would make a busy loop of the wait. */
SCENARIO_FOR(accept_without_descriptors_does_not_spin, LISTENER | WAITS)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted = NULL;
    weir_address where = rig_where(listener);
    struct rig_thread *t = rig_visit(rig, s, &where);
    rig_exhaust_fds(rig, 0);
    int64_t time = now_ms(CLOCK_MONOTONIC), busy = now_ms(CLOCK_THREAD_CPUTIME_ID);
    {
        WEIR_WITHIN_MS(400);
        EXPECT(weir_accept(listener, &accepted), WEIR_EDEADLINE);
    }
    time = now_ms(CLOCK_MONOTONIC) - time;
    busy = now_ms(CLOCK_THREAD_CPUTIME_ID) - busy;
    CHECK(busy <= time / 4);
    rig_restore_fds(rig);
    rig_admit(rig, listener, &accepted);
    rig_join(t);
}

SCENARIO_FOR(poller_pauses_a_listener_without_descriptors, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted = NULL;
    weir_address where = rig_where(listener);
    weir_poller *p;
    weir_event event;
    int reports = 0;
    struct rig_thread *t = rig_visit(rig, s, &where);
    EXPECT(weir_set_blocking(listener, false), 0);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, listener, WEIR_READABLE, NULL), 0);
    rig_exhaust_fds(rig, 0);
    int64_t start = now_ms(CLOCK_MONOTONIC), time;
    while ((time = now_ms(CLOCK_MONOTONIC) - start) < 200) {
        int n = weir_poller_wait(p, &event, 1, 200 - time);
        reports += n;
        if (n > 0)
            EXPECT(weir_accept(listener, &accepted), -EMFILE);
    }
    CHECK(reports >= 1 && reports <= 1 + time / 50);
    rig_restore_fds(rig);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    EXPECT(weir_accept(listener, &accepted), 0);
    rig_welcome(rig, rig_keep(rig, accepted));
    rig_join(t);
    EXPECT(weir_poller_close(p), 0);
}

/* ---- listen --------------------------------------------------------------------------------- */

SCENARIO_FOR(listen_without_bind, TCP)
{
    weir_socket *listener = rig_open(rig), *s = rig_open(rig), *accepted;
    weir_address where, to;
    EXPECT(weir_listen(listener, 4), 0);
    EXPECT(weir_local_address(listener, &where), 0);
    CHECK(weir_address_port(&where) != 0);
    const char *loopback = rig->transport->family == AF_INET ? "127.0.0.1" : "::1";
    EXPECT(weir_address_from_host(loopback, weir_address_port(&where), &to), 0);
    rig_meet(rig, s, &to, listener, &accepted);
}

SCENARIO_FOR(listen_on_what_cannot, DATAGRAMS)
{
    EXPECT(weir_listen(rig_bound(rig), 0), -EOPNOTSUPP);
}

SCENARIO_FOR(listen_on_a_connection, LISTENER)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    EXPECT(weir_listen(a, 0), -EISCONN);
    EXPECT(weir_listen(b, 0), -EISCONN);
    EXPECT(rig_send(rig, a, "x", 1), 1);
}

SCENARIO_FOR(listen_again_changes_the_backlog, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    EXPECT(weir_listen(listener, 1), 0);
    rig_meet(rig, s, &where, listener, &accepted);
}

SCENARIO(bind_twice)
{
    weir_socket *s = rig_bound(rig);
    weir_address where = rig_where(s), place = rig_place(rig);
    EXPECT(weir_bind_address(s, &place), -EINVAL);
    weir_address still = rig_where(s);
    CHECK(weir_address_equal(&where, &still));
    CHECK(weir_fd(s) >= 0);
}

SCENARIO(bind_where_another_is)
{
    weir_socket *first = rig_bound(rig), *second = rig_open(rig);
    weir_address taken = rig_where(first), place = rig_place(rig);
    if (rig->transport->has & LISTENER)
        EXPECT(weir_listen(first, 0), 0);
    EXPECT(weir_bind_address(second, &taken), -EADDRINUSE);
    EXPECT(weir_fd(second), -ENOTCONN);
    EXPECT(weir_bind_address(second, &place), 0); /* it may try again */
}

SCENARIO_FOR(bind_to_an_address_of_others, INTERNET)
{
    weir_socket *s = rig_open(rig);
    const char *elsewhere = rig->transport->family == AF_INET ? "198.51.100.1" : "2001:db8::1";
    EXPECT(weir_bind(s, elsewhere, 0), -EADDRNOTAVAIL);
    EXPECT(weir_bind(s, NULL, 0), 0);
    weir_address a = rig_where(s);
    CHECK(weir_address_port(&a) != 0);
}

static void close_listener(struct rig *rig, void *arg)
{
    rig_close(rig, arg);
}

/* In CPython a thread that waits in accept still takes a client after the close. */
SCENARIO_FOR(close_during_accept_accepts_nobody, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    weir_ref(listener);
    struct rig_thread *t = rig_when_asleep(rig, close_listener, listener);
    EXPECT(rig_accept(rig, listener, &accepted), WEIR_ECLOSED);
    rig_join(t);
    EXPECT(rig_connect_address(rig, s, &where), -ECONNREFUSED);
    EXPECT(weir_accept(listener, &accepted), WEIR_ECLOSED);
    EXPECT(weir_close(listener), 0);
}

SCENARIO_FOR(close_stops_listening_though_others_hold_it, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *waiting = rig_open(rig), *s = rig_open(rig), *none;
    weir_address where = rig_where(listener);
    EXPECT(weir_set_blocking(waiting, false), 0);
    int rc = weir_connect_address(waiting, &where);
    CHECK(rc == 0 || rc == -EINPROGRESS);
    EXPECT(weir_wait(listener, WEIR_READABLE), WEIR_READABLE);
    weir_ref(listener);
    rig_close(rig, listener);
    EXPECT(weir_accept(listener, &none), WEIR_ECLOSED);
    EXPECT(rig_connect_address(rig, s, &where), -ECONNREFUSED);
    EXPECT(weir_close(listener), 0);
}
