/* A variable on the stack of a task that was never written.
 *
 * valgrind: Conditional jump or move depends on uninitialised value */
#include "planted.h"

__attribute__((noinline)) static void fill(volatile char *buffer, int length)
{
    for (int i = 0; i < length; i++)
        buffer[i] = 'x';
}

static int reads(void *arg)
{
    volatile char buffer[64];

    (void)arg;
    fill(buffer, planted ? 32 : 64);
    must(weir_yield());
    if (buffer[40] == 'x')
        must(weir_yield());
    return 0;
}

int scene(void *arg)
{
    in_task(reads, arg);
    return 0;
}
