/* The same with variables in fake stacks: that of a task is gone when it has ended.
 *
 * asan: AddressSanitizer: SEGV .* in scene */
#include "dead_task.c"
