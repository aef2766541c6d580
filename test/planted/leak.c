/* Memory that a task forgets.
 *
 * asan: LeakSanitizer: detected memory leaks
 * valgrind: 4,?711 bytes in 1 blocks are definitely lost */
#include "planted.h"

#include <stdlib.h>
#include <string.h>

static int forgets(void *arg)
{
    char *volatile memory = malloc(4711);

    (void)arg;
    if (memory)
        memset(memory, 1, 4711);
    must(weir_yield());
    if (!planted)
        free(memory);
    memory = NULL;
    return 0;
}

int scene(void *arg)
{
    in_task(forgets, arg);
    return 0;
}
