/* A recursion in a task that does not end.
 *
 * asan: AddressSanitizer: stack-overflow .* in recurses
 * tsan: ThreadSanitizer: (stack-overflow|SEGV)
 * valgrind: Process terminating with default action of signal 11 \(SIGSEGV\) */
#include "planted.h"

#include <stddef.h>

__attribute__((noinline)) static int recurses(int depth, volatile char *above)
{
    volatile char frame[512];

    frame[0] = above ? above[0] : 0;
    return depth == 0 ? 0 : recurses(depth - 1, frame) + frame[0];
}

static int begins(void *arg)
{
    (void)arg;
    return recurses(planted ? -1 : 10, NULL);
}

int scene(void *arg)
{
    in_task(begins, arg);
    return 0;
}
