/* Tasks of two runs in two threads, and a variable that nothing guards.
 *
 * tsan: ThreadSanitizer: data race .* in counts */
#include "race_between.h"

#include <pthread.h>

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
