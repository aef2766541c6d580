/* Reading: every message whole, whatever pieces it comes in; nothing lost, nothing looked at
 * twice. */
#include "reader.h"
#include "support/ground.h"
#include "sys.h"

#include <stdlib.h>

static weir_reader *reader_of(weir_socket *s, size_t max)
{
    weir_reader *r;
    EXPECT(weir_reader_open(&r, s, WEIR_READER_OPTIONS(.max = max)), 0);
    return r;
}

static void say(weir_socket *s, const char *bytes, size_t len)
{
    size_t done = 0;
    EXPECT(weir_send_all(s, bytes, len, &done), 0);
}

static bool is(weir_bytes b, const char *text)
{
    return b.len == strlen(text) && memcmp(b.data, text, b.len) == 0;
}

static void expect_line(weir_reader *r, const char *text)
{
    weir_bytes line;
    EXPECT(weir_read_line(r, &line), 1);
    CHECK(is(line, text));
}

/* ---- pieces --------------------------------------------------------------------------------- */

/* Each byte on its own, "\r\n" too; and none is looked at again while a line is not there. */
static void lines_come_byte_by_byte(void)
{
    static const char text[] = "one\r\ntwo\n\r\n\n\rthree\r\r\n";
    static const char *const lines[] = {"one", "two", "", "", "\rthree\r"};
    size_t line = 0, in_line = 0;
    weir_socket *pair[2];
    weir_bytes got;
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    EXPECT(weir_set_blocking(pair[0], false), 0);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        say(pair[1], text + i, 1);
        in_line++;
        if (text[i] == '\n') {
            expect_line(r, lines[line++]);
            in_line = 0;
        }
        EXPECT(weir_read_line(r, &got), -EAGAIN);
        CHECK(weir_reader_buffered(r) == in_line && r->looked == in_line);
    }
    EXPECT(line, 5);
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

/* What begins like the delimiter and goes on otherwise does not hide one that begins in it; cut
 * anywhere. */
static void delimiters_are_found_across_any_cut(void)
{
    static const struct {
        const char *text, *delimiter, *before, *behind;
    } cases[] = {
        {"xaabc.", "aabc", "x", "."},
        {"aaabc.", "aabc", "a", "."},
        {"xababac", "abac", "xab", ""},
        {"body\r\n\r\nnext", "\r\n\r\n", "body", "next"},
        {"body\r\n\r\r\n\r\n", "\r\n\r\n", "body\r\n\r", ""},
        {"0123456789abcdef", "0123456789abcdef", "", ""},
        {"--", "--", "", ""},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        size_t len = strlen(cases[c].text), delimiter_len = strlen(cases[c].delimiter);
        for (size_t cut = 0; cut <= len; cut++) {
            weir_socket *pair[2];
            weir_bytes got;
            stream_pair(pair);
            weir_reader *r = reader_of(pair[0], 0);
            EXPECT(weir_set_blocking(pair[0], false), 0);
            say(pair[1], cases[c].text, cut);
            int rc = weir_read_until(r, cases[c].delimiter, delimiter_len, &got);
            if (rc == -EAGAIN) {
                CHECK(r->looked + delimiter_len > weir_reader_buffered(r));
                say(pair[1], cases[c].text + cut, len - cut);
                rc = weir_read_until(r, cases[c].delimiter, delimiter_len, &got);
            } else {
                say(pair[1], cases[c].text + cut, len - cut);
            }
            EXPECT(rc, 1);
            CHECK(is(got, cases[c].before));
            if (*cases[c].behind) {
                EXPECT(weir_read_exact(r, strlen(cases[c].behind), &got), 1);
                CHECK(is(got, cases[c].behind));
            }
            EXPECT(weir_read_some(r, &got), -EAGAIN);
            EXPECT(weir_reader_close(r), 0);
            pair_close(pair);
        }
    }
}

/* What was looked through for one thing was not looked through for another. */
static void another_delimiter_is_looked_for_from_the_beginning(void)
{
    weir_socket *pair[2];
    weir_bytes got;
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    EXPECT(weir_set_blocking(pair[0], false), 0);
    say(pair[1], "key: value;more", 15);
    EXPECT(weir_read_line(r, &got), -EAGAIN);
    EXPECT(weir_read_until(r, ": ", 2, &got), 1);
    CHECK(is(got, "key"));
    EXPECT(weir_read_line(r, &got), -EAGAIN);
    EXPECT(weir_read_until(r, ";", 1, &got), 1);
    CHECK(is(got, "value"));
    EXPECT(weir_read_until(r, "mo", 2, &got), 1);
    EXPECT(weir_read_line(r, &got), -EAGAIN);
    EXPECT(weir_read_exact(r, 1, &got), 1);
    say(pair[1], "\n", 1);
    expect_line(r, "e");
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

/* ---- sizes ---------------------------------------------------------------------------------- */

/* With its end a line may be `max` bytes long and not one more, whether it comes alone or with
 * others, however much the reader holds. */
static void a_line_is_max_bytes_long_at_most(void)
{
    static const size_t sizes[] = {2, 10, BUFFER_FIRST - 1, BUFFER_FIRST, BUFFER_FIRST + 1, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int carriage = 0; carriage < 2; carriage++) {
            size_t max = sizes[i];
            weir_socket *pair[2];
            weir_bytes got;
            char *text = malloc(2 * max + 8);
            stream_pair(pair);
            weir_reader *r = reader_of(pair[0], max);
            EXPECT(weir_set_blocking(pair[0], false), 0);
            memset(text, 'x', 2 * max + 8);
            text[max - 1] = text[2 * max] = '\n';
            if (carriage)
                text[max - 2] = '\r';
            say(pair[1], text, 2 * max + 8); /* a line of `max`, and one of a byte more */
            EXPECT(weir_read_line(r, &got), 1);
            CHECK(got.len == max - 1 - (size_t)carriage);
            EXPECT(weir_read_line(r, &got), -EMSGSIZE);
            CHECK(r->in.room <= (max > BUFFER_FIRST ? max : BUFFER_FIRST));
            EXPECT(weir_read_until(r, "\n", 1, &got), -EMSGSIZE);
            EXPECT(weir_read_line(r, &got), -EMSGSIZE);
            EXPECT(weir_read_exact(r, 1, &got), 1);
            EXPECT(weir_read_line(r, &got), 1); /* without its first byte it fits */
            CHECK(got.len == max - 1);
            EXPECT(weir_read_exact(r, 1, &got), 1);
            EXPECT(weir_reader_close(r), 0);
            pair_close(pair);
            free(text);
        }
    }
}

/* Functions for strings end within what is the reader's, however much of it has come. */
static void a_zero_byte_is_behind_what_has_come(void)
{
    static const size_t sizes[] = {2, BUFFER_FIRST - 1, BUFFER_FIRST, BUFFER_FIRST + 1, 20000};
    static char text[20000];
    memset(text, '1', sizeof text);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        weir_socket *pair[2];
        weir_bytes got;
        stream_pair(pair);
        weir_reader *r = reader_of(pair[0], sizes[i]);
        say(pair[1], text, sizes[i]);
        EXPECT(weir_peek(r, sizes[i], &got), 1);
        CHECK(strlen(got.data) == sizes[i]);
        EXPECT(weir_read_exact(r, (sizes[i] + 1) / 2, &got), 1);
        EXPECT(weir_shutdown(pair[1], SHUT_WR), 0);
        EXPECT(weir_read_exact(r, sizes[i], &got), WEIR_EEND);
        CHECK(strlen(got.data) == sizes[i] / 2);
        EXPECT(weir_reader_close(r), 0);
        pair_close(pair);
    }
}

static size_t a_few(enum sys_call call, size_t len)
{
    static _Atomic size_t turn;
    size_t most = 1 + (turn += 7919) % 700;
    return call == SYS_RECV && len > most ? most : len;
}

#define STREAM_LEN 200000

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 31 + i / 256);
}

static bool is_pattern(const void *data, size_t len, size_t at)
{
    for (size_t i = 0; i < len; i++)
        if (((const unsigned char *)data)[i] != pattern(at + i))
            return false;
    return true;
}

static int says_all(void *s)
{
    char *text = malloc(STREAM_LEN);
    size_t done = 0;
    for (size_t i = 0; i < STREAM_LEN; i++)
        text[i] = (char)pattern(i);
    EXPECT(weir_send_all(s, text, STREAM_LEN, &done), 0);
    free(text);
    return weir_shutdown(s, SHUT_WR);
}

/* Sizes of all kinds, in any order, are what comes, in its order. */
static void sizes_are_exact(void)
{
    static const struct sys_faults faults = {.amount = a_few};
    static char into[30000];
    weir_socket *pair[2];
    struct other other;
    size_t at = 0;
    weir_bytes got;
    stream_pair(pair);
    weir_group *g = group_open();
    weir_reader *r = reader_of(pair[0], 50000);
    other_go(&other, g, says_all, pair[1]);
    sys_faults = &faults;
    for (size_t len = 1; at + len <= STREAM_LEN; len = (len * 7 + 13) % 25000 + 1) {
        size_t done = 0;
        EXPECT(weir_peek(r, len, &got), 1);
        CHECK(got.len == len && is_pattern(got.data, len, at));
        if (len % 2) {
            EXPECT(weir_read_exact(r, len, &got), 1);
            CHECK(got.len == len && is_pattern(got.data, len, at));
        } else {
            EXPECT(weir_read_into(r, into, len, &done), 1);
            CHECK(done == len && is_pattern(into, len, at));
        }
        at += len;
        size_t more = len / 3 < STREAM_LEN - at ? len / 3 : STREAM_LEN - at;
        done = 0;
        EXPECT(weir_read_into(r, into, more, &done), 1);
        CHECK(done == more && is_pattern(into, more, at));
        at += more;
    }
    for (int rc; (rc = weir_read_some(r, &got)) != 0; at += got.len) {
        EXPECT(rc, 1);
        CHECK(is_pattern(got.data, got.len, at));
    }
    sys_faults = NULL;
    CHECK(at == STREAM_LEN);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

/* ---- views ---------------------------------------------------------------------------------- */

/* Until the next call that reads: not what is written, gathered or sent, the view itself among it,
 * and not what comes meanwhile. */
static void a_view_stays_while_answers_go_out(void)
{
    static const size_t sizes[] = {1, 100, BUFFER_FIRST - 1, BUFFER_FIRST, 20000};
    static char text[20002], answer[60000];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t len = sizes[i], done = 0;
        weir_socket *pair[2];
        weir_bytes line;
        stream_pair(pair);
        weir_reader *r = reader_of(pair[0], 0);
        for (size_t at = 0; at < len; at++)
            text[at] = (char)('a' + pattern(at) % 26);
        memcpy(text + len, "\n", 2);
        say(pair[1], text, len + 1);
        say(pair[1], "next\n", 5);
        EXPECT(weir_read_line(r, &line), 1);
        say(pair[1], "more\n", 5);
        EXPECT(weir_write(r, "begin", 5), 0);
        EXPECT(weir_flush(r), 0);
        CHECK(line.len == len && memcmp(line.data, text, len) == 0);
        EXPECT(weir_write(r, line.data, line.len), 0);
        EXPECT(weir_writef(r, "%.*s", (int)line.len, line.data), 0);
        EXPECT(weir_write(r, answer, 20000 - 5), 0); /* more than is gathered */
        CHECK(line.len == len && memcmp(line.data, text, len) == 0);
        EXPECT(weir_flush(r), 0);
        CHECK(line.len == len && memcmp(line.data, text, len) == 0);
        EXPECT(weir_recv_exact(pair[1], answer, 20000 + 2 * len, &done), 0);
        CHECK(memcmp(answer + 5, text, len) == 0 && memcmp(answer + 5 + len, text, len) == 0);
        memset(answer, 0, sizeof answer);
        expect_line(r, "next");
        expect_line(r, "more");
        EXPECT(weir_reader_close(r), 0);
        pair_close(pair);
    }
}

/* ---- ends ----------------------------------------------------------------------------------- */

/* In the middle of anything: it is told, what there is can be seen and can still be had; and then
 * there is an end, again and again. */
static void an_end_in_the_middle_is_told(void)
{
    weir_socket *pair[2];
    weir_bytes got;
    char buf[8];
    size_t done = 0;
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    say(pair[1], "line\nhalf\r", 10);
    EXPECT(weir_shutdown(pair[1], SHUT_WR), 0);
    expect_line(r, "line");
    for (int i = 0; i < 2; i++) {
        got = (weir_bytes){.data = NULL};
        EXPECT(weir_read_line(r, &got), WEIR_EEND);
        CHECK(is(got, "half\r"));
        EXPECT(weir_read_exact(r, 6, &got), WEIR_EEND);
        CHECK(is(got, "half\r"));
        EXPECT(weir_peek(r, 6, &got), WEIR_EEND);
        EXPECT(weir_read_until(r, "..", 2, &got), WEIR_EEND);
    }
    EXPECT(weir_read_exact(r, 2, &got), 1);
    EXPECT(weir_read_into(r, buf, sizeof buf, &done), WEIR_EEND);
    CHECK(done == 3 && memcmp(buf, "lf\r", 3) == 0);
    EXPECT(weir_read_into(r, buf, sizeof buf, &done), WEIR_EEND);
    done = 0;
    got = (weir_bytes){.data = buf, .len = 77};
    EXPECT(weir_read_into(r, buf, sizeof buf, &done), 0);
    EXPECT(weir_read_line(r, &got), 0);
    EXPECT(weir_read_exact(r, 1, &got), 0);
    EXPECT(weir_read_some(r, &got), 0);
    CHECK(got.data == buf && got.len == 77);
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

static int reads_a_line(void *r)
{
    weir_bytes line;
    return weir_read_line(r, &line);
}

/* A cancel at any byte of a message loses none of them. */
static void a_cancelled_read_takes_nothing(void)
{
    static const char text[] = "a line\r\n";
    for (size_t cut = 0; cut < sizeof text - 1; cut++) {
        weir_socket *pair[2];
        struct other other;
        stream_pair(pair);
        weir_reader *r = reader_of(pair[0], 0);
        weir_group *g = group_open();
        other_go(&other, g, reads_a_line, r);
        for (size_t i = 0; i < cut; i++) {
            other_until_asleep(&other);
            say(pair[1], text + i, 1);
        }
        other_until_asleep(&other);
        EXPECT(weir_group_cancel(g), 0);
        EXPECT(weir_group_wait(g, NULL), 0);
        EXPECT(weir_group_close(g), 0);
        EXPECT(other.rc, -ECANCELED);
        say(pair[1], text + cut, sizeof text - 1 - cut);
        expect_line(r, "a line");
        EXPECT(weir_reader_close(r), 0);
        pair_close(pair);
    }
}

static _Atomic uint64_t fake_now;

static uint64_t tell_fake_now(void)
{
    return fake_now;
}

static size_t a_byte_and_a_while(enum sys_call call, size_t len)
{
    if (call != SYS_RECV || len == 0)
        return len;
    fake_now += 300 * NS_PER_MS;
    return 1;
}

/* The socket's time-out holds for a call as a whole: bytes that keep coming do not put it off. */
static void a_peer_that_trickles_cannot_outlast_the_time_out(void)
{
    static const struct sys_faults faults = {.now = tell_fake_now, .amount = a_byte_and_a_while};
    weir_socket *pair[2];
    weir_bytes got;
    char buf[40];
    size_t done = 0;
    fake_now = sys_now();
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    say(pair[1], "a line that comes at a byte's pace\n", 35);
    EXPECT(weir_set_timeout(pair[0], 1000), 0);
    sys_faults = &faults;
    EXPECT(weir_read_line(r, &got), WEIR_EDEADLINE);
    EXPECT(weir_reader_buffered(r), 4);
    EXPECT(weir_read_exact(r, 20, &got), WEIR_EDEADLINE);
    EXPECT(weir_reader_buffered(r), 8);
    EXPECT(weir_time_left(), -1);
    sys_faults = NULL;
    expect_line(r, "a line that comes at a byte's pace");
    say(pair[1], "0123456789", 10);
    sys_faults = &faults;
    EXPECT(weir_read_into(r, buf, 10, &done), WEIR_EDEADLINE);
    sys_faults = NULL;
    CHECK(done < 10);
    EXPECT(weir_read_into(r, buf, 10, &done), 1);
    CHECK(memcmp(buf, "0123456789", 10) == 0);
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

/* ---- memory --------------------------------------------------------------------------------- */

/* After a large message, and a large answer, a reader that waits holds what a new one does. */
static void a_reader_that_rests_is_small(void)
{
    static char large[20000];
    weir_socket *pair[2];
    weir_bytes got;
    stream_pair(pair);
    weir_reader *r = reader_of(pair[0], 0);
    EXPECT(weir_set_blocking(pair[0], false), 0);
    memset(large, 'x', sizeof large);
    say(pair[1], large, sizeof large);
    EXPECT(weir_peek(r, sizeof large, &got), 1);
    CHECK(r->in.room > BUFFER_FIRST);
    EXPECT(weir_write(r, large, 10000), 0);
    CHECK(r->out.room > BUFFER_FIRST);
    EXPECT(weir_read_exact(r, sizeof large, &got), 1);
    CHECK(got.data[sizeof large - 1] == 'x');
    EXPECT(weir_read_line(r, &got), -EAGAIN);
    CHECK(r->in.data == r->first && r->in.room == BUFFER_FIRST && r->out.room <= BUFFER_FIRST);
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

static _Atomic int allocations_left;

static int memory_runs_out(enum sys_call call)
{
    return call == SYS_ALLOC && allocations_left-- <= 0 ? -ENOMEM : 0;
}

static const struct sys_faults short_of_memory = {.error = memory_runs_out};

/* Without memory for more what is there stays, and the same call goes on when there is some. */
static void without_memory_nothing_is_lost(void)
{
    static char text[30001];
    weir_reader *r;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\n';
    for (int granted = 0; granted < 5; granted++) {
        weir_socket *pair[2];
        weir_bytes got;
        stream_pair(pair);
        say(pair[1], text, sizeof text);
        allocations_left = granted;
        sys_faults = &short_of_memory;
        int rc = weir_reader_open(&r, pair[0], NULL);
        EXPECT(rc, granted == 0 ? -ENOMEM : 0);
        if (rc == 0)
            rc = weir_read_line(r, &got);
        EXPECT(rc, granted < 4 ? -ENOMEM : 1);
        sys_faults = NULL;
        if (granted == 0)
            EXPECT(weir_reader_open(&r, pair[0], NULL), 0);
        if (rc < 0)
            EXPECT(weir_read_line(r, &got), 1);
        CHECK(got.len == sizeof text - 1 && memcmp(got.data, text, got.len) == 0);
        EXPECT(weir_reader_close(r), 0);
        pair_close(pair);
    }
}

/* ---- arguments ------------------------------------------------------------------------------ */

static void wrong_arguments_are_refused(void)
{
    weir_reader_options unknown = {.size = 1};
    weir_socket *pair[2], *messages[2];
    weir_reader *r = NULL;
    weir_bytes got = {.len = 7};
    char buf[4];
    size_t done = 5;
    stream_pair(pair);
    EXPECT(weir_reader_open(NULL, pair[0], NULL), -EINVAL);
    EXPECT(weir_reader_open(&r, NULL, NULL), -EINVAL);
    EXPECT(weir_reader_open(&r, pair[0], &unknown), -EINVAL);
    EXPECT(weir_pair(messages, SOCK_SEQPACKET), 0);
    EXPECT(weir_reader_open(&r, messages[0], NULL), -EOPNOTSUPP);
    CHECK(r == NULL);
    pair_close(messages);
    r = reader_of(pair[0], 8);
    say(pair[1], "abc", 3);
    EXPECT(weir_read_line(NULL, &got), -EINVAL);
    EXPECT(weir_read_line(r, NULL), -EINVAL);
    EXPECT(weir_read_until(NULL, "x", 1, &got), -EINVAL);
    EXPECT(weir_read_until(r, "x", 1, NULL), -EINVAL);
    EXPECT(weir_read_until(r, NULL, 1, &got), -EINVAL);
    EXPECT(weir_read_until(r, "x", 0, &got), -EINVAL);
    EXPECT(weir_read_until(r, "0123456789abcdefg", 17, &got), -EINVAL);
    EXPECT(weir_read_until(r, "012345678", 9, &got), -EINVAL); /* could never be there */
    EXPECT(weir_read_exact(r, 0, &got), -EINVAL);
    EXPECT(weir_read_exact(r, 9, &got), -EINVAL);
    EXPECT(weir_read_exact(r, 1, NULL), -EINVAL);
    EXPECT(weir_read_exact(NULL, 1, &got), -EINVAL);
    EXPECT(weir_peek(r, 9, &got), -EINVAL);
    EXPECT(weir_peek(NULL, 1, &got), -EINVAL);
    EXPECT(weir_read_some(r, NULL), -EINVAL);
    EXPECT(weir_read_some(NULL, &got), -EINVAL);
    EXPECT(weir_read_into(r, buf, 4, &done), -EINVAL);
    EXPECT(weir_read_into(r, buf, 4, NULL), -EINVAL);
    EXPECT(weir_read_into(r, NULL, 6, &done), -EINVAL);
    EXPECT(weir_read_into(NULL, buf, 6, &done), -EINVAL);
    CHECK(weir_reader_buffered(NULL) == 0 && weir_reader_wants(NULL) == -EINVAL);
    CHECK(got.len == 7 && done == 5);
    EXPECT(weir_reader_close(NULL), 0);
    EXPECT(weir_read_some(r, &got), 1); /* nothing was taken */
    CHECK(is(got, "abc"));
    EXPECT(weir_reader_close(r), 0);
    pair_close(pair);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(ONCE, lines_come_byte_by_byte),
        GROUND_TEST(ONCE, delimiters_are_found_across_any_cut),
        GROUND_TEST(ONCE, another_delimiter_is_looked_for_from_the_beginning),
        GROUND_TEST(ONCE, a_line_is_max_bytes_long_at_most),
        GROUND_TEST(ONCE, a_zero_byte_is_behind_what_has_come),
        GROUND_TEST(EVERYWHERE, sizes_are_exact),
        GROUND_TEST(EVERYWHERE, a_view_stays_while_answers_go_out),
        GROUND_TEST(EVERYWHERE, an_end_in_the_middle_is_told),
        GROUND_TEST(EVERYWHERE, a_cancelled_read_takes_nothing),
        GROUND_TEST(ONCE, a_peer_that_trickles_cannot_outlast_the_time_out),
        GROUND_TEST(ONCE, a_reader_that_rests_is_small),
        GROUND_TEST(ONCE, without_memory_nothing_is_lost),
        GROUND_TEST(ONCE, wrong_arguments_are_refused),
    };
    return ground_main(argc, argv, "reader", tests, sizeof tests / sizeof *tests);
}
