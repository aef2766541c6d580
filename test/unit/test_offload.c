/* weir_offload: what blocks, out of the way of the loop. */
#include "clock.h"
#include "support/elsewhere.h"
#include "support/watch.h"
#include "sys.h"
#include "task/offload.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/wait.h>

/* Threads that have nothing to do go at once, and a test leaves none behind. */
static void threads_do_not_stay(void)
{
    atomic_store(&offload_idle_ns, 0);
}

static void threads_stay(void)
{
    atomic_store(&offload_idle_ns, 1000 * NS_PER_S);
}

/* ---- what runs where ------------------------------------------------------------------------- */

struct look {
    pid_t tid;
    bool blocks; /* a wait blocks the thread */
    int rc;
};

static void look_around(void *arg)
{
    struct look *l = arg;
    weir_run_info info;

    l->tid = gettid();
    EXPECT(weir_inspect_run(&info, sizeof info), 0);
    l->blocks = *info.loop == '\0';
    l->rc = weir_sleep(0);
}

static void it_runs_where_it_may_block(void)
{
    struct look l = {0, false, -1};

    threads_do_not_stay();
    EXPECT(weir_offload(look_around, &l), 0);
    CHECK(l.tid != 0);
    EXPECT(l.tid != gettid(), ground->tasks);
    CHECK(l.blocks);
    EXPECT(l.rc, 0);
}

static void there_has_to_be_a_function(void)
{
    EXPECT(weir_offload(NULL, NULL), -EINVAL);
}

static void never(void *arg)
{
    (void)arg;
    CHECK(false); /* it is not called */
}

static void a_limit_that_has_passed_comes_first(void)
{
    WEIR_WITHIN_MS(0);
    EXPECT(weir_offload(never, NULL), WEIR_EDEADLINE);
}

/* ---- how many -------------------------------------------------------------------------------- */

/* Work that is held up until the test lets it go. */
struct gate {
    sem_t open;
    atomic_uint inside, most, passed;
};

static void gate_init(struct gate *g)
{
    *g = (struct gate){.inside = 0};
    sem_init(&g->open, 0, 0);
}

static void pass_gate(void *arg)
{
    struct gate *g = arg;
    unsigned inside = atomic_fetch_add(&g->inside, 1) + 1, most = atomic_load(&g->most);

    while (most < inside && !atomic_compare_exchange_weak(&g->most, &most, inside))
        continue;
    while (sem_wait(&g->open) != 0)
        continue;
    atomic_fetch_sub(&g->inside, 1);
    atomic_fetch_add(&g->passed, 1);
}

static int offload_pass(void *arg)
{
    return weir_offload(pass_gate, arg);
}

static void until(const atomic_uint *count, unsigned value)
{
    while (atomic_load(count) != value)
        give_way();
}

/* With the pool full; `crowd` holds as many as there are threads. */
static void fill_pool(struct elsewhere *crowd, struct gate *g)
{
    for (unsigned i = 0; i < OFFLOAD_THREADS; i++)
        elsewhere_go(&crowd[i], i % 2 ? ON_ANOTHER_LOOP : BESIDE, offload_pass, g);
    until(&g->inside, OFFLOAD_THREADS);
}

static void empty_pool(struct elsewhere *crowd, struct gate *g)
{
    for (unsigned i = 0; i < OFFLOAD_THREADS; i++)
        sem_post(&g->open);
    for (unsigned i = 0; i < OFFLOAD_THREADS; i++)
        EXPECT(elsewhere_end(&crowd[i]), 0);
}

#define CROWD (3 * OFFLOAD_THREADS)

static void a_few_run_at_a_time_and_all_in_the_end(void)
{
    struct elsewhere crowd[CROWD];
    struct gate g;

    threads_do_not_stay();
    gate_init(&g);
    for (unsigned i = 0; i < CROWD; i++)
        elsewhere_go(&crowd[i], i % 2 ? ON_ANOTHER_LOOP : BESIDE, offload_pass, &g);
    until(&g.inside, OFFLOAD_THREADS);
    for (unsigned i = 0; i < CROWD; i++)
        sem_post(&g.open);
    for (unsigned i = 0; i < CROWD; i++)
        EXPECT(elsewhere_end(&crowd[i]), 0);
    EXPECT(atomic_load(&g.passed), CROWD);
    EXPECT(atomic_load(&g.most), OFFLOAD_THREADS);
    sem_destroy(&g.open);
}

/* One after the other, the thread that was there serves again, unless it has gone. */
static void threads_are_used_again(void)
{
    struct look first, next;

    threads_stay();
    ground_keeps_threads();
    EXPECT(weir_offload(look_around, &first), 0);
    int threads = watch_threads();
    for (int i = 0; i < 100; i++)
        EXPECT(weir_offload(look_around, &next), 0);
    EXPECT(watch_threads(), threads);
}

/* ---- ending the wait ------------------------------------------------------------------------- */

static void begin_flag(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
}

static int offload_flag(void *arg)
{
    return weir_offload(begin_flag, arg);
}

static int offload_flag_late(void *arg)
{
    WEIR_WITHIN_MS(MOMENT_MS);
    return weir_offload(begin_flag, arg);
}

static void what_has_not_begun_can_be_given_up(void)
{
    struct elsewhere crowd[OFFLOAD_THREADS], cancelled, late, patient;
    atomic_bool flags[3] = {false, false, false};
    struct gate g;

    threads_do_not_stay();
    gate_init(&g);
    fill_pool(crowd, &g);
    elsewhere_go(&late, ON_ANOTHER_LOOP, offload_flag_late, &flags[0]);
    elsewhere_until_asleep(&late);
    elsewhere_go(&cancelled, BESIDE, offload_flag, &flags[1]);
    elsewhere_until_asleep(&cancelled);
    elsewhere_go(&patient, BESIDE, offload_flag, &flags[2]);
    elsewhere_until_asleep(&patient);
    elsewhere_cancel(&cancelled);
    EXPECT(elsewhere_end(&cancelled), -ECANCELED);
    EXPECT(elsewhere_end(&late), WEIR_EDEADLINE);
    CHECK(!atomic_load(&flags[2]));
    empty_pool(crowd, &g);
    EXPECT(elsewhere_end(&patient), 0);
    CHECK(!atomic_load(&flags[0]) && !atomic_load(&flags[1]) && atomic_load(&flags[2]));
    sem_destroy(&g.open);
}

struct hurried {
    struct gate *gate;
    atomic_int limit_ms;
};

static int offload_within(void *arg)
{
    struct hurried *h = arg;
    int rc;

    /* A limit can pass before it has begun. */
    for (int ms = MOMENT_MS;; ms *= 2) {
        atomic_store(&h->limit_ms, ms);
        WEIR_WITHIN_MS(ms);
        rc = weir_offload(pass_gate, h->gate);
        if (rc != WEIR_EDEADLINE)
            return rc < 0 ? rc : weir_sleep(0); /* it has taken longer than that */
    }
}

static void what_has_begun_is_waited_for(void)
{
    struct elsewhere e;
    struct gate g;
    struct hurried h = {.gate = &g};

    threads_do_not_stay();
    gate_init(&g);
    elsewhere_go(&e, BESIDE, offload_pass, &g);
    until(&g.inside, 1);
    elsewhere_cancel(&e);
    elsewhere_until_asleep(&e);
    CHECK(!atomic_load(&e.other.self.ended));
    sem_post(&g.open);
    EXPECT(elsewhere_end(&e), 0);
    elsewhere_go(&e, BESIDE, offload_within, &h);
    until(&g.inside, 1);
    EXPECT(weir_sleep(2 * atomic_load(&h.limit_ms)), 0);
    CHECK(!atomic_load(&e.other.self.ended));
    sem_post(&g.open);
    EXPECT(elsewhere_end(&e), WEIR_EDEADLINE);
    EXPECT(atomic_load(&g.passed), 2);
    sem_destroy(&g.open);
}

static int no_thread(enum sys_call call)
{
    return call == SYS_THREAD ? -EAGAIN : 0;
}

/* Before those tests that leave threads behind. */
static void without_a_thread_it_is_not_called(void)
{
    static const struct sys_faults faults = {.error = no_thread};
    struct look l;

    threads_do_not_stay();
    sys_faults = &faults;
    EXPECT(weir_offload(never, NULL), -EAGAIN);
    sys_faults = NULL;
    EXPECT(weir_offload(look_around, &l), 0);
}

/* ---- forks ----------------------------------------------------------------------------------- */

static int offload_all_at_once(void *arg)
{
    weir_group *g = group_open();
    struct gate gate;

    (void)arg;
    gate_init(&gate);
    for (int i = 0; i < OFFLOAD_THREADS; i++)
        EXPECT(weir_go(g, offload_pass, &gate), 0);
    until(&gate.inside, OFFLOAD_THREADS);
    for (int i = 0; i < OFFLOAD_THREADS; i++)
        sem_post(&gate.open);
    group_end(g);
    return 0;
}

static void expect_child(pid_t pid, int status)
{
    int got = -1;

    CHECK(pid > 0);
    EXPECT(waitpid(pid, &got, 0), pid);
    CHECK(WIFEXITED(got));
    EXPECT(WEXITSTATUS(got), status);
}

/* The threads that idle here, and the work that has begun, are the parent's. */
static void a_child_has_a_pool_of_its_own(void)
{
    struct elsewhere busy;
    struct gate g;

    threads_stay();
    ground_keeps_threads();
    EXPECT(offload_all_at_once(NULL), 0);
    gate_init(&g);
    elsewhere_go(&busy, ON_ANOTHER_LOOP, offload_pass, &g);
    until(&g.inside, 1);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        int rc = -1;
        EXPECT(weir_run(offload_all_at_once, NULL, ground_options(), &rc), 0);
        _exit(rc < 0 ? 1 : 7);
    }
    expect_child(pid, 7);
    sem_post(&g.open);
    EXPECT(elsewhere_end(&busy), 0);
    EXPECT(offload_all_at_once(NULL), 0);
}

static void fork_and_return(void *arg)
{
    pid_t *pid = arg;

    *pid = fork();
}

/* What forks on a thread of the pool comes back once. */
static void a_function_that_forks_comes_back_in_the_parent_only(void)
{
    pid_t here = getpid(), pid = -1;

    threads_do_not_stay();
    EXPECT(weir_offload(fork_and_return, &pid), 0);
    EXPECT(getpid(), here);
    expect_child(pid, 0);
}

int main(int argc, char **argv)
{
    const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, it_runs_where_it_may_block),
        GROUND_TEST(EVERYWHERE, there_has_to_be_a_function),
        GROUND_TEST(EVERYWHERE, a_limit_that_has_passed_comes_first),
        GROUND_TEST(IN_TASKS, a_few_run_at_a_time_and_all_in_the_end),
        GROUND_TEST(IN_TASKS, what_has_not_begun_can_be_given_up),
        GROUND_TEST(IN_TASKS, what_has_begun_is_waited_for),
        GROUND_TEST(IN_TASKS, without_a_thread_it_is_not_called),
        GROUND_TEST(IN_TASKS, threads_are_used_again),
        GROUND_TEST(IN_TASKS, a_child_has_a_pool_of_its_own),
        GROUND_TEST(IN_TASKS, a_function_that_forks_comes_back_in_the_parent_only),
    };

    return ground_main(argc, argv, "offload", tests, sizeof tests / sizeof *tests);
}
