/* A relay between two conversations: what one end says the other hears, ends and all, and what was
 * not moved is told. */
#include "support/rig.h"

#include <stdlib.h>
#include <weir/relay.h>

#define AMOUNT ((size_t)1 << 20)
#define LARGE  ((size_t)16 << 20)
#define PIECE  ((size_t)100000)

/* x — a = b — y */
struct line {
    weir_socket *x, *a, *b, *y;
    weir_relay_options options;
    weir_relay_result result;
    int rc;
};

static struct line connect_line(struct rig *rig)
{
    struct line l = {.options = *WEIR_RELAY_OPTIONS(.idle_ms = RIG_LONG_MS)};
    rig_pair(rig, &l.x, &l.a);
    rig_pair(rig, &l.b, &l.y);
    EXPECT(weir_set_blocking(l.a, true), 0);
    EXPECT(weir_set_blocking(l.b, true), 0);
    return l;
}

static void relay(struct rig *rig, void *arg)
{
    struct line *l = arg;
    (void)rig;
    l->rc = weir_relay(l->a, l->b, &l->options, &l->result);
}

static void expect_result(const struct line *l, int rc, int a_error, int b_error)
{
    EXPECT(l->rc, rc);
    EXPECT(l->result.a_error, a_error);
    EXPECT(l->result.b_error, b_error);
}

static void expect_moved(const struct line *l, size_t a_to_b, size_t b_to_a)
{
    EXPECT((long long)l->result.a_to_b, (long long)a_to_b);
    EXPECT((long long)l->result.b_to_a, (long long)b_to_a);
    EXPECT((long long)l->result.a_lost, 0);
    EXPECT((long long)l->result.b_lost, 0);
}

/* ---- bytes and ends ------------------------------------------------------------------------- */

struct talk {
    weir_socket *s;
    unsigned key;
    size_t amount, most; /* of each piece */
};

static void say(struct rig *rig, void *arg)
{
    const struct talk *t = arg;
    unsigned char *piece = malloc(PIECE);
    CHECK(piece != NULL);
    for (size_t sent = 0; sent < t->amount;) {
        size_t len = 1 + rig_random(rig) % t->most, done = 0;
        len = len < t->amount - sent ? len : t->amount - sent;
        rig_fill(piece, len, t->key, sent);
        EXPECT(rig_send_all(rig, t->s, piece, len, &done), 0);
        sent += len;
    }
    EXPECT(rig_shutdown(rig, t->s), 0);
    free(piece);
}

static void hear(struct rig *rig, void *arg)
{
    const struct talk *t = arg;
    unsigned char *piece = malloc(PIECE);
    size_t got = 0;
    ssize_t n;
    CHECK(piece != NULL);
    while ((n = rig_recv(rig, t->s, piece, 1 + rig_random(rig) % t->most)) > 0) {
        CHECK(rig_is_filled(piece, (size_t)n, t->key, got));
        got += (size_t)n;
    }
    EXPECT(n, 0);
    EXPECT((long long)got, (long long)t->amount);
    free(piece);
}

SCENARIO_FOR(relay_moves_both_directions_at_once, STREAM)
{
    struct line l = connect_line(rig);
    struct rig_thread *t[5];
    struct talk x = {l.x, 1, AMOUNT, PIECE}, y = {l.y, 2, 2 * AMOUNT, PIECE};
    struct talk at_x = {l.x, 2, 2 * AMOUNT, PIECE}, at_y = {l.y, 1, AMOUNT, PIECE};
    t[0] = rig_go(rig, relay, &l);
    t[1] = rig_go(rig, say, &x);
    t[2] = rig_go(rig, say, &y);
    t[3] = rig_go(rig, hear, &at_x);
    t[4] = rig_go(rig, hear, &at_y);
    for (int i = 4; i >= 0; i--)
        rig_join(t[i]);
    expect_result(&l, 0, 0, 0);
    expect_moved(&l, AMOUNT, 2 * AMOUNT);
}

SCENARIO_FOR(relay_moves_small_pieces, STREAM)
{
    struct line l = connect_line(rig);
    struct rig_thread *t = rig_go(rig, relay, &l);
    char c;
    for (int i = 0; i < 300; i++) {
        EXPECT(rig_send(rig, l.x, "?", 1), 1);
        EXPECT(rig_recv(rig, l.y, &c, 1), 1);
        CHECK(c == '?');
        EXPECT(rig_send(rig, l.y, "!", 1), 1);
        EXPECT(rig_recv(rig, l.x, &c, 1), 1);
        CHECK(c == '!');
    }
    EXPECT(rig_shutdown(rig, l.x), 0);
    EXPECT(rig_shutdown(rig, l.y), 0);
    rig_join(t);
    expect_result(&l, 0, 0, 0);
    expect_moved(&l, 300, 300);
}

/* One end has said all it had to say, the other goes on for as long as it likes. */
SCENARIO_FOR(relay_keeps_half_closes_in_any_order, STREAM)
{
    for (int order = 0; order < 2; order++) {
        struct line l = connect_line(rig);
        weir_socket *first = order ? l.y : l.x, *second = order ? l.x : l.y;
        char buf[8];
        struct rig_thread *t = rig_go(rig, relay, &l);
        EXPECT(rig_send(rig, first, "ask", 3), 3);
        EXPECT(rig_shutdown(rig, first), 0);
        EXPECT(rig_recv(rig, second, buf, 3), 3);
        EXPECT(rig_recv(rig, second, buf, sizeof buf), 0);
        for (int i = 0; i < 20; i++) {
            EXPECT(rig_send(rig, second, "answer", 6), 6);
            size_t done = 0;
            EXPECT(rig_recv_exact(rig, first, buf, 6, &done), 0);
        }
        rig_until_asleep(t); /* it has not ended, or it would fail below */
        EXPECT(rig_send(rig, second, "last", 4), 4);
        EXPECT(rig_shutdown(rig, second), 0);
        size_t done = 0;
        EXPECT(rig_recv_exact(rig, first, buf, 4, &done), 0);
        EXPECT(rig_recv(rig, first, buf, sizeof buf), 0);
        rig_join(t);
        expect_result(&l, 0, 0, 0);
        expect_moved(&l, order ? 124 : 3, order ? 3 : 124);
    }
}

SCENARIO_FOR(relay_of_what_has_ended_already, STREAM)
{
    struct line l = connect_line(rig);
    char c;
    EXPECT(rig_shutdown(rig, l.x), 0);
    EXPECT(rig_shutdown(rig, l.y), 0);
    relay(rig, &l);
    expect_result(&l, 0, 0, 0);
    expect_moved(&l, 0, 0);
    EXPECT(rig_recv(rig, l.x, &c, 1), 0);
    EXPECT(rig_recv(rig, l.y, &c, 1), 0);
}

/* ---- a fast side and a slow one ------------------------------------------------------------- */

/* Nothing is read at the far end until the near end is held up; what lies between is bounded. */
SCENARIO_FOR(relay_holds_up_who_is_too_fast, STREAM)
{
    struct line l = connect_line(rig);
    struct talk x = {l.x, 3, LARGE, PIECE}, y = {l.y, 3, LARGE, PIECE};
    struct rig_thread *t[2] = {rig_go(rig, relay, &l), rig_go(rig, say, &x)};
    rig_until_asleep(t[1]);
    EXPECT(rig_shutdown(rig, l.y), 0);
    hear(rig, &y);
    rig_join(t[1]);
    rig_join(t[0]);
    expect_result(&l, 0, 0, 0);
    expect_moved(&l, LARGE, 0);
}

/* ---- errors --------------------------------------------------------------------------------- */

SCENARIO_FOR(relay_tells_whose_reset_it_was, STREAM)
{
    for (int which = 0; which < 2; which++) {
        struct line l = connect_line(rig);
        struct rig_thread *t = rig_go(rig, relay, &l);
        rig_until_asleep(t);
        if (which)
            rig_reset(rig, l.b, l.y);
        else
            rig_reset(rig, l.a, l.x);
        rig_join(t);
        expect_result(&l, -ECONNRESET, which ? 0 : -ECONNRESET, which ? -ECONNRESET : 0);
    }
}

/* Until there is no room. */
static size_t fill_up(struct rig *rig, weir_socket *s)
{
    static char block[1 << 16];
    size_t sent = 0;
    ssize_t n;
    (void)rig;
    EXPECT(weir_set_blocking(s, false), 0);
    while ((n = weir_send(s, block, sizeof block)) > 0)
        sent += (size_t)n;
    EXPECT(n, -EAGAIN);
    EXPECT(weir_set_blocking(s, true), 0);
    return sent;
}

/* Who refuses the rest of what is sent has said why, before. It arrives, even if it takes time. */
SCENARIO_FOR(relay_delivers_what_was_said_before_a_reset, STREAM)
{
    struct line l = connect_line(rig);
    unsigned char *bytes = malloc(LARGE);
    size_t done = 0, before = fill_up(rig, l.a);
    CHECK(bytes && before + 9 <= LARGE);
    EXPECT(rig_send(rig, l.y, "too large", 9), 9);
    EXPECT(rig_send(rig, l.x, "very large", 10), 10);
    rig_reset(rig, l.b, l.y);
    struct rig_thread *t = rig_go(rig, relay, &l);
    rig_until_asleep(t);
    EXPECT(rig_recv_exact(rig, l.x, bytes, before + 9, &done), 0);
    CHECK(!memcmp(bytes + before, "too large", 9));
    rig_join(t);
    CHECK(l.rc == -ECONNRESET || l.rc == -EPIPE);
    CHECK(l.result.b_error == l.rc || l.result.b_error == -ECONNRESET);
    EXPECT(l.result.a_error, 0);
    EXPECT((long long)l.result.b_to_a, 9);
    CHECK(l.result.a_to_b + l.result.a_lost <= 10);
    free(bytes);
}

static void abort_it(struct rig *rig, void *arg)
{
    (void)rig;
    EXPECT(weir_abort(arg), 0);
}

SCENARIO_FOR(relay_ends_when_a_socket_is_aborted, STREAM)
{
    for (int which = 0; which < 2; which++) {
        struct line l = connect_line(rig);
        struct rig_thread *t = rig_when_asleep(rig, abort_it, which ? l.b : l.a);
        relay(rig, &l);
        rig_join(t);
        expect_result(&l, WEIR_ECLOSED, which ? 0 : WEIR_ECLOSED, which ? WEIR_ECLOSED : 0);
        relay(rig, &l);
        expect_result(&l, WEIR_ECLOSED, which ? 0 : WEIR_ECLOSED, which ? WEIR_ECLOSED : 0);
    }
}

/* Nothing is read from it any more, and nothing has to be sent to it. */
SCENARIO_FOR(relay_ends_when_a_half_closed_socket_is_aborted, STREAM)
{
    struct line l = connect_line(rig);
    struct rig_thread *t = rig_go(rig, relay, &l);
    char c;
    EXPECT(rig_shutdown(rig, l.x), 0);
    EXPECT(rig_recv(rig, l.y, &c, 1), 0);
    rig_until_asleep(t);
    EXPECT(weir_abort(l.a), 0);
    rig_join(t);
    expect_result(&l, WEIR_ECLOSED, WEIR_ECLOSED, 0);
}

static void close_it(struct rig *rig, void *arg)
{
    rig_close(rig, arg);
}

/* The last reference but the relay's own. */
SCENARIO_FOR(relay_ends_when_a_socket_is_closed, STREAM)
{
    struct line l = connect_line(rig);
    struct rig_thread *t = rig_when_asleep(rig, close_it, l.a);
    relay(rig, &l);
    rig_join(t);
    expect_result(&l, WEIR_ECLOSED, WEIR_ECLOSED, 0);
}

/* ---- limits --------------------------------------------------------------------------------- */

/* The sockets are good afterwards, and nothing is missing. */
static void check_the_line(struct rig *rig, const struct line *l)
{
    char c;
    EXPECT(rig_send(rig, l->x, "1", 1), 1);
    EXPECT(rig_recv(rig, l->a, &c, 1), 1);
    CHECK(c == '1');
    EXPECT(rig_send(rig, l->b, "2", 1), 1);
    EXPECT(rig_recv(rig, l->y, &c, 1), 1);
    CHECK(c == '2');
}

SCENARIO_FOR(relay_ends_when_it_is_idle, STREAM)
{
    struct line l = connect_line(rig);
    l.options.idle_ms = RIG_MOMENT_MS;
    relay(rig, &l);
    expect_result(&l, WEIR_EDEADLINE, 0, 0);
    expect_moved(&l, 0, 0);
    check_the_line(rig, &l);
}

SCENARIO_FOR(relay_ends_at_the_limit_of_its_caller, STREAM)
{
    struct line l = connect_line(rig);
    weir_scope scope = weir_deadline_start(RIG_MOMENT_MS);
    relay(rig, &l);
    expect_result(&l, WEIR_EDEADLINE, 0, 0);
    relay(rig, &l); /* has passed already */
    expect_result(&l, WEIR_EDEADLINE, 0, 0);
    weir_scope_end(scope);
    expect_moved(&l, 0, 0);
    check_the_line(rig, &l);
}

/* A socket's time-out is an idle limit, the shortest is the one that counts. */
SCENARIO_FOR(relay_ends_at_the_time_out_of_a_socket, STREAM)
{
    struct line l = connect_line(rig);
    EXPECT(weir_set_timeout(rig_random(rig) % 2 ? l.a : l.b, RIG_MOMENT_MS), 0);
    relay(rig, &l);
    expect_result(&l, WEIR_EDEADLINE, 0, 0);
    EXPECT(weir_set_timeout(l.a, 0), 0);
    relay(rig, &l);
    expect_result(&l, WEIR_EDEADLINE, 0, 0);
}

struct flood {
    weir_socket *s;
    size_t sent;
};

/* As much as there is room for on the whole way. */
static void flood(struct rig *rig, void *arg)
{
    struct flood *f = arg;
    (void)rig;
    unsigned char *piece = malloc(LARGE);
    CHECK(piece != NULL);
    rig_fill(piece, LARGE, 4, 0);
    EXPECT(weir_set_blocking(f->s, true), 0);
    CHECK(weir_send_all(f->s, piece, LARGE, &f->sent) < 0);
    free(piece);
}

/* What the far end has is what was moved, what is left at the near end comes after what was lost:
 * not a byte is counted twice or forgotten. */
static void check_account(struct rig *rig, struct line *l)
{
    unsigned char *bytes = malloc(LARGE);
    size_t moved = (size_t)l->result.a_to_b, lost = (size_t)l->result.a_lost, got = 0;
    CHECK(bytes && moved + lost > 0 && moved + lost <= LARGE && lost < AMOUNT);
    struct rig_thread *t = rig_push(rig, l->b);
    EXPECT(rig_recv_exact(rig, l->y, bytes, moved, &got), 0);
    rig_join(t);
    CHECK(rig_is_filled(bytes, moved, 4, 0));
    ssize_t n = rig_recv(rig, l->a, bytes, PIECE);
    CHECK(n > 0 && rig_is_filled(bytes, (size_t)n, 4, moved + lost));
    EXPECT(rig_send(rig, l->b, "x", 1), 1);
    EXPECT(rig_recv(rig, l->y, bytes, PIECE), 1);
    CHECK(bytes[0] == 'x');
    free(bytes);
}

SCENARIO_FOR(relay_ends_a_side_that_does_not_read, STREAM)
{
    struct line l = connect_line(rig);
    struct flood f = {.s = l.x};
    struct rig_thread *t = rig_go(rig, flood, &f);
    rig_until_asleep(t);
    l.options.idle_ms = 3 * RIG_MOMENT_MS;
    do { /* a slow machine may not get to move anything in that time */
        relay(rig, &l);
        expect_result(&l, WEIR_EDEADLINE, 0, 0);
    } while (l.result.a_to_b + l.result.a_lost == 0);
    check_account(rig, &l);
    weir_abort(l.x);
    rig_join(t);
}

/* In the middle of much, however it is moved; nobody is killed by it. */
SCENARIO_FOR(relay_of_much_to_a_side_that_goes, STREAM)
{
    struct line l = connect_line(rig);
    struct flood f = {.s = l.x};
    struct rig_thread *t[2] = {rig_go(rig, flood, &f), rig_go(rig, relay, &l)};
    unsigned char *bytes = malloc(AMOUNT);
    size_t got = 0;
    CHECK(bytes != NULL);
    EXPECT(rig_recv_exact(rig, l.y, bytes, AMOUNT, &got), 0);
    CHECK(rig_is_filled(bytes, AMOUNT, 4, 0));
    rig_close(rig, l.y);
    rig_join(t[1]);
    CHECK(l.rc == -ECONNRESET || l.rc == -EPIPE);
    CHECK(l.result.b_error == -ECONNRESET || l.result.b_error == -EPIPE);
    EXPECT(l.result.a_error, 0);
    CHECK(l.result.a_to_b >= AMOUNT);
    weir_abort(l.a);
    rig_join(t[0]);
    free(bytes);
}

/* ---- cancels -------------------------------------------------------------------------------- */

SCENARIO_FOR(relay_is_cancelled_while_nothing_moves, STREAM | TASKS)
{
    struct line l = connect_line(rig);
    struct rig_thread *t = rig_go(rig, relay, &l);
    rig_until_asleep(t);
    rig_cancel(t);
    rig_join(t);
    expect_result(&l, -ECANCELED, 0, 0);
    expect_moved(&l, 0, 0);
    check_the_line(rig, &l);
}

SCENARIO_FOR(relay_is_cancelled_in_the_middle, STREAM | TASKS)
{
    struct line l = connect_line(rig);
    struct flood f = {.s = l.x};
    struct rig_thread *t[2] = {rig_go(rig, flood, &f), rig_go(rig, relay, &l)};
    rig_until_asleep(t[0]);
    rig_until_asleep(t[1]);
    while (rig_random(rig) % 4)
        rig_give_way();
    rig_cancel(t[1]);
    rig_join(t[1]);
    expect_result(&l, -ECANCELED, 0, 0);
    if (l.result.a_to_b)
        check_account(rig, &l);
    weir_abort(l.x);
    rig_join(t[0]);
}

/* ---- what it is for ------------------------------------------------------------------------- */

SCENARIO_FOR(relay_with_wrong_arguments, STREAM)
{
    struct line l = connect_line(rig);
    weir_relay_options unknown = {.size = 1};
    memset(&l.result, 1, sizeof l.result);
    EXPECT(weir_relay(NULL, l.b, NULL, &l.result), -EINVAL);
    expect_moved(&l, 0, 0);
    EXPECT(weir_relay(l.a, NULL, NULL, NULL), -EINVAL);
    EXPECT(weir_relay(l.a, l.a, NULL, NULL), -EINVAL);
    EXPECT(weir_relay(l.a, l.b, &unknown, NULL), -EINVAL);
    EXPECT(weir_set_blocking(l.b, false), 0);
    EXPECT(weir_relay(l.a, l.b, NULL, NULL), -EINVAL);
    EXPECT(weir_relay(l.b, l.a, NULL, NULL), -EINVAL);
    EXPECT(weir_set_blocking(l.b, true), 0);
    check_the_line(rig, &l);
}

SCENARIO_FOR(relay_is_for_streams, MESSAGES)
{
    weir_socket *a, *b, *pair[2];
    rig_pair(rig, &a, &b);
    EXPECT(weir_pair(pair, SOCK_STREAM), 0);
    EXPECT(weir_relay(a, pair[0], NULL, NULL), -EOPNOTSUPP);
    EXPECT(weir_relay(pair[0], a, NULL, NULL), -EOPNOTSUPP);
    EXPECT(weir_close(pair[0]), 0);
    EXPECT(weir_close(pair[1]), 0);
}
