/* Busy tasks, which never wait or find everything ready, and somebody who could go on meanwhile: he
 * has his turn before long. Counted in turns, not in time. */
#ifndef BUSY_H
#define BUSY_H

#include "support/ground.h"

/* So many calls of a busy task at most, from when another could go on until it has. */
#define TURNS_MAX 2048

/* A busy task, and what it is busy with. */
struct busy {
    const atomic_bool *until; /* whom it must not starve */
    int64_t begin_ns;         /* it counts from then; until then it does not give way at all */
    unsigned turns;
    weir_socket *pair[2];
    weir_channel *there, *back;
};

/* Counts a call. False when it has been long enough. */
bool busy_goes_on(struct busy *b);

/* Starts somebody, has him wait, makes what he waits for come true, and then busy tasks, so many of
 * them, keep the thread: each is `first(struct busy *)`, beside a `second` if that is not NULL.
 * This is done for each kind of thing that can be waited for. */
void starve_each(int (*first)(void *), int (*second)(void *), unsigned count);

#define STARVE(name, first, second)                                                                \
    static void name(void)                                                                         \
    {                                                                                              \
        starve_each(first, second, 1);                                                             \
        starve_each(first, second, 8);                                                             \
    }

#endif
