/* The texts of weir_dial and weir_listen_on, host names and numeric hosts. */
#include "target.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <weir.h>
/* cmocka wants the four above it. */
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

#define X9   "xxxxxxxxx"
#define X63  X9 X9 X9 X9 X9 X9 X9
#define X253 X63 "." X63 "." X63 "." X9 X9 X9 X9 X9 X9 "1234567"

static const char *story(void)
{
    static char text[8192];

    weir_error_detail(NULL, text, sizeof(text));
    return text;
}

static void targets(void **state)
{
    static const struct {
        const char *text;
        enum scheme scheme;
        uint16_t port;
        bool any;
        const char *host;
        const char *address; /* "none" for a name */
    } cases[] = {
        {"example.com:80", SCHEME_NONE, 80, false, "example.com", "none"},
        {"tcp://example.com:80", SCHEME_TCP, 80, false, "example.com", "none"},
        {"Udp://Example.COM.:53", SCHEME_UDP, 53, false, "Example.COM.", "none"},
        {"tls://a:65535", SCHEME_TLS, 65535, false, "a", "none"},
        {"tcp://unix:80", SCHEME_TCP, 80, false, "unix", "none"},
        {"tcp:80", SCHEME_NONE, 80, false, "tcp", "none"},
        {"192.0.2.1:0", SCHEME_NONE, 0, false, "192.0.2.1", "192.0.2.1:0"},
        {"udp://[fe80::1%7]:53", SCHEME_UDP, 53, false, "fe80::1%7", "[fe80::1%7]:53"},
        {"*:80", SCHEME_NONE, 80, true, "", "[::]:80"},
        {":80", SCHEME_NONE, 80, true, "", "[::]:80"},
        {"tcp://*:80", SCHEME_TCP, 80, true, "", "[::]:80"},
        {"[::]:80", SCHEME_NONE, 80, false, "::", "[::]:80"},
        {"unix:/run/x", SCHEME_UNIX, 0, false, "", "unix:/run/x"},
        {"unix:@x\\x00", SCHEME_UNIX, 0, false, "", "unix:@x\\x00"},
        {X253 ":80", SCHEME_NONE, 80, false, X253, "none"},
        {X253 ".:80", SCHEME_NONE, 80, false, X253 ".", "none"},
        {"_srv.x-y.a1:80", SCHEME_NONE, 80, false, "_srv.x-y.a1", "none"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[WEIR_ADDRESS_TEXT_MAX];
        struct target t;

        memset(&t, 0xa5, sizeof(t));
        if (target_parse(cases[i].text, &t) != 0)
            fail_msg("%s: %s", cases[i].text, story());
        assert_int_equal(t.scheme, cases[i].scheme);
        assert_string_equal(t.host, cases[i].host);
        assert_int_equal(t.port, cases[i].port);
        assert_int_equal(t.any, cases[i].any);
        weir_address_format(&t.address, text, sizeof(text));
        assert_string_equal(text, cases[i].address);
        assert_int_equal(weir_address_family(&t.address) == AF_UNSPEC, strcmp(text, "none") == 0);
    }
}

static void texts_that_are_no_targets(void **state)
{
    static const struct {
        const char *text;
        int rc;
        const char *story;
    } cases[] = {
        {"", -EINVAL, "has no port"},
        {"example.com", -EINVAL, "HOST:PORT is wanted"},
        {"example.com:http", -EINVAL, "\"http\" is no port"},
        {"example.com:80/index", -EINVAL, "\"80/index\" is no port"},
        {"http://example.com", -EPROTONOSUPPORT, "there are tcp://, udp://, tls:// and unix:"},
        {"tcpx://example.com:80", -EPROTONOSUPPORT, "\"tcpx\""},
        {"tc://example.com:80", -EPROTONOSUPPORT, "\"tc\""},
        {"\x7f://example.com:80", -EPROTONOSUPPORT, "\"\\x7f\""},
        {"user:secret@example.com:80", -EINVAL, "several colons"},
        {"a b:80", -EINVAL, "is no host name"},
        {"1.2.3.4.5:80", -EINVAL, "its last part is a number"},
        {"[::1%nosuchif]:80", -ENODEV, "nosuchif"},
        {"unix:", -EINVAL, "empty"},
        {X253 "x:80", -ENAMETOOLONG, "253"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct target t;
        int rc = target_parse(cases[i].text, &t);

        if (rc != cases[i].rc || !strstr(story(), cases[i].story))
            fail_msg("%s: %d, %s", cases[i].text, rc, story());
    }
}

static void names(void **state)
{
    static const struct {
        const char *name;
        int rc;
        const char *story;
    } cases[] = {
        {"example.com", 0, NULL},
        {"example.com.", 0, NULL},
        {"localhost", 0, NULL},
        {"a", 0, NULL},
        {"3com.example", 0, NULL},
        {"1.2.3.4.example", 0, NULL},
        {"4.3.2.1.in-addr.arpa", 0, NULL},
        {"1e3", 0, NULL},
        {"x.0xg", 0, NULL},
        {"x.a0x1", 0, NULL},
        {"x._1", 0, NULL},
        {"_dmarc.EXAMPLE.com", 0, NULL},
        {"a--b.xn--bcher-kva", 0, NULL},
        {X63 ".x", 0, NULL},
        {X253, 0, NULL},
        {X253 ".", 0, NULL},
        {"", -EINVAL, "empty"},
        {".", -EINVAL, "empty"},
        {"..", -EINVAL, "empty"},
        {".a", -EINVAL, "empty"},
        {"a..b", -EINVAL, "empty"},
        {"a..", -EINVAL, "empty"},
        {X63 "x.y", -EINVAL, "longer than 63 bytes"},
        {"y." X63 "x", -EINVAL, "longer than 63 bytes"},
        {X253 "x", -ENAMETOOLONG, "253 bytes"},
        {X253 "..", -ENAMETOOLONG, "253 bytes"},
        {"-a", -EINVAL, "\"-\""},
        {"a-.b", -EINVAL, "\"-\""},
        {"b.-", -EINVAL, "\"-\""},
        {"1.2.3", -EINVAL, "its last part is a number"},
        {"256.1.1.1", -EINVAL, "its last part is a number"},
        {"1.2.3.4.", -EINVAL, "its last part is a number"},
        {"12345678901234567890", -EINVAL, "its last part is a number"},
        {"foo.09", -EINVAL, "its last part is a number"},
        {"foo.0x", -EINVAL, "its last part is a number"},
        {"foo.0XaF.", -EINVAL, "its last part is a number"},
        {"b\xc3\xbc"
         "cher.de",
         -EINVAL, "xn--… (RFC 5891)"},
        {"\xff\xfe", -EINVAL, "\"\\xff\\xfe\" is not ASCII"},
        {"a b", -EINVAL, "letters, digits"},
        {"a\tb", -EINVAL, "\"a\\x09b\""},
        {"a/b", -EINVAL, "letters, digits"},
        {"*", -EINVAL, "letters, digits"},
        {"1:2:3", -EINVAL, "neither an IPv6 address"},
        {"[::1]", -EINVAL, "without brackets"},
        {"fe80.1%lo", -EINVAL, "only IPv6 addresses have"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int rc = target_check_name(cases[i].name);

        if (rc != cases[i].rc || (rc < 0 && !strstr(story(), cases[i].story)))
            fail_msg("%s: %d, %s", cases[i].name, rc, story());
    }
}

static void numeric_hosts(void **state)
{
    static const struct {
        const char *host;
        int rc;
        const char *text;
    } cases[] = {
        {"192.0.2.1", 0, "192.0.2.1:7"},
        {"::1", 0, "[::1]:7"},
        {"::ffff:192.0.2.1", 0, "[::ffff:192.0.2.1]:7"},
        {"fe80::1%5", 0, "[fe80::1%5]:7"},
        {"fe80::1%nosuchif", -ENODEV, NULL},
        {"", WEIR_ENONAME, NULL},
        {"*", WEIR_ENONAME, NULL},
        {"localhost", WEIR_ENONAME, NULL},
        {"127.1", WEIR_ENONAME, NULL},
        {"0x7f.0.0.1", WEIR_ENONAME, NULL},
        {"0127.0.0.1", WEIR_ENONAME, NULL},
        {"127.0.0.1 ", WEIR_ENONAME, NULL},
        {"127.0.0.1\n", WEIR_ENONAME, NULL},
        {"[::1]", WEIR_ENONAME, NULL},
        {"fe80::1%", WEIR_ENONAME, NULL},
    };

    (void)state;
    assert_int_equal(target_check_name("told before"), -EINVAL);
    for (size_t i = 0; i < COUNT(cases); i++) {
        weir_address before = {.length = 77}, a = before;
        char text[WEIR_ADDRESS_TEXT_MAX];

        assert_int_equal(target_numeric(cases[i].host, 7, &a), cases[i].rc);
        if (cases[i].rc < 0) {
            assert_memory_equal(&a, &before, sizeof(a));
            continue;
        }
        weir_address_format(&a, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
    /* A host that is no number is nothing to tell about. */
    assert_non_null(strstr(story(), "told before"));
}

/* Every byte but letters, digits, "-", "_" and "." spoils a name. */
static void bytes_of_names(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        const char name[] = {'a', (char)c, 'b', '\0'};
        bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '-' || c == '_' || c == '.';

        if (target_check_name(name) != (good ? 0 : -EINVAL))
            fail_msg("byte %d", c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets),        cmocka_unit_test(texts_that_are_no_targets),
        cmocka_unit_test(names),          cmocka_unit_test(numeric_hosts),
        cmocka_unit_test(bytes_of_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
