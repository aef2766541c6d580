/* fork(2): what a child may do, and that the parent does not notice. */
#include "support/rig.h"

#include <signal.h>
#include <sys/wait.h>

static void drop_it(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_drop(arg), 0);
}

SCENARIO(drop_in_a_child_leaves_the_parents_conversation)
{
    weir_socket *a, *b;
    char buf[8];
    rig_pair(rig, &a, &b);
    rig_wait_child(rig_fork(rig, drop_it, a));
    EXPECT(rig_send(rig, b, "still", 5), 5);
    EXPECT(rig_recv(rig, a, buf, sizeof buf), 5);
    EXPECT(rig_send(rig, a, "here", 4), 4);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 4);
}

static void close_it(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_close(arg), 0);
}

SCENARIO_FOR(close_in_a_child_leaves_the_parents_listener, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    rig_wait_child(rig_fork(rig, close_it, listener));
    rig_meet(rig, s, &where, listener, &accepted);
}

/* The child waits, too: it must not do so with what belongs to the parent. */
static void serve(struct rig *rig, void *arg)
{
    char buf[8];
    EXPECT(rig_recv(rig, arg, buf, sizeof buf), 8);
    CHECK(!memcmp(buf, "question", 8));
    EXPECT(rig_send(rig, arg, "answer", 6), 6);
}

SCENARIO_FOR(child_goes_on_with_an_inherited_conversation, PLAIN)
{
    weir_socket *a, *b;
    char buf[8];
    rig_pair(rig, &a, &b);
    EXPECT(RIG_BRIEFLY(rig, a, WEIR_READABLE, weir_recv(a, buf, 1)), WEIR_EDEADLINE);
    pid_t child = rig_fork(rig, serve, a);
    EXPECT(rig_send(rig, b, "question", 8), 8);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 6);
    rig_wait_child(child);
}

static void accept_and_serve(struct rig *rig, void *arg)
{
    weir_socket *accepted;
    rig_admit(rig, arg, &accepted);
    serve(rig, accepted);
}

SCENARIO_FOR(child_accepts_from_an_inherited_listener, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig);
    weir_address where = rig_where(listener);
    char buf[8];
    pid_t child = rig_fork(rig, accept_and_serve, listener);
    rig_arrive(rig, s, &where);
    EXPECT(rig_send(rig, s, "question", 8), 8);
    EXPECT(rig_recv(rig, s, buf, sizeof buf), 6);
    rig_wait_child(child);
}

static void abort_it(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_abort(arg), 0);
}

static void wake_again_and_again(struct rig *rig, void *arg)
{
    char byte;
    (void)arg;
    for (int i = 0; i < 100; i++) {
        weir_socket *pair[2];
        EXPECT(weir_pair(pair, SOCK_STREAM), 0);
        struct rig_thread *t = rig_when_asleep(rig, abort_it, pair[0]);
        EXPECT(weir_recv(pair[0], &byte, 1), WEIR_ECLOSED);
        rig_join(t);
        EXPECT(weir_close(pair[0]), 0);
        EXPECT(weir_close(pair[1]), 0);
    }
}

/* If they waited with the same wake descriptor, one could take the wake-up that is meant for the
 * other. */
SCENARIO_FOR(parent_and_child_are_woken_apart, OWN)
{
    pid_t child = rig_fork(rig, wake_again_and_again, NULL);
    wake_again_and_again(rig, NULL);
    rig_wait_child(child);
}

SCENARIO_FOR(fork_in_the_middle_of_a_connect, LISTENER | LOCAL | RAW)
{
    weir_address full;
    int listener = rig_full_listener(rig, &full);
    weir_socket *s = rig_open(rig);
    EXPECT(weir_set_blocking(s, false), 0);
    EXPECT(weir_connect_address(s, &full), -EINPROGRESS);
    rig_wait_child(rig_fork(rig, drop_it, s));
    EXPECT(weir_connect_status(s), -EINPROGRESS);
    int fd;
    do
        fd = accept(listener, NULL, NULL);
    while (fd < 0 && errno == EINTR);
    rig_keep_fd(rig, fd);
    EXPECT(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    EXPECT(weir_connect_status(s), 0);
}

struct watched {
    weir_poller *p;
    weir_socket *s;
};

static void close_poller_and_drop(struct rig *rig, void *arg)
{
    const struct watched *w = arg;
    (void)rig;
    EXPECT(weir_poller_close(w->p), 0);
    EXPECT(weir_drop(w->s), 0);
}

static void drop_and_close_poller(struct rig *rig, void *arg)
{
    const struct watched *w = arg;
    (void)rig;
    EXPECT(weir_drop(w->s), 0);
    EXPECT(weir_poller_close(w->p), 0);
}

/* The epoll set is shared with the child; what the child takes out is gone for the parent too. */
SCENARIO(child_leaves_the_parents_poller_as_it_is)
{
    struct watched w;
    weir_socket *b;
    weir_event event;
    rig_pair(rig, &w.s, &b);
    EXPECT(weir_poller_open(&w.p), 0);
    EXPECT(weir_poller_add(w.p, w.s, WEIR_READABLE, NULL), 0);
    EXPECT(weir_poller_wait(w.p, &event, 1, 0), 0);
    rig_wait_child(rig_fork(rig, drop_it, w.s));
    rig_wait_child(rig_fork(rig, close_poller_and_drop, &w));
    rig_wait_child(rig_fork(rig, drop_and_close_poller, &w));
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(weir_poller_wait(w.p, &event, 1, -1), 1);
    CHECK(event.socket == w.s && event.events == WEIR_READABLE);
    EXPECT(weir_poller_close(w.p), 0);
}

/* A poller of its own, in the child, with sockets that it inherited. */
static void poll_in_child(struct rig *rig, void *arg)
{
    weir_poller *p;
    weir_event event;
    (void)rig;
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, arg, WEIR_READABLE, NULL), 0);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    EXPECT(weir_poller_close(p), 0);
}

SCENARIO_FOR(child_makes_a_poller_of_its_own, PLAIN)
{
    weir_socket *a, *b;
    weir_poller *p;
    weir_event event;
    rig_pair(rig, &a, &b);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, NULL), 0);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    pid_t child = rig_fork(rig, poll_in_child, a);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    rig_wait_child(child);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    EXPECT(weir_poller_close(p), 0);
}
