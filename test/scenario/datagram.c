/* Datagrams: messages with an address. */
#include "support/rig.h"

#include <stdlib.h>

SCENARIO_FOR(datagram_tells_where_it_came_from, DATAGRAMS)
{
    weir_socket *a = rig_bound(rig), *b = rig_bound(rig);
    weir_address to_a = rig_where(a), to_b = rig_where(b);
    weir_datagram_info info;
    char buf[8];
    EXPECT(RIG_DONE(rig, a, WEIR_WRITABLE, weir_send_to(a, "hello", 5, &to_b)), 5);
    EXPECT(RIG_DONE(rig, b, WEIR_READABLE, weir_recv_from(b, buf, sizeof buf, &info)), 5);
    CHECK(!memcmp(buf, "hello", 5) && info.size == 5 && !info.truncated);
    CHECK(weir_address_equal(&info.from, &to_a));
    EXPECT(RIG_DONE(rig, b, WEIR_WRITABLE, weir_send_to(b, "back", 4, &info.from)), 4);
    EXPECT(RIG_DONE(rig, a, WEIR_READABLE, weir_recv_from(a, buf, sizeof buf, NULL)), 4);
}

/* A socket that is bound to every address learns which one the peer used. */
SCENARIO_FOR(datagram_tells_where_it_was_sent_to, DATAGRAMS | INTERNET)
{
    bool v4 = rig->transport->family == AF_INET;
    weir_socket *a = rig_bound(rig), *b = rig_open(rig);
    weir_address any, to;
    weir_datagram_info info;
    char buf[8];
    EXPECT(weir_address_from_host(v4 ? "0.0.0.0" : "::", 0, &any), 0);
    EXPECT(weir_bind_address(b, &any), 0);
    EXPECT(RIG_BRIEFLY(rig, b, WEIR_READABLE, weir_recv_from(b, buf, sizeof buf, &info)),
           WEIR_EDEADLINE);
    any = rig_where(b);
    EXPECT(weir_address_from_host(v4 ? "127.0.0.3" : "::1", weir_address_port(&any), &to), 0);
    EXPECT(RIG_DONE(rig, a, WEIR_WRITABLE, weir_send_to(a, "hello", 5, &to)), 5);
    EXPECT(RIG_DONE(rig, b, WEIR_READABLE, weir_recv_from(b, buf, sizeof buf, &info)), 5);
    CHECK(weir_address_equal(&info.to, &to));
}

SCENARIO_FOR(datagram_may_be_empty, DATAGRAMS)
{
    weir_socket *a, *b;
    weir_datagram_info info;
    char buf[8];
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, a, "", 0), 0);
    EXPECT(rig_send(rig, a, NULL, 0), 0);
    EXPECT(RIG_DONE(rig, a, WEIR_WRITABLE, weir_send_to(a, NULL, 0, NULL)), 0);
    EXPECT(rig_send(rig, a, "after", 5), 5);
    EXPECT(RIG_DONE(rig, b, WEIR_READABLE, weir_recv_from(b, buf, sizeof buf, &info)), 0);
    CHECK(info.size == 0 && !info.truncated);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 0);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 0);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 5);
}

SCENARIO_FOR(datagram_that_is_cut_says_so, DATAGRAMS)
{
    weir_socket *a, *b;
    weir_datagram_info info;
    char buf[8] = "", data[1000] = "truncated";
    rig_pair(rig, &a, &b);
    for (int i = 0; i < 3; i++)
        EXPECT(rig_send(rig, a, data, sizeof data), sizeof data);
    EXPECT(RIG_DONE(rig, b, WEIR_READABLE, weir_recv_from(b, buf, 5, &info)), 5);
    CHECK(!memcmp(buf, "trunc\0\0", 8) && info.size == sizeof data && info.truncated);
    EXPECT(RIG_DONE(rig, b, WEIR_READABLE, weir_recv_from(b, NULL, 0, &info)), 0);
    CHECK(info.size == sizeof data && info.truncated);
    EXPECT(rig_recv(rig, b, buf, 4), 4); /* weir_recv cuts in silence */
    EXPECT(weir_set_blocking(b, false), 0);
    EXPECT(weir_recv(b, buf, 4), -EAGAIN);
}

SCENARIO_FOR(message_is_one_receive, MESSAGES)
{
    weir_socket *a, *b;
    char buf[16];
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, a, "one", 3), 3);
    EXPECT(rig_send(rig, a, "three", 5), 5);
    EXPECT(rig_recv(rig, b, buf, sizeof buf), 3);
    EXPECT(rig_recv(rig, b, buf, 2), 2);
    CHECK(!memcmp(buf, "th", 2));
    EXPECT(weir_recv(b, buf, 0), -EINVAL);
    EXPECT(weir_recv(b, NULL, 4), -EINVAL);
    EXPECT(weir_set_blocking(b, false), 0);
    EXPECT(weir_recv(b, buf, 4), -EAGAIN);
}

SCENARIO_FOR(datagram_without_a_destination, DATAGRAMS)
{
    weir_socket *s = rig_open(rig), *bound = rig_bound(rig);
    char byte;
    EXPECT(weir_send_to(s, "x", 1, NULL), -EDESTADDRREQ);
    EXPECT(weir_send_to(bound, "x", 1, NULL), -EDESTADDRREQ);
    EXPECT(weir_send(bound, "x", 1), -ENOTCONN);
    EXPECT(weir_recv_from(s, &byte, 1, NULL), -ENOTCONN);
    EXPECT(weir_recv_from(bound, NULL, 1, NULL), -EINVAL);
    EXPECT(RIG_BRIEFLY(rig, bound, WEIR_READABLE, weir_recv_from(bound, &byte, 1, NULL)),
           WEIR_EDEADLINE);
}

SCENARIO_FOR(datagram_from_a_socket_that_is_not_bound, DATAGRAMS)
{
    weir_socket *a = rig_open(rig), *b = rig_bound(rig);
    weir_address to_b = rig_where(b), local;
    weir_datagram_info info;
    char buf[8];
    EXPECT(RIG_DONE(rig, a, WEIR_WRITABLE, weir_send_to(a, "hello", 5, &to_b)), 5);
    EXPECT(RIG_DONE(rig, b, WEIR_READABLE, weir_recv_from(b, buf, sizeof buf, &info)), 5);
    if (rig->transport->has & LOCAL) {
        EXPECT(weir_address_family(&info.from), AF_UNSPEC); /* nobody to answer to */
        return;
    }
    EXPECT(weir_local_address(a, &local), 0);
    EXPECT(weir_address_port(&local), weir_address_port(&info.from));
    EXPECT(RIG_DONE(rig, b, WEIR_WRITABLE, weir_send_to(b, "back", 4, &info.from)), 4);
    EXPECT(RIG_DONE(rig, a, WEIR_READABLE, weir_recv_from(a, buf, sizeof buf, NULL)), 4);
}

SCENARIO_FOR(datagram_that_is_too_long, DATAGRAMS)
{
    weir_socket *a, *b;
    size_t len = (size_t)1 << 20;
    char *data = calloc(1, len);
    CHECK(data != NULL);
    rig_pair(rig, &a, &b);
    EXPECT(rig_send(rig, a, data, len), -EMSGSIZE);
    EXPECT(RIG_DONE(rig, a, WEIR_WRITABLE, weir_send_to(a, data, len, NULL)), -EMSGSIZE);
    EXPECT(rig_send(rig, a, data, 100), 100);
    EXPECT(rig_recv(rig, b, data, len), 100);
    free(data);
}

SCENARIO_FOR(datagram_to_another_family, DATAGRAMS)
{
    weir_socket *s = rig_bound(rig);
    weir_address other;
    if (rig->transport->has & LOCAL)
        EXPECT(weir_address_from_host("127.0.0.1", 9, &other), 0);
    else
        EXPECT(weir_address_parse("unix:@nobody", &other), 0);
    EXPECT(weir_send_to(s, "x", 1, &other), -EAFNOSUPPORT);
}

SCENARIO_FOR(datagram_calls_on_a_stream, CONNECTION)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_send_to(a, "x", 1, NULL), -EOPNOTSUPP);
    EXPECT(weir_recv_from(a, &byte, 1, NULL), -EOPNOTSUPP);
    EXPECT(weir_send_to(NULL, "x", 1, NULL), -EINVAL);
    EXPECT(weir_recv_from(NULL, &byte, 1, NULL), -EINVAL);
}

/* Connected to somebody else, so that nobody but them is heard and everybody else is told "port
 * unreachable". */
static weir_socket *deaf(struct rig *rig)
{
    weir_socket *s = rig_bound(rig), *friend = rig_bound(rig);
    weir_address a = rig_where(friend);
    EXPECT(weir_connect_address(s, &a), 0);
    return s;
}

SCENARIO_FOR(datagram_refused_leaves_the_socket_good, DATAGRAMS | INTERNET)
{
    weir_socket *s = rig_bound(rig), *friend = rig_bound(rig);
    weir_address nobody = rig_where(deaf(rig)), to_friend = rig_where(friend);
    char buf[8];
    EXPECT(weir_connect_address(s, &nobody), 0);
    for (int i = 0; i < 2; i++) {
        EXPECT(rig_send(rig, s, "x", 1), 1);
        EXPECT(rig_recv(rig, s, buf, sizeof buf), -ECONNREFUSED);
    }
    EXPECT(RIG_BRIEFLY(rig, s, WEIR_READABLE, weir_recv(s, buf, 1)), WEIR_EDEADLINE);
    EXPECT(weir_connect_address(s, &to_friend), 0);
    EXPECT(rig_send(rig, s, "hello", 5), 5);
    EXPECT(rig_recv(rig, friend, buf, sizeof buf), 5);
}

SCENARIO_FOR(datagram_peer_can_be_changed, DATAGRAMS)
{
    weir_socket *s = rig_bound(rig), *first = rig_bound(rig), *second = rig_bound(rig);
    weir_address to_first = rig_where(first), to_second = rig_where(second), peer;
    char buf[8];
    EXPECT(weir_connect_address(s, &to_first), 0);
    EXPECT(rig_send(rig, s, "one", 3), 3);
    EXPECT(weir_connect_address(s, &to_second), 0);
    EXPECT(weir_peer_address(s, &peer), 0);
    CHECK(weir_address_equal(&peer, &to_second));
    EXPECT(rig_send(rig, s, "two", 3), 3);
    EXPECT(rig_recv(rig, first, buf, sizeof buf), 3);
    CHECK(!memcmp(buf, "one", 3));
    EXPECT(rig_recv(rig, second, buf, sizeof buf), 3);
    CHECK(!memcmp(buf, "two", 3));
}

SCENARIO_FOR(datagram_peer_that_is_gone, DATAGRAMS | LOCAL)
{
    weir_socket *a, *b, *other = rig_bound(rig);
    weir_address to_other = rig_where(other);
    char buf[8];
    rig_pair(rig, &a, &b);
    rig_close(rig, b);
    EXPECT(rig_send(rig, a, "x", 1), -ECONNREFUSED);
    EXPECT(weir_connect_address(a, &to_other), 0);
    EXPECT(rig_send(rig, a, "hello", 5), 5);
    EXPECT(rig_recv(rig, other, buf, sizeof buf), 5);
}

/* ---- a receiver whose queue is full: poll(2) says "writable", sendto(2) says EAGAIN --------- */

static int fill(weir_socket *s, const weir_address *to)
{
    int sent = 0;
    ssize_t n;
    int blocking = weir_get_blocking(s);
    EXPECT(weir_set_blocking(s, false), 0);
    while ((n = weir_send_to(s, "message", 7, to)) == 7)
        sent++;
    EXPECT(n, -EAGAIN);
    EXPECT(weir_set_blocking(s, blocking), 0);
    return sent;
}

SCENARIO_FOR(datagram_to_a_full_receiver_is_not_lost, DATAGRAMS | LOCAL)
{
    weir_socket *a = rig_open(rig), *b = rig_bound(rig);
    weir_address to = rig_where(b);
    char buf[8];
    int sent = fill(a, &to);
    CHECK(sent > 0);
    EXPECT(RIG_BRIEFLY(rig, a, WEIR_WRITABLE, weir_send_to(a, "message", 7, &to)), WEIR_EDEADLINE);
    for (int i = 0; i < sent; i++)
        EXPECT(rig_recv(rig, b, buf, sizeof buf), 7);
    EXPECT(weir_set_blocking(b, false), 0);
    EXPECT(weir_recv(b, buf, sizeof buf), -EAGAIN);
}

struct receiver {
    weir_socket *s;
    int count;
};

static void receive_all(struct rig *rig, void *arg)
{
    const struct receiver *r = arg;
    char buf[8];
    for (int i = 0; i < r->count; i++)
        EXPECT(rig_recv(rig, r->s, buf, sizeof buf), 7);
}

SCENARIO_FOR(datagram_waits_for_a_full_receiver, DATAGRAMS | LOCAL | WAITS)
{
    weir_socket *a = rig_open(rig), *b = rig_bound(rig);
    weir_address to = rig_where(b);
    struct receiver receiver = {b, fill(a, &to) + 1};
    struct rig_thread *t = rig_when_asleep(rig, receive_all, &receiver);
    EXPECT(RIG_DONE(rig, a, WEIR_WRITABLE, weir_send_to(a, "message", 7, &to)), 7);
    rig_join(t);
}

SCENARIO_FOR(datagram_waits_for_a_full_peer, DATAGRAMS | LOCAL | WAITS)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    struct receiver receiver = {b, fill(a, NULL) + 1};
    struct rig_thread *t = rig_when_asleep(rig, receive_all, &receiver);
    EXPECT(rig_send(rig, a, "message", 7), 7);
    rig_join(t);
}

static void abort_it(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_abort(arg), 0);
}

SCENARIO_FOR(abort_wakes_who_waits_for_a_full_receiver, DATAGRAMS | LOCAL | WAITS)
{
    weir_socket *a = rig_open(rig), *b = rig_bound(rig);
    weir_address to = rig_where(b);
    fill(a, &to);
    struct rig_thread *t = rig_when_asleep(rig, abort_it, a);
    EXPECT(RIG_DONE(rig, a, WEIR_WRITABLE, weir_send_to(a, "message", 7, &to)), WEIR_ECLOSED);
    rig_join(t);
}

SCENARIO_FOR(datagrams_from_everybody, DATAGRAMS)
{
    weir_socket *b = rig_bound(rig), *from[20];
    weir_address to = rig_where(b);
    bool seen[20] = {false};
    weir_datagram_info info;
    for (unsigned char i = 0; i < 20; i++)
        from[i] = rig_bound(rig);
    for (unsigned char i = 0, got; i < 20; i++) {
        EXPECT(RIG_DONE(rig, from[i], WEIR_WRITABLE, weir_send_to(from[i], &i, 1, &to)), 1);
        EXPECT(RIG_DONE(rig, b, WEIR_READABLE, weir_recv_from(b, &got, 1, &info)), 1);
        weir_address sender = rig_where(from[got]);
        CHECK(got < 20 && !seen[got] && weir_address_equal(&sender, &info.from));
        seen[got] = true;
    }
}
