/* A byte too far on the stack of a task.
 *
 * asan: AddressSanitizer: stack-buffer-overflow .* in fills */
#include "planted.h"

static int fills(void *arg)
{
    volatile char buffer[32];
    volatile char *volatile start = buffer; /* a bound that only the run knows */
    int length = planted ? 33 : 32;

    (void)arg;
    must(weir_yield());
    for (int i = 0; i < length; i++)
        start[i] = 'x';
    return buffer[0];
}

int scene(void *arg)
{
    in_task(fills, arg);
    return 0;
}
