#include "heap.h"

#include "sys.h"

#include <assert.h>
#include <string.h>

#define FIRST_ROOM 16

/* Four children to an entry, which share a line of the cache: the first of them, entry 1, begins
 * one. */
#define CHILDREN   4
#define CACHE_LINE 64
#define LEAD       (CACHE_LINE / sizeof(struct heap_entry) - 1)

/* How many timers heap_look_ns puts right at a time. */
#define LOOK_MAX 4

int heap_reserve(struct heap *h, size_t count)
{
    size_t room = h->room ? h->room : FIRST_ROOM;

    if (count <= h->room)
        return 0;
    while (room < count)
        room *= 2;
    void *memory = sys_alloc((room + LEAD) * sizeof(struct heap_entry) + CACHE_LINE);
    if (!memory)
        return -ENOMEM;
    size_t skip = -(uintptr_t)memory % CACHE_LINE;
    struct heap_entry *entries = (struct heap_entry *)(void *)((char *)memory + skip) + LEAD;
    if (h->count)
        memcpy(entries, h->entries, h->count * sizeof *entries);
    free(h->memory);
    h->memory = memory;
    h->entries = entries;
    h->room = room;
    return 0;
}

void heap_fini(struct heap *h)
{
    free(h->memory);
    *h = (struct heap){.memory = NULL};
}

static void put(struct heap *h, size_t i, struct heap_entry e)
{
    h->entries[i] = e;
    e.timer->place = i + 1;
}

/* Moves the free place at `i` up to where `filed_ns` may lie under what is above. */
static size_t rise(struct heap *h, size_t i, uint64_t filed_ns)
{
    while (i > 0) {
        size_t parent = (i - 1) / CHILDREN;
        if (h->entries[parent].filed_ns <= filed_ns)
            break;
        put(h, i, h->entries[parent]);
        i = parent;
    }
    return i;
}

static size_t earliest_child(const struct heap *h, size_t first)
{
    const struct heap_entry *e = h->entries + first;

    if (first + CHILDREN <= h->count) {
        size_t low = e[1].filed_ns < e[0].filed_ns;
        size_t high = 2 + (size_t)(e[3].filed_ns < e[2].filed_ns);
        return first + (e[high].filed_ns < e[low].filed_ns ? high : low);
    }
    size_t least = first;
    for (size_t i = first + 1; i < h->count; i++)
        if (h->entries[i].filed_ns < h->entries[least].filed_ns)
            least = i;
    return least;
}

/* In a large heap each step down waits for memory: of the lines below, one for each child, the one
 * that comes next is not known yet, but is among these. */
static inline __attribute__((always_inline)) void look_below(const struct heap *h, size_t first)
{
    size_t below = CHILDREN * first + 1;

    if (below + (size_t)CHILDREN * CHILDREN > h->count)
        return;
    for (size_t child = 0; child < CHILDREN; child++)
        __builtin_prefetch(&h->entries[below + child * CHILDREN]);
}

/* The same downwards. */
static size_t sink(struct heap *h, size_t i, uint64_t filed_ns)
{
    for (size_t child; (child = CHILDREN * i + 1) < h->count; i = child) {
        look_below(h, child);
        child = earliest_child(h, child);
        if (h->entries[child].filed_ns >= filed_ns)
            break;
        put(h, i, h->entries[child]);
    }
    return i;
}

static void take_out(struct heap *h, struct timer *t)
{
    size_t i = t->place - 1;
    struct heap_entry last = h->entries[--h->count];

    t->place = 0;
    if (last.timer == t)
        return;
    size_t place = rise(h, i, last.filed_ns);
    put(h, place == i ? sink(h, i, last.filed_ns) : place, last);
}

void heap_set(struct heap *h, struct timer *t, uint64_t at_ns)
{
    size_t i = t->place;

    t->at_ns = at_ns;
    if (at_ns == NEVER) {
        if (i)
            take_out(h, t);
        return;
    }
    if (!i) {
        assert(h->count < h->room);
        i = ++h->count;
    } else if (at_ns >= t->filed_ns) {
        return;
    }
    t->filed_ns = at_ns;
    put(h, rise(h, i - 1, at_ns), (struct heap_entry){at_ns, t});
}

/* True if the first entry was in its place already. */
static bool put_first_right(struct heap *h)
{
    struct timer *t = h->entries[0].timer;

    if (t->at_ns == t->filed_ns)
        return true;
    if (t->at_ns == NEVER) {
        take_out(h, t);
    } else {
        t->filed_ns = t->at_ns;
        put(h, sink(h, 0, t->at_ns), (struct heap_entry){t->at_ns, t});
    }
    return false;
}

struct timer *heap_first(struct heap *h)
{
    while (h->count && !put_first_right(h))
        continue;
    return h->count ? h->entries[0].timer : NULL;
}

uint64_t heap_look_ns(struct heap *h)
{
    for (int i = 0; i < LOOK_MAX && h->count && !put_first_right(h); i++)
        continue;
    return h->count ? h->entries[0].filed_ns : NEVER;
}

struct timer *heap_take_due(struct heap *h, uint64_t now_ns)
{
    while (h->count && h->entries[0].filed_ns <= now_ns) {
        struct timer *t = h->entries[0].timer;
        if (!put_first_right(h))
            continue;
        take_out(h, t);
        return t;
    }
    return NULL;
}
