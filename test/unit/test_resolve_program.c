/* A resolver of the program's own: weir_set_resolver. */
#include "resolve/flight.h"
#include "support/names_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <weir/error.h>

#include <cmocka.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int calls, running, most;
static bool closed; /* nobody gets through */

static void enter(void)
{
    pthread_mutex_lock(&lock);
    calls++;
    running++;
    most = running > most ? running : most;
    pthread_cond_broadcast(&changed);
    while (closed)
        pthread_cond_wait(&changed, &lock);
    running--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void set_closed(bool value)
{
    pthread_mutex_lock(&lock);
    closed = value;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_running(int count)
{
    pthread_mutex_lock(&lock);
    while (running < count)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static int answer(void *arg, const char *name, int family, weir_address *list, int max)
{
    enter();
    if (strcmp(name, "none.test") == 0)
        return 0;
    if (strcmp(name, "fails.test") == 0)
        return *(int *)arg;
    if (strcmp(name, "too-many.test") == 0) {
        for (int i = 0; i < max; i++)
            weir_address_from_host("127.0.0.1", 0, &list[i]);
        return max + 1000;
    }
    weir_address_from_host("127.0.0.2", 99, &list[0]);
    weir_address_from_host("::1", 99, &list[1]);
    list[2] = (weir_address){.length = 0};
    return strcmp(name, "mixed.test") == 0 ? 3 : family == AF_INET ? 1 : 0;
}

static int setup(void **state)
{
    /* Calls that an earlier test left running end first. */
    set_closed(false);
    pthread_mutex_lock(&lock);
    while (running > 0)
        pthread_cond_wait(&changed, &lock);
    calls = most = 0;
    pthread_mutex_unlock(&lock);
    names_setup(state);
    return weir_set_resolver(answer, NULL);
}

static void check(const char *host, const char *ipv4, const char *ipv6)
{
    assert_string_equal(ask(host, AF_INET), ipv4);
    assert_string_equal(ask(host, AF_INET6), ipv6);
}

static void its_addresses(void **state)
{
    weir_address list[4];
    enum weir_name_source source;
    char buf[WEIR_ADDRESS_TEXT_MAX];
    (void)state;

    assert_int_equal(weir_resolve("www.test", 80, AF_UNSPEC, list, 4, &source), 1);
    weir_address_format(&list[0], buf, sizeof(buf));
    assert_string_equal(buf, "127.0.0.2:80"); /* its port is ignored */
    assert_int_equal(source, WEIR_FROM_PROGRAM);
    check("mixed.test", "127.0.0.2", "[::1]");
    check("none.test", "WEIR_ENONAME", "WEIR_ENONAME");
    assert_int_equal(stub_dns_count(names_server(), NULL, 0), 0);
    assert_int_equal(weir_resolve("too-many.test", 0, AF_INET, list, 4, NULL), 256);
}

static void its_errors(void **state)
{
    static const int errors[][2] = {{WEIR_ENONAME, WEIR_ENONAME},
                                    {WEIR_ENAMEAGAIN, WEIR_ENAMEAGAIN},
                                    {WEIR_ENAMESERVER, WEIR_ENAMESERVER},
                                    {-EIO, WEIR_ENAMEAGAIN}};
    (void)state;

    for (int i = 0; i < 4; i++) {
        int rc = errors[i][0];

        weir_set_resolver(answer, &rc);
        assert_string_equal(ask("fails.test", AF_INET), weir_error_name(errors[i][1]));
    }
}

static void kept_for_ten_seconds(void **state)
{
    (void)state;
    check("www.test", "127.0.0.2", "WEIR_ENONAME");
    names_later(9900);
    check("www.test", "127.0.0.2", "WEIR_ENONAME");
    assert_int_equal(calls, 2);
    names_later(200);
    check("www.test", "127.0.0.2", "WEIR_ENONAME");
    assert_int_equal(calls, 4);
}

#define MANY 20

/* How many threads there are when so many flights have come to them. */
static unsigned threads_for(unsigned flights)
{
    unsigned have, threads;

    do {
        sched_yield();
        pthread_mutex_lock(&resolver.lock);
        have = resolver.counts[STAGE_SYSTEM] + resolver.counts[STAGE_CALLING];
        threads = resolver.system_threads;
        pthread_mutex_unlock(&resolver.lock);
    } while (have < flights);
    return threads;
}

/* Four at once, no more; and the others get their turn. */
static void four_at_a_time(void **state)
{
    static struct asker askers[MANY];
    char host[32];
    (void)state;

    set_closed(true);
    for (int i = 0; i < MANY; i++) {
        snprintf(host, sizeof(host), "n%d.test", i);
        assert_int_equal(ask_begin(&askers[i], host, AF_INET), -EINPROGRESS);
    }
    wait_running(4);
    assert_int_equal(threads_for(MANY), 4);
    set_closed(false);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(ask_wait(&askers[i], AF_INET)->rc, 0);
        ask_end(&askers[i]);
    }
    assert_int_equal(most, 4);
    assert_int_equal(calls, MANY);
}

/* Numbers and names that are known do not wait for one that waits; who gives up is not waited for.
 */
static void it_may_wait(void **state)
{
    struct asker a, b;
    (void)state;

    check("known.test", "127.0.0.2", "WEIR_ENONAME");
    set_closed(true);
    assert_int_equal(ask_begin(&a, "slow.test", AF_INET), -EINPROGRESS);
    wait_running(1);
    assert_int_equal(ask_begin(&b, "known.test", AF_UNSPEC), 0);
    ask_end(&b);
    resolve_end(a.request);
    assert_int_equal(a.released, 1);
    set_closed(false);
}

/* An earlier resolver that is still running answers those who asked it, and nobody after. */
static void replaced_while_running(void **state)
{
    struct asker a;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1");
    set_closed(true);
    assert_int_equal(ask_begin(&a, "www.test", AF_INET), -EINPROGRESS);
    wait_running(1);
    weir_set_resolver(NULL, NULL);
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.1");
    set_closed(false);
    assert_int_equal(ask_wait(&a, AF_INET)->rc, 0);
    assert_int_equal(resolve_answer(a.request, AF_INET)->source, WEIR_FROM_PROGRAM);
    ask_end(&a);
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.1");
}

/* Those that wait for their turn with an earlier resolver do not get to it: its `arg` may be gone.
 */
static void not_called_after_it_was_replaced(void **state)
{
    static struct asker askers[MANY];
    char host[32];
    (void)state;

    stub_dns_add(names_server(), "*.test", "A:127.0.0.1");
    set_closed(true);
    for (int i = 0; i < MANY; i++) {
        snprintf(host, sizeof(host), "n%d.test", i);
        assert_int_equal(ask_begin(&askers[i], host, AF_INET), -EINPROGRESS);
    }
    wait_running(4);
    assert_int_equal(threads_for(MANY), 4);
    weir_set_resolver(NULL, NULL);
    set_closed(false);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(ask_wait(&askers[i], AF_INET)->rc, 0);
        ask_end(&askers[i]);
    }
    assert_int_equal(calls, 4);
    assert_int_equal(stub_dns_count(names_server(), NULL, 0), MANY - 4);
}

static int no_threads(enum sys_call call)
{
    return call == SYS_THREAD ? -EAGAIN : 0;
}

static void set_idle_time(uint64_t idle_ns)
{
    pthread_mutex_lock(&resolver.lock);
    resolver.system_idle_ns = idle_ns;
    pthread_mutex_unlock(&resolver.lock);
}

static void wait_until_no_thread_is_left(void)
{
    unsigned count;

    do {
        sched_yield();
        pthread_mutex_lock(&resolver.lock);
        count = resolver.system_threads;
        pthread_mutex_unlock(&resolver.lock);
    } while (count > 0);
}

/* Threads that have nothing to do end; without any the answer is an error, not silence. */
static void threads_come_and_go(void **state)
{
    static const struct sys_faults faults = {.error = no_threads};
    const struct sys_faults *before = sys_faults;
    (void)state;

    set_idle_time(1000000);
    check("www.test", "127.0.0.2", "WEIR_ENONAME");
    wait_until_no_thread_is_left();
    sys_faults = &faults;
    assert_string_equal(ask("other.test", AF_INET), "WEIR_ENAMEAGAIN");
    sys_faults = before;
    assert_string_equal(ask("other.test", AF_INET), "127.0.0.2");
    set_idle_time(10000000000);
}

static struct asker fork_asker;

static void leave(void)
{
    names_leave(fork_asker.told == 0);
}

static int forking(void *arg, const char *name, int family, weir_address *list, int max)
{
    pid_t child = fork();
    int status;

    (void)arg;
    (void)name;
    (void)max;
    if (child == 0)
        atexit(leave); /* and back into the library, which ends the thread and so the process */
    else if (waitpid(child, &status, 0) != child || status != 0)
        return WEIR_ENAMEAGAIN;
    weir_address_from_host("127.0.0.5", 0, &list[0]);
    return family == AF_INET;
}

/* A resolver that forks and returns twice: in the child there is nobody to be told. */
static void it_may_fork(void **state)
{
    (void)state;
    weir_set_resolver(forking, NULL);
    assert_int_equal(ask_begin(&fork_asker, "www.test", AF_INET), -EINPROGRESS);
    assert_int_equal(ask_wait(&fork_asker, AF_INET)->rc, 0);
    ask_end(&fork_asker);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, names_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(threads_come_and_go), /* first, while there are none that wait longer */
        TEST(its_addresses),
        TEST(its_errors),
        TEST(kept_for_ten_seconds),
        TEST(four_at_a_time),
        TEST(it_may_wait),
        TEST(replaced_while_running),
        TEST(not_called_after_it_was_replaced),
        TEST(it_may_fork),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
