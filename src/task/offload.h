/* The threads that weir_offload uses. */
#ifndef TASK_OFFLOAD_H
#define TASK_OFFLOAD_H

#include <stdatomic.h>
#include <stdint.h>

/* How many there are at most. */
#define OFFLOAD_THREADS 4

/* How long one stays without work; tests do not wait for so long. */
extern _Atomic uint64_t offload_idle_ns;

#endif
