/* Both directions at once, in pieces of every size, with calls that end in the middle: each byte
 * arrives once, in its place. */
#include "support/rig.h"

#include <stdlib.h>

#define AMOUNT ((size_t)2 << 20)
#define PIECE  ((size_t)100000)
#define LAST   ((size_t)60000)

/* ---- a writer and a reader at once ---------------------------------------------------------- */

struct direction {
    weir_socket *from, *to;
    unsigned key;
    size_t amount;
};

static size_t piece_of(struct rig *rig, size_t left)
{
    /* Small ones as often as large ones. */
    size_t most = (size_t)1 << rig_random(rig) % 17;
    size_t len = 1 + rig_random(rig) % most;
    return len < left ? len : left;
}

static void write_all(struct rig *rig, void *arg)
{
    const struct direction *d = arg;
    unsigned char *piece = malloc(PIECE);
    CHECK(piece != NULL);
    for (size_t sent = 0; sent < d->amount;) {
        size_t len = piece_of(rig, d->amount - sent);
        rig_fill(piece, len, d->key, sent);
        ssize_t n = rig_send(rig, d->from, piece, len);
        CHECK(n > 0 && (size_t)n <= len);
        sent += (size_t)n;
    }
    EXPECT(rig_shutdown(rig, d->from), 0);
    free(piece);
}

static void read_all(struct rig *rig, void *arg)
{
    const struct direction *d = arg;
    unsigned char *piece = malloc(PIECE);
    size_t got = 0;
    ssize_t n;
    CHECK(piece != NULL);
    while ((n = rig_recv(rig, d->to, piece, 1 + rig_random(rig) % PIECE)) > 0) {
        CHECK(rig_is_filled(piece, (size_t)n, d->key, got));
        got += (size_t)n;
    }
    EXPECT(n, 0);
    EXPECT((long long)got, (long long)d->amount);
    free(piece);
}

SCENARIO_FOR(both_directions_at_once, STREAM)
{
    weir_socket *a, *b;
    struct rig_thread *t[4];
    rig_pair(rig, &a, &b);
    struct direction there = {a, b, 1, AMOUNT}, back = {b, a, 2, AMOUNT};
    t[0] = rig_go(rig, write_all, &there);
    t[1] = rig_go(rig, write_all, &back);
    t[2] = rig_go(rig, read_all, &there);
    t[3] = rig_go(rig, read_all, &back);
    for (int i = 0; i < 4; i++)
        rig_join(t[i]);
}

/* One end does nothing but answer what comes, in the thread that reads; so both get stuck unless
 * the other one really reads while it writes. */
static void echo(struct rig *rig, void *arg)
{
    unsigned char *piece = malloc(PIECE);
    ssize_t n;
    CHECK(piece != NULL);
    while ((n = rig_recv(rig, arg, piece, PIECE)) > 0) {
        size_t done = 0;
        EXPECT(rig_send_all(rig, arg, piece, (size_t)n, &done), 0);
    }
    EXPECT(n, 0);
    EXPECT(rig_shutdown(rig, arg), 0);
    free(piece);
}

SCENARIO_FOR(echo_of_more_than_there_is_room_for, STREAM)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    struct direction d = {a, a, 3, 2 * AMOUNT};
    struct rig_thread *peer = rig_go(rig, echo, b), *writer = rig_go(rig, write_all, &d);
    read_all(rig, &d);
    rig_join(writer);
    rig_join(peer);
}

struct single_bytes {
    weir_socket *s;
    size_t count;
};

static void write_single_bytes(struct rig *rig, void *arg)
{
    const struct single_bytes *b = arg;
    for (size_t i = 0; i < b->count; i++) {
        unsigned char byte;
        rig_fill(&byte, 1, 4, i);
        EXPECT(rig_send(rig, b->s, &byte, 1), 1);
    }
}

SCENARIO_FOR(one_byte_at_a_time, STREAM)
{
    weir_socket *a;
    struct single_bytes single = {.count = 5000};
    rig_pair(rig, &a, &single.s);
    struct rig_thread *t = rig_go(rig, write_single_bytes, &single);
    for (size_t i = 0; i < single.count; i++) {
        unsigned char byte;
        EXPECT(rig_recv(rig, a, &byte, 1), 1);
        CHECK(rig_is_filled(&byte, 1, 4, i));
    }
    rig_join(t);
}

/* ---- sends that would block ----------------------------------------------------------------- */

/* Whatever call it is: up to `len` bytes. */
static ssize_t send_somehow(struct rig *rig, weir_socket *s, unsigned char *bytes, size_t len)
{
    size_t first = rig_random(rig) % (len + 1), done = 0;
    int rc;
    struct iovec vectors[] = {{bytes, first}, {NULL, 0}, {bytes + first, len - first}};
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 3};
    switch (rig_random(rig) % 3) {
    case 0:
        return weir_send(s, bytes, len);
    case 1:
        return weir_sendmsg(s, &message, MSG_DONTWAIT);
    default:
        rc = weir_send_all(s, bytes, len, &done);
        EXPECT(rc, done == len ? 0 : -EAGAIN);
        return done ? (ssize_t)done : -EAGAIN;
    }
}

static ssize_t recv_somehow(struct rig *rig, weir_socket *s, unsigned char *bytes, size_t len)
{
    struct iovec vector = {bytes, len};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    switch (rig_random(rig) % 3) {
    case 0:
        return weir_recv(s, bytes, len);
    case 1:
        return weir_recvmsg(s, &message, MSG_DONTWAIT);
    default: {
        ssize_t n = weir_recvmsg(s, &message, MSG_DONTWAIT | MSG_PEEK);
        return n > 0 ? weir_recv(s, bytes, (size_t)n) : n;
    }
    }
}

/* Little room, so that nearly every send ends in the middle of something. What has been sent goes
 * out by the poller alone when the program has nothing more to say. */
SCENARIO_FOR(sends_that_would_block_neither_repeat_nor_lose, STREAM)
{
    static const int room = 8192;
    unsigned char *piece = malloc(PIECE);
    size_t sent = 0, got = 0, amount = AMOUNT / 4;
    weir_socket *a, *b;
    weir_poller *p;
    weir_event event;
    CHECK(piece != NULL);
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_option(a, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    EXPECT(weir_set_blocking(a, false), 0);
    EXPECT(weir_set_blocking(b, false), 0);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_WRITABLE, NULL), 0);
    EXPECT(weir_poller_add(p, b, WEIR_READABLE, NULL), 0);
    while (got < amount) {
        ssize_t n = weir_poller_wait(p, &event, 1, -1);
        CHECK(n == 1);
        if (event.socket == a) {
            size_t left = amount - sent, len = left > LAST ? piece_of(rig, left - LAST) : left;
            rig_fill(piece, len, 5, sent);
            n = send_somehow(rig, a, piece, len);
            CHECK((n > 0 && (size_t)n <= len) || n == -EAGAIN);
            sent += n > 0 ? (size_t)n : 0;
            if (sent == amount)
                EXPECT(weir_poller_modify(p, a, 0, NULL), 0);
        } else {
            n = recv_somehow(rig, b, piece, 1 + rig_random(rig) % PIECE);
            CHECK(n > 0 || n == -EAGAIN);
            CHECK(n < 0 || rig_is_filled(piece, (size_t)n, 5, got));
            got += n > 0 ? (size_t)n : 0;
        }
    }
    EXPECT((long long)got, (long long)sent);
    EXPECT(weir_recv(b, piece, 1), -EAGAIN);
    EXPECT(weir_poller_close(p), 0);
    free(piece);
}

/* ---- sends that are cancelled --------------------------------------------------------------- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

struct partly {
    weir_socket *s;
    unsigned char *data;
    size_t done;
};

static void sends_or_is_cancelled(struct rig *rig, void *arg)
{
    struct partly *p = arg;
    int rc = rig_send_all(rig, p->s, p->data, AMOUNT, &p->done);
    EXPECT(rc, p->done == AMOUNT ? 0 : -ECANCELED);
}

/* Again and again, and what is left goes on after that. */
SCENARIO_FOR(cancel_in_the_middle_of_sends, STREAM | TASKS)
{
    struct partly p = {.data = malloc(AMOUNT)};
    unsigned char *copy = malloc(AMOUNT), byte;
    weir_socket *b;
    size_t got = 0;
    CHECK(p.data && copy);
    rig_fill(p.data, AMOUNT, 6, 0);
    rig_pair(rig, &p.s, &b);
    while (got < AMOUNT) {
        struct rig_thread *t = rig_go(rig, sends_or_is_cancelled, &p);
        rig_until_asleep(t);
        /* While it waits, some is taken, so that it goes on or not. */
        ssize_t n = rig_recv(rig, b, copy + got, least(AMOUNT - got, 1 + rig_random(rig) % PIECE));
        CHECK(n > 0);
        got += (size_t)n;
        rig_cancel(t);
        rig_join(t);
        t = rig_push(rig, p.s);
        EXPECT(rig_recv_exact(rig, b, copy, p.done, &got), 0);
        rig_join(t);
    }
    CHECK(rig_is_filled(copy, AMOUNT, 6, 0));
    EXPECT(rig_send(rig, p.s, "x", 1), 1);
    EXPECT(rig_recv(rig, b, &byte, 1), 1);
    CHECK(byte == 'x');
    free(p.data);
    free(copy);
}

/* ---- readiness ------------------------------------------------------------------------------ */

/* They came together and are taken one by one: what is left over counts, wherever it is kept. */
SCENARIO_FOR(bytes_left_over_are_readable, STREAM)
{
    weir_socket *a, *b;
    weir_poller *p, *late;
    weir_event event;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, NULL), 0);
    EXPECT(rig_send(rig, b, "0123456789", 10), 10);
    for (char i = '0'; i <= '9'; i++) {
        EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
        CHECK(event.socket == a && event.events == WEIR_READABLE);
        EXPECT(weir_wait(a, WEIR_READABLE), WEIR_READABLE);
        EXPECT(weir_poller_open(&late), 0);
        EXPECT(weir_poller_add(late, a, WEIR_READABLE | WEIR_WRITABLE, NULL), 0);
        EXPECT(weir_poller_wait(late, &event, 1, -1), 1);
        CHECK(event.events == (WEIR_READABLE | WEIR_WRITABLE));
        EXPECT(weir_poller_close(late), 0);
        EXPECT(rig_recv(rig, a, &byte, 1), 1);
        CHECK(byte == i);
    }
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(weir_poller_close(p), 0);
}

/* What a poller calls writable takes a byte at least. Until there is nothing to be written any
 * more: TCP may make room once more when its acknowledgements have come. Returns the others. */
static unsigned write_as_told(weir_poller *p, weir_socket *s)
{
    static char block[1 << 16];
    weir_event event;
    while (weir_poller_wait(p, &event, 1, RIG_MOMENT_MS) == 1) {
        if (!(event.events & WEIR_WRITABLE))
            return event.events;
        CHECK(weir_send(s, block, sizeof block) > 0);
        while (weir_send(s, block, sizeof block) > 0)
            ;
    }
    return 0;
}

SCENARIO_FOR(full_is_not_writable_but_readable, STREAM)
{
    weir_socket *a, *b;
    weir_poller *p;
    char byte;
    unsigned other;
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_blocking(a, false), 0);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE | WEIR_WRITABLE, NULL), 0);
    EXPECT(write_as_told(p, a), 0);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    while (!(other = write_as_told(p, a)))
        ;
    EXPECT(other, WEIR_READABLE);
    EXPECT(weir_recv(a, &byte, 1), 1);
    EXPECT(write_as_told(p, a), 0);
    EXPECT(weir_poller_close(p), 0);
}
