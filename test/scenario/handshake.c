/* TLS handshakes: with whom, in which call, and peers that spoil them. */
#include "support/rig.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

/* ---- in which call -------------------------------------------------------------------------- */

/* A client that greets first, or is greeted. */
struct client {
    weir_socket *s;
    weir_address to;
    bool talks;
    atomic_bool said;
};

static void converse(struct rig *rig, void *arg)
{
    struct client *c = arg;
    char buf[8];
    EXPECT(rig_connect_address(rig, c->s, &c->to), 0);
    if (c->talks)
        EXPECT(rig_send(rig, c->s, "hello", 5), 5);
    atomic_store(&c->said, true);
    EXPECT(rig_recv(rig, c->s, buf, sizeof buf), 7);
    CHECK(!memcmp(buf, "welcome", 7));
}

static struct rig_thread *meet_client(struct rig *rig, bool talks, struct client *c,
                                      weir_socket **ret)
{
    weir_socket *listener = rig_listener(rig);
    *c = (struct client){.s = rig_open(rig), .to = rig_where(listener), .talks = talks};
    struct rig_thread *t = rig_go(rig, converse, c);
    EXPECT(rig_accept(rig, listener, ret), 0);
    return t;
}

SCENARIO_FOR(handshake_is_part_of_the_first_receive, HANDSHAKE)
{
    struct client c;
    weir_socket *s;
    char buf[8];
    struct rig_thread *t = meet_client(rig, true, &c, &s);
    EXPECT(rig_recv(rig, s, buf, sizeof buf), 5);
    EXPECT(rig_send(rig, s, "welcome", 7), 7);
    rig_join(t);
}

SCENARIO_FOR(handshake_is_part_of_the_first_send, HANDSHAKE)
{
    struct client c;
    weir_socket *s;
    struct rig_thread *t = meet_client(rig, false, &c, &s);
    EXPECT(rig_send(rig, s, "welcome", 7), 7);
    rig_join(t);
}

SCENARIO_FOR(handshake_is_part_of_the_first_whole_call, HANDSHAKE)
{
    struct client c;
    weir_socket *s;
    char buf[5];
    size_t done = 0;
    struct rig_thread *t = meet_client(rig, true, &c, &s);
    EXPECT(rig_recv_exact(rig, s, buf, sizeof buf, &done), 0);
    done = 0;
    EXPECT(rig_send_all(rig, s, "welcome", 7, &done), 0);
    rig_join(t);
}

/* The poller carries it on by itself, in whichever direction it goes just now. */
SCENARIO_FOR(handshake_is_driven_by_a_poller, HANDSHAKE)
{
    static const unsigned events[] = {WEIR_READABLE, WEIR_WRITABLE};
    for (int i = 0; i < 2; i++) {
        struct client c;
        weir_socket *s;
        weir_poller *p;
        weir_event event;
        char buf[8];
        struct rig_thread *t = meet_client(rig, true, &c, &s);
        EXPECT(weir_set_blocking(s, false), 0);
        EXPECT(weir_poller_open(&p), 0);
        EXPECT(weir_poller_add(p, s, events[i], NULL), 0);
        EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
        CHECK(event.socket == s && event.events == events[i]);
        EXPECT(weir_handshake(s), 0);
        EXPECT(weir_poller_close(p), 0);
        EXPECT(weir_send(s, "welcome", 7), 7);
        EXPECT(weir_wait(s, WEIR_READABLE), WEIR_READABLE);
        EXPECT(weir_recv(s, buf, sizeof buf), 5);
        rig_join(t);
    }
}

static void wait_for_input(weir_socket *s)
{
    struct pollfd readable = {.fd = weir_fd(s), .events = POLLIN};
    while (poll(&readable, 1, 0) <= 0)
        rig_give_way();
}

/* The last of the client's handshake and its first bytes are read at once (TLS 1.3), and what is
 * left over is nowhere but in TLS. */
SCENARIO_FOR(bytes_that_come_with_the_handshake, HANDSHAKE)
{
    struct client c;
    weir_socket *s;
    weir_poller *p;
    weir_event event;
    char buf[8];
    struct rig_thread *t = meet_client(rig, true, &c, &s);
    EXPECT(weir_set_blocking(s, false), 0);
    wait_for_input(s);
    int rc = weir_handshake(s);
    CHECK(rc == -EAGAIN || rc == 0); /* the client may be quick */
    if (rc < 0)
        wait_for_input(s);
    while (rig->transport->tls_version == WEIR_TLS_1_3 && !atomic_load(&c.said))
        rig_give_way();
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, s, WEIR_READABLE, NULL), 0);
    for (int i = 0; i < 2; i++) {
        EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
        CHECK(event.events == WEIR_READABLE);
        EXPECT(weir_wait(s, WEIR_READABLE), WEIR_READABLE);
    }
    EXPECT(weir_poller_close(p), 0);
    EXPECT(weir_recv(s, buf, sizeof buf), 5);
    EXPECT(weir_send(s, "welcome", 7), 7);
    rig_join(t);
}

static void receive_hello(struct rig *rig, void *arg)
{
    char buf[8];
    EXPECT(rig_recv(rig, arg, buf, sizeof buf), 5);
}

/* Two who both need it done. */
SCENARIO_FOR(handshake_in_two_calls_at_once, HANDSHAKE)
{
    struct client c;
    weir_socket *s;
    struct rig_thread *t = meet_client(rig, true, &c, &s);
    struct rig_thread *receiver = rig_go(rig, receive_hello, s);
    EXPECT(rig_send(rig, s, "welcome", 7), 7);
    rig_join(receiver);
    rig_join(t);
}

SCENARIO_FOR(handshake_tells_what_came_of_it, HANDSHAKE)
{
    weir_socket *a, *b, *fresh = rig_open(rig), *bare = rig_open_bare(rig);
    weir_tls_state state;
    char chain[16];
    EXPECT(weir_tls_info(bare, &state), -EINVAL);
    EXPECT(weir_handshake(bare), -EINVAL);
    EXPECT(weir_tls_info(fresh, &state), -EAGAIN);
    EXPECT(weir_handshake(fresh), -ENOTCONN);
    rig_pair(rig, &a, &b);
    weir_socket *ends[] = {a, b};
    for (int i = 0; i < 2; i++) {
        EXPECT(weir_handshake(ends[i]), 0); /* again and again */
        EXPECT(weir_tls_info(ends[i], &state), 0);
        EXPECT(state.version, rig->transport->tls_version);
        CHECK(!state.resumed && !strcmp(state.name, rig->tls_name) && state.cipher[0]);
        /* The client has seen a certificate, the server none. */
        EXPECT(state.peer_verified, state.chain_count != 0);
        EXPECT(weir_tls_peer_chain(ends[i], chain, sizeof chain) > 0, state.peer_verified);
    }
}

SCENARIO_FOR(tls_is_set_once_and_where_it_can_be, HANDSHAKE)
{
    weir_socket *a, *b, *bare = rig_open_bare(rig), *listener = rig_bare_listener(rig), *pair[2];
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_tls(a, rig->tls, rig->tls_name), -EALREADY);
    EXPECT(weir_set_tls(NULL, rig->tls, rig->tls_name), -EINVAL);
    EXPECT(weir_set_tls(bare, rig->tls, "no name"), -EINVAL);
    EXPECT(weir_set_tls(listener, rig->tls, rig->tls_name), -EINVAL);
    EXPECT(weir_pair(pair, SOCK_DGRAM), 0);
    EXPECT(weir_set_tls(pair[0], rig->tls, rig->tls_name), -EOPNOTSUPP);
    EXPECT(weir_close(pair[0]), 0);
    EXPECT(weir_close(pair[1]), 0);
}

SCENARIO_FOR(tls_allows_no_more_than_it_has, HANDSHAKE)
{
    weir_socket *a, *b;
    char byte = 'x', control[CMSG_SPACE(sizeof(int))] = "";
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    rig_pair(rig, &a, &b);
    EXPECT(weir_detach(a), -EOPNOTSUPP);
    EXPECT(weir_sendmsg(a, &message, MSG_OOB), -EOPNOTSUPP);
    EXPECT(weir_recvmsg(b, &message, MSG_OOB), -EOPNOTSUPP);
    EXPECT(rig_sendmsg(rig, a, &message, MSG_MORE | MSG_NOSIGNAL), 1);
    EXPECT(rig_recvmsg(rig, b, &message, MSG_NOSIGNAL), 1);
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    EXPECT(weir_sendmsg(a, &message, 0), -EOPNOTSUPP);
    EXPECT(weir_recvmsg(b, &message, 0), -EOPNOTSUPP);
    EXPECT(rig_send(rig, a, "y", 1), 1);
    EXPECT(rig_recv(rig, b, &byte, 1), 1);
}

/* ---- for whom the certificate is ------------------------------------------------------------ */

static void be_refused(struct rig *rig, void *arg)
{
    weir_socket *accepted;
    EXPECT(rig_accept(rig, arg, &accepted), 0);
    int rc = (int)RIG_DONE(rig, accepted, WEIR_READABLE, weir_handshake(accepted));
    char byte;
    if (rc == 0) /* it learns of it when it reads */
        rc = (int)rig_recv(rig, accepted, &byte, 1);
    CHECK(rc == WEIR_ETLS || rc == -ECONNRESET);
    EXPECT(rig_recv(rig, accepted, &byte, 1), rc);
}

static weir_socket *open_for_name(struct rig *rig, const char *name)
{
    weir_socket *s = rig_open_bare(rig);
    EXPECT(weir_set_tls(s, rig->tls, name), 0);
    return s;
}

SCENARIO_FOR(certificate_for_somebody_else, HANDSHAKE)
{
    weir_socket *listener = rig_listener(rig), *s = open_for_name(rig, "elsewhere.test");
    weir_address where = rig_where(listener);
    for (int i = 0; i < 2; i++) {
        struct rig_thread *t = rig_go(rig, be_refused, listener);
        EXPECT(rig_connect_address(rig, s, &where), WEIR_ECERT);
        EXPECT_STORY(s, "elsewhere.test");
        EXPECT(weir_connect_status(s), WEIR_ECERT);
        EXPECT(weir_fd(s), -ENOTCONN);
        rig_join(t);
    }
}

static int look_up(void *arg, const char *name, int family, weir_address *list, int max)
{
    (void)name;
    (void)max;
    if (family != AF_INET)
        return 0;
    list[0] = *(weir_address *)arg;
    return 1;
}

/* What is connected to is what the certificate has to be for. */
SCENARIO_FOR(certificate_for_the_host, HANDSHAKE | NAMES)
{
    weir_socket *listener = rig_listener(rig), *s = open_for_name(rig, NULL), *accepted;
    weir_address where = rig_where(listener);
    EXPECT(weir_set_resolver(look_up, &where), 0);
    struct rig_thread *t = rig_go(rig, be_refused, listener);
    EXPECT(rig_connect(rig, s, "elsewhere.test", weir_address_port(&where)), WEIR_ECERT);
    EXPECT_STORY(s, "elsewhere.test");
    rig_join(t);
    rig_meet_by_name(rig, s, "server.test", listener, &accepted);
    s = open_for_name(rig, NULL);
    rig_meet_by_name(rig, s, "127.0.0.1", listener, &accepted); /* the address is in it, too */
    EXPECT(weir_set_resolver(NULL, NULL), 0);
}

/* ---- peers that spoil it -------------------------------------------------------------------- */

/* A connection of which the other end knows nothing of TLS: this is a server, */
static void bare_client(struct rig *rig, weir_socket **server, weir_socket **bare)
{
    weir_socket *listener = rig_listener(rig);
    weir_address where = rig_where(listener);
    *bare = rig_open_bare(rig);
    EXPECT(rig_connect_address(rig, *bare, &where), 0);
    EXPECT(rig_accept(rig, listener, server), 0);
    rig_close(rig, listener);
}

SCENARIO_FOR(client_that_says_nothing, HANDSHAKE)
{
    weir_socket *s, *bare;
    weir_poller *p;
    weir_event event;
    char byte;
    bare_client(rig, &s, &bare);
    EXPECT(RIG_BRIEFLY(rig, s, WEIR_READABLE, weir_recv(s, &byte, 1)), WEIR_EDEADLINE);
    EXPECT(RIG_BRIEFLY(rig, s, WEIR_WRITABLE, weir_send(s, "x", 1)), WEIR_EDEADLINE);
    EXPECT(RIG_BRIEFLY(rig, s, WEIR_READABLE, weir_handshake(s)), WEIR_EDEADLINE);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, s, WEIR_READABLE | WEIR_WRITABLE, NULL), 0);
    EXPECT(weir_poller_wait(p, &event, 1, RIG_MOMENT_MS), 0);
    EXPECT(weir_poller_close(p), 0);
    {
        WEIR_WITHIN_MS(RIG_MOMENT_MS);
        EXPECT(weir_wait(s, WEIR_WRITABLE), WEIR_EDEADLINE);
    }
    EXPECT(weir_set_blocking(s, false), 0);
    EXPECT(weir_handshake(s), -EAGAIN);
    EXPECT(weir_send(s, "x", 1), -EAGAIN);
    EXPECT(weir_recv(s, &byte, 1), -EAGAIN);
    rig_set_mode(rig, s);
    /* All of that has harmed nothing: it begins late, and all goes well. */
    EXPECT(weir_set_tls(bare, rig->tls, rig->tls_name), 0);
    struct rig_thread *t = rig_go(rig, rig_take_greeting, bare);
    EXPECT(weir_set_blocking(s, rig->mode->kind != MODE_NONBLOCKING), 0);
    rig_welcome(rig, s);
    rig_join(t);
}

static void abort_it(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_abort(arg), 0);
}

SCENARIO_FOR(abort_in_the_middle_of_a_handshake, HANDSHAKE)
{
    weir_socket *s, *bare;
    char byte;
    bare_client(rig, &s, &bare);
    struct rig_thread *t = rig_when_asleep(rig, abort_it, s);
    EXPECT(RIG_DONE(rig, s, WEIR_READABLE, weir_handshake(s)), WEIR_ECLOSED);
    rig_join(t);
    EXPECT(weir_handshake(s), WEIR_ECLOSED);
    EXPECT(rig_recv(rig, bare, &byte, 1), 0); /* and nothing is said */
}

static void is_cancelled(struct rig *rig, void *arg)
{
    EXPECT(RIG_DONE(rig, arg, WEIR_READABLE, weir_handshake(arg)), -ECANCELED);
}

SCENARIO_FOR(cancel_ends_a_handshake, HANDSHAKE | TASKS)
{
    weir_socket *s, *bare;
    bare_client(rig, &s, &bare);
    struct rig_thread *t = rig_go(rig, is_cancelled, s);
    rig_until_asleep(t);
    rig_cancel(t);
    rig_join(t);
    EXPECT(weir_set_tls(bare, rig->tls, rig->tls_name), 0);
    t = rig_go(rig, rig_take_greeting, bare);
    rig_welcome(rig, s);
    rig_join(t);
}

SCENARIO_FOR(client_that_speaks_in_the_clear, HANDSHAKE)
{
    weir_socket *s, *bare;
    char byte;
    bare_client(rig, &s, &bare);
    EXPECT(rig_send(rig, bare, "GET / HTTP/1.0\r\n\r\n", 18), 18);
    for (int i = 0; i < 2; i++) {
        EXPECT(rig_recv(rig, s, &byte, 1), WEIR_ETLS);
        EXPECT(rig_send(rig, s, "x", 1), WEIR_ETLS);
        EXPECT(RIG_DONE(rig, s, WEIR_READABLE, weir_handshake(s)), WEIR_ETLS);
    }
}

SCENARIO_FOR(client_that_leaves, HANDSHAKE)
{
    weir_socket *s, *bare;
    char byte;
    bare_client(rig, &s, &bare);
    rig_close(rig, bare);
    EXPECT(rig_recv(rig, s, &byte, 1), WEIR_ETLS);
    EXPECT(rig_recv(rig, s, &byte, 1), WEIR_ETLS);
    bare_client(rig, &s, &bare);
    rig_reset(rig, s, bare);
    EXPECT(rig_recv(rig, s, &byte, 1), -ECONNRESET);
    EXPECT(rig_send(rig, s, "x", 1), -ECONNRESET);
}

static void speak_in_the_clear(struct rig *rig, void *arg)
{
    weir_socket *accepted;
    EXPECT(rig_accept(rig, arg, &accepted), 0);
    EXPECT(rig_send(rig, accepted, "220 ready when you are\r\n", 24), 24);
}

static void close_at_once(struct rig *rig, void *arg)
{
    weir_socket *accepted;
    EXPECT(rig_accept(rig, arg, &accepted), 0);
    char hello[2048]; /* unread bytes would make a reset of it */
    CHECK(rig_recv(rig, accepted, hello, sizeof hello) > 0);
    rig_close(rig, accepted);
}

static void reset_at_once(struct rig *rig, void *arg)
{
    weir_socket *accepted;
    EXPECT(rig_accept(rig, arg, &accepted), 0);
    rig_reset(rig, NULL, accepted);
}

/* Each of them is told, and the socket may then connect to a better one. */
SCENARIO_FOR(servers_that_spoil_it, HANDSHAKE)
{
    static const struct {
        rig_function *serve;
        int want;
    } servers[] = {
        {speak_in_the_clear, WEIR_ETLS}, {close_at_once, WEIR_ETLS}, {reset_at_once, -ECONNRESET}};
    weir_socket *bare = rig_bare_listener(rig), *listener = rig_listener(rig), *s = rig_open(rig),
                *accepted;
    weir_address where = rig_where(bare);
    for (int i = 0; i < 3; i++) {
        struct rig_thread *t = rig_go(rig, servers[i].serve, bare);
        EXPECT(rig_connect_address(rig, s, &where), servers[i].want);
        EXPECT(weir_connect_status(s), servers[i].want);
        EXPECT(weir_send(s, "x", 1), servers[i].want);
        rig_join(t);
    }
    where = rig_where(listener);
    rig_meet(rig, s, &where, listener, &accepted);
}

/* What comes before TLS could be anybody's. */
SCENARIO_FOR(bytes_before_tls, HANDSHAKE)
{
    weir_socket *listener = rig_bare_listener(rig), *s = rig_open_bare(rig), *accepted;
    weir_address where = rig_where(listener);
    EXPECT(rig_connect_address(rig, s, &where), 0);
    EXPECT(rig_accept(rig, listener, &accepted), 0);
    EXPECT(rig_send(rig, accepted, "too early", 9), 9);
    EXPECT(weir_wait(s, WEIR_READABLE), WEIR_READABLE);
    EXPECT(weir_set_tls(s, rig->tls, rig->tls_name), WEIR_ETLS);
}
