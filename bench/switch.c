/* One stack to another and back, TRIPS times, without tasks around it: switch ROUNDS TRIPS. Prints
 * `ROUND weir NANOSECONDS` for each block; a trip is two switches. */
#include "support/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <task/switch.h>

static struct switch_point here, there;

static void bounce(void *arg)
{
    (void)arg;
    for (;;)
        switch_registers(&there, &here);
}

int main(int argc, char **argv)
{
    size_t size = 65536;

    if (argc != 3) {
        fprintf(stderr, "usage: switch ROUNDS TRIPS\n");
        return 2;
    }
    long rounds = bench_number(argv[1], 1), trips = bench_number(argv[2], 1);
    char *low = aligned_alloc(4096, size);
    if (!low)
        bench_fail("aligned_alloc", -ENOMEM);
    bench_pin(0);
    switch_adopt(&here);
    switch_prepare(&there, low, low + size, bounce, NULL);
    for (long round = 0; round < rounds; round++) {
        uint64_t start_ns = bench_thread_ns();
        for (long i = 0; i < trips; i++)
            switch_registers(&here, &there);
        printf("%ld weir %lu\n", round, (unsigned long)(bench_thread_ns() - start_ns));
    }
    free(low);
    return 0;
}
