/* weir_serve on several loops. */
#include "support/serve_crowd.h"

#include <stdio.h>

/* ---- where connections live ----------------------------------------------------------------- */

static void check_that_it_is_even(void)
{
    EXPECT(threads_used(), LOOPS);
    for (int i = 0; i < LOOPS; i++) {
        int n = thread_connections(i);
        if (n < CROWD / LOOPS * 3 / 4 || n > CROWD / LOOPS * 5 / 4)
            printf("a loop has %d of %d\n", n, CROWD);
        CHECK(n >= CROWD / LOOPS * 3 / 4 && n <= CROWD / LOOPS * 5 / 4);
    }
}

static void spread_over(const char *target, int listeners)
{
    struct serving sv = {.handler = stays_and_echoes};
    serving_listen(&sv, target);
    serving_start(&sv);
    crowd_comes(&sv);
    EXPECT(listeners_at(&sv), listeners);
    check_that_it_is_even();
    crowd_asks_and_leaves();
    until(&sv.ended, CROWD);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.begun), CROWD);
    EXPECT(atomic_load(&sv.told), 0);
    EXPECT(atomic_load(&sv.full), 0);
}

static void spread_over_tcp(void)
{
    spread_over("tcp://127.0.0.1:0", LOOPS);
    forget_threads();
    spread_over("tcp://[::1]:0", LOOPS);
}

static void tcp_connections_are_spread_evenly(void)
{
    on_loops(LOOPS, spread_over_tcp);
}

static void spread_over_unix(void)
{
    char target[64];
    snprintf(target, sizeof target, "unix:@weir-test-serve-%d", (int)getpid());
    spread_over(target, 0);
}

static void unix_connections_are_spread_evenly(void)
{
    on_loops(LOOPS, spread_over_unix);
}

/* What the program has set on the descriptor no other would have. */
static void spread_over_adopted(void)
{
    struct serving sv = {.handler = stays_and_echoes};
    weir_socket *listener, *adopted;
    EXPECT(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_from_fd(&adopted, dup(weir_fd(listener))), 0);
    EXPECT(weir_close(listener), 0);
    serving_listen_on(&sv, adopted);
    serving_start(&sv);
    crowd_comes(&sv);
    EXPECT(listeners_at(&sv), 1);
    check_that_it_is_even();
    crowd_asks_and_leaves();
    until(&sv.ended, CROWD);
    serving_end(&sv);
}

static void adopted_listeners_stay_alone(void)
{
    on_loops(LOOPS, spread_over_adopted);
}

static void stay_here(void)
{
    struct serving sv = {.handler = stays_and_echoes, .options.loops = 1};
    serving_begin(&sv);
    crowd_comes(&sv);
    EXPECT(listeners_at(&sv), 1);
    EXPECT(threads_used(), 1);
    EXPECT(thread_is_mine(), 1);
    crowd_asks_and_leaves();
    until(&sv.ended, CROWD);
    serving_end(&sv);
}

static void one_loop_is_the_callers(void)
{
    on_loops(LOOPS, stay_here);
}

static void use_two(void)
{
    struct serving sv = {.handler = stays_and_echoes, .options.loops = 2};
    serving_begin(&sv);
    crowd_comes(&sv);
    EXPECT(threads_used(), 2);
    crowd_asks_and_leaves();
    until(&sv.ended, CROWD);
    serving_end(&sv);
    forget_threads();
    struct serving more = {.handler = stays_and_echoes, .options.loops = 1000};
    serving_begin(&more);
    crowd_comes(&more);
    EXPECT(threads_used(), LOOPS);
    crowd_asks_and_leaves();
    until(&more.ended, CROWD);
    serving_end(&more);
}

static void so_many_loops_at_most(void)
{
    on_loops(LOOPS, use_two);
}

/* ---- all together --------------------------------------------------------------------------- */

static int comes_and_asks(void *arg)
{
    weir_socket *c = visitor(arg);
    visitor_asks(c);
    EXPECT(weir_close(c), 0);
    return 0;
}

static void limit_all(void)
{
    struct serving sv = {.handler = stays_and_echoes, .options.max_connections = 4};
    weir_group *g;
    serving_begin(&sv);
    EXPECT(weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true)), 0);
    for (int i = 0; i < 2 * CROWD; i++)
        EXPECT(weir_go(g, comes_and_asks, &sv), 0);
    group_end(g);
    until(&sv.ended, 2 * CROWD);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.begun), 2 * CROWD);
    EXPECT(atomic_load(&sv.most), 4);
}

static void max_connections_is_for_all_loops_together(void)
{
    on_loops(LOOPS, limit_all);
}

/* Who had connected before the end began is served, whichever queue he was in. */
static void end_in_a_storm(void)
{
    for (int round = 0; round < (ground_is_slow() ? 3 : 10); round++) {
        struct serving sv = {.handler = stays_and_echoes, .options.drain_ms = LONG_MS};
        serving_begin(&sv);
        other_until_asleep(&sv.other);
        for (int i = 0; i < CROWD; i++)
            crowd[i] = visitor(&sv);
        serving_cancel(&sv);
        crowd_asks_and_leaves();
        EXPECT(serving_result(&sv), 0);
        EXPECT(atomic_load(&sv.begun), CROWD);
        visitor_is_refused(&sv);
    }
}

static void queues_of_all_loops_are_served_at_the_end(void)
{
    on_loops(LOOPS, end_in_a_storm);
}

static void abort_it(void)
{
    struct serving sv = {.handler = waits_for_ever};
    serving_begin(&sv);
    for (int i = 0; i < CROWD; i++)
        crowd[i] = visitor(&sv);
    until(&sv.begun, CROWD);
    EXPECT(weir_abort(sv.listener), 0);
    EXPECT(serving_result(&sv), WEIR_ECLOSED);
    EXPECT(atomic_load(&sv.told), CROWD);
    for (int i = 0; i < CROWD; i++)
        visitor_sees_the_end(crowd[i]);
    visitor_is_refused(&sv);
}

static void abort_ends_all_loops(void)
{
    on_loops(LOOPS, abort_it);
}

/* ---- the end --------------------------------------------------------------------------------- */

#define PARTY 6

static atomic_int cancelled;

/* Says goodbye when all others have been cancelled. */
static int leaves_last(weir_socket *s, struct serving *sv)
{
    (void)s, (void)sv;
    EXPECT(weir_sleep(-1), -ECANCELED);
    atomic_fetch_add(&cancelled, 1);
    WEIR_SHIELDED_MS(LONG_MS);
    while (atomic_load(&cancelled) < PARTY)
        EXPECT(weir_sleep(1), 0);
    return 0;
}

static void end_a_party(void)
{
    struct serving sv = {.handler = leaves_last};
    weir_socket *guests[PARTY];
    atomic_store(&cancelled, 0);
    serving_begin(&sv);
    for (int i = 0; i < PARTY; i++)
        guests[i] = visitor(&sv);
    until(&sv.begun, PARTY);
    serving_end(&sv);
    for (int i = 0; i < PARTY; i++)
        visitor_sees_the_end(guests[i]);
}

/* A goodbye on one of them does not keep the others going. */
static void all_loops_are_cancelled_at_once(void)
{
    on_loops(LOOPS, end_a_party);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(BEFORE_RUN, tcp_connections_are_spread_evenly),
        GROUND_TEST(BEFORE_RUN, unix_connections_are_spread_evenly),
        GROUND_TEST(BEFORE_RUN, adopted_listeners_stay_alone),
        GROUND_TEST(BEFORE_RUN, one_loop_is_the_callers),
        GROUND_TEST(BEFORE_RUN, so_many_loops_at_most),
        GROUND_TEST(BEFORE_RUN, max_connections_is_for_all_loops_together),
        GROUND_TEST(BEFORE_RUN, queues_of_all_loops_are_served_at_the_end),
        GROUND_TEST(BEFORE_RUN, abort_ends_all_loops),
        GROUND_TEST(BEFORE_RUN, all_loops_are_cancelled_at_once),
    };
    return ground_main(argc, argv, "serve_loops", tests, sizeof tests / sizeof *tests);
}
