/* The public calls of names.h. */
#include "support/names_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <weir.h>

#include <cmocka.h>

static const char *text(const weir_address *a)
{
    static char buf[WEIR_ADDRESS_TEXT_MAX];

    weir_address_format(a, buf, sizeof(buf));
    return buf;
}

static void expect_story(const char *part)
{
    char story[512];

    weir_error_detail(NULL, story, sizeof(story));
    if (!strstr(story, part))
        fail_msg("\"%s\" is not in \"%s\"", part, story);
}

static void numbers(void **state)
{
    weir_address list[2];
    enum weir_name_source source;
    (void)state;

    assert_int_equal(weir_resolve("192.0.2.1", 80, AF_UNSPEC, list, 2, &source), 1);
    assert_string_equal(text(&list[0]), "192.0.2.1:80");
    assert_int_equal(source, WEIR_FROM_NUMERIC);
    assert_int_equal(weir_resolve("2001:db8::1", 80, AF_INET6, list, 2, &source), 1);
    assert_string_equal(text(&list[0]), "[2001:db8::1]:80");
    assert_int_equal(weir_resolve("192.0.2.1", 80, AF_INET6, list, 2, &source), WEIR_ENONAME);
    expect_story("192.0.2.1");
    assert_int_equal(weir_resolve("192.0.2.1", 80, AF_INET, NULL, 0, NULL), 1);
    assert_int_equal(weir_resolve("fe80::1%nosuchif", 80, AF_INET6, list, 2, NULL), -ENODEV);
    expect_story("nosuchif");
}

static void sources(void **state)
{
    weir_address list[2];
    enum weir_name_source source;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,AAAA:::1");
    assert_int_equal(weir_resolve("www.test", 80, AF_UNSPEC, list, 2, &source), 2);
    assert_int_equal(source, WEIR_FROM_DNS);
    assert_int_equal(weir_resolve("www.test", 80, AF_UNSPEC, list, 2, &source), 2);
    assert_int_equal(source, WEIR_FROM_CACHE);
    assert_int_equal(weir_resolve("localhost", 80, AF_INET, list, 2, &source), 1);
    assert_int_equal(source, WEIR_FROM_HOSTS);
    assert_int_equal(weir_resolve("localhost", 80, AF_INET, list, 2, &source), 1);
    assert_int_equal(source, WEIR_FROM_HOSTS);
    assert_string_equal(weir_name_source_text(WEIR_FROM_NUMERIC), "numeric");
    assert_string_equal(weir_name_source_text(WEIR_FROM_CACHE), "cache");
    assert_string_equal(weir_name_source_text(WEIR_FROM_HOSTS), "hosts");
    assert_string_equal(weir_name_source_text(WEIR_FROM_DNS), "dns");
    assert_string_equal(weir_name_source_text(WEIR_FROM_SYSTEM), "system");
    assert_string_equal(weir_name_source_text(WEIR_FROM_PROGRAM), "program");
    assert_string_equal(weir_name_source_text((enum weir_name_source)0), "unknown");
}

/* More than there is room for are counted, not stored. */
static void more_than_fit(void **state)
{
    weir_address list[3] = {{.length = 0}};
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,A:127.0.0.2,A:127.0.0.3");
    assert_int_equal(weir_resolve("www.test", 7, AF_UNSPEC, list, 2, NULL), 3);
    assert_string_equal(text(&list[1]), "127.0.0.2:7");
    assert_int_equal(list[2].length, 0);
    assert_int_equal(weir_resolve("www.test", 7, AF_INET, NULL, 0, NULL), 3);
}

/* Both families in one list, in the order in which to try them. */
static void order(void **state)
{
    weir_address list[4];
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,A:127.0.0.2,AAAA:::1");
    assert_int_equal(weir_resolve("www.test", 0, AF_UNSPEC, list, 4, NULL), 3);
    if (weir_address_family(&list[0]) == AF_INET6) { /* where there is no IPv6 it goes last */
        assert_string_equal(text(&list[0]), "[::1]:0");
        assert_string_equal(text(&list[1]), "127.0.0.1:0");
    } else {
        assert_string_equal(text(&list[2]), "[::1]:0");
    }
}

static void failures(void **state)
{
    weir_address list[1];
    enum weir_name_source source = WEIR_FROM_DNS;
    (void)state;

    stub_dns_add(names_server(), "fails.test", "servfail");
    stub_dns_add(names_server(), "half.test", "servfail/aaaa");
    assert_int_equal(weir_resolve("gone.test", 80, AF_UNSPEC, list, 1, &source), WEIR_ENONAME);
    expect_story("gone.test");
    assert_int_equal(weir_resolve("fails.test", 80, AF_UNSPEC, list, 1, &source), WEIR_ENAMEAGAIN);
    /* No address in one family, not known in the other: that is not "no such name". */
    assert_int_equal(weir_resolve("half.test", 80, AF_UNSPEC, list, 1, &source), WEIR_ENAMEAGAIN);
    stub_dns_add(names_server(), "half.test", "A:127.0.0.1,servfail/aaaa");
    weir_set_nameservers(stub_dns_servers(names_server()));
    assert_int_equal(weir_resolve("half.test", 80, AF_UNSPEC, list, 1, &source), 1);
    assert_int_equal(source, WEIR_FROM_DNS); /* untouched or set */
}

static void wrong_use(void **state)
{
    char name[300];
    weir_address list[1];
    (void)state;

    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(weir_resolve(NULL, 80, AF_UNSPEC, list, 1, NULL), -EINVAL);
    assert_int_equal(weir_resolve("www.test", 80, AF_UNIX, list, 1, NULL), -EINVAL);
    assert_int_equal(weir_resolve("www.test", 80, AF_UNSPEC, NULL, 1, NULL), -EINVAL);
    assert_int_equal(weir_resolve("", 80, AF_UNSPEC, list, 1, NULL), -EINVAL);
    assert_int_equal(weir_resolve("a..b", 80, AF_UNSPEC, list, 1, NULL), -EINVAL);
    expect_story("a..b");
    assert_int_equal(weir_resolve(name, 80, AF_UNSPEC, list, 1, NULL), -ENAMETOOLONG);
    assert_int_equal(stub_dns_count(names_server(), NULL, 0), 0);
}

/* ---- Limits ---------------------------------------------------------------------------------- */

static void limits_hold(void **state)
{
    weir_address list[1];
    (void)state;

    stub_dns_add(names_server(), "known.test", "A:127.0.0.1");
    stub_dns_add(names_server(), "silent.test", "silent");
    assert_int_equal(weir_resolve("known.test", 80, AF_INET, list, 1, NULL), 1);
    WEIR_WITHIN_MS(20);
    assert_int_equal(weir_resolve("silent.test", 80, AF_UNSPEC, list, 1, NULL), WEIR_EDEADLINE);
    expect_story("silent.test");
    /* What needs no waiting needs no time. */
    assert_int_equal(weir_resolve("known.test", 80, AF_INET, list, 1, NULL), 1);
    assert_int_equal(weir_resolve("192.0.2.1", 80, AF_INET, list, 1, NULL), 1);
}

/* One family that is there is better than nothing when time is up. */
static void half_an_answer_in_time(void **state)
{
    weir_address list[2];
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,silent/aaaa");
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.1");
    WEIR_WITHIN_MS(20);
    assert_int_equal(weir_resolve("www.test", 80, AF_UNSPEC, list, 2, NULL), 1);
}

static int no_threads(enum sys_call call)
{
    return call == SYS_THREAD ? -EAGAIN : 0;
}

/* Before everything else, as the thread would be there later. */
static int resolve_without_a_thread(void)
{
    static const struct sys_faults faults = {.error = no_threads};
    weir_address list[1];
    int rc;

    sys_faults = &faults;
    rc = weir_resolve("www.test", 0, AF_INET, list, 1, NULL);
    sys_faults = NULL;
    return rc;
}

/* Not -EAGAIN, which would say "not yet". */
static int without_a_thread_rc;

static void without_a_thread(void **state)
{
    (void)state;
    assert_int_equal(without_a_thread_rc, WEIR_ENAMEAGAIN);
}

/* ---- Settings -------------------------------------------------------------------------------- */

static void wrong_servers_change_nothing(void **state)
{
    (void)state;
    stub_dns_add(names_server(), "www.test", "A:127.0.0.1");
    assert_int_equal(weir_set_nameservers("127.0.0.1:1,name.test"), -EINVAL);
    expect_story("name.test");
    assert_int_equal(weir_set_nameservers(""), -EINVAL);
    assert_string_equal(ask("www.test", AF_INET), "127.0.0.1");
}

/* A process that has looked nothing up yet: the environment is read once. It is forked before there
 * is a second thread, and is told on a pipe what WEIR_NAMESERVERS to start with. */
struct newborn {
    pid_t pid;
    int pipe[2];
};

static struct newborn newborn_fork(void)
{
    struct newborn n;
    weir_address list[1];
    char servers[256] = "";

    if (pipe(n.pipe) < 0)
        names_leave(false);
    n.pid = fork();
    if (n.pid != 0)
        return n;
    if (read(n.pipe[0], servers, sizeof(servers) - 1) <= 0)
        names_leave(false);
    setenv("WEIR_NAMESERVERS", servers, 1);
    resolve_set_paths(&(struct resolve_paths){"/x", "/x", "/x", "/x"});
    names_leave(weir_resolve("www.test", 0, AF_INET, list, 1, NULL) == 1);
    return n;
}

static int newborn_resolves_with(struct newborn *n, const char *servers)
{
    int status;
    bool told = write(n->pipe[1], servers, strlen(servers)) > 0;

    close(n->pipe[0]);
    close(n->pipe[1]);
    if (waitpid(n->pid, &status, 0) != n->pid || !told || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

static int first_use_results[2];

/* Before everything else, see above. */
static void try_the_environment(void)
{
    struct newborn first = newborn_fork(), second = newborn_fork();
    struct stub_dns *server = stub_dns_open();

    stub_dns_add(server, "www.test", "A:127.0.0.1");
    first_use_results[0] = newborn_resolves_with(&first, stub_dns_servers(server));
    first_use_results[1] = newborn_resolves_with(&second, "no address");
    stub_dns_close(server);
}

static void servers_of_the_environment(void **state)
{
    (void)state;
    assert_int_equal(first_use_results[0], 0);
    assert_int_equal(first_use_results[1], 1); /* a text that is none is as good as none */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, names_setup, names_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_of_the_environment),
        cmocka_unit_test(without_a_thread),
        TEST(numbers),
        TEST(sources),
        TEST(more_than_fit),
        TEST(order),
        TEST(failures),
        TEST(wrong_use),
        TEST(limits_hold),
        TEST(half_an_answer_in_time),
        TEST(wrong_servers_change_nothing),
    };

    try_the_environment();
    without_a_thread_rc = resolve_without_a_thread();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
