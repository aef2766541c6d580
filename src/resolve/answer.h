/* Making answers. */
#ifndef ANSWER_H
#define ANSWER_H

#include "resolve.h"

/* An answer with room for `count` addresses and `rc` 0, or NULL. */
struct answer *answer_new(enum weir_name_source source, size_t count);

/* One that says why there is none; never NULL: without memory a fixed one, -ENOMEM. */
struct answer *answer_failure(int rc, enum weir_name_source source, uint64_t expires_ns);

struct answer *answer_ref(struct answer *a);

/* Bytes it takes. */
size_t answer_size(const struct answer *a);

/* 0 for AF_INET, 1 for AF_INET6. */
static inline int family_index(int family)
{
    return family == AF_INET6;
}

static inline bool family_wanted(int wanted, int index)
{
    return wanted == AF_UNSPEC || family_index(wanted) == index;
}

#endif
