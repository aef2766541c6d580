/* TLS on a connection that exists already (STARTTLS), and weir_set_tls where it cannot be. */
#include "support/ground.h"
#include "support/pki.h"
#include "support/tls_peer.h"
#include "support/tls_puppet.h"

#include <stdio.h>
#include <stdlib.h>

static const char *name_for(bool server)
{
    return server ? NULL : "server.test";
}

static int give_tls(weir_socket *s, bool server)
{
    return weir_set_tls(s, puppet_config(server), name_for(server));
}

static void story_has(const weir_socket *s, const char *words)
{
    char detail[1024] = "";
    weir_error_detail(s, detail, sizeof detail);
    if (!strstr(detail, words))
        printf("the story has no \"%s\": %s\n", words, detail);
    CHECK(strstr(detail, words));
}

/* ---- STARTTLS
 * ------------------------------------------------------------------------------------ */

static void send_text(weir_socket *s, const char *text)
{
    size_t done = 0;
    EXPECT(weir_send_all(s, text, strlen(text), &done), 0);
}

static void receive_text(weir_socket *s, const char *text)
{
    char bytes[64];
    size_t done = 0;
    EXPECT(weir_recv_exact(s, bytes, strlen(text), &done), 0);
    CHECK(!memcmp(bytes, text, strlen(text)));
}

struct side {
    weir_socket *s;
    bool server;
};

static int speaks(void *arg)
{
    const struct side *side = arg;
    if (side->server) {
        receive_text(side->s, "STARTTLS\r\n");
        /* The client's first bytes of TLS may be there before that. */
        EXPECT(give_tls(side->s, true), 0);
        receive_text(side->s, "hello");
        send_text(side->s, "well\r\n");
    } else {
        send_text(side->s, "STARTTLS\r\n");
        EXPECT(give_tls(side->s, false), 0);
        send_text(side->s, "hello");
        receive_text(side->s, "well\r\n");
    }
    EXPECT(weir_handshake(side->s), 0);
    return weir_finish(side->s);
}

static void plain_first(void)
{
    weir_socket *pair[2];
    stream_pair(pair);
    struct side client = {pair[0], false}, server = {pair[1], true};
    weir_group *g = group_open();
    int failure = 0;
    EXPECT(weir_go(g, speaks, &client), 0);
    EXPECT(weir_go(g, speaks, &server), 0);
    EXPECT(weir_group_wait(g, &failure), 0);
    EXPECT(failure, 0);
    group_end(g);
    pair_close(pair);
}

/* Somebody in the middle sends the client a greeting before the handshake. */
static void bytes_from_before_are_nobodys(void)
{
    weir_socket *pair[2];
    stream_pair(pair);
    send_text(pair[1], "220 pretend this was encrypted\r\n");
    EXPECT(give_tls(pair[0], false), WEIR_ETLS);
    story_has(pair[0], "before");
    /* Nothing was set; whoever wants those bytes reads them. */
    EXPECT(weir_handshake(pair[0]), -EINVAL);
    receive_text(pair[0], "220 pretend this was encrypted\r\n");
    EXPECT(give_tls(pair[0], false), 0);
    pair_close(pair);
}

/* The same, but they arrive a moment later: no handshake comes of it. */
static void bytes_from_between(void)
{
    for (int server = 0; server < 2; server++) {
        weir_socket *pair[2];
        char byte;
        stream_pair(pair);
        EXPECT(give_tls(pair[0], server), 0);
        send_text(pair[1], "MAIL FROM:<a@b.test>\r\n");
        EXPECT(weir_recv(pair[0], &byte, 1), WEIR_ETLS);
        EXPECT(weir_recv(pair[0], &byte, 1), WEIR_ETLS);
        EXPECT(weir_send(pair[0], "x", 1), WEIR_ETLS);
        pair_close(pair);
    }
}

/* A server cannot tell them from an early handshake; they are no handshake. */
static void bytes_from_before_for_a_server(void)
{
    weir_socket *pair[2];
    char byte;
    stream_pair(pair);
    send_text(pair[1], "RCPT TO:<c@d.test>\r\n");
    int rc = give_tls(pair[0], true);
    CHECK(rc == 0 || rc == WEIR_ETLS);
    if (rc == 0)
        EXPECT(weir_recv(pair[0], &byte, 1), WEIR_ETLS);
    pair_close(pair);
}

/* ---- where it cannot be
 * -------------------------------------------------------------------------- */

static void only_once(void)
{
    weir_socket *pair[2], *fresh, *listener;
    stream_pair(pair);
    EXPECT(give_tls(pair[0], false), 0);
    EXPECT(give_tls(pair[0], false), -EALREADY);
    EXPECT(give_tls(pair[0], true), -EALREADY);
    pair_close(pair);
    EXPECT(weir_socket_open(&fresh, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(give_tls(fresh, false), 0);
    EXPECT(give_tls(fresh, false), -EALREADY);
    EXPECT(weir_close(fresh), 0);
    EXPECT(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(give_tls(listener, true), 0);
    EXPECT(give_tls(listener, true), -EALREADY);
    EXPECT(weir_close(listener), 0);
}

static int receives_a_byte(void *s)
{
    char byte;
    return (int)weir_recv(s, &byte, 1);
}

static void not_while_somebody_is_at_it(void)
{
    weir_socket *pair[2];
    struct other reader;
    weir_group *g = group_open();
    stream_pair(pair);
    other_go(&reader, g, receives_a_byte, pair[0]);
    other_until_asleep(&reader);
    EXPECT(give_tls(pair[0], false), -EBUSY);
    EXPECT(weir_handshake(pair[0]), -EINVAL);
    EXPECT(weir_send(pair[1], "x", 1), 1);
    group_end(g);
    EXPECT(reader.rc, 1);
    EXPECT(give_tls(pair[0], false), 0);
    pair_close(pair);
}

/* A Unix listener whose queue is full: a connect to it goes on and on. */
static void not_while_it_connects(void)
{
    weir_socket *listener, *s[8];
    weir_address a;
    char name[64];
    int count = 0, rc = 0;
    snprintf(name, sizeof name, "unix:@weir-later-%d", getpid());
    EXPECT(weir_address_parse(name, &a), 0);
    EXPECT(weir_socket_open(&listener, AF_UNIX, SOCK_STREAM, 0), 0);
    EXPECT(weir_bind_address(listener, &a), 0);
    EXPECT(weir_listen(listener, 1), 0);
    while (count < 8 && rc == 0) {
        EXPECT(weir_socket_open(&s[count], AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), 0);
        rc = weir_connect_address(s[count++], &a);
    }
    EXPECT(rc, -EINPROGRESS);
    EXPECT(give_tls(s[count - 1], false), -EBUSY);
    while (count > 0)
        EXPECT(weir_close(s[--count]), 0);
    EXPECT(weir_close(listener), 0);
}

static void not_on_what_is_no_stream(void)
{
    static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};
    weir_socket *pair[2], *s;
    int fds[2];
    for (int i = 0; i < 2; i++) {
        EXPECT(weir_pair(pair, types[i]), 0);
        EXPECT(give_tls(pair[0], false), -EOPNOTSUPP);
        EXPECT(give_tls(pair[0], true), -EOPNOTSUPP);
        pair_close(pair);
    }
    EXPECT(weir_socket_open(&s, AF_INET, SOCK_DGRAM, 0), 0);
    EXPECT(give_tls(s, false), -EOPNOTSUPP);
    EXPECT(weir_close(s), 0);
    EXPECT(pipe(fds), 0);
    for (int i = 0; i < 2; i++) {
        EXPECT(weir_from_fd(&s, fds[i]), 0);
        EXPECT(give_tls(s, false), -EOPNOTSUPP);
        EXPECT(weir_close(s), 0);
    }
}

static void not_with_bad_names(void)
{
    static const char *const bad[] = {
        "",      " ",           "a b",  "-a.test",        "a..test",
        ".test", "*.wild.test", "a_b ", "m\xc3\xbc.test", "server.test\n",
        "[::1",  "a/b",         "a:80",
    };
    char longest[400];
    weir_socket *pair[2];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    stream_pair(pair);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        EXPECT(weir_set_tls(pair[0], puppet_config(false), bad[i]), -EINVAL);
        CHECK(weir_error_detail(pair[0], NULL, 0) > 0);
    }
    int rc = weir_set_tls(pair[0], puppet_config(false), longest);
    CHECK(rc == -EINVAL || rc == -ENAMETOOLONG);
    /* Nothing has come of it. */
    send_text(pair[0], "plain");
    receive_text(pair[1], "plain");
    EXPECT(give_tls(pair[0], false), 0);
    pair_close(pair);
}

static weir_socket *reusing(const weir_address *place)
{
    static const int on = 1;
    weir_socket *s;
    EXPECT(weir_socket_open(&s, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    EXPECT(weir_bind_address(s, place), 0);
    return s;
}

/* And not a server, which would not look whom it talks to. */
static void who_could_not_listen_is_a_client(void)
{
    weir_socket *far, *s, *taker, *accepted;
    weir_address any, place;
    char byte;
    EXPECT(weir_listen_on(&far, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_address_parse("127.0.0.1:0", &any), 0);
    s = reusing(&any);
    EXPECT(weir_local_address(s, &place), 0);
    taker = reusing(&place);
    EXPECT(weir_listen(taker, 1), 0);
    EXPECT(weir_set_tls(s, puppet_config(true), "server.test"), 0);
    EXPECT(weir_listen(s, 1), -EADDRINUSE);
    EXPECT(weir_set_blocking(s, false), 0);
    EXPECT(weir_local_address(far, &place), 0);
    EXPECT(weir_connect_address(s, &place), -EINPROGRESS);
    EXPECT(weir_accept(far, &accepted), 0);
    EXPECT(weir_connect_status(s), -EINPROGRESS);
    EXPECT(weir_set_timeout(accepted, LONG_MS), 0);
    EXPECT(weir_recv(accepted, &byte, 1), 1);
    EXPECT(byte, 22); /* it begins */
    EXPECT(weir_close(s), 0);
    EXPECT(weir_close(taker), 0);
    EXPECT(weir_close(accepted), 0);
    EXPECT(weir_close(far), 0);
}

static void not_as_a_server_without_a_certificate(void)
{
    weir_socket *pair[2], *listener, *fresh;
    stream_pair(pair);
    EXPECT(weir_set_tls(pair[0], puppet_config(false), NULL), -EINVAL);
    EXPECT(weir_set_tls(pair[0], NULL, NULL), -EINVAL);
    pair_close(pair);
    EXPECT(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_set_tls(listener, puppet_config(false), NULL), -EINVAL);
    EXPECT(weir_set_tls(listener, NULL, NULL), -EINVAL);
    EXPECT(weir_set_tls(listener, puppet_config(true), "server.test"), -EINVAL);
    EXPECT(weir_close(listener), 0);
    /* It turns out later that it is a listener. */
    EXPECT(weir_socket_open(&fresh, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(give_tls(fresh, false), 0);
    EXPECT(weir_listen(fresh, 1), -EINVAL);
    EXPECT(weir_close(fresh), 0);
    EXPECT(weir_set_tls(NULL, puppet_config(true), NULL), -EINVAL);
    EXPECT(weir_handshake(NULL), -EINVAL);
}

static void not_after_the_end(void)
{
    weir_socket *pair[2];
    stream_pair(pair);
    EXPECT(weir_abort(pair[0]), 0);
    EXPECT(give_tls(pair[0], false), WEIR_ECLOSED);
    pair_close(pair);
}

/* A Unix address is no name that a certificate could be for. */
static void unix_sockets_need_a_name(void)
{
    weir_socket *listener, *s;
    weir_address a;
    char name[64];
    snprintf(name, sizeof name, "unix:@weir-named-%d", getpid());
    EXPECT(weir_address_parse(name, &a), 0);
    EXPECT(weir_socket_open(&listener, AF_UNIX, SOCK_STREAM, 0), 0);
    EXPECT(weir_bind_address(listener, &a), 0);
    EXPECT(weir_listen(listener, 1), 0);
    EXPECT(weir_socket_open(&s, AF_UNIX, SOCK_STREAM, 0), 0);
    EXPECT(weir_set_tls(s, puppet_config(false), NULL), 0);
    EXPECT(weir_connect_address(s, &a), -EINVAL);
    story_has(s, "name");
    EXPECT(weir_close(s), 0);
    EXPECT(weir_close(listener), 0);
}

/* ---- what is different
 * --------------------------------------------------------------------------- */

static void what_is_asked_too_early(void)
{
    weir_socket *pair[2];
    weir_tls_state state;
    stream_pair(pair);
    EXPECT(weir_handshake(pair[0]), -EINVAL);
    EXPECT(weir_tls_info(pair[0], &state), -EINVAL);
    EXPECT(weir_tls_peer_chain(pair[0], NULL, 0), -EINVAL);
    EXPECT(give_tls(pair[0], false), 0);
    EXPECT(weir_tls_info(pair[0], &state), -EAGAIN);
    EXPECT(weir_tls_peer_chain(pair[0], NULL, 0), -EAGAIN);
    EXPECT(weir_tls_info(pair[0], NULL), -EINVAL);
    EXPECT(weir_detach(pair[0]), -EOPNOTSUPP);
    EXPECT(weir_set_blocking(pair[0], false), 0);
    EXPECT(weir_handshake(pair[0]), -EAGAIN);
    EXPECT(weir_detach(pair[0]), -EOPNOTSUPP);
    pair_close(pair);
}

static void flags_and_control_data(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s = puppet_meet(&p, row);
        char bytes[64], control[64];
        struct iovec vectors[3] = {{bytes, 0}, {bytes, 5}, {bytes + 5, 5}};
        struct msghdr plain = {.msg_iov = vectors, .msg_iovlen = 3}, with = plain;
        with.msg_control = control;
        with.msg_controllen = sizeof control;
        for (unsigned i = 0; i < 10; i++)
            bytes[i] = (char)tls_peer_byte(i);
        puppet_shake_both(p, s);
        EXPECT(weir_sendmsg(s, &plain, MSG_OOB), -EOPNOTSUPP);
        EXPECT(weir_sendmsg(s, &with, 0), -EOPNOTSUPP);
        EXPECT(weir_sendmsg(s, &plain, MSG_MORE | MSG_NOSIGNAL | MSG_DONTWAIT), 10);
        puppet_turn(p);
        EXPECT((long long)p->heard, 10);
        CHECK(puppet_say(p, 10));
        puppet_turn(p);
        EXPECT(weir_recvmsg(s, &plain, MSG_OOB), -EOPNOTSUPP);
        EXPECT(weir_recvmsg(s, &with, 0), -EOPNOTSUPP);
        memset(bytes, 0, sizeof bytes);
        ssize_t n = weir_recvmsg(s, &plain, MSG_PEEK | MSG_DONTWAIT);
        CHECK(n >= 5 && n <= 10);
        CHECK((unsigned char)bytes[4] == tls_peer_byte(4));
        size_t done = 0;
        memset(bytes, 0, sizeof bytes);
        EXPECT(weir_recv_exact(s, bytes, 10, &done), 0);
        for (unsigned i = 0; i < 10; i++)
            EXPECT((unsigned char)bytes[i], tls_peer_byte(i));
        CHECK(!p->differs);
        EXPECT(weir_close(s), 0);
        puppet_close(p);
    }
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, plain_first),
        GROUND_TEST(EVERYWHERE, bytes_from_before_are_nobodys),
        GROUND_TEST(EVERYWHERE, bytes_from_between),
        GROUND_TEST(EVERYWHERE, bytes_from_before_for_a_server),
        GROUND_TEST(ONCE, only_once),
        GROUND_TEST(EVERYWHERE, not_while_somebody_is_at_it),
        GROUND_TEST(ONCE, not_while_it_connects),
        GROUND_TEST(ONCE, not_on_what_is_no_stream),
        GROUND_TEST(ONCE, not_with_bad_names),
        GROUND_TEST(ONCE, who_could_not_listen_is_a_client),
        GROUND_TEST(ONCE, not_as_a_server_without_a_certificate),
        GROUND_TEST(ONCE, not_after_the_end),
        GROUND_TEST(EVERYWHERE, unix_sockets_need_a_name),
        GROUND_TEST(ONCE, what_is_asked_too_early),
        GROUND_TEST(EVERYWHERE, flags_and_control_data),
    };
    int failed = ground_main(argc, argv, "tls_later", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
