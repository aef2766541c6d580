#include "support/ground.h"
#include "support/watch.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct ground grounds[] = {
    {"plain", 0, 0, false},
    {"threads", WEIR_THREADS, 0, false},
    {"epoll", WEIR_TASKS, WEIR_LOOP_EPOLL, true},
    {"io_uring", WEIR_TASKS, WEIR_LOOP_IO_URING, true},
    {"poll", WEIR_TASKS, WEIR_LOOP_POLL, true},
};
#define GROUNDS (sizeof grounds / sizeof *grounds)

const struct ground *ground = grounds;

struct case_ {
    char name[160];
    const struct ground_test *test;
    const struct ground *ground;
};

static const struct case_ *now_running;
static bool keeps_threads;

/* ---- what must hold ------------------------------------------------------------------------- */

static _Noreturn void give_up(const char *file, int line, const char *what, const char *more)
{
    const char *slash = strrchr(file, '/');
    printf("[ FAILED ] %s: %s:%d: %s%s\n", now_running ? now_running->name : "?",
           slash ? slash + 1 : file, line, what, more);
    fflush(stdout);
    _exit(1);
}

static const char *result_text(long long rc, char *buf, size_t size)
{
    const char *name = rc < 0 && rc >= INT32_MIN ? weir_error_name((int)rc) : NULL;
    snprintf(buf, size, name ? "%lld (%s)" : "%lld", rc, name);
    return buf;
}

void ground_expect(const char *file, int line, const char *what, long long got, long long want)
{
    char a[64], b[64], text[192];
    if (got == want)
        return;
    snprintf(text, sizeof text, " gave %s, expected %s", result_text(got, a, sizeof a),
             result_text(want, b, sizeof b));
    give_up(file, line, what, text);
}

void ground_check(const char *file, int line, const char *what, bool holds)
{
    if (!holds)
        give_up(file, line, what, " does not hold");
}

/* ---- running -------------------------------------------------------------------------------- */

bool ground_is_slow(void)
{
    return getenv("WEIR_SLOW") != NULL;
}

const weir_run_options *ground_options(void)
{
    static _Thread_local weir_run_options options;
    options = *WEIR_RUN_OPTIONS(.models = ground->models, .loop = ground->loop);
    return &options;
}

void ground_run(int (*fn)(void *), void *arg)
{
    int result = 77;
    EXPECT(weir_run(fn, arg, ground_options(), &result), 0);
    EXPECT(result, 0);
}

void ground_keeps_threads(void)
{
    keeps_threads = true;
}

static int run_inside(void *arg)
{
    const struct case_ *c = arg;
    c->test->run();
    return 0;
}

static void *ends_at_once(void *arg)
{
    return arg;
}

/* The thread's first wait makes a descriptor that it keeps; the first thread makes ThreadSanitizer
 * start one of its own. */
static void warm_up(void)
{
    weir_socket *pair[2];
    pthread_t thread;
    char byte;
    CHECK(!pthread_create(&thread, NULL, ends_at_once, NULL));
    CHECK(!pthread_join(thread, NULL));
    stream_pair(pair);
    EXPECT(weir_set_timeout(pair[0], 1), 0);
    EXPECT(weir_recv(pair[0], &byte, 1), WEIR_EDEADLINE);
    pair_close(pair);
}

static void check_leftovers(const struct open_fds *before, int threads)
{
    char what[256] = "", text[320];
    /* A thread that has ended may still be listed for a moment. */
    while (!keeps_threads && watch_threads() > threads)
        sched_yield();
    int patience = keeps_threads ? 1000 : 0; /* the resolver may be on its way to close one */
    int fd;
    while ((fd = watch_new_fd(before, keeps_threads, what, sizeof what)) >= 0 && patience--)
        poll(NULL, 0, 1);
    snprintf(text, sizeof text, " %d (%s) was left open", fd, what);
    if (fd >= 0)
        give_up(__FILE__, __LINE__, "descriptor", text);
}

static void hangs(int signal)
{
    (void)signal;
    static const char words[] = " hangs\n";
    (void)!write(STDERR_FILENO, now_running->name, strlen(now_running->name));
    (void)!write(STDERR_FILENO, words, sizeof words - 1);
    _exit(1);
}

static void run_case(void **state)
{
    const struct case_ *c = *state;
    bool outside = !c->ground->models || c->test->kind >= BEFORE_RUN;
    struct open_fds before;
    now_running = c;
    ground = c->ground;
    keeps_threads = false;
    alarm(ground_is_slow() ? 200 : 50);
    warm_up();
    watch_fds(&before);
    int threads = watch_threads();
    if (outside)
        c->test->run();
    else
        ground_run(run_inside, (void *)(uintptr_t)c);
    EXPECT(weir_time_left(), -1);
    check_leftovers(&before, threads);
    alarm(0);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* Valgrind 3.19 does not know that a thread may wait in io_uring_enter(2), and lets no other thread
 * run meanwhile. */
static bool stands_still(const struct ground *g)
{
    const char *preloaded = getenv("LD_PRELOAD");
    bool still = g->loop == WEIR_LOOP_IO_URING && preloaded && strstr(preloaded, "vgpreload");
    if (still)
        printf("skipped: io_uring and threads under Valgrind\n");
    return still;
}

/* False for a loop that this machine, or this build, does not have. */
static bool works(const struct ground *g)
{
    static bool known[GROUNDS], good[GROUNDS];
    size_t i = (size_t)(g - grounds);
    if (known[i] || !g->models)
        return known[i] ? good[i] : true;
    known[i] = true;
    if (stands_still(g))
        return false;
    ground = g;
    int rc = weir_run(nothing, NULL, ground_options(), NULL);
    good[i] = rc != -ENOSYS && rc != -EPERM;
    if (!good[i])
        printf("skipped: %s does not work on this machine: %s\n", g->name, weir_strerror(rc));
    return good[i];
}

static bool is_for(const struct ground_test *test, const struct ground *g)
{
    switch (test->kind) {
    case ONCE:
        return g == grounds;
    case IN_TASKS:
        return g->tasks && works(g);
    case IN_RUNS:
    case BEFORE_RUN:
        return g->models && works(g);
    default:
        return works(g);
    }
}

int ground_main(int argc, char **argv, const char *name, const struct ground_test *tests,
                size_t count)
{
    struct CMUnitTest *list = calloc(count * GROUNDS, sizeof *list);
    struct case_ *cases = calloc(count * GROUNDS, sizeof *cases);
    size_t n = 0;
    unsetenv("WEIR_MODEL");
    unsetenv("WEIR_LOOP");
    unsetenv("WEIR_LOOPS");
    signal(SIGALRM, hangs);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < GROUNDS; j++)
            if (is_for(&tests[i], &grounds[j])) {
                struct case_ *c = &cases[n];
                *c = (struct case_){.test = &tests[i], .ground = &grounds[j]};
                snprintf(c->name, sizeof c->name, "%s[%s]", tests[i].name,
                         tests[i].kind == ONCE ? "once" : grounds[j].name);
                list[n++] = (struct CMUnitTest){c->name, run_case, NULL, NULL, c};
            }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    int failed = _cmocka_run_group_tests(name, list, n, NULL, NULL);
    free(list);
    free(cases);
    return failed;
}

void ground_hold_up(int64_t ms)
{
    struct timespec t;
    int64_t end_ns = 0, now_ns;
    do {
        clock_gettime(CLOCK_MONOTONIC, &t);
        now_ns = t.tv_sec * 1000000000 + t.tv_nsec;
        end_ns = end_ns ? end_ns : now_ns + ms * 1000000;
    } while (now_ns < end_ns);
}

/* ---- others --------------------------------------------------------------------------------- */

static int other_main(void *arg)
{
    struct other *o = arg;
    somebody_is_me(&o->self);
    int rc = o->fn(o->arg);
    o->rc = rc;
    somebody_ends(&o->self);
    return rc;
}

void other_go(struct other *o, weir_group *g, int (*fn)(void *arg), void *arg)
{
    *o = (struct other){.fn = fn, .arg = arg};
    EXPECT(weir_go(g, other_main, o), 0);
}

void other_until_ended(const struct other *o)
{
    while (!atomic_load(&o->self.ended))
        give_way();
}

weir_group *group_open(void)
{
    weir_group *g = NULL;
    EXPECT(weir_group_open(&g, NULL), 0);
    return g;
}

void group_end(weir_group *g)
{
    WEIR_SHIELDED_MS(INT64_MAX);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
}

void stream_pair(weir_socket *ret[2])
{
    EXPECT(weir_pair(ret, SOCK_STREAM), 0);
}

void pair_close(weir_socket *pair[2])
{
    EXPECT(weir_close(pair[0]), 0);
    EXPECT(weir_close(pair[1]), 0);
}

void child_ends(pid_t child, int status)
{
    int got = -1;
    while (waitpid(child, &got, 0) < 0)
        EXPECT(-errno, -EINTR);
    CHECK(WIFEXITED(got));
    EXPECT(WEXITSTATUS(got), status);
}
