/* A run of its own, on another thread, whose only task computes: its loop answers nobody. */
#ifndef COMPUTING_H
#define COMPUTING_H

#include <pthread.h>
#include <stdatomic.h>

struct loop;

/* It does so until it `may_end`, and then sleeps, and answers, until it `may_leave`. */
extern atomic_bool computes, may_end, may_leave;
extern _Atomic(struct loop *) stuck; /* its loop */

/* Returns when it computes; it may leave as soon as it may end. */
pthread_t start_computing(void);
void end_computing(pthread_t thread);

#endif
