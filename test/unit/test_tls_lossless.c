/* A send that was cancelled, or would have waited, is neither repeated nor lost in part; what was
 * counted arrives, in order, once, whoever carries it on. And one socket reads and writes at once.
 *
 * WEIR_SEED chooses lengths and moments; it is printed. */
#include "support/chance.h"
#include "support/elsewhere.h"
#include "support/pki.h"
#include "support/tls_peer.h"
#include "support/tls_talk.h"
#include "sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECE_MAX 70000

static void fill(unsigned char *bytes, size_t len, uint64_t at)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = tls_peer_byte(at + i);
}

static void verify(const unsigned char *bytes, size_t len, uint64_t at)
{
    for (size_t i = 0; i < len; i++)
        CHECK(bytes[i] == tls_peer_byte(at + i));
}

/* ---- cancels --------------------------------------------------------------------------------- */

struct world {
    weir_socket *s;
    struct puppet *p;
    struct chance chance, victims;
    uint64_t sent, received, hits;
    unsigned char *bytes;
};

/* One call that moves bytes, which are counted even if it was cancelled in the middle. */
static int moves(void *arg)
{
    struct world *w = arg;
    uint32_t what = chance_below(&w->victims, 4);
    size_t len = 1 + chance_below(&w->victims, PIECE_MAX), done = 0;
    ssize_t n;
    if (what < 2)
        fill(w->bytes, len, w->sent);
    if (what == 0) {
        n = weir_send(w->s, w->bytes, len);
        w->sent += n > 0 ? (uint64_t)n : 0;
    } else if (what == 1) {
        n = weir_send_all(w->s, w->bytes, len, &done);
        CHECK((n == 0) == (done == len));
        w->sent += done;
    } else {
        n = what == 2 ? weir_recv(w->s, w->bytes, len)
                      : weir_recv_exact(w->s, w->bytes, 1 + len % 500, &done);
        done = what == 2 && n > 0 ? (size_t)n : done;
        verify(w->bytes, done, w->received);
        w->received += done;
    }
    CHECK(n >= 0 || n == -ECANCELED);
    w->hits += n == -ECANCELED;
    return 0;
}

static void puppet_goes_on(struct world *w)
{
    struct puppet *p = w->p;
    struct chance *c = &w->chance;
    if (chance_below(c, 3) == 0 && puppet_owes(p) < 50000)
        CHECK(puppet_say(p, 1 + chance_below(c, 5000)));
    if (chance_below(c, 20) == 0 && puppet_owes(p) < 50000)
        puppet_update_keys(p, chance_below(c, 2));
    if (chance_below(c, 2))
        puppet_take(p, chance_below(c, 20000));
    if (chance_below(c, 2))
        puppet_give(p, chance_below(c, 5000));
    puppet_hear(p);
    CHECK(!p->differs && !p->failed);
}

static void cancel_one(struct world *w)
{
    weir_group *g = group_open();
    EXPECT(weir_go(g, moves, w), 0);
    for (uint32_t i = chance_below(&w->chance, 4); i > 0; i--) {
        puppet_goes_on(w);
        give_way();
    }
    EXPECT(weir_group_cancel(g), 0);
    puppet_goes_on(w);
    EXPECT(weir_group_close(g), 0);
}

/* What is under way comes out, and no more than that. */
static void settle(struct world *w)
{
    EXPECT(weir_set_blocking(w->s, false), 0);
    bool moved = true;
    while (moved || w->p->heard < w->sent || w->received < w->p->said) {
        moved = puppet_turn(w->p);
        ssize_t n = weir_recv(w->s, w->bytes, PIECE_MAX);
        CHECK(n > 0 || n == -EAGAIN);
        if (n > 0) {
            verify(w->bytes, (size_t)n, w->received);
            w->received += (uint64_t)n;
        }
    }
    EXPECT((long long)w->p->heard, (long long)w->sent);
    EXPECT((long long)w->received, (long long)w->p->said);
    CHECK(!w->p->differs && !w->p->failed);
}

static void cancels_at_random(void)
{
    unsigned count = ground_is_slow() ? 100 : ground->tasks ? 2000 : 500;
    EACH_ROW(row)
    {
        struct world w = {.chance = chance_of(1), .victims = chance_of(2)};
        w.s = puppet_meet_by_tcp(&w.p, row);
        w.bytes = malloc(PIECE_MAX + 1);
        talk_make_small(w.s);
        puppet_shake_both(w.p, w.s);
        for (unsigned i = 0; i < count; i++)
            cancel_one(&w);
        settle(&w);
        CHECK(w.sent > 0 && w.received > 0);
        EXPECT(weir_close(w.s), 0);
        puppet_close(w.p);
        free(w.bytes);
    }
}

/* ---- without waiting ------------------------------------------------------------------------- */

static struct chance amounts;

static size_t some(enum sys_call call, size_t len)
{
    return call == SYS_SEND && len > 0 ? 1 + chance_below(&amounts, (uint32_t)len) : len;
}

static const struct sys_faults partial = {.amount = some};

static void handle(struct world *w, const weir_event *e, uint64_t total)
{
    if (e->events & WEIR_READABLE) {
        ssize_t n = weir_recv(w->s, w->bytes, 1 + chance_below(&w->chance, PIECE_MAX));
        CHECK(n > 0 || n == -EAGAIN);
        verify(w->bytes, n > 0 ? (size_t)n : 0, w->received);
        w->received += n > 0 ? (uint64_t)n : 0;
    }
    if (e->events & WEIR_WRITABLE && w->sent < total) {
        size_t len = 1 + chance_below(&w->chance, PIECE_MAX), done = 0;
        len = len > total - w->sent ? (size_t)(total - w->sent) : len;
        fill(w->bytes, len, w->sent);
        int rc = weir_send_all(w->s, w->bytes, len, &done);
        CHECK(rc == 0 || rc == -EAGAIN);
        w->sent += done;
    }
}

/* A poller, and a kernel that takes any part of what it is given. */
static void sends_with_a_poller(void)
{
    const uint64_t total = ground_is_slow() ? 200000 : 2000000;
    EACH_ROW(row)
    {
        struct world w = {.chance = chance_of(3)};
        weir_poller *poller;
        weir_event event;
        amounts = chance_of(4);
        w.s = puppet_meet(&w.p, row);
        w.bytes = malloc(PIECE_MAX + 1);
        talk_make_small(w.s);
        puppet_shake_both(w.p, w.s);
        EXPECT(weir_set_blocking(w.s, false), 0);
        EXPECT(weir_poller_open(&poller), 0);
        EXPECT(weir_poller_add(poller, w.s, WEIR_READABLE | WEIR_WRITABLE, NULL), 0);
        sys_faults = &partial;
        while (w.sent < total) {
            puppet_goes_on(&w);
            int n = weir_poller_wait(poller, &event, 1, 0);
            CHECK(n >= 0);
            if (n > 0)
                handle(&w, &event, total);
        }
        sys_faults = NULL;
        settle(&w);
        EXPECT(weir_poller_close(poller), 0);
        EXPECT(weir_close(w.s), 0);
        puppet_close(w.p);
        free(w.bytes);
    }
}

enum carrier { BY_RECV, BY_WAIT, BY_POLLER, BY_POLLER_FOR_NOTHING, BY_SHUTDOWN, CARRIERS };

/* Whatever is called next on the socket takes what the kernel had no room for along. */
static void carry_on(weir_socket *s, weir_poller *poller, enum carrier by)
{
    unsigned char byte;
    weir_event event;
    if (by == BY_RECV) {
        EXPECT(weir_recv(s, &byte, 1), -EAGAIN);
    } else if (by == BY_WAIT) {
        weir_scope limit = weir_deadline_start(1);
        int rc = weir_wait(s, WEIR_WRITABLE);
        CHECK(rc == WEIR_WRITABLE || rc == WEIR_EDEADLINE);
        weir_scope_end(limit);
    } else if (by == BY_SHUTDOWN)
        (void)weir_shutdown(s, SHUT_WR);
    else
        EXPECT(weir_poller_wait(poller, &event, 1, 0), 0);
}

static void rest_is_carried_on(enum carrier by, const struct puppet_row *row)
{
    struct puppet *p;
    weir_socket *s = puppet_meet(&p, row);
    weir_poller *poller;
    unsigned char *bytes = malloc(PIECE_MAX);
    uint64_t sent = 0;
    ssize_t n;
    talk_make_small(s);
    puppet_shake_both(p, s);
    EXPECT(weir_set_blocking(s, false), 0);
    EXPECT(weir_recv(s, bytes, 1), -EAGAIN); /* takes the tickets */
    EXPECT(weir_poller_open(&poller), 0);
    EXPECT(weir_poller_add(poller, s, by == BY_POLLER ? WEIR_READABLE : 0, NULL), 0);
    do {
        fill(bytes, PIECE_MAX, sent);
        n = weir_send(s, bytes, PIECE_MAX);
        sent += n > 0 ? (uint64_t)n : 0;
    } while (n > 0);
    EXPECT(n, -EAGAIN);
    puppet_take(p, ALL);
    puppet_hear(p);
    CHECK(p->heard < sent && sent - p->heard <= 65536);
    for (int in_vain = 0; p->heard < sent && in_vain < 1000;) {
        carry_on(s, poller, by);
        in_vain = puppet_take(p, ALL) > 0 ? 0 : in_vain + 1;
        puppet_hear(p);
    }
    EXPECT((long long)p->heard, (long long)sent);
    CHECK(!p->differs && !p->failed);
    EXPECT(weir_poller_close(poller), 0);
    EXPECT(weir_close(s), 0);
    puppet_close(p);
    free(bytes);
}

static void whoever_comes_next_carries_on(void)
{
    EACH_ROW(row)
    for (enum carrier by = 0; by < CARRIERS; by++)
        rest_is_carried_on(by, row);
}

/* ---- one reads, one writes ------------------------------------------------------------------- */

struct both {
    weir_socket *s;
    uint64_t total;
};

static int writes(void *arg)
{
    struct both *b = arg;
    struct chance c = chance_of(5);
    unsigned char *bytes = malloc(PIECE_MAX);
    for (uint64_t sent = 0; sent < b->total;) {
        size_t len = 1 + chance_below(&c, PIECE_MAX), done = 0;
        len = len > b->total - sent ? (size_t)(b->total - sent) : len;
        fill(bytes, len, sent);
        EXPECT(weir_send_all(b->s, bytes, len, &done), 0);
        sent += len;
    }
    free(bytes);
    return weir_shutdown(b->s, SHUT_WR);
}

static int reads(void *arg)
{
    struct both *b = arg;
    struct chance c = chance_of(6);
    unsigned char *bytes = malloc(PIECE_MAX);
    uint64_t received = 0;
    ssize_t n;
    while ((n = weir_recv(b->s, bytes, 1 + chance_below(&c, PIECE_MAX))) > 0) {
        verify(bytes, (size_t)n, received);
        received += (uint64_t)n;
    }
    free(bytes);
    EXPECT(n, 0);
    EXPECT((long long)received, (long long)b->total);
    return 0;
}

/* The peer sends everything back, and the handshake is the first thing both run into. */
static void reads_and_writes(const struct puppet_row *row, enum place place)
{
    const struct pki_standard *pki = pki_standard();
    struct both b = {.total = ground_is_slow() ? 200000 : 1500000};
    struct tls_peer_result r;
    struct elsewhere reader;
    weir_socket *pair[2];
    stream_pair(pair);
    b.s = pair[0];
    EXPECT(weir_set_tls(b.s, puppet_config(row->server), row->server ? NULL : "server.test"), 0);
    int fd = weir_detach(pair[1]);
    EXPECT(fcntl(fd, F_SETFL, 0), 0);
    struct tls_peer *peer = TLS_PEER(
        fd, .client = row->server, .chain = pki->server_pem, .key = pki->server_key_pem,
        .min = row->version, .max = row->version, .script = {STEP(PEER_ECHO), STEP(PEER_END)});
    elsewhere_go(&reader, place, reads, &b);
    EXPECT(writes(&b), 0);
    EXPECT(elsewhere_end(&reader), 0);
    EXPECT(weir_close(b.s), 0);
    tls_peer_join(peer, &r);
    CHECK(r.end == PEER_CLOSED && !r.differs);
    EXPECT((long long)r.received, (long long)b.total);
}

static void one_reads_while_another_writes(void)
{
    EACH_ROW(row)
    for (enum place place = 0; place < PLACES; place++)
        reads_and_writes(row, place);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, cancels_at_random),
        GROUND_TEST(ONCE, sends_with_a_poller),
        GROUND_TEST(ONCE, whoever_comes_next_carries_on),
        GROUND_TEST(EVERYWHERE, one_reads_while_another_writes),
    };
    int failed = ground_main(argc, argv, "tls_lossless", tests, sizeof tests / sizeof *tests);
    puppet_end();
    return failed;
}
