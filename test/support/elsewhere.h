/* Somebody who is not beside the caller, for what tasks and threads use to meet. */
#ifndef ELSEWHERE_H
#define ELSEWHERE_H

#include "support/ground.h"

#include <pthread.h>

enum place {
    BESIDE,      /* a task of the same loop, or, where the ground has none, a thread of weir's */
    IN_A_THREAD, /* a thread that weir knows nothing of; it cannot be cancelled */
    ON_ANOTHER_LOOP, /* a task of a run of its own */
    PLACES
};

/* Lives until elsewhere_end. */
struct elsewhere {
    struct other other;
    enum place place;
    weir_group *group; /* that it belongs to; NULL if it cannot be cancelled */
    _Atomic(weir_group *) opened;
    pthread_t thread;
};

/* Starts `fn(arg)` there. */
void elsewhere_go(struct elsewhere *e, enum place place, int (*fn)(void *arg), void *arg);
static inline void elsewhere_until_asleep(const struct elsewhere *e)
{
    other_until_asleep(&e->other);
}
/* Cancels it, if that is possible. From anywhere, until elsewhere_end. */
void elsewhere_cancel(struct elsewhere *e);
/* Waits for its end, whatever holds for the caller, and returns its result. */
int elsewhere_end(struct elsewhere *e);

#endif
