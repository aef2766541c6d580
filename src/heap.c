#include "heap.h"

#include "clock.h"
#include "sys.h"

#include <assert.h>
#include <string.h>

#define FIRST_ROOM 16

int heap_reserve(struct heap *h, size_t count)
{
    size_t room = h->room ? h->room : FIRST_ROOM;

    if (count <= h->room)
        return 0;
    while (room < count)
        room *= 2;
    struct timer **timers = sys_alloc(room * sizeof(struct timer *));
    if (!timers)
        return -ENOMEM;
    if (h->count)
        memcpy(timers, h->timers, h->count * sizeof(struct timer *));
    free(h->timers);
    h->timers = timers;
    h->room = room;
    return 0;
}

void heap_fini(struct heap *h)
{
    free(h->timers);
    *h = (struct heap){.timers = NULL};
}

static void put(struct heap *h, size_t i, struct timer *t)
{
    h->timers[i] = t;
    t->place = i + 1;
}

/* Finds the place of `t`, beginning with the free one at `i`. */
static void sift(struct heap *h, size_t i, struct timer *t)
{
    for (; i > 0 && t->at_ns < h->timers[(i - 1) / 2]->at_ns; i = (i - 1) / 2)
        put(h, i, h->timers[(i - 1) / 2]);
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < h->count && h->timers[child + 1]->at_ns < h->timers[child]->at_ns)
            child++;
        if (child >= h->count || h->timers[child]->at_ns >= t->at_ns)
            break;
        put(h, i, h->timers[child]);
        i = child;
    }
    put(h, i, t);
}

static void take_out(struct heap *h, struct timer *t)
{
    size_t i = t->place - 1;
    struct timer *last = h->timers[--h->count];

    t->place = 0;
    if (last != t)
        sift(h, i, last);
}

void heap_set(struct heap *h, struct timer *t, uint64_t at_ns)
{
    t->at_ns = at_ns;
    if (at_ns == NEVER) {
        if (t->place)
            take_out(h, t);
        return;
    }
    if (!t->place) {
        assert(h->count < h->room);
        h->count++;
        put(h, h->count - 1, t);
    }
    sift(h, t->place - 1, t);
}

struct timer *heap_first(const struct heap *h)
{
    return h->count ? h->timers[0] : NULL;
}
