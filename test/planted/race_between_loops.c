/* Two tasks on two loops, and a variable that nothing guards.
 *
 * tsan: ThreadSanitizer: data race .* in counts */
#include "planted.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

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

int scene(void *arg)
{
    weir_run_info info;
    weir_group *g;

    must(weir_inspect_run(&info, sizeof info));
    if (info.loops < 2) {
        puts("skipped: this machine has one processor");
        exit(77);
    }
    must(weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true)));
    must(weir_go(g, counts, arg));
    must(weir_go(g, counts, arg));
    must(weir_group_wait(g, NULL));
    return weir_group_close(g);
}
