/* From one CPU to the other and back: an item between tasks of two loops, and a count between two
 * threads that wait in read(2) of an eventfd: wakes ROUNDS TRIPS. Prints `ROUND NAME NANOSECONDS`
 * for each block, of time that passes; `self` is the eventfds once more. */
#include "support/bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <weir.h>

#define LOOPS 2

static long rounds, trips;
static int there_fd, back_fd;
static weir_channel *there, *back;

static void raise_fd(int fd)
{
    uint64_t one = 1;

    bench_errno("write", write(fd, &one, sizeof one));
}

static uint64_t await_fd(int fd)
{
    uint64_t value;

    bench_errno("read", read(fd, &value, sizeof value));
    return value;
}

static void *answer_raw(void *arg)
{
    (void)arg;
    bench_pin(1);
    while (await_fd(there_fd) > 0)
        raise_fd(back_fd);
    return NULL;
}

/* The tasks go round the loops: one of them is on the other thread. */
static int answer(void *arg)
{
    const pthread_t *asker = arg;
    char item;

    if (pthread_equal(*asker, pthread_self()))
        return 0;
    bench_pin(1);
    while (weir_channel_recv(there, &item) == 1)
        bench_check("weir_channel_send", weir_channel_send(back, &item));
    return 0;
}

static void trip_raw(void)
{
    raise_fd(there_fd);
    await_fd(back_fd);
}

static void trip_weir(void)
{
    char item = 0;

    bench_check("weir_channel_send", weir_channel_send(there, &item));
    bench_check("weir_channel_recv", weir_channel_recv(back, &item));
}

static const struct {
    const char *name;
    void (*trip)(void);
} sides[] = {{"raw", trip_raw}, {"weir", trip_weir}, {"self", trip_raw}};

static void block(long round, size_t side)
{
    uint64_t start_ns = bench_now_ns();

    for (long i = 0; i < trips; i++)
        sides[side].trip();
    printf("%ld %s %lu\n", round, sides[side].name, (unsigned long)(bench_now_ns() - start_ns));
}

static int measure(void *arg)
{
    pthread_t thread, here = pthread_self();
    weir_group *g;

    (void)arg;
    bench_pin(0);
    bench_check("weir_channel_open", weir_channel_open(&there, 1, 1));
    bench_check("weir_channel_open", weir_channel_open(&back, 1, 1));
    bench_check("weir_group_open", weir_group_open(&g, WEIR_GROUP_OPTIONS(.spread = true)));
    for (int i = 0; i < LOOPS; i++)
        bench_check("weir_go_copy", weir_go_copy(g, answer, &here, sizeof here));
    bench_check("pthread_create", -pthread_create(&thread, NULL, answer_raw, NULL));
    for (long round = 0; round < rounds; round++) {
        for (size_t i = 0; i < BENCH_LENGTH(sides); i++)
            block(round, i);
        for (size_t i = BENCH_LENGTH(sides); i-- > 0;)
            block(round, i);
    }
    fflush(stdout);
    weir_group_close(g);
    weir_channel_close(there);
    weir_channel_close(back);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: wakes ROUNDS TRIPS\n");
        return 2;
    }
    rounds = bench_number(argv[1], 1);
    trips = bench_number(argv[2], 1);
    there_fd = (int)bench_errno("eventfd", eventfd(0, EFD_CLOEXEC));
    back_fd = (int)bench_errno("eventfd", eventfd(0, EFD_CLOEXEC));
    bench_check("weir_run", weir_run(measure, NULL, WEIR_RUN_OPTIONS(.max_loops = LOOPS), NULL));
    return 0;
}
