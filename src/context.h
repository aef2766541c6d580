/* Where a call is made: one context per thread and one per task. It knows how its owner waits, what
 * limits hold, and whether it was cancelled.
 *
 * Only the owner touches a context, but for `cancelled` and `wake_fd`, which whoever cancels or
 * wakes the owner uses; he holds a lock by then that the owner needs before it can end. */
#ifndef CONTEXT_H
#define CONTEXT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct run;
struct loop;
struct task;

/* What a wait is for: what looking inside tells. `object` is, in this order, */
enum awaits {
    AWAITS_NOTHING,
    AWAITS_OTHER,   /* nothing that has a name */
    AWAITS_TIME,    /* nothing */
    AWAITS_RECEIVE, /* a socket */
    AWAITS_SEND,    /* a socket */
    AWAITS_EITHER,  /* a socket: both */
    AWAITS_CONNECT, /* a socket */
    AWAITS_TURN,    /* a socket: the others that send */
    AWAITS_FD,      /* a descriptor, as a number */
    AWAITS_SIGNAL,  /* the same */
    AWAITS_MUTEX,   /* itself */
    AWAITS_TAKE,    /* a channel: an item */
    AWAITS_ROOM,    /* a channel */
    AWAITS_GROUP,   /* itself */
    AWAITS_OFFLOAD, /* the function */
    AWAITS_ANSWERS, /* nothing: a dump waits for other loops */
    AWAITS_KINDS    /* their number */
};

/* When a wait began and what it is for, in one word: nanoseconds without their lowest byte, and
 * there the enum above. */
#define STAMP_KIND UINT64_C(0xff)

/* Only others can end such a wait. */
static inline bool awaits_others(uint64_t stamp)
{
    switch (stamp & STAMP_KIND) {
    case AWAITS_MUTEX:
    case AWAITS_TAKE:
    case AWAITS_ROOM:
    case AWAITS_GROUP:
        return true;
    default:
        return false;
    }
}

struct context {
    uint64_t deadline_ns; /* the earliest limit that holds; NEVER if none */
    uint32_t depth;       /* scopes that are open */
    bool shielded;        /* a shield holds off cancellation */
    bool kept;            /* the thread's end will release what is below */
    atomic_bool cancelled;
    int32_t budget;      /* calls that still go ahead without a wait until others get their turn */
    _Atomic int wake_fd; /* an eventfd by which others end this thread's waits; -1 until needed */
    struct task *task;   /* NULL in a plain thread */
    struct loop *loop;   /* on which waits park the task; NULL where they block a thread */
    struct run *run;     /* NULL outside weir_run */
    /* Of the last wait: for those who look inside. Stale unless the owner waits. */
    _Atomic uintptr_t awaited;
    _Atomic uint64_t stamp;
    char *story; /* of the last failure that had no socket; NULL if none */
    /* Of the main task of a run that the owner waits for, which is cancelled along with him. */
    _Atomic(struct context *) inner;
};

#define CONTEXT_INIT                                                                               \
    {                                                                                              \
        .deadline_ns = UINT64_MAX, .wake_fd = -1, .budget = INT32_MAX                              \
    }

/* The budget of a task that has just had its turn. */
#define CONTEXT_BUDGET 31

/* A loop's thread changes what is in `context_here` whenever it switches to another task. No task
 * changes its thread, so the address of a thread-local never goes stale across a switch. */
extern _Thread_local struct context context_of_thread
    __attribute__((tls_model("initial-exec"), visibility("hidden")));
extern _Thread_local struct context *context_here
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The context of the caller; never NULL, valid until the task or the thread ends. */
static inline struct context *context_current(void)
{
    struct context *here = context_here;

    return here ? here : &context_of_thread;
}

/* True if waits have to return -ECANCELED. */
static inline bool context_cancelled(const struct context *c)
{
    return atomic_load_explicit(&c->cancelled, memory_order_relaxed) && !c->shielded;
}

/* A call goes ahead: true if it is the others' turn first. */
static inline bool context_spends(struct context *c)
{
    return --c->budget < 0;
}

/* Nothing special holds: no limit, no cancellation, and budget left. */
static inline bool context_plain(struct context *c)
{
    return c->deadline_ns == UINT64_MAX &&
           !atomic_load_explicit(&c->cancelled, memory_order_relaxed) && !context_spends(c);
}

/* Arranges for the thread's end to release what the context owns; to be called before it owns
 * something. A task's context is released by whoever ends the task. */
void context_keep(struct context *c);
void context_release(struct context *c);

/* The wake descriptor of a context, made on first use. Returns it or -errno. */
int context_wake_fd(struct context *c);

/* Ends the wait of the context's owner, or its next one, for him to look again. From any thread. */
void context_wake(struct context *c);

/* Cancels the owner, and whoever he waits for in a run. From any thread. */
void context_cancel(struct context *c);

/* From now on, until context_unnest, a cancel of `outer`, the caller's, goes on to `inner`. */
void context_nest(struct context *outer, struct context *inner);
void context_unnest(struct context *outer);

/* Counts the forks of this process and its ancestors since weir was first used: what was made under
 * another count belongs to the parent. */
unsigned context_fork_count(void);

/* True from the first fork of this process on: a child may keep open what is closed here. */
bool context_has_forked(void);

#endif
