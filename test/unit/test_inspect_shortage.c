/* Looking inside when something is short: descriptors, memory, the time of those who answer, and of
 * those who share a thread with whoever looks. */
#include "loop/loop.h"
#include "support/computing.h"
#include "support/dumped.h"
#include "support/serve_fixture.h"
#include "sys.h"
#include "task/inspect.h"

#include <pthread.h>
#include <stdlib.h>

static int sleeping(void *arg)
{
    EXPECT(weir_task_name("sleeping"), 0);
    (void)arg;
    return weir_sleep(LONG_MS);
}

/* ---- a loop that never answers --------------------------------------------------------------- */

static int no_descriptors(enum sys_call call)
{
    return call == SYS_EVENTFD ? -EMFILE : 0;
}

static void *looks(void *arg)
{
    EXPECT(dumped_times("\"state\":\"busy\""), ground->tasks);
    return arg;
}

/* Whoever cannot be woken looks again by himself, but not for ever. */
static void patience_ends_without_descriptors(void)
{
    static const struct sys_faults faults = {.error = no_descriptors};
    pthread_t computing_thread = start_computing(), thread;
    sys_faults = &faults;
    EXPECT(pthread_create(&thread, NULL, looks, NULL), 0);
    pthread_join(thread, NULL);
    sys_faults = NULL;
    end_computing(computing_thread);
}

/* Neither its questions, nor what others have answered. */
static void abandoned_questions_do_not_pile_up(void)
{
    pthread_t thread = start_computing();
    struct loop *l = atomic_load(&stuck);
    unsigned count = 0;
    atomic_store(&may_leave, false);
    for (int i = 0; i < 12; i++)
        EXPECT(dumped_times("\"state\":\"busy\""), 1);
    for (const struct question *at = atomic_load(&l->asked); at; at = at->next, count++)
        for (unsigned i = 0; i < at->inquiry->count; i++)
            CHECK(at->inquiry->questions[i].seen.first == NULL);
    CHECK(count > 0 && count < 10);
    atomic_store(&may_end, true);
    while (atomic_load(&l->abandoned))
        give_way();
    EXPECT(dumped_times("\"state\":\"busy\""), 0);
    end_computing(thread);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static atomic_int allocations;

static int little_memory(enum sys_call call)
{
    return call == SYS_ALLOC && atomic_fetch_add(&allocations, 1) >= 2 ? -ENOMEM : 0;
}

/* A list that is cut does not look complete. */
static void lists_that_are_cut_say_so(void)
{
    static const struct sys_faults faults = {.error = little_memory};
    EXPECT(dumped_times("\"cut\""), 0);
    atomic_store(&allocations, 0);
    sys_faults = &faults;
    char *json = dumped_json();
    sys_faults = NULL;
    EXPECT(dumped_times_in(json, "\"cut\":true"), 1);
    EXPECT(dumped_times_in(json, "\"task\":"), 0);
    free(json);
}

/* ---- the others of the loop ------------------------------------------------------------------ */

#define MANY 500

static int counts_turns(void *arg)
{
    unsigned *turns = arg;
    while (weir_yield() == 0)
        ++*turns;
    return 0;
}

struct parts {
    const unsigned *turns;
    unsigned first, last, count;
};

static int hears(void *arg, const char *part, size_t size)
{
    struct parts *p = arg;
    (void)part;
    (void)size;
    if (p->count++ == 0)
        p->first = *p->turns;
    p->last = *p->turns;
    return 0;
}

/* Also while what was seen is written, and while stacks are looked at. */
static void others_get_their_turns(void)
{
    static struct other sleepers[MANY];
    weir_group *g = group_open();
    struct other o;
    unsigned turns = 0;
    struct parts p = {.turns = &turns};
    weir_counters counters;
    for (unsigned i = 0; i < MANY; i++)
        other_go(&sleepers[i], g, sleeping, NULL);
    other_go(&o, g, counts_turns, &turns);
    EXPECT(weir_yield(), 0);
    EXPECT(weir_inspect_dump(WEIR_INSPECT_JSON, hears, &p), 0);
    CHECK(p.count > 1 && p.last > p.first + 5);
    unsigned before = turns;
    EXPECT(weir_inspect_counters(&counters, sizeof counters), 0);
    CHECK(counters.stacks > MANY && turns > before + 5);
    weir_group_cancel(g);
    group_end(g);
}

/* ---- servers --------------------------------------------------------------------------------- */

static atomic_bool short_of_descriptors;

static int no_descriptors_to_accept(enum sys_call call)
{
    return call == SYS_ACCEPT && atomic_load(&short_of_descriptors) ? -EMFILE : 0;
}

static int fails(weir_socket *s, struct serving *sv)
{
    (void)s;
    (void)sv;
    return -EDOM;
}

static void failures_and_shortages_of_servers_are_counted(void)
{
    static const struct sys_faults faults = {.error = no_descriptors_to_accept};
    struct serving sv = {.handler = fails};
    weir_counters before, now;
    serving_begin(&sv);
    EXPECT(weir_inspect_counters(&before, sizeof before), 0);
    visitor_sees_the_end(visitor(&sv));
    until(&sv.told, 1);
    EXPECT(weir_inspect_counters(&now, sizeof now), 0);
    EXPECT(now.serve_failed - before.serve_failed, 1);
    EXPECT(now.accept_rests, before.accept_rests);
    atomic_store(&short_of_descriptors, true);
    sys_faults = &faults;
    weir_socket *c = visitor(&sv);
    until(&sv.full, 1);
    EXPECT(weir_inspect_counters(&now, sizeof now), 0);
    CHECK(now.accept_rests > before.accept_rests);
    EXPECT(now.serve_failed - before.serve_failed, 1);
    atomic_store(&short_of_descriptors, false);
    visitor_sees_the_end(c);
    until(&sv.told, 2);
    sys_faults = NULL;
    EXPECT(weir_inspect_counters(&now, sizeof now), 0);
    EXPECT(now.serve_failed - before.serve_failed, 2);
    serving_end(&sv);
}

/* ---- children -------------------------------------------------------------------------------- */

/* What the servers of the parent have come to is not the child's. */
static void children_have_had_no_servers(void)
{
    struct serving sv = {.handler = waits_for_ever};
    weir_counters counters;
    serving_begin(&sv);
    weir_socket *c = visitor(&sv);
    until(&sv.inside, 1);
    EXPECT(weir_inspect_counters(&counters, sizeof counters), 0);
    CHECK(counters.accepted > 0 && counters.serving == 1);
    pid_t child = fork();
    if (child == 0) {
        EXPECT(weir_inspect_counters(&counters, sizeof counters), 0);
        EXPECT(counters.accepted, 0);
        EXPECT(counters.serving, 0);
        /* What is in the parent's threads is lost here, and no leak: nothing is to look at that. */
        execlp("true", "true", (char *)NULL);
        _exit(1);
    }
    child_ends(child, 0);
    EXPECT(weir_close(c), 0);
    serving_cancel(&sv);
    (void)serving_result(&sv);
}

static const struct ground_test tests[] = {
    GROUND_TEST(BEFORE_RUN, patience_ends_without_descriptors),
    GROUND_TEST(IN_TASKS, abandoned_questions_do_not_pile_up),
    GROUND_TEST(IN_RUNS, lists_that_are_cut_say_so),
    GROUND_TEST(IN_TASKS, others_get_their_turns),
    GROUND_TEST(EVERYWHERE, failures_and_shortages_of_servers_are_counted),
    GROUND_TEST(IN_RUNS, children_have_had_no_servers),
};

int main(int argc, char **argv)
{
    return ground_main(argc, argv, "inspect_shortage", tests, sizeof tests / sizeof *tests);
}
