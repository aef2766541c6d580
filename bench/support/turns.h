/* Servers that take turns: what a client measures them with. */
#ifndef BENCH_TURNS_H
#define BENCH_TURNS_H

#include "bench.h"

struct turns {
    /* In a child for each server: connects to it, then does as much as it is told (turns_told,
     * turns_done), again and again. */
    void (*serve)(uint16_t port, int fd);
    /* In another child: `count` connections that say nothing; turns_done when they are there. */
    void (*idle)(uint16_t port, long count, int fd);
    long first;    /* how much is done before each block, and is not counted */
    long requests; /* in a block */
    long rounds;   /* 0: a first block is all there is */
};

/* For the child: how much to do now, 0 if that was all; and that it is done. */
long turns_told(int fd);
void turns_done(int fd);

/* Goes through the servers, NAME:PORT:PID:IDLE each, in turn, and then in the opposite order, so
 * that whatever drifts meets all alike. Prints `ROUND NAME CPU TIME` for each block, in
 * nanoseconds: the CPU time that the server has used, and the time that has passed. */
void turns_take(const struct turns *t, char **servers, int count);

#endif
