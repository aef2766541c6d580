/* Replies of name servers, byte by byte. */
#include "clock.h"
#include "resolve/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/error.h>

#include <cmocka.h>

#define NOW_NS (1000 * NS_PER_S)

/* A message that is being written. */
static unsigned char message[4096];
static size_t length;

static void bytes(const void *data, size_t size)
{
    memcpy(&message[length], data, size);
    length += size;
}

static void number16(unsigned value)
{
    const unsigned char two[2] = {(unsigned char)(value >> 8), (unsigned char)value};

    bytes(two, 2);
}

static void number32(uint32_t value)
{
    number16(value >> 16);
    number16(value & 0xffff);
}

/* The header, and a question for www.test; its name is at 12. */
static void begin(unsigned flags, unsigned answers, unsigned authorities)
{
    length = 0;
    number16(0x1234);
    number16(flags);
    number16(1);
    number16(answers);
    number16(authorities);
    number16(0);
    bytes("\3www\4test\0", 10);
    number16(1);
    number16(1);
}

static void record(const void *owner, size_t owner_size, unsigned type, uint32_t ttl_s,
                   const void *data, size_t size)
{
    bytes(owner, owner_size);
    number16(type);
    number16(1);
    number32(ttl_s);
    number16((unsigned)size);
    bytes(data, size);
}

#define WWW "\xc0\x0c", 2

static void a_record(const void *owner, size_t owner_size, uint32_t ttl_s)
{
    record(owner, owner_size, 1, ttl_s, "\xc0\x00\x02\x01", 4);
}

static enum reply reply;
static struct answer *answer;

/* Reads what was written, from memory that ends where it ends. */
static void read_message(int family)
{
    unsigned char *copy = malloc(length ? length : 1);

    answer_unref(answer);
    answer = NULL;
    memcpy(copy, message, length);
    reply = message_read(copy, length, family, NOW_NS, &answer);
    free(copy);
}

static int drop_answer(void **state)
{
    (void)state;
    answer_unref(answer);
    answer = NULL;
    return 0;
}

static unsigned seconds(void)
{
    return (unsigned)((answer->expires_ns - NOW_NS) / NS_PER_S);
}

static void addresses(void **state)
{
    char buf[WEIR_ADDRESS_TEXT_MAX];
    (void)state;

    begin(0x8180, 2, 0);
    a_record(WWW, 60);
    record("\3WwW\4TEST\0", 10, 1, 30, "\xc0\x00\x02\x02", 4);
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_ADDRESSES);
    assert_int_equal(answer->rc, 0);
    assert_int_equal(answer->count, 2);
    assert_int_equal(seconds(), 30); /* the least */
    weir_address_format(&answer->list[1].address, buf, sizeof(buf));
    assert_string_equal(buf, "192.0.2.2:0");
}

static void addresses6(void **state)
{
    char buf[WEIR_ADDRESS_TEXT_MAX];
    (void)state;

    begin(0x8180, 2, 0);
    record(WWW, 28, 60, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    a_record(WWW, 60); /* nobody asked */
    read_message(AF_INET6);
    assert_int_equal(reply, REPLY_ADDRESSES);
    assert_int_equal(answer->count, 1);
    weir_address_format(&answer->list[0].address, buf, sizeof(buf));
    assert_string_equal(buf, "[2001:db8::1]:0");
}

static void time_to_live_is_bounded(void **state)
{
    static const uint32_t ttls_s[][2] = {
        {0, TTL_MIN_S}, {1, 1}, {3600, 3600}, {3601, TTL_MAX_S}, {0x80000000, TTL_MIN_S}};
    (void)state;

    for (size_t i = 0; i < sizeof(ttls_s) / sizeof(ttls_s[0]); i++) {
        begin(0x8180, 1, 0);
        a_record(WWW, ttls_s[i][0]);
        read_message(AF_INET);
        assert_int_equal(seconds(), ttls_s[i][1]);
    }
}

static void aliases(void **state)
{
    (void)state;
    begin(0x8180, 3, 0);
    record(WWW, 5, 5, "\1a\xc0\x10", 4); /* a.test */
    record("\1a\4test\0", 8, 5, 60, "\1b\0", 3);
    a_record("\1B\0", 3, 60);
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_ADDRESSES);
    assert_int_equal(answer->count, 1);
    assert_int_equal(seconds(), 5);
}

/* Records of names that nobody asked for are not taken. */
static void strangers(void **state)
{
    (void)state;
    begin(0x8180, 2, 0);
    a_record("\4evil\4test\0", 11, 60);
    a_record("\xc0\x10", 2, 60);
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_NODATA);
    assert_int_equal(answer->rc, WEIR_ENONAME);
}

static void wrong_classes_and_sizes(void **state)
{
    (void)state;
    begin(0x8180, 2, 0);
    record(WWW, 1, 60, "\1\2\3\4\5", 5);
    a_record(WWW, 60);
    message[length - 12] = 3; /* Chaos */
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_NODATA);
}

static void alias_loop(void **state)
{
    (void)state;
    begin(0x8180, 2, 0);
    record(WWW, 5, 60, "\1a\xc0\x10", 4);
    record("\1a\4test\0", 8, 5, 60, "\xc0\x0c", 2);
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_NODATA);
}

/* An SOA record with two empty names. */
static void soa(uint32_t ttl_s, uint32_t minimum_s)
{
    unsigned char data[22] = {0};

    for (int i = 0; i < 4; i++)
        data[18 + i] = (unsigned char)(minimum_s >> (24 - 8 * i));
    record("\0", 1, 6, ttl_s, data, sizeof(data));
}

static void negative(void **state)
{
    (void)state;
    begin(0x8183, 0, 1);
    soa(300, 7);
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_NXDOMAIN);
    assert_int_equal(answer->rc, WEIR_ENONAME);
    assert_int_equal(seconds(), 7);
    begin(0x8180, 0, 1);
    soa(9, 300);
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_NODATA);
    assert_int_equal(seconds(), 9);
    begin(0x8180, 0, 1);
    soa(86400, 86400);
    read_message(AF_INET);
    assert_int_equal(seconds(), TTL_NEGATIVE_S);
    begin(0x8183, 0, 0);
    read_message(AF_INET);
    assert_int_equal(seconds(), TTL_UNSAID_S);
    begin(0x8183, 1, 0); /* there is no such name, so there is nothing at it */
    a_record(WWW, 60);
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_NXDOMAIN);
    begin(0x8183, 0, 1); /* promised, not there */
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_NXDOMAIN);
    assert_int_equal(seconds(), TTL_UNSAID_S);
}

static void failures(void **state)
{
    static const unsigned codes[] = {1, 2, 4, 5, 6, 15};
    (void)state;

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        begin(0x8180 | codes[i], 1, 0);
        a_record(WWW, 60);
        read_message(AF_INET);
        assert_int_equal(reply, REPLY_FAILED);
        assert_null(answer);
    }
    begin(0x0100, 0, 0); /* our own question */
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_FAILED);
    begin(0x8380, 0, 0); /* truncated */
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_FAILED);
}

/* Cut anywhere, it is refused and never read beyond. */
static void cut_off(void **state)
{
    size_t whole;
    (void)state;

    begin(0x8180, 2, 0);
    record(WWW, 5, 5, "\1a\xc0\x10", 4);
    a_record("\1a\4test\0", 8, 60);
    for (whole = length; length > 0;) {
        length--;
        read_message(AF_INET);
        assert_int_equal(reply, REPLY_FAILED);
    }
    length = whole;
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_ADDRESSES);
}

#define NAME_AT 0x1a /* behind the question */

static void bad_names(void **state)
{
    static const struct {
        const char *owner;
        size_t size;
    } names[] = {
        {"\xc0\x1a", 2},      /* itself */
        {"\xc0\xff", 2},      /* forwards */
        {"\x01z\xc0\x1a", 4}, /* a loop with a label in it */
        {"\x40xx", 3},        /* an unknown kind of label */
        {"\x01.\0", 3},       /* a dot within a label */
        {"\x01\0\0", 3},      /* a zero within a label */
        {"\x3f", 1},          /* longer than the message */
    };
    (void)state;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        begin(0x8180, 1, 0);
        assert_int_equal(length, NAME_AT);
        a_record(names[i].owner, names[i].size, 60);
        read_message(AF_INET);
        assert_int_equal(reply, REPLY_FAILED);
    }
}

/* A name may be 255 bytes on the wire. */
static void long_name(void **state)
{
    char label[64], name[300];
    size_t size = 0;
    (void)state;

    memset(label, 'x', sizeof(label));
    label[0] = 63;
    for (int i = 0; i < 4; i++, size += 64)
        memcpy(name + size, label, 64);
    name[size++] = 0;
    begin(0x8180, 1, 0);
    a_record(name, size, 60);
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_FAILED);
}

static void giant_counts(void **state)
{
    (void)state;
    begin(0x8180, 65535, 65535);
    a_record(WWW, 60);
    read_message(AF_INET);
    assert_int_equal(reply, REPLY_FAILED);
}

#define TEST(name) cmocka_unit_test_teardown(name, drop_answer)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(addresses),    TEST(addresses6), TEST(time_to_live_is_bounded),
        TEST(aliases),      TEST(strangers),  TEST(wrong_classes_and_sizes),
        TEST(alias_loop),   TEST(negative),   TEST(failures),
        TEST(cut_off),      TEST(bad_names),  TEST(long_name),
        TEST(giant_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
