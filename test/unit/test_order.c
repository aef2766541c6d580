/* RFC 6724: which address goes first. */
#include "resolve/order.h"
#include "sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct ranked rank(const char *to, const char *from)
{
    struct ranked r = {.reachable = false};
    weir_address source;

    assert_int_equal(weir_address_from_host(to, 0, &r.address), 0);
    if (!from) {
        order_rank_from(&r, NULL);
        return r;
    }
    assert_int_equal(weir_address_from_host(from, 0, &source), 0);
    order_rank_from(&r, &source);
    return r;
}

/* `first` goes before `second`, whichever way round they are asked about. */
static void check(const char *first, const char *first_from, const char *second,
                  const char *second_from)
{
    struct ranked a = rank(first, first_from), b = rank(second, second_from);

    if (order_compare(&a, &b) >= 0 || order_compare(&b, &a) <= 0)
        fail_msg("%s does not go before %s", first, second);
}

/* The examples of section 10.2, each with the source that the section gives. */
static void examples(void **state)
{
    (void)state;
    check("2001:db8:1::1", "2001:db8:1::2", "198.51.100.121", "169.254.13.78");
    check("198.51.100.121", "198.51.100.117", "2001:db8:1::1", "fe80::1%1");
    check("2001:db8:1::1", "2001:db8:1::2", "10.1.2.3", "10.1.2.4");
    check("fe80::1%1", "fe80::2%1", "2001:db8:1::1", "2001:db8:1::2");
    check("2001:db8:3ffe::1", "2001:db8:3f44::2", "2002:c633:6401::1", "2002:c633:6401::2");
    check("2002:c633:6401::1", "2002:c633:6401::2", "2001:db8:1::1", "fe80::1%1");
}

static void unreachable_goes_last(void **state)
{
    (void)state;
    check("192.0.2.1", "192.0.2.9", "2001:db8::1", NULL);
    check("2001:db8::1", "2001:db8::9", "::1", NULL);
}

/* Section 2.1's table, from the highest precedence to the lowest. Sources of the same scope and
 * label. */
static void precedence(void **state)
{
    static const char *const hosts[] = {"::1",     "2001:db8::1", "192.0.2.1", "2002::1",
                                        "2001::1", "fc00::1",     "3ffe::1"};
    (void)state;

    for (size_t i = 2; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        check(hosts[i - 1], hosts[i - 1], hosts[i], hosts[i]);
    assert_true(rank("::1", NULL).precedence > rank("2001:db8::1", NULL).precedence);
}

static void scopes(void **state)
{
    (void)state;
    assert_int_equal(rank("127.0.0.1", NULL).scope, 2);
    assert_int_equal(rank("169.254.1.1", NULL).scope, 2);
    assert_int_equal(rank("10.0.0.1", NULL).scope, 14);
    assert_int_equal(rank("::1", NULL).scope, 2);
    assert_int_equal(rank("fe80::1", NULL).scope, 2);
    assert_int_equal(rank("fec0::1", NULL).scope, 5);
    assert_int_equal(rank("ff05::1", NULL).scope, 5);
    assert_int_equal(rank("2001:db8::1", NULL).scope, 14);
}

/* Rule 9 counts at most 64 bits, and IPv4 not at all: otherwise lists that a server turns round
 * would be turned back. */
static void prefix(void **state)
{
    struct ranked a, b;
    (void)state;

    check("2001:db8:1::1", "2001:db8:1::9", "2001:db8:2::1", "2001:db8:1::9");
    a = rank("2001:db8::1:1", "2001:db8::1:2");
    b = rank("2001:db8::2:1", "2001:db8::1:2");
    assert_int_equal(order_compare(&a, &b), 0);
    a = rank("10.0.0.1", "10.0.0.2");
    b = rank("10.200.0.1", "10.0.0.2");
    assert_int_equal(order_compare(&a, &b), 0);
}

/* The order in which a server gave equals is its way of spreading load. */
static void sorting_is_stable(void **state)
{
    struct ranked list[100];
    char host[32];
    (void)state;

    for (int i = 0; i < 100; i++) {
        snprintf(host, sizeof(host), i % 3 ? "10.0.0.%d" : "169.254.0.%d", i);
        list[i] = rank(host, i % 2 ? "10.0.0.200" : NULL);
    }
    order_sort(list, 100);
    for (int i = 1; i < 100; i++) {
        int rc = order_compare(&list[i - 1], &list[i]);

        assert_true(rc <= 0);
        if (rc == 0)
            assert_true(memcmp(&list[i - 1].address.bytes[4], &list[i].address.bytes[4], 4) < 0);
    }
}

static void ranks_what_is_here(void **state)
{
    struct ranked list[3] = {{.reachable = false}};
    struct order_probe probe = ORDER_PROBE_NONE;
    (void)state;

    weir_address_from_host("127.0.0.9", 0, &list[0].address);
    weir_address_from_host("::1", 0, &list[1].address);
    weir_address_from_host("127.0.0.1", 0, &list[2].address);
    order_rank(&probe, list, 3);
    order_probe_close(&probe);
    assert_int_equal(probe.fds[0], -1);
    assert_int_equal(probe.fds[1], -1);
    assert_true(list[0].reachable && list[0].same_scope && list[0].same_label);
    assert_true(list[2].reachable);
    if (list[1].reachable)
        assert_int_equal(list[1].prefix, 64);
}

static int no_sockets(enum sys_call call)
{
    return call == SYS_SOCKET ? -EMFILE : 0;
}

/* Without a descriptor to ask with, nothing is known to be reachable: no worse than that. */
static void without_descriptors(void **state)
{
    static const struct sys_faults faults = {.error = no_sockets};
    struct ranked list[2] = {{.reachable = false}};
    struct order_probe probe = ORDER_PROBE_NONE;
    (void)state;

    weir_address_from_host("10.0.0.1", 0, &list[0].address);
    weir_address_from_host("2001:db8::1", 0, &list[1].address);
    sys_faults = &faults;
    order_rank(&probe, list, 2);
    sys_faults = NULL;
    order_probe_close(&probe);
    assert_false(list[0].reachable || list[1].reachable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples),
        cmocka_unit_test(unreachable_goes_last),
        cmocka_unit_test(precedence),
        cmocka_unit_test(scopes),
        cmocka_unit_test(prefix),
        cmocka_unit_test(sorting_is_stable),
        cmocka_unit_test(ranks_what_is_here),
        cmocka_unit_test(without_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
