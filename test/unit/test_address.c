/* Addresses as values, and what there is between them, texts and the system. */
#include "sys.h"
#include "target.h"

#include <arpa/inet.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <weir.h>
/* cmocka wants the four above it. */
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

#define X10  "xxxxxxxxxx"
#define X50  X10 X10 X10 X10 X10
#define X107 X50 X50 "xxxxxxx"

static const char *story(void)
{
    static char text[8192];

    weir_error_detail(NULL, text, sizeof(text));
    return text;
}

static const char *format(const weir_address *a)
{
    static char text[WEIR_ADDRESS_TEXT_MAX];

    assert_in_range(weir_address_format(a, text, sizeof(text)), 1, sizeof(text) - 1);
    return text;
}

static weir_address parse(const char *text)
{
    weir_address a;

    if (weir_address_parse(text, &a) != 0)
        fail_msg("%s: %s", text, story());
    return a;
}

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
        weir_address a = parse(good_texts[i].text);
        assert_string_equal(format(&a), good_texts[i].canonical);
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
        if (rc != bad_texts[i].rc || !strstr(story(), bad_texts[i].story))
            fail_msg("%s: %d, %s", bad_texts[i].text, rc, story());
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
        assert_in_range(strlen(story()), 10, 400);
        for (const char *c = story(); *c; c++)
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
            assert_string_equal(format(&a), cases[i].canonical);
        else if (a.family != 0xeeee || !strstr(story(), cases[i].canonical))
            fail_msg("%s: %s", cases[i].host, story());
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
    a = parse("[fe80::1%lo]:22");
    assert_string_equal(format(&a), text);
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
    assert_non_null(strstr(story(), "interface \"lo\": too many open files"));
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

/* ---- Round trips ----------------------------------------------------------------------------- */

static uint32_t seed = 1;

static uint32_t random_below(uint32_t bound)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)seed * bound >> 32);
}

/* Zeros and the mapped prefix more often than chance gives them. */
static weir_address random_inet6(void)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    weir_address a;

    for (int i = 0; i < 16; i++)
        in6.sin6_addr.s6_addr[i] = random_below(3) ? 0 : (uint8_t)random_below(256);
    if (random_below(8) == 0) {
        memset(&in6.sin6_addr, 0, 10);
        memset(in6.sin6_addr.s6_addr + 10, 0xff, 2);
    }
    in6.sin6_port = (in_port_t)random_below(65536);
    in6.sin6_scope_id = random_below(2) ? random_below(UINT32_MAX) : 0;
    in6.sin6_flowinfo = random_below(2);
    assert_int_equal(weir_address_from_sockaddr(&a, (struct sockaddr *)&in6, sizeof(in6)), 0);
    return a;
}

static weir_address random_inet(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    weir_address a;

    in.sin_addr.s_addr = random_below(UINT32_MAX);
    in.sin_port = (in_port_t)random_below(65536);
    memset(in.sin_zero, 0x77, sizeof(in.sin_zero));
    assert_int_equal(weir_address_from_sockaddr(&a, (struct sockaddr *)&in, sizeof(in)), 0);
    return a;
}

static weir_address random_unix(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    bool abstract = random_below(2);
    uint32_t len = 1 + random_below(107);
    weir_address a;

    for (uint32_t i = 0; i < len; i++)
        un.sun_path[abstract + i] =
            random_below(4) ? (char)(1 + random_below(255)) : "\\@ \x7f"[random_below(4)];
    if (abstract)
        un.sun_path[1 + random_below(len)] = '\0';
    len += abstract + (uint32_t)offsetof(struct sockaddr_un, sun_path);
    assert_int_equal(weir_address_from_sockaddr(&a, (struct sockaddr *)&un, len), 0);
    return a;
}

/* For every address that can be written as text, reading gives it back; and the length is told
 * alike with any room, which is never overrun. */
static void format_then_parse_is_identity(void **state)
{
    weir_address (*const kinds[])(void) = {random_inet, random_inet6, random_unix};

    (void)state;
    for (int i = 0; i < 30000; i++) {
        weir_address a = kinds[i % 3](), b;
        char text[WEIR_ADDRESS_TEXT_MAX + 1], cut[WEIR_ADDRESS_TEXT_MAX];
        int len = weir_address_format(&a, text, sizeof(text));
        size_t room = random_below((uint32_t)len + 2);

        assert_int_equal(len, strlen(text));
        assert_true(len < WEIR_ADDRESS_TEXT_MAX);
        if (weir_address_parse(text, &b) != 0)
            fail_msg("%s: %s", text, story());
        assert_true(weir_address_equal(&a, &b));
        assert_true(weir_address_equal(&b, &a));

        memset(cut, 0x5a, sizeof(cut));
        assert_int_equal(weir_address_format(&a, room ? cut : NULL, room), len);
        assert_int_equal(cut[room], 0x5a);
        if (room > 0)
            assert_int_equal(strlen(cut), room - 1 < (size_t)len ? room - 1 : (size_t)len);
        assert_memory_equal(cut, text, room ? strlen(cut) : 0);
    }
}

/* inet_ntop(3) of glibc writes the same, but for ::/96, where it still has the deprecated form. */
static void ipv6_text_is_that_of_inet_ntop(void **state)
{
    (void)state;
    for (int i = 0; i < 30000; i++) {
        weir_address a = random_inet6();
        struct sockaddr_in6 in6;
        char text[INET6_ADDRSTRLEN], expected[INET6_ADDRSTRLEN + 2];
        uint16_t port = weir_address_port(&a);

        memcpy(&in6, weir_address_sockaddr(&a, NULL), sizeof(in6));
        assert_int_equal(port, ntohs(in6.sin6_port));
        if (IN6_IS_ADDR_V4COMPAT(&in6.sin6_addr))
            continue;
        inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
        snprintf(expected, sizeof(expected), "[%s", text);
        assert_memory_equal(format(&a), expected, strlen(expected));
        assert_true(strchr("]%", format(&a)[strlen(expected)]));
    }
}

static void what_has_no_text_of_its_own(void **state)
{
    const sa_family_t family = AF_UNIX;
    weir_address none = {0}, unnamed;
    char text[8];

    (void)state;
    assert_string_equal(format(&none), "none");
    assert_int_equal(
        weir_address_from_sockaddr(&unnamed, (const struct sockaddr *)&family, sizeof(family)), 0);
    assert_string_equal(format(&unnamed), "unix:");
    assert_int_equal(weir_address_format(NULL, text, sizeof(text)), -EINVAL);
    assert_int_equal(weir_address_format(&none, NULL, 1), -EINVAL);
    assert_int_equal(weir_address_format(&none, NULL, 0), 4);
}

/* ---- Comparing, parts ------------------------------------------------------------------------ */

static void equal_is_family_host_port_scope_name(void **state)
{
    /* In groups of what is equal; groups differ. */
    static const char *const groups[][3] = {
        {"192.0.2.1:80", "tcp://192.0.2.1:80", "udp://192.0.2.1:080"},
        {"192.0.2.1:81"},
        {"192.0.2.2:80"},
        {"[2001:db8::1]:80", "[2001:DB8:0::1]:80", "[2001:db8::1%0]:80"},
        {"[2001:db8::2]:80"},
        {"[2001:db8::1]:81"},
        {"[2001:db8::1%1]:80"},
        {"[::ffff:192.0.2.1]:80", "[::ffff:c000:201]:80"},
        {"*:80", ":80", "[::]:80"},
        {"0.0.0.0:80"},
        {"unix:a", "unix:\\x61"},
        {"unix:./a"},
        {"unix:ab"},
        {"unix:@a", "unix:@\\x61"},
        {"unix:@a\\x00"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(groups) * 3; i++) {
        for (size_t j = 0; j < COUNT(groups) * 3; j++) {
            const char *one = groups[i / 3][i % 3], *other = groups[j / 3][j % 3];
            weir_address a, b;

            if (!one || !other)
                continue;
            a = parse(one);
            b = parse(other);
            if (weir_address_equal(&a, &b) != (i / 3 == j / 3))
                fail_msg("%s and %s", one, other);
        }
    }
    assert_true(weir_address_equal(&(weir_address){0}, &(weir_address){0}));
    assert_false(weir_address_equal(&(weir_address){0}, NULL));
    assert_false(weir_address_equal(NULL, &(weir_address){0}));
}

static void ports(void **state)
{
    weir_address inet = parse("192.0.2.1:258"), inet6 = parse("[::1]:65535"),
                 name = parse("unix:a"), none = {0};

    (void)state;
    assert_int_equal(weir_address_port(&inet), 258);
    assert_int_equal(weir_address_port(&inet6), 65535);
    assert_int_equal(weir_address_port(&name), 0);
    assert_int_equal(weir_address_port(&none), 0);
    assert_int_equal(weir_address_port(NULL), 0);
    assert_int_equal(weir_address_set_port(&inet, 0xfe01), 0);
    assert_int_equal(weir_address_set_port(&inet6, 443), 0);
    assert_string_equal(format(&inet), "192.0.2.1:65025");
    assert_string_equal(format(&inet6), "[::1]:443");
    assert_int_equal(weir_address_set_port(&name, 1), -EINVAL);
    assert_int_equal(weir_address_set_port(&none, 1), -EINVAL);
    assert_int_equal(weir_address_set_port(NULL, 1), -EINVAL);
    assert_string_equal(format(&name), "unix:a");
    assert_int_equal(weir_address_family(&inet), AF_INET);
    assert_int_equal(weir_address_family(&inet6), AF_INET6);
    assert_int_equal(weir_address_family(&name), AF_UNIX);
    assert_int_equal(weir_address_family(&none), AF_UNSPEC);
    assert_int_equal(weir_address_family(NULL), AF_UNSPEC);
}

/* ---- From and to the system ------------------------------------------------------------------ */

static int from_bytes(weir_address *a, const void *bytes, size_t length)
{
    /* Of exactly this size, so that a sanitizer sees a read beyond it. */
    void *copy = malloc(length ? length : 1);
    int rc;

    assert_non_null(copy);
    memcpy(copy, bytes, length);
    rc = weir_address_from_sockaddr(a, copy, (socklen_t)length);
    free(copy);
    return rc;
}

static void lengths_of_system_addresses(void **state)
{
    static const struct {
        sa_family_t family;
        size_t min, max;
    } cases[] = {
        {AF_INET, sizeof(struct sockaddr_in), sizeof(struct sockaddr_storage)},
        {AF_INET6, sizeof(struct sockaddr_in6), sizeof(struct sockaddr_storage)},
        {AF_UNIX, sizeof(sa_family_t), sizeof(struct sockaddr_un)},
    };
    unsigned char bytes[300] = {0};
    weir_address a;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        memcpy(bytes, &cases[i].family, sizeof(cases[i].family));
        for (size_t length = 0; length <= sizeof(bytes); length++) {
            bool fits = length >= cases[i].min && length <= cases[i].max;

            memset(&a, 0xa5, sizeof(a));
            assert_int_equal(from_bytes(&a, bytes, length), fits ? 0 : -EINVAL);
            assert_int_equal(a.family, fits ? cases[i].family : 0xa5a5);
        }
    }
    bytes[0] = AF_PACKET;
    assert_int_equal(from_bytes(&a, bytes, 20), -EAFNOSUPPORT);
    bytes[0] = AF_UNSPEC;
    assert_int_equal(from_bytes(&a, bytes, 16), -EAFNOSUPPORT);
    assert_int_equal(weir_address_from_sockaddr(&a, NULL, 16), -EINVAL);
    assert_int_equal(weir_address_from_sockaddr(NULL, (struct sockaddr *)bytes, 16), -EINVAL);
    assert_null(weir_address_sockaddr(NULL, NULL));
}

/* A path ends at its terminator or at its length, whichever comes first; an abstract name has its
 * length, zero bytes and all. */
static void unix_names_of_the_system(void **state)
{
    static const struct {
        const char *name;
        size_t name_len;
        const char *text;
        socklen_t length;
    } cases[] = {
        {"", 0, "unix:", 2},
        {"/a", 2, "unix:/a", 5},
        {"/a", 3, "unix:/a", 5},
        {"/a\0/b", 5, "unix:/a", 5},
        {"/a\0/b\0\0\0\0\0\0", 11, "unix:/a", 5},
        {"@a", 2, "unix:\\x40a", 5},
        {"\0", 1, "unix:@", 3},
        {"\0a", 2, "unix:@a", 4},
        {"\0a\0", 3, "unix:@a\\x00", 5},
        {"\0\0", 2, "unix:@\\x00", 4},
        {"/" X107, 108, "unix:/" X107, 110},
        {"/" X107, 109, "unix:/" X107, 110},
        {"\0" X107, 108, "unix:@" X107, 110},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        unsigned char bytes[128] = {AF_UNIX};
        weir_address a;
        socklen_t length = 99;

        memcpy(bytes + 2, cases[i].name, cases[i].name_len);
        assert_int_equal(from_bytes(&a, bytes, 2 + cases[i].name_len), 0);
        assert_string_equal(format(&a), cases[i].text);
        assert_int_equal(weir_address_sockaddr(&a, &length)->sa_family, AF_UNIX);
        assert_int_equal(length, cases[i].length);
    }
}

/* The longest path there is, and the kernel's own abstract names, as the kernel tells them. */
static void unix_names_of_the_kernel(void **state)
{
    char directory[] = "/tmp/weir-address-XXXXXX", path[120];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_storage storage;
    const struct sockaddr *sockaddr;
    weir_address bound, named;
    socklen_t length;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    assert_non_null(mkdtemp(directory));
    memset(path, 'x', 108);
    path[108] = '\0';
    memcpy(path, directory, strlen(directory));
    path[strlen(directory)] = '/';
    memcpy(un.sun_path, path, 108);
    assert_int_equal(from_bytes(&named, &un, sizeof(un)), 0);
    sockaddr = weir_address_sockaddr(&named, &length);
    assert_int_equal(bind(fd, sockaddr, length), 0);
    length = sizeof(storage);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&storage, &length), 0);
    assert_int_equal(from_bytes(&bound, &storage, length), 0);
    assert_true(weir_address_equal(&bound, &named));
    close(fd);
    unlink(path);
    rmdir(directory);

    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(un.sun_path, 0, sizeof(un.sun_path));
    length = sizeof(sa_family_t);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, length), 0);
    length = sizeof(storage);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&storage, &length), 0);
    assert_int_equal(from_bytes(&bound, &storage, length), 0);
    named = parse(format(&bound));
    assert_true(weir_address_equal(&bound, &named));
    close(fd);
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
        cmocka_unit_test(format_then_parse_is_identity),
        cmocka_unit_test(ipv6_text_is_that_of_inet_ntop),
        cmocka_unit_test(what_has_no_text_of_its_own),
        cmocka_unit_test(equal_is_family_host_port_scope_name),
        cmocka_unit_test(ports),
        cmocka_unit_test(lengths_of_system_addresses),
        cmocka_unit_test(unix_names_of_the_system),
        cmocka_unit_test(unix_names_of_the_kernel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
