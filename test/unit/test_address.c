/* Addresses as values, and what there is between them, texts and the system. */
#include "support/address_text.h"
#include "sys.h"
#include "target.h"

#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <weir.h>
/* cmocka wants the four above it. */
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

#define X10  "xxxxxxxxxx"
#define X50  X10 X10 X10 X10 X10
#define X107 X50 X50 "xxxxxxx"

/* What is read, and how it is written. */
static const struct {
    const char *text, *canonical;
} good_texts[] = {
    {"192.0.2.1:80", "192.0.2.1:80"},
    {"0.0.0.0:0", "0.0.0.0:0"},
    {"255.255.255.255:65535", "255.255.255.255:65535"},
    {"1.2.3.4:0080", "1.2.3.4:80"},
    {"tcp://192.0.2.1:80", "192.0.2.1:80"},
    {"udp://192.0.2.1:80", "192.0.2.1:80"},
    {"tls://[::1]:443", "[::1]:443"},
    {"TCP://192.0.2.1:80", "192.0.2.1:80"},
    {"[2001:db8::1]:443", "[2001:db8::1]:443"},
    {"[2001:DB8:0:0:0:0:0:1]:443", "[2001:db8::1]:443"},
    {"[2001:0db8::0001]:443", "[2001:db8::1]:443"},
    {"[::]:1", "[::]:1"},
    {"*:8080", "[::]:8080"},
    {":8080", "[::]:8080"},
    {"tcp://:8080", "[::]:8080"},
    {"udp://*:8080", "[::]:8080"},
    /* RFC 5952: the longest run, the first of equals, never a single word */
    {"[1:0:0:2:0:0:0:3]:1", "[1:0:0:2::3]:1"},
    {"[1:0:0:2:3:0:0:4]:1", "[1::2:3:0:0:4]:1"},
    {"[1:0:2:3:4:5:6:7]:1", "[1:0:2:3:4:5:6:7]:1"},
    {"[0:0:1:2:3:4:5:6]:1", "[::1:2:3:4:5:6]:1"},
    {"[1:2:3:4:5:6:0:0]:1", "[1:2:3:4:5:6::]:1"},
    {"[::1:2]:1", "[::1:2]:1"},
    {"[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]:80"},
    {"[::ffff:102:304]:80", "[::ffff:1.2.3.4]:80"},
    {"[64:ff9b::1.2.3.4]:80", "[64:ff9b::102:304]:80"},
    {"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:80",
     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80"},
    {"[fe80::1%2]:22", "[fe80::1%2]:22"},
    {"[fe80::1%0]:22", "[fe80::1]:22"},
    {"[fe80::1%4294967295]:22", "[fe80::1%4294967295]:22"},
    {"unix:/run/thing.sock", "unix:/run/thing.sock"},
    {"UNIX:/run/thing.sock", "unix:/run/thing.sock"},
    {"unix:relative", "unix:relative"},
    {"unix:80", "unix:80"},
    {"unix:///run/x", "unix:///run/x"},
    {"unix:http://x:80", "unix:http://x:80"},
    {"unix:/caf\xc3\xa9", "unix:/caf\\xc3\\xa9"},
    {"unix:/a\nb", "unix:/a\\x0ab"},
    {"unix:/ ~\x7f", "unix:/ ~\\x7f"},
    {"unix:\\x40name", "unix:\\x40name"},
    {"unix:a@b", "unix:a@b"},
    {"unix:C:\\\\x41", "unix:C:\\\\x41"},
    {"unix:@name", "unix:@name"},
    {"unix:@@", "unix:@@"},
    {"unix:@\\x00", "unix:@\\x00"},
    {"unix:@\\x00\\x61\\\\\\xFf", "unix:@\\x00a\\\\\\xff"},
    {"unix:" X107, "unix:" X107},
    {"unix:@" X107, "unix:@" X107},
};

static void texts_that_are_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_texts); i++) {
        weir_address a = parsed(good_texts[i].text);
        assert_string_equal(formatted(&a), good_texts[i].canonical);
    }
}

/* What is refused, with which error and with what in the story. */
static const struct {
    const char *text;
    int rc;
    const char *story;
} bad_texts[] = {
    {"", -EINVAL, "has no port"},
    {"192.0.2.1", -EINVAL, "\"192.0.2.1\" has no port"},
    {"192.0.2.1:", -EINVAL, "no port after the colon"},
    {"192.0.2.1:65536", -EINVAL, "\"65536\" is no port"},
    {"192.0.2.1:99999999999999999999", -EINVAL, "is no port"},
    {"192.0.2.1:4294967376", -EINVAL, "\"4294967376\" is no port"},
    {"192.0.2.1:+80", -EINVAL, "\"+80\" is no port"},
    {"192.0.2.1:-1", -EINVAL, "\"-1\" is no port"},
    {"192.0.2.1: 80", -EINVAL, "\" 80\" is no port"},
    {"192.0.2.1:80 ", -EINVAL, "\"80 \" is no port"},
    {"192.0.2.1:http", -EINVAL, "\"http\" is no port"},
    {"192.0.2.1:0x50", -EINVAL, "\"0x50\" is no port"},
    {"tcp://192.0.2.1:80/", -EINVAL, "\"80/\" is no port"},
    {"192.0.2.1:80\n", -EINVAL, "\"80\\x0a\" is no port"},
    {"1.2.3:80", -EINVAL, "neither an IPv4 address"},
    {"1.2.3.4.5:80", -EINVAL, "neither an IPv4 address"},
    {"1.2.3.4.:80", -EINVAL, "neither an IPv4 address"},
    {"1.2.3.256:80", -EINVAL, "neither an IPv4 address"},
    {"01.2.3.4:80", -EINVAL, "no leading zeros"},
    {"1.2.3.00:80", -EINVAL, "no leading zeros"},
    {"1.2.3.0004:80", -EINVAL, "neither an IPv4 address"},
    {"0x7f.1:80", -EINVAL, "neither an IPv4 address"},
    {"0x7f000001:80", -EINVAL, "neither an IPv4 address"},
    {"2130706433:80", -EINVAL, "neither an IPv4 address"},
    {"1..2.3:80", -EINVAL, "a part between dots is empty"},
    {" 1.2.3.4:80", -EINVAL, "\" 1.2.3.4\" is no host name"},
    {"1.2.3.4%1:80", -EINVAL, "only IPv6 addresses have"},
    {"[1.2.3.4]:80", -EINVAL, "only those are put in brackets"},
    {"[example.com]:80", -EINVAL, "only those are put in brackets"},
    {"[]:80", -EINVAL, "only those are put in brackets"},
    {"[*]:80", -EINVAL, "only those are put in brackets"},
    {"[::1", -EINVAL, "not closed"},
    {"[::1]", -EINVAL, "after the bracket"},
    {"[::1]80", -EINVAL, "after the bracket"},
    {"[::1]x:80", -EINVAL, "after the bracket"},
    {"[[::1]]:80", -EINVAL, "after the bracket"},
    {"[::1]:", -EINVAL, "no port after the colon"},
    {"::1:80", -EINVAL, "in brackets, [::1]:80"},
    {"::1", -EINVAL, "in brackets"},
    {"1.2.3.4:80:90", -EINVAL, "several colons"},
    {"[::1::]:80", -EINVAL, "no IPv6 address"},
    {"[:::]:80", -EINVAL, "no IPv6 address"},
    {"[1:2:3:4:5:6:7:8:9]:80", -EINVAL, "no IPv6 address"},
    {"[1:2:3:4:5:6:7]:80", -EINVAL, "no IPv6 address"},
    {"[12345::]:80", -EINVAL, "no IPv6 address"},
    {"[::ffff:1.2.3]:80", -EINVAL, "no IPv6 address"},
    {"[::ffff:01.2.3.4]:80", -EINVAL, "no IPv6 address"},
    {"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80", -EINVAL, "no IPv6 address"},
    {"[fe80::1%]:22", -EINVAL, "no IPv6 address"},
    {"[%lo]:22", -EINVAL, "no IPv6 address"},
    {"[fe80::1%nosuchif]:22", -ENODEV, "called \"nosuchif\""},
    {"[fe80::1%007]:22", -ENODEV, "called \"007\""},
    {"[fe80::1%4294967296]:22", -ENODEV, "called \"4294967296\""},
    {"[fe80::1%18446744073709551618]:22", -ENODEV, "called \"18446744073709551618\""},
    {"[fe80::1%99999999999999999999999]:22", -ENODEV, "called \"9999"},
    {"[fe80::1%abcdefghijklmnop]:22", -ENODEV, "called \"abcdefghijklmnop\""},
    {"http://192.0.2.1:80", -EINVAL, "\"http\": there are tcp://, udp://, tls:// and unix:"},
    {"://192.0.2.1:80", -EINVAL, "unknown scheme \"\""},
    {"tcp:/192.0.2.1:80", -EINVAL, "several colons"},
    {"tcp:192.0.2.1:80", -EINVAL, "several colons"},
    {"tcp://", -EINVAL, "has no port"},
    {"tcp://tcp://1.2.3.4:80", -EINVAL, "several colons"},
    {"user@192.0.2.1:80", -EINVAL, "is no host name"},
    {"example.com:80", WEIR_ENONAME, "\"example.com\" is a name"},
    {"tcp://localhost:80", WEIR_ENONAME, "\"localhost\" is a name"},
    {"-x.example:80", -EINVAL, "begins or ends with \"-\""},
    {"b\xc3\xbc"
     "cher.example:80",
     -EINVAL, "\"b\\xc3\\xbccher.example\" is not ASCII"},
    {"\x01\x7f\xff:80", -EINVAL, "\"\\x01\\x7f\\xff\" is"},
    {"unix:", -EINVAL, "the Unix path is empty"},
    {"unix:@", -EINVAL, "the Unix abstract name is empty"},
    {"unix:a\\x00b", -EINVAL, "no zero byte"},
    {"unix:a\\", -EINVAL, "a backslash is written"},
    {"unix:@a\\", -EINVAL, "a backslash is written"},
    {"unix:@a\\x", -EINVAL, "a backslash is written"},
    {"unix:@a\\x1", -EINVAL, "a backslash is written"},
    {"unix:@a\\xg0", -EINVAL, "a backslash is written"},
    {"unix:@a\\n", -EINVAL, "a backslash is written"},
    {"unix:" X107 "x", -ENAMETOOLONG, "path is longer than 107 bytes"},
    {"unix:@" X107 "x", -ENAMETOOLONG, "abstract name is longer than 107 bytes"},
    {X50 "." X50 "." X50 "." X50 "." X50 ":80", -ENAMETOOLONG, "253"},
};

static void texts_that_are_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_texts); i++) {
        weir_address before, a;
        int rc;

        memset(&before, 0xa5, sizeof(before));
        a = before;
        rc = weir_address_parse(bad_texts[i].text, &a);
        if (rc != bad_texts[i].rc || !strstr(last_story(), bad_texts[i].story))
            fail_msg("%s: %d, %s", bad_texts[i].text, rc, last_story());
        assert_memory_equal(&a, &before, sizeof(a));
    }
    assert_int_equal(weir_address_parse(NULL, &(weir_address){0}), -EINVAL);
    assert_int_equal(weir_address_parse("1.2.3.4:5", NULL), -EINVAL);
}

/* A story shows what it quotes in printable ASCII, and not more than a line of it. */
static void stories_of_giant_texts_are_short(void **state)
{
    static char text[1 << 20];
    weir_address a;

    (void)state;
    memset(text, 0x80, sizeof(text) - 1);
    for (int variant = 0; variant < 4; variant++) {
        const char *head = (const char *[]){"", "[", "unix:", "1.2.3.4:"}[variant];

        memcpy(text, head, strlen(head));
        assert_true(weir_address_parse(text, &a) < 0);
        assert_in_range(strlen(last_story()), 10, 400);
        for (const char *c = last_story(); *c; c++)
            assert_true((*c >= 0x20 && *c < 0x7f) || memcmp("…", c, 1) == 0 ||
                        memcmp("…", c - 1, 2) == 0 || memcmp("…", c - 2, 3) == 0);
    }
}

static void hosts(void **state)
{
    static const struct {
        const char *host;
        int rc;
        const char *canonical;
    } cases[] = {
        {"192.0.2.1", 0, "192.0.2.1:80"},
        {"::1", 0, "[::1]:80"},
        {"::ffff:1.2.3.4", 0, "[::ffff:1.2.3.4]:80"},
        {"fe80::1%3", 0, "[fe80::1%3]:80"},
        {NULL, 0, "[::]:80"},
        {"", 0, "[::]:80"},
        {"*", 0, "[::]:80"},
        {"[::1]", -EINVAL, "without brackets"},
        {"::1%nosuchif", -ENODEV, "called \"nosuchif\""},
        {"1.2.3", -EINVAL, "neither an IPv4 address"},
        {"1:2:3", -EINVAL, "neither an IPv6 address"},
        {"192.0.2.1:80", -EINVAL, "neither an IPv6 address"},
        {"example.com", WEIR_ENONAME, "\"example.com\" is a name"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        weir_address a = {.family = 0xeeee};

        assert_int_equal(weir_address_from_host(cases[i].host, 80, &a), cases[i].rc);
        if (cases[i].rc == 0)
            assert_string_equal(formatted(&a), cases[i].canonical);
        else if (a.family != 0xeeee || !strstr(last_story(), cases[i].canonical))
            fail_msg("%s: %s", cases[i].host, last_story());
    }
    assert_int_equal(weir_address_from_host("::1", 80, NULL), -EINVAL);
}

/* Scopes by name are numbers afterwards. */
static void scope_by_name(void **state)
{
    char text[64];
    weir_address a;

    (void)state;
    if (if_nametoindex("lo") == 0) {
        print_message("skipped: there is no interface lo\n");
        skip();
    }
    snprintf(text, sizeof(text), "[fe80::1%%%u]:22", if_nametoindex("lo"));
    a = parsed("[fe80::1%lo]:22");
    assert_string_equal(formatted(&a), text);
}

static int no_descriptors(enum sys_call call)
{
    return call == SYS_SOCKET ? -EMFILE : 0;
}

static void scope_without_descriptors(void **state)
{
    static const struct sys_faults faults = {.error = no_descriptors};
    weir_address a;

    (void)state;
    sys_faults = &faults;
    assert_int_equal(weir_address_parse("[fe80::1%lo]:22", &a), -EMFILE);
    assert_int_equal(weir_address_parse("[fe80::1%1]:22", &a), 0);
    sys_faults = NULL;
    assert_non_null(strstr(last_story(), "interface \"lo\": too many open files"));
}

static int calls;

static int count_calls(enum sys_call call)
{
    (void)call;
    calls++;
    return 0;
}

/* Numeric addresses take no memory and no system call, well or ill. */
static void numeric_costs_nothing(void **state)
{
    static const struct sys_faults faults = {.error = count_calls};
    weir_address a;

    (void)state;
    calls = 0;
    sys_faults = &faults;
    assert_int_equal(weir_address_parse("192.0.2.1:80", &a), 0);
    assert_int_equal(weir_address_parse("[fe80::1%2]:80", &a), 0);
    assert_int_equal(weir_address_parse("unix:/run/x", &a), 0);
    assert_int_equal(weir_address_from_host("192.0.2.1", 80, &a), 0);
    assert_int_equal(target_numeric("example.com", 80, &a), WEIR_ENONAME);
    sys_faults = NULL;
    assert_int_equal(calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_are_addresses),
        cmocka_unit_test(texts_that_are_none),
        cmocka_unit_test(stories_of_giant_texts_are_short),
        cmocka_unit_test(hosts),
        cmocka_unit_test(scope_by_name),
        cmocka_unit_test(scope_without_descriptors),
        cmocka_unit_test(numeric_costs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
