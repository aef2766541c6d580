/* Timers in the order of their time: a heap of what its owners embed.
 *
 * Most timers are time-outs: armed, stopped a moment later, and armed again for a later time. So a
 * timer that is stopped or put off keeps its place, which is then too early, and only its owner's
 * memory is touched; it is put right when it comes to the front. Every other timer has its exact
 * place, nothing is rounded, and setting cannot fail, since the room is reserved beforehand. */
#ifndef HEAP_H
#define HEAP_H

#include <stddef.h>
#include <stdint.h>

#include "clock.h"

struct timer {
    uint64_t at_ns;    /* NEVER: it is stopped */
    uint64_t filed_ns; /* in the heap it lies under this time, which is not later than at_ns */
    size_t place;      /* in the heap, from 1; 0 if it is not in there */
};

struct heap_entry {
    uint64_t filed_ns;
    struct timer *timer;
};

struct heap {
    void *memory;
    struct heap_entry *entries; /* in there */
    size_t count, room;
};

/* Makes room for `count` timers in all. 0 or -ENOMEM. */
int heap_reserve(struct heap *h, size_t count);
void heap_fini(struct heap *h);

/* Arms the timer, or moves it; with NEVER takes it out, and from then on its memory is its owner's
 * alone. */
void heap_set(struct heap *h, struct timer *t, uint64_t at_ns);

/* Stops a timer that is likely to be armed again; the heap still knows it. */
static inline void timer_stop(struct timer *t)
{
    t->at_ns = NEVER;
}

/* The earliest that is armed, or NULL. */
struct timer *heap_first(struct heap *h);

/* The time of the earliest, or, while many are out of place, some time before it. */
uint64_t heap_look_ns(struct heap *h);

/* Takes out the earliest if its time has come; NULL if there is none. */
struct timer *heap_take_due(struct heap *h, uint64_t now_ns);

#endif
