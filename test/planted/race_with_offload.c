/* What a task does in another thread and a task of the loop, both on one variable. It may be used
 * without a lock before and after the call, and by whoever has heard of its end.
 *
 * tsan: ThreadSanitizer: data race .* in (counts_there|counts_here) */
#include "planted.h"

#include <sched.h>
#include <stdatomic.h>

struct shared {
    weir_channel *done;
    long count;
    /* Both are at it at the same time, and these tell the tool nothing of what comes first. */
    atomic_bool there, here;
};

static void say(atomic_bool *flag)
{
    atomic_store_explicit(flag, true, memory_order_relaxed);
}

static bool heard(const atomic_bool *flag)
{
    return atomic_load_explicit(flag, memory_order_relaxed);
}

static void counts_there(void *arg)
{
    struct shared *shared = arg;

    shared->count++;
    say(&shared->there);
    while (planted && !heard(&shared->here))
        sched_yield();
}

static int offloads(void *arg)
{
    struct shared *shared = arg;
    char token = 1;

    shared->count++;
    must(weir_offload(counts_there, shared));
    shared->count++;
    return weir_channel_send(shared->done, &token);
}

static int counts_here(void *arg)
{
    struct shared *shared = arg;
    char token;

    if (!planted)
        must(weir_channel_recv(shared->done, &token));
    while (!heard(&shared->there))
        must(weir_yield());
    shared->count++;
    say(&shared->here);
    return 0;
}

int scene(void *arg)
{
    struct shared shared = {.count = 0};
    weir_group *g;

    (void)arg;
    must(weir_channel_open(&shared.done, 1, 1));
    must(weir_group_open(&g, NULL));
    must(weir_go(g, offloads, &shared));
    must(weir_go(g, counts_here, &shared));
    must(weir_group_wait(g, NULL));
    must(weir_group_close(g));
    return weir_channel_close(shared.done);
}
