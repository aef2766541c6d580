/* Where a call is made: one context per thread (later also one per task). */
#ifndef CONTEXT_H
#define CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

struct context {
    uint64_t deadline_ns; /* the earliest limit that holds; NEVER if none */
    uint32_t depth;       /* scopes that are open */
    bool shielded;        /* a shield holds off cancellation */
    bool kept;            /* the thread's end will release what is below */
    int wake_fd;          /* an eventfd by which others end this thread's waits; -1 until needed */
    char *story;          /* of the last failure that had no socket; NULL if none */
};

extern _Thread_local struct context context_of_thread
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The context of the caller; never NULL, valid until the thread ends. */
static inline struct context *context_current(void)
{
    return &context_of_thread;
}

/* Arranges for the thread's end to release what the context owns; to be called before it owns
 * something. */
void context_keep(struct context *c);

/* The wake descriptor of a context, made on first use. Returns it or -errno. */
int context_wake_fd(struct context *c);

/* Counts the forks of this process and its ancestors since weir was first used: what was made under
 * another count belongs to the parent. */
unsigned context_fork_count(void);

#endif
