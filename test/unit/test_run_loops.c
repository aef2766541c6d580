/* The loops of a run are all of one kind, whatever fails on the way to them. */
#include "support/ground.h"
#include "sys.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOPS 4

/* ---- what fails ----------------------------------------------------------------------------- */

static enum sys_call failing;
static int first, failures; /* from the first call on, so many; counted from 1 */
static atomic_int calls;

static int fails(enum sys_call call)
{
    if (call != failing)
        return 0;
    int n = atomic_fetch_add(&calls, 1) + 1;
    return n >= first && n < first + failures ? -EMFILE : 0;
}

static const struct sys_faults faults = {.error = fails};

static void let_fail(enum sys_call call, int nth, int count)
{
    failing = call;
    first = nth;
    failures = count;
    atomic_store(&calls, 0);
    sys_faults = &faults;
}

/* ---- what the loops are --------------------------------------------------------------------- */

static struct {
    atomic_uint count;
    const char *names[LOOPS];
} seen;

/* Each starts on another loop, and stays until all have begun. */
static int tells_its_loop(void *arg)
{
    weir_run_info info;
    EXPECT(weir_inspect_run(&info, sizeof info), 0);
    EXPECT(info.loops, LOOPS);
    seen.names[(intptr_t)arg] = info.loop;
    atomic_fetch_add(&seen.count, 1);
    while (atomic_load(&seen.count) < LOOPS)
        EXPECT(weir_yield(), 0);
    return 0;
}

static int ask_all(void *arg)
{
    weir_group *g;
    (void)arg;
    sys_faults = NULL;
    EXPECT(weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true)), 0);
    for (intptr_t i = 0; i < LOOPS; i++)
        EXPECT(weir_go(g, tells_its_loop, (void *)i), 0);
    group_end(g);
    return 0;
}

/* What weir_run returns, with as many loops as there are; 0: all of them are `*ret_name`. */
static int run_all(int loop, const char **ret_name)
{
    int result = 77;
    atomic_store(&seen.count, 0);
    EXPECT(setenv("WEIR_LOOPS", "4", 1), 0);
    int rc = weir_run(ask_all, NULL, WEIR_RUN_OPTIONS(.loop = loop, .max_loops = LOOPS), &result);
    EXPECT(unsetenv("WEIR_LOOPS"), 0);
    sys_faults = NULL;
    EXPECT(result, rc < 0 ? 77 : 0);
    EXPECT(atomic_load(&seen.count), rc < 0 ? 0 : LOOPS);
    for (int i = 1; i < LOOPS && rc == 0; i++) {
        bool same = !strcmp(seen.names[i], seen.names[0]);
        if (!same)
            printf("loop %d is %s, the first is %s\n", i, seen.names[i], seen.names[0]);
        CHECK(same);
    }
    *ret_name = seen.names[0];
    return rc;
}

/* ---- what must hold ------------------------------------------------------------------------- */

static void loops_are_of_one_kind(void)
{
    const char *named, *found;
    if (!ground->tasks)
        return;
    EXPECT(run_all(ground->loop, &named), 0);
    CHECK(!strcmp(named, ground->name));
    EXPECT(run_all(WEIR_LOOP_AUTO, &found), 0);
}

static const enum sys_call steps[] = {
    SYS_RING_SETUP, SYS_RING_ENTER, SYS_EPOLL_CREATE, SYS_EPOLL_CTL, SYS_EVENTFD,
};
#define STEPS (sizeof steps / sizeof *steps)

/* What keeps the first loop from being of the better kind does so for the run. */
static void later_loops_are_what_the_first_is(void)
{
    const char *found;
    for (size_t i = 0; i < STEPS; i++) {
        let_fail(steps[i], 1, 1);
        EXPECT(run_all(WEIR_LOOP_AUTO, &found), 0);
    }
}

static int nothing(void *arg)
{
    sys_faults = NULL;
    return arg != NULL;
}

static int calls_of_one_loop(enum sys_call step)
{
    let_fail(step, 1, 0);
    EXPECT(weir_run(nothing, NULL, NULL, NULL), 0);
    return atomic_load(&calls);
}

/* Descriptors that run out after the first loop are told of, and not made up for by another kind:
 * a loop of poll(2) needs few. */
static void loops_without_descriptors_are_refused(void)
{
    const char *best, *found;
    char story[512];
    EXPECT(run_all(WEIR_LOOP_AUTO, &best), 0);
    for (size_t i = 0; i < STEPS; i++)
        for (int later = 0; later < LOOPS - 1; later++) {
            let_fail(steps[i], calls_of_one_loop(steps[i]) + 1 + later, 1000);
            int rc = run_all(WEIR_LOOP_AUTO, &found);
            CHECK(rc == -EMFILE || (rc == 0 && !strcmp(found, best)));
            CHECK(rc == -EMFILE || steps[i] != SYS_EVENTFD);
            CHECK(weir_error_detail(NULL, story, sizeof story) >= 0);
            CHECK(rc == 0 || strstr(story, best));
        }
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(BEFORE_RUN, loops_are_of_one_kind),
        GROUND_TEST(ONCE, later_loops_are_what_the_first_is),
        GROUND_TEST(ONCE, loops_without_descriptors_are_refused),
    };
    return ground_main(argc, argv, "run_loops", tests, sizeof tests / sizeof *tests);
}
