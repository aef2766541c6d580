/* Runs inside tasks that have threads of their own: what holds for the task holds inside. */
#include "support/ground.h"

/* A run on the ground, in a task outside of any run. */
struct nested {
    struct other task;
    weir_group *g;
    int (*main)(void *arg);
    void *arg;
    atomic_bool began; /* set by `main` */
    int rc, result;
};

static int runs(void *arg)
{
    struct nested *n = arg;
    n->rc = weir_run(n->main, n, ground_options(), &n->result);
    return n->rc;
}

static void nested_go(struct nested *n, int (*main)(void *arg))
{
    *n = (struct nested){.g = group_open(), .main = main, .rc = 99, .result = 99};
    other_go(&n->task, n->g, runs, n);
}

static void nested_until_asleep(const struct nested *n)
{
    while (!atomic_load(&n->began))
        give_way();
    other_until_asleep(&n->task);
}

static void nested_ends(struct nested *n, int want)
{
    EXPECT(weir_group_close(n->g), 0);
    EXPECT(n->rc, 0);
    EXPECT(n->result, want);
}

/* ---- cancels -------------------------------------------------------------------------------- */

static int sleeps(void *arg)
{
    struct nested *n = arg;
    atomic_store(&n->began, true);
    return weir_sleep(-1);
}

/* Closing a group ends what its task waits for in a run. */
static void cancel_reaches_the_main_task(void)
{
    struct nested n;
    nested_go(&n, sleeps);
    nested_until_asleep(&n);
    nested_ends(&n, -ECANCELED);
}

/* Whenever it comes. */
static void cancel_may_come_before(void)
{
    int count = ground_is_slow() ? 20 : 200;
    for (int i = 0; i < count; i++) {
        struct nested n;
        nested_go(&n, sleeps);
        for (int steps = i % 7; steps > 0; steps--)
            give_way();
        nested_ends(&n, -ECANCELED);
    }
}

static int runs_when_cancelled(void *arg)
{
    struct nested *n = arg;
    atomic_store(&n->began, true);
    EXPECT(weir_sleep(-1), -ECANCELED);
    return runs(n);
}

static void main_runs_though_it_is_cancelled_before(void)
{
    struct nested n = {.g = group_open(), .main = sleeps, .rc = 99, .result = 99};
    other_go(&n.task, n.g, runs_when_cancelled, &n);
    nested_until_asleep(&n);
    nested_ends(&n, -ECANCELED);
}

static int just_sleeps(void *arg)
{
    int *rc = arg;
    *rc = weir_sleep(-1);
    return 0;
}

/* To its groups a cancel goes by way of the main task. */
static int waits_for_others(void *arg)
{
    struct nested *n = arg;
    int rc[3] = {0};
    weir_group *g = group_open();
    for (int i = 0; i < 3; i++)
        EXPECT(weir_go(g, just_sleeps, &rc[i]), 0);
    EXPECT(weir_yield(), 0);
    atomic_store(&n->began, true);
    int waited = weir_group_wait(g, NULL);
    EXPECT(weir_group_close(g), 0);
    for (int i = 0; i < 3; i++)
        EXPECT(rc[i], -ECANCELED);
    return waited;
}

static void cancel_ends_groups_inside(void)
{
    struct nested n;
    nested_go(&n, waits_for_others);
    nested_until_asleep(&n);
    nested_ends(&n, -ECANCELED);
}

/* ---- runs in runs in runs ------------------------------------------------------------------- */

struct depth {
    struct nested *n;
    int left;
};

static int goes_deeper(void *arg)
{
    struct depth *d = arg;
    int result = 99;
    if (d->left-- == 0)
        EXPECT(weir_run(sleeps, d->n, ground_options(), &result), 0);
    else
        EXPECT(weir_run(goes_deeper, d, WEIR_RUN_OPTIONS(.models = WEIR_THREADS), &result), 0);
    return result;
}

static int goes_down(void *arg)
{
    struct nested *n = arg;
    struct depth d = {n, 3};
    n->result = goes_deeper(&d);
    n->rc = 0;
    return 0;
}

static void cancel_reaches_the_innermost(void)
{
    struct nested n = {.g = group_open(), .rc = 99, .result = 99};
    other_go(&n.task, n.g, goes_down, &n);
    nested_until_asleep(&n);
    nested_ends(&n, -ECANCELED);
}

/* The end of a run cancels its tasks, also one that is in a run. */
static struct nested left;

static int leaves_a_run(void *arg)
{
    nested_go(&left, sleeps);
    nested_until_asleep(&left);
    return arg != NULL;
}

static void end_of_the_outer_run_ends_the_inner(void)
{
    EXPECT(weir_run(leaves_a_run, NULL, WEIR_RUN_OPTIONS(.models = WEIR_THREADS), NULL), 0);
    nested_ends(&left, -ECANCELED);
}

/* ---- shields and limits --------------------------------------------------------------------- */

static int sleeps_a_moment(void *arg)
{
    struct nested *n = arg;
    atomic_store(&n->began, true);
    return weir_sleep(MOMENT_MS);
}

static int runs_shielded(void *arg)
{
    weir_scope shield = weir_shield_start(LONG_MS);
    runs(arg);
    weir_scope_end(shield);
    EXPECT(weir_sleep(-1), -ECANCELED);
    return 0;
}

static void shield_holds_inside(void)
{
    struct nested n = {.g = group_open(), .main = sleeps_a_moment, .rc = 99, .result = 99};
    other_go(&n.task, n.g, runs_shielded, &n);
    EXPECT(weir_group_cancel(n.g), 0);
    nested_ends(&n, 0);
}

static int shields_itself(void *arg)
{
    struct nested *n = arg;
    EXPECT(sleeps(n), -ECANCELED);
    weir_scope shield = weir_shield_start(LONG_MS);
    EXPECT(weir_sleep(0), 0);
    weir_scope_end(shield);
    return weir_sleep(-1);
}

static void main_may_shield_itself(void)
{
    struct nested n;
    nested_go(&n, shields_itself);
    nested_until_asleep(&n);
    nested_ends(&n, -ECANCELED);
}

static int runs_under_a_limit(void *arg)
{
    weir_scope limit = weir_deadline_start(MOMENT_MS);
    runs(arg);
    weir_scope_end(limit);
    return 0;
}

static void limit_holds_inside(void)
{
    struct nested n = {.g = group_open(), .main = sleeps, .rc = 99, .result = 99};
    other_go(&n.task, n.g, runs_under_a_limit, &n);
    EXPECT(weir_group_wait(n.g, NULL), 0);
    nested_ends(&n, WEIR_EDEADLINE);
}

/* ---- the end -------------------------------------------------------------------------------- */

static int returns_at_once(void *arg)
{
    struct nested *n = arg;
    atomic_store(&n->began, true);
    return 0;
}

static int runs_again_and_again(void *arg)
{
    struct nested *n = arg;
    do
        runs(n);
    while (weir_yield() == 0);
    return 0;
}

/* A main task that ends at that moment is gone when the cancel would come. */
static void cancel_meets_the_end(void)
{
    int count = ground_is_slow() ? 10 : 100;
    for (int i = 0; i < count; i++) {
        struct nested n = {.g = group_open(), .main = returns_at_once, .rc = 99, .result = 99};
        other_go(&n.task, n.g, runs_again_and_again, &n);
        while (!atomic_load(&n.began))
            give_way();
        nested_ends(&n, 0);
    }
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(BEFORE_RUN, cancel_reaches_the_main_task),
        GROUND_TEST(BEFORE_RUN, cancel_may_come_before),
        GROUND_TEST(BEFORE_RUN, main_runs_though_it_is_cancelled_before),
        GROUND_TEST(BEFORE_RUN, cancel_ends_groups_inside),
        GROUND_TEST(BEFORE_RUN, cancel_reaches_the_innermost),
        GROUND_TEST(BEFORE_RUN, end_of_the_outer_run_ends_the_inner),
        GROUND_TEST(BEFORE_RUN, shield_holds_inside),
        GROUND_TEST(BEFORE_RUN, main_may_shield_itself),
        GROUND_TEST(BEFORE_RUN, limit_holds_inside),
        GROUND_TEST(BEFORE_RUN, cancel_meets_the_end),
    };
    return ground_main(argc, argv, "nested_runs", tests, sizeof tests / sizeof *tests);
}
