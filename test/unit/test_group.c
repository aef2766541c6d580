/* Groups: they are waited for, fail, are cancelled and closed as they say, whatever their tasks are
 * made of. */
#include "support/ground.h"

#include <stdio.h>
#include <stdlib.h>

static int returns(void *arg)
{
    return (int)(intptr_t)arg;
}

static void *number(int n)
{
    return (void *)(intptr_t)n;
}

static int sleeps_until_cancelled(void *arg)
{
    int rc = weir_sleep(-1);
    EXPECT(rc, -ECANCELED);
    if (arg)
        atomic_fetch_add((atomic_int *)arg, 1);
    return rc;
}

static int counts(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

/* ---- waiting and results -------------------------------------------------------------------- */

static void wait_returns_0_whatever_the_tasks_return(void)
{
    weir_group *g = group_open();
    int failure = 99;
    EXPECT(weir_go(g, returns, number(0)), 0);
    EXPECT(weir_go(g, returns, number(7)), 0);
    EXPECT(weir_group_wait(g, &failure), 0);
    EXPECT(failure, 0);
    EXPECT(weir_go(g, returns, number(-42)), 0);
    EXPECT(weir_group_wait(g, &failure), 0);
    EXPECT(failure, -42);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
}

static void first_failure_is_the_first_and_stays(void)
{
    weir_group *g = group_open();
    int failure = 99;
    for (int i = 1; i <= 3; i++) {
        EXPECT(weir_go(g, returns, number(-i)), 0);
        EXPECT(weir_group_wait(g, &failure), 0);
        EXPECT(failure, -1);
    }
    EXPECT(weir_group_close(g), 0);
}

static void wait_without_tasks(void)
{
    weir_group *g = group_open();
    int failure = 99;
    EXPECT(weir_group_wait(g, &failure), 0);
    EXPECT(failure, 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
}

static void more_may_be_started_after_a_wait(void)
{
    weir_group *g = group_open();
    atomic_int count = 0;
    for (int i = 0; i < 10; i++) {
        EXPECT(weir_go(g, counts, &count), 0);
        EXPECT(weir_group_wait(g, NULL), 0);
        EXPECT(atomic_load(&count), i + 1);
    }
    EXPECT(weir_group_close(g), 0);
}

static void wait_gives_up_at_a_limit(void)
{
    weir_group *g = group_open();
    struct other sleeper, failed;
    int failure = 99;
    other_go(&sleeper, g, sleeps_until_cancelled, NULL);
    {
        WEIR_WITHIN_MS(MOMENT_MS);
        EXPECT(weir_group_wait(g, &failure), WEIR_EDEADLINE);
        EXPECT(failure, 0); /* none as yet */
    }
    other_go(&failed, g, returns, number(-5));
    other_until_ended(&failed);
    do {
        WEIR_WITHIN_MS(MOMENT_MS);
        EXPECT(weir_group_wait(g, &failure), WEIR_EDEADLINE);
    } while (failure == 0); /* its result may come a moment after its end */
    EXPECT(failure, -5);
    EXPECT(weir_group_close(g), 0);
}

struct waiting {
    weir_group *g;
    int rc, failure;
};

static int waits_for_group(void *arg)
{
    struct waiting *w = arg;
    w->rc = weir_group_wait(w->g, &w->failure);
    return 0;
}

static void wait_ends_when_the_caller_is_cancelled(void)
{
    weir_group *inner = group_open(), *outer = group_open();
    struct waiting w = {.g = inner, .failure = 99};
    struct other waiter;
    EXPECT(weir_go(inner, sleeps_until_cancelled, NULL), 0);
    other_go(&waiter, outer, waits_for_group, &w);
    other_until_asleep(&waiter);
    EXPECT(weir_group_cancel(outer), 0);
    EXPECT(weir_group_wait(outer, NULL), 0);
    EXPECT(w.rc, -ECANCELED);
    EXPECT(w.failure, 0);
    EXPECT(weir_group_close(outer), 0);
    EXPECT(weir_group_close(inner), 0);
}

static void several_may_wait(void)
{
    weir_group *inner = group_open(), *outer = group_open();
    struct waiting w[3];
    struct other waiter[3], sleeper;
    other_go(&sleeper, inner, sleeps_until_cancelled, NULL);
    for (int i = 0; i < 3; i++) {
        w[i] = (struct waiting){.g = inner, .rc = 99};
        other_go(&waiter[i], outer, waits_for_group, &w[i]);
        other_until_asleep(&waiter[i]);
    }
    EXPECT(weir_group_cancel(inner), 0);
    EXPECT(weir_group_wait(outer, NULL), 0);
    for (int i = 0; i < 3; i++) {
        EXPECT(w[i].rc, 0);
        EXPECT(w[i].failure, -ECANCELED);
    }
    EXPECT(weir_group_close(outer), 0);
    EXPECT(weir_group_close(inner), 0);
}

/* ---- from inside ---------------------------------------------------------------------------- */

static int meddles_with_its_own_group(void *arg)
{
    int failure = 99;
    EXPECT(weir_group_wait(arg, &failure), -EDEADLK);
    EXPECT(weir_group_close(arg), -EDEADLK);
    EXPECT(weir_sleep(0), 0); /* nothing was done: it is not cancelled */
    EXPECT(weir_yield(), 0);
    return 0;
}

static void own_group_cannot_be_waited_for_or_closed(void)
{
    weir_group *g = group_open();
    EXPECT(weir_go(g, meddles_with_its_own_group, g), 0);
    group_end(g);
}

struct family {
    weir_group *g;
    atomic_int *count;
    int left;
};

static int starts_another(void *arg)
{
    struct family f = *(struct family *)arg;
    atomic_fetch_add(f.count, 1);
    if (--f.left)
        EXPECT(weir_go_copy(f.g, starts_another, &f, sizeof f), 0);
    return 0;
}

static void tasks_start_tasks_in_their_own_group(void)
{
    atomic_int count = 0;
    struct family f = {group_open(), &count, 50};
    EXPECT(weir_go_copy(f.g, starts_another, &f, sizeof f), 0);
    EXPECT(weir_group_wait(f.g, NULL), 0);
    EXPECT(atomic_load(&count), 50);
    EXPECT(weir_group_close(f.g), 0);
}

static int cancels_its_own_group(void *arg)
{
    EXPECT(weir_sleep(0), 0);
    EXPECT(weir_group_cancel(arg), 0);
    EXPECT(weir_sleep(0), -ECANCELED);
    EXPECT(weir_sleep(-1), -ECANCELED);
    EXPECT(weir_yield(), -ECANCELED);
    return 0;
}

static void group_cancelled_from_inside(void)
{
    weir_group *g = group_open();
    atomic_int cancelled = 0;
    struct other sleeper;
    other_go(&sleeper, g, sleeps_until_cancelled, &cancelled);
    other_until_asleep(&sleeper);
    EXPECT(weir_go(g, cancels_its_own_group, g), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(atomic_load(&cancelled), 1);
    EXPECT(weir_group_close(g), 0);
}

/* ---- failing -------------------------------------------------------------------------------- */

static void failure_cancels_the_siblings_if_asked_to(void)
{
    weir_group *g;
    atomic_int cancelled = 0;
    int failure = 99;
    EXPECT(weir_group_open(&g, WEIR_GROUP_OPTIONS(.fail_fast = true)), 0);
    for (int i = 0; i < 3; i++)
        EXPECT(weir_go(g, sleeps_until_cancelled, &cancelled), 0);
    EXPECT(weir_go(g, returns, number(7)), 0); /* no failure */
    EXPECT(weir_go(g, returns, number(-7)), 0);
    EXPECT(weir_group_wait(g, &failure), 0);
    EXPECT(failure, -7);
    EXPECT(atomic_load(&cancelled), 3);
    EXPECT(weir_go(g, sleeps_until_cancelled, &cancelled), 0); /* and later ones */
    EXPECT(weir_group_wait(g, &failure), 0);
    EXPECT(failure, -7);
    EXPECT(weir_group_close(g), 0);
}

static int waits_for_byte(void *arg)
{
    char byte;
    EXPECT(weir_recv(arg, &byte, 1), 1);
    return 0;
}

static void failure_leaves_the_siblings_alone_otherwise(void)
{
    weir_group *g = group_open();
    weir_socket *pair[2];
    int failure = 99;
    stream_pair(pair);
    EXPECT(weir_go(g, waits_for_byte, pair[0]), 0);
    struct other failed;
    other_go(&failed, g, returns, number(-7));
    other_until_ended(&failed);
    EXPECT(weir_send(pair[1], "x", 1), 1);
    EXPECT(weir_group_wait(g, &failure), 0);
    EXPECT(failure, -7);
    EXPECT(weir_group_close(g), 0);
    pair_close(pair);
}

/* ---- cancelling and closing ----------------------------------------------------------------- */

static void cancel_reaches_all_and_may_be_repeated(void)
{
    weir_group *g = group_open();
    struct other o[5];
    atomic_int cancelled = 0;
    int failure;
    for (int i = 0; i < 5; i++)
        other_go(&o[i], g, sleeps_until_cancelled, &cancelled);
    other_until_asleep(&o[0]);
    EXPECT(weir_group_cancel(g), 0);
    EXPECT(weir_group_cancel(g), 0);
    EXPECT(weir_group_wait(g, &failure), 0);
    EXPECT(failure, -ECANCELED);
    EXPECT(atomic_load(&cancelled), 5);
    EXPECT(weir_group_cancel(g), 0);
    EXPECT(weir_group_close(g), 0);
}

static int finds_itself_cancelled(void *arg)
{
    EXPECT(weir_sleep(0), -ECANCELED);
    EXPECT(weir_yield(), -ECANCELED);
    {
        WEIR_SHIELDED_MS(LONG_MS);
        EXPECT(weir_sleep(0), 0);
    }
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static void cancelled_group_still_runs_what_is_started(void)
{
    weir_group *g = group_open();
    atomic_int count = 0;
    EXPECT(weir_group_cancel(g), 0);
    EXPECT(weir_go(g, finds_itself_cancelled, &count), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_go(g, finds_itself_cancelled, &count), 0);
    EXPECT(weir_group_close(g), 0);
    EXPECT(atomic_load(&count), 2);
}

static void close_cancels_and_waits(void)
{
    weir_group *g = group_open();
    atomic_int cancelled = 0;
    for (int i = 0; i < 5; i++)
        EXPECT(weir_go(g, sleeps_until_cancelled, &cancelled), 0);
    EXPECT(weir_group_close(g), 0);
    EXPECT(atomic_load(&cancelled), 5);
}

static int takes_its_time(void *arg)
{
    EXPECT(weir_sleep(-1), -ECANCELED);
    WEIR_SHIELDED_MS(LONG_MS);
    EXPECT(weir_sleep(MOMENT_MS), 0);
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static void close_waits_though_a_limit_has_passed(void)
{
    weir_group *g = group_open();
    atomic_int ended = 0;
    for (int i = 0; i < 3; i++)
        EXPECT(weir_go(g, takes_its_time, &ended), 0);
    {
        WEIR_WITHIN_MS(0);
        EXPECT(weir_group_close(g), 0);
        EXPECT(atomic_load(&ended), 3);
        EXPECT(weir_sleep(1), WEIR_EDEADLINE); /* it still holds */
    }
}

static int opens_and_closes_a_group(void *arg)
{
    weir_group *g = group_open();
    for (int i = 0; i < 3; i++)
        EXPECT(weir_go(g, takes_its_time, arg), 0);
    EXPECT(weir_group_wait(g, NULL), -ECANCELED);
    EXPECT(weir_group_close(g), 0);
    EXPECT(atomic_load((atomic_int *)arg), 3);
    EXPECT(weir_sleep(1), -ECANCELED); /* it still holds */
    return 0;
}

static void close_waits_though_the_caller_is_cancelled(void)
{
    weir_group *g = group_open();
    struct other o;
    atomic_int ended = 0;
    other_go(&o, g, opens_and_closes_a_group, &ended);
    other_until_asleep(&o);
    EXPECT(weir_group_close(g), 0);
    EXPECT(atomic_load(&ended), 3);
}

static void what_was_started_runs_before_the_close_is_over(void)
{
    for (int i = 0; i < 20; i++) {
        weir_group *g = group_open();
        atomic_int count = 0;
        for (int j = 0; j < 3; j++)
            EXPECT(weir_go(g, counts, &count), 0);
        EXPECT(weir_group_close(g), 0);
        EXPECT(atomic_load(&count), 3);
    }
}

/* ---- nested --------------------------------------------------------------------------------- */

struct level {
    int depth;
    atomic_int *ended;
};

static int descends(void *arg)
{
    struct level below = *(struct level *)arg;
    atomic_int *ended = below.ended;
    if (below.depth-- == 0) {
        EXPECT(weir_sleep(-1), -ECANCELED);
    } else {
        weir_group *g = group_open();
        for (int i = 0; i < 3; i++)
            EXPECT(weir_go_copy(g, descends, &below, sizeof below), 0);
        EXPECT(weir_group_wait(g, NULL), -ECANCELED);
        EXPECT(weir_group_close(g), 0);
    }
    atomic_fetch_add(ended, 1);
    return -ECANCELED;
}

/* A cancel goes down as those who wait for their groups give up and close them. */
static void cancel_goes_down_through_groups(void)
{
    atomic_int ended = 0;
    struct level top = {3, &ended};
    weir_group *g = group_open();
    struct other o;
    other_go(&o, g, descends, &top);
    other_until_asleep(&o);
    EXPECT(weir_group_close(g), 0);
    EXPECT(atomic_load(&ended), 1 + 3 + 9 + 27);
}

static void many_tasks(void)
{
    int many = !ground->tasks || ground_is_slow() ? 200 : 20000;
    weir_group *g = group_open();
    atomic_int count = 0, cancelled = 0;
    for (int i = 0; i < many; i++) {
        EXPECT(weir_go(g, counts, &count), 0);
        EXPECT(weir_go(g, sleeps_until_cancelled, &cancelled), 0);
    }
    EXPECT(weir_group_cancel(g), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(atomic_load(&count), many);
    EXPECT(atomic_load(&cancelled), many);
    EXPECT(weir_group_close(g), 0);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, wait_returns_0_whatever_the_tasks_return),
        GROUND_TEST(EVERYWHERE, first_failure_is_the_first_and_stays),
        GROUND_TEST(EVERYWHERE, wait_without_tasks),
        GROUND_TEST(EVERYWHERE, more_may_be_started_after_a_wait),
        GROUND_TEST(EVERYWHERE, wait_gives_up_at_a_limit),
        GROUND_TEST(EVERYWHERE, wait_ends_when_the_caller_is_cancelled),
        GROUND_TEST(EVERYWHERE, several_may_wait),
        GROUND_TEST(EVERYWHERE, own_group_cannot_be_waited_for_or_closed),
        GROUND_TEST(EVERYWHERE, tasks_start_tasks_in_their_own_group),
        GROUND_TEST(EVERYWHERE, group_cancelled_from_inside),
        GROUND_TEST(EVERYWHERE, failure_cancels_the_siblings_if_asked_to),
        GROUND_TEST(EVERYWHERE, failure_leaves_the_siblings_alone_otherwise),
        GROUND_TEST(EVERYWHERE, cancel_reaches_all_and_may_be_repeated),
        GROUND_TEST(EVERYWHERE, cancelled_group_still_runs_what_is_started),
        GROUND_TEST(EVERYWHERE, close_cancels_and_waits),
        GROUND_TEST(EVERYWHERE, close_waits_though_a_limit_has_passed),
        GROUND_TEST(EVERYWHERE, close_waits_though_the_caller_is_cancelled),
        GROUND_TEST(EVERYWHERE, what_was_started_runs_before_the_close_is_over),
        GROUND_TEST(EVERYWHERE, cancel_goes_down_through_groups),
        GROUND_TEST(EVERYWHERE, many_tasks),
    };
    return ground_main(argc, argv, "group", tests, sizeof tests / sizeof *tests);
}
