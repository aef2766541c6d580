/* weir_run: which model and loop it takes, what it refuses, and that it leaves nothing behind. */
#include "support/ground.h"
#include "sys.h"
#include "task/stack.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static weir_run_info looked; /* by the last `looks` */
static char reason[256];

static int looks(void *arg)
{
    EXPECT(weir_inspect_run(&looked, sizeof looked), 0);
    CHECK((size_t)snprintf(reason, sizeof reason, "%s", looked.reason) < sizeof reason);
    return (int)(intptr_t)arg;
}

static bool main_was_called;

static int notes_that_it_was_called(void *arg)
{
    main_was_called = true;
    return arg != NULL;
}

static int run_looking(const weir_run_options *options)
{
    int result = 99;
    looked = (weir_run_info){.model = -1};
    int rc = weir_run(looks, (void *)(intptr_t)7, options, &result);
    EXPECT(result, rc ? 99 : 7);
    return rc;
}

/* It is refused, `main` is not called, and the story names `parts`. */
static void expect_refused(const weir_run_options *options, int want, const char *part)
{
    char story[512] = "";
    int result = 99;
    main_was_called = false;
    EXPECT(weir_run(notes_that_it_was_called, NULL, options, &result), want);
    CHECK(!main_was_called);
    EXPECT(result, 99);
    CHECK(weir_error_detail(NULL, story, sizeof story) >= 0);
    if (part && !strstr(story, part))
        printf("the story \"%s\" does not name \"%s\"\n", story, part);
    CHECK(!part || strstr(story, part));
}

/* ---- which model, which loop ---------------------------------------------------------------- */

static void tasks_are_the_default(void)
{
    EXPECT(run_looking(NULL), 0);
    EXPECT(looked.model, WEIR_TASKS);
    EXPECT(looked.loops, 1);
    CHECK(*looked.loop);
    EXPECT(run_looking(WEIR_RUN_OPTIONS(.max_loops = 1)), 0);
    EXPECT(looked.model, WEIR_TASKS);
    EXPECT(run_looking(WEIR_RUN_OPTIONS(.models = WEIR_THREADS | WEIR_TASKS)), 0);
    EXPECT(looked.model, WEIR_TASKS);
}

static void program_names_the_model(void)
{
    EXPECT(run_looking(ground_options()), 0);
    EXPECT(looked.model, (int)ground->models);
    if (ground->tasks) {
        CHECK(!strcmp(looked.loop, ground->name));
        CHECK(!strcmp(reason, "asked for") && looked.loops == 1);
    } else {
        CHECK(!*looked.loop && !*reason && !looked.loops);
    }
}

static void environment_chooses_the_model(void)
{
    const weir_run_options *both = WEIR_RUN_OPTIONS(.models = WEIR_TASKS | WEIR_THREADS);
    setenv("WEIR_MODEL", "threads", 1);
    EXPECT(run_looking(both), 0);
    EXPECT(looked.model, WEIR_THREADS);
    CHECK(!*looked.loop);
    EXPECT(run_looking(WEIR_RUN_OPTIONS(.models = WEIR_THREADS)), 0);
    expect_refused(NULL, -EINVAL, "WEIR_MODEL");
    expect_refused(NULL, -EINVAL, "threads");
    setenv("WEIR_MODEL", "tasks", 1);
    EXPECT(run_looking(both), 0);
    EXPECT(looked.model, WEIR_TASKS);
    expect_refused(WEIR_RUN_OPTIONS(.models = WEIR_THREADS), -EINVAL, "WEIR_MODEL");
    static const char *const unknown[] = {"fibers", "Tasks", "tasks ", "tasks,threads", "1"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        setenv("WEIR_MODEL", unknown[i], 1);
        expect_refused(both, -EINVAL, "WEIR_MODEL");
        expect_refused(both, -EINVAL, unknown[i]);
    }
    unsetenv("WEIR_MODEL");
    EXPECT(run_looking(NULL), 0);
}

static void environment_chooses_the_loop(void)
{
    if (!ground->tasks)
        return;
    setenv("WEIR_LOOP", ground->name, 1);
    EXPECT(run_looking(NULL), 0);
    CHECK(!strcmp(looked.loop, ground->name));
    setenv("WEIR_LOOP", "auto", 1);
    EXPECT(run_looking(NULL), 0);
    static const char *const unknown[] = {"select", "EPOLL", "epoll2", " poll", "io_uring,poll"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        setenv("WEIR_LOOP", unknown[i], 1);
        expect_refused(NULL, -EINVAL, "WEIR_LOOP");
        expect_refused(NULL, -EINVAL, unknown[i]);
    }
    unsetenv("WEIR_LOOP");
}

static void environment_chooses_how_many_loops(void)
{
    weir_run_options options = *ground_options();
    options.max_loops = 4;
    if (!ground->tasks)
        return;
    setenv("WEIR_LOOPS", "1", 1);
    EXPECT(run_looking(&options), 0);
    EXPECT(looked.loops, 1);
    setenv("WEIR_LOOPS", "2", 1);
    EXPECT(run_looking(&options), 0);
    CHECK(looked.loops >= 1 && looked.loops <= 2);
    options.max_loops = 1;
    expect_refused(&options, -EINVAL, "WEIR_LOOPS");
    options.max_loops = 0;
    expect_refused(&options, -EINVAL, "WEIR_LOOPS");
    options.max_loops = 4;
    static const char *const wrong[] = {"0", "5", "-1", "many", "1x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        setenv("WEIR_LOOPS", wrong[i], 1);
        expect_refused(&options, -EINVAL, "WEIR_LOOPS");
        expect_refused(&options, -EINVAL, wrong[i]);
    }
    unsetenv("WEIR_LOOPS");
}

static void no_more_loops_than_processors(void)
{
    weir_run_options options = *ground_options();
    options.max_loops = 10000;
    EXPECT(run_looking(&options), 0);
    if (ground->tasks)
        CHECK(looked.loops >= 1 && looked.loops <= (unsigned)sysconf(_SC_NPROCESSORS_ONLN));
}

static void wrong_options(void)
{
    weir_run_options options = *WEIR_RUN_OPTIONS(.models = WEIR_TASKS);
    EXPECT(weir_run(NULL, NULL, NULL, NULL), -EINVAL);
    options.size = 0;
    expect_refused(&options, -EINVAL, NULL);
    options.size = 3;
    expect_refused(&options, -EINVAL, NULL);
    options.size = sizeof options + 64;
    expect_refused(&options, -EINVAL, NULL);
    expect_refused(WEIR_RUN_OPTIONS(.models = 4), -EINVAL, NULL);
    expect_refused(WEIR_RUN_OPTIONS(.models = WEIR_TASKS | 64), -EINVAL, NULL);
    expect_refused(WEIR_RUN_OPTIONS(.loop = -1), -EINVAL, NULL);
    expect_refused(WEIR_RUN_OPTIONS(.loop = 77), -EINVAL, NULL);
    expect_refused(WEIR_RUN_OPTIONS(.stack_size = 1), -EINVAL, NULL);
    expect_refused(WEIR_RUN_OPTIONS(.stack_size = STACK_MIN - 1), -EINVAL, NULL);
}

static void inspect_in_a_plain_thread(void)
{
    weir_run_info info = {.model = 99};
    EXPECT(weir_inspect_run(&info, sizeof info), 0);
    CHECK(info.model == 0 && !*info.loop && !*info.reason);
    CHECK(!info.loops && !info.tasks && !info.switches);
    EXPECT(weir_inspect_run(NULL, sizeof info), -EINVAL);
    EXPECT(weir_inspect_run(&info, 0), -EINVAL);
    EXPECT(weir_inspect_run(&info, sizeof info + 64), -EINVAL);
}

static int returns_0(void *arg)
{
    (void)arg;
    return 0;
}

static void inspect_counts_tasks(void)
{
    weir_run_info info;
    weir_group *g = group_open();
    EXPECT(weir_inspect_run(&info, sizeof info), 0);
    EXPECT(info.tasks, 1);
    uint64_t switches = info.switches;
    for (int i = 0; i < 10; i++)
        EXPECT(weir_go(g, returns_0, NULL), 0);
    EXPECT(weir_inspect_run(&info, sizeof info), 0);
    EXPECT(info.tasks, 11);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_inspect_run(&info, sizeof info), 0);
    EXPECT(info.tasks, 1);
    CHECK(info.switches >= switches + 10);
    EXPECT(weir_group_close(g), 0);
}

/* ---- results -------------------------------------------------------------------------------- */

static void result_is_that_of_main(void)
{
    static const int results[] = {0, 1, -1, -ECANCELED, 12345, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        int result = 99;
        EXPECT(weir_run(looks, (void *)(intptr_t)results[i], ground_options(), &result), 0);
        EXPECT(result, results[i]);
        EXPECT(weir_run(looks, (void *)(intptr_t)results[i], ground_options(), NULL), 0);
    }
}

static __attribute__((noinline)) size_t uses_stack(size_t size)
{
    volatile char page[4096];
    page[0] = (char)size;
    page[sizeof page - 1] = page[0];
    size_t below = size > 5000 ? uses_stack(size - 5000) : 0;
    return below + (size_t)(page[sizeof page - 1] == page[0]);
}

static int uses_its_stack(void *arg)
{
    CHECK(uses_stack(*(size_t *)arg) > 0);
    return 0;
}

static void stack_is_as_large_as_asked_for(void)
{
    static const struct {
        size_t size, use;
    } cases[] = {{0, 180 << 10}, {STACK_MIN, 64 << 10}, {1 << 20, 800 << 10}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_run_options options = *ground_options();
        size_t use = ground_is_slow() ? cases[i].use / 2 : cases[i].use;
        int result;
        options.stack_size = cases[i].size;
        EXPECT(weir_run(uses_its_stack, &use, &options, &result), 0);
        EXPECT(result, 0);
    }
}

/* ---- what is left --------------------------------------------------------------------------- */

static weir_group *left_open;
static atomic_int left_ended;

static int is_left(void *arg)
{
    (void)arg;
    EXPECT(weir_sleep(-1), -ECANCELED);
    EXPECT(weir_sleep(-1), -ECANCELED);
    {
        WEIR_SHIELDED_MS(LONG_MS);
        EXPECT(weir_sleep(MOMENT_MS), 0);
    }
    atomic_fetch_add(&left_ended, 1);
    return 0;
}

static int leaves_tasks(void *arg)
{
    (void)arg;
    left_open = group_open();
    for (int i = 0; i < 10; i++)
        EXPECT(weir_go(left_open, is_left, NULL), 0);
    EXPECT(weir_yield(), 0);
    EXPECT(weir_go(left_open, is_left, NULL), 0);
    return 0;
}

/* Tasks that are left are cancelled, and have ended when weir_run returns. */
static void tasks_left_by_main_are_cancelled(void)
{
    atomic_store(&left_ended, 0);
    ground_run(leaves_tasks, NULL);
    EXPECT(atomic_load(&left_ended), 11);
    EXPECT(weir_group_close(left_open), 0);
}

static int goes_on_starting(void *arg)
{
    int left = *(int *)arg - 1;
    EXPECT(weir_sleep(-1), -ECANCELED);
    if (left)
        EXPECT(weir_go_copy(left_open, goes_on_starting, &left, sizeof left), 0);
    atomic_fetch_add(&left_ended, 1);
    return 0;
}

static int leaves_a_starter(void *arg)
{
    int generations = 10;
    (void)arg;
    left_open = group_open();
    EXPECT(weir_go_copy(left_open, goes_on_starting, &generations, sizeof generations), 0);
    EXPECT(weir_yield(), 0);
    return 0;
}

/* What tasks start after that is cancelled as well, runs, and has ended. */
static void tasks_started_after_main_are_cancelled(void)
{
    atomic_store(&left_ended, 0);
    ground_run(leaves_a_starter, NULL);
    EXPECT(atomic_load(&left_ended), 10);
    EXPECT(weir_group_close(left_open), 0);
}

static void again_and_again(void)
{
    int runs = ground_is_slow() ? 20 : 300;
    for (int i = 0; i < runs; i++)
        EXPECT(run_looking(ground_options()), 0);
    for (int i = 0; i < runs / 10; i++)
        tasks_left_by_main_are_cancelled();
}

/* ---- runs in runs, runs side by side -------------------------------------------------------- */

static void run_in_a_run(void)
{
    main_was_called = false;
    int result = 99;
    int rc = weir_run(notes_that_it_was_called, NULL, NULL, &result);
    if (ground->tasks) {
        EXPECT(rc, -EBUSY);
        EXPECT(result, 99);
        CHECK(!main_was_called);
        EXPECT(weir_sleep(0), 0); /* no harm done */
    } else {
        EXPECT(rc, 0);
        EXPECT(result, 0);
        CHECK(main_was_called);
    }
}

static int sends_words(void *arg)
{
    for (int i = 0; i < 200; i++)
        EXPECT(weir_send(arg, "word", 4), 4);
    return 0;
}

static int talks_to_itself(void *arg)
{
    weir_socket *pair[2];
    weir_group *g = group_open();
    char word[4];
    (void)arg;
    stream_pair(pair);
    EXPECT(weir_go(g, sends_words, pair[0]), 0);
    for (int i = 0; i < 200; i++) {
        size_t done = 0;
        EXPECT(weir_recv_exact(pair[1], word, 4, &done), 0);
        CHECK(!memcmp(word, "word", 4));
        EXPECT(weir_yield(), 0);
    }
    EXPECT(weir_group_close(g), 0);
    pair_close(pair);
    return 0;
}

static void *runs_in_a_thread(void *arg)
{
    for (int i = 0; i < 5; i++)
        ground_run(talks_to_itself, arg);
    EXPECT(weir_time_left(), -1);
    return NULL;
}

static void runs_side_by_side(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(!pthread_create(&threads[i], NULL, runs_in_a_thread, NULL));
    ground_run(talks_to_itself, NULL);
    for (int i = 0; i < 4; i++)
        CHECK(!pthread_join(threads[i], NULL));
}

/* The context of the thread is what it was. */
static int limits_itself_and_fails(void *arg)
{
    weir_address a;
    (void)arg;
    weir_deadline_start(0);
    EXPECT(weir_time_left(), 0);
    EXPECT(weir_address_parse("nonsense of the task:", &a), -EINVAL);
    return 0;
}

static void thread_is_what_it_was_after_a_run(void)
{
    char story[128];
    weir_address a;
    EXPECT(weir_address_parse("127.0.0.1:77777", &a), -EINVAL);
    EXPECT(weir_run(limits_itself_and_fails, NULL, ground_options(), NULL), 0);
    EXPECT(weir_time_left(), -1);
    CHECK(weir_error_detail(NULL, story, sizeof story) > 0);
    CHECK(strstr(story, "77777"));
}

/* ---- failures of the system ----------------------------------------------------------------- */

static _Atomic int fault_skip;

static int fails_once(enum sys_call call)
{
    if (call == SYS_EPOLL_WAIT || call == SYS_POLL)
        return 0;
    if (atomic_fetch_sub(&fault_skip, 1) != 0)
        return 0;
    return call == SYS_ALLOC ? -ENOMEM : call == SYS_THREAD ? -EAGAIN : -EMFILE;
}

static const struct sys_faults faults = {.error = fails_once};

static int just_returns(void *arg)
{
    atomic_store(&sys_faults, NULL);
    main_was_called = true;
    (void)arg;
    return 0;
}

/* Each step of the start fails once: it is reported, or done without; and nothing leaks. */
static void start_fails_at_every_step(void)
{
    int reported = 0;
    weir_run_options options = *ground_options();
    options.max_loops = 2;
    for (int skip = 0; skip < 40; skip++) {
        int result = 99;
        main_was_called = false;
        atomic_store(&fault_skip, skip);
        atomic_store(&sys_faults, &faults);
        int rc = weir_run(just_returns, NULL, &options, &result);
        atomic_store(&sys_faults, NULL);
        CHECK(rc == 0 || rc == -ENOMEM || rc == -EAGAIN || rc == -EMFILE);
        EXPECT(main_was_called, rc == 0);
        EXPECT(result, rc == 0 ? 0 : 99);
        reported += rc != 0;
    }
    CHECK(reported > 0);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(ONCE, tasks_are_the_default),
        GROUND_TEST(BEFORE_RUN, program_names_the_model),
        GROUND_TEST(ONCE, environment_chooses_the_model),
        GROUND_TEST(BEFORE_RUN, environment_chooses_the_loop),
        GROUND_TEST(BEFORE_RUN, environment_chooses_how_many_loops),
        GROUND_TEST(BEFORE_RUN, no_more_loops_than_processors),
        GROUND_TEST(ONCE, wrong_options),
        GROUND_TEST(ONCE, inspect_in_a_plain_thread),
        GROUND_TEST(IN_TASKS, inspect_counts_tasks),
        GROUND_TEST(BEFORE_RUN, result_is_that_of_main),
        GROUND_TEST(BEFORE_RUN, stack_is_as_large_as_asked_for),
        GROUND_TEST(BEFORE_RUN, tasks_left_by_main_are_cancelled),
        GROUND_TEST(BEFORE_RUN, tasks_started_after_main_are_cancelled),
        GROUND_TEST(BEFORE_RUN, again_and_again),
        GROUND_TEST(IN_RUNS, run_in_a_run),
        GROUND_TEST(BEFORE_RUN, runs_side_by_side),
        GROUND_TEST(BEFORE_RUN, thread_is_what_it_was_after_a_run),
        GROUND_TEST(BEFORE_RUN, start_fails_at_every_step),
    };
    return ground_main(argc, argv, "run", tests, sizeof tests / sizeof *tests);
}
