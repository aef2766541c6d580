#include "hosts.h"

#include "sys.h"
#include "target.h"

#include <string.h>
#include <strings.h>
#include <weir/error.h>

#define NOTHING UINT32_MAX

struct host_name {
    uint32_t next; /* in the bucket, later in the file; NOTHING at the end */
    uint32_t line;
    uint32_t text, len;
};

struct hosts {
    char *text;          /* a copy of the file */
    weir_address *lines; /* the address of each line that has one */
    struct host_name *names;
    uint32_t *buckets;
    uint32_t line_count, name_count, bucket_count; /* a power of two */
};

static size_t bare_length(const char *name)
{
    size_t len = strlen(name);

    return len > 1 && name[len - 1] == '.' ? len - 1 : len;
}

static uint32_t hash_bare(const char *name, size_t len)
{
    uint32_t hash = 2166136261;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];

        hash = (hash ^ ((unsigned)(c - 'A') < 26 ? c | 0x20u : c)) * 16777619;
    }
    return hash ^ hash >> 15;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f' || c == '\0';
}

/* The next word of the line, empty at its end. */
static const char *next_word(const char *at, const char *end, size_t *ret_len)
{
    const char *start;

    while (at < end && is_blank(*at))
        at++;
    start = at;
    while (at < end && !is_blank(*at))
        at++;
    *ret_len = (size_t)(at - start);
    return start;
}

static bool read_address(const char *word, size_t len, weir_address *ret)
{
    char text[64 + 32];

    if (len == 0 || len >= sizeof(text))
        return false;
    memcpy(text, word, len);
    text[len] = '\0';
    return target_numeric(text, 0, ret) == 0;
}

/* Counts, and once there is room for what was counted, also fills it in. */
static void read_line(struct hosts *h, const char *at, const char *end)
{
    const char *comment = memchr(at, '#', (size_t)(end - at));
    weir_address address;
    size_t len;

    if (comment)
        end = comment;
    at = next_word(at, end, &len);
    if (!read_address(at, len, &address))
        return;
    while (at = next_word(at + len, end, &len), len > 0) {
        if (h->names)
            h->names[h->name_count] = (struct host_name){
                .line = h->line_count,
                .text = (uint32_t)(at - h->text),
                .len = (uint32_t)(len > 1 && at[len - 1] == '.' ? len - 1 : len),
            };
        h->name_count++;
    }
    if (h->lines)
        h->lines[h->line_count] = address;
    h->line_count++;
}

static void read_lines(struct hosts *h, size_t len)
{
    const char *at = h->text, *end = at + len;

    h->line_count = h->name_count = 0;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end;

        read_line(h, at, line_end);
        at = line_end + 1;
    }
}

/* From the last to the first, so that each bucket is in the order of the file. */
static void fill_buckets(struct hosts *h)
{
    memset(h->buckets, 0xff, h->bucket_count * sizeof(*h->buckets));
    for (uint32_t i = h->name_count; i-- > 0;) {
        struct host_name *n = &h->names[i];
        uint32_t hash = hash_bare(h->text + n->text, n->len);
        uint32_t *bucket = &h->buckets[hash & (h->bucket_count - 1)];

        n->next = *bucket;
        *bucket = i;
    }
}

struct hosts *hosts_parse(const char *text, size_t len)
{
    struct hosts *h = sys_alloc(sizeof(*h));

    if (!h)
        return NULL;
    len = len < UINT32_MAX ? len : UINT32_MAX - 1;
    h->text = sys_alloc(len + 1);
    if (!h->text)
        goto fail;
    memcpy(h->text, text, len);
    read_lines(h, len);
    for (h->bucket_count = 16; h->bucket_count < h->name_count;)
        h->bucket_count *= 2;
    h->lines = sys_alloc((h->line_count + 1) * sizeof(*h->lines));
    h->names = sys_alloc((h->name_count + 1) * sizeof(*h->names));
    h->buckets = sys_alloc(h->bucket_count * sizeof(*h->buckets));
    if (!h->lines || !h->names || !h->buckets)
        goto fail;
    read_lines(h, len);
    fill_buckets(h);
    return h;
fail:
    hosts_free(h);
    return NULL;
}

void hosts_free(struct hosts *h)
{
    if (!h)
        return;
    free(h->text);
    free(h->lines);
    free(h->names);
    free(h->buckets);
    free(h);
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* The next entry of the name from `i` on. */
static uint32_t next_match(const struct hosts *h, uint32_t i, const char *name, size_t len)
{
    while (i != NOTHING &&
           (h->names[i].len != len || strncasecmp(h->text + h->names[i].text, name, len) != 0))
        i = h->names[i].next;
    return i;
}

static bool holds(const struct answer *a, size_t count, const weir_address *address)
{
    for (size_t i = 0; i < count; i++)
        if (weir_address_equal(&a->list[i].address, address))
            return true;
    return false;
}

/* Addresses that stand there twice are taken once, up to a number where looking costs too much. */
#define DISTINCT_MAX 64

int hosts_find(const struct hosts *h, const char *name, int family, struct answer **ret,
               bool *ret_known)
{
    size_t len = bare_length(name), count = 0;
    uint32_t first = h->buckets[hash_bare(name, len) & (h->bucket_count - 1)];
    struct answer *a;

    *ret_known = false;
    for (uint32_t i = first; (i = next_match(h, i, name, len)) != NOTHING; i = h->names[i].next) {
        count += h->lines[h->names[i].line].family == family;
        *ret_known = true;
    }
    if (count == 0)
        return WEIR_ENONAME;
    a = answer_new(WEIR_FROM_HOSTS, count);
    if (!a)
        return -ENOMEM;
    count = 0;
    for (uint32_t i = first; (i = next_match(h, i, name, len)) != NOTHING; i = h->names[i].next) {
        const weir_address *address = &h->lines[h->names[i].line];

        if (address->family == family && (count >= DISTINCT_MAX || !holds(a, count, address)))
            a->list[count++].address = *address;
    }
    a->count = count;
    *ret = a;
    return 0;
}

bool hosts_is_localhost(const char *name)
{
    static const char word[] = "localhost";
    size_t len = bare_length(name), tail = sizeof(word) - 1;

    return len >= tail && strncasecmp(name + len - tail, word, tail) == 0 &&
           (len == tail || name[len - tail - 1] == '.');
}

struct answer *hosts_localhost(int family)
{
    struct answer *a = answer_new(WEIR_FROM_HOSTS, 1);

    if (a)
        target_numeric(family == AF_INET6 ? "::1" : "127.0.0.1", 0, &a->list[0].address);
    return a;
}
