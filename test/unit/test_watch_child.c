/* What a child of fork takes from its parent's watchers, and threads: nothing. No test before the
 * fork has been in weir_run: the first run must not be what sorts that out. */
#include "support/ground.h"
#include "sys.h"

#include <pthread.h>
#include <signal.h>

#if defined(__SANITIZE_THREAD__)
#define CHILDREN_HAVE_THREADS false /* ThreadSanitizer allows them none */
#else
#define CHILDREN_HAVE_THREADS true
#endif

static weir_channel *channel;
static atomic_int reports;

static void hear(const weir_report *r, void *arg)
{
    (void)r;
    (void)arg;
    atomic_fetch_add(&reports, 1);
}

static void *wakes_later(void *arg)
{
    char item = 1;
    ground_hold_up(200);
    EXPECT(weir_channel_send(channel, &item), 0);
    return arg;
}

static int waits_for_item(void *arg)
{
    char item;
    (void)arg;
    EXPECT(weir_channel_recv(channel, &item), 1);
    return 0;
}

/* A thread of weir's that the parent has is not taken for the one that can wake. */
static void waits_for_a_foreign_thread(void)
{
    pthread_t thread;
    const weir_run_options *options = WEIR_RUN_OPTIONS(.max_loops = 1);
    EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.report = hear, .deadlock_ms = 20)), 0);
    EXPECT(weir_channel_open(&channel, 1, 0), 0);
    EXPECT(pthread_create(&thread, NULL, wakes_later, NULL), 0);
    EXPECT(weir_run(waits_for_item, NULL, options, NULL), 0);
    pthread_join(thread, NULL);
    EXPECT(weir_inspect_watch(NULL), 0);
    EXPECT(atomic_load(&reports), 0);
}

static int stalls_until(void *flag)
{
    while (!atomic_load((atomic_int *)flag))
        ground_hold_up(1);
    return 0;
}

/* Of weir's threads. */
static void until_there_are(int count)
{
    uint64_t unused;
    while (sys_helpers(&unused) != count)
        continue;
}

static void threads_stay_with_the_parent(void)
{
    if (!CHILDREN_HAVE_THREADS)
        return;
    EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.stall_ms = LONG_MS)), 0);
    until_there_are(1);
    pid_t child = fork();
    if (child == 0) {
        waits_for_a_foreign_thread();
        _exit(0);
    }
    child_ends(child, 0);
    EXPECT(weir_inspect_watch(NULL), 0);
}

/* There is none, it can be ended, and another one begun. */
static void watchers_stay_with_the_parent(void)
{
    const weir_watch_options *options = WEIR_WATCH_OPTIONS(.stall_ms = LONG_MS);
    EXPECT(weir_inspect_watch(options), 0);
    until_there_are(1);
    pid_t child = fork();
    if (child == 0) {
        EXPECT(weir_inspect_watch(NULL), 0);
        if (CHILDREN_HAVE_THREADS) {
            EXPECT(weir_inspect_watch(options), 0);
            EXPECT(weir_inspect_watch(NULL), 0);
        }
        _exit(0);
    }
    child_ends(child, 0);
    EXPECT(weir_inspect_watch(options), -EBUSY);
    EXPECT(weir_inspect_watch(NULL), 0);
}

/* ---- while it ends --------------------------------------------------------------------------- */

static atomic_int ends;

/* (Detached: ThreadSanitizer takes one that is to be joined for a leak of the child's.) */
static void *ends_it(void *arg)
{
    EXPECT(pthread_detach(pthread_self()), 0);
    EXPECT(weir_inspect_watch(NULL), 0);
    atomic_fetch_add(&ends, 1);
    return arg;
}

static void expect_no_handler(void)
{
    struct sigaction now;
    EXPECT(sigaction(SIGUSR2, NULL, &now), 0);
    CHECK(now.sa_handler == SIG_IGN);
}

/* It forks when the watcher's thread has ended, and its handler, most likely, is still there. */
static void handlers_stay_with_the_parent(void)
{
    signal(SIGUSR2, SIG_IGN);
    atomic_store(&ends, 0);
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.stall_ms = LONG_MS, .stall_signal = SIGUSR2)),
               0);
        until_there_are(1);
        EXPECT(pthread_create(&thread, NULL, ends_it, NULL), 0);
        until_there_are(0);
        pid_t child = fork();
        if (child == 0) {
            expect_no_handler();
            _exit(0);
        }
        child_ends(child, 0);
        while (atomic_load(&ends) <= i)
            give_way();
        expect_no_handler();
    }
    signal(SIGUSR2, SIG_DFL);
}

/* ---- in a callback --------------------------------------------------------------------------- */

static atomic_int forked;

static void forks(const weir_report *r, void *arg)
{
    (void)r;
    (void)arg;
    pid_t child = fork();
    if (child != 0)
        atomic_store(&forked, (int)child);
}

/* It comes back there too, where nobody watches: that is its end. */
static void callbacks_may_fork(void)
{
    atomic_store(&forked, 0);
    EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.report = forks, .stall_ms = 20)), 0);
    const weir_run_options *options = WEIR_RUN_OPTIONS(.max_loops = 1);
    EXPECT(weir_run(stalls_until, &forked, options, NULL), 0);
    child_ends(atomic_load(&forked), 0);
    EXPECT(weir_inspect_watch(NULL), 0);
}

static const struct ground_test tests[] = {
    GROUND_TEST(ONCE, threads_stay_with_the_parent),
    GROUND_TEST(ONCE, watchers_stay_with_the_parent),
    GROUND_TEST(ONCE, handlers_stay_with_the_parent),
    GROUND_TEST(ONCE, callbacks_may_fork),
};

int main(int argc, char **argv)
{
    return ground_main(argc, argv, "watch_child", tests, sizeof tests / sizeof *tests);
}
