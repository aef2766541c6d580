/* A reader against what it should do: a program of calls from the first part of the input, on a
 * stream of the rest, which comes in pieces. What is read, in the order in which it is read, is the
 * stream; and each call says of it what a look at the whole would say. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <weir.h>
#include <weir/reader.h>

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The stream: `taken` of it was read, `sent` of it is there to be read, `len` is all. */
struct stream {
    weir_socket *ends[2];
    weir_reader *r;
    const char *bytes;
    size_t taken, sent, len, max;
    bool ended;
};

static void send_some(struct stream *t, size_t len)
{
    size_t done = 0;

    len = len < t->len - t->sent ? len : t->len - t->sent;
    REQUIRE(weir_send_all(t->ends[1], t->bytes + t->sent, len, &done) == 0);
    t->sent += len;
}

/* What a call says that does not find enough. */
static int not_enough(const struct stream *t)
{
    if (!t->ended)
        return -EAGAIN;
    return t->taken == t->sent ? 0 : WEIR_EEND;
}

static void require_rest(const struct stream *t, const weir_bytes *got)
{
    REQUIRE(got->len == t->sent - t->taken);
    REQUIRE(memcmp(got->data, t->bytes + t->taken, got->len) == 0);
}

static void read_until(struct stream *t, const char *delimiter, size_t len, bool line)
{
    const char *from = t->bytes + t->taken;
    size_t left = t->sent - t->taken, within = left < t->max ? left : t->max, want;
    const char *at = memmem(from, within, delimiter, len);
    weir_bytes got = {NULL, 0};
    int rc = line ? weir_read_line(t->r, &got) : weir_read_until(t->r, delimiter, len, &got);

    if (len > t->max) {
        REQUIRE(rc == -EINVAL);
        return;
    }
    if (!at) {
        REQUIRE(rc == (left >= t->max ? -EMSGSIZE : not_enough(t)));
        if (rc == WEIR_EEND)
            require_rest(t, &got);
        return;
    }
    want = (size_t)(at - from);
    t->taken += want + len;
    if (line && want > 0 && from[want - 1] == '\r')
        want--;
    REQUIRE(rc == 1 && got.len == want && memcmp(got.data, from, want) == 0);
}

static void read_exact(struct stream *t, size_t len, bool peek)
{
    weir_bytes got = {NULL, 0};
    int rc = peek ? weir_peek(t->r, len, &got) : weir_read_exact(t->r, len, &got);

    if (len == 0 || len > t->max) {
        REQUIRE(rc == -EINVAL);
    } else if (len > t->sent - t->taken) {
        REQUIRE(rc == not_enough(t));
        if (rc == WEIR_EEND)
            require_rest(t, &got);
    } else {
        REQUIRE(rc == 1 && got.len == len && memcmp(got.data, t->bytes + t->taken, len) == 0);
        t->taken += peek ? 0 : len;
    }
}

static void read_some(struct stream *t)
{
    weir_bytes got = {NULL, 0};
    int rc = weir_read_some(t->r, &got);

    if (t->taken == t->sent) {
        REQUIRE(rc == not_enough(t));
        return;
    }
    REQUIRE(rc == 1 && got.len > 0 && got.len <= t->sent - t->taken);
    REQUIRE(memcmp(got.data, t->bytes + t->taken, got.len) == 0);
    t->taken += got.len;
}

static void read_into(struct stream *t, size_t len)
{
    char buf[256];
    size_t done = 0, left = t->sent - t->taken;
    int rc = weir_read_into(t->r, buf, len, &done);

    REQUIRE(done == (len < left ? len : left));
    REQUIRE(memcmp(buf, t->bytes + t->taken, done) == 0);
    t->taken += done;
    if (done == len)
        REQUIRE(rc == 1);
    else
        REQUIRE(rc == (!t->ended ? -EAGAIN : done > 0 ? WEIR_EEND : 0));
}

static void step(struct stream *t, unsigned op, size_t operand)
{
    static const char delimiter[] = "\r\n\r\n";

    switch (op) {
    case 0:
        send_some(t, operand);
        break;
    case 1:
        read_until(t, "\n", 1, true);
        break;
    case 2:
        read_until(t, delimiter, 1 + operand % 4, false);
        break;
    case 3:
        read_exact(t, operand, false);
        break;
    case 4:
        read_exact(t, operand, true);
        break;
    case 5:
        read_some(t);
        break;
    case 6:
        read_into(t, operand);
        break;
    default:
        send_some(t, t->len);
        if (operand % 2 && !t->ended) {
            REQUIRE(weir_shutdown(t->ends[1], SHUT_WR) == 0);
            t->ended = true;
        }
    }
    REQUIRE(t->taken + weir_reader_buffered(t->r) <= t->sent);
}

/* Bytes: the largest message, the number of steps, two for each step, the stream. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stream t = {.ended = false};

    if (size < 2 || size < 2 + 2 * (size_t)data[1] || size > 60000)
        return 0;
    size_t head = 2 + 2 * (size_t)data[1];
    t.max = 1 + data[0] * (size_t)(data[0] > 128 ? 200 : 1);
    t.bytes = (const char *)data + head;
    t.len = size - head;
    REQUIRE(weir_pair(t.ends, SOCK_STREAM) == 0);
    REQUIRE(weir_reader_open(&t.r, t.ends[0], WEIR_READER_OPTIONS(.max = t.max)) == 0);
    REQUIRE(weir_set_blocking(t.ends[0], false) == 0);
    for (size_t i = 2; i < head; i += 2)
        step(&t, data[i] % 8, data[i + 1]);
    REQUIRE(weir_reader_close(t.r) == 0);
    weir_close(t.ends[0]);
    weir_close(t.ends[1]);
    return 0;
}
