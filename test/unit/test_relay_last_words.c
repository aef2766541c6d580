/* What was said before a reset arrives before it. */
#include "relay_splice.h"
#include "support/ground.h"
#include "support/relay_line.h"
#include "sys.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

static int relay_and_close(void *line)
{
    struct line *l = line;
    int rc = line_relay(l);
    EXPECT(weir_close(l->near[1]), 0);
    l->near[1] = NULL;
    return rc;
}

/* Until there is no room. */
static size_t fill_up(weir_socket *s)
{
    static char block[1 << 16];
    size_t sent = 0;
    ssize_t n;
    EXPECT(weir_set_blocking(s, false), 0);
    while ((n = weir_send(s, block, sizeof block)) > 0)
        sent += (size_t)n;
    EXPECT(n, -EAGAIN);
    EXPECT(weir_set_blocking(s, true), 0);
    return sent;
}

static void say_and_reset(struct line *l)
{
    static const struct linger reset = {.l_onoff = 1};
    EXPECT(weir_send(l->far[1], "too large", 9), 9);
    EXPECT(weir_set_option(l->far[1], SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    EXPECT(weir_close(l->far[1]), 0);
    l->far[1] = NULL;
}

/* A reset is passed on, and overtakes nothing that was said before it, however much there is. */
static void a_reset_comes_after_what_was_said(void)
{
    struct line l = {.options = *WEIR_RELAY_OPTIONS()};
    struct other other;
    line_tcp_pair(l.near);
    line_tcp_pair(l.far);
    size_t want = fill_up(l.near[1]) + 9, got = 0;
    unsigned char *bytes = malloc(want);
    CHECK(bytes != NULL);
    say_and_reset(&l);
    weir_group *g = group_open();
    other_go(&other, g, relay_and_close, &l);
    EXPECT(weir_recv_exact(l.near[0], bytes, want, &got), 0);
    CHECK(!memcmp(bytes + want - 9, "too large", 9));
    EXPECT(weir_recv(l.near[0], bytes, 1), -ECONNRESET);
    group_end(g);
    EXPECT(other.rc, -ECONNRESET);
    EXPECT(l.result.b_error, -ECONNRESET);
    free(bytes);
    line_close(&l);
}

/* ---- a reset that nobody is told of ---------------------------------------------------------- */

#define MUCH ((size_t)512 * 1024)

struct splicing {
    weir_socket *to;
    struct pipe pipe;
    ssize_t moved;
};

static void *splices(void *arg)
{
    struct splicing *s = arg;
    s->moved = splice_out(s->to, &s->pipe, MUCH);
    return NULL;
}

/* Has no room for so much, and blocks, so that one call sends again and again. */
static void fill_pipe(struct splicing *s, int fd)
{
    static char bytes[MUCH];
    int fds[2];
    EXPECT(sys_pipe(fds), 0);
    CHECK(sys_pipe_size(fds[1], MUCH) >= 0);
    EXPECT(write(fds[1], bytes, MUCH), MUCH);
    s->pipe = (struct pipe){.in = fds[1], .out = fds[0], .size = MUCH};
    EXPECT(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
}

/* While a splice goes on it is told to nobody but that, which says how much has gone. Then the
 * socket tells. */
static void a_reset_in_a_splice_is_no_end(void)
{
    static const struct linger reset = {.l_onoff = 1};
    static const int little = 65536;
    struct line l = {.options = *WEIR_RELAY_OPTIONS()};
    pthread_t thread;
    char byte;
    int there = 0;
    line_tcp_pair(l.near);
    line_tcp_pair(l.far);
    struct splicing s = {.to = l.near[1]};
    EXPECT(weir_set_option(l.near[0], SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
    EXPECT(weir_set_option(s.to, SOL_SOCKET, SO_SNDBUF, &little, sizeof little), 0);
    fill_pipe(&s, weir_fd(s.to));
    EXPECT(pthread_create(&thread, NULL, splices, &s), 0);
    while (there == 0)
        EXPECT(ioctl(weir_fd(l.near[0]), FIONREAD, &there), 0);
    EXPECT(weir_set_option(l.near[0], SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    EXPECT(weir_close(l.near[0]), 0);
    l.near[0] = NULL;
    pthread_join(thread, NULL);
    CHECK(s.moved > 0 && (size_t)s.moved < MUCH);
    EXPECT(weir_recv(s.to, &byte, 1), -ECONNRESET);
    EXPECT(weir_send(s.to, &byte, 1), -ECONNRESET);
    pipe_close(&s.pipe);
    line_close(&l);
}

/* ---- idle limits ---------------------------------------------------------------------------- */

#define IDLE_MS 100

static void note(void *moved, bool to_b, size_t n)
{
    (void)to_b;
    (void)n;
    atomic_store((atomic_bool *)moved, true);
}

/* Takes the first of it until `moved`, and the rest when the idle limit is over; at most `most`
 * bytes. Returns how the stream ends. */
static int hear_with_a_pause(weir_socket *s, unsigned char *bytes, size_t most, atomic_bool *moved,
                             size_t *ret_got)
{
    size_t got = 0;
    ssize_t n = 1;
    while (n > 0 && got < most && !atomic_load(moved)) {
        n = weir_recv(s, bytes + got, most - got < 4096 ? most - got : 4096);
        got += n > 0 ? (size_t)n : 0;
    }
    EXPECT(weir_sleep(3 * IDLE_MS), 0);
    while (n > 0 && (n = weir_recv(s, bytes + got, most + 1 - got)) > 0)
        got += (size_t)n;
    *ret_got = got;
    return (int)n;
}

/* Returns how the relay has ended. */
static int reset_under_an_idle_limit(void)
{
    atomic_bool moved = false;
    struct line l = {
        .options = *WEIR_RELAY_OPTIONS(.idle_ms = IDLE_MS, .moved = note, .arg = &moved),
    };
    struct other other;
    line_tcp_pair(l.near);
    line_tcp_pair(l.far);
    size_t want = fill_up(l.near[1]) + 9, got = 0;
    unsigned char *bytes = malloc(want + 1);
    CHECK(bytes != NULL);
    say_and_reset(&l);
    weir_group *g = group_open();
    other_go(&other, g, relay_and_close, &l);
    int end = hear_with_a_pause(l.near[0], bytes, want, &moved, &got);
    group_end(g);
    if (other.rc != WEIR_EDEADLINE) {
        EXPECT((long long)got, (long long)want);
        EXPECT(end, -ECONNRESET);
    }
    free(bytes);
    line_close(&l);
    return other.rc;
}

/* It is not idle while last words are on their way. On a machine that stands still before they are
 * it is. */
static void last_words_are_not_idle(void)
{
    int rc = WEIR_EDEADLINE;
    for (int i = 0; i < 10 && rc == WEIR_EDEADLINE; i++)
        rc = reset_under_an_idle_limit();
    EXPECT(rc, -ECONNRESET);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, a_reset_comes_after_what_was_said),
        GROUND_TEST(ONCE, a_reset_in_a_splice_is_no_end),
        GROUND_TEST(EVERYWHERE, last_words_are_not_idle),
    };
    return ground_main(argc, argv, "relay last words", tests, sizeof tests / sizeof *tests);
}
