/* A variable of a task that has ended.
 *
 * ASAN_OPTIONS: detect_stack_use_after_return=0
 * asan: AddressSanitizer: use-after-poison .* in scene
 * valgrind: Invalid read of size 1 */
#include "planted.h"

static volatile char *pointer;

static int ends(void *arg)
{
    volatile char local[64] = "gone";

    (void)arg;
    pointer = local;
    must(weir_yield());
    return 0;
}

int scene(void *arg)
{
    volatile char own[64] = "still here";

    in_task(ends, arg);
    if (!planted)
        pointer = own;
    return pointer[0];
}
