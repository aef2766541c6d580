/* What comes between the bytes of a session: new keys, tickets. No byte is lost over them, and
 * nobody waits for ever.
 *
 * WEIR_SEED chooses what comes when; it is printed. */
#include "support/chance.h"
#include "support/ground.h"
#include "support/tls_peer.h"
#include "support/tls_talk.h"

#include <stdio.h>
#include <stdlib.h>

static const struct puppet_row *const client = &puppet_rows[0], *const server = &puppet_rows[1];

/* Bytes of the stream, from the place `at` on. */
static void receive_more(weir_socket *s, uint64_t *at, size_t count)
{
    unsigned char bytes[4096];
    while (count > 0) {
        ssize_t n = weir_recv(s, bytes, count < sizeof bytes ? count : sizeof bytes);
        CHECK(n > 0);
        for (ssize_t i = 0; i < n; i++)
            CHECK(bytes[i] == tls_peer_byte((*at)++));
        count -= (size_t)n;
    }
}

/* ---- in the middle of everything ------------------------------------------------------------- */

#define MUCH 300000u

struct transfer {
    weir_socket *s;
    struct puppet *p;
    struct chance chance;
    uint64_t total;
    bool reads;
};

static int writes_all(void *arg)
{
    struct transfer *t = arg;
    struct chance c = chance_of(7);
    unsigned char *bytes = malloc(t->total);
    size_t done = 0;
    for (uint64_t i = 0; i < t->total; i++)
        bytes[i] = tls_peer_byte(i);
    while (done < t->total) {
        size_t len = 1 + chance_below(&c, 40000), before = done;
        len = len > t->total - done ? t->total - done : len;
        size_t part = 0;
        EXPECT(weir_send_all(t->s, bytes + before, len, &part), 0);
        done += part;
    }
    free(bytes);
    return weir_shutdown(t->s, SHUT_WR);
}

static int reads_all(void *arg)
{
    struct transfer *t = arg;
    unsigned char byte;
    uint64_t at = 0;
    receive_more(t->s, &at, t->total);
    EXPECT(weir_recv(t->s, &byte, 1), 0);
    return 0;
}

/* One thing that the puppet does. */
static void do_something(struct transfer *t, const struct puppet_row *row)
{
    struct puppet *p = t->p;
    struct chance *c = &t->chance;
    uint64_t rest = t->total - p->said;
    uint32_t what = chance_below(c, 8);
    if (what < 3 && puppet_owes(p) < 100000) {
        uint64_t len = 1 + chance_below(c, 30000);
        puppet_say(p, len < rest ? len : rest);
    } else if (what < 5 && row->version == WEIR_TLS_1_3) {
        CHECK(puppet_update_keys(p, what == 3));
    } else if (what == 5 && !row->server && row->version == WEIR_TLS_1_3) {
        CHECK(puppet_send_ticket(p));
    }
    if (chance_below(c, 2))
        puppet_take(p, chance_below(c, 20000));
    puppet_hear(p);
    puppet_give(p, chance_below(c, 20000));
}

static void transfer_both_ways(const struct puppet_row *row, unsigned number, bool reads)
{
    struct transfer t = {.chance = chance_of(number), .reads = reads};
    struct other reader, writer;
    weir_group *g = group_open();
    t.total = ground_is_slow() ? MUCH / 10 : MUCH;
    t.s = puppet_meet(&t.p, row);
    talk_make_small(t.s);
    talk_make_small(t.p->line);
    puppet_shake_both(t.p, t.s);
    other_go(&writer, g, writes_all, &t);
    if (reads)
        other_go(&reader, g, reads_all, &t);
    while (t.p->said < t.total || !t.p->closed) {
        do_something(&t, row);
        give_way();
    }
    CHECK(puppet_say_end(t.p));
    while (puppet_owes(t.p) && reads) {
        puppet_give(t.p, ALL);
        give_way();
    }
    group_end(g);
    CHECK(!t.p->differs && !t.p->failed);
    EXPECT((long long)t.p->heard, (long long)t.total);
    EXPECT(writer.rc, 0);
    EXPECT(weir_close(t.s), 0);
    puppet_close(t.p);
}

static void new_keys_lose_nothing(void)
{
    unsigned number = 1;
    EACH_ROW(row)
    transfer_both_ways(row, number++, true);
}

/* Who only writes need not read what comes: the peer's records wait. */
static void writers_need_not_read(void)
{
    EACH_ROW(row)
    {
        struct transfer t = {.total = 200000};
        struct other writer;
        weir_group *g = group_open();
        t.s = puppet_meet(&t.p, row);
        puppet_shake_both(t.p, t.s);
        other_go(&writer, g, writes_all, &t);
        while (!t.p->closed) {
            if (row->version == WEIR_TLS_1_3 && puppet_owes(t.p) == 0)
                CHECK(row->server ? puppet_update_keys(t.p, true) : puppet_send_ticket(t.p));
            puppet_give(t.p, ALL);
            puppet_take(t.p, 10000);
            puppet_hear(t.p);
            give_way();
        }
        group_end(g);
        EXPECT((long long)t.p->heard, (long long)t.total);
        EXPECT(weir_close(t.s), 0);
        puppet_close(t.p);
    }
}

/* The answer cannot be given any more, and nobody needs it. */
static void new_keys_after_half_a_close(void)
{
    const struct puppet_row *both[] = {client, server};
    for (int i = 0; i < 2; i++) {
        struct puppet *p;
        weir_socket *s = puppet_meet(&p, both[i]);
        unsigned char byte;
        uint64_t at = 0;
        puppet_shake_both(p, s);
        EXPECT(weir_shutdown(s, SHUT_WR), 0);
        for (int j = 0; j < 20; j++)
            CHECK(puppet_say(p, 1000) && puppet_update_keys(p, true));
        CHECK(puppet_say_end(p));
        puppet_give(p, ALL);
        receive_more(s, &at, 20000);
        EXPECT(weir_recv(s, &byte, 1), 0);
        while (puppet_turn(p))
            ;
        CHECK(p->closed && !p->failed);
        EXPECT(weir_close(s), 0);
        puppet_close(p);
    }
}

/* ---- in pieces ------------------------------------------------------------------------------- */

/* The socket, without waiting, and a peer who has sent the first record of a message that is longer
 * than that. */
static weir_socket *held_up(struct puppet **p)
{
    weir_socket *s = puppet_meet(p, client);
    char byte;
    puppet_shake_both(*p, s);
    EXPECT(weir_set_blocking(s, false), 0);
    CHECK(puppet_send_long_ticket(*p));
    EXPECT(puppet_give(*p, PUPPET_RECORD + 50), PUPPET_RECORD + 50);
    EXPECT(weir_recv(s, &byte, 1), -EAGAIN);
    EXPECT(weir_send(s, "x", 1), -EAGAIN);
    return s;
}

/* OpenSSL does nothing else before it has all of it. Nobody is told that he could go on, and who
 * waits does so no longer than he wants to. */
static void half_a_message_makes_nobody_spin(void)
{
    struct puppet *p;
    weir_socket *s = held_up(&p);
    weir_poller *poller;
    weir_event event;
    EXPECT(weir_poller_open(&poller), 0);
    EXPECT(weir_poller_add(poller, s, WEIR_WRITABLE, NULL), 0);
    EXPECT(weir_poller_wait(poller, &event, 1, MOMENT_MS), 0);
    EXPECT(weir_shutdown(s, SHUT_WR), -EAGAIN);
    EXPECT(weir_poller_wait(poller, &event, 1, MOMENT_MS), 0);
    EXPECT(weir_set_blocking(s, true), 0);
    EXPECT(weir_set_timeout(s, MOMENT_MS), 0);
    EXPECT(weir_send(s, "x", 1), WEIR_EDEADLINE);
    EXPECT(weir_shutdown(s, SHUT_WR), WEIR_EDEADLINE);
    /* The rest of it is all that was missing. */
    EXPECT(weir_poller_modify(poller, s, WEIR_READABLE | WEIR_WRITABLE, NULL), 0);
    puppet_give(p, ALL);
    EXPECT(weir_poller_wait(poller, &event, 1, -1), 1);
    EXPECT(event.events, WEIR_WRITABLE);
    EXPECT(weir_set_timeout(s, LONG_MS), 0);
    EXPECT(weir_shutdown(s, SHUT_WR), 0);
    EXPECT(weir_poller_close(poller), 0);
    puppet_take(p, ALL);
    puppet_hear(p);
    CHECK(p->closed && !p->failed && p->heard == 0);
    EXPECT(weir_close(s), 0);
    puppet_close(p);
}

/* A close, which does not wait, says goodbye when the rest is there. */
static void a_close_takes_the_rest_of_a_message(void)
{
    struct puppet *p;
    weir_socket *s = held_up(&p);
    puppet_give(p, ALL);
    EXPECT(weir_close(s), 0);
    talk_is_heard(p, 0, true);
    puppet_close(p);
}

/* However many looks it takes: each begins anew with what it may read at most. */
static void a_message_comes_in_many_pieces(void)
{
    struct puppet *p;
    weir_socket *s = held_up(&p);
    weir_poller *poller;
    weir_event event;
    unsigned pieces = 0;
    EXPECT(weir_poller_open(&poller), 0);
    EXPECT(weir_poller_add(poller, s, WEIR_READABLE | WEIR_WRITABLE, NULL), 0);
    for (; puppet_owes(p) > 50; pieces++) {
        puppet_give(p, 10);
        EXPECT(weir_poller_wait(poller, &event, 1, 0), 0);
    }
    CHECK(pieces > 40);
    puppet_give(p, ALL);
    EXPECT(weir_poller_wait(poller, &event, 1, LONG_MS), 1);
    EXPECT(event.events, WEIR_WRITABLE);
    EXPECT(weir_poller_close(poller), 0);
    talk_end(s, p);
}

/* What comes right behind it is read by whoever sends, and told to whoever receives. */
static void bytes_behind_half_a_message_are_told(void)
{
    struct puppet *p;
    weir_socket *s = held_up(&p);
    weir_poller *poller;
    weir_event event;
    uint64_t at = 0;
    unsigned char byte = tls_peer_byte(0);
    EXPECT(weir_poller_open(&poller), 0);
    EXPECT(weir_poller_add(poller, s, WEIR_READABLE, NULL), 0);
    CHECK(puppet_say(p, 10));
    puppet_give(p, ALL);
    EXPECT(weir_send(s, &byte, 1), 1);
    EXPECT(weir_poller_wait(poller, &event, 1, LONG_MS), 1);
    receive_more(s, &at, 10);
    EXPECT(weir_poller_close(poller), 0);
    EXPECT(weir_close(s), 0);
    puppet_close(p);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, new_keys_lose_nothing),
        GROUND_TEST(EVERYWHERE, writers_need_not_read),
        GROUND_TEST(EVERYWHERE, new_keys_after_half_a_close),
        GROUND_TEST(EVERYWHERE, half_a_message_makes_nobody_spin),
        GROUND_TEST(EVERYWHERE, a_close_takes_the_rest_of_a_message),
        GROUND_TEST(EVERYWHERE, a_message_comes_in_many_pieces),
        GROUND_TEST(EVERYWHERE, bytes_behind_half_a_message_are_told),
    };
    int failed = ground_main(argc, argv, "tls_updates", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
