/* The same as switch.c with Boost.Context, whose switch is a function of the C ABI: switch_boost
 * ROUNDS TRIPS. Prints `ROUND boost NANOSECONDS` for each block. */
#include "support/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct transfer {
    void *context;
    void *data;
};

struct transfer jump_fcontext(void *to, void *data);
void *make_fcontext(void *high, size_t size, void (*fn)(struct transfer));

static void bounce(struct transfer from)
{
    for (;;)
        from = jump_fcontext(from.context, NULL);
}

int main(int argc, char **argv)
{
    size_t size = 65536;

    if (argc != 3) {
        fprintf(stderr, "usage: switch_boost ROUNDS TRIPS\n");
        return 2;
    }
    long rounds = bench_number(argv[1], 1), trips = bench_number(argv[2], 1);
    char *low = aligned_alloc(4096, size);
    if (!low)
        bench_fail("aligned_alloc", -ENOMEM);
    bench_pin(0);
    struct transfer other = {.context = make_fcontext(low + size, size, bounce)};
    for (long round = 0; round < rounds; round++) {
        uint64_t start_ns = bench_thread_ns();
        for (long i = 0; i < trips; i++)
            other = jump_fcontext(other.context, NULL);
        printf("%ld boost %lu\n", round, (unsigned long)(bench_thread_ns() - start_ns));
    }
    free(low);
    return 0;
}
