#include "message.h"

#include "clock.h"

#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <weir/error.h>

#define HEADER_SIZE 12
#define NAME_SIZE   256 /* with its terminator; the longest is 255 bytes on the wire */

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_SOA = 6, TYPE_AAAA = 28, CLASS_IN = 1 };
enum { FLAG_REPLY = 0x8000, FLAG_TRUNCATED = 0x0200 };
enum { RCODE_NOERROR = 0, RCODE_NXDOMAIN = 3 };

/* A place in a message. Whatever would go beyond its end makes it bad, and it stays so. */
struct reader {
    const unsigned char *buf;
    size_t len, at;
    bool bad;
};

struct record {
    char owner[NAME_SIZE];
    unsigned type, class;
    uint32_t ttl_s;
    size_t data, data_len;
};

static bool has(struct reader *r, size_t count)
{
    r->bad = r->bad || r->len - r->at < count;
    return !r->bad;
}

static unsigned take16(struct reader *r)
{
    unsigned value;

    if (!has(r, 2))
        return 0;
    value = (unsigned)r->buf[r->at] << 8 | r->buf[r->at + 1];
    r->at += 2;
    return value;
}

static uint32_t take32(struct reader *r)
{
    uint32_t high = take16(r);

    return high << 16 | take16(r);
}

static void skip(struct reader *r, size_t count)
{
    if (has(r, count))
        r->at += count;
}

/* Follows a pointer. They have to point backwards, each before the last, so they come to an end. */
static bool follow(struct reader *r, size_t *at, size_t *limit)
{
    size_t to;

    if (r->len - *at < 2)
        return false;
    to = (size_t)(r->buf[*at] & 0x3f) << 8 | r->buf[*at + 1];
    if (to >= *limit)
        return false;
    *at = *limit = to;
    return true;
}

/* The name at the reader's place, in the form in which names are compared: dots between the labels,
 * any bytes in them but a dot and zero, which no host name has. */
static void take_name(struct reader *r, char ret[NAME_SIZE])
{
    size_t at = r->at, limit = at, end = 0, out = 0;

    for (;;) {
        size_t label;

        if (r->bad || at >= r->len)
            goto bad;
        label = r->buf[at];
        if (label >= 0xc0) {
            end = end ? end : at + 2;
            if (!follow(r, &at, &limit))
                goto bad;
            continue;
        }
        at++;
        if (label == 0)
            break;
        if (label > 63 || r->len - at < label || out + label + 1 >= NAME_SIZE ||
            memchr(&r->buf[at], '.', label) || memchr(&r->buf[at], '\0', label))
            goto bad;
        memcpy(&ret[out], &r->buf[at], label);
        out += label;
        ret[out++] = '.';
        at += label;
    }
    ret[out] = '\0';
    r->at = end ? end : at;
    return;
bad:
    ret[0] = '\0';
    r->bad = true;
}

static bool take_record(struct reader *r, struct record *ret)
{
    take_name(r, ret->owner);
    ret->type = take16(r);
    ret->class = take16(r);
    ret->ttl_s = take32(r);
    ret->data_len = take16(r);
    ret->data = r->at;
    skip(r, ret->data_len);
    if (ret->ttl_s > INT32_MAX) /* RFC 2181, section 8 */
        ret->ttl_s = 0;
    return !r->bad;
}

static uint64_t expiry(uint64_t now_ns, uint32_t ttl_s, uint32_t max_s)
{
    ttl_s = ttl_s < TTL_MIN_S ? TTL_MIN_S : ttl_s > max_s ? max_s : ttl_s;
    return now_ns + ttl_s * NS_PER_S;
}

static void add_address(struct answer *a, int family, const unsigned char *bytes)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    weir_address *address = &a->list[a->count++].address;

    if (family == AF_INET6) {
        memcpy(&in6.sin6_addr, bytes, 16);
        weir_address_from_sockaddr(address, (struct sockaddr *)&in6, sizeof(in6));
    } else {
        memcpy(&in.sin_addr, bytes, 4);
        weir_address_from_sockaddr(address, (struct sockaddr *)&in, sizeof(in));
    }
}

struct found {
    size_t count;
    uint32_t ttl_s; /* the least */
};

/* The addresses of `name` and of what it is an alias for, in one pass, as every server orders
 * them: an alias comes before what it stands for. Counts them, and puts them into `a` unless that
 * is NULL. */
static struct found read_answers(struct reader *r, unsigned count, char name[NAME_SIZE], int family,
                                 struct answer *a)
{
    const unsigned type = family == AF_INET6 ? TYPE_AAAA : TYPE_A;
    const size_t size = family == AF_INET6 ? 16 : 4;
    struct found found = {0, UINT32_MAX};
    struct record record;

    while (count-- > 0 && take_record(r, &record)) {
        struct reader data = {r->buf, r->len, record.data, false};

        if (record.class != CLASS_IN || strcasecmp(record.owner, name) != 0)
            continue;
        if (record.type == TYPE_CNAME)
            take_name(&data, name);
        else if (record.type == type && record.data_len == size)
            found.count++;
        else
            continue;
        if (a && record.type == type)
            add_address(a, family, &r->buf[record.data]);
        r->bad = data.bad;
        found.ttl_s = record.ttl_s < found.ttl_s ? record.ttl_s : found.ttl_s;
    }
    return found;
}

/* How long "no" holds: RFC 2308, section 5. */
static uint32_t read_negative_ttl(struct reader *r, unsigned count)
{
    struct record record;

    while (count-- > 0 && take_record(r, &record))
        if (record.type == TYPE_SOA && record.class == CLASS_IN && record.data_len >= 20) {
            struct reader data = {r->buf, r->len, record.data + record.data_len - 4, false};
            uint32_t minimum_s = take32(&data);

            return minimum_s < record.ttl_s ? minimum_s : record.ttl_s;
        }
    return TTL_UNSAID_S;
}

/* Reads on from the records of the answer: those of the authority follow. */
static struct answer *read_negative(struct reader *r, unsigned count, uint64_t now_ns)
{
    uint32_t ttl_s = read_negative_ttl(r, count);

    return answer_failure(WEIR_ENONAME, WEIR_FROM_DNS, expiry(now_ns, ttl_s, TTL_NEGATIVE_S));
}

static struct answer *read_addresses(struct reader *r, unsigned count, char name[NAME_SIZE],
                                     int family, struct found found, uint64_t now_ns)
{
    struct answer *a = answer_new(WEIR_FROM_DNS, found.count);

    if (!a)
        return NULL;
    a->count = 0;
    a->expires_ns = expiry(now_ns, found.ttl_s, TTL_MAX_S);
    read_answers(r, count, name, family, a);
    return a;
}

enum reply message_read(const unsigned char *buf, size_t len, int family, uint64_t now_ns,
                        struct answer **ret)
{
    struct reader r = {buf, len, 0, len < HEADER_SIZE};
    unsigned flags, rcode, questions, answers, authorities;
    char name[NAME_SIZE];
    struct found found;

    take16(&r);
    flags = take16(&r);
    questions = take16(&r);
    answers = take16(&r);
    authorities = take16(&r);
    take16(&r);
    rcode = flags & 0xf;
    if (r.bad || (flags & (FLAG_REPLY | FLAG_TRUNCATED)) != FLAG_REPLY || questions != 1 ||
        (rcode != RCODE_NOERROR && rcode != RCODE_NXDOMAIN))
        return REPLY_FAILED;
    take_name(&r, name);
    skip(&r, 4);

    struct reader again = r;
    char target[NAME_SIZE];
    memcpy(target, name, sizeof(target));
    found = read_answers(&r, answers, target, family, NULL);
    if (r.bad)
        return REPLY_FAILED;
    if (found.count == 0 || rcode == RCODE_NXDOMAIN) {
        *ret = read_negative(&r, authorities, now_ns);
        return rcode == RCODE_NXDOMAIN ? REPLY_NXDOMAIN : REPLY_NODATA;
    }
    *ret = read_addresses(&again, answers, name, family, found, now_ns);
    return REPLY_ADDRESSES;
}
