#include "story.h"
#include "target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>
#include <weir/address.h>
#include <weir/error.h>

#define PATH_AT offsetof(struct sockaddr_un, sun_path)

/* Linux counts the terminator of a path of 108 bytes, for which there is no room in sockaddr_un. */
#define UNIX_LENGTH_MAX (sizeof(struct sockaddr_un) + 1)

_Static_assert(sizeof(((weir_address *)0)->bytes) > UNIX_LENGTH_MAX, "a path is terminated");

/* `bytes` is never read or written through a pointer to another type: these copy. */
static struct sockaddr_in ipv4_of(const weir_address *a)
{
    struct sockaddr_in in;
    memcpy(&in, a->bytes, sizeof(in));
    return in;
}

static struct sockaddr_in6 ipv6_of(const weir_address *a)
{
    struct sockaddr_in6 in6;
    memcpy(&in6, a->bytes, sizeof(in6));
    return in6;
}

static void store(weir_address *a, const void *sockaddr, size_t length)
{
    memset(a, 0, sizeof(*a));
    memcpy(a->bytes, sockaddr, length);
    a->length = (uint32_t)length;
}

/* ---- From text ------------------------------------------------------------------------------- */

int weir_address_parse(const char *text, weir_address *ret)
{
    struct story_quote q;
    struct target t;
    int rc;

    if (!text || !ret)
        return -EINVAL;
    rc = target_parse(text, &t);
    if (rc < 0)
        return rc == -EPROTONOSUPPORT ? -EINVAL : rc;
    if (t.address.family == AF_UNSPEC)
        return story_tell(WEIR_ENONAME, "\"%s\" is a name, a number is wanted",
                          story_quote(&q, t.host, strlen(t.host)));
    *ret = t.address;
    return 0;
}

int weir_address_from_host(const char *host, uint16_t port, weir_address *ret)
{
    struct story_quote q;
    int rc;

    if (!ret)
        return -EINVAL;
    if (!host || strcmp(host, "") == 0 || strcmp(host, "*") == 0)
        return target_numeric("::", port, ret);
    rc = target_numeric(host, port, ret);
    if (rc == 0)
        return 0;
    if (rc != WEIR_ENONAME)
        return target_tell_scope(rc, host, strlen(host));
    rc = target_check_name(host);
    if (rc < 0)
        return rc;
    return story_tell(WEIR_ENONAME, "\"%s\" is a name, a number is wanted",
                      story_quote(&q, host, strlen(host)));
}

/* ---- To text --------------------------------------------------------------------------------- */

struct text {
    char bytes[WEIR_ADDRESS_TEXT_MAX];
    size_t len;
};

static void put_byte(struct text *t, char c)
{
    if (t->len + 1 < sizeof(t->bytes))
        t->bytes[t->len++] = c;
}

static void put(struct text *t, const char *string)
{
    while (*string)
        put_byte(t, *string++);
}

static void put_number(struct text *t, uint32_t value, uint32_t base)
{
    char digits[10];
    size_t n = 0;

    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    while (n > 0)
        put_byte(t, digits[--n]);
}

static void put_ipv4(struct text *t, const unsigned char bytes[4])
{
    for (int i = 0; i < 4; i++) {
        put(t, i > 0 ? "." : "");
        put_number(t, bytes[i], 10);
    }
}

static void put_port(struct text *t, in_port_t port)
{
    put_byte(t, ':');
    put_number(t, ntohs(port), 10);
}

/* The longest run of at least two zero words, the first of several: RFC 5952, 4.2. */
static void longest_zeros(const unsigned words[8], unsigned *ret_first, unsigned *ret_end)
{
    *ret_first = *ret_end = 8;
    for (unsigned i = 0, end; i < 8; i = end + 1) {
        for (end = i; end < 8 && words[end] == 0; end++)
            continue;
        if (end - i >= 2 && end - i > *ret_end - *ret_first) {
            *ret_first = i;
            *ret_end = end;
        }
    }
}

static void put_ipv6(struct text *t, const struct in6_addr *address)
{
    unsigned words[8], first, end;

    if (IN6_IS_ADDR_V4MAPPED(address)) {
        put(t, "::ffff:");
        put_ipv4(t, address->s6_addr + 12);
        return;
    }
    for (size_t i = 0; i < 8; i++)
        words[i] = (unsigned)address->s6_addr[2 * i] << 8 | address->s6_addr[2 * i + 1];
    longest_zeros(words, &first, &end);
    for (unsigned i = 0; i < 8; i++) {
        if (i == first) {
            put(t, "::");
            i = end - 1;
        } else {
            put(t, i > 0 && i != end ? ":" : "");
            put_number(t, words[i], 16);
        }
    }
}

static void put_inet6(struct text *t, const weir_address *a)
{
    struct sockaddr_in6 in6 = ipv6_of(a);

    put(t, "[");
    put_ipv6(t, &in6.sin6_addr);
    if (in6.sin6_scope_id) {
        put(t, "%");
        put_number(t, in6.sin6_scope_id, 10);
    }
    put(t, "]");
    put_port(t, in6.sin6_port);
}

static void put_unix(struct text *t, const weir_address *a)
{
    const unsigned char *name = a->bytes + PATH_AT;
    size_t len = a->length > PATH_AT ? a->length - PATH_AT : 0;
    bool abstract = len > 0 && name[0] == 0;

    if (abstract) {
        name++;
        len--;
    } else {
        len = strnlen((const char *)name, len);
    }
    put(t, abstract ? "unix:@" : "unix:");
    for (size_t i = 0; i < len; i++) {
        bool marks_abstract = name[i] == '@' && i == 0 && !abstract;

        if (name[i] == '\\') {
            put(t, "\\\\");
        } else if (name[i] < 0x20 || name[i] >= 0x7f || marks_abstract) {
            put(t, name[i] < 0x10 ? "\\x0" : "\\x");
            put_number(t, name[i], 16);
        } else {
            put_byte(t, (char)name[i]);
        }
    }
}

int weir_address_format(const weir_address *a, char *buf, size_t size)
{
    struct sockaddr_in in;
    struct text t;

    if (!a || (!buf && size))
        return -EINVAL;
    t.len = 0;
    switch (a->family) {
    case AF_INET:
        in = ipv4_of(a);
        put_ipv4(&t, (const unsigned char *)&in.sin_addr);
        put_port(&t, in.sin_port);
        break;
    case AF_INET6:
        put_inet6(&t, a);
        break;
    case AF_UNIX:
        put_unix(&t, a);
        break;
    default:
        put(&t, "none");
    }
    if (size > 0) {
        size_t fits = t.len < size ? t.len : size - 1;

        memcpy(buf, t.bytes, fits);
        buf[fits] = '\0';
    }
    return (int)t.len;
}

/* ---- Parts ----------------------------------------------------------------------------------- */

bool weir_address_equal(const weir_address *a, const weir_address *b)
{
    struct sockaddr_in6 one, other;

    if (!a || !b || a->family != b->family)
        return false;
    switch (a->family) {
    case AF_INET:
        return memcmp(a->bytes, b->bytes, offsetof(struct sockaddr_in, sin_zero)) == 0;
    case AF_INET6:
        one = ipv6_of(a);
        other = ipv6_of(b);
        return one.sin6_port == other.sin6_port && one.sin6_scope_id == other.sin6_scope_id &&
               memcmp(&one.sin6_addr, &other.sin6_addr, sizeof(one.sin6_addr)) == 0;
    case AF_UNIX:
        return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
    default:
        return true;
    }
}

int weir_address_family(const weir_address *a)
{
    return a ? a->family : AF_UNSPEC;
}

/* Both kinds have it in the same place. */
_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
               "one place for the port");
#define PORT_AT offsetof(struct sockaddr_in, sin_port)

static bool has_port(const weir_address *a)
{
    return a && (a->family == AF_INET || a->family == AF_INET6);
}

uint16_t weir_address_port(const weir_address *a)
{
    in_port_t port = 0;

    if (has_port(a))
        memcpy(&port, a->bytes + PORT_AT, sizeof(port));
    return ntohs(port);
}

int weir_address_set_port(weir_address *a, uint16_t port)
{
    if (!has_port(a))
        return -EINVAL;
    port = htons(port);
    memcpy(a->bytes + PORT_AT, &port, sizeof(port));
    return 0;
}

/* ---- From and to the system ------------------------------------------------------------------ */

/* A path ends at its first zero byte, and is stored with one if sockaddr_un has room for it; an
 * abstract name has its length from `length` alone. */
static int from_unix(weir_address *ret, const void *sa, size_t length)
{
    char bytes[UNIX_LENGTH_MAX] = {0};

    if (length > sizeof(bytes))
        return -EINVAL;
    memcpy(bytes, sa, length);
    if (length > PATH_AT && bytes[PATH_AT] != '\0') {
        length = PATH_AT + strnlen(bytes + PATH_AT, length - PATH_AT);
        length += length < sizeof(struct sockaddr_un);
    }
    if (length > sizeof(struct sockaddr_un))
        return -EINVAL;
    store(ret, bytes, length);
    return 0;
}

int weir_address_from_sockaddr(weir_address *ret, const struct sockaddr *sa, socklen_t length)
{
    sa_family_t family;

    if (!ret || !sa || length < sizeof(family) || length > sizeof(struct sockaddr_storage))
        return -EINVAL;
    memcpy(&family, sa, sizeof(family));
    switch (family) {
    case AF_INET:
        if (length < sizeof(struct sockaddr_in))
            return -EINVAL;
        store(ret, sa, sizeof(struct sockaddr_in));
        return 0;
    case AF_INET6:
        if (length < sizeof(struct sockaddr_in6))
            return -EINVAL;
        store(ret, sa, sizeof(struct sockaddr_in6));
        return 0;
    case AF_UNIX:
        return from_unix(ret, sa, length);
    default:
        return -EAFNOSUPPORT;
    }
}

const struct sockaddr *weir_address_sockaddr(const weir_address *a, socklen_t *ret_length)
{
    if (!a)
        return NULL;
    if (ret_length)
        *ret_length = a->length;
    return (const struct sockaddr *)(const void *)a->bytes;
}
