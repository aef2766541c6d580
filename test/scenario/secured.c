/* TLS after the handshake: how it ends, what is resumed, children; and handshakes that come in
 * pieces or stop anywhere. */
#include "support/rig.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

/* ---- ends ----------------------------------------------------------------------------------- */

/* What ends without a word may have been cut off by anybody. */
SCENARIO_FOR(truncation_is_no_end, HANDSHAKE)
{
    weir_socket *a, *b;
    char buf[8];
    size_t done = 0;
    struct iovec vector = {buf, sizeof buf};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, b, "last", 4), 4);
    EXPECT(weir_abort(b), 0);
    EXPECT(rig_recv_exact(rig, a, buf, sizeof buf, &done), WEIR_ETRUNCATED);
    EXPECT(done, 4);
    for (int i = 0; i < 3; i++) {
        EXPECT(rig_recv(rig, a, buf, sizeof buf), WEIR_ETRUNCATED);
        EXPECT(rig_recvmsg(rig, a, &message, 0), WEIR_ETRUNCATED);
        EXPECT(rig_recv_exact(rig, a, buf, sizeof buf, &done), WEIR_ETRUNCATED);
    }
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_READABLE);
}

SCENARIO_FOR(finish_of_a_truncated_conversation, HANDSHAKE)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    EXPECT(weir_abort(b), 0);
    int rc = rig_finish(rig, a);
    CHECK(rc == WEIR_ETRUNCATED || rc == -ECONNRESET || rc == -EPIPE);
}

struct hasty {
    weir_socket *s;
    weir_address to;
};

static void say_and_leave(struct rig *rig, void *arg)
{
    const struct hasty *h = arg;
    EXPECT(rig_connect_address(rig, h->s, &h->to), 0);
    EXPECT(rig_send(rig, h->s, "goodbye", 7), 7);
    EXPECT(rig_finish(rig, h->s), 0);
    rig_close(rig, h->s);
}

/* What the server has sent behind the handshake (tickets) must not make a reset of the end. */
SCENARIO_FOR(client_that_sends_and_finishes, HANDSHAKE)
{
    weir_socket *listener = rig_listener(rig), *accepted;
    struct hasty h = {rig_open(rig), rig_where(listener)};
    char buf[8];
    struct rig_thread *t = rig_go(rig, say_and_leave, &h);
    EXPECT(rig_accept(rig, listener, &accepted), 0);
    EXPECT(rig_recv(rig, accepted, buf, sizeof buf), 7);
    EXPECT(rig_recv(rig, accepted, buf, sizeof buf), 0);
    EXPECT(rig_finish(rig, accepted), 0);
    rig_close(rig, accepted);
    rig_join(t);
}

/* ---- sessions ------------------------------------------------------------------------------- */

SCENARIO_FOR(session_is_resumed, HANDSHAKE)
{
    weir_socket *listener = rig_listener(rig), *s, *accepted;
    weir_address where = rig_where(listener);
    weir_tls_state state;
    for (int i = 0; i < 3; i++) {
        s = rig_open(rig);
        rig_meet(rig, s, &where, listener, &accepted);
        EXPECT(weir_tls_info(s, &state), 0);
        EXPECT(state.resumed, i > 0);
        EXPECT(state.peer_verified, true);
        EXPECT(weir_tls_info(accepted, &state), 0);
        EXPECT(state.resumed, i > 0);
        rig_close(rig, s);
        rig_close(rig, accepted);
    }
}

/* ---- fork(2) -------------------------------------------------------------------------------- */

/* It would say the same again with the same keys. */
static void may_only_drop(struct rig *rig, void *arg)
{
    char byte = 'x';
    size_t done = 0;
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    (void)rig;
    EXPECT(weir_recv(arg, &byte, 1), -EPERM);
    EXPECT(weir_send(arg, &byte, 1), -EPERM);
    EXPECT(weir_send_all(arg, &byte, 1, &done), -EPERM);
    EXPECT(weir_recv_exact(arg, &byte, 1, &done), -EPERM);
    EXPECT(weir_sendmsg(arg, &message, 0), -EPERM);
    EXPECT(weir_recvmsg(arg, &message, 0), -EPERM);
    EXPECT(weir_handshake(arg), -EPERM);
    EXPECT(weir_shutdown(arg, SHUT_WR), -EPERM);
    EXPECT(weir_finish(arg), -EPERM);
    EXPECT(weir_drop(arg), 0);
}

static void check_conversation(struct rig *rig, weir_socket *a, weir_socket *b)
{
    char buf[8];
    EXPECT(rig_send(rig, a, "there", 5), 5);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 5);
    EXPECT(rig_send(rig, b, "back", 4), 4);
    EXPECT(rig_recv(rig, a, buf, sizeof buf), 4);
}

SCENARIO_FOR(child_may_only_drop, HANDSHAKE)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    rig_wait_child(rig_fork(rig, may_only_drop, a));
    check_conversation(rig, a, b);
}

static void close_it(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_close(arg), 0);
}

static void abort_and_close(struct rig *rig, void *arg)
{
    EXPECT(weir_abort(arg), 0);
    close_it(rig, arg);
}

/* A mistake, but not one that the parent's peer may learn of. */
SCENARIO_FOR(child_that_closes_says_nothing, HANDSHAKE)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    rig_wait_child(rig_fork(rig, close_it, a));
    check_conversation(rig, a, b);
    rig_wait_child(rig_fork(rig, abort_and_close, b));
    check_conversation(rig, b, a);
}

static void drop_unshaken(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_handshake(arg), -EPERM);
    EXPECT(weir_drop(arg), 0);
}

SCENARIO_FOR(fork_before_the_handshake, HANDSHAKE)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    weir_address where = rig_where(listener);
    struct rig_thread *t = rig_visit(rig, s, &where);
    EXPECT(rig_accept(rig, listener, &accepted), 0);
    rig_wait_child(rig_fork(rig, drop_unshaken, accepted));
    rig_welcome(rig, accepted);
    rig_join(t);
    check_conversation(rig, s, accepted);
}

/* ---- handshakes in pieces ------------------------------------------------------------------- */

/* Somebody in between, who hands on one byte at a time, and after `limit` of them no more. */
struct middle {
    weir_socket *listener, *to_client, *to_server;
    weir_address server;
    atomic_long limit;
};

static void set_nodelay(weir_socket *s)
{
    int on = 1;
    EXPECT(weir_set_option(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
}

/* Until one end or the other is closed. */
static void hand_on(struct rig *rig, struct middle *m, weir_socket *from, weir_socket *to)
{
    char byte;
    while (rig_recv(rig, from, &byte, 1) == 1)
        if (atomic_fetch_sub(&m->limit, 1) > 0 && rig_send(rig, to, &byte, 1) != 1)
            break;
    EXPECT(weir_abort(to), 0);
}

static void hand_back(struct rig *rig, void *arg)
{
    struct middle *m = arg;
    hand_on(rig, m, m->to_server, m->to_client);
}

static void be_in_between(struct rig *rig, void *arg)
{
    struct middle *m = arg;
    EXPECT(rig_accept(rig, m->listener, &m->to_client), 0);
    m->to_server = rig_open_bare(rig);
    EXPECT(rig_connect_address(rig, m->to_server, &m->server), 0);
    set_nodelay(m->to_client);
    set_nodelay(m->to_server);
    struct rig_thread *back = rig_go(rig, hand_back, m);
    hand_on(rig, m, m->to_client, m->to_server);
    rig_join(back);
    rig_close(rig, m->to_client);
    rig_close(rig, m->to_server);
}

static void begin_in_between(struct rig *rig, struct middle *m, weir_socket *server, long limit)
{
    m->listener = rig_bare_listener(rig);
    m->server = rig_where(server);
    atomic_init(&m->limit, limit);
}

SCENARIO_FOR(handshake_byte_by_byte, HANDSHAKE)
{
    weir_socket *listener = rig_listener(rig), *s = rig_open(rig), *accepted;
    struct middle m;
    begin_in_between(rig, &m, listener, 1 << 20);
    weir_address where = rig_where(m.listener);
    struct rig_thread *t = rig_go(rig, be_in_between, &m);
    struct rig_thread *visitor = rig_visit(rig, s, &where);
    rig_admit(rig, listener, &accepted);
    rig_join(visitor);
    check_conversation(rig, s, accepted);
    rig_close(rig, s);
    rig_join(t);
}

static void serve_in_vain(struct rig *rig, void *arg)
{
    weir_socket *accepted;
    char byte;
    EXPECT(rig_accept(rig, arg, &accepted), 0);
    int rc = (int)RIG_DONE(rig, accepted, WEIR_READABLE, weir_handshake(accepted));
    CHECK(rc == 0 || rc == WEIR_ETLS || rc == -ECONNRESET);
    /* Its part may be over when the last that it said gets stuck. */
    if (rc == 0)
        (void)rig_recv(rig, accepted, &byte, 1);
    rig_close(rig, accepted);
}

/* A place for every beginning of a handshake: what the client says, what the server answers. */
#define STEPS 12

static long step_limit(struct rig *rig, int step)
{
    return step ? (long)(rig_random(rig) % 1800) : 0;
}

SCENARIO_FOR(limit_passes_anywhere_in_a_handshake, HANDSHAKE)
{
    weir_socket *listener = rig_listener(rig), *accepted;
    for (int i = 0; i < STEPS; i++) {
        struct middle m;
        weir_socket *s = rig_open(rig);
        begin_in_between(rig, &m, listener, step_limit(rig, i));
        weir_address where = rig_where(m.listener);
        struct rig_thread *t = rig_go(rig, be_in_between, &m);
        struct rig_thread *server = rig_go(rig, serve_in_vain, listener);
        int rc = rig_connect_briefly(rig, s, &where);
        EXPECT(rc, rc == 0 ? 0 : WEIR_EDEADLINE);
        if (rc < 0) {
            EXPECT(weir_connect_status(s), WEIR_EDEADLINE);
            EXPECT(weir_fd(s), -ENOTCONN);
        }
        EXPECT(weir_abort(s), 0);
        rig_join(t);
        rig_join(server);
        rig_close(rig, m.listener);
        rig_close(rig, s);
    }
    weir_address where = rig_where(listener);
    rig_meet(rig, rig_open(rig), &where, listener, &accepted);
}

struct connection {
    weir_socket *s;
    weir_address to;
    int rc;
    atomic_bool ended;
};

static void connect_or_not(struct rig *rig, void *arg)
{
    struct connection *c = arg;
    c->rc = rig_connect_address(rig, c->s, &c->to);
    atomic_store(&c->ended, true);
}

/* Ends a connect wherever it is by then: by the abort of its socket, or by a cancel. */
static void interrupt(struct rig *rig, bool cancel)
{
    weir_socket *listener = rig_listener(rig), *accepted;
    for (int i = 0; i < STEPS; i++) {
        struct middle m;
        begin_in_between(rig, &m, listener, step_limit(rig, i));
        struct connection c = {.s = rig_open(rig), .to = rig_where(m.listener)};
        struct rig_thread *t = rig_go(rig, be_in_between, &m);
        struct rig_thread *server = rig_go(rig, serve_in_vain, listener);
        struct rig_thread *client = rig_go(rig, connect_or_not, &c);
        rig_until_asleep(client);
        while (atomic_load(&m.limit) > 0 && !atomic_load(&c.ended))
            rig_give_way();
        if (cancel)
            rig_cancel(client);
        else
            EXPECT(weir_abort(c.s), 0);
        rig_join(client);
        CHECK(c.rc == 0 || c.rc == (cancel ? -ECANCELED : WEIR_ECLOSED));
        EXPECT(weir_abort(c.s), 0);
        rig_join(t);
        rig_join(server);
        rig_close(rig, m.listener);
        rig_close(rig, c.s);
    }
    weir_address where = rig_where(listener);
    rig_meet(rig, rig_open(rig), &where, listener, &accepted);
}

SCENARIO_FOR(abort_anywhere_in_a_handshake, HANDSHAKE)
{
    interrupt(rig, false);
}

SCENARIO_FOR(cancel_anywhere_in_a_handshake, HANDSHAKE | TASKS)
{
    interrupt(rig, true);
}
