#include "answer.h"

#include "sys.h"

struct answer *answer_new(enum weir_name_source source, size_t count)
{
    struct answer *a = sys_alloc(sizeof(*a) + count * sizeof(a->list[0]));

    if (!a)
        return NULL;
    atomic_init(&a->references, 1);
    a->source = source;
    a->count = count;
    return a;
}

/* The first reference is the file's own, so it is never freed. */
static struct answer no_memory = {.references = 1, .rc = -ENOMEM};

struct answer *answer_failure(int rc, enum weir_name_source source, uint64_t expires_ns)
{
    struct answer *a = answer_new(source, 0);

    if (!a)
        return answer_ref(&no_memory);
    a->rc = rc;
    a->expires_ns = expires_ns;
    return a;
}

struct answer *answer_ref(struct answer *a)
{
    atomic_fetch_add_explicit(&a->references, 1, memory_order_relaxed);
    return a;
}

void answer_unref(struct answer *a)
{
    if (a && atomic_fetch_sub_explicit(&a->references, 1, memory_order_acq_rel) == 1)
        free(a);
}

size_t answer_size(const struct answer *a)
{
    return sizeof(*a) + a->count * sizeof(a->list[0]);
}
