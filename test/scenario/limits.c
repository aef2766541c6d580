/* How long things may take: time-outs, limits, shields. Nothing here measures time; it is told by
 * the results. */
#include "support/rig.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>

SCENARIO(limits_nest_and_the_earliest_wins)
{
    EXPECT(weir_time_left(), -1);
    weir_scope outer = weir_deadline_start(RIG_LONG_MS);
    CHECK(weir_time_left() > RIG_LONG_MS / 2 && weir_time_left() <= RIG_LONG_MS);
    weir_scope inner = weir_deadline_start(1000);
    CHECK(weir_time_left() <= 1000);
    weir_scope longer = weir_deadline_start(2 * RIG_LONG_MS);
    CHECK(weir_time_left() <= 1000);
    weir_scope none = weir_deadline_start(-1);
    CHECK(weir_time_left() <= 1000);
    weir_scope_end(none);
    weir_scope_end(longer);
    CHECK(weir_time_left() <= 1000);
    weir_scope_end(inner);
    CHECK(weir_time_left() > 1000);
    weir_scope_end(outer);
    EXPECT(weir_time_left(), -1);
}

SCENARIO(limits_forgotten_inside_end_with_the_outer_one)
{
    weir_scope outer = weir_deadline_start(RIG_LONG_MS);
    weir_scope inner = weir_deadline_start(0);
    weir_scope innermost = weir_shield_start(0);
    EXPECT(weir_time_left(), 0);
    weir_scope_end(outer);
    EXPECT(weir_time_left(), -1);
    weir_scope_end(innermost);
    weir_scope_end(inner);
    EXPECT(weir_time_left(), -1);
    {
        WEIR_WITHIN_MS(RIG_LONG_MS);
        weir_deadline_start(0);
        EXPECT(weir_time_left(), 0);
    }
    EXPECT(weir_time_left(), -1);
}

SCENARIO(limits_of_every_size)
{
    static const int64_t sizes[] = {INT64_MIN, -1, 0, 1, INT32_MAX, INT64_MAX / 1000, INT64_MAX};
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_blocking(a, true), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        WEIR_WITHIN_MS(sizes[i]);
        CHECK(sizes[i] < 0 ? weir_time_left() == -1 : weir_time_left() <= sizes[i]);
        EXPECT(weir_set_timeout(a, sizes[i]), 0);
        if (sizes[i] >= 0 && sizes[i] <= 1)
            EXPECT(weir_recv(a, &byte, 1), WEIR_EDEADLINE);
        if (sizes[i] < 0 || sizes[i] >= INT32_MAX) {
            EXPECT(weir_send(b, "x", 1), 1);
            EXPECT(weir_recv(a, &byte, 1), 1);
        }
    }
}

SCENARIO(limit_that_passed_holds_for_every_call)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_blocking(a, true), 0);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_READABLE);
    {
        WEIR_WITHIN_MS(0);
        for (int i = 0; i < 3; i++) {
            EXPECT(weir_recv(a, &byte, 1), WEIR_EDEADLINE); /* though a byte is there */
            EXPECT(weir_send(a, "y", 1), WEIR_EDEADLINE);
        }
    }
    EXPECT(weir_recv(a, &byte, 1), 1);
    CHECK(byte == 'x');
    EXPECT(weir_send(a, "y", 1), 1);
    EXPECT(rig_recv(rig, b, &byte, 1), 1);
}

/* A program in the non-blocking model waits with these two alone, so they have to mind the limit
 * for it. */
SCENARIO(limit_that_passed_holds_for_waiting)
{
    weir_socket *a, *b;
    weir_poller *p;
    weir_event event;
    rig_pair(rig, &a, &b);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, NULL), 0);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    {
        WEIR_WITHIN_MS(0);
        EXPECT(weir_wait(a, WEIR_READABLE), WEIR_EDEADLINE); /* though a byte is there */
        EXPECT(weir_poller_wait(p, &event, 1, -1), WEIR_EDEADLINE);
    }
    EXPECT(weir_wait(a, WEIR_READABLE), WEIR_READABLE);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    EXPECT(weir_poller_close(p), 0);
}

SCENARIO(limit_is_nothing_to_a_nonblocking_socket)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_blocking(a, false), 0);
    WEIR_WITHIN_MS(0);
    EXPECT(weir_recv(a, &byte, 1), -EAGAIN);
    EXPECT(weir_send(a, "x", 1), 1);
}

/* A time-out, unlike a limit that has passed, is for the waiting alone. */
SCENARIO(timeout_of_0_takes_what_is_there)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_blocking(a, true), 0);
    EXPECT(weir_set_timeout(a, 0), 0);
    EXPECT(weir_recv(a, &byte, 1), WEIR_EDEADLINE);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    struct pollfd readable = {.fd = weir_fd(a), .events = POLLIN};
    while (poll(&readable, 1, -1) < 0)
        ;
    EXPECT(weir_recv(a, &byte, 1), 1);
    EXPECT(weir_set_timeout(a, -1), 0);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(weir_recv(a, &byte, 1), 1);
}

SCENARIO(timeout_and_limit_the_earlier_wins)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_blocking(a, true), 0);
    EXPECT(weir_set_timeout(a, RIG_MOMENT_MS), 0);
    {
        WEIR_WITHIN_MS(RIG_LONG_MS);
        EXPECT(weir_recv(a, &byte, 1), WEIR_EDEADLINE);
        CHECK(weir_time_left() > 0);
    }
    EXPECT(weir_set_timeout(a, RIG_LONG_MS), 0);
    {
        WEIR_WITHIN_MS(RIG_MOMENT_MS);
        EXPECT(weir_recv(a, &byte, 1), WEIR_EDEADLINE);
        EXPECT(weir_time_left(), 0);
    }
}

SCENARIO(shield_holds_off_limits)
{
    weir_socket *a, *b;
    char byte;
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_blocking(a, true), 0);
    EXPECT(rig_send(rig, b, "x", 1), 1);
    WEIR_WITHIN_MS(0);
    EXPECT(weir_recv(a, &byte, 1), WEIR_EDEADLINE);
    {
        WEIR_SHIELDED_MS(RIG_LONG_MS);
        CHECK(weir_time_left() > 0);
        EXPECT(weir_recv(a, &byte, 1), 1);
        {
            WEIR_WITHIN_MS(RIG_MOMENT_MS);
            EXPECT(weir_recv(a, &byte, 1), WEIR_EDEADLINE);
        }
        CHECK(weir_time_left() > 0);
    }
    EXPECT(weir_time_left(), 0);
    EXPECT(weir_recv(a, &byte, 1), WEIR_EDEADLINE);
    {
        WEIR_SHIELDED_MS(RIG_MOMENT_MS); /* it has a bound of its own */
        EXPECT(weir_recv(a, &byte, 1), WEIR_EDEADLINE);
        WEIR_WITHIN_MS(RIG_LONG_MS);
        EXPECT(weir_time_left(), 0);
    }
    {
        WEIR_SHIELDED_MS(-1);
        EXPECT(weir_time_left(), 0);
    }
}

static void look_at_limit(struct rig *rig, void *arg)
{
    char byte;
    EXPECT(rig_recv(rig, arg, &byte, 1), 1);
    EXPECT(weir_time_left(), -1);
}

SCENARIO(limit_is_of_one_thread)
{
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    struct rig_thread *t = rig_go(rig, look_at_limit, a);
    WEIR_WITHIN_MS(0);
    {
        WEIR_SHIELDED_MS(RIG_LONG_MS);
        EXPECT(rig_send(rig, b, "x", 1), 1);
    }
    rig_join(t);
}

static void flood(struct rig *rig, void *arg)
{
    static const char block[4096];
    ssize_t n;
    while ((n = rig_send(rig, arg, block, sizeof block)) > 0)
        ;
    EXPECT(n, WEIR_ECLOSED);
}

/* Data are always there, so no call ever waits: the limit has to end the loop nevertheless. */
SCENARIO_FOR(limit_ends_a_loop_that_never_waits, STREAM)
{
    weir_socket *a, *b;
    static char sink[1024];
    ssize_t n;
    rig_pair(rig, &a, &b);
    EXPECT(weir_set_blocking(a, true), 0);
    struct rig_thread *t = rig_go(rig, flood, b);
    {
        WEIR_WITHIN_MS(RIG_MOMENT_MS);
        while ((n = weir_recv(a, sink, sizeof sink)) > 0)
            ;
        EXPECT(n, WEIR_EDEADLINE);
    }
    EXPECT(rig_recv(rig, a, sink, sizeof sink) > 0, true);
    EXPECT(weir_abort(b), 0);
    rig_join(t);
}

/* 4 KiB at a time, none of them waited for. */
SCENARIO_FOR(limit_ends_a_whole_call_that_never_waits, OWN)
{
    size_t len = (size_t)16 << 30, done = 0;
    void *buf =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    weir_socket *s;
    if (buf == MAP_FAILED)
        rig_skip("the system gives no address space that is not backed");
    EXPECT(weir_from_fd(&s, open("/dev/null", O_WRONLY | O_CLOEXEC)), 0);
    rig_keep(rig, s);
    EXPECT(weir_set_timeout(s, RIG_MOMENT_MS), 0);
    EXPECT(weir_send_all(s, buf, len, &done), WEIR_EDEADLINE);
    CHECK(done > 0 && done < len);
    munmap(buf, len);
}

struct trickler {
    weir_socket *s;
    atomic_bool stop;
};

static void trickle_on(struct rig *rig, void *arg)
{
    struct trickler *trickler = arg;
    struct iovec vector = {(char[]){"x"}, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    while (!atomic_load(&trickler->stop)) {
        rig_until_starter_sleeps(rig);
        ssize_t n = weir_sendmsg(trickler->s, &message, MSG_DONTWAIT);
        CHECK(n == 1 || n == -EAGAIN);
    }
}

/* Each byte comes in time; all of them together do not. */
SCENARIO_FOR(timeout_is_for_the_whole_call, STREAM)
{
    weir_socket *s;
    struct trickler trickler = {.stop = false};
    size_t len = (size_t)64 << 20, done = 0;
    char *buf = malloc(len);
    CHECK(buf != NULL);
    rig_pair(rig, &s, &trickler.s);
    EXPECT(weir_set_blocking(s, true), 0);
    struct rig_thread *t = rig_go(rig, trickle_on, &trickler);
    EXPECT(weir_set_timeout(s, 5 * RIG_MOMENT_MS), 0);
    EXPECT(weir_recv_exact(s, buf, len, &done), WEIR_EDEADLINE);
    CHECK(done < len);
    atomic_store(&trickler.stop, true);
    rig_join(t);
    free(buf);
}

SCENARIO(poller_obeys_limits_and_its_own_timeout)
{
    weir_poller *p;
    weir_event event;
    weir_socket *a, *b;
    rig_pair(rig, &a, &b);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, a, WEIR_READABLE, NULL), 0);
    EXPECT(weir_poller_wait(p, &event, 1, 0), 0);
    EXPECT(weir_poller_wait(p, &event, 1, RIG_MOMENT_MS), 0);
    {
        WEIR_WITHIN_MS(RIG_MOMENT_MS);
        EXPECT(weir_poller_wait(p, &event, 1, RIG_LONG_MS), WEIR_EDEADLINE);
        EXPECT(weir_poller_wait(p, &event, 1, -1), WEIR_EDEADLINE);
    }
    EXPECT(rig_send(rig, b, "x", 1), 1);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1);
    EXPECT(weir_poller_close(p), 0);
}
