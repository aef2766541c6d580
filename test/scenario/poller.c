/* Pollers: what is reported, how often, to whom. */
#include "support/rig.h"

#include <poll.h>

#define MANY 100

SCENARIO(poller_reports_for_as_long_as_it_holds)
{
    weir_socket *a, *b;
    weir_poller *p;
    weir_event event;
    char buf[4];
    rig_pair(rig, &a, &b);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, buf), 0);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    for (int i = 0; i < 3; i++) {
        EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
        CHECK(event.socket == a && event.data == buf && event.events == WEIR_READABLE);
    }
    EXPECT(rig_recv(rig, a, buf, sizeof buf), 1);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(weir_poller_close(p), 0);
}

SCENARIO(poller_watches_for_what_it_is_told)
{
    weir_socket *a, *b;
    weir_poller *p;
    weir_event event;
    rig_pair(rig, &a, &b);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, 0, NULL), 0);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(weir_poller_modify(p, a, WEIR_WRITABLE, &event), 0);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    CHECK(event.events == WEIR_WRITABLE && event.data == &event);
    EXPECT(weir_poller_modify(p, a, WEIR_WRITABLE | WEIR_READABLE, NULL), 0);
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_READABLE);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    CHECK(event.events == (WEIR_WRITABLE | WEIR_READABLE) && event.data == NULL);
    EXPECT(weir_poller_remove(p, a), 0);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, NULL), 0);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    EXPECT(weir_poller_close(p), 0);
}

SCENARIO(poller_with_wrong_arguments)
{
    weir_socket *a, *b;
    weir_poller *p;
    weir_event event;
    rig_pair(rig, &a, &b);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_open(NULL), -EINVAL);
    EXPECT(weir_poller_remove(p, a), -ENOENT);
    EXPECT(weir_poller_modify(p, a, WEIR_READABLE, NULL), -ENOENT);
    EXPECT(weir_poller_add(p, a, 64, NULL), -EINVAL);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, NULL), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, NULL), -EEXIST);
    EXPECT(weir_poller_modify(p, a, 64, NULL), -EINVAL);
    EXPECT(weir_poller_add(p, NULL, WEIR_READABLE, NULL), -EINVAL);
    EXPECT(weir_poller_add(NULL, a, WEIR_READABLE, NULL), -EINVAL);
    EXPECT(weir_poller_wait(p, NULL, 1, 0), -EINVAL);
    EXPECT(weir_poller_wait(p, &event, 0, 0), -EINVAL);
    EXPECT(weir_poller_wait(NULL, &event, 1, 0), -EINVAL);
    EXPECT(weir_poller_fd(NULL), -EINVAL);
    EXPECT(weir_poller_wake(NULL), -EINVAL);
    EXPECT(weir_poller_close(p), 0);
}

SCENARIO(poller_picks_the_ready_ones)
{
    weir_socket *a[MANY], *b[MANY];
    weir_poller *p;
    weir_event events[MANY];
    bool seen[MANY] = {false};
    EXPECT(weir_poller_open(&p), 0);
    for (int i = 0; i < MANY; i++) {
        rig_pair(rig, &a[i], &b[i]);
        EXPECT(weir_poller_add(p, a[i], WEIR_READABLE, &a[i]), 0);
    }
    for (int i = 0; i < MANY; i += 10)
        EXPECT(rig_send(rig, b[i], "x", 1), 1);
    for (int left = MANY / 10; left > 0;) {
        int n = weir_poller_wait(p, events, 3, -1);
        CHECK(n >= 1 && n <= 3);
        for (int i = 0; i < n; i++) {
            char byte;
            ptrdiff_t at = (weir_socket **)events[i].data - a;
            CHECK(at % 10 == 0 && !seen[at] && events[i].socket == a[at]);
            seen[at] = true;
            EXPECT(rig_recv(rig, a[at], &byte, 1), 1);
            left--;
        }
    }
    EXPECT(weir_poller_wait(p, events, MANY, 0), 0);
    EXPECT(weir_poller_close(p), 0);
}

SCENARIO_FOR(poller_reports_the_end_and_resets, CONNECTION)
{
    weir_socket *a, *b, *s, *peer;
    weir_poller *p;
    weir_event event;
    char byte;
    rig_pair(rig, &a, &b);
    rig_pair(rig, &s, &peer);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, NULL), 0);
    rig_close(rig, b);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    CHECK(event.socket == a && event.events == WEIR_READABLE);
    EXPECT(rig_recv(rig, a, &byte, 1), 0);
    EXPECT(weir_poller_remove(p, a), 0);
    EXPECT(weir_poller_add(p, s, WEIR_READABLE, NULL), 0);
    rig_reset(rig, s, peer);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    CHECK(event.socket == s && event.events == WEIR_READABLE);
    EXPECT(rig_recv(rig, s, &byte, 1), -ECONNRESET);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1); /* it stays so */
    EXPECT(weir_poller_close(p), 0);
}

SCENARIO(poller_forgets_what_is_closed)
{
    weir_socket *a, *b;
    weir_poller *p[3];
    weir_event event;
    for (int i = 0; i < 3; i++)
        EXPECT(weir_poller_open(&p[i]), 0);
    rig_pair(rig, &a, &b);
    for (int i = 0; i < 3; i++)
        EXPECT(weir_poller_add(p[i], a, WEIR_READABLE | WEIR_WRITABLE, NULL), 0);
    EXPECT(weir_poller_wait(p[0], &event, 1, -1), 1);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    rig_close(rig, a);
    for (int i = 0; i < 3; i++)
        EXPECT(weir_poller_wait(p[i], &event, 1, 0), 0);
    rig_pair(rig, &a, &b); /* the numbers of the old descriptors come back */
    EXPECT(rig_send(rig, b, "x", 1), 1);
    for (int i = 0; i < 3; i++) {
        EXPECT(weir_poller_wait(p[i], &event, 1, 0), 0);
        EXPECT(weir_poller_close(p[i]), 0);
    }
}

SCENARIO(poller_ends_before_its_sockets)
{
    weir_socket *a, *b;
    weir_poller *p;
    weir_event event;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, NULL), 0);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(weir_poller_close(p), 0);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(rig_recv(rig, a, &byte, 1), 1);
}

static void wake(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_poller_wake(arg), 0);
}

SCENARIO(poller_is_woken)
{
    weir_poller *p;
    weir_event event;
    EXPECT(weir_poller_open(&p), 0);
    struct rig_thread *t = rig_when_asleep(rig, wake, p);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 0);
    rig_join(t);
    EXPECT(weir_poller_wake(p), 0); /* the next one then */
    EXPECT(weir_poller_wake(p), 0);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 0);
    EXPECT(weir_poller_close(p), 0);
}

static void wait_too(struct rig *rig, void *arg)
{
    weir_event event;
    (void)rig;
    EXPECT(weir_poller_wait(arg, &event, 1, 0), -EBUSY);
    EXPECT(weir_poller_wake(arg), 0);
}

SCENARIO(poller_is_for_one_waiter)
{
    weir_poller *p;
    weir_event event;
    EXPECT(weir_poller_open(&p), 0);
    struct rig_thread *t = rig_when_asleep(rig, wait_too, p);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 0);
    rig_join(t);
    EXPECT(weir_poller_close(p), 0);
}

struct addition {
    weir_poller *p;
    weir_socket *s, *peer;
};

static void add_late(struct rig *rig, void *arg)
{
    const struct addition *a = arg;
    EXPECT(weir_poller_add(a->p, a->s, WEIR_READABLE, NULL), 0);
    EXPECT(rig_send(rig, a->peer, "x", 1), 1);
}

SCENARIO(poller_sees_what_is_added_while_it_waits)
{
    struct addition a;
    weir_event event;
    rig_pair(rig, &a.s, &a.peer);
    EXPECT(weir_poller_open(&a.p), 0);
    struct rig_thread *t = rig_when_asleep(rig, add_late, &a);
    EXPECT(weir_poller_wait(a.p, &event, 1, -1), 1);
    CHECK(event.socket == a.s);
    rig_join(t);
    EXPECT(weir_poller_close(a.p), 0);
}

static bool polls_readable(const weir_poller *p, int timeout_ms)
{
    struct pollfd readable = {.fd = weir_poller_fd(p), .events = POLLIN};
    int n;
    do
        n = poll(&readable, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

SCENARIO(poller_in_a_foreign_loop)
{
    weir_socket *a, *b;
    weir_poller *p;
    weir_event event;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_poller_open(&p), 0);
    int fd = weir_poller_fd(p);
    CHECK(fd >= 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, NULL), 0);
    while (polls_readable(p, 0))
        EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    do
        CHECK(polls_readable(p, -1));
    while (weir_poller_wait(p, &event, 1, 0) == 0);
    CHECK(event.socket == a && polls_readable(p, 0)); /* still */
    EXPECT(rig_recv(rig, a, &byte, 1), 1);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    CHECK(!polls_readable(p, 0));
    EXPECT(weir_poller_wake(p), 0);
    CHECK(polls_readable(p, -1));
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    CHECK(!polls_readable(p, 0));
    EXPECT(weir_poller_fd(p), fd);
    EXPECT(weir_poller_close(p), 0);
}

/* The loop of others drives a connect that has a time-out: nothing but the descriptor tells it
 * when. */
SCENARIO_FOR(poller_in_a_foreign_loop_drives_a_connect, LISTENER)
{
    weir_address full;
    weir_socket *s = rig_open(rig);
    weir_poller *p;
    weir_event event;
    rig_full_listener(rig, &full);
    EXPECT(weir_set_blocking(s, false), 0);
    EXPECT(weir_set_timeout(s, RIG_WHILE_MS), 0);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, s, WEIR_WRITABLE, NULL), 0);
    EXPECT(weir_connect_address(s, &full), -EINPROGRESS);
    do
        CHECK(polls_readable(p, -1));
    while (weir_poller_wait(p, &event, 1, 0) == 0);
    CHECK(event.socket == s && event.events == WEIR_WRITABLE);
    EXPECT(weir_connect_status(s), WEIR_EDEADLINE);
    EXPECT(weir_poller_close(p), 0);
}

SCENARIO_FOR(poller_accepts, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *accepted[10], *none;
    struct rig_thread *t[10];
    weir_address where = rig_where(listener);
    weir_poller *p;
    weir_event event;
    EXPECT(weir_set_blocking(listener, false), 0);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, listener, WEIR_READABLE, NULL), 0);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    for (int i = 0; i < 10; i++)
        t[i] = rig_visit(rig, rig_open(rig), &where);
    for (int i = 0; i < 10; i++) {
        EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
        EXPECT(weir_accept(listener, &accepted[i]), 0);
        rig_keep(rig, accepted[i]);
    }
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(weir_accept(listener, &none), -EAGAIN);
    EXPECT(weir_poller_close(p), 0);
    for (int i = 0; i < 10; i++)
        rig_welcome(rig, accepted[i]);
    for (int i = 0; i < 10; i++)
        rig_join(t[i]);
}

/* Room to send is reported when there is some again. */
SCENARIO_FOR(poller_reports_room, STREAM)
{
    weir_socket *a, *b;
    weir_poller *p;
    weir_event event;
    static char block[1 << 16];
    size_t sent = 0;
    ssize_t n;
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_blocking(a, false), 0);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_WRITABLE, NULL), 0);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    while ((n = weir_send(a, block, sizeof block)) > 0)
        sent += (size_t)n;
    EXPECT(n, -EAGAIN);
    struct rig_thread *t = rig_push(rig, a);
    for (size_t got = 0; got < sent; got += (size_t)n)
        CHECK((n = rig_recv(rig, b, block, sizeof block)) > 0);
    rig_join(t);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    CHECK(event.events == WEIR_WRITABLE);
    CHECK(weir_send(a, block, sizeof block) > 0);
    EXPECT(weir_poller_close(p), 0);
}
