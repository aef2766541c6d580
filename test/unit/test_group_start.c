/* Starting tasks in groups: what they are given, what they inherit, where they run, and what
 * happens if they cannot be started. */
#include "support/ground.h"
#include "sys.h"

#include <pthread.h>
#include <stdlib.h>

static int returns(void *arg)
{
    return (int)(intptr_t)arg;
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

static void *number(int n)
{
    return (void *)(intptr_t)n;
}

/* ---- weir_go_copy --------------------------------------------------------------------------- */

#define COPY_MAX ((size_t)16 << 10)

static size_t copy_size;
static atomic_int copies;

static int checks_its_copy(void *arg)
{
    const unsigned char *bytes = arg;
    CHECK((uintptr_t)arg % _Alignof(max_align_t) == 0);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < copy_size; i++)
            CHECK(bytes[i] == (unsigned char)(i * 7 + 1));
        EXPECT(weir_sleep(0), 0);
    }
    atomic_fetch_add(&copies, 1);
    return 0;
}

static void copy_of_every_size(void)
{
    static const size_t sizes[] = {1, 2, 7, 8, 15, 16, 17, 100, 1000, 4096, 4097, COPY_MAX};
    unsigned char *bytes = malloc(COPY_MAX);
    atomic_store(&copies, 0);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        weir_group *g = group_open();
        copy_size = sizes[i];
        for (size_t at = 0; at < copy_size; at++)
            bytes[at] = (unsigned char)(at * 7 + 1);
        EXPECT(weir_go_copy(g, checks_its_copy, bytes, copy_size), 0);
        EXPECT(weir_go_copy(g, checks_its_copy, bytes, copy_size), 0);
        memset(bytes, 0xee, copy_size); /* it has one of its own */
        EXPECT(weir_group_wait(g, NULL), 0);
        EXPECT(weir_group_close(g), 0);
    }
    EXPECT(atomic_load(&copies), 2 * sizeof sizes / sizeof *sizes);
    free(bytes);
}

static int ignores_its_argument(void *arg)
{
    (void)arg;
    return 0;
}

static void copy_of_wrong_sizes(void)
{
    static char bytes[COPY_MAX + 1];
    weir_group *g = group_open();
    EXPECT(weir_go_copy(g, ignores_its_argument, bytes, COPY_MAX + 1), -EINVAL);
    EXPECT(weir_go_copy(g, ignores_its_argument, bytes, SIZE_MAX), -EINVAL);
    EXPECT(weir_go_copy(g, ignores_its_argument, NULL, 1), -EINVAL);
    EXPECT(weir_go_copy(g, NULL, bytes, 1), -EINVAL);
    EXPECT(weir_go_copy(NULL, ignores_its_argument, bytes, 1), -EINVAL);
    EXPECT(weir_go_copy(g, ignores_its_argument, NULL, 0), 0);
    EXPECT(weir_go_copy(g, ignores_its_argument, bytes, 0), 0);
    group_end(g);
}

/* ---- weir_go_socket ------------------------------------------------------------------------- */

static char hello[] = "hello";

static int greets(weir_socket *s, void *arg)
{
    EXPECT(weir_send(s, arg, 5), 5);
    return -3;
}

static void socket_of_a_task_is_closed_after_it(void)
{
    weir_group *g = group_open();
    weir_socket *pair[2];
    char buf[8];
    int failure;
    stream_pair(pair);
    EXPECT(weir_go_socket(g, greets, pair[0], hello), 0);
    EXPECT(weir_recv(pair[1], buf, sizeof buf), 5);
    CHECK(!memcmp(buf, "hello", 5));
    EXPECT(weir_recv(pair[1], buf, sizeof buf), 0);
    EXPECT(weir_group_wait(g, &failure), 0);
    EXPECT(failure, -3);
    EXPECT(weir_group_close(g), 0);
    EXPECT(weir_close(pair[1]), 0);
}

static int keeps_a_reference(weir_socket *s, void *arg)
{
    *(weir_socket **)arg = weir_ref(s);
    return 0;
}

static void socket_of_a_task_may_be_kept(void)
{
    weir_group *g = group_open();
    weir_socket *pair[2], *kept = NULL;
    stream_pair(pair);
    EXPECT(weir_go_socket(g, keeps_a_reference, pair[0], &kept), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    CHECK(kept == pair[0]);
    EXPECT(weir_send(kept, "x", 1), WEIR_ECLOSED); /* closed all the same */
    EXPECT(weir_close(kept), 0);
    EXPECT(weir_close(pair[1]), 0);
    EXPECT(weir_group_close(g), 0);
}

static int says_whether_it_is_cancelled(weir_socket *s, void *arg)
{
    char byte;
    EXPECT(weir_recv(s, &byte, 1), -ECANCELED);
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static void socket_given_to_a_cancelled_group_is_closed(void)
{
    weir_group *g = group_open();
    weir_socket *pair[2];
    atomic_int count = 0;
    char byte;
    stream_pair(pair);
    EXPECT(weir_group_cancel(g), 0);
    EXPECT(weir_go_socket(g, says_whether_it_is_cancelled, pair[0], &count), 0);
    EXPECT(weir_recv(pair[1], &byte, 1), 0);
    EXPECT(weir_group_close(g), 0);
    EXPECT(atomic_load(&count), 1);
    EXPECT(weir_close(pair[1]), 0);
}

static void socket_is_closed_if_the_call_is_wrong(void)
{
    weir_group *g = group_open();
    weir_socket *pair[2];
    char byte;
    for (int i = 0; i < 2; i++) {
        stream_pair(pair);
        EXPECT(weir_go_socket(i ? g : NULL, i ? NULL : greets, pair[0], NULL), -EINVAL);
        EXPECT(weir_recv(pair[1], &byte, 1), 0);
        EXPECT(weir_close(pair[1]), 0);
    }
    EXPECT(weir_group_close(g), 0);
}

/* ---- failures of the system ----------------------------------------------------------------- */

static _Atomic int fault_skip;

static int no_memory_after_some(enum sys_call call)
{
    if (call != SYS_ALLOC && call != SYS_THREAD)
        return 0;
    if (atomic_fetch_sub(&fault_skip, 1) > 0)
        return 0;
    return call == SYS_ALLOC ? -ENOMEM : -EAGAIN;
}

static const struct sys_faults faults = {.error = no_memory_after_some};

static char mark;
#define UNTOUCHED ((weir_group *)&mark)

static int failing_go(int skip, weir_group *g, weir_socket *s, atomic_int *count)
{
    atomic_store(&fault_skip, skip);
    atomic_store(&sys_faults, &faults);
    int rc = s ? weir_go_socket(g, greets, s, hello) : weir_go(g, counts, count);
    atomic_store(&sys_faults, NULL);
    return rc;
}

/* It runs if and only if the call says so. */
static void task_that_cannot_be_started(void)
{
    for (int skip = 0; skip < 4; skip++) {
        weir_group *g = group_open();
        atomic_int count = 0;
        int rc = failing_go(skip, g, NULL, &count);
        CHECK(rc == 0 || rc == -ENOMEM || rc == -EAGAIN);
        EXPECT(weir_group_wait(g, NULL), 0);
        EXPECT(atomic_load(&count), rc == 0);
        EXPECT(weir_group_close(g), 0);
    }
}

static void socket_is_closed_if_its_task_cannot_be_started(void)
{
    for (int skip = 0; skip < 4; skip++) {
        weir_group *g = group_open();
        weir_socket *pair[2];
        char buf[8];
        stream_pair(pair);
        int rc = failing_go(skip, g, pair[0], NULL);
        CHECK(rc == 0 || rc == -ENOMEM || rc == -EAGAIN);
        if (rc == 0)
            EXPECT(weir_recv(pair[1], buf, sizeof buf), 5);
        EXPECT(weir_recv(pair[1], buf, sizeof buf), 0);
        EXPECT(weir_group_wait(g, NULL), 0);
        EXPECT(weir_group_close(g), 0);
        EXPECT(weir_close(pair[1]), 0);
    }
}

static void group_without_memory(void)
{
    weir_group *g = UNTOUCHED;
    atomic_store(&fault_skip, 0);
    atomic_store(&sys_faults, &faults);
    int rc = weir_group_open(&g, NULL);
    atomic_store(&sys_faults, NULL);
    EXPECT(rc, -ENOMEM);
    CHECK(g == UNTOUCHED);
}

static void wrong_arguments(void)
{
    weir_group *g = UNTOUCHED;
    weir_group_options options = *WEIR_GROUP_OPTIONS(.fail_fast = true);
    int failure = 99;
    EXPECT(weir_group_open(NULL, NULL), -EINVAL);
    options.size = 0;
    EXPECT(weir_group_open(&g, &options), -EINVAL);
    options.size = sizeof options + 64;
    EXPECT(weir_group_open(&g, &options), -EINVAL);
    CHECK(g == UNTOUCHED);
    g = group_open();
    EXPECT(weir_go(NULL, returns, NULL), -EINVAL);
    EXPECT(weir_go(g, NULL, NULL), -EINVAL);
    EXPECT(weir_group_wait(NULL, &failure), -EINVAL);
    EXPECT(failure, 99);
    EXPECT(weir_group_cancel(NULL), 0);
    EXPECT(weir_group_close(NULL), 0);
    EXPECT(weir_go(g, returns, NULL), 0);
    EXPECT(weir_group_wait(g, &failure), 0);
    EXPECT(failure, 0);
    EXPECT(weir_group_close(g), 0);
}

/* ---- what is inherited ---------------------------------------------------------------------- */

static int has_the_limit_of_its_starter(void *arg)
{
    (void)arg;
    CHECK(weir_time_left() >= 0);
    EXPECT(weir_sleep(-1), WEIR_EDEADLINE);
    EXPECT(weir_time_left(), 0);
    return 0;
}

static int has_no_limit(void *arg)
{
    (void)arg;
    EXPECT(weir_time_left(), -1);
    return 0;
}

static void limit_goes_with_the_start(void)
{
    weir_group *g = group_open();
    EXPECT(weir_go(g, has_no_limit, NULL), 0);
    {
        WEIR_WITHIN_MS(MOMENT_MS);
        EXPECT(weir_go(g, has_the_limit_of_its_starter, NULL), 0);
    }
    EXPECT(weir_go(g, has_no_limit, NULL), 0);
    EXPECT(weir_time_left(), -1);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
}

static int limits_itself(void *arg)
{
    (void)arg;
    weir_deadline_start(0);
    EXPECT(weir_time_left(), 0);
    return 0;
}

static void limit_of_a_task_is_its_own(void)
{
    weir_group *g = group_open();
    EXPECT(weir_go(g, limits_itself, NULL), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_time_left(), -1);
    EXPECT(weir_go(g, has_no_limit, NULL), 0);
    group_end(g);
}

static int is_shielded(void *arg)
{
    CHECK(weir_time_left() > 0);
    char byte;
    EXPECT(weir_recv(arg, &byte, 1), 1); /* though its group is cancelled */
    return 0;
}

static void shield_goes_with_the_start(void)
{
    weir_group *g = group_open();
    weir_socket *pair[2];
    struct other o;
    stream_pair(pair);
    {
        WEIR_SHIELDED_MS(LONG_MS);
        other_go(&o, g, is_shielded, pair[0]);
    }
    other_until_asleep(&o);
    EXPECT(weir_group_cancel(g), 0);
    other_until_asleep(&o);
    EXPECT(weir_send(pair[1], "x", 1), 1);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
    pair_close(pair);
}

/* ---- several threads and loops -------------------------------------------------------------- */

struct foreign {
    weir_group *g;
    atomic_int *count;
};

static void *starts_from_a_thread(void *arg)
{
    const struct foreign *f = arg;
    for (int i = 0; i < 50; i++)
        EXPECT(weir_go(f->g, counts, f->count), 0);
    return NULL;
}

static void *cancels_from_a_thread(void *arg)
{
    EXPECT(weir_group_cancel(arg), 0);
    return NULL;
}

static void group_shared_with_threads(void)
{
    weir_group *g = group_open();
    atomic_int count = 0;
    struct foreign f = {g, &count};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK(!pthread_create(&threads[i], NULL, starts_from_a_thread, &f));
    for (int i = 0; i < 50; i++)
        EXPECT(weir_go(g, counts, &count), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    for (int i = 0; i < 3; i++)
        CHECK(!pthread_join(threads[i], NULL));
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(atomic_load(&count), 200);
    EXPECT(weir_group_close(g), 0);
}

static void group_cancelled_by_a_thread(void)
{
    for (int i = 0; i < 20; i++) {
        weir_group *g = group_open();
        atomic_int cancelled = 0;
        struct other o;
        pthread_t thread;
        other_go(&o, g, sleeps_until_cancelled, &cancelled);
        if (i % 2)
            other_until_asleep(&o);
        CHECK(!pthread_create(&thread, NULL, cancels_from_a_thread, g));
        EXPECT(weir_group_wait(g, NULL), 0);
        EXPECT(atomic_load(&cancelled), 1);
        CHECK(!pthread_join(thread, NULL));
        EXPECT(weir_group_close(g), 0);
    }
}

struct place {
    atomic_int here, elsewhere;
    pid_t tid;
};

static int notes_its_thread(void *arg)
{
    struct place *p = arg;
    EXPECT(weir_yield(), 0);
    atomic_fetch_add(gettid() == p->tid ? &p->here : &p->elsewhere, 1);
    return 0;
}

static int starts_tasks_here_and_elsewhere(void *arg)
{
    struct place stay = {.tid = gettid()}, spread = {.tid = gettid()};
    weir_group *g, *h = group_open();
    weir_run_info info;
    EXPECT(weir_inspect_run(&info, sizeof info), 0);
    EXPECT(weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true)), 0);
    for (int i = 0; i < 100; i++) {
        EXPECT(weir_go(g, notes_its_thread, &spread), 0);
        EXPECT(weir_go(h, notes_its_thread, &stay), 0);
    }
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_wait(h, NULL), 0);
    EXPECT(atomic_load(&stay.here), 100);
    EXPECT(atomic_load(&spread.here) + atomic_load(&spread.elsewhere), 100);
    if (info.loops > 1)
        CHECK(atomic_load(&spread.here) > 0 && atomic_load(&spread.elsewhere) > 0);
    EXPECT(weir_group_close(g), 0);
    EXPECT(weir_group_close(h), 0);
    return arg != NULL;
}

static void tasks_stay_on_their_loop_or_are_spread(void)
{
    weir_run_options options = *ground_options();
    int result;
    if (!ground->tasks)
        return;
    options.max_loops = 4;
    EXPECT(weir_run(starts_tasks_here_and_elsewhere, NULL, &options, &result), 0);
    EXPECT(result, 0);
}

static int cancels_across_loops(void *arg)
{
    atomic_int cancelled = 0;
    for (int round = 0; round < 20; round++) {
        weir_group *g;
        EXPECT(weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true, .fail_fast = round % 2)), 0);
        for (int i = 0; i < 50; i++)
            EXPECT(weir_go(g, sleeps_until_cancelled, &cancelled), 0);
        if (round % 2) {
            EXPECT(weir_go(g, returns, number(-1)), 0);
            EXPECT(weir_group_wait(g, NULL), 0);
        }
        EXPECT(weir_group_close(g), 0);
        EXPECT(atomic_load(&cancelled), 50 * (round + 1));
    }
    return arg != NULL;
}

static void spread_groups_are_cancelled_everywhere(void)
{
    weir_run_options options = *ground_options();
    int result;
    options.max_loops = 4;
    EXPECT(weir_run(cancels_across_loops, NULL, &options, &result), 0);
    EXPECT(result, 0);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, copy_of_every_size),
        GROUND_TEST(EVERYWHERE, copy_of_wrong_sizes),
        GROUND_TEST(EVERYWHERE, socket_of_a_task_is_closed_after_it),
        GROUND_TEST(EVERYWHERE, socket_of_a_task_may_be_kept),
        GROUND_TEST(EVERYWHERE, socket_given_to_a_cancelled_group_is_closed),
        GROUND_TEST(EVERYWHERE, socket_is_closed_if_the_call_is_wrong),
        GROUND_TEST(EVERYWHERE, task_that_cannot_be_started),
        GROUND_TEST(EVERYWHERE, socket_is_closed_if_its_task_cannot_be_started),
        GROUND_TEST(EVERYWHERE, group_without_memory),
        GROUND_TEST(EVERYWHERE, wrong_arguments),
        GROUND_TEST(EVERYWHERE, limit_goes_with_the_start),
        GROUND_TEST(EVERYWHERE, limit_of_a_task_is_its_own),
        GROUND_TEST(EVERYWHERE, shield_goes_with_the_start),
        GROUND_TEST(EVERYWHERE, group_shared_with_threads),
        GROUND_TEST(EVERYWHERE, group_cancelled_by_a_thread),
        GROUND_TEST(BEFORE_RUN, tasks_stay_on_their_loop_or_are_spread),
        GROUND_TEST(BEFORE_RUN, spread_groups_are_cancelled_everywhere),
    };
    return ground_main(argc, argv, "group_start", tests, sizeof tests / sizeof *tests);
}
