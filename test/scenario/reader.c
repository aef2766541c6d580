/* Readers: messages come whole and answers go out, whatever carries them and however one waits. */
#include "support/rig.h"

#include <stdio.h>
#include <stdlib.h>

#define LARGE ((size_t)4 << 20)

/* Reads and writes to their ends, in the way of the row. */
#define READ(s, call)  RIG_DONE(rig, (s), WEIR_READABLE, (call))
#define WRITE(s, call) RIG_DONE(rig, (s), WEIR_WRITABLE, (call))

static weir_reader *reader_of(weir_socket *s)
{
    weir_reader *r;
    EXPECT(weir_reader_open(&r, s, NULL), 0);
    return r;
}

static void say(struct rig *rig, weir_socket *s, const char *text)
{
    size_t done = 0;
    EXPECT(rig_send_all(rig, s, text, strlen(text), &done), 0);
}

static bool is(weir_bytes b, const char *text)
{
    return b.len == strlen(text) && !memcmp(b.data, text, b.len);
}

static void expect_line(struct rig *rig, weir_reader *r, weir_socket *s, const char *text)
{
    weir_bytes line;
    EXPECT(READ(s, weir_read_line(r, &line)), 1);
    CHECK(is(line, text));
}

struct trickle {
    weir_socket *s;
    const char *text;
};

/* One byte at a time, each when the reader has gone back to sleep. */
static void trickle(struct rig *rig, void *arg)
{
    const struct trickle *t = arg;
    for (const char *at = t->text; *at; at++) {
        rig_until_starter_sleeps(rig);
        EXPECT(rig_send(rig, t->s, at, 1), 1);
    }
}

SCENARIO_FOR(reader_of_a_peer_that_trickles, STREAM)
{
    weir_socket *s;
    struct trickle peer = {.text = "line\r\n\n$key: value\r\n\r\nexact"};
    weir_bytes got;
    rig_pair(rig, &s, &peer.s);
    weir_reader *r = reader_of(s);
    struct rig_thread *t = rig_go(rig, trickle, &peer);
    expect_line(rig, r, s, "line");
    expect_line(rig, r, s, "");
    EXPECT(READ(s, weir_peek(r, 1, &got)), 1);
    CHECK(is(got, "$"));
    EXPECT(READ(s, weir_read_until(r, "\r\n\r\n", 4, &got)), 1);
    CHECK(is(got, "$key: value"));
    EXPECT(READ(s, weir_read_exact(r, 5, &got)), 1);
    CHECK(is(got, "exact"));
    rig_join(t);
    EXPECT(weir_reader_close(r), 0);
}

/* A limit that passes at any byte of a message takes none of them. */
SCENARIO_FOR(reader_goes_on_after_a_limit, STREAM)
{
    static const char text[] = "ab\r\n";
    weir_socket *s, *peer;
    weir_bytes got;
    rig_pair(rig, &s, &peer);
    weir_reader *r = reader_of(s);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        EXPECT(RIG_BRIEFLY(rig, s, WEIR_READABLE, weir_read_line(r, &got)), WEIR_EDEADLINE);
        EXPECT(weir_reader_buffered(r), i);
        EXPECT(rig_send(rig, peer, text + i, 1), 1);
    }
    expect_line(rig, r, s, "ab");
    EXPECT(weir_reader_close(r), 0);
}

struct reading {
    weir_socket *s;
    weir_reader *r;
    ssize_t rc;
};

static void read_a_line(struct rig *rig, void *arg)
{
    struct reading *x = arg;
    weir_bytes line;
    x->rc = READ(x->s, weir_read_line(x->r, &line));
}

/* Nor does a cancel. */
SCENARIO_FOR(reader_is_cancelled_between_any_two_bytes, STREAM | TASKS)
{
    static const char text[] = "ab\r\n";
    struct reading x;
    weir_socket *peer;
    rig_pair(rig, &x.s, &peer);
    x.r = reader_of(x.s);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        struct rig_thread *t = rig_go(rig, read_a_line, &x);
        rig_until_asleep(t);
        rig_cancel(t);
        rig_join(t);
        EXPECT(x.rc, -ECANCELED);
        EXPECT(weir_reader_buffered(x.r), i);
        EXPECT(rig_send(rig, peer, text + i, 1), 1);
    }
    expect_line(rig, x.r, x.s, "ab");
    EXPECT(weir_reader_close(x.r), 0);
}

/* ---- questions and answers ------------------------------------------------------------------ */

static void answer_questions(struct rig *rig, void *s)
{
    weir_reader *r = reader_of(s);
    weir_bytes line;
    ssize_t rc;
    while ((rc = READ(s, weir_read_line(r, &line))) > 0)
        EXPECT(WRITE(s, weir_writef(r, "re: %.*s\n", (int)line.len, line.data)), 0);
    EXPECT(rc, 0);
    EXPECT(WRITE(s, weir_flush(r)), 0);
    EXPECT(weir_reader_close(r), 0);
}

/* Nobody flushes, and nobody waits in vain: one by one, and sixteen at once. */
SCENARIO_FOR(readers_at_both_ends, STREAM)
{
    weir_socket *a, *b;
    char want[32];
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_go(rig, answer_questions, b);
    weir_reader *r = reader_of(a);
    for (int batch = 1; batch <= 16; batch += 15) {
        for (int round = 0; round < 4; round++) {
            for (int i = 0; i < batch; i++)
                EXPECT(WRITE(a, weir_writef(r, "%d/%d\r\n", round, i)), 0);
            for (int i = 0; i < batch; i++) {
                snprintf(want, sizeof want, "re: %d/%d", round, i);
                expect_line(rig, r, a, want);
            }
        }
    }
    EXPECT(rig_shutdown(rig, a), 0);
    rig_join(t);
    EXPECT(weir_reader_close(r), 0);
}

/* Pieces of all sizes, and a few that are larger than what is gathered. */
static size_t piece(size_t at)
{
    size_t len = at % 37 == 0 ? 100000 : 1 + at % 3000;
    return len < LARGE - at ? len : LARGE - at;
}

static void write_large(struct rig *rig, void *s)
{
    unsigned char *data = malloc(LARGE);
    CHECK(data != NULL);
    weir_reader *r = reader_of(s);
    rig_fill(data, LARGE, 5, 0);
    for (size_t at = 0, len; at < LARGE; at += len) {
        len = piece(at);
        EXPECT(WRITE(s, weir_write(r, data + at, len)), 0);
    }
    EXPECT(WRITE(s, weir_flush(r)), 0);
    EXPECT(weir_reader_close(r), 0);
    EXPECT(rig_shutdown(rig, s), 0);
    free(data);
}

SCENARIO_FOR(reader_writes_to_a_slow_peer, STREAM)
{
    weir_socket *a, *b;
    unsigned char *copy = malloc(LARGE);
    weir_bytes got;
    size_t at = 0;
    CHECK(copy != NULL);
    rig_pair(rig, &a, &b);
    weir_reader *r = reader_of(b);
    struct rig_thread *t = rig_go(rig, write_large, a);
    rig_until_asleep(t);
    while (at < LARGE / 2) {
        size_t len = 1 + rig_random(rig) % 40000;
        EXPECT(READ(b, weir_read_exact(r, len, &got)), 1);
        CHECK(got.len == len && rig_is_filled(got.data, len, 5, at));
        at += len;
    }
    size_t done = 0;
    EXPECT(READ(b, weir_read_into(r, copy, LARGE - at, &done)), 1);
    CHECK(done == LARGE - at && rig_is_filled(copy, done, 5, at));
    EXPECT(READ(b, weir_read_some(r, &got)), 0);
    rig_join(t);
    EXPECT(weir_reader_close(r), 0);
    free(copy);
}

/* ---- ends ----------------------------------------------------------------------------------- */

SCENARIO_FOR(reader_at_an_end_in_the_middle, STREAM)
{
    weir_socket *a, *b;
    weir_bytes got;
    rig_pair(rig, &a, &b);
    weir_reader *r = reader_of(b);
    say(rig, a, "whole\nhalf");
    EXPECT(rig_shutdown(rig, a), 0);
    expect_line(rig, r, b, "whole");
    for (int i = 0; i < 2; i++) {
        EXPECT(READ(b, weir_read_line(r, &got)), WEIR_EEND);
        CHECK(is(got, "half"));
    }
    EXPECT(READ(b, weir_read_some(r, &got)), 1);
    CHECK(is(got, "half"));
    EXPECT(READ(b, weir_read_line(r, &got)), 0);
    EXPECT(WRITE(b, weir_write(r, "still\n", 6)), 0); /* the other direction is as it was */
    EXPECT(WRITE(b, weir_reader_close(r)), 0);
    char buf[6];
    size_t done = 0;
    EXPECT(rig_recv_exact(rig, a, buf, sizeof buf, &done), 0);
    CHECK(!memcmp(buf, "still\n", 6));
}

/* What came before a reset is read first, whole messages and the part of one. */
SCENARIO_FOR(reader_before_a_reset, STREAM)
{
    weir_socket *s, *peer;
    weir_bytes got;
    rig_pair(rig, &s, &peer);
    weir_reader *r = reader_of(s);
    say(rig, peer, "one\ntwo\nhal");
    rig_reset(rig, s, peer);
    expect_line(rig, r, s, "one");
    expect_line(rig, r, s, "two");
    EXPECT(READ(s, weir_read_line(r, &got)), -ECONNRESET);
    EXPECT(WRITE(s, weir_write(r, "answer", 6)), 0); /* gathered only */
    EXPECT(READ(s, weir_read_line(r, &got)), -ECONNRESET);
    EXPECT(READ(s, weir_read_some(r, &got)), 1);
    CHECK(is(got, "hal"));
    EXPECT(READ(s, weir_read_some(r, &got)), -ECONNRESET);
    EXPECT(WRITE(s, weir_flush(r)), -ECONNRESET);
    EXPECT(WRITE(s, weir_write(r, "answer", 6)), -ECONNRESET);
    EXPECT(weir_reader_close(r), -ECONNRESET);
}

static void abort_it(struct rig *rig, void *s)
{
    (void)rig;
    EXPECT(weir_abort(s), 0);
}

SCENARIO_FOR(abort_ends_a_read, STREAM)
{
    weir_socket *s, *peer;
    weir_bytes got;
    rig_pair(rig, &s, &peer);
    weir_reader *r = reader_of(s);
    say(rig, peer, "one\nhal");
    expect_line(rig, r, s, "one");
    struct rig_thread *t = rig_when_asleep(rig, abort_it, s);
    EXPECT(READ(s, weir_read_line(r, &got)), WEIR_ECLOSED);
    rig_join(t);
    EXPECT(weir_read_line(r, &got), WEIR_ECLOSED);
    EXPECT(weir_reader_buffered(r), 3);
    EXPECT(weir_write(r, "x", 1), 0);
    EXPECT(weir_flush(r), WEIR_ECLOSED);
    EXPECT(weir_reader_close(r), WEIR_ECLOSED);
}

SCENARIO_FOR(abort_ends_a_write, STREAM)
{
    weir_socket *a, *b;
    char *data = calloc(1, 2 * LARGE);
    CHECK(data != NULL);
    rig_pair(rig, &a, &b);
    weir_reader *r = reader_of(a);
    struct rig_thread *t = rig_when_asleep(rig, abort_it, a);
    EXPECT(WRITE(a, weir_write(r, data, 2 * LARGE)), 0); /* a part has gone */
    EXPECT(WRITE(a, weir_flush(r)), WEIR_ECLOSED);
    rig_join(t);
    EXPECT(weir_reader_close(r), WEIR_ECLOSED);
    free(data);
}

SCENARIO_FOR(readers_are_for_streams, MESSAGES)
{
    weir_socket *a, *b;
    weir_reader *r = NULL;
    rig_pair(rig, &a, &b);
    EXPECT(weir_reader_open(&r, a, NULL), -EOPNOTSUPP);
    CHECK(r == NULL);
}
