/* Relays and their idle limits. */
#include "clock.h"
#include "support/ground.h"
#include "support/relay_line.h"
#include "sys.h"

#include <limits.h>
#include <sched.h>
#include <weir/relay.h>

#define IDLE_MS 60

static uint64_t real_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- both directions count ------------------------------------------------------------------ */

struct pulse {
    struct line *l;
    bool back;
    atomic_bool over;
    atomic_int beats;           /* INT_MAX when there are no more */
    uint64_t begun_ns, last_ns; /* when a byte was sent */
    uint64_t longest_ns;        /* between two of them */
};

static void note_beat(struct pulse *p, uint64_t now_ns)
{
    uint64_t since_ns = now_ns > p->last_ns ? now_ns - p->last_ns : 0;
    p->longest_ns = since_ns > p->longest_ns ? since_ns : p->longest_ns;
    p->last_ns = now_ns;
}

/* All threads but that of the silent direction. */
static _Thread_local bool quick;

/* A byte after the other, each when the last has arrived. */
static int beat(void *arg)
{
    struct pulse *p = arg;
    weir_socket *from = p->back ? p->l->far[1] : p->l->near[0];
    weir_socket *to = p->back ? p->l->near[0] : p->l->far[1];
    char c;
    quick = true;
    while (!atomic_load(&p->over) && sys_now() - p->begun_ns < 5 * IDLE_MS * NS_PER_MS) {
        WEIR_WITHIN_MS(LONG_MS);
        note_beat(p, sys_now());
        EXPECT(weir_send(from, "x", 1), 1);
        while (!atomic_load(&p->over)) {
            weir_set_timeout(to, MOMENT_MS);
            ssize_t n = weir_recv(to, &c, 1);
            CHECK(n == 1 || n == WEIR_EDEADLINE);
            if (n == 1)
                break;
        }
        atomic_fetch_add(&p->beats, 1);
    }
    atomic_store(&p->beats, INT_MAX);
    return 0;
}

static void set_idle_limit(struct line *l, bool of_socket)
{
    if (of_socket)
        EXPECT(weir_set_timeout(l->near[1], IDLE_MS), 0);
    else
        l->options.idle_ms = IDLE_MS;
}

/* One direction is silent for many times the limit while something moves in the other; and then it
 * ends. On a machine that stood still for so long by itself it may end before: since something
 * moved one byte at most was sent. */
static void one_direction_is_enough(struct pulse *p, struct line *l)
{
    weir_group *g = group_open();
    p->begun_ns = p->last_ns = sys_now();
    EXPECT(weir_go(g, beat, p), 0);
    EXPECT(line_relay(l), WEIR_EDEADLINE);
    uint64_t ended_ns = sys_now();
    atomic_store(&p->over, true);
    group_end(g);
    bool lasted = p->last_ns - p->begun_ns >= 4 * IDLE_MS * NS_PER_MS;
    note_beat(p, ended_ns);
    CHECK(lasted || p->longest_ns >= IDLE_MS / 2 * NS_PER_MS);
    EXPECT(l->result.a_error, 0);
    EXPECT(l->result.b_error, 0);
}

static void one_direction_keeps_the_other(void)
{
    for (int back = 0; back < 2; back++) {
        struct line l;
        line_open(&l, back);
        struct pulse p = {.l = &l, .back = back};
        set_idle_limit(&l, !back);
        one_direction_is_enough(&p, &l);
        line_close(&l);
    }
}

static struct pulse *_Atomic pulse;

static bool has_moved_since(struct pulse *p, int beats)
{
    int now = atomic_load(&p->beats);
    return now == INT_MAX || now - beats >= 2;
}

/* Much happens between the time and whoever has asked for it, unless the relay ends. By the second
 * beat the direction that moves is known. */
static uint64_t slow_now(void)
{
    uint64_t now_ns = real_now();
    struct pulse *p = atomic_load(&pulse);
    int beats = atomic_load(&p->beats);
    if (!quick && beats >= 2)
        while (!has_moved_since(p, beats) && real_now() - now_ns < IDLE_MS / 2 * NS_PER_MS)
            sched_yield();
    return now_ns;
}

static void be_quick(void *arg, bool to_b, size_t n)
{
    (void)arg;
    (void)to_b;
    (void)n;
    quick = true;
}

/* What moves while the silent direction looks at the clock has moved after that. */
static void what_moves_meanwhile_is_not_long_ago(void)
{
    static const struct sys_faults faults = {.now = slow_now};
    if (ground->tasks)
        return; /* nothing moves meanwhile */
    for (int back = 0; back < 2; back++) {
        struct line l;
        line_open(&l, back);
        struct pulse p = {.l = &l, .back = back};
        l.options.moved = be_quick;
        set_idle_limit(&l, back);
        quick = true;
        atomic_store(&pulse, &p);
        sys_faults = &faults;
        one_direction_is_enough(&p, &l);
        sys_faults = NULL;
        line_close(&l);
    }
}

/* ---- who is told ---------------------------------------------------------------------------- */

#define TIMES 5

static _Atomic uint64_t ahead_ns;

static uint64_t now_ahead(void)
{
    return real_now() + atomic_load(&ahead_ns);
}

struct told {
    struct line *l;
    int times;
};

static void take_long(void *arg, bool to_b, size_t n)
{
    struct told *t = arg;
    EXPECT(to_b, true);
    EXPECT((long long)n, 1);
    EXPECT(weir_time_left(), -1);
    if (++t->times < TIMES) {
        EXPECT(weir_send(t->l->near[0], "x", 1), 1);
    } else {
        EXPECT(weir_shutdown(t->l->near[0], SHUT_WR), 0);
        EXPECT(weir_shutdown(t->l->far[1], SHUT_WR), 0);
    }
    atomic_fetch_add(&ahead_ns, 3 * LONG_MS * NS_PER_MS);
    EXPECT(weir_sleep(1), 0); /* the other direction looks at its limit */
}

/* While somebody is told of what moved the relay is not idle, however long he takes. */
static void whoever_is_told_takes_his_time(void)
{
    static const struct sys_faults faults = {.now = now_ahead};
    for (int of_socket = 0; of_socket < 2; of_socket++) {
        struct line l;
        line_open(&l, of_socket);
        struct told t = {.l = &l};
        l.options.moved = take_long;
        l.options.arg = &t;
        if (of_socket)
            EXPECT(weir_set_timeout(l.far[0], LONG_MS), 0);
        else
            l.options.idle_ms = LONG_MS;
        EXPECT(weir_send(l.near[0], "x", 1), 1);
        sys_faults = &faults;
        EXPECT(line_relay(&l), 0);
        sys_faults = NULL;
        EXPECT((long long)l.result.a_to_b, TIMES);
        line_close(&l);
    }
}

/* ---- time-outs that change ------------------------------------------------------------------ */

static int relay_ends_by_itself(void *line)
{
    WEIR_WITHIN_MS(LONG_MS);
    int rc = line_relay(line);
    CHECK(weir_time_left() > 0);
    return rc;
}

static void pass(weir_socket *from, weir_socket *to)
{
    char c;
    EXPECT(weir_send(from, "x", 1), 1);
    EXPECT(weir_recv(to, &c, 1), 1);
}

/* One that is set meanwhile, or made shorter, is an idle limit from what moves next. */
static void a_time_out_is_set_meanwhile(void)
{
    for (int shorter = 0; shorter < 2; shorter++) {
        for (int back = 0; back < 2; back++) {
            struct line l;
            struct other other;
            line_open(&l, back);
            weir_socket *x = l.near[0], *y = l.far[1];
            weir_group *g = group_open();
            if (shorter)
                EXPECT(weir_set_timeout(l.near[1], 10 * LONG_MS), 0);
            other_go(&other, g, relay_ends_by_itself, &l);
            pass(x, y);
            pass(y, x);
            EXPECT(weir_set_timeout(back ? l.near[1] : l.far[0], MOMENT_MS), 0);
            EXPECT(weir_send(back ? y : x, "x", 1), 1);
            group_end(g);
            EXPECT(other.rc, WEIR_EDEADLINE);
            EXPECT((long long)(l.result.a_to_b + l.result.b_to_a), 3);
            line_close(&l);
        }
    }
}

struct freed {
    weir_socket *s;
    _Atomic uint64_t at_ns; /* 0 before */
};

static void set_free(void *arg, bool to_b, size_t n)
{
    struct freed *f = arg;
    (void)to_b;
    (void)n;
    EXPECT(weir_set_timeout(f->s, -1), 0);
    atomic_store(&f->at_ns, sys_now());
}

/* Without it there is no limit any more, also for the direction that waits already. */
static void a_time_out_is_taken_away_meanwhile(void)
{
    struct line l;
    struct other other;
    line_open(&l, false);
    struct freed f = {.s = l.near[1]};
    weir_group *g = group_open();
    l.options.moved = set_free;
    l.options.arg = &f;
    EXPECT(weir_set_timeout(l.near[1], IDLE_MS), 0);
    EXPECT(weir_send(l.near[0], "x", 1), 1);
    uint64_t begun_ns = sys_now();
    other_go(&other, g, line_relay, &l);
    EXPECT(weir_sleep(3 * IDLE_MS), 0);
    EXPECT(weir_shutdown(l.near[0], SHUT_WR), 0);
    EXPECT(weir_shutdown(l.far[1], SHUT_WR), 0);
    group_end(g);
    bool stood_still = f.at_ns == 0 || f.at_ns - begun_ns >= IDLE_MS * NS_PER_MS;
    CHECK(other.rc == 0 || (other.rc == WEIR_EDEADLINE && stood_still));
    line_close(&l);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, one_direction_keeps_the_other),
        GROUND_TEST(EVERYWHERE, what_moves_meanwhile_is_not_long_ago),
        GROUND_TEST(EVERYWHERE, whoever_is_told_takes_his_time),
        GROUND_TEST(EVERYWHERE, a_time_out_is_set_meanwhile),
        GROUND_TEST(EVERYWHERE, a_time_out_is_taken_away_meanwhile),
    };
    return ground_main(argc, argv, "relay idle", tests, sizeof tests / sizeof *tests);
}
