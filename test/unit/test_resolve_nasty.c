/* Name servers that lie, and those that say nothing: an error in bounded time, and nothing false
 * is believed. */
#include "support/names_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <weir/error.h>

#include <cmocka.h>

/* What they do, and what comes of it when resolv.conf grants them one second and one try. */
static const struct {
    const char *rule;
    int rc;
} nasty[] = {
    {"silent", WEIR_ENAMESERVER},
    {"wrong-id", WEIR_ENAMESERVER},
    {"wrong-question", WEIR_ENAMESERVER},
    {"wrong-source", WEIR_ENAMESERVER},
    {"empty", WEIR_ENAMESERVER},
    {"short", WEIR_ENAMESERVER},
    {"tc-hang", WEIR_ENAMESERVER},
    {"tc-close", WEIR_ENAMESERVER},
    {"echo", WEIR_ENAMEAGAIN},
    {"counts", WEIR_ENAMEAGAIN},
    {"pointer-loop", WEIR_ENAMEAGAIN},
    {"cname-loop", WEIR_ENONAME},
};

#define COUNT (sizeof(nasty) / sizeof(nasty[0]))

/* Each would give an address if it were believed. All at once, so that the second passes once. */
static void none_is_believed(void **state)
{
    static struct asker askers[COUNT];
    char host[64], rule[64];
    (void)state;

    names_use_files("options timeout:1 attempts:1\n");
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(host, sizeof(host), "%s.test", nasty[i].rule);
        snprintf(rule, sizeof(rule), "A:127.0.0.1,AAAA:::1,%s", nasty[i].rule);
        stub_dns_add(names_server(), host, rule);
        assert_int_equal(ask_begin(&askers[i], host, AF_UNSPEC), -EINPROGRESS);
    }
    for (size_t i = 0; i < COUNT; i++) {
        int ipv4 = ask_wait(&askers[i], AF_INET)->rc, ipv6 = ask_wait(&askers[i], AF_INET6)->rc;

        if (ipv4 != nasty[i].rc || ipv6 != nasty[i].rc)
            fail_msg("%s: %s, %s", nasty[i].rule, weir_error_name(ipv4), weir_error_name(ipv6));
        ask_end(&askers[i]);
    }
    assert_string_equal(ask("silent.test", AF_INET), "WEIR_ENAMESERVER"); /* not kept */
    assert_true(stub_dns_count(names_server(), "silent.test", STUB_DNS_A) >= 2);
}

/* What a liar does to one question is no concern of the others that are on their way to the same
 * server. */
static void others_are_left_alone(void **state)
{
    static struct asker askers[COUNT];
    struct asker good;
    char host[64];
    (void)state;

    stub_dns_add(names_server(), "good.test", "A:127.0.0.1,hold");
    assert_int_equal(ask_begin(&good, "good.test", AF_INET), -EINPROGRESS);
    stub_dns_wait(names_server(), "good.test", STUB_DNS_A, 1);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(host, sizeof(host), "%s.test", nasty[i].rule);
        stub_dns_add(names_server(), host, nasty[i].rule);
        assert_int_equal(ask_begin(&askers[i], host, AF_INET), -EINPROGRESS);
        stub_dns_wait(names_server(), host, STUB_DNS_A, 1);
    }
    stub_dns_release(names_server(), "good.test");
    assert_int_equal(ask_wait(&good, AF_INET)->rc, 0);
    ask_end(&good);
    assert_int_equal(stub_dns_count(names_server(), "good.test", STUB_DNS_A), 1);
    for (size_t i = 0; i < COUNT; i++)
        ask_end(&askers[i]);
}

/* One family's silence is no concern of the other's. */
static void silent_about_one_family(void **state)
{
    struct asker a;
    (void)state;

    stub_dns_add(names_server(), "www.test", "A:127.0.0.1,silent/aaaa");
    assert_int_equal(ask_begin(&a, "www.test", AF_UNSPEC), -EINPROGRESS);
    assert_int_equal(ask_wait(&a, AF_INET)->rc, 0);
    assert_null(resolve_answer(a.request, AF_INET6));
    ask_end(&a);
}

/* A question that is lost is sent again long before its time is up. */
static void lost_once(void **state)
{
    struct asker a;
    (void)state;

    stub_dns_add(names_server(), "www.test", "silent");
    assert_int_equal(ask_begin(&a, "www.test", AF_INET), -EINPROGRESS);
    stub_dns_wait(names_server(), "www.test", STUB_DNS_A, 1);
    stub_dns_add(names_server(), "www.test", "A:127.0.0.1");
    assert_int_equal(ask_wait(&a, AF_INET)->rc, 0);
    ask_end(&a);
    assert_int_equal(stub_dns_count(names_server(), "www.test", STUB_DNS_A), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, names_setup, names_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(none_is_believed),
        TEST(others_are_left_alone),
        TEST(silent_about_one_family),
        TEST(lost_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
