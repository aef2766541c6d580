/* weir_serve when something runs out: descriptors, memory, threads. */
#include "serve.h"
#include "support/serve_crowd.h"
#include "sys.h"
#include "task/sanitizer.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>

/* ---- descriptors ---------------------------------------------------------------------------- */

#define FDS_MAX 512

static int taken[FDS_MAX], taken_count;
static struct rlimit fds_before;

static void take_all_fds(void)
{
    EXPECT(getrlimit(RLIMIT_NOFILE, &fds_before), 0);
    struct rlimit limit = {FDS_MAX, fds_before.rlim_max};
    EXPECT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int fd;
    taken_count = 0;
    while ((fd = fcntl(0, F_DUPFD_CLOEXEC, 0)) >= 0)
        taken[taken_count++] = fd;
    EXPECT(-errno, -EMFILE);
}

static void give_back_fds(void)
{
    while (taken_count > 0)
        close(taken[--taken_count]);
    EXPECT(setrlimit(RLIMIT_NOFILE, &fds_before), 0);
}

static int64_t now_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t rests(void)
{
    struct serve_counts counts;
    serve_count(&counts);
    return counts.rests;
}

static atomic_uint asked; /* the kernel, or the clock, by whomever */

static int counts_calls(enum sys_call call)
{
    (void)call;
    atomic_fetch_add(&asked, 1);
    return 0;
}

static uint64_t counts_looks(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    atomic_fetch_add(&asked, 1);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* How often something was asked while the caller slept. Whoever does not come to rest asks many
 * thousand times, or computes. */
static unsigned asked_in(int64_t ms)
{
    static const struct sys_faults faults = {.error = counts_calls, .now = counts_looks};
    int64_t time = now_ms(CLOCK_MONOTONIC), busy = now_ms(CLOCK_PROCESS_CPUTIME_ID);
    atomic_store(&asked, 0);
    sys_faults = &faults;
    EXPECT(weir_sleep(ms), 0);
    sys_faults = NULL;
    time = now_ms(CLOCK_MONOTONIC) - time;
    busy = now_ms(CLOCK_PROCESS_CPUTIME_ID) - busy;
    CHECK(RUNNING_ON_VALGRIND || busy <= time / 2); /* which is busy itself */
    return atomic_load(&asked);
}

static int waits_for_the_end(weir_socket *s, struct serving *sv)
{
    char byte;
    ssize_t n = weir_recv(s, &byte, 1);
    (void)sv;
    return (int)n;
}

/* The connections are there all the time, so waiting for them alone would make a busy loop. (Not so
 * with Valgrind, which closes what accept(2) has no descriptor for.) */
static void shortage_is_told_once_and_heals(void)
{
    struct serving sv = {.handler = waits_for_the_end};
    int fd[2][3];
    if (RUNNING_ON_VALGRIND)
        return;
    for (int i = 0; i < 6; i++)
        fd[i / 3][i % 3] = visitor_fd();
    serving_begin(&sv);
    weir_socket *c = visitor(&sv); /* the loop has what it needs */
    until(&sv.begun, 1);
    EXPECT(weir_close(c), 0);
    until(&sv.ended, 1);
    EXPECT(weir_sleep(1), 0);
    for (int round = 0; round < 2; round++) {
        take_all_fds();
        int64_t begin_ms = now_ms(CLOCK_MONOTONIC);
        uint64_t rests_before = rests();
        for (int i = 0; i < 3; i++)
            CHECK(visitor_fd_connect(&sv, fd[round][i]));
        until(&sv.full, round + 1);
        unsigned asks = asked_in(200);
        uint64_t rested = rests() - rests_before;
        uint64_t most = (uint64_t)(now_ms(CLOCK_MONOTONIC) - begin_ms) / 50 + 2;
        CHECK(rested >= 1 && rested <= most);
        CHECK(asks <= 50 * most);
        EXPECT(atomic_load(&sv.full), round + 1);
        EXPECT(atomic_load(&sv.full_rc), -EMFILE);
        EXPECT(atomic_load(&sv.begun), 1 + 3 * round);
        give_back_fds();
        until(&sv.begun, 4 + 3 * round);
    }
    for (int i = 0; i < 6; i++)
        close(fd[i / 3][i % 3]);
    until(&sv.ended, 7);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.full), 2);
}

/* Nor do those who wait for a seat. */
static void full_server_is_at_rest(void)
{
    struct serving sv = {.handler = waits_for_the_end, .options.max_connections = 1};
    weir_socket *c[4];
    serving_begin(&sv);
    for (int i = 0; i < 4; i++)
        c[i] = visitor(&sv);
    until(&sv.begun, 1);
    unsigned asks = asked_in(100);
    CHECK(asks <= 100);
    EXPECT(atomic_load(&sv.begun), 1);
    for (int i = 0; i < 4; i++)
        EXPECT(weir_close(c[i]), 0);
    until(&sv.ended, 4);
    serving_end(&sv);
    EXPECT(atomic_load(&sv.most), 1);
}

/* The end does not wait for descriptors. */
static void end_while_there_are_none(void)
{
    for (int drain = 0; drain < 2; drain++) {
        struct serving sv = {.handler = waits_for_the_end,
                             .options.drain_ms = drain ? MOMENT_MS : 0};
        int fd = visitor_fd();
        serving_begin(&sv);
        weir_socket *c = visitor(&sv);
        until(&sv.begun, 1);
        EXPECT(weir_close(c), 0);
        until(&sv.ended, 1);
        EXPECT(weir_sleep(1), 0);
        take_all_fds();
        CHECK(visitor_fd_connect(&sv, fd));
        until(&sv.full, 1);
        serving_cancel(&sv);
        other_until_ended(&sv.other);
        give_back_fds();
        EXPECT(serving_result(&sv), 0);
        close(fd);
    }
}

/* ---- each thing once ------------------------------------------------------------------------ */

static atomic_int failing; /* an enum sys_call */
static atomic_int calls, fail_at;

static int fails_once(enum sys_call call)
{
    if ((int)call != atomic_load(&failing))
        return 0;
    return atomic_fetch_add(&calls, 1) + 1 == atomic_load(&fail_at) ? -ENOMEM : 0;
}

static const struct sys_faults one_fault = {.error = fails_once};

#define GUESTS 3

/* A thread of its own, which asks nothing of weir but the end. */
struct guests {
    struct serving *sv;
    weir_socket *listener; /* a reference */
    int fail_from;         /* the guest before whom the faults begin */
    atomic_int served;
};

static bool is_served(const struct serving *sv)
{
    struct timeval patience = {LONG_MS / 1000, 0};
    int fd = visitor_fd();
    char byte;
    CHECK(!fcntl(fd, F_SETFL, 0));
    CHECK(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
    bool sent = visitor_fd_connect(sv, fd) && send(fd, "x", 1, MSG_NOSIGNAL) == 1;
    ssize_t n = sent ? recv(fd, &byte, 1, 0) : 0;
    CHECK(n >= 0 || errno == ECONNRESET);
    close(fd);
    return n == 1;
}

static void *guests_come(void *arg)
{
    struct guests *g = arg;
    for (int i = 0; i < GUESTS; i++) {
        if (i == g->fail_from)
            sys_faults = &one_fault;
        if (is_served(g->sv))
            atomic_fetch_add(&g->served, 1);
    }
    sys_faults = NULL;
    EXPECT(weir_abort(g->listener), 0);
    return NULL;
}

/* A server's whole life while the nth call fails: nobody hangs, and who was turned away is told of.
 * False when there are fewer calls. */
static bool serve_failing(enum sys_call call, int nth, int fail_from)
{
    struct serving sv = {.handler = echoes, .options = {.max_connections = 2, .drain_ms = LONG_MS}};
    pthread_t thread;
    serving_listen(&sv, "tcp://127.0.0.1:0");
    struct guests g = {.sv = &sv, .listener = weir_ref(sv.listener), .fail_from = fail_from};
    atomic_store(&failing, (int)call);
    atomic_store(&calls, 0);
    atomic_store(&fail_at, nth);
    sys_faults = fail_from < 0 ? &one_fault : NULL;
    EXPECT(pthread_create(&thread, NULL, guests_come, &g), 0);
    int rc = serving_run(&sv);
    sys_faults = NULL;
    EXPECT(weir_close(sv.listener), 0);
    EXPECT(pthread_join(thread, NULL), 0);
    EXPECT(weir_close(g.listener), 0);
    if (rc != WEIR_ECLOSED && rc != -ENOMEM)
        printf("call %d of kind %d: %s\n", nth, (int)call, weir_error_name(rc));
    CHECK(rc == WEIR_ECLOSED || (rc == -ENOMEM && fail_from < 0)); /* it has begun */
    CHECK(rc == -ENOMEM || atomic_load(&g.served) + atomic_load(&sv.told) >= GUESTS);
    EXPECT(atomic_load(&sv.begun), atomic_load(&sv.ended));
    return atomic_load(&calls) >= nth;
}

static const enum sys_call kinds[] = {
    SYS_ALLOC,  SYS_THREAD, SYS_MMAP,    SYS_MPROTECT, SYS_GUARD,      SYS_SOCKET,  SYS_BIND,
    SYS_LISTEN, SYS_ACCEPT, SYS_GETNAME, SYS_DUP,      SYS_SETSOCKOPT, SYS_EVENTFD, SYS_GETSOCKOPT,
};

static void fail_each(void)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int fail_from = -1; fail_from < 2; fail_from += 2) {
            int nth = 1;
            while (serve_failing(kinds[i], nth, fail_from))
                nth++;
        }
}

static void each_thing_missing_once(void)
{
    fail_each();
}

static void each_thing_missing_once_on_several_loops(void)
{
    on_loops(2, fail_each);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, shortage_is_told_once_and_heals),
        GROUND_TEST(EVERYWHERE, full_server_is_at_rest),
        GROUND_TEST(EVERYWHERE, end_while_there_are_none),
        GROUND_TEST(EVERYWHERE, each_thing_missing_once),
        GROUND_TEST(BEFORE_RUN, each_thing_missing_once_on_several_loops),
    };
    return ground_main(argc, argv, "serve_shortage", tests, sizeof tests / sizeof *tests);
}
