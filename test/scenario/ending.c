/* Abort, close, finish, references: whoever waits is woken, in every mode, and nobody is served
 * afterwards. */
#include "support/rig.h"

#include <fcntl.h>
#include <stdlib.h>

static void abort_it(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_abort(arg), 0);
}

SCENARIO(abort_wakes_a_receiver)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_when_asleep(rig, abort_it, a);
    EXPECT(rig_recv(rig, a, &byte, 1), WEIR_ECLOSED);
    rig_join(t);
}

SCENARIO_FOR(abort_wakes_a_sender, STREAM)
{
    weir_socket *a, *b;
    size_t len = (size_t)16 << 20, done = 0;
    char *data = calloc(1, len);
    CHECK(data != NULL);
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_when_asleep(rig, abort_it, a);
    EXPECT(rig_send_all(rig, a, data, len, &done), WEIR_ECLOSED);
    CHECK(done > 0 && done < len);
    rig_join(t);
    free(data);
}

SCENARIO_FOR(abort_wakes_an_acceptor, LISTENER)
{
    weir_socket *listener = rig_listener(rig), *none = NULL;
    struct rig_thread *t = rig_when_asleep(rig, abort_it, listener);
    EXPECT(rig_accept(rig, listener, &none), WEIR_ECLOSED);
    CHECK(none == NULL);
    rig_join(t);
}

SCENARIO(abort_wakes_a_wait)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_when_asleep(rig, abort_it, a);
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_ECLOSED);
    rig_join(t);
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_ECLOSED);
}

SCENARIO(abort_is_reported_by_a_poller)
{
    weir_socket *a, *b;
    weir_poller *p;
    weir_event event;
    rig_pair(rig, &a, &b);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, &event), 0);
    struct rig_thread *t = rig_when_asleep(rig, abort_it, a);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    CHECK(event.socket == a && event.data == &event && event.events == WEIR_READABLE);
    rig_join(t);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1); /* and again */
    rig_close(rig, a);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(weir_poller_close(p), 0);
}

struct wait_for_end {
    weir_socket *s;
    size_t len;
};

static void sends_until_closed(struct rig *rig, void *arg)
{
    const struct wait_for_end *w = arg;
    char *data = calloc(1, w->len);
    size_t done = 0;
    CHECK(data != NULL);
    EXPECT(rig_send_all(rig, w->s, data, w->len, &done), WEIR_ECLOSED);
    free(data);
}

static void receives_until_closed(struct rig *rig, void *arg)
{
    char byte;
    EXPECT(rig_recv(rig, arg, &byte, 1), WEIR_ECLOSED);
}

static void waits_until_closed(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_wait(arg, WEIR_READABLE), WEIR_ECLOSED);
}

/* One sends, two wait for their turn to send, one receives, two just wait. */
SCENARIO_FOR(abort_wakes_everybody, STREAM | WAITS)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    struct wait_for_end large = {a, (size_t)16 << 20}, small = {a, 1};
    struct rig_thread *t[6];
    t[0] = rig_go(rig, sends_until_closed, &large);
    rig_until_asleep(t[0]);
    t[1] = rig_go(rig, sends_until_closed, &small);
    t[2] = rig_go(rig, sends_until_closed, &small);
    t[3] = rig_go(rig, receives_until_closed, a);
    t[4] = rig_go(rig, waits_until_closed, a);
    t[5] = rig_go(rig, waits_until_closed, a);
    for (int i = 1; i < 6; i++)
        rig_until_asleep(t[i]);
    EXPECT(weir_abort(a), 0);
    for (int i = 0; i < 6; i++)
        rig_join(t[i]);
}

SCENARIO(abort_ends_every_later_call)
{
    weir_socket *a, *b, *none = NULL;
    weir_address where, place = rig_place(rig);
    char byte;
    int value = 1;
    socklen_t length = sizeof value;
    size_t done = 0;
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(weir_abort(a), 0);
    EXPECT(weir_abort(a), 0);
    EXPECT(weir_recv(a, &byte, 1), WEIR_ECLOSED);
    EXPECT(weir_send(a, &byte, 1), WEIR_ECLOSED);
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_ECLOSED);
    EXPECT(weir_shutdown(a, SHUT_WR), WEIR_ECLOSED);
    EXPECT(weir_finish(a), WEIR_ECLOSED);
    EXPECT(weir_accept(a, &none), WEIR_ECLOSED);
    EXPECT(weir_connect_address(a, &place), WEIR_ECLOSED);
    EXPECT(weir_connect(a, "localhost", 80), WEIR_ECLOSED);
    EXPECT(weir_connect_status(a), WEIR_ECLOSED);
    EXPECT(weir_bind_address(a, &place), WEIR_ECLOSED);
    EXPECT(weir_listen(a, 0), WEIR_ECLOSED);
    EXPECT(weir_set_option(a, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value), WEIR_ECLOSED);
    EXPECT(weir_get_option(a, SOL_SOCKET, SO_KEEPALIVE, &value, &length), WEIR_ECLOSED);
    EXPECT(weir_local_address(a, &where), WEIR_ECLOSED);
    EXPECT(weir_peer_address(a, &where), WEIR_ECLOSED);
    EXPECT(weir_fd(a), WEIR_ECLOSED);
    EXPECT(weir_detach(a), WEIR_ECLOSED);
    if (rig->transport->has & STREAM) {
        EXPECT(weir_send_all(a, &byte, 1, &done), WEIR_ECLOSED);
        EXPECT(weir_recv_exact(a, &byte, 1, &done), WEIR_ECLOSED);
    }
    if (rig->transport->has & DATAGRAMS) {
        EXPECT(weir_send_to(a, &byte, 1, NULL), WEIR_ECLOSED);
        EXPECT(weir_recv_from(a, &byte, 1, NULL), WEIR_ECLOSED);
    }
}

SCENARIO(abort_of_a_fresh_socket)
{
    weir_socket *s = rig_open(rig);
    weir_address place = rig_place(rig);
    EXPECT(weir_abort(s), 0);
    EXPECT(weir_bind_address(s, &place), WEIR_ECLOSED);
    EXPECT(weir_fd(s), WEIR_ECLOSED);
}

SCENARIO(ending_nothing_is_no_error)
{
    EXPECT(weir_close(NULL), 0);
    EXPECT(weir_abort(NULL), 0);
    EXPECT(weir_drop(NULL), 0);
    EXPECT(weir_poller_close(NULL), 0);
    EXPECT(weir_finish(NULL), -EINVAL);
    EXPECT(weir_detach(NULL), -EINVAL);
    EXPECT(weir_fd(NULL), -EINVAL);
}

static void close_it(struct rig *rig, void *arg)
{
    rig_close(rig, arg);
}

/* The call that waits keeps the socket alive, nobody else does. */
SCENARIO_FOR(close_while_another_thread_receives, WAITS)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_when_asleep(rig, close_it, a);
    EXPECT(weir_recv(a, &byte, 1), WEIR_ECLOSED);
    rig_join(t);
    if (rig->transport->has & CONNECTION)
        EXPECT(rig_recv(rig, b, &byte, 1), 0);
}

SCENARIO(references_keep_it_alive)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    for (int i = 0; i < 3; i++)
        CHECK(weir_ref(a) == a);
    rig_close(rig, a);
    for (int i = 0; i < 3; i++) {
        EXPECT(weir_recv(a, &byte, 1), WEIR_ECLOSED);
        EXPECT(weir_close(a), 0);
    }
    if (rig->transport->has & CONNECTION)
        EXPECT(rig_recv(rig, b, &byte, 1), 0);
}

/* As long as somebody has a reference, a new descriptor must not get the number of the old one. */
SCENARIO(close_keeps_the_number_while_it_is_referred_to)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    int number = weir_fd(a);
    CHECK(number >= 0);
    weir_ref(a);
    rig_close(rig, a);
    for (int i = 0; i < 4; i++)
        CHECK(rig_keep_fd(rig, open("/dev/null", O_RDONLY | O_CLOEXEC)) != number);
    EXPECT(weir_close(a), 0);
}

/* The rest of what was sent is delivered after the close. */
SCENARIO(close_delivers_what_was_sent)
{
    weir_socket *a, *b;
    char buf[8];
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, a, "goodbye", 7), 7);
    rig_close(rig, a);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 7);
    CHECK(!memcmp(buf, "goodbye", 7));
}

SCENARIO_FOR(drop_says_nothing, CONNECTION)
{
    weir_socket *a, *b;
    char buf[8];
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, a, "goodbye", 7), 7);
    rig_forget(rig, a);
    EXPECT(weir_drop(a), 0);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 7);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), rig->transport->end_of_abort);
}

/* ---- finish --------------------------------------------------------------------------------- */

static void read_to_the_end(struct rig *rig, void *arg)
{
    static unsigned char buf[60000];
    size_t got = 0;
    ssize_t n;
    while ((n = rig_recv(rig, arg, buf, sizeof buf)) > 0) {
        CHECK(rig_is_filled(buf, (size_t)n, 9, got));
        got += (size_t)n;
    }
    EXPECT(n, 0);
    EXPECT((long long)got, 1 << 20);
    EXPECT(weir_shutdown(arg, SHUT_WR), 0);
}

/* Closing with bytes unread makes TCP reset the connection and drop what is still under way. */
SCENARIO_FOR(finish_saves_the_last_bytes, STREAM)
{
    weir_socket *a, *b;
    size_t done = 0, len = 1 << 20;
    unsigned char *data = malloc(len);
    CHECK(data != NULL);
    rig_fill(data, len, 9, 0);
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, b, "never read", 10), 10);
    struct rig_thread *t = rig_go(rig, read_to_the_end, b);
    EXPECT(rig_send_all(rig, a, data, len, &done), 0);
    EXPECT(rig_finish(rig, a), 0);
    rig_close(rig, a);
    rig_join(t);
    free(data);
}

SCENARIO_FOR(finish_waits_for_the_peer, CONNECTION)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(RIG_BRIEFLY(rig, a, WEIR_READABLE, weir_finish(a)), WEIR_EDEADLINE);
    EXPECT(rig_recv(rig, b, &byte, 1), 0); /* it has been told */
    EXPECT(weir_set_blocking(a, false), 0);
    EXPECT(weir_finish(a), -EAGAIN);
    EXPECT(rig_send(rig, b, "more", 4), 4);
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_READABLE);
    EXPECT(weir_finish(a), -EAGAIN);
    EXPECT(weir_shutdown(b, SHUT_WR), 0);
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_READABLE);
    EXPECT(weir_finish(a), 0);
    EXPECT(weir_finish(a), 0);
}

SCENARIO_FOR(finish_of_a_conversation_that_was_reset, CONNECTION)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    rig_reset(rig, a, b);
    EXPECT(rig_finish(rig, a), -ECONNRESET);
    EXPECT(rig_finish(rig, a), -ECONNRESET);
}

SCENARIO_FOR(abort_wakes_a_finish, CONNECTION)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_when_asleep(rig, abort_it, a);
    EXPECT(rig_finish(rig, a), WEIR_ECLOSED);
    rig_join(t);
}
