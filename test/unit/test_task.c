/* What a task has for itself, what it shares, and what it must not hold up. */
#include "support/ground.h"
#include "support/stub_dns.h"
#include "task/task.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* ---- its stack ------------------------------------------------------------------------------ */

struct depth {
    atomic_bool waited;
    int sum;
};

__attribute__((noinline)) static void needs_much(void *arg)
{
    volatile char room[100000];
    struct depth *d = arg;

    for (size_t i = 0; i < sizeof room; i += 1000)
        room[i] = 1;
    for (size_t i = 0; i < sizeof room; i += 1000)
        d->sum += room[i];
    EXPECT(weir_sleep(1), 0);
    atomic_store(&d->waited, true);
}

static int calls_deep(void *arg)
{
    struct depth *d = arg;

    task_call_deep(needs_much, d);
    EXPECT(d->sum, 100);
    EXPECT(weir_yield(), 0);
    return 0;
}

static int sees_it_done(void *arg)
{
    const struct depth *d = arg;

    CHECK(atomic_load(&d->waited) || !ground->tasks);
    return 0;
}

/* What waits there is the thread: no other task has its turn meanwhile. */
static void deep_calls_are_over_when_others_run(void)
{
    struct depth d = {.sum = 0};
    weir_group *g = group_open();

    EXPECT(weir_go(g, calls_deep, &d), 0);
    EXPECT(weir_go(g, sees_it_done, &d), 0);
    group_end(g);
    CHECK(atomic_load(&d.waited));
}

/* ---- its own -------------------------------------------------------------------------------- */

static int keeps_its_errno(void *arg)
{
    int mine = (int)(intptr_t)arg;
    weir_socket *pair[2];
    char byte;
    stream_pair(pair);
    for (int i = 0; i < 10; i++) {
        errno = mine;
        EXPECT(weir_yield(), 0);
        EXPECT(errno, mine);
        EXPECT(weir_set_timeout(pair[0], 1), 0);
        EXPECT(weir_recv(pair[0], &byte, 1), WEIR_EDEADLINE);
        errno = mine;
        EXPECT(weir_sleep(1), 0);
        if (ground->tasks) /* a thread's own calls may change it */
            EXPECT(errno, mine);
    }
    pair_close(pair);
    return 0;
}

static void errno_is_kept_across_switches(void)
{
    weir_group *g = group_open();
    for (int i = 1; i <= 5; i++)
        EXPECT(weir_go(g, keeps_its_errno, (void *)(intptr_t)(1000 + i)), 0);
    group_end(g);
}

static int keeps_its_story(void *arg)
{
    char text[64], story[256], want[32];
    weir_address a;
    EXPECT(weir_error_detail(NULL, story, sizeof story), 0); /* it starts without one */
    snprintf(want, sizeof want, "%d", 70000 + (int)(intptr_t)arg);
    snprintf(text, sizeof text, "127.0.0.1:%s", want);
    for (int i = 0; i < 5; i++) {
        EXPECT(weir_address_parse(text, &a), -EINVAL);
        EXPECT(weir_yield(), 0);
        EXPECT(weir_sleep(1), 0);
        CHECK(weir_error_detail(NULL, story, sizeof story) > 0);
        CHECK(strstr(story, want));
    }
    return 0;
}

static void story_is_of_the_task(void)
{
    weir_group *g = group_open();
    weir_address a;
    EXPECT(weir_address_parse("127.0.0.1:99999", &a), -EINVAL);
    for (int i = 1; i <= 5; i++)
        EXPECT(weir_go(g, keeps_its_story, (void *)(intptr_t)i), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
    char story[256];
    CHECK(weir_error_detail(NULL, story, sizeof story) > 0);
    CHECK(strstr(story, "99999"));
}

static int fills_registers(void *arg)
{
    volatile double seed = (double)(intptr_t)arg;
    double a = seed + 1, b = seed + 2, c = seed + 3, d = seed + 4;
    long e = (long)seed + 5, f = (long)seed + 6, h = (long)seed + 7, k = (long)seed + 8;
    for (int i = 0; i < 100; i++) {
        EXPECT(weir_yield(), 0);
        a += 1, b += 1, c += 1, d += 1;
        e += 1, f += 1, h += 1, k += 1;
    }
    CHECK(a == seed + 101 && b == seed + 102 && c == seed + 103 && d == seed + 104);
    CHECK(e == (long)seed + 105 && f == (long)seed + 106 && h == (long)seed + 107);
    CHECK(k == (long)seed + 108);
    return 0;
}

static void registers_are_kept_across_switches(void)
{
    weir_group *g = group_open();
    for (int i = 1; i <= 5; i++)
        EXPECT(weir_go(g, fills_registers, (void *)(intptr_t)(i * 1000)), 0);
    group_end(g);
}

/* ---- what does not hold up the others ------------------------------------------------------- */

static int sends_x(void *arg)
{
    EXPECT(weir_send(arg, "x", 1), 1);
    return 0;
}

static void poller_holds_up_nobody(void)
{
    weir_group *g = group_open();
    weir_poller *p;
    weir_event event;
    weir_socket *pair[2];
    stream_pair(pair);
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_poller_add(p, pair[0], WEIR_READABLE, NULL), 0);
    EXPECT(weir_go(g, sends_x, pair[1]), 0);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 1); /* were the thread held up, for ever */
    CHECK(event.socket == pair[0]);
    EXPECT(weir_poller_close(p), 0);
    group_end(g);
    pair_close(pair);
}

static int wakes_poller(void *arg)
{
    EXPECT(weir_poller_wake(arg), 0);
    return 0;
}

static void poller_is_woken_by_a_task(void)
{
    weir_group *g = group_open();
    weir_poller *p;
    weir_event event;
    EXPECT(weir_poller_open(&p), 0);
    EXPECT(weir_go(g, wakes_poller, p), 0);
    EXPECT(weir_poller_wait(p, &event, 1, -1), 0);
    EXPECT(weir_poller_wait(p, &event, 1, MOMENT_MS), 0);
    EXPECT(weir_poller_close(p), 0);
    group_end(g);
}

static void listen_here(weir_socket **ret, weir_address *where)
{
    EXPECT(weir_listen_on(ret, "tcp://127.0.0.1:0", NULL), 0);
    EXPECT(weir_local_address(*ret, where), 0);
}

static int connects_by_name(void *arg)
{
    uint16_t port = (uint16_t)(uintptr_t)arg;
    weir_socket *s;
    char byte;
    EXPECT(weir_socket_open(&s, AF_UNSPEC, SOCK_STREAM, 0), 0);
    EXPECT(weir_connect(s, "held.test", port), 0);
    EXPECT(weir_send(s, "x", 1), 1);
    EXPECT(weir_recv(s, &byte, 1), 0);
    EXPECT(weir_close(s), 0);
    return 0;
}

static int resolves(void *arg)
{
    weir_address list[4];
    (void)arg;
    EXPECT(weir_resolve("held.test", 80, AF_INET, list, 4, NULL), 1);
    return 0;
}

static struct stub_dns *open_dns(const char *rule)
{
    struct stub_dns *dns = stub_dns_open();
    ground_keeps_threads();
    stub_dns_add(dns, "held.test", rule);
    EXPECT(weir_set_nameservers(stub_dns_servers(dns)), 0);
    return dns;
}

static void close_dns(struct stub_dns *dns)
{
    EXPECT(weir_set_nameservers(NULL), 0);
    stub_dns_close(dns);
}

/* The name is let go only by those that a look-up would hold up. */
static void names_hold_up_nobody(void)
{
    struct stub_dns *dns = open_dns("A:127.0.0.1,hold");
    weir_group *g = group_open();
    weir_socket *listener, *accepted;
    weir_address where;
    struct other o[2];
    char byte;
    listen_here(&listener, &where);
    other_go(&o[0], g, connects_by_name, (void *)(uintptr_t)weir_address_port(&where));
    other_go(&o[1], g, resolves, NULL);
    other_until_asleep(&o[0]);
    other_until_asleep(&o[1]);
    stub_dns_release(dns, "held.test");
    EXPECT(weir_accept(listener, &accepted), 0);
    EXPECT(weir_recv(accepted, &byte, 1), 1);
    EXPECT(weir_close(accepted), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
    EXPECT(weir_close(listener), 0);
    close_dns(dns);
}

#define CLIENTS 40

static void many_connect_by_name_at_once(void)
{
    struct stub_dns *dns = open_dns("A:127.0.0.1,AAAA:::1,hold");
    weir_group *g = group_open();
    weir_socket *listener, *accepted;
    weir_address where;
    struct other o[CLIENTS];
    char byte;
    listen_here(&listener, &where);
    for (int i = 0; i < CLIENTS; i++)
        other_go(&o[i], g, connects_by_name, (void *)(uintptr_t)weir_address_port(&where));
    other_until_asleep(&o[CLIENTS - 1]);
    stub_dns_release(dns, "held.test");
    for (int i = 0; i < CLIENTS; i++) {
        EXPECT(weir_accept(listener, &accepted), 0);
        EXPECT(weir_recv(accepted, &byte, 1), 1);
        EXPECT(weir_close(accepted), 0);
    }
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
    EXPECT(weir_close(listener), 0);
    close_dns(dns);
}

static int finishes(void *arg)
{
    EXPECT(weir_send(arg, "last words", 10), 10);
    EXPECT(weir_finish(arg), 0);
    return 0;
}

static int reads_and_finishes(void *arg)
{
    char buf[16];
    size_t done = 0;
    EXPECT(weir_recv_exact(arg, buf, 10, &done), 0);
    EXPECT(weir_recv(arg, buf, sizeof buf), 0);
    EXPECT(weir_finish(arg), 0);
    return 0;
}

static void both_ends_finish(void)
{
    weir_group *g = group_open();
    weir_socket *pair[2];
    stream_pair(pair);
    EXPECT(weir_go(g, finishes, pair[0]), 0);
    EXPECT(weir_go(g, reads_and_finishes, pair[1]), 0);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
    pair_close(pair);
}

/* ---- plain threads beside them -------------------------------------------------------------- */

static void *echoes_one(void *arg)
{
    char buf[8];
    EXPECT(weir_recv(arg, buf, sizeof buf), 4);
    EXPECT(weir_send(arg, buf, 4), 4);
    return NULL;
}

/* Waits of a thread end by what tasks do, and the other way round. */
static void threads_and_tasks_talk(void)
{
    for (int i = 0; i < 20; i++) {
        weir_socket *pair[2];
        pthread_t thread;
        char buf[8];
        stream_pair(pair);
        CHECK(!pthread_create(&thread, NULL, echoes_one, pair[1]));
        EXPECT(weir_send(pair[0], "ping", 4), 4);
        EXPECT(weir_recv(pair[0], buf, sizeof buf), 4);
        CHECK(!pthread_join(thread, NULL));
        pair_close(pair);
    }
}

static void *aborts(void *arg)
{
    EXPECT(weir_abort(arg), 0);
    return NULL;
}

static void thread_aborts_what_a_task_waits_for(void)
{
    for (int i = 0; i < 20; i++) {
        weir_socket *pair[2];
        pthread_t thread;
        char byte;
        stream_pair(pair);
        CHECK(!pthread_create(&thread, NULL, aborts, pair[0]));
        EXPECT(weir_recv(pair[0], &byte, 1), WEIR_ECLOSED);
        CHECK(!pthread_join(thread, NULL));
        pair_close(pair);
    }
}

/* One socket, two loops: each task waits in its own. */
struct shared {
    weir_socket *s;
    weir_run_options options;
};

static int receives_a_message(void *arg)
{
    char buf[8];
    EXPECT(weir_recv(arg, buf, sizeof buf), 3);
    return 0;
}

static void *runs_a_receiver(void *arg)
{
    const struct shared *shared = arg;
    int result;
    EXPECT(weir_run(receives_a_message, shared->s, &shared->options, &result), 0);
    EXPECT(result, 0);
    return NULL;
}

static void socket_shared_by_loops(void)
{
    for (int i = 0; i < 10; i++) {
        weir_socket *pair[2];
        pthread_t threads[3];
        EXPECT(weir_pair(pair, SOCK_DGRAM), 0);
        struct shared shared = {pair[0], *ground_options()};
        for (int j = 0; j < 3; j++)
            CHECK(!pthread_create(&threads[j], NULL, runs_a_receiver, &shared));
        for (int j = 0; j < 4; j++) {
            EXPECT(weir_send(pair[1], "abc", 3), 3);
            EXPECT(weir_yield(), 0);
        }
        receives_a_message(pair[0]);
        for (int j = 0; j < 3; j++)
            CHECK(!pthread_join(threads[j], NULL));
        pair_close(pair);
    }
}

/* ---- fork ----------------------------------------------------------------------------------- */

static int sends_from_a_group(void *arg)
{
    EXPECT(weir_sleep(1), 0);
    EXPECT(weir_send(arg, "group", 5), 5);
    return 0;
}

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer takes a thread of the child for one that the parent had, and gives up. */
static void start_one(weir_group *g, weir_socket *s)
{
    (void)g;
    sends_from_a_group(s);
}
#else
static void start_one(weir_group *g, weir_socket *s)
{
    EXPECT(weir_go(g, sends_from_a_group, s), 0);
}
#endif

/* In the child: waits, sleeps, groups, all of it as a plain thread has it. */
static int lives_on_alone(weir_socket *s)
{
    char buf[8];
    weir_run_info info;
    weir_group *g = group_open();
    size_t done = 0;
    EXPECT(weir_recv(s, buf, sizeof buf), 4);
    CHECK(!memcmp(buf, "word", 4));
    EXPECT(weir_sleep(1), 0);
    EXPECT(weir_yield(), 0);
    {
        WEIR_WITHIN_MS(1);
        EXPECT(weir_recv(s, buf, sizeof buf), WEIR_EDEADLINE);
    }
    EXPECT(weir_inspect_run(&info, sizeof info), 0);
    EXPECT(info.model, 0);
    start_one(g, s);
    EXPECT(weir_group_wait(g, NULL), 0);
    EXPECT(weir_group_close(g), 0);
    EXPECT(weir_send_all(s, "alone", 5, &done), 0);
    return 0;
}

struct parent {
    weir_socket *pair[2];
    pid_t child;
    int child_returns;
};

static int forks(void *arg)
{
    struct parent *p = arg;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(30);
        EXPECT(lives_on_alone(p->pair[0]), 0);
        return p->child_returns;
    }
    p->child = pid;
    return 0;
}

static void expect_status(pid_t child, int want)
{
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    CHECK(WIFEXITED(status));
    EXPECT(WEXITSTATUS(status), want);
}

static int sleeps_for_good(void *arg)
{
    (void)arg;
    EXPECT(weir_sleep(-1), -ECANCELED);
    return 0;
}

/* The child is that task alone; its siblings stay with the parent, which notices nothing. */
static void fork_inside_a_task(void)
{
    static const int returns[] = {0, 5, -1};
    for (size_t i = 0; i < 3; i++) {
        struct parent p = {.child_returns = returns[i]};
        weir_group *g = group_open();
        struct other sibling;
        char buf[16];
        size_t done = 0;
        stream_pair(p.pair);
        other_go(&sibling, g, sleeps_for_good, NULL);
        other_until_asleep(&sibling);
        weir_group *forker = group_open();
        EXPECT(weir_go(forker, forks, &p), 0);
        EXPECT(weir_group_wait(forker, NULL), 0);
        EXPECT(weir_send(p.pair[1], "word", 4), 4);
        EXPECT(weir_recv_exact(p.pair[1], buf, 10, &done), 0);
        CHECK(!memcmp(buf, "groupalone", 10));
        expect_status(p.child, returns[i] < 0);
        EXPECT(weir_sleep(1), 0);
        EXPECT(weir_group_close(forker), 0);
        EXPECT(weir_group_close(g), 0);
        pair_close(p.pair);
    }
}

static int main_that_forks(void *arg)
{
    return forks(arg);
}

static void fork_inside_the_first_task(void)
{
    static const int returns[] = {0, -1};
    for (size_t i = 0; i < 2; i++) {
        struct parent p = {.child_returns = returns[i]};
        char buf[16];
        size_t done = 0;
        int result;
        stream_pair(p.pair);
        fflush(stdout);
        EXPECT(weir_run(main_that_forks, &p, ground_options(), &result), 0);
        EXPECT(result, 0);
        EXPECT(weir_send(p.pair[1], "word", 4), 4);
        EXPECT(weir_recv_exact(p.pair[1], buf, 10, &done), 0);
        expect_status(p.child, returns[i] < 0);
        pair_close(p.pair);
    }
}

static int says_hello(void *arg)
{
    EXPECT(weir_sleep(1), 0);
    EXPECT(weir_send(arg, "hello", 5), 5);
    return 0;
}

/* A child of a plain thread may run anew, after a run of its parent. */
static void child_runs_anew(void)
{
    weir_socket *pair[2];
    char buf[8];
    stream_pair(pair);
    ground_run(says_hello, pair[0]);
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(30);
        ground_run(says_hello, pair[0]);
        _exit(0);
    }
    for (int i = 0; i < 2; i++) {
        size_t done = 0;
        EXPECT(weir_recv_exact(pair[1], buf, 5, &done), 0);
    }
    expect_status(pid, 0);
    pair_close(pair);
}

int main(int argc, char **argv)
{
    static const struct ground_test tests[] = {
        GROUND_TEST(EVERYWHERE, deep_calls_are_over_when_others_run),
        GROUND_TEST(EVERYWHERE, errno_is_kept_across_switches),
        GROUND_TEST(EVERYWHERE, story_is_of_the_task),
        GROUND_TEST(EVERYWHERE, registers_are_kept_across_switches),
        GROUND_TEST(EVERYWHERE, poller_holds_up_nobody),
        GROUND_TEST(EVERYWHERE, poller_is_woken_by_a_task),
        GROUND_TEST(EVERYWHERE, names_hold_up_nobody),
        GROUND_TEST(EVERYWHERE, many_connect_by_name_at_once),
        GROUND_TEST(EVERYWHERE, both_ends_finish),
        GROUND_TEST(EVERYWHERE, threads_and_tasks_talk),
        GROUND_TEST(EVERYWHERE, thread_aborts_what_a_task_waits_for),
        GROUND_TEST(IN_RUNS, socket_shared_by_loops),
        GROUND_TEST(EVERYWHERE, fork_inside_a_task),
        GROUND_TEST(BEFORE_RUN, fork_inside_the_first_task),
        GROUND_TEST(BEFORE_RUN, child_runs_anew),
    };
    return ground_main(argc, argv, "task", tests, sizeof tests / sizeof *tests);
}
