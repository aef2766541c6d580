/* Dumps of many loops and runs at once: while tasks and whole runs come and go, and while a loop
 * computes and has no time to answer. */
#include "support/computing.h"
#include "support/dumped.h"
#include "support/ground.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- a loop that has no time ----------------------------------------------------------------- */

static int sleeping(void *arg)
{
    EXPECT(weir_task_name("sleeping"), 0);
    (void)arg;
    return weir_sleep(LONG_MS);
}

/* From a task of another loop, or another thread: it is shown as busy, and all else is told. */
static void busy_loops_are_shown_as_such(void)
{
    pthread_t thread = start_computing();
    struct other o;
    weir_group *g = group_open();
    other_go(&o, g, sleeping, NULL);
    other_until_asleep(&o);
    char *json = dumped_json();
    EXPECT(dumped_times_in(json, "\"state\":\"busy\""), ground->tasks);
    EXPECT(dumped_times_in(json, "\"name\":\"computing\""), !ground->tasks);
    EXPECT(dumped_times_in(json, "\"name\":\"sleeping\""), 1);
    free(json);
    end_computing(thread);
    weir_group_cancel(g);
    other_until_ended(&o);
    group_end(g);
    EXPECT(dumped_times("\"state\":\"busy\""), 0);
}

/* Questions that came to nothing do not disturb the loop when it has time again. */
static void late_answers_are_nobodys(void)
{
    pthread_t thread = start_computing();
    atomic_store(&may_leave, false);
    for (int i = 0; i < 8; i++)
        EXPECT(dumped_times("\"state\":\"busy\""), ground->tasks);
    atomic_store(&may_end, true);
    while (dumped_times("\"state\":\"busy\""))
        give_way();
    EXPECT(dumped_times("\"name\":\"computing\""), 1);
    EXPECT(dumped_times("\"name\":\"computing\""), 1);
    end_computing(thread);
    EXPECT(dumped_times("\"name\":\"computing\""), 0);
}

/* The others of the caller's loop go on while it waits. */
static int counts_turns(void *arg)
{
    unsigned *turns = arg;
    while (weir_yield() == 0)
        ++*turns;
    return 0;
}

static void dumps_hold_nobody_up(void)
{
    pthread_t thread = start_computing();
    weir_group *g = group_open();
    struct other o;
    unsigned turns = 0;
    other_go(&o, g, counts_turns, &turns);
    EXPECT(weir_yield(), 0);
    unsigned before = turns;
    EXPECT(dumped_times("\"state\":\"busy\""), 1);
    CHECK(turns > before + 1);
    end_computing(thread);
    weir_group_cancel(g);
    other_until_ended(&o);
    group_end(g);
}

/* ---- all of them ----------------------------------------------------------------------------- */

#define MANY 2000

/* More than a loop tells of in one turn. */
static void each_task_is_told_once(void)
{
    static struct other others[MANY];
    weir_group *g = group_open();
    unsigned many = ground_is_slow() ? MANY / 3 : MANY, count = ground->tasks ? many : 50;
    for (unsigned i = 0; i < count; i++)
        other_go(&others[i], g, sleeping, NULL);
    for (unsigned i = 0; i < count; i++)
        other_until_asleep(&others[i]);
    EXPECT(dumped_times("\"name\":\"sleeping\""), count);
    weir_group_cancel(g);
    for (unsigned i = 0; i < count; i++)
        other_until_ended(&others[i]);
    group_end(g);
}

static atomic_uint on_loops;

static int sleeps_on_a_loop(void *arg)
{
    atomic_fetch_add(&on_loops, 1);
    return sleeping(arg);
}

static int spreads(void *arg)
{
    weir_group *g;
    (void)arg;
    EXPECT(weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true)), 0);
    for (int i = 0; i < 10; i++)
        EXPECT(weir_go(g, sleeps_on_a_loop, NULL), 0);
    while (atomic_load(&on_loops) < 10)
        give_way();
    char *json = dumped_json();
    EXPECT(dumped_times_in(json, "\"name\":\"sleeping\""), 10);
    EXPECT(dumped_times_in(json, "\"number\":1"), 1);
    free(json);
    weir_group_cancel(g);
    return weir_group_close(g);
}

static void all_loops_are_told(void)
{
    atomic_store(&on_loops, 0);
    EXPECT(weir_run(spreads, NULL, WEIR_RUN_OPTIONS(.loop = ground->loop, .max_loops = 2), NULL),
           0);
}

/* ---- a storm --------------------------------------------------------------------------------- */

#define STORM_DUMPS 30

static atomic_bool storm_ends;

static int short_life(void *arg)
{
    (void)arg;
    EXPECT(weir_task_name("short"), 0);
    return weir_sleep(1);
}

static int stormy_main(void *arg)
{
    weir_group *g;
    (void)arg;
    EXPECT(weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true)), 0);
    for (int i = 0; i < (ground->tasks ? 400 : 40); i++)
        EXPECT(weir_go(g, short_life, NULL), 0);
    (void)weir_sleep(0);
    free(dumped_json());
    return weir_group_close(g);
}

/* Runs, one after the other, as short as they can be. */
static void *storm(void *arg)
{
    const weir_run_options options = {
        .size = sizeof options,
        .models = ground->models,
        .loop = ground->loop,
        .max_loops = arg ? 2 : 1,
    };
    while (!atomic_load(&storm_ends))
        EXPECT(weir_run(stormy_main, NULL, &options, NULL), 0);
    return NULL;
}

static void storms_are_looked_at(void)
{
    pthread_t threads[2];
    weir_counters counters;
    uint64_t started = 0;
    atomic_store(&storm_ends, false);
    for (size_t i = 0; i < 2; i++)
        EXPECT(pthread_create(&threads[i], NULL, storm, i && ground->tasks ? &started : NULL), 0);
    for (int i = 0; i < STORM_DUMPS; i++) {
        free(dumped_json());
        EXPECT(weir_inspect_counters(&counters, sizeof counters), 0);
        CHECK(counters.tasks_started >= started);
        started = counters.tasks_started;
    }
    atomic_store(&storm_ends, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

/* A fork in the middle of it: nothing that a child needs is locked. */
static void children_of_storms_do_not_hang(void)
{
    pthread_t thread;
    atomic_store(&storm_ends, false);
    EXPECT(pthread_create(&thread, NULL, storm, NULL), 0);
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0) {
            EXPECT(dumped_times("\"task\""), 0);
            /* The parent's tasks are lost here, and no leak: nothing is to look at that. */
            execlp("true", "true", (char *)NULL);
            _exit(1);
        }
        child_ends(child, 0);
    }
    atomic_store(&storm_ends, true);
    pthread_join(thread, NULL);
}

/* ---- a loop that has much to do -------------------------------------------------------------- */

static int works_and_gives_way(void *arg)
{
    (void)arg;
    atomic_store(&computes, true);
    while (!atomic_load(&may_end)) {
        ground_hold_up(5);
        EXPECT(weir_yield(), 0);
    }
    return 0;
}

static int works(void *arg)
{
    weir_group *g = group_open();
    for (int i = 0; i < 64; i++)
        EXPECT(weir_go(g, works_and_gives_way, arg), 0);
    group_end(g);
    return 0;
}

static void *working_run(void *arg)
{
    EXPECT(weir_run(works, arg, WEIR_RUN_OPTIONS(.max_loops = 1), NULL), 0);
    return NULL;
}

/* Its turn takes three times as long as one that says nothing is waited for. */
static void long_turns_are_waited_for(void)
{
    pthread_t thread;
    atomic_store(&computes, false);
    atomic_store(&may_end, false);
    EXPECT(pthread_create(&thread, NULL, working_run, NULL), 0);
    while (!atomic_load(&computes))
        give_way();
    char *json = dumped_json();
    EXPECT(dumped_times_in(json, "\"state\":\"busy\""), 0);
    CHECK(dumped_times_in(json, "\"task\"") > 64);
    free(json);
    atomic_store(&may_end, true);
    pthread_join(thread, NULL);
}

/* ---- whose tasks they are -------------------------------------------------------------------- */

static atomic_bool handles;

static int handle(weir_socket *s, void *unused)
{
    char byte;
    (void)unused;
    atomic_store(&handles, true);
    return (int)weir_recv(s, &byte, 1);
}

static int serve(void *listener)
{
    return weir_serve(listener, handle, NULL, NULL);
}

/* How often a dump has a task of that function, which is static. */
static unsigned tasks_of(uintptr_t fn)
{
    Dl_info info;
    char part[256];
    CHECK(dladdr((const void *)fn, &info));
    const char *slash = strrchr(info.dli_fname, '/');
    snprintf(part, sizeof part, "\"function\":\"%s+0x%lx\"", slash ? slash + 1 : info.dli_fname,
             (unsigned long)(fn - (uintptr_t)info.dli_fbase));
    return dumped_times(part);
}

/* A server shows the program's handler, not what weir runs it in; its other tasks say whose they
 * are. */
static void handlers_of_servers_are_told(void)
{
    weir_group *g = group_open();
    weir_socket *listener = NULL, *s = NULL;
    weir_address where;
    atomic_store(&handles, false);
    EXPECT(weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(listener, &where), 0);
    EXPECT(weir_go(g, serve, listener), 0);
    EXPECT(weir_socket_open(&s, AF_INET, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect_address(s, &where), 0);
    while (!atomic_load(&handles))
        give_way();
    EXPECT(tasks_of((uintptr_t)handle), 1);
    EXPECT(tasks_of((uintptr_t)serve), 1);
    CHECK(dumped_times("\"name\":\"weir_serve\"") >= 1);
    weir_close(s);
    weir_group_cancel(g);
    weir_group_close(g);
    weir_close(listener);
}

static int first(void *ret)
{
    *(unsigned *)ret = tasks_of((uintptr_t)first);
    return 0;
}

static void main_tasks_are_told(void)
{
    unsigned count = 0;
    EXPECT(weir_run(first, &count, ground_options(), NULL), 0);
    EXPECT(count, 1);
}

static const struct ground_test tests[] = {
    GROUND_TEST(IN_RUNS, busy_loops_are_shown_as_such),
    GROUND_TEST(BEFORE_RUN, late_answers_are_nobodys),
    GROUND_TEST(IN_TASKS, dumps_hold_nobody_up),
    GROUND_TEST(IN_RUNS, each_task_is_told_once),
    GROUND_TEST(BEFORE_RUN, all_loops_are_told),
    GROUND_TEST(BEFORE_RUN, storms_are_looked_at),
    GROUND_TEST(BEFORE_RUN, children_of_storms_do_not_hang),
    GROUND_TEST(BEFORE_RUN, long_turns_are_waited_for),
    GROUND_TEST(IN_RUNS, handlers_of_servers_are_told),
    GROUND_TEST(BEFORE_RUN, main_tasks_are_told),
};

int main(int argc, char **argv)
{
    return ground_main(argc, argv, "inspect_loops", tests, sizeof tests / sizeof *tests);
}
