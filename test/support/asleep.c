#include "support/asleep.h"

#include "context.h"
#include "support/watch.h"
#include "task/task.h"

#include <sched.h>
#include <unistd.h>
#include <weir/limit.h>

/* The task that the caller is, if it shares its thread. In a child after fork(2) it does not. */
static struct task *sharing_task(void)
{
    const struct context *here = context_current();
    return here->loop ? here->task : NULL;
}

void somebody_is_me(struct somebody *b)
{
    atomic_store(&b->task, sharing_task());
    atomic_store(&b->tid, gettid());
}

void somebody_ends(struct somebody *b)
{
    atomic_store(&b->ended, true);
}

void give_way(void)
{
    if (!sharing_task()) {
        sched_yield();
        return;
    }
    weir_scope shield = weir_shield_start(INT64_MAX);
    weir_yield();
    weir_scope_end(shield);
}

static bool shares_my_thread(const struct somebody *b)
{
    return atomic_load(&b->task) && atomic_load(&b->tid) == gettid();
}

void somebody_until_asleep(const struct somebody *b)
{
    do
        give_way();
    while (!atomic_load(&b->ended) && !atomic_load(&b->tid));
    while (!atomic_load(&b->ended)) {
        if (!shares_my_thread(b)) {
            watch_until_asleep(atomic_load(&b->tid));
            return;
        }
        if (atomic_load(&b->task)->state == TASK_PARKED)
            return;
        give_way();
    }
}
