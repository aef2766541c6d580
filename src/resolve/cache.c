#include "cache.h"

#include "sys.h"

#include <string.h>
#include <sys/auxv.h>
#include <sys/queue.h>

#define BUCKETS ((size_t)2 * CACHE_NAMES_MAX)

struct cache_entry {
    TAILQ_ENTRY(cache_entry) age;
    struct cache_entry *next; /* in the bucket, or among those that fell out */
    struct answer *answers[2];
    uint64_t hash;
    size_t bytes;
    size_t len;
    char name[];
};

struct cache {
    TAILQ_HEAD(cache_ages, cache_entry) by_age; /* latest use first */
    struct cache *next;
    size_t count;
    size_t bytes;
    struct cache_entry *buckets[BUCKETS];
};

/* ---- Names ----------------------------------------------------------------------------------- */

/* What the kernel gave this process: names may come from strangers, who must not be able to fill
 * one bucket. */
static uint64_t hash_key(void)
{
    static atomic_uint_least64_t key;
    uint64_t value = atomic_load_explicit(&key, memory_order_relaxed);
    const void *random;

    if (value)
        return value;
    random = (const void *)getauxval(AT_RANDOM);
    if (random)
        memcpy(&value, random, sizeof(value));
    value |= 1;
    atomic_store_explicit(&key, value, memory_order_relaxed);
    return value;
}

__extension__ typedef unsigned __int128 wide;

static uint64_t hash_words(const char *text, size_t len)
{
    const uint64_t key = hash_key();
    uint64_t hash = key ^ len, word;

    for (size_t i = 0; i < len; i += sizeof(word)) {
        memcpy(&word, text + i, sizeof(word));
        wide product = (wide)(hash ^ word) * (key ^ 0x9e3779b97f4a7c15);
        hash = (uint64_t)product ^ (uint64_t)(product >> 64) ^ key;
    }
    return hash ^ hash >> 32;
}

bool name_fold(struct name *ret, const char *host)
{
    size_t i;

    for (i = 0; host[i]; i++) {
        unsigned char c = (unsigned char)host[i];

        if (i == NAME_MAX_BYTES)
            return false;
        ret->text[i] = (char)((unsigned)(c - 'A') < 26 ? c | 0x20 : c);
    }
    memset(&ret->text[i], 0, 9);
    ret->len = i;
    ret->hash = hash_words(ret->text, i);
    return true;
}

/* ---- Entries --------------------------------------------------------------------------------- */

static size_t entry_bytes(const struct cache_entry *e)
{
    size_t bytes = sizeof(*e) + e->len + 1;

    for (int i = 0; i < 2; i++)
        bytes += e->answers[i] ? answer_size(e->answers[i]) : 0;
    return bytes;
}

struct cache_entry *cache_entry_new(const struct name *name, int family, struct answer *a)
{
    struct cache_entry *e = sys_alloc(sizeof(*e) + name->len + 1);

    if (!e)
        return NULL;
    e->answers[family_index(family)] = answer_ref(a);
    e->hash = name->hash;
    e->len = name->len;
    memcpy(e->name, name->text, name->len);
    return e;
}

void cache_entry_free(struct cache_entry *list)
{
    while (list) {
        struct cache_entry *e = list;

        list = e->next;
        answer_unref(e->answers[0]);
        answer_unref(e->answers[1]);
        free(e);
    }
}

/* ---- The table ------------------------------------------------------------------------------- */

struct cache *cache_new(void)
{
    struct cache *c = sys_alloc(sizeof(*c));

    if (c)
        TAILQ_INIT(&c->by_age);
    return c;
}

void cache_chain(struct cache *c, struct cache *next)
{
    c->next = next;
}

void cache_free(struct cache *c)
{
    while (c) {
        struct cache *next = c->next;
        struct cache_entry *e;

        while ((e = TAILQ_FIRST(&c->by_age))) {
            TAILQ_REMOVE(&c->by_age, e, age);
            e->next = NULL;
            cache_entry_free(e);
        }
        free(c);
        c = next;
    }
}

static struct cache_entry **find(struct cache *c, uint64_t hash, const char *text, size_t len)
{
    struct cache_entry **link = &c->buckets[hash % BUCKETS];

    while (*link &&
           ((*link)->hash != hash || (*link)->len != len || memcmp((*link)->name, text, len) != 0))
        link = &(*link)->next;
    return link;
}

static void touch(struct cache *c, struct cache_entry *e)
{
    if (e == TAILQ_FIRST(&c->by_age))
        return;
    TAILQ_REMOVE(&c->by_age, e, age);
    TAILQ_INSERT_HEAD(&c->by_age, e, age);
}

void cache_get(struct cache *c, const struct name *name, uint64_t now_ns, struct answer *ret[2])
{
    struct cache_entry *e = *find(c, name->hash, name->text, name->len);

    ret[0] = ret[1] = NULL;
    if (!e)
        return;
    touch(c, e);
    for (int i = 0; i < 2; i++)
        if (e->answers[i] && now_ns < e->answers[i]->expires_ns)
            ret[i] = answer_ref(e->answers[i]);
}

static void swap_answers(struct cache_entry *kept, struct cache_entry *given)
{
    for (int i = 0; i < 2; i++)
        if (given->answers[i]) {
            struct answer *old = kept->answers[i];

            kept->answers[i] = given->answers[i];
            given->answers[i] = old;
        }
}

/* Takes the oldest out until the rest fits, and puts what it took in front of `dropped`. */
static struct cache_entry *drop_oldest(struct cache *c, struct cache_entry *dropped)
{
    while (c->count > CACHE_NAMES_MAX || (c->bytes > CACHE_BYTES_MAX && c->count > 1)) {
        struct cache_entry *e = TAILQ_LAST(&c->by_age, cache_ages);

        *find(c, e->hash, e->name, e->len) = e->next;
        TAILQ_REMOVE(&c->by_age, e, age);
        c->count--;
        c->bytes -= e->bytes;
        e->next = dropped;
        dropped = e;
    }
    return dropped;
}

struct cache_entry *cache_put(struct cache *c, struct cache_entry *e)
{
    struct cache_entry **link = find(c, e->hash, e->name, e->len), *dropped = NULL;

    if (*link) {
        c->bytes -= (*link)->bytes;
        swap_answers(*link, e);
        dropped = e;
        e = *link;
        touch(c, e);
    } else {
        *link = e;
        TAILQ_INSERT_HEAD(&c->by_age, e, age);
        c->count++;
    }
    e->bytes = entry_bytes(e);
    c->bytes += e->bytes;
    return drop_oldest(c, dropped);
}

size_t cache_count(const struct cache *c)
{
    return c->count;
}
