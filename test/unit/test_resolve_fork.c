/* fork(2) while names are being looked up: the parent goes on, the child begins anew, neither
 * disturbs the other. */
#include "resolve/flight.h"
#include "support/names_fixture.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <weir/error.h>

#include <cmocka.h>

/* In a child, whose exit code is the result. */
static void must(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "child: %s\n", what);
    names_leave(false);
}
#define MUST(condition) must(condition, #condition)

static void wait_for_child(pid_t child)
{
    int status;

    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void child_begins_anew(void **state)
{
    struct asker a;
    pid_t child;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,AAAA:::1,hold");
    assert_int_equal(ask_begin(&a, "www.test", AF_UNSPEC), -EINPROGRESS);
    stub_dns_wait(names_server(), "www.test", 0, 2);
    child = fork();
    if (child == 0) {
        MUST(!resolve_answer(a.request, AF_INET));
        MUST(!resolve_answer(a.request, AF_INET6));
        MUST(ask_wait(&a, AF_INET)->rc == 0);
        MUST(ask_wait(&a, AF_INET6)->rc == 0);
        ask_end(&a);
        MUST(a.released == 1 && a.told == 2);
        names_leave(true);
    }
    stub_dns_wait(names_server(), "www.test", 0, 4); /* the child asks on its own */
    stub_dns_release(names_server(), "www.test");
    wait_for_child(child);
    assert_int_equal(ask_wait(&a, AF_INET)->rc, 0);
    assert_int_equal(ask_wait(&a, AF_INET6)->rc, 0);
    ask_end(&a);
    assert_int_equal(a.told, 2);
}

static void child_ends_what_was_in_flight(void **state)
{
    struct asker a, b;
    pid_t child;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,hold");
    assert_int_equal(ask_begin(&a, "www.test", AF_UNSPEC), -EINPROGRESS);
    assert_int_equal(ask_begin(&b, "www.test", AF_INET), -EINPROGRESS);
    stub_dns_wait(names_server(), "www.test", 0, 2);
    child = fork();
    if (child == 0) {
        resolve_end(a.request);
        resolve_end(b.request);
        MUST(a.released == 1 && b.released == 1);
        names_leave(true);
    }
    wait_for_child(child);
    stub_dns_release(names_server(), "www.test");
    assert_int_equal(ask_wait(&a, AF_INET)->rc, 0);
    ask_end(&a);
    ask_end(&b);
}

static void child_has_the_cache_and_a_thread_of_its_own(void **state)
{
    pid_t child;
    (void)state;

    stub_dns_add(names_server(), "*.test", "A:127.0.0.1");
    assert_string_equal(ask("known.test", AF_INET), "127.0.0.1");
    child = fork();
    if (child == 0) {
        MUST(strcmp(ask("known.test", AF_INET), "127.0.0.1") == 0);
        MUST(strcmp(ask("new.test", AF_INET), "127.0.0.1") == 0);
        /* And a child of its own. */
        pid_t grandchild = fork();
        if (grandchild == 0) {
            MUST(strcmp(ask("newer.test", AF_INET), "127.0.0.1") == 0);
            names_leave(true);
        }
        int status;
        MUST(waitpid(grandchild, &status, 0) == grandchild && status == 0);
        names_leave(true);
    }
    wait_for_child(child);
    assert_int_equal(stub_dns_count(names_server(), "known.test", 0), 1);
    assert_string_equal(ask("parent.test", AF_INET), "127.0.0.1");
}

/* The parent's sockets and its epoll set are closed in the child, and nothing is taken out of the
 * set. */
static void child_keeps_no_descriptor(void **state)
{
    struct asker a;
    int before;
    pid_t child;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,hold");
    stub_dns_add(names_server(), "tcp.test", "A:127.0.0.1,tc-hang");
    assert_int_equal(ask_begin(&a, "www.test", AF_INET), -EINPROGRESS);
    stub_dns_wait(names_server(), "www.test", 0, 1);
    before = open_descriptors();
    child = fork();
    if (child == 0) {
        /* epoll set, wake descriptor and one UDP socket at least */
        MUST(open_descriptors() <= before - 3);
        names_leave(true);
    }
    wait_for_child(child);
    stub_dns_release(names_server(), "www.test");
    assert_int_equal(ask_wait(&a, AF_INET)->rc, 0);
    ask_end(&a);
    assert_int_equal(stub_dns_count(names_server(), "www.test", 0), 1); /* the answer was heard */
}

static int no_threads(enum sys_call call)
{
    return call == SYS_THREAD ? -EAGAIN : 0;
}

/* A child that cannot have a thread says so. */
static void child_without_a_thread(void **state)
{
    static const struct sys_faults faults = {.error = no_threads};
    struct asker a;
    pid_t child;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,hold");
    assert_int_equal(ask_begin(&a, "www.test", AF_INET), -EINPROGRESS);
    stub_dns_wait(names_server(), "www.test", 0, 1);
    child = fork();
    if (child == 0) {
        int before = open_descriptors();
        struct asker b;

        sys_faults = &faults;
        MUST(resolve_answer(a.request, AF_INET)->rc == WEIR_ENAMEAGAIN);
        MUST(a.released == 1);
        resolve_end(a.request);
        MUST(a.released == 1);
        MUST(ask_begin(&b, "other.test", AF_INET) == -EAGAIN && b.released == 1);
        MUST(open_descriptors() == before);
        names_leave(true);
    }
    wait_for_child(child);
    ask_end(&a);
}

/* ---- In the middle of everything ------------------------------------------------------------- */

static atomic_bool stop;

static void *look_up_all_the_time(void *arg)
{
    char host[64];

    for (int i = 0; !stop; i++) {
        struct asker a;

        snprintf(host, sizeof(host), "n%d.%s.test", i, (const char *)arg);
        if (ask_begin(&a, host, AF_UNSPEC) != -EINPROGRESS)
            abort();
        if (i % 2)
            ask_wait(&a, AF_INET);
        ask_end(&a);
    }
    return NULL;
}

/* Forks at moments that nobody chooses. What the other threads have in hand is lost to the child,
 * and does not hold it up. */
static void forks_in_the_middle(void **state)
{
    static char first[] = "first", second[] = "second";
    pthread_t threads[2];
    (void)state;

    stub_dns_add(names_server(), "*.test", "A:127.0.0.1");
    stop = false;
    assert_int_equal(pthread_create(&threads[0], NULL, look_up_all_the_time, first), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, look_up_all_the_time, second), 0);
    for (int i = 0; i < 30; i++) {
        pid_t child = fork();

        if (child == 0) {
            char host[64];

            snprintf(host, sizeof(host), "child%d.test", i);
            weir_address list[1];
            MUST(weir_resolve(host, 0, AF_INET, list, 1, NULL) == 1);
            names_leave(true);
        }
        wait_for_child(child);
    }
    stop = true;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, names_setup, names_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(child_begins_anew),
        TEST(child_ends_what_was_in_flight),
        TEST(child_has_the_cache_and_a_thread_of_its_own),
        TEST(child_keeps_no_descriptor),
        TEST(child_without_a_thread),
        TEST(forks_in_the_middle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
