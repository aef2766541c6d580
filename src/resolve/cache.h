/* Answers by name. The caller holds a lock over each call; every call but cache_free takes the
 * same short time however many names there are. */
#ifndef CACHE_H
#define CACHE_H

#include "answer.h"

/* The most names kept, and the most memory; those not asked for the longest go first. */
#define CACHE_NAMES_MAX 16384
#define CACHE_BYTES_MAX (UINT64_C(16) << 20)

#define NAME_MAX_BYTES 254 /* 253 and a dot at the end */

/* A name in lower case and its hash. The end is filled with zeros up to a multiple of 8 bytes. */
struct name {
    uint64_t hash;
    size_t len;
    char text[NAME_MAX_BYTES + 10];
};

/* Returns false if the host is too long to be a name; nothing else is checked. */
bool name_fold(struct name *ret, const char *host);

struct cache;
struct cache_entry;

struct cache *cache_new(void); /* NULL without memory */

/* Frees it and what is chained behind it; NULL is allowed. */
void cache_free(struct cache *c);
void cache_chain(struct cache *c, struct cache *next);

/* References to what is there for a name and has not expired, NULL for the rest. */
void cache_get(struct cache *c, const struct name *name, uint64_t now_ns, struct answer *ret[2]);

/* To be made without the lock, for cache_put: it has its own reference to `a`. NULL without
 * memory. */
struct cache_entry *cache_entry_new(const struct name *name, int family, struct answer *a);

/* Puts what is in `e` into the cache. Returns what fell out, to be freed without the lock. */
struct cache_entry *cache_put(struct cache *c, struct cache_entry *e);
void cache_entry_free(struct cache_entry *list); /* and all that follow; NULL is allowed */

size_t cache_count(const struct cache *c);

#endif
