/* What tasks cost that stay on one loop: tasks yield|spawn|timers ROUNDS COUNT [LIVE]
 *
 *     yield    two tasks take turns: COUNT times there and back
 *     spawn    COUNT tasks, a hundred at a time, are started, run, end, and are waited for
 *     timers   a task waits COUNT times for another, with a limit and without, while LIVE others
 *              wait under limits of their own
 *
 * Prints `ROUND NAME NANOSECONDS` for each block, of CPU time. */
#include "support/bench.h"

#include <stdio.h>
#include <string.h>
#include <weir.h>

#define AT_A_TIME 100

static long rounds, count, live;

static void show(long round, const char *name, uint64_t start_ns)
{
    printf("%ld %s %lu\n", round, name, (unsigned long)(bench_thread_ns() - start_ns));
}

static weir_group *open_group(void)
{
    weir_group *g;

    bench_check("weir_group_open", weir_group_open(&g, NULL));
    return g;
}

/* ---- yield ----------------------------------------------------------------------------------- */

static int yield_on(void *arg)
{
    (void)arg;
    while (weir_yield() == 0)
        continue;
    return 0;
}

static int run_yield(void *arg)
{
    weir_group *g = open_group();

    (void)arg;
    bench_check("weir_go", weir_go(g, yield_on, NULL));
    for (long round = 0; round < rounds; round++) {
        uint64_t start_ns = bench_thread_ns();
        for (long i = 0; i < count; i++)
            weir_yield();
        show(round, "weir", start_ns);
    }
    return weir_group_close(g);
}

/* ---- spawn ----------------------------------------------------------------------------------- */

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void spawn(weir_group *g)
{
    for (long i = 0; i < count; i += AT_A_TIME) {
        for (int j = 0; j < AT_A_TIME; j++)
            bench_check("weir_go", weir_go(g, nothing, NULL));
        weir_group_wait(g, NULL);
    }
}

static int run_spawn(void *arg)
{
    weir_group *g = open_group();

    (void)arg;
    spawn(g);
    for (long round = 0; round < rounds; round++) {
        uint64_t start_ns = bench_thread_ns();
        spawn(g);
        show(round, "weir", start_ns);
    }
    return weir_group_close(g);
}

/* ---- timers ---------------------------------------------------------------------------------- */

struct lines {
    weir_channel *there, *back;
};

static int answer(void *arg)
{
    const struct lines *l = arg;
    int item;

    while (weir_channel_recv(l->there, &item) == 1 && weir_channel_send(l->back, &item) == 0)
        continue;
    return 0;
}

static int sleep_long(void *arg)
{
    return weir_sleep(*(int64_t *)arg);
}

static void ask(const struct lines *l)
{
    int item = 0;

    bench_check("weir_channel_send", weir_channel_send(l->there, &item));
    bench_check("weir_channel_recv", weir_channel_recv(l->back, &item));
}

static void ask_often(const struct lines *l, long round, const char *name)
{
    uint64_t start_ns = bench_thread_ns();

    for (long i = 0; i < count; i++)
        ask(l);
    show(round, name, start_ns);
}

/* Times that are far away, and in no order. */
static void start_sleepers(weir_group *g)
{
    uint64_t state = 1;

    for (long i = 0; i < live; i++) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        int64_t timeout_ms = 3600000 + (int64_t)(state >> 44);
        bench_check("weir_go", weir_go_copy(g, sleep_long, &timeout_ms, sizeof timeout_ms));
    }
    weir_yield();
}

static int run_timers(void *arg)
{
    weir_group *g = open_group();
    struct lines l;

    (void)arg;
    bench_check("weir_channel_open", weir_channel_open(&l.there, sizeof(int), 1));
    bench_check("weir_channel_open", weir_channel_open(&l.back, sizeof(int), 1));
    bench_check("weir_go", weir_go(g, answer, &l));
    start_sleepers(g);
    for (long round = 0; round < rounds; round++) {
        ask_often(&l, round, "free");
        weir_scope limit = weir_deadline_start(1800000);
        ask_often(&l, round, "limited");
        ask_often(&l, round, "limited");
        weir_scope_end(limit);
        ask_often(&l, round, "free");
    }
    fflush(stdout);
    weir_group_close(g);
    weir_channel_close(l.there);
    weir_channel_close(l.back);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void *arg);
    } kinds[] = {{"yield", run_yield}, {"spawn", run_spawn}, {"timers", run_timers}};

    if (argc == 4 || argc == 5) {
        rounds = bench_number(argv[2], 1);
        count = bench_number(argv[3], 1);
        live = argc == 5 ? bench_number(argv[4], 0) : 0;
    }
    for (size_t i = 0; rounds > 0 && i < BENCH_LENGTH(kinds); i++) {
        if (strcmp(argv[1], kinds[i].name) == 0) {
            bench_pin(0);
            bench_check("weir_run", weir_run(kinds[i].run, NULL, NULL, NULL));
            return 0;
        }
    }
    fprintf(stderr, "usage: tasks yield|spawn|timers ROUNDS COUNT [LIVE]\n");
    return 2;
}
