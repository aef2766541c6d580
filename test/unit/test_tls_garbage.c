/* Peers that speak no TLS, old TLS, or nonsense: WEIR_ETLS, with words that help, again and again;
 * never a wait without end, never an unbounded buffer. */
#include "support/chance.h"
#include "support/ground.h"
#include "support/tls_peer.h"
#include "support/tls_puppet.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#define CLIENTS 1
#define SERVERS 2
#define ANY     (CLIENTS | SERVERS)

struct garbage {
    unsigned to; /* whom it is sent to */
    const char *bytes;
    size_t len;        /* 0: a string */
    size_t times;      /* 0: once */
    const char *words; /* in the story; NULL: whatever they are */
};

#define BYTES(text) .bytes = text, .len = sizeof(text) - 1
/* A record, but for its content. */
#define RECORD(type, length) type "\x03\x03" length

static const struct garbage garbage[] = {
    /* Others' protocols. */
    {.to = SERVERS, .bytes = "GET / HTTP/1.0\r\n\r\n", .words = "HTTP"},
    {.to = SERVERS, .bytes = "POST /index.html HTTP/1.1\r\nHost: a\r\n\r\n", .words = "HTTP"},
    {.to = SERVERS, .bytes = "HEAD / HTTP/1.0\r\n\r\n", .words = "HTTP"},
    {.to = SERVERS, .bytes = "PUT /a HTTP/1.1\r\n\r\n", .words = "HTTP"},
    {.to = SERVERS, .bytes = "CONNECT server.test:443 HTTP/1.1\r\n\r\n", .words = "HTTP"},
    {.to = SERVERS, .bytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .words = "does not speak TLS"},
    {.to = CLIENTS,
     .bytes = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
     .words = "not speak TLS"},
    {.to = CLIENTS, .bytes = "HTTP/1.0 200 OK\r\n\r\n", .words = "does not speak TLS"},
    {.to = ANY, .bytes = "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", .words = "does not speak TLS"},
    {.to = CLIENTS, .bytes = "220 mail.test ESMTP ready\r\n", .words = "does not speak TLS"},
    {.to = CLIENTS, .bytes = "* OK IMAP4rev1 ready\r\n", .words = "does not speak TLS"},
    {.to = ANY, .bytes = "hello\n", .words = "does not speak TLS"},
    /* SSL 2.0, 3.0, DTLS. */
    {.to = SERVERS,
     BYTES("\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80\x03\x00"
           "\x80\x04\x00\x80\x05\x00\x80\x06\x00\x40\x07\x00\xc0"
           "0123456789abcdef")},
    {.to = CLIENTS, BYTES("\x80\x2e\x04\x00\x02\x00\x15\x00\x00\x00\x10")},
    {.to = ANY, BYTES("\x16\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x01\x00\x00\x04....")},
    {.to = ANY, BYTES("\x16\x02\x00\x00\x04\x01\x00\x00\x00"), .words = "TLS"},
    /* Less than anything. */
    {.to = ANY, BYTES("\x00")},
    {.to = ANY, BYTES("\x16")},
    {.to = ANY, BYTES("\x16\x03")},
    {.to = ANY, BYTES("\x16\x03\x03\x00")},
    {.to = ANY, BYTES("\x16\x03\x01\x00\x05\x01\x00\x00\x01")},
    /* Types that there are not, or not yet. */
    {.to = ANY, BYTES(RECORD("\x63", "\x00\x01") "x")},
    {.to = ANY, BYTES(RECORD("\x00", "\x00\x01") "x")},
    {.to = ANY, BYTES(RECORD("\xff", "\x00\x04") "abcd")},
    {.to = ANY, BYTES(RECORD("\x18", "\x00\x03") "\x01\x00\x00")},
    {.to = ANY, BYTES(RECORD("\x17", "\x00\x05") "hello")},
    {.to = ANY, BYTES(RECORD("\x14", "\x00\x01") "\x02")},
    /* Records that are too long, and messages that claim to be. */
    {.to = ANY, BYTES(RECORD("\x16", "\x41\x01") "x")},
    {.to = ANY, BYTES(RECORD("\x16", "\x48\x01") "x")},
    {.to = ANY, BYTES(RECORD("\x16", "\xff\xff") "x")},
    {.to = ANY, BYTES(RECORD("\x16", "\x00\x04") "\x01\xff\xff\xff")},
    {.to = ANY, BYTES(RECORD("\x16", "\x00\x04") "\x02\xff\xff\xff")},
    {.to = ANY, BYTES(RECORD("\x16", "\x00\x04") "\x0b\xff\xff\xff")},
    {.to = ANY, BYTES(RECORD("\x16", "\x00\x04") "\x14\x00\x00\x00")},
    {.to = ANY, BYTES(RECORD("\x16", "\x00\x04") "\x01\x00\x00\x00")},
    {.to = ANY, BYTES(RECORD("\x16", "\x00\x04") "\x02\x00\x00\x00")},
    {.to = ANY, BYTES(RECORD("\x16", "\x00\x04") "\x18\x00\x00\x00")},
    /* Alerts. */
    {.to = SERVERS, BYTES(RECORD("\x15", "\x00\x02") "\x02\x28")},
    {.to = SERVERS, BYTES(RECORD("\x15", "\x00\x02") "\x01\x00")},
    {.to = CLIENTS, BYTES(RECORD("\x15", "\x00\x02") "\x02\x28"), .words = "handshake failure"},
    {.to = CLIENTS, BYTES(RECORD("\x15", "\x00\x02") "\x02\x46"), .words = "protocol version"},
    {.to = ANY, BYTES(RECORD("\x15", "\x00\x02") "\x02\xff")},
    {.to = CLIENTS, BYTES(RECORD("\x15", "\x00\x02") "\x01\x00"), .words = "gave the handshake up"},
    {.to = ANY, BYTES(RECORD("\x15", "\x00\x02") "\x02\x00")},
    {.to = ANY, BYTES(RECORD("\x15", "\x00\x02") "\x07\x07")},
    {.to = ANY, BYTES(RECORD("\x15", "\x00\x01") "\x02")},
    {.to = ANY, BYTES(RECORD("\x15", "\x00\x00"))},
    /* The same again and again. */
    {.to = ANY, BYTES(RECORD("\x16", "\x00\x00")), .times = 5000},
    {.to = ANY, BYTES(RECORD("\x17", "\x00\x00")), .times = 5000},
    {.to = ANY, BYTES(RECORD("\x14", "\x00\x01") "\x01"), .times = 5000},
    {.to = ANY, BYTES(RECORD("\x15", "\x00\x02") "\x01\x5a"), .times = 5000}, /* user_canceled */
    {.to = ANY,
     BYTES(RECORD("\x15", "\x00\x02") "\x01\x70"),
     .times = 5000}, /* unrecognized_name */
    {.to = ANY,
     BYTES(RECORD("\x16", "\x00\x04") "\x00\x00\x00\x00"),
     .times = 5000}, /* HelloRequest */
    {.to = ANY, BYTES("\0\0\0\0\0\0\0\0"), .times = 5000},
    {.to = ANY, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), .times = 5000},
};
#define GARBAGE (sizeof garbage / sizeof *garbage)

/* ---- in the place of a handshake ------------------------------------------------------------- */

/* As much as there is room for. */
static void pour(struct puppet *p, const struct garbage *g)
{
    size_t len = g->len ? g->len : strlen(g->bytes), times = g->times ? g->times : 1;
    for (size_t i = 0; i < times; i++)
        if (send(weir_fd(p->line), g->bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len)
            return;
}

/* Every call says so, and why. */
static void check_broken(weir_socket *s, const char *words)
{
    char byte = 'x', detail[1024] = "";
    EXPECT(weir_handshake(s), WEIR_ETLS);
    CHECK(weir_error_detail(s, detail, sizeof detail) > 0);
    if (words && !strstr(detail, words)) {
        printf("the story has no \"%s\": %s\n", words, detail);
        CHECK(!words);
    }
    EXPECT(weir_recv(s, &byte, 1), WEIR_ETLS);
    EXPECT(weir_send(s, &byte, 1), WEIR_ETLS);
    EXPECT(weir_handshake(s), WEIR_ETLS);
    weir_tls_state state;
    EXPECT(weir_tls_info(s, &state), WEIR_ETLS);
}

static void hand_garbage(const struct garbage *g, const struct puppet_row *row)
{
    struct puppet *p;
    weir_socket *s = puppet_meet(&p, row);
    EXPECT(weir_set_timeout(s, LONG_MS), 0);
    pour(p, g);
    puppet_cut(p);
    check_broken(s, g->words);
    EXPECT(weir_close(s), 0);
    puppet_close(p);
}

/* While the peer stays: what is no TLS is found at once, and a prefix of something just waits. */
static void hand_garbage_and_stay(const struct garbage *g, const struct puppet_row *row)
{
    struct puppet *p;
    weir_socket *s = puppet_meet(&p, row);
    EXPECT(weir_set_blocking(s, false), 0);
    int rc = weir_handshake(s);
    EXPECT(rc, -EAGAIN);
    pour(p, g);
    rc = weir_handshake(s);
    CHECK(rc == WEIR_ETLS || (rc == -EAGAIN && !g->words));
    CHECK(rc == WEIR_ETLS || weir_handshake(s) == -EAGAIN);
    puppet_cut(p);
    check_broken(s, g->words);
    EXPECT(weir_close(s), 0);
    puppet_close(p);
}

static void garbage_is_told(void)
{
    EACH_ROW(row)
    for (size_t i = 0; i < GARBAGE; i++)
        if (garbage[i].to & (row->server ? SERVERS : CLIENTS))
            hand_garbage(&garbage[i], row);
}

static void garbage_is_told_while_the_peer_stays(void)
{
    EACH_ROW(row)
    for (size_t i = 0; i < GARBAGE; i++)
        if (garbage[i].to & (row->server ? SERVERS : CLIENTS))
            hand_garbage_and_stay(&garbage[i], row);
}

static void bytes_at_random(void)
{
    struct chance c = chance_of(1);
    int times = ground_is_slow() ? 50 : 500;
    for (int i = 0; i < times; i++)
        EACH_ROW(row)
        {
            char bytes[256];
            struct garbage g = {
                .to = ANY, .bytes = bytes, .len = 1 + chance_below(&c, sizeof bytes - 1)};
            for (size_t j = 0; j < g.len; j++)
                bytes[j] = (char)chance_draw(&c);
            if (chance_below(&c, 2))
                memcpy(bytes, "\x16\x03\x03\x00", g.len < 4 ? g.len : 4);
            hand_garbage(&g, row);
        }
}

/* ---- connecting
 * ---------------------------------------------------------------------------------- */

struct plain_server {
    weir_socket *listener;
    const char *says;
};

static int serves_plainly(void *arg)
{
    const struct plain_server *server = arg;
    weir_socket *s;
    char bytes[1024];
    size_t done = 0;
    EXPECT(weir_accept(server->listener, &s), 0);
    EXPECT(weir_send_all(s, server->says, strlen(server->says), &done), 0);
    while (weir_recv(s, bytes, sizeof bytes) > 0)
        ;
    return weir_close(s);
}

/* A client that dials a port where no TLS is spoken learns that, with the address. */
static void dialling_a_plain_port(void)
{
    struct plain_server server = {.says = "HTTP/1.1 400 Bad Request\r\n\r\n"};
    weir_socket *s = NULL;
    weir_address a;
    char where[WEIR_ADDRESS_TEXT_MAX], target[WEIR_ADDRESS_TEXT_MAX + 8], detail[1024];
    weir_group *g = group_open();
    EXPECT(weir_listen_on(&server.listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(server.listener, &a), 0);
    CHECK(weir_address_format(&a, where, sizeof where) > 0);
    snprintf(target, sizeof target, "tls://%s", where);
    EXPECT(weir_go(g, serves_plainly, &server), 0);
    EXPECT(weir_dial(&s, target, WEIR_DIAL_OPTIONS(.tls = puppet_config(false))), WEIR_ETLS);
    CHECK(s == NULL);
    CHECK(weir_error_detail(NULL, detail, sizeof detail) > 0);
    CHECK(strstr(detail, "does not speak TLS") && strstr(detail, where));
    group_end(g);
    EXPECT(weir_close(server.listener), 0);
}

/* ---- old versions
 * -------------------------------------------------------------------------------- */

static void old_versions_are_refused(void)
{
    static const int old[] = {0x0301, 0x0302};
    for (int i = 0; i < 4; i++) {
        struct puppet *p;
        weir_socket *pair[2];
        bool server = i & 1;
        stream_pair(pair);
        p = puppet_open(pair[1], server, old[i / 2]);
        EXPECT(weir_set_blocking(pair[0], false), 0);
        EXPECT(weir_set_tls(pair[0], puppet_config(server), server ? NULL : "server.test"), 0);
        int rc;
        do
            rc = weir_handshake(pair[0]);
        while (puppet_turn(p) && rc == -EAGAIN);
        puppet_cut(p);
        check_broken(pair[0], "version");
        puppet_turn(p);
        CHECK(!p->shaken);
        CHECK(p->alert == 70 || p->failed); /* protocol_version */
        EXPECT(weir_close(pair[0]), 0);
        puppet_close(p);
    }
}

/* ---- after the handshake
 * ------------------------------------------------------------------------- */

/* What comes before is delivered; what comes after is not. */
static void damage_is_told(void)
{
    EACH_ROW(row)
    for (unsigned at = 0; at < 40; at++) {
        struct puppet *p;
        weir_socket *s = puppet_meet(&p, row);
        unsigned char bytes[256];
        size_t done = 0;
        puppet_shake_both(p, s);
        EXPECT(weir_set_timeout(s, LONG_MS), 0);
        CHECK(puppet_say(p, 50));
        size_t whole = puppet_owes(p);
        CHECK(puppet_say(p, 50));
        CHECK(puppet_give(p, whole) == whole);
        puppet_damage(p, at % puppet_owes(p));
        puppet_give(p, ALL);
        puppet_cut(p);
        EXPECT(weir_recv_exact(s, bytes, 50, &done), 0);
        for (unsigned i = 0; i < 50; i++)
            CHECK(bytes[i] == tls_peer_byte(i));
        ssize_t n = weir_recv(s, bytes, sizeof bytes);
        /* In the length it can be that the rest of the record is missing. */
        CHECK(n == WEIR_ETLS || (n == WEIR_ETRUNCATED && (at == 3 || at == 4)));
        EXPECT(weir_recv(s, bytes, sizeof bytes), n);
        EXPECT(weir_send(s, bytes, 1), n);
        CHECK(weir_error_detail(s, NULL, 0) > 0);
        while (puppet_turn(p))
            ;
        CHECK(p->alert >= 0 || n == WEIR_ETRUNCATED);
        EXPECT(weir_close(s), 0);
        puppet_close(p);
    }
}

static void renegotiation_is_refused(void)
{
    EACH_ROW(row)
    {
        struct puppet *p;
        weir_socket *s;
        unsigned char byte = tls_peer_byte(0);
        if (row->version != WEIR_TLS_1_2)
            continue;
        s = puppet_meet(&p, row);
        puppet_shake_both(p, s);
        EXPECT(weir_set_blocking(s, false), 0);
        puppet_renegotiate(p);
        puppet_give(p, ALL);
        ssize_t n = weir_recv(s, &byte, 1);
        CHECK(n == -EAGAIN || n == WEIR_ETLS);
        EXPECT(weir_recv(s, &byte, 1), n);
        while (puppet_turn(p))
            ;
        EXPECT(p->alert, 100); /* no_renegotiation */
        EXPECT(weir_close(s), 0);
        puppet_close(p);
    }
}

/* A server asks for it without end, and never reads what it is told. */
static void renegotiation_without_end(void)
{
    struct puppet *p;
    weir_socket *s = puppet_meet(&p, &puppet_rows[2]);
    unsigned char byte;
    ssize_t n = -EAGAIN;
    puppet_shake_both(p, s);
    EXPECT(weir_set_blocking(s, false), 0);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 20000 && n == -EAGAIN; i++) {
        if (puppet_owes(p) == 0)
            puppet_renegotiate(p);
        puppet_give(p, ALL);
        n = weir_recv(s, &byte, 1);
    }
    CHECK(n == -EAGAIN || n == WEIR_ETLS);
    CHECK(ground_is_slow() || mallinfo2().uordblks < before + (1 << 20));
    EXPECT(weir_close(s), 0);
    puppet_close(p);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, garbage_is_told),
        GROUND_TEST(ONCE, garbage_is_told_while_the_peer_stays),
        GROUND_TEST(ONCE, bytes_at_random),
        GROUND_TEST(EVERYWHERE, dialling_a_plain_port),
        GROUND_TEST(ONCE, old_versions_are_refused),
        GROUND_TEST(EVERYWHERE, damage_is_told),
        GROUND_TEST(ONCE, renegotiation_is_refused),
        GROUND_TEST(ONCE, renegotiation_without_end),
    };
    int failed = ground_main(argc, argv, "tls_garbage", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
