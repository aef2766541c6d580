/* What is told by the watcher, and what is not: once, in few words if need be, and nothing of what
 * only looks like it. */
#include "support/ground.h"
#include "sys.h"
#include "task/task.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

static struct {
    char text[256];
    atomic_int times;
} report;
static atomic_bool may_end;

static void hear(const weir_report *r, void *arg)
{
    (void)arg;
    CHECK(r->text[strlen(r->text) - 1] == '\n');
    snprintf(report.text, sizeof report.text, "%s", r->text);
    atomic_fetch_add(&report.times, 1);
    atomic_store(&may_end, true);
}

static void begin(void)
{
    memset(report.text, 0, sizeof report.text);
    atomic_store(&report.times, 0);
    atomic_store(&may_end, false);
}

#define WATCH(...) EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.report = hear, __VA_ARGS__)), 0)

static void unwatch(void)
{
    EXPECT(weir_inspect_watch(NULL), 0);
}

static int computes(void *arg)
{
    (void)arg;
    while (!atomic_load(&may_end))
        continue;
    return 0;
}

/* ---- stalls ---------------------------------------------------------------------------------- */

static int computes_under_two(void *arg)
{
    for (int i = 1; i <= 2; i++) {
        WATCH(.stall_ms = 20);
        computes(arg);
        EXPECT(atomic_load(&report.times), i);
        unwatch();
        atomic_store(&may_end, false);
    }
    return 0;
}

/* It is new to a watcher that has not told of it. */
static void each_watcher_tells(void)
{
    begin();
    if (ground->tasks)
        ground_run(computes_under_two, NULL);
}

static int no_memory(enum sys_call call)
{
    return call == SYS_ALLOC ? -ENOMEM : 0;
}

/* What was found is told all the same. */
static void stalls_are_told_without_memory(void)
{
    static const struct sys_faults faults = {.error = no_memory};
    begin();
    WATCH(.stall_ms = 20);
    sys_faults = &faults;
    computes(NULL);
    sys_faults = NULL;
    unwatch();
    EXPECT(atomic_load(&report.times), 1);
    CHECK(strstr(report.text, "has kept the thread"));
}

static _Atomic uint64_t ahead_ns;
static atomic_int looks;

static uint64_t bent_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    atomic_fetch_add(&looks, 1);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec + atomic_load(&ahead_ns);
}

static void until_looked(int more)
{
    for (int least = atomic_load(&looks) + more; atomic_load(&looks) < least;)
        continue;
}

/* It has computed for a moment, and then the process was stopped for an hour. */
static void a_process_that_is_stopped_does_not_compute(void)
{
    static const struct sys_faults faults = {.now = bent_now};
    begin();
    atomic_store(&ahead_ns, 0);
    sys_faults = &faults;
    WATCH(.stall_ms = 60000, .deadlock_ms = 4);
    until_looked(20);
    atomic_store(&ahead_ns, UINT64_C(3600) * 1000000000);
    until_looked(20);
    unwatch();
    sys_faults = NULL;
    EXPECT(atomic_load(&report.times), 0);
}

/* ---- stacks that are used up ----------------------------------------------------------------- */

#if defined(__SANITIZE_THREAD__)
#define SIGNALS_COME_LATE true
#else
#define SIGNALS_COME_LATE false
#endif

#define LEFT_BYTES 3072

static atomic_bool has_frames;

static void hear_frames(const weir_report *r, void *arg)
{
    (void)arg;
    atomic_store(&has_frames, r->frame_count > 2);
    atomic_store(&may_end, true);
}

/* Down to what no handler could run on. */
static int __attribute__((noinline)) dig(const char *low)
{
    volatile char much[1024];
    much[0] = much[1023] = 1;
    int rc = (const volatile char *)much - low > LEFT_BYTES ? dig(low) : computes(NULL);
    return rc * much[0];
}

static int digs(void *arg)
{
    (void)arg;
    return dig(context_current()->task->stack.low);
}

static int starts_digging(void *arg)
{
    weir_group *g = group_open();
    (void)arg;
    EXPECT(weir_go(g, digs, NULL), 0);
    group_end(g);
    return 0;
}

/* The handler is not on the task's stack. */
static void handlers_need_nothing_of_the_task(void)
{
    if (!ground->tasks || SIGNALS_COME_LATE || ground_is_slow())
        return; /* there frames are larger */
    begin();
    EXPECT(weir_inspect_watch(
               WEIR_WATCH_OPTIONS(.report = hear_frames, .stall_ms = 20, .stall_signal = SIGUSR2)),
           0);
    ground_run(starts_digging, NULL);
    unwatch();
    CHECK(atomic_load(&has_frames));
    signal(SIGUSR2, SIG_DFL);
}

static int returns_at_once(void *arg)
{
    return arg != NULL;
}

static void *runs_twice(void *arg)
{
    static char room[65536];
    stack_t now, own = {.ss_sp = room, .ss_size = sizeof room}, before;
    EXPECT(sigaltstack(NULL, &before), 0);
    ground_run(returns_at_once, NULL);
    EXPECT(sigaltstack(&own, &now), 0);
    EXPECT(now.ss_flags, before.ss_flags);
    CHECK(now.ss_sp == before.ss_sp || now.ss_flags & SS_DISABLE);
    ground_run(returns_at_once, NULL);
    EXPECT(sigaltstack(&before, &now), 0);
    CHECK(now.ss_sp == room);
    return arg;
}

/* What the program has set for its handlers stays, and what weir has set goes. */
static void stacks_for_handlers_are_put_back(void)
{
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, runs_twice, NULL), 0);
    pthread_join(thread, NULL);
}

/* ---- deadlocks ------------------------------------------------------------------------------- */

static weir_channel *channel;
static atomic_int counts;

/* Threads are counted by looking into a file: the second time that fails, and at last the caller,
 * whom nobody counts on, wakes all. */
static int cannot_count(enum sys_call call)
{
    if (call != SYS_OPEN)
        return 0;
    int n = atomic_fetch_add(&counts, 1);
    if (n == 20)
        EXPECT(weir_channel_shut(channel), 0);
    return n >= 2 && n < 5 ? -EMFILE : 0;
}

static int takes(void *arg)
{
    char item;
    (void)arg;
    EXPECT(weir_channel_recv(channel, &item), 0);
    return 0;
}

/* Also if it could not be told for a while whether it still is one. */
static void deadlocks_are_told_once(void)
{
    static const struct sys_faults faults = {.error = cannot_count};
    begin();
    atomic_store(&counts, 0);
    EXPECT(weir_channel_open(&channel, 1, 0), 0);
    WATCH(.deadlock_ms = 4);
    sys_faults = &faults;
    ground_run(takes, NULL);
    sys_faults = NULL;
    unwatch();
    weir_channel_close(channel);
    EXPECT(atomic_load(&report.times), 1);
}

/* ---- the call -------------------------------------------------------------------------------- */

static void expect_refusal(const weir_watch_options *options, const char *why)
{
    char text[256] = "";
    EXPECT(weir_inspect_watch(options), -EINVAL);
    CHECK(weir_error_detail(NULL, text, sizeof text) && strstr(text, why));
}

static void refusals_say_why(void)
{
    sigset_t set;
    expect_refusal(&(weir_watch_options){.size = 8}, "8 bytes");
    expect_refusal(WEIR_WATCH_OPTIONS(.dump_form = 3), "3 is no form");
    expect_refusal(WEIR_WATCH_OPTIONS(.dump_signal = -1), "-1 is no signal");
    expect_refusal(WEIR_WATCH_OPTIONS(.stall_signal = 1000), "1000 is no signal");
    expect_refusal(WEIR_WATCH_OPTIONS(.dump_signal = SIGUSR1), "is not blocked");
    expect_refusal(WEIR_WATCH_OPTIONS(.dump_signal = SIGUSR1, .stall_signal = SIGUSR1), "for both");
    expect_refusal(WEIR_WATCH_OPTIONS(.stall_signal = SIGKILL), "signal 9");
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    EXPECT(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    expect_refusal(WEIR_WATCH_OPTIONS(.stall_signal = SIGUSR1), "is blocked");
    EXPECT(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
}

static atomic_int eventfds;

static int second_eventfd(enum sys_call call)
{
    return call == SYS_EVENTFD && atomic_fetch_add(&eventfds, 1) == 1 ? -EMFILE : 0;
}

/* What the program does with the signal stays as it was. */
static void watches_that_cannot_begin_change_nothing(void)
{
    static const struct sys_faults faults = {.error = second_eventfd};
    struct sigaction now;
    signal(SIGUSR2, SIG_DFL);
    atomic_store(&eventfds, 0);
    sys_faults = &faults;
    EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.stall_ms = 20, .stall_signal = SIGUSR2)),
           -EMFILE);
    sys_faults = NULL;
    EXPECT(sigaction(SIGUSR2, NULL, &now), 0);
    CHECK(now.sa_handler == SIG_DFL);
}

/* Times beyond all bounds are far away, not near. */
static void endless_limits_never_come(void)
{
    begin();
    WATCH(.stall_ms = 18446744073710 /* 2^64 ns and a bit */, .deadlock_ms = 4);
    ground_hold_up(50);
    unwatch();
    WATCH(.stall_ms = INT64_MAX, .deadlock_ms = INT64_MAX);
    unwatch();
    EXPECT(atomic_load(&report.times), 0);
}

static const struct ground_test tests[] = {
    GROUND_TEST(BEFORE_RUN, each_watcher_tells),
    GROUND_TEST(IN_TASKS, stalls_are_told_without_memory),
    GROUND_TEST(IN_TASKS, a_process_that_is_stopped_does_not_compute),
    GROUND_TEST(BEFORE_RUN, handlers_need_nothing_of_the_task),
    GROUND_TEST(BEFORE_RUN, stacks_for_handlers_are_put_back),
    GROUND_TEST(BEFORE_RUN, deadlocks_are_told_once),
    GROUND_TEST(ONCE, refusals_say_why),
    GROUND_TEST(ONCE, watches_that_cannot_begin_change_nothing),
    GROUND_TEST(IN_TASKS, endless_limits_never_come),
};

int main(int argc, char **argv)
{
    return ground_main(argc, argv, "watch_once", tests, sizeof tests / sizeof *tests);
}
