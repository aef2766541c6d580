/* COUNT tasks that wait for ever, or what is left of them without a library: parked weir|bare COUNT
 *
 *     weir   tasks
 *     bare   a guard and a touched page for each, at the same distance from each other
 *
 * Prints `start`, nanoseconds of CPU time for each, `bytes`, memory for each with page tables, and
 * for tasks `end`: what it took to cancel and end them. */
#include "support/bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <weir.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define DISTANCE (256 * 1024) /* WEIR_RUN_OPTIONS() */

static long count, parked;

static long memory_bytes(void)
{
    char line[128];
    long total = 0, kilobytes;
    FILE *f = fopen("/proc/self/status", "r");

    if (!f)
        bench_fail("/proc/self/status", -errno);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "VmRSS: %ld", &kilobytes) == 1 ||
            sscanf(line, "VmPTE: %ld", &kilobytes) == 1)
            total += kilobytes * 1024;
    }
    fclose(f);
    return total;
}

static void show(const char *what, double each)
{
    printf("%s %.1f\n", what, each / (double)count);
}

static int park(void *arg)
{
    (void)arg;
    parked++;
    return weir_sleep(-1);
}

static int run_tasks(void *arg)
{
    weir_group *g;
    long before = memory_bytes();
    uint64_t start_ns = bench_thread_ns();

    (void)arg;
    bench_check("weir_group_open", weir_group_open(&g, NULL));
    for (long i = 0; i < count; i++)
        bench_check("weir_go", weir_go(g, park, NULL));
    while (parked < count)
        weir_yield();
    show("start", (double)(bench_thread_ns() - start_ns));
    show("bytes", (double)(memory_bytes() - before));
    start_ns = bench_thread_ns();
    weir_group_close(g);
    show("end", (double)(bench_thread_ns() - start_ns));
    return 0;
}

static void run_bare(void)
{
    size_t size = (size_t)count * DISTANCE, page = (size_t)sysconf(_SC_PAGESIZE);
    long before = memory_bytes();
    uint64_t start_ns = bench_thread_ns();
    char *all = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (all == MAP_FAILED)
        bench_fail("mmap", -errno);
    bench_errno("madvise", madvise(all, size, MADV_NOHUGEPAGE));
    for (char *stack = all; stack < all + size; stack += DISTANCE) {
        bench_errno("madvise", madvise(stack, page, MADV_GUARD_INSTALL));
        *(volatile char *)(stack + DISTANCE - 1) = 1;
    }
    show("start", (double)(bench_thread_ns() - start_ns));
    show("bytes", (double)(memory_bytes() - before));
}

int main(int argc, char **argv)
{
    bool tasks = argc == 3 && strcmp(argv[1], "weir") == 0;

    if (argc != 3 || (!tasks && strcmp(argv[1], "bare") != 0)) {
        fprintf(stderr, "usage: parked weir|bare COUNT\n");
        return 2;
    }
    count = bench_number(argv[2], 1);
    bench_pin(0);
    if (tasks)
        bench_check("weir_run", weir_run(run_tasks, NULL, NULL, NULL));
    else
        run_bare();
    return 0;
}
