/* The program ends while memory is known to a task that waits, and to nothing else: no leak; or not
 * even to that any more.
 *
 * In fake stacks, which the option is about, LeakSanitizer does not look unless they are in use
 * just then.
 *
 * ASAN_OPTIONS: detect_stack_use_after_return=0
 * asan: LeakSanitizer: detected memory leaks
 * valgrind: are definitely lost */
#include "planted.h"

#include <stdlib.h>

/* So many that what is left of them in dead frames does not hide them all. */
#define COUNT 50

struct held {
    char *volatile memory[COUNT];
};

__attribute__((noinline)) static void take(struct held *h)
{
    for (int i = 0; i < COUNT; i++)
        h->memory[i] = malloc(100);
    for (int i = 0; planted && i < COUNT; i++)
        h->memory[i] = NULL;
}

static int holds(void *arg)
{
    struct held held;

    (void)arg;
    take(&held);
    (void)weir_sleep(-1);
    for (int i = 0; i < COUNT; i++)
        free(held.memory[i]);
    return 0;
}

int scene(void *arg)
{
    weir_group *g;

    must(weir_group_open(&g, NULL));
    must(weir_go(g, holds, arg));
    must(weir_yield());
    exit(0);
}
