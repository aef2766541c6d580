/* A variable of a function that has returned, in a task that has waited since.
 *
 * asan: AddressSanitizer: stack-use-after-return .* in reads */
#include "planted.h"

__attribute__((noinline)) static char *leaves(char *own)
{
    char local[64] = "gone";
    char *volatile pointer = planted ? local : own;

    return pointer;
}

static int reads(void *arg)
{
    char own[64] = "still here";
    const volatile char *pointer = leaves(own);

    (void)arg;
    must(weir_yield());
    return pointer[0];
}

int scene(void *arg)
{
    in_task(reads, arg);
    return 0;
}
