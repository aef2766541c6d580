/* The text of /etc/hosts. */
#include "resolve/hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/error.h>

#include <cmocka.h>

/* What `name` has in the text, as "ADDRESS ADDRESS", or "?" if the file does not know it, "-" if
 * only in the other family. */
static const char *find(const char *text, size_t len, const char *name, int family)
{
    static char out[512];
    struct hosts *h = hosts_parse(text, len);
    struct answer *a = NULL;
    bool known;
    int rc;

    assert_non_null(h);
    rc = hosts_find(h, name, family, &a, &known);
    snprintf(out, sizeof(out), "%s", rc == 0 ? "" : known ? "-" : "?");
    assert_true(rc == 0 || rc == WEIR_ENONAME);
    for (size_t i = 0; rc == 0 && i < a->count; i++) {
        char buf[WEIR_ADDRESS_TEXT_MAX];

        weir_address_format(&a->list[i].address, buf, sizeof(buf));
        *strrchr(buf, ':') = '\0'; /* the port */
        snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%s", i ? " " : "", buf);
    }
    answer_unref(a);
    hosts_free(h);
    return out;
}

static void check(const char *text, const char *name, const char *ipv4, const char *ipv6)
{
    assert_string_equal(find(text, strlen(text), name, AF_INET), ipv4);
    assert_string_equal(find(text, strlen(text), name, AF_INET6), ipv6);
}

static void names_and_aliases(void **state)
{
    static const char text[] = "# comment\n"
                               "192.0.2.1\tone.test one\n"
                               "2001:db8::1   one.test   # the other family\n"
                               "192.0.2.2 two.test # three.test\n"
                               "192.0.2.9 one.test\n";
    (void)state;

    check(text, "one.test", "192.0.2.1 192.0.2.9", "[2001:db8::1]");
    check(text, "ONE.Test", "192.0.2.1 192.0.2.9", "[2001:db8::1]");
    check(text, "one.test.", "192.0.2.1 192.0.2.9", "[2001:db8::1]");
    check(text, "one", "192.0.2.1", "-");
    check(text, "two.test", "192.0.2.2", "-");
    check(text, "three.test", "?", "?");
    check(text, "on", "?", "?");
    check(text, "192.0.2.1", "?", "?");
}

static void blanks_and_line_ends(void **state)
{
    (void)state;
    check("192.0.2.1 a\r\n192.0.2.2 b\r\n", "a", "192.0.2.1", "-");
    check("192.0.2.1 a\r\n192.0.2.2 b\r\n", "b", "192.0.2.2", "-");
    check("   192.0.2.1\t\t a  \t", "a", "192.0.2.1", "-");
    check("192.0.2.1 a", "a", "192.0.2.1", "-");
    check("\n\n\n192.0.2.1 a.\n", "a", "192.0.2.1", "-");
    check("fe80::1%1 a", "a", "-", "[fe80::1%1]");
}

static void the_same_twice(void **state)
{
    (void)state;
    check("192.0.2.1 a a\n192.0.2.1 a\n", "a", "192.0.2.1", "-");
}

/* A line that is no entry spoils no other. */
static void garbage(void **state)
{
    static const char nul[] = "192.0.2.1 a\0b\n192.0.2.2 c\n";
    (void)state;

    check("", "a", "?", "?");
    check("192.0.2.1", "a", "?", "?");
    check("300.1.1.1 a\n192.0.2.1 a\n", "a", "192.0.2.1", "-");
    check("a 192.0.2.1\n01.2.3.4 a\n::g a\n", "a", "?", "?");
    check("#192.0.2.1 a", "a", "?", "?");
    assert_string_equal(find(nul, sizeof(nul) - 1, "c", AF_INET), "192.0.2.2");
}

static void long_lines(void **state)
{
    size_t size = 1 << 20, at;
    char *text = malloc(size);
    (void)state;

    assert_non_null(text);
    at = (size_t)sprintf(text, "192.0.2.1 ");
    memset(text + at, 'x', size - at);
    memcpy(text + size - 20, " a\n192.0.2.2 b      ", 20);
    assert_string_equal(find(text, size, "a", AF_INET), "192.0.2.1");
    assert_string_equal(find(text, size, "b", AF_INET), "192.0.2.2");
    free(text);
}

static void many_names(void **state)
{
    size_t size = 10000 * 40, at = 0;
    char *text = malloc(size);
    (void)state;

    assert_non_null(text);
    for (int i = 0; i < 10000; i++)
        at += (size_t)sprintf(text + at, "10.0.%d.%d n%d.test\n", i / 256, i % 256, i);
    assert_string_equal(find(text, at, "n0.test", AF_INET), "10.0.0.0");
    assert_string_equal(find(text, at, "n9999.test", AF_INET), "10.0.39.15");
    assert_string_equal(find(text, at, "n10000.test", AF_INET), "?");
    free(text);
}

/* RFC 6761: whatever the file says. */
static void localhost(void **state)
{
    struct answer *a;
    char buf[WEIR_ADDRESS_TEXT_MAX];
    (void)state;

    assert_true(hosts_is_localhost("localhost"));
    assert_true(hosts_is_localhost("LocalHost."));
    assert_true(hosts_is_localhost("a.b.localhost"));
    assert_false(hosts_is_localhost("notlocalhost"));
    assert_false(hosts_is_localhost("localhost.test"));
    assert_false(hosts_is_localhost("ocalhost"));
    a = hosts_localhost(AF_INET);
    weir_address_format(&a->list[0].address, buf, sizeof(buf));
    assert_string_equal(buf, "127.0.0.1:0");
    answer_unref(a);
    a = hosts_localhost(AF_INET6);
    weir_address_format(&a->list[0].address, buf, sizeof(buf));
    assert_string_equal(buf, "[::1]:0");
    answer_unref(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_aliases), cmocka_unit_test(blanks_and_line_ends),
        cmocka_unit_test(the_same_twice),    cmocka_unit_test(garbage),
        cmocka_unit_test(long_lines),        cmocka_unit_test(many_names),
        cmocka_unit_test(localhost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
