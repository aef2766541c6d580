/* Timers in the order of their time: a heap of what its owners embed. Setting and taking out cost
 * O(log n) and cannot fail, since the room is reserved beforehand. */
#ifndef HEAP_H
#define HEAP_H

#include <stddef.h>
#include <stdint.h>

struct timer {
    uint64_t at_ns;
    size_t place; /* in the heap, from 1; 0 if it is not in there */
};

struct heap {
    struct timer **timers;
    size_t count, room;
};

/* Makes room for `count` timers in all. 0 or -ENOMEM. */
int heap_reserve(struct heap *h, size_t count);
void heap_fini(struct heap *h);

/* Puts the timer in, moves it, or with NEVER takes it out. */
void heap_set(struct heap *h, struct timer *t, uint64_t at_ns);

/* The earliest, or NULL. */
struct timer *heap_first(const struct heap *h);

#endif
