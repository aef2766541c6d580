#include "order.h"

#include "sys.h"

#include <netinet/in.h>
#include <string.h>

/* UDP: connecting sends nothing, and the port is never reached. */
#define PROBE_PORT 9

enum { SCOPE_LINK = 2, SCOPE_SITE = 5, SCOPE_GLOBAL = 14 };

/* Section 2.1, longest prefix first. */
static const struct policy {
    unsigned char prefix[16];
    uint8_t bits, precedence, label;
} policies[] = {
    {{[15] = 1}, 128, 50, 0},                /* ::1 */
    {{[10] = 0xff, [11] = 0xff}, 96, 35, 4}, /* ::ffff:0:0, IPv4 */
    {{0}, 96, 1, 3},                         /* :: */
    {{0x20, 0x01}, 32, 5, 5},                /* 2001::, Teredo */
    {{0x20, 0x02}, 16, 30, 2},               /* 2002::, 6to4 */
    {{0x3f, 0xfe}, 16, 1, 12},               /* 3ffe::, 6bone */
    {{0xfe, 0xc0}, 10, 1, 11},               /* fec0::, site local */
    {{0xfc}, 7, 3, 13},                      /* fc00::, unique local */
    {{0}, 0, 40, 1},
};

/* The address as IPv6 has it, IPv4 mapped. */
static struct in6_addr mapped(const weir_address *a)
{
    struct in6_addr ret = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

    if (a->family == AF_INET6)
        memcpy(&ret, a->bytes + offsetof(struct sockaddr_in6, sin6_addr), sizeof(ret));
    else
        memcpy(&ret.s6_addr[12], a->bytes + offsetof(struct sockaddr_in, sin_addr), 4);
    return ret;
}

static unsigned common_bits(const unsigned char *a, const unsigned char *b, unsigned max)
{
    unsigned i = 0, bits;

    while (i * 8 < max && a[i] == b[i])
        i++;
    if (i * 8 >= max)
        return max;
    bits = i * 8 + (unsigned)__builtin_clz((unsigned)(a[i] ^ b[i])) - 24;
    return bits < max ? bits : max;
}

static const struct policy *policy_of(const struct in6_addr *a)
{
    const struct policy *p = policies;

    while (common_bits(a->s6_addr, p->prefix, p->bits) < p->bits)
        p++;
    return p;
}

static uint8_t scope_of(const struct in6_addr *a)
{
    const unsigned char *b = a->s6_addr;

    if (IN6_IS_ADDR_V4MAPPED(a))
        return b[12] == 127 || (b[12] == 169 && b[13] == 254) ? SCOPE_LINK : SCOPE_GLOBAL;
    if (IN6_IS_ADDR_MULTICAST(a))
        return b[1] & 0xf;
    if (IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_LOOPBACK(a))
        return SCOPE_LINK;
    return IN6_IS_ADDR_SITELOCAL(a) ? SCOPE_SITE : SCOPE_GLOBAL;
}

void order_rank_from(struct ranked *r, const weir_address *source)
{
    struct in6_addr to = mapped(&r->address), from;

    r->precedence = policy_of(&to)->precedence;
    r->scope = scope_of(&to);
    r->reachable = source != NULL;
    r->same_scope = r->same_label = false;
    r->prefix = 0;
    if (!source)
        return;
    from = mapped(source);
    r->same_scope = scope_of(&from) == r->scope;
    r->same_label = policy_of(&from)->label == policy_of(&to)->label;
    if (r->address.family == AF_INET6)
        r->prefix = (uint8_t)common_bits(from.s6_addr, to.s6_addr, 64);
}

/* The source address that the system would use, found by connecting a UDP socket. */
static int find_source(int fd, const weir_address *to, weir_address *ret)
{
    static const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    weir_address target = *to;
    struct sockaddr_storage name;
    socklen_t length;
    const struct sockaddr *sa = weir_address_sockaddr(&target, &length);
    int rc;

    weir_address_set_port(&target, PROBE_PORT);
    rc = sys_connect(fd, sa, length);
    if (rc < 0)
        return rc;
    length = sizeof(name);
    rc = sys_getsockname(fd, (struct sockaddr *)&name, &length);
    /* Linux keeps the source address of the first connect until it is undone. */
    sys_connect(fd, &nowhere, sizeof(nowhere));
    return rc < 0 ? rc : weir_address_from_sockaddr(ret, (struct sockaddr *)&name, length);
}

static bool is_loopback4(const weir_address *a)
{
    return a->family == AF_INET && a->bytes[offsetof(struct sockaddr_in, sin_addr)] == 127;
}

static void rank(struct order_probe *p, struct ranked *r)
{
    int *fd = &p->fds[r->address.family == AF_INET6];
    weir_address source;

    if (is_loopback4(&r->address)) {
        order_rank_from(r, &r->address);
        return;
    }
    if (*fd < 0)
        *fd = sys_socket(r->address.family, SOCK_DGRAM, 0);
    if (*fd >= 0 && find_source(*fd, &r->address, &source) == 0)
        order_rank_from(r, &source);
    else
        order_rank_from(r, NULL);
}

void order_rank(struct order_probe *p, struct ranked *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rank(p, &list[i]);
}

void order_probe_close(struct order_probe *p)
{
    sys_close(p->fds[0]);
    sys_close(p->fds[1]);
    *p = ORDER_PROBE_NONE;
}

int order_compare(const struct ranked *a, const struct ranked *b)
{
    if (a->reachable != b->reachable)
        return a->reachable ? -1 : 1;
    if (a->same_scope != b->same_scope)
        return a->same_scope ? -1 : 1;
    if (a->same_label != b->same_label)
        return a->same_label ? -1 : 1;
    if (a->precedence != b->precedence)
        return b->precedence - a->precedence;
    if (a->scope != b->scope)
        return a->scope - b->scope;
    if (a->address.family == b->address.family)
        return b->prefix - a->prefix;
    return 0;
}

/* Merges the sorted list[0..middle) and list[middle..count) by way of `room`. */
static void merge(struct ranked *list, size_t middle, size_t count, struct ranked *room)
{
    size_t left = 0, right = middle, out = 0;

    memcpy(room, list, middle * sizeof(*list));
    while (left < middle && right < count)
        if (order_compare(&list[right], &room[left]) < 0)
            list[out++] = list[right++];
        else
            list[out++] = room[left++];
    memcpy(&list[out], &room[left], (middle - left) * sizeof(*list));
}

static void sort(struct ranked *list, size_t count, struct ranked *room)
{
    if (count < 2)
        return;
    sort(list, count / 2, room);
    sort(list + count / 2, count - count / 2, room);
    merge(list, count / 2, count, room);
}

/* qsort(3) is not stable. */
void order_sort(struct ranked *list, size_t count)
{
    struct ranked *room = count > 1 ? sys_alloc(count / 2 * sizeof(*room)) : NULL;

    if (room)
        sort(list, count, room);
    free(room);
}
