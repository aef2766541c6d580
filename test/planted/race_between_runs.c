/* Tasks of two runs in two threads, and a variable that nothing guards.
 *
 * tsan: ThreadSanitizer: data race .* in counts */
#include "planted.h"

#include <pthread.h>
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

static void *thread_main(void *arg)
{
    must(weir_run(counts, arg, NULL, NULL));
    return NULL;
}

int scene(void *arg)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        must(-pthread_create(&threads[i], NULL, thread_main, arg));
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
