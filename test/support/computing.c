#include "support/computing.h"

#include "context.h"
#include "support/ground.h"

atomic_bool computes, may_end, may_leave;
_Atomic(struct loop *) stuck;

static int computing(void *arg)
{
    (void)arg;
    EXPECT(weir_task_name("computing"), 0);
    atomic_store(&stuck, context_current()->loop);
    atomic_store(&computes, true);
    while (!atomic_load(&may_end))
        continue;
    while (!atomic_load(&may_leave))
        EXPECT(weir_sleep(1), 0);
    return 0;
}

static void *computing_run(void *arg)
{
    (void)arg;
    EXPECT(weir_run(computing, NULL, ground_options(), NULL), 0);
    return NULL;
}

pthread_t start_computing(void)
{
    pthread_t thread;
    atomic_store(&computes, false);
    atomic_store(&may_end, false);
    atomic_store(&may_leave, true);
    EXPECT(pthread_create(&thread, NULL, computing_run, NULL), 0);
    while (!atomic_load(&computes))
        give_way();
    return thread;
}

void end_computing(pthread_t thread)
{
    atomic_store(&may_end, true);
    atomic_store(&may_leave, true);
    pthread_join(thread, NULL);
}
