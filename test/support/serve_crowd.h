/* Many clients of a server that runs on several loops, and where they are served. */
#ifndef SERVE_CROWD_H
#define SERVE_CROWD_H

#include "support/serve_fixture.h"

#define LOOPS 3
#define CROWD 90

extern weir_socket *crowd[CROWD];

/* Calls `fn` as the first task of a run with so many loops, whatever the machine has processors
 * for; not at all where tasks do not share threads. */
void on_loops(unsigned loops, void (*fn)(void));

/* A handler that echoes, and is on the same thread for the whole time. */
int stays_and_echoes(weir_socket *s, struct serving *sv);
/* From here on: how many threads it has run on, how often on each, 0 … LOOPS - 1, and whether the
 * first of them is the caller's. */
void forget_threads(void);
int threads_used(void);
int thread_connections(int i);
bool thread_is_mine(void);

/* How many sockets of the process listen on TCP at the server's port. */
int listeners_at(const struct serving *sv);

void crowd_comes(struct serving *sv);
void crowd_asks_and_leaves(void);

#endif
