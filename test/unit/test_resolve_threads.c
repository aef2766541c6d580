/* Many threads that begin, look and end at any moment, while settings change: for the race
 * detectors above all. */
#include "resolve/flight.h"
#include "support/names_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir/error.h>

#include <cmocka.h>

#define THREADS 4
#define ROUNDS  400
#define LIVE    16

static atomic_uint told_late;

/* What a client must not see: a notify after its release. */
struct strict {
    struct resolve_request *request;
    pthread_mutex_t lock; /* as a socket's: held while beginning, asking and ending */
    atomic_uint references;
    atomic_bool released;
};

static void unref(struct strict *s)
{
    if (atomic_fetch_sub(&s->references, 1) == 1) {
        pthread_mutex_destroy(&s->lock);
        free(s);
    }
}

static void notify(void *arg)
{
    struct strict *s = arg;

    pthread_mutex_lock(&s->lock);
    told_late += s->released;
    if (s->request)
        resolve_answer(s->request, AF_INET);
    pthread_mutex_unlock(&s->lock);
}

static void release(void *arg)
{
    struct strict *s = arg;

    told_late += atomic_exchange(&s->released, true);
    unref(s);
}

static struct strict *begin(const char *host, int family)
{
    struct strict *s = calloc(1, sizeof(*s));
    const struct resolve_client client = {notify, release, s};

    if (!s)
        abort();
    pthread_mutex_init(&s->lock, NULL);
    s->references = 2;
    pthread_mutex_lock(&s->lock);
    if (resolve_begin(&s->request, host, family, &client) == -ENOMEM)
        abort();
    pthread_mutex_unlock(&s->lock);
    return s;
}

static void end(struct strict *s)
{
    pthread_mutex_lock(&s->lock);
    resolve_end(s->request);
    s->request = NULL;
    pthread_mutex_unlock(&s->lock);
    unref(s);
}

static const char *const domains[] = {"good.test", "silent.test", "gone.test", "files.test"};

static void *churn(void *arg)
{
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
    struct strict *live[LIVE] = {NULL};
    unsigned random = (unsigned)(uintptr_t)arg;
    char host[64];

    for (int i = 0; i < ROUNDS; i++) {
        struct strict **place = &live[random % LIVE];

        random = random * 1664525 + 1013904223;
        snprintf(host, sizeof(host), "n%u.%s", random >> 20 & 15, domains[random >> 28 & 3]);
        if (*place)
            end(*place);
        *place = begin(host, families[random >> 24 & 1 ? 0 : 1 + (random >> 25 & 1)]);
        if (random >> 30 == 0)
            sched_yield();
        if (random >> 23 == 0)
            weir_set_nameservers(stub_dns_servers(names_server()));
    }
    for (int i = 0; i < LIVE; i++)
        if (live[i])
            end(live[i]);
    return NULL;
}

static int pass(void *arg, const char *name, int family, weir_address *list, int max)
{
    (void)arg;
    (void)name;
    (void)max;
    weir_address_from_host(family == AF_INET ? "127.0.0.1" : "::1", 0, &list[0]);
    return 1;
}

static void run_threads(void)
{
    pthread_t threads[THREADS];

    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i * 7919 + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(told_late, 0);
}

static void nothing_is_told_after_the_end(void **state)
{
    (void)state;
    stub_dns_add(names_server(), "*.good.test", "A:127.0.0.1,ttl:0");
    stub_dns_add(names_server(), "*.silent.test", "silent");
    names_write("hosts", "127.0.0.7 n1.files.test n2.files.test n3.files.test\n");
    names_later(1001);
    run_threads();
}

static void the_same_with_the_programs_resolver(void **state)
{
    (void)state;
    weir_set_resolver(pass, NULL);
    run_threads();
}

/* Who waits for the same name is told by one answer, whether it is one or thousands. */
static void all_are_told(void **state)
{
    static struct asker askers[2000];
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,hold");
    for (int i = 0; i < 2000; i++)
        assert_int_equal(ask_begin(&askers[i], "www.test", AF_INET), -EINPROGRESS);
    stub_dns_wait(names_server(), "www.test", 0, 1);
    stub_dns_release(names_server(), "www.test");
    for (int i = 0; i < 2000; i++) {
        if (i % 2)
            assert_int_equal(ask_wait(&askers[i], AF_INET)->rc, 0);
        ask_end(&askers[i]);
        assert_true(askers[i].told <= 1);
        assert_int_equal(askers[i].released, 1);
    }
    assert_int_equal(stub_dns_count(names_server(), "www.test", 0), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, names_setup, names_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_told_after_the_end),
        TEST(the_same_with_the_programs_resolver),
        TEST(all_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
