/* Addresses as values: there and back, compared, in parts, from and to the system. */
#include "support/address_text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>
#include <weir.h>
/* cmocka wants the four above it. */
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

#define X10  "xxxxxxxxxx"
#define X50  X10 X10 X10 X10 X10
#define X107 X50 X50 "xxxxxxx"

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
            fail_msg("%s: %s", text, last_story());
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
        assert_memory_equal(formatted(&a), expected, strlen(expected));
        assert_true(strchr("]%", formatted(&a)[strlen(expected)]));
    }
}

static void what_has_no_text_of_its_own(void **state)
{
    const sa_family_t family = AF_UNIX;
    weir_address none = {0}, unnamed;
    char text[8];

    (void)state;
    assert_string_equal(formatted(&none), "none");
    assert_int_equal(
        weir_address_from_sockaddr(&unnamed, (const struct sockaddr *)&family, sizeof(family)), 0);
    assert_string_equal(formatted(&unnamed), "unix:");
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
            a = parsed(one);
            b = parsed(other);
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
    weir_address inet = parsed("192.0.2.1:258"), inet6 = parsed("[::1]:65535"),
                 name = parsed("unix:a"), none = {0};

    (void)state;
    assert_int_equal(weir_address_port(&inet), 258);
    assert_int_equal(weir_address_port(&inet6), 65535);
    assert_int_equal(weir_address_port(&name), 0);
    assert_int_equal(weir_address_port(&none), 0);
    assert_int_equal(weir_address_port(NULL), 0);
    assert_int_equal(weir_address_set_port(&inet, 0xfe01), 0);
    assert_int_equal(weir_address_set_port(&inet6, 443), 0);
    assert_string_equal(formatted(&inet), "192.0.2.1:65025");
    assert_string_equal(formatted(&inet6), "[::1]:443");
    assert_int_equal(weir_address_set_port(&name, 1), -EINVAL);
    assert_int_equal(weir_address_set_port(&none, 1), -EINVAL);
    assert_int_equal(weir_address_set_port(NULL, 1), -EINVAL);
    assert_string_equal(formatted(&name), "unix:a");
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
        assert_string_equal(formatted(&a), cases[i].text);
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
    named = parsed(formatted(&bound));
    assert_true(weir_address_equal(&bound, &named));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
