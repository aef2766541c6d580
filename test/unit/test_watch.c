/* The watcher: dumps on a signal, tasks that keep a thread for too long, and deadlocks, which are
 * told of if, and only if, nothing can ever wake. */
#include "support/ground.h"
#include "support/json.h"
#include "sys.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_THREAD__)
#define SIGNALS_COME_LATE true /* ThreadSanitizer keeps them back until the next call */
#else
#define SIGNALS_COME_LATE false
#endif

/* ---- what is told ---------------------------------------------------------------------------- */

static bool wants_name;
static struct {
    int kind;
    char task[64], text[65536];
    bool has_place;
    unsigned frame_count, times;
    int thread;
    uint64_t for_ms;
} report;
static atomic_bool may_end;

static void hear(const weir_report *r, void *arg)
{
    EXPECT(arg == &report, true);
    report.kind = r->kind;
    snprintf(report.task, sizeof report.task, "%s", r->task ? r->task : "");
    snprintf(report.text, sizeof report.text, "%s", r->text);
    report.has_place = r->place && strlen(r->place) > 0;
    report.frame_count = r->frame_count;
    report.thread = r->thread;
    report.for_ms = r->for_ms;
    report.times++;
    CHECK(r->text[strlen(r->text) - 1] == '\n');
    /* A thread that others keep from running may be too late to be named. */
    if (r->task || !wants_name)
        atomic_store(&may_end, true);
}

static void begin(void)
{
    memset(&report, 0, sizeof report);
    atomic_store(&may_end, false);
    wants_name = false;
}

#define WATCH(...)                                                                                 \
    EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.report = hear, .arg = &report, __VA_ARGS__)), 0)

static void unwatch(void)
{
    EXPECT(weir_inspect_watch(NULL), 0);
}

/* ---- stalls ---------------------------------------------------------------------------------- */

static int computes(void *arg)
{
    (void)arg;
    EXPECT(weir_task_name("glutton"), 0);
    while (!atomic_load(&may_end))
        if (SIGNALS_COME_LATE)
            ground_hold_up(1);
    return 0;
}

static void who_keeps_the_thread_is_named(void)
{
    weir_group *g = group_open();
    begin();
    wants_name = true;
    WATCH(.stall_ms = 20, .stall_signal = SIGUSR2);
    EXPECT(weir_go(g, computes, NULL), 0);
    group_end(g);
    unwatch();
    EXPECT(report.kind, WEIR_REPORT_STALL);
    EXPECT(strcmp(report.task, "glutton"), 0);
    CHECK(strstr(report.text, "glutton") && report.has_place && report.frame_count > 2);
    CHECK(report.for_ms >= 20 && report.thread == gettid());
    signal(SIGUSR2, SIG_DFL);
}

/* Without a signal as much is told as can be seen from outside. */
static void stalls_are_seen_without_a_signal(void)
{
    begin();
    WATCH(.stall_ms = 20);
    computes(NULL);
    unwatch();
    EXPECT(report.kind, WEIR_REPORT_STALL);
    CHECK(!*report.task && !report.has_place && report.frame_count == 0);
    CHECK(report.thread == gettid());
}

static int gives_way(void *arg)
{
    (void)arg;
    for (int64_t i = 0; i < 20; i++) {
        ground_hold_up(10);
        EXPECT(weir_yield(), 0);
    }
    return 0;
}

/* Together they keep the thread for long, but no one of them does; and waiting is no computing. */
static void who_gives_way_is_not_told_of(void)
{
    weir_group *g = group_open();
    begin();
    WATCH(.stall_ms = 5000, .stall_signal = SIGUSR2);
    EXPECT(weir_go(g, gives_way, NULL), 0);
    EXPECT(weir_go(g, gives_way, NULL), 0);
    group_end(g);
    EXPECT(weir_sleep(20), 0);
    unwatch();
    EXPECT(report.times, 0);
    signal(SIGUSR2, SIG_DFL);
}

static void handlers_are_there_only_while_asked_for(void)
{
    struct sigaction before = {.sa_handler = SIG_IGN}, now;
    uint64_t unused;
    EXPECT(sigaction(SIGUSR2, &before, NULL), 0);
    WATCH(.stall_ms = 1000, .stall_signal = SIGUSR2);
    EXPECT(sigaction(SIGUSR2, NULL, &now), 0);
    CHECK(now.sa_handler != SIG_IGN && now.sa_handler != SIG_DFL);
    while (sys_helpers(&unused) == 0)
        continue; /* what the thread is started with is lost in a child before that */
    pid_t child = fork();
    if (child == 0) {
        EXPECT(sigaction(SIGUSR2, NULL, &now), 0);
        CHECK(now.sa_handler == SIG_IGN);
        unwatch();
        if (!SIGNALS_COME_LATE) { /* it allows no new threads there either */
            WATCH(.stall_ms = 1000, .stall_signal = SIGUSR2);
            unwatch();
        }
        _exit(0);
    }
    child_ends(child, 0);
    unwatch();
    EXPECT(sigaction(SIGUSR2, NULL, &now), 0);
    CHECK(now.sa_handler == SIG_IGN);
    WATCH(.stall_ms = 1000);
    EXPECT(sigaction(SIGUSR2, NULL, &now), 0);
    CHECK(now.sa_handler == SIG_IGN);
    unwatch();
    signal(SIGUSR2, SIG_DFL);
}

/* ---- deadlocks ------------------------------------------------------------------------------- */

static weir_mutex mutex;
static weir_channel *channel;

static int locks(void *arg)
{
    (void)arg;
    EXPECT(weir_task_name("locks"), 0);
    return weir_mutex_lock(&mutex);
}

static int takes(void *arg)
{
    char item;
    (void)arg;
    return weir_channel_recv(channel, &item);
}

/* Nobody is left who could: so whoever hears of it does. */
static void unlock(const weir_report *r, void *arg)
{
    hear(r, arg);
    EXPECT(weir_mutex_unlock(&mutex), 0);
    EXPECT(weir_channel_shut(channel), 0);
}

static int all_wait(void *arg)
{
    weir_group *g = group_open();
    (void)arg;
    for (int i = 0; i < 3; i++) {
        EXPECT(weir_go(g, takes, NULL), 0);
    }
    EXPECT(weir_go(g, locks, NULL), 0);
    group_end(g);
    return 0;
}

static void prepare(void)
{
    begin();
    mutex = (weir_mutex)WEIR_MUTEX_INIT;
    EXPECT(weir_mutex_lock(&mutex), 0);
    EXPECT(weir_channel_open(&channel, 1, 1), 0);
}

static void finish(void)
{
    unwatch();
    weir_channel_close(channel);
}

static void deadlocks_are_told(void)
{
    prepare();
    EXPECT(
        weir_inspect_watch(WEIR_WATCH_OPTIONS(.report = unlock, .arg = &report, .deadlock_ms = 20)),
        0);
    EXPECT(weir_run(all_wait, NULL, ground_options(), NULL), 0);
    finish();
    EXPECT(report.times, 1);
    EXPECT(report.kind, WEIR_REPORT_DEADLOCK);
    CHECK(strstr(report.text, "waits for mutex") && strstr(report.text, "locks"));
    CHECK(strstr(report.text, "waits for an item of channel"));
}

static void deadlocks_of_several_loops_are_told(void)
{
    prepare();
    EXPECT(
        weir_inspect_watch(WEIR_WATCH_OPTIONS(.report = unlock, .arg = &report, .deadlock_ms = 20)),
        0);
    const weir_run_options *options =
        WEIR_RUN_OPTIONS(.models = ground->models, .loop = ground->loop, .max_loops = 2);
    EXPECT(weir_run(all_wait, NULL, options, NULL), 0);
    finish();
    EXPECT(report.times, 1);
}

/* One thing that could still end a wait, and nothing is told. */
static int one_has_a_limit(void *arg)
{
    weir_group *g = group_open();
    (void)arg;
    EXPECT(weir_go(g, takes, NULL), 0);
    EXPECT(weir_sleep(150), 0);
    EXPECT(weir_channel_shut(channel), 0);
    group_end(g);
    return 0;
}

static void limited_lock(void)
{
    WEIR_WITHIN_MS(150);
    EXPECT(weir_mutex_lock(&mutex), WEIR_EDEADLINE);
}

static int waits_with_limit(void *arg)
{
    (void)arg;
    limited_lock();
    return 0;
}

static int waits_for_socket(void *arg)
{
    weir_socket *pair[2];
    char byte;
    (void)arg;
    stream_pair(pair);
    EXPECT(weir_set_timeout(pair[0], 150), 0);
    EXPECT(weir_recv(pair[0], &byte, 1), WEIR_EDEADLINE);
    pair_close(pair);
    return 0;
}

static void takes_its_time(void *arg)
{
    (void)arg;
    ground_hold_up(100);
}

static int waits_for_offload(void *arg)
{
    (void)arg;
    return weir_offload(takes_its_time, NULL);
}

static void what_can_wake_is_no_deadlock(void)
{
    int (*const mains[])(void *) = {one_has_a_limit, waits_with_limit, waits_for_socket,
                                    waits_for_offload};
    ground_keeps_threads();
    for (size_t i = 0; i < sizeof mains / sizeof *mains; i++) {
        prepare();
        WATCH(.deadlock_ms = 10);
        EXPECT(weir_run(mains[i], NULL, ground_options(), NULL), 0);
        finish();
        EXPECT(report.times, 0);
    }
}

/* A thread of the program's own could do anything. */
static void *foreign(void *arg)
{
    (void)arg;
    ground_hold_up(100);
    EXPECT(weir_channel_shut(channel), 0);
    EXPECT(weir_mutex_unlock(&mutex), 0);
    return NULL;
}

static void threads_of_others_may_wake(void)
{
    pthread_t thread;
    prepare();
    WATCH(.deadlock_ms = 10);
    EXPECT(pthread_create(&thread, NULL, foreign, NULL), 0);
    EXPECT(weir_run(all_wait, NULL, ground_options(), NULL), 0);
    pthread_join(thread, NULL);
    finish();
    EXPECT(report.times, 0);
}

#define BALLS 20000

static int plays(void *arg)
{
    weir_channel *const *ends = arg;
    int ball;
    while (weir_channel_recv(ends[0], &ball) == 1 && ball < BALLS) {
        ball++;
        (void)weir_channel_send(ends[1], &ball);
    }
    (void)weir_channel_shut(ends[1]);
    return 0;
}

/* All of them nearly always wait for the others, and never for ever. */
static int plays_all(void *arg)
{
    weir_channel *ends[3];
    weir_group *g;
    int ball = 0;
    (void)arg;
    for (size_t i = 0; i < 2; i++)
        EXPECT(weir_channel_open(&ends[i], sizeof(int), 1), 0);
    ends[2] = ends[0];
    EXPECT(weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true)), 0);
    EXPECT(weir_go(g, plays, &ends[0]), 0);
    EXPECT(weir_go(g, plays, &ends[1]), 0);
    EXPECT(weir_channel_send(ends[0], &ball), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
    for (size_t i = 0; i < 2; i++)
        weir_channel_close(ends[i]);
    return 0;
}

static void nobody_is_dead_who_is_woken(void)
{
    prepare();
    WATCH(.deadlock_ms = 1);
    const weir_run_options *options =
        WEIR_RUN_OPTIONS(.models = ground->models, .loop = ground->loop, .max_loops = 2);
    EXPECT(weir_run(plays_all, NULL, options, NULL), 0);
    finish();
    EXPECT(report.times, 0);
}

/* ---- dumps on a signal ----------------------------------------------------------------------- */

static int tells_and_reads(void *arg)
{
    char text[65536];
    size_t size = 0;
    const int *fds = arg;
    EXPECT(weir_task_name("asker"), 0);
    EXPECT(kill(getpid(), SIGUSR1), 0);
    do {
        ssize_t n = read(fds[0], text + size, sizeof text - 1 - size);
        CHECK(n > 0);
        size += (size_t)n;
    } while (text[size - 1] != '\n');
    text[size] = '\0';
    CHECK(json_is_valid(text));
    CHECK(strstr(text, "\"busy\"") || strstr(text, "\"asker\""));
    return 0;
}

static void signals_are_answered_by_dumps(void)
{
    int fds[2];
    sigset_t set, before;
    const weir_watch_options options = {
        .size = sizeof options,
        .dump_signal = SIGUSR1,
        .dump_form = WEIR_INSPECT_JSON,
    };
    weir_watch_options to = options;
    EXPECT(weir_inspect_watch(&options), -EINVAL); /* not blocked */
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    EXPECT(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    EXPECT(pipe(fds), 0);
    to.fd = fds[1];
    EXPECT(weir_inspect_watch(&to), 0);
    ground_run(tells_and_reads, fds);
    ground_run(tells_and_reads, fds);
    unwatch();
    close(fds[0]);
    close(fds[1]);
    EXPECT(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

/* ---- the call -------------------------------------------------------------------------------- */

static void there_is_one_watcher(void)
{
    unwatch();
    WATCH(.stall_ms = 1000);
    EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.stall_ms = 1000)), -EBUSY);
    unwatch();
    unwatch();
    WATCH(.deadlock_ms = 1000);
    unwatch();
    EXPECT(weir_inspect_watch(&(weir_watch_options){.size = 8}), -EINVAL);
    EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.dump_signal = -1)), -EINVAL);
    EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.dump_form = 3)), -EINVAL);
    EXPECT(weir_inspect_watch(WEIR_WATCH_OPTIONS(.stall_ms = 1, .stall_signal = SIGKILL)), -EINVAL);
    unwatch();
}

static const struct ground_test tests[] = {
    GROUND_TEST(IN_TASKS, who_keeps_the_thread_is_named),
    GROUND_TEST(IN_TASKS, stalls_are_seen_without_a_signal),
    GROUND_TEST(IN_RUNS, who_gives_way_is_not_told_of),
    GROUND_TEST(ONCE, handlers_are_there_only_while_asked_for),
    GROUND_TEST(BEFORE_RUN, deadlocks_are_told),
    GROUND_TEST(BEFORE_RUN, deadlocks_of_several_loops_are_told),
    GROUND_TEST(BEFORE_RUN, what_can_wake_is_no_deadlock),
    GROUND_TEST(BEFORE_RUN, threads_of_others_may_wake),
    GROUND_TEST(BEFORE_RUN, nobody_is_dead_who_is_woken),
    GROUND_TEST(BEFORE_RUN, signals_are_answered_by_dumps),
    GROUND_TEST(ONCE, there_is_one_watcher),
};

int main(int argc, char **argv)
{
    return ground_main(argc, argv, "watch", tests, sizeof tests / sizeof *tests);
}
