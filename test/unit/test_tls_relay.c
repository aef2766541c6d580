/* Relays with TLS on one side and none on the other, or on both. */
#include "support/ground.h"
#include "support/relay_line.h"
#include "support/tls_puppet.h"

#include <stdio.h>

#define LARGE ((size_t)3 << 20)

/* Which sides have TLS. */
enum { NEAR = 1, FAR = 2 };

static void secure(weir_socket *client, weir_socket *server)
{
    EXPECT(weir_set_tls(client, puppet_config(false), "server.test"), 0);
    EXPECT(weir_set_tls(server, puppet_config(true), NULL), 0);
}

/* The relay is the server of the near side and a client of the far one, as proxies are. */
static void open_secure(struct line *l, int sides)
{
    *l = (struct line){.options = *WEIR_RELAY_OPTIONS()};
    line_tcp_pair(l->near);
    line_tcp_pair(l->far);
    if (sides & NEAR)
        secure(l->near[0], l->near[1]);
    if (sides & FAR)
        secure(l->far[0], l->far[1]);
}

static void both_directions(void)
{
    for (int sides = NEAR; sides <= (NEAR | FAR); sides++) {
        struct line_talk there[2], back[2];
        weir_group *g = group_open();
        struct line l;
        open_secure(&l, sides);
        line_check(l.near[0], l.far[1], LARGE, g, there);
        line_check(l.far[1], l.near[0], LARGE / 2, g, back);
        EXPECT(line_relay(&l), 0);
        group_end(g);
        EXPECT((long long)there[1].moved, (long long)LARGE);
        EXPECT((long long)back[1].moved, (long long)LARGE / 2);
        EXPECT(there[1].rc, 0);
        EXPECT(back[1].rc, 0);
        EXPECT((long long)l.result.a_to_b, (long long)LARGE);
        EXPECT((long long)l.result.b_to_a, (long long)LARGE / 2);
        EXPECT((long long)(l.result.a_lost + l.result.b_lost), 0);
        line_close(&l);
    }
}

/* One has said all, which is heard as an end, and is still told everything. */
static void half_closes(void)
{
    for (int sides = NEAR; sides <= (NEAR | FAR); sides++) {
        for (int back = 0; back < 2; back++) {
            struct line l;
            struct other other;
            char buf[8];
            size_t done = 0;
            open_secure(&l, sides);
            weir_socket *first = back ? l.far[1] : l.near[0], *second = back ? l.near[0] : l.far[1];
            weir_group *g = group_open();
            other_go(&other, g, line_relay, &l);
            struct line_talk word = {.s = first, .amount = 3}, heard = {.s = second};
            EXPECT(weir_go(g, line_say, &word), 0);
            (void)line_hear(&heard);
            EXPECT((long long)heard.moved, 3);
            EXPECT(heard.rc, 0);
            EXPECT(weir_send_all(second, "answer", 6, &done), 0);
            done = 0;
            EXPECT(weir_recv_exact(first, buf, 6, &done), 0);
            CHECK(!memcmp(buf, "answer", 6));
            EXPECT(weir_shutdown(second, SHUT_WR), 0);
            EXPECT(weir_recv(first, buf, sizeof buf), 0);
            group_end(g);
            EXPECT(other.rc, 0);
            line_close(&l);
        }
    }
}

/* How a stream ends whose end was never said. */
static bool is_cut(int rc)
{
    return rc == -ECONNRESET || rc == WEIR_ETRUNCATED;
}

static void send_reset(weir_socket *s)
{
    static const struct linger reset = {.l_onoff = 1};
    EXPECT(weir_set_option(s, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
}

/* One side goes without a goodbye: that is told, and the other side does not take what it got for
 * all there is. */
static void cut_off(int sides, bool back, bool by_reset)
{
    struct line l;
    struct other other;
    char buf[8];
    size_t done = 0;
    open_secure(&l, sides);
    weir_socket **goes = back ? &l.far[1] : &l.near[0];
    weir_socket *stays = back ? l.near[0] : l.far[1];
    weir_group *g = group_open();
    other_go(&other, g, line_relay, &l);
    EXPECT(weir_send_all(*goes, "half of", 7, &done), 0);
    done = 0;
    EXPECT(weir_recv_exact(stays, buf, 7, &done), 0);
    if (by_reset)
        send_reset(*goes);
    weir_abort(*goes);
    EXPECT(weir_close(*goes), 0);
    *goes = NULL;
    group_end(g);
    int want = by_reset ? -ECONNRESET : WEIR_ETRUNCATED;
    EXPECT(other.rc, want);
    EXPECT(l.result.a_error, back ? 0 : want);
    EXPECT(l.result.b_error, back ? want : 0);
    EXPECT((long long)(back ? l.result.b_to_a : l.result.a_to_b), 7);
    EXPECT(weir_close(l.near[1]), 0);
    EXPECT(weir_close(l.far[0]), 0);
    l.near[1] = l.far[0] = NULL;
    CHECK(is_cut((int)weir_recv(stays, buf, sizeof buf)));
    line_close(&l);
}

static void no_end_is_made_of_none(void)
{
    for (int sides = 0; sides <= (NEAR | FAR); sides++) {
        for (int back = 0; back < 2; back++) {
            cut_off(sides, back, true);
            if (sides & (back ? FAR : NEAR))
                cut_off(sides, back, false);
        }
    }
}

/* A handshake that fails is the error of the side that it was with. */
static void whose_handshake_it_was(void)
{
    struct line l;
    struct other other;
    char buf[64];
    size_t done = 0;
    open_secure(&l, 0);
    EXPECT(weir_set_tls(l.near[1], puppet_config(true), NULL), 0);
    weir_group *g = group_open();
    other_go(&other, g, line_relay, &l);
    EXPECT(weir_send_all(l.near[0], "this is no TLS at all\r\n", 23, &done), 0);
    other_until_ended(&other);
    EXPECT(other.rc, WEIR_ETLS);
    EXPECT(l.result.a_error, WEIR_ETLS);
    EXPECT(l.result.b_error, 0);
    group_end(g);
    EXPECT(weir_close(l.far[0]), 0);
    l.far[0] = NULL;
    EXPECT(weir_recv(l.far[1], buf, sizeof buf), -ECONNRESET);
    line_close(&l);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, both_directions),
        GROUND_TEST(EVERYWHERE, half_closes),
        GROUND_TEST(EVERYWHERE, no_end_is_made_of_none),
        GROUND_TEST(EVERYWHERE, whose_handshake_it_was),
    };
    int rc = ground_main(argc, argv, "tls relay", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return rc;
}
