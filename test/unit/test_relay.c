/* Relays between sides of every kind, shortages. */
#include "support/chance.h"
#include "support/ground.h"
#include "support/relay_line.h"
#include "sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir/relay.h>

#define LARGE ((size_t)4 << 20)

static weir_socket *adopt(int fd)
{
    weir_socket *s;
    EXPECT(weir_from_fd(&s, fd), 0);
    return s;
}

static void whole_lines(size_t amount)
{
    for (int swapped = 0; swapped < 2; swapped++) {
        struct line_talk there[2], back[2];
        weir_group *g = group_open();
        struct line l;
        line_open(&l, swapped);
        line_check(l.near[0], l.far[1], amount, g, there);
        line_check(l.far[1], l.near[0], 2 * amount, g, back);
        EXPECT(line_relay(&l), 0);
        group_end(g);
        EXPECT((long long)there[1].moved, (long long)amount);
        EXPECT((long long)back[1].moved, (long long)(2 * amount));
        EXPECT((long long)l.result.a_to_b, (long long)amount);
        EXPECT((long long)l.result.b_to_a, (long long)(2 * amount));
        EXPECT(there[1].rc, 0);
        EXPECT(back[1].rc, 0);
        line_close(&l);
    }
}

static void sides_of_different_families(void)
{
    whole_lines(LARGE);
}

/* ---- bits and pieces ------------------------------------------------------------------------ */

static atomic_int tick;

static int interrupt_now_and_then(enum sys_call call)
{
    if (call != SYS_RECV && call != SYS_SEND && call != SYS_POLL)
        return 0;
    return atomic_fetch_add(&tick, 1) % 3 ? 0 : -EINTR;
}

static size_t some(enum sys_call call, size_t len)
{
    (void)call;
    return len > 999 ? 999 : len;
}

static void bits_and_pieces(void)
{
    static const struct sys_faults faults = {.error = interrupt_now_and_then, .amount = some};
    sys_faults = &faults;
    whole_lines((size_t)300000);
    sys_faults = NULL;
}

/* ---- through a pipe ------------------------------------------------------------------------- */

static atomic_int splices, pipes_made, splice_fails_at, splice_fails_with, pipe_fails;

static int refuse(enum sys_call call)
{
    if (call == SYS_PIPE && atomic_fetch_add(&pipes_made, 1) >= 0)
        return pipe_fails;
    if (call == SYS_SPLICE && atomic_fetch_add(&splices, 1) + 1 == splice_fails_at)
        return splice_fails_with;
    return 0;
}

static size_t odd(enum sys_call call, size_t len)
{
    return call == SYS_SPLICE && len > 70001 ? 70001 : len;
}

static void whole_lines_with(int fails_at, int fails_with)
{
    static const struct sys_faults faults = {.error = refuse, .amount = odd};
    splices = pipes_made = 0;
    splice_fails_at = fails_at;
    splice_fails_with = fails_with;
    sys_faults = &faults;
    whole_lines((size_t)1 << 20);
    sys_faults = NULL;
}

static void much_goes_through_a_pipe_and_little_does_not(void)
{
    static const struct sys_faults faults = {.error = refuse};
    whole_lines_with(0, 0);
    CHECK(splices > 0 && pipes_made > 0);
    splices = pipes_made = 0;
    sys_faults = &faults;
    whole_lines(20000);
    sys_faults = NULL;
    CHECK(splices == 0 && pipes_made == 0);
}

/* Whenever it is refused, on the way in or out, the rest goes another way. */
static void without_a_pipe_it_goes_on(void)
{
    static const int refusals[] = {-EINVAL, -ENOSYS, -EPERM, -EINTR, -EAGAIN};
    for (int at = 1; at <= 10; at++)
        whole_lines_with(at, refusals[at % 5]);
    pipe_fails = -EMFILE;
    whole_lines_with(0, 0);
    pipe_fails = 0;
    CHECK(splices == 0 && pipes_made > 0);
}

/* ---- what is adopted ------------------------------------------------------------------------ */

/* Blocking descriptors of both kinds, as other programs hand them on. */
static void adopted_sockets(void)
{
    int near[2], far[2];
    struct line_talk there[2], back[2];
    weir_group *g = group_open();
    struct line l = {.options = *WEIR_RELAY_OPTIONS()};
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, near) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, far) == 0);
    for (int i = 0; i < 2; i++) {
        l.near[i] = adopt(near[i]);
        l.far[i] = adopt(far[i]);
    }
    line_check(l.near[0], l.far[1], LARGE, g, there);
    line_check(l.far[1], l.near[0], LARGE, g, back);
    EXPECT(line_relay(&l), 0);
    group_end(g);
    EXPECT((long long)there[1].moved, (long long)LARGE);
    EXPECT((long long)back[1].moved, (long long)LARGE);
    CHECK(!(fcntl(near[1], F_GETFL) & O_NONBLOCK));
    line_close(&l);
}

/* From one pipe into another, which have one direction each. */
static void pipes(void)
{
    int in[2], out[2];
    struct line_talk talk[2];
    weir_group *g = group_open();
    weir_relay_result result;
    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    weir_socket *a = adopt(in[0]), *b = adopt(out[1]), *x = adopt(in[1]), *y = adopt(out[0]);
    talk[0] = (struct line_talk){.s = x, .amount = LARGE / 8};
    talk[1] = (struct line_talk){.s = y};
    struct other other, writer;
    struct line l = {.near = {NULL, a}, .far = {b, NULL}, .options = *WEIR_RELAY_OPTIONS()};
    other_go(&writer, g, line_say, &talk[0]);
    EXPECT(weir_go(g, line_hear, &talk[1]), 0);
    other_go(&other, g, line_relay, &l);
    other_until_ended(&writer);
    EXPECT(weir_close(x), 0);
    other_until_ended(&other);
    EXPECT(other.rc, 0);
    result = l.result;
    EXPECT(weir_close(b), 0);
    group_end(g);
    EXPECT((long long)talk[1].moved, (long long)(LARGE / 8));
    EXPECT((long long)result.a_to_b, (long long)(LARGE / 8));
    EXPECT(weir_close(a), 0);
    EXPECT(weir_close(y), 0);
}

/* ---- shortages ------------------------------------------------------------------------------ */

static atomic_int calls, fail_at, fail_call;

static int fail_one(enum sys_call call)
{
    if ((int)call != atomic_load(&fail_call))
        return 0;
    return atomic_fetch_add(&calls, 1) + 1 == atomic_load(&fail_at) ? -ENOMEM : 0;
}

static bool ends_in_time(struct line *l)
{
    WEIR_WITHIN_MS(LONG_MS);
    int rc = line_relay(l);
    CHECK(rc == 0 || rc == -ENOMEM);
    return rc == 0;
}

/* Each allocation in turn, and each thread: it says so, or does without. */
static void shortages(void)
{
    static const struct sys_faults faults = {.error = fail_one};
    for (int call = SYS_ALLOC; call >= 0; call = call == SYS_ALLOC ? SYS_THREAD : -1) {
        bool through = false;
        for (int at = 1; !through; at++) {
            struct line l;
            line_open(&l, at % 2);
            EXPECT(weir_send(l.near[0], "ab", 2), 2);
            EXPECT(weir_shutdown(l.near[0], SHUT_WR), 0);
            EXPECT(weir_shutdown(l.far[1], SHUT_WR), 0);
            calls = 0;
            fail_at = at;
            fail_call = call;
            sys_faults = &faults;
            bool whole = ends_in_time(&l);
            sys_faults = NULL;
            through = calls < at;
            CHECK(whole || !through);
            EXPECT((long long)l.result.a_to_b, whole ? 2 : (long long)(l.result.a_to_b));
            EXPECT(l.result.a_error == 0 || l.result.a_error == -ENOMEM, 1);
            line_close(&l);
        }
    }
}

/* ---- cancels and aborts at any moment ------------------------------------------------------- */

/* Whenever it ends, and whyever: what was moved has arrived, no more and no less. */
static void ended_at_any_moment(void)
{
    struct chance c = chance_of(1);
    int rounds = ground_is_slow() ? 40 : 150;
    for (int i = 0; i < rounds; i++) {
        struct line l;
        struct line_talk talk[2];
        struct other other;
        line_open(&l, i % 2);
        weir_group *ends = group_open(), *g = group_open();
        talk[0] = (struct line_talk){.s = l.near[0], .amount = LARGE};
        talk[1] = (struct line_talk){.s = l.far[1]};
        other_go(&other, g, line_relay, &l);
        EXPECT(weir_go(ends, line_say, &talk[0]), 0);
        EXPECT(weir_go(ends, line_hear, &talk[1]), 0);
        for (uint32_t n = chance_below(&c, 200); n > 0; n--)
            weir_yield();
        switch (chance_below(&c, 4)) {
        case 0:
            weir_abort(l.near[1]);
            break;
        case 1:
            weir_abort(l.far[0]);
            break;
        default:
            weir_group_cancel(g);
        }
        group_end(g);
        CHECK(other.rc == 0 || other.rc == -ECANCELED || other.rc == WEIR_ECLOSED);
        CHECK((other.rc == WEIR_ECLOSED) == (l.result.a_error || l.result.b_error));
        weir_abort(l.near[1]);
        weir_abort(l.far[0]);
        group_end(ends);
        if (l.result.b_error == 0)
            EXPECT((long long)talk[1].moved, (long long)l.result.a_to_b);
        CHECK(talk[1].moved <= l.result.a_to_b);
        CHECK(l.result.a_to_b + l.result.a_lost <= talk[0].moved || talk[0].rc < 0);
        line_close(&l);
    }
}

/* It is not read, and that is no failure. */
static void file_that_can_only_be_written(void)
{
    char path[] = "/tmp/weir-relay-XXXXXX", got[6] = "";
    struct line l = {.options = *WEIR_RELAY_OPTIONS()};
    int fd = mkstemp(path), to = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && to >= 0);
    line_tcp_pair(l.near);
    line_tcp_pair(l.far);
    weir_close(l.far[0]);
    l.far[0] = adopt(to);
    EXPECT(weir_send(l.near[0], "hello", 5), 5);
    EXPECT(weir_shutdown(l.near[0], SHUT_WR), 0);
    EXPECT(line_relay(&l), 0);
    EXPECT(l.result.a_to_b, 5);
    EXPECT(pread(fd, got, 5, 0), 5);
    EXPECT(strcmp(got, "hello"), 0);
    close(fd);
    unlink(path);
    line_close(&l);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, sides_of_different_families),
        GROUND_TEST(EVERYWHERE, bits_and_pieces),
        GROUND_TEST(EVERYWHERE, much_goes_through_a_pipe_and_little_does_not),
        GROUND_TEST(EVERYWHERE, without_a_pipe_it_goes_on),
        GROUND_TEST(EVERYWHERE, adopted_sockets),
        GROUND_TEST(EVERYWHERE, pipes),
        GROUND_TEST(EVERYWHERE, file_that_can_only_be_written),
        GROUND_TEST(EVERYWHERE, shortages),
        GROUND_TEST(EVERYWHERE, ended_at_any_moment),
    };
    return ground_main(argc, argv, "relay", tests, sizeof tests / sizeof *tests);
}
