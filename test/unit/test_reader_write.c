/* Writing through a reader: in one piece where it can be, all of a message or none of it, and never
 * left lying while the reader waits. */
#include "reader.h"
#include "support/ground.h"
#include "sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

static weir_reader *reader_of(weir_socket *s, size_t gather)
{
    weir_reader *r;
    EXPECT(weir_reader_open(&r, s, WEIR_READER_OPTIONS(.gather = gather)), 0);
    return r;
}

static void say(weir_socket *s, const char *text)
{
    size_t done = 0;
    EXPECT(weir_send_all(s, text, strlen(text), &done), 0);
}

static void hear(weir_socket *s, const char *text)
{
    char buf[1000];
    size_t done = 0;
    EXPECT(weir_recv_exact(s, buf, strlen(text), &done), 0);
    CHECK(memcmp(buf, text, done) == 0);
}

static void expect_line(weir_reader *r, const char *text)
{
    weir_bytes line;
    EXPECT(weir_read_line(r, &line), 1);
    CHECK(line.len == strlen(text) && memcmp(line.data, text, line.len) == 0);
}

/* The n-th byte of everything that is written. */
static char nth(size_t i)
{
    return (char)(i * 31 + i / 256);
}

static void fill(char *bytes, size_t len, size_t at)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = nth(at + i);
}

/* Takes all that is there, which has to go on at `at`. */
static size_t drain(weir_socket *s, size_t at)
{
    static char bytes[65536];
    size_t got = 0;
    ssize_t n;
    EXPECT(weir_set_blocking(s, false), 0);
    while ((n = weir_recv(s, bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            CHECK(bytes[i] == nth(at + got + (size_t)i));
        got += (size_t)n;
    }
    CHECK(n == -EAGAIN || n == 0);
    EXPECT(weir_set_blocking(s, true), 0);
    return got;
}

/* ---- when it goes out ----------------------------------------------------------------------- */

static _Atomic int sends;

static int count_sends(enum sys_call call)
{
    sends += call == SYS_SEND;
    return 0;
}

static const struct sys_faults counted = {.error = count_sends};

/* Sixteen questions at once are answered by one send, as soon as there is no seventeenth. */
static void answers_go_out_together_before_a_look_for_more(void)
{
    weir_socket *pair[2];
    weir_bytes got;
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    EXPECT(weir_set_blocking(pair[0], false), 0);
    for (int i = 0; i < 16; i++)
        say(pair[1], "question\r\n");
    sends = 0;
    sys_faults = &counted;
    for (int i = 0; i < 16; i++) {
        expect_line(r, "question");
        EXPECT(i % 2 ? weir_write(r, "answer\n", 7) : weir_writef(r, "%s\n", "answer"), 0);
    }
    EXPECT(sends, 0);
    EXPECT(weir_read_line(r, &got), -EAGAIN);
    EXPECT(sends, 1);
    EXPECT(weir_reader_wants(r), WEIR_READABLE);
    EXPECT(weir_peek(r, 1, &got), -EAGAIN);
    EXPECT(sends, 1);
    sys_faults = NULL;
    for (int i = 0; i < 16; i++)
        hear(pair[1], "answer\n");
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

static int reads_a_line(void *r)
{
    weir_bytes line;
    return weir_read_line(r, &line);
}

static int reads_into(void *r)
{
    char byte;
    size_t done = 0;
    return weir_read_into(r, &byte, 1, &done);
}

/* Nobody waits for an answer that lies in a buffer, whichever way its writer reads. */
static void what_was_written_is_there_while_the_writer_waits(void)
{
    static int (*const reads[])(void *) = {reads_a_line, reads_into};
    weir_socket *pair[2];
    struct other other;
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    weir_group *g = group_open();
    for (size_t i = 0; i < 2; i++) {
        EXPECT(weir_write(r, "answer\n", 7), 0);
        other_go(&other, g, reads[i], r);
        hear(pair[1], "answer\n");
        say(pair[1], "\n");
        EXPECT(weir_group_wait(g, NULL), 0);
        EXPECT(other.rc, 1);
    }
    EXPECT(weir_group_close(g), 0);
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

static void closing_sends_what_is_left(void)
{
    weir_socket *pair[2];
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    EXPECT(weir_write(r, "goodbye", 7), 0);
    EXPECT(weir_flush(r), 0);
    EXPECT(weir_flush(r), 0);
    hear(pair[1], "goodbye");
    EXPECT(weir_write(r, "really", 6), 0);
    EXPECT(weir_reader_close(r), 0);
    hear(pair[1], "really");
    EXPECT(weir_set_blocking(pair[1], false), 0);
    EXPECT(weir_recv(pair[1], (char[1]){0}, 1), -EAGAIN);
    pair_close(pair);
}

/* ---- how much ------------------------------------------------------------------------------- */

static size_t a_few(enum sys_call call, size_t len)
{
    static _Atomic size_t turn;
    size_t most = 1 + (turn += 7919) % 3000;
    return call == SYS_SEND && len > most ? most : len;
}

/* Writes of every size around that of the buffer, into a kernel that takes them in pieces. */
static void all_of_it_goes_out_in_order(void)
{
    static const struct sys_faults faults = {.amount = a_few};
    static const size_t gathers[] = {1, 10, 100, BUFFER_FIRST, BUFFER_FIRST + 1, 0};
    static char bytes[70000];
    for (size_t i = 0; i < sizeof gathers / sizeof *gathers; i++) {
        size_t at = 0, got = 0, len = 0;
        weir_socket *pair[2];
        stream_pair(pair);
        weir_reader *r = reader_of(pair[0], gathers[i]);
        sys_faults = &faults;
        for (int k = 0; k < 300; k++) {
            len = (len * 13 + (size_t)k) % (gathers[i] + 50) + (k % 40 == 0 ? 20000 : 0);
            fill(bytes, len, at);
            EXPECT(weir_write(r, bytes, len), 0);
            CHECK(buffer_used(&r->out) <= r->gather);
            at += len;
            got += drain(pair[1], got);
        }
        EXPECT(weir_flush(r), 0);
        sys_faults = NULL;
        got += drain(pair[1], got);
        CHECK(got == at);
        EXPECT(weir_reader_close(r), 0);
        pair_close(pair);
    }
}

/* Non-blocking, with a peer that reads now and then: what was refused is written again, and nothing
 * else has to be. */
static void a_refused_write_has_taken_nothing(void)
{
    static char bytes[500000];
    static const size_t lens[] = {10, 5000, 100, 30000, 1, 500000};
    size_t at = 0, got = 0, refused = 0;
    weir_socket *pair[2];
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 8000);
    EXPECT(weir_set_blocking(pair[0], false), 0);
    for (unsigned k = 0; k < 600; k++) {
        size_t len = lens[k % (sizeof lens / sizeof *lens)];
        int rc;
        fill(bytes, len, at);
        while ((rc = weir_write(r, bytes, len)) == -EAGAIN) {
            EXPECT(weir_reader_wants(r), WEIR_WRITABLE);
            size_t n = drain(pair[1], got);
            CHECK(n > 0);
            got += n;
            refused++;
        }
        EXPECT(rc, 0);
        at += len;
    }
    CHECK(refused > 10);
    int rc;
    while ((rc = weir_flush(r)) == -EAGAIN) {
        EXPECT(weir_reader_wants(r), WEIR_WRITABLE);
        got += drain(pair[1], got);
    }
    EXPECT(rc, 0);
    EXPECT(weir_reader_wants(r), WEIR_READABLE);
    got += drain(pair[1], got);
    CHECK(got == at);
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

static _Atomic int sends_left;

static int room_for_some(enum sys_call call)
{
    return call == SYS_SEND && sends_left-- <= 0 ? -EAGAIN : 0;
}

static size_t at_most_3000(enum sys_call call, size_t len)
{
    return call == SYS_SEND && len > 3000 ? 3000 : len;
}

static const struct sys_faults nearly_full = {.error = room_for_some, .amount = at_most_3000};

/* What is gathered need not go out as a whole for there to be room; and with nothing gathered it is
 * the kernel's room that is waited for. */
static void room_is_what_counts(void)
{
    static char bytes[10000];
    weir_socket *pair[2];
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 8000);
    EXPECT(weir_set_blocking(pair[0], false), 0);
    fill(bytes, sizeof bytes, 0);
    sends_left = 0;
    sys_faults = &nearly_full;
    EXPECT(weir_write(r, bytes, sizeof bytes), -EAGAIN);
    EXPECT(weir_reader_wants(r), WEIR_WRITABLE);
    EXPECT(weir_write(r, bytes, 6000), 0);
    sends_left = 1;
    EXPECT(weir_write(r, bytes + 6000, 4000), 0);
    sys_faults = NULL;
    EXPECT(weir_reader_close(r), 0);
    CHECK(drain(pair[1], 0) == sizeof bytes);
    pair_close(pair);
}

/* What can never be sent is not waited for, or reading would not wait at all. */
static void a_peer_that_takes_no_more_is_read_from(void)
{
    weir_socket *pair[2];
    weir_bytes line;
    char buf[8];
    size_t done = 0;
    stream_pair(pair);
    EXPECT(weir_shutdown(pair[1], SHUT_RD), 0);
    weir_reader *r = reader_of(pair[0], 0);
    EXPECT(weir_set_blocking(pair[0], false), 0);
    EXPECT(weir_write(r, "hello", 5), 0);
    EXPECT(weir_read_line(r, &line), -EAGAIN);
    EXPECT(weir_reader_wants(r), WEIR_READABLE);
    EXPECT(weir_read_into(r, buf, sizeof buf, &done), -EAGAIN);
    EXPECT(weir_reader_wants(r), WEIR_READABLE);
    say(pair[1], "still here\n");
    EXPECT(weir_wait(pair[0], (unsigned)weir_reader_wants(r)), WEIR_READABLE);
    expect_line(r, "still here");
    EXPECT(weir_flush(r), -EPIPE);
    EXPECT(weir_reader_close(r), -EPIPE);
    pair_close(pair);
}

/* And whoever cannot send goes on reading, and waits for both; what waits does not pile up. */
static void a_peer_that_does_not_read_is_read_from(void)
{
    static char bytes[4000];
    weir_socket *pair[2];
    weir_bytes line;
    size_t at = 0;
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    EXPECT(weir_set_blocking(pair[0], false), 0);
    for (int rc = 0; rc == 0; at += rc == 0 ? sizeof bytes : 0) {
        fill(bytes, sizeof bytes, at);
        rc = weir_write(r, bytes, sizeof bytes);
        EXPECT(rc, rc == 0 ? 0 : -EAGAIN);
    }
    CHECK(r->out.room <= 16384);
    EXPECT(weir_read_line(r, &line), -EAGAIN);
    EXPECT(weir_reader_wants(r), WEIR_READABLE | WEIR_WRITABLE);
    say(pair[1], "still here\n");
    expect_line(r, "still here");
    size_t got = drain(pair[1], 0);
    EXPECT(weir_wait(pair[0], (unsigned)weir_reader_wants(r)), WEIR_WRITABLE);
    EXPECT(weir_read_line(r, &line), -EAGAIN); /* which sends the rest */
    EXPECT(weir_reader_wants(r), WEIR_READABLE);
    got += drain(pair[1], got);
    CHECK(got == at);
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

/* ---- what fails ----------------------------------------------------------------------------- */

struct write {
    weir_reader *r;
    char *bytes;
    size_t len;
};

static int writes(void *arg)
{
    const struct write *w = arg;
    return weir_write(w->r, w->bytes, w->len);
}

/* A large message of which a part has gone when the writer is cancelled is not cut: it was taken,
 * and the cancel is told by the next call. */
static void a_write_that_was_cancelled_is_whole_or_not_at_all(void)
{
    struct write large = {.len = 3 << 20}, small = {.len = 100};
    weir_socket *pair[2];
    struct other other;
    size_t got = 0;
    stream_pair(pair);
    large.r = small.r = reader_of(pair[0], 0);
    large.bytes = malloc(large.len);
    small.bytes = malloc(small.len);
    fill(large.bytes, large.len, 0);
    fill(small.bytes, small.len, large.len);
    weir_group *g = group_open();
    other_go(&other, g, writes, &large);
    other_until_asleep(&other);
    EXPECT(weir_group_cancel(g), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(other.rc, 0);
    other_go(&other, g, writes, &small); /* in the group that was cancelled */
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(other.rc, -ECANCELED);
    EXPECT(weir_group_close(g), 0);
    g = group_open();
    other_go(&other, g, writes, &small);
    while (got < large.len)
        got += drain(pair[1], got), weir_yield();
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(other.rc, 0);
    EXPECT(weir_flush(small.r), 0);
    CHECK(got + drain(pair[1], got) == large.len + small.len);
    EXPECT(weir_group_close(g), 0);
    EXPECT(weir_reader_close(small.r), 0);
    pair_close(pair);
    free(large.bytes);
    free(small.bytes);
}

/* The time-out is that of the call, not of each part of it: what is gathered, then what is read. */
static void limits_leave_what_is_gathered(void)
{
    static char bytes[10000];
    weir_socket *pair[2];
    weir_bytes line;
    size_t at = 0, done = 0;
    char byte;
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    EXPECT(weir_set_timeout(pair[0], MOMENT_MS), 0);
    for (int rc = 0; rc == 0; at += rc == 0 ? sizeof bytes : 0) {
        fill(bytes, sizeof bytes, at);
        rc = weir_write(r, bytes, sizeof bytes);
        EXPECT(rc, rc == 0 ? 0 : WEIR_EDEADLINE);
    }
    say(pair[1], "said\n");
    EXPECT(weir_read_line(r, &line), WEIR_EDEADLINE);
    EXPECT(weir_read_into(r, &byte, 1, &done), WEIR_EDEADLINE);
    EXPECT(weir_time_left(), -1);
    EXPECT(weir_write(r, bytes, 1), WEIR_EDEADLINE);
    EXPECT(weir_writef(r, "more"), WEIR_EDEADLINE);
    size_t got = drain(pair[1], 0);
    expect_line(r, "said");
    got += drain(pair[1], got);
    CHECK(got == at);
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

/* A peer that has left has perhaps said something before. That nothing reaches it any more is told
 * by the calls that write. */
static void what_cannot_be_sent_does_not_end_the_reading(void)
{
    weir_socket *pair[2];
    weir_bytes line;
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    say(pair[1], "one\n");
    expect_line(r, "one");
    say(pair[1], "two\nthree\n");
    EXPECT(weir_close(pair[1]), 0);
    EXPECT(weir_write(r, "answer", 6), 0);
    expect_line(r, "two");
    EXPECT(weir_write(r, "answer", 6), -EPIPE);
    EXPECT(weir_writef(r, "answer"), -EPIPE);
    expect_line(r, "three");
    EXPECT(weir_read_line(r, &line), 0);
    EXPECT(weir_flush(r), -EPIPE);
    EXPECT(weir_reader_close(r), -EPIPE);
    EXPECT(weir_close(pair[0]), 0);
}

static _Atomic int allocations_left;

static int memory_runs_out(enum sys_call call)
{
    return call == SYS_ALLOC && allocations_left-- <= 0 ? -ENOMEM : 0;
}

static const struct sys_faults short_of_memory = {.error = memory_runs_out};

/* Without memory a write takes nothing, also one that would be sent at once: a part of it would
 * have nowhere to stay. */
static void without_memory_nothing_is_written(void)
{
    static const size_t lens[] = {1, 5000, 40000};
    static char bytes[40000];
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        for (int granted = 0; granted < 2; granted++) {
            size_t at = 0;
            weir_socket *pair[2];
            stream_pair(pair);
            weir_reader *r = reader_of(pair[0], 0);
            for (int k = 0; k < 2; k++) {
                fill(bytes, lens[i], at);
                allocations_left = granted;
                sys_faults = &short_of_memory;
                int rc = weir_write(r, bytes, lens[i]);
                sys_faults = NULL;
                CHECK(rc == 0 || rc == -ENOMEM);
                CHECK(k > 0 || rc == (granted == 0 ? -ENOMEM : 0));
                if (rc < 0)
                    EXPECT(weir_write(r, bytes, lens[i]), 0);
                at += lens[i];
            }
            allocations_left = 0;
            sys_faults = &short_of_memory;
            EXPECT(weir_writef(r, "%20000d", 1), -ENOMEM);
            sys_faults = NULL;
            EXPECT(weir_reader_close(r), 0);
            CHECK(drain(pair[1], 0) == at);
            pair_close(pair);
        }
    }
}

/* ---- text ----------------------------------------------------------------------------------- */

/* Of any length: behind what there is, across the end of the buffer, larger than that. */
static void text_is_written_whole(void)
{
    static const int widths[] = {1, 99, 100, 101, 4094, 4095, 4096, 4097, 16384, 16385, 50000};
    weir_socket *pair[2];
    char *want = malloc(200000), *got = malloc(200000);
    size_t at = 0, done = 0;
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    EXPECT(weir_writef(r, "%s", ""), 0);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            EXPECT(weir_writef(r, "%*zu", widths[i], i), 0);
            at += (size_t)sprintf(want + at, "%*zu", widths[i], i);
            if (i % 3 == 0) {
                EXPECT(weir_flush(r), 0);
                EXPECT(weir_recv_exact(pair[1], got, at, &done), 0);
            }
        }
    }
    EXPECT(weir_flush(r), 0);
    EXPECT(weir_recv_exact(pair[1], got, at, &done), 0);
    CHECK(memcmp(want, got, at) == 0);
    EXPECT(weir_writef(r, "%ls", (const wchar_t[]){0x12345678, 0}), -EILSEQ);
    EXPECT(weir_writef(r, "%100000d%ls", 1, (const wchar_t[]){0x12345678, 0}), -EILSEQ);
    EXPECT(weir_reader_close(r), 0);
    EXPECT(weir_set_blocking(pair[1], false), 0);
    EXPECT(weir_recv(pair[1], got, 1), -EAGAIN);
    pair_close(pair);
    free(want);
    free(got);
}

/* To the byte, with the zero that printf(3) adds; and what has gone out makes room again. */
static void text_just_fits(void)
{
    static char got[BUFFER_FIRST + 2];
    for (size_t width = BUFFER_FIRST - 2; width <= BUFFER_FIRST + 2; width++) {
        weir_socket *pair[2];
        stream_pair(pair);
        weir_reader *r = reader_of(pair[0], 0);
        for (int i = 0; i < 2; i++) {
            size_t done = 0;
            EXPECT(weir_writef(r, "%*s", (int)width, "!"), 0);
            EXPECT(weir_flush(r), 0);
            EXPECT(weir_recv_exact(pair[1], got, width, &done), 0);
            CHECK(got[width - 1] == '!' && got[width - 2] == ' ');
            allocations_left = 0;
            sys_faults = &short_of_memory;
            EXPECT(weir_writef(r, "%4000s", "!"), 0);
            EXPECT(weir_flush(r), 0);
            sys_faults = NULL;
            done = 0;
            EXPECT(weir_recv_exact(pair[1], got, 4000, &done), 0);
        }
        EXPECT(weir_reader_close(r), 0);
        pair_close(pair);
    }
}

static void wrong_arguments_are_refused(void)
{
    weir_socket *pair[2];
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    EXPECT(weir_write(NULL, "x", 1), -EINVAL);
    EXPECT(weir_write(r, NULL, 1), -EINVAL);
    EXPECT(weir_write(r, NULL, 0), 0);
    EXPECT(weir_writef(NULL, "%s", "x"), -EINVAL);
    EXPECT(weir_flush(NULL), -EINVAL);
    EXPECT(weir_flush(r), 0);
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(ONCE, answers_go_out_together_before_a_look_for_more),
        GROUND_TEST(EVERYWHERE, what_was_written_is_there_while_the_writer_waits),
        GROUND_TEST(EVERYWHERE, closing_sends_what_is_left),
        GROUND_TEST(EVERYWHERE, all_of_it_goes_out_in_order),
        GROUND_TEST(ONCE, a_refused_write_has_taken_nothing),
        GROUND_TEST(ONCE, room_is_what_counts),
        GROUND_TEST(ONCE, a_peer_that_does_not_read_is_read_from),
        GROUND_TEST(EVERYWHERE, a_peer_that_takes_no_more_is_read_from),
        GROUND_TEST(EVERYWHERE, a_write_that_was_cancelled_is_whole_or_not_at_all),
        GROUND_TEST(EVERYWHERE, limits_leave_what_is_gathered),
        GROUND_TEST(EVERYWHERE, what_cannot_be_sent_does_not_end_the_reading),
        GROUND_TEST(ONCE, without_memory_nothing_is_written),
        GROUND_TEST(ONCE, text_is_written_whole),
        GROUND_TEST(ONCE, text_just_fits),
        GROUND_TEST(ONCE, wrong_arguments_are_refused),
    };
    return ground_main(argc, argv, "reader_write", tests, sizeof tests / sizeof *tests);
}
