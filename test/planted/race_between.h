/* Two tasks at the same time, and a variable that nothing guards. */
#ifndef RACE_BETWEEN_H
#define RACE_BETWEEN_H

#include "planted.h"

#include <stdatomic.h>

static weir_mutex mutex = WEIR_MUTEX_INIT;
static long count;

/* Both are at it at the same time, and this tells the tool nothing of what comes first. */
static void meet(void)
{
    static atomic_int there;

    atomic_fetch_add_explicit(&there, 1, memory_order_relaxed);
    while (atomic_load_explicit(&there, memory_order_relaxed) < 2)
        must(weir_yield());
}

static int counts(void *arg)
{
    (void)arg;
    meet();
    for (int i = 0; i < 1000; i++) {
        if (!planted)
            must(weir_mutex_lock(&mutex));
        count++;
        if (!planted)
            must(weir_mutex_unlock(&mutex));
        must(weir_yield());
    }
    return 0;
}

#endif
