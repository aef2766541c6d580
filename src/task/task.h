/* Tasks, their groups, and the run that they belong to.
 *
 *     struct run     one call of weir_run: the model, the loops, the arena of stacks
 *     struct loop    one thread's descriptors, timers and queue of tasks that can run (loop/loop.h)
 *     weir_group     tasks that are waited for and cancelled together
 *     struct task    one function that runs beside others
 *
 * A task of a loop lies at the top of its own stack; a task of the threads model lies in the heap.
 * A task is in the list of its group from weir_go until its function has returned, and in the list
 * of all tasks of its loop, or run, for those who look inside.
 *
 * Locks: a group's lock is taken under no other lock of weir, but for that of a listener (serve.c),
 * a run's also under that of all runs (inspect.h); and of weir's only the one for nested runs
 * (context.c) is taken under them. */
#ifndef TASK_TASK_H
#define TASK_TASK_H

#include "../context.h"
#include "../heap.h"
#include "fiber.h"
#include "stack.h"

#include <pthread.h>
#include <weir/task.h>

enum task_state {
    TASK_PARKED,  /* waits for a wake */
    TASK_READY,   /* in its loop's queue */
    TASK_RUNNING, /* its loop's thread is on its stack */
    TASK_ENDED,   /* its stack goes to the pool as soon as nobody points here */
    TASK_NEW,     /* not yet known to its loop: from another thread, it comes through the inbox */
};

#define TASK_NAME_SIZE 32

struct task {
    /* The first line of the cache is what a switch touches, the second what calls look at. */
    _Alignas(64) struct stack stack; /* first; not of threads */
    struct task *next_ready;         /* in the queue of its loop */
    enum task_state state;
    bool timed_out;     /* the timer has ended the wait */
    struct fiber fiber; /* not of threads */

    struct context context;

    int (*fn)(void *arg);
    void *arg;
    int (*handler)(weir_socket *s, void *arg); /* of weir_go_socket, instead of fn */
    weir_socket *socket;                       /* closed when the handler has returned */
    uintptr_t shown;                           /* the program's function, for dumps */

    weir_group *group;           /* NULL: the main task of a run */
    struct task *next_in_group;  /* (group) */
    struct task **link_in_group; /* (group) */
    struct task *next_of_all;    /* of the loop (its thread) or the run (its lock) */
    struct task **link_of_all;
    pthread_t thread; /* of threads */

    char name[TASK_NAME_SIZE]; /* "": none. Of threads under the run's lock */
    /* Of threads, which are looked at from elsewhere: the last sleep, as in `context`. */
    _Atomic uint64_t until_ns;
    _Atomic uint32_t sleeps;
    _Atomic int awaited_fd;

    struct timer timer;
    _Atomic(struct task *) next_posted; /* in the inbox of its loop */
    atomic_bool posted;                 /* it is in there, or on its way */
};

#define LOOPS_MAX 64

struct run {
    int model;        /* WEIR_TASKS or WEIR_THREADS */
    char reason[128]; /* for this loop */
    struct stack_arena stacks;
    size_t stack_size;
    struct loop *loops[LOOPS_MAX];
    pthread_t loop_threads[LOOPS_MAX]; /* all but the first are the run's to join */
    unsigned loop_count;
    struct context *outer; /* who called weir_run; a cancel of it is one of the main task */
    int (*main)(void *arg);
    void *arg;
    int result;
    atomic_uint next_loop; /* for groups that are spread */
    atomic_size_t live;    /* tasks that have not ended */
    atomic_size_t most;    /* of them at a time */
    atomic_bool ending;    /* the main task has returned: all others are cancelled */
    struct run *next;      /* of all runs (inspect.c), the newest first */
    struct run **link;
    uint64_t number;        /* higher than that of all before */
    unsigned lookers;       /* at its stacks: it stays for them (runs) */
    bool leaves;            /* it gets no more of those (runs) */
    pthread_mutex_t lock;   /* for what follows */
    struct task *threads;   /* the tasks of the threads model */
    struct task *first;     /* its main task */
    uint64_t started;       /* tasks of the threads model */
    struct sleeper *waiter; /* for the last of them to end */
};

/* ---- task.c: tasks of a loop ----------------------------------------------------------------- */

/* A task on a stack of its own, parked and known to nobody; `size` bytes at `arg` are copied onto
 * its stack unless size is 0. NULL without memory. */
struct task *task_new(struct loop *l, int (*fn)(void *), const void *arg, size_t size);

/* Hands a new task to its loop, from any thread; it belongs to the loop from now on. */
void task_start(struct task *t);

/* Lets the calling task, which is of the loop `l`, wait for task_wake or until `until_ns`. Returns
 * false if time was up. It may return for no reason. errno is kept. */
bool task_park(struct loop *l, uint64_t until_ns);

/* Ends the wait of a task, from any thread. While it does not wait this does nothing, unless it
 * comes from another thread: then its next wait may end for no reason.
 *
 * A task that has ended must not be woken; its stack may be another's by then. So whoever wakes
 * holds a lock under which the task, before it ends, is taken from where he found it:
 *
 *     a group's        its list of tasks, for cancels
 *     context.c's      the main task of a nested run, for cancels
 *     a socket's       its waiters, and `receiver` and `sender`: the task leaves these without the
 *                      lock, but passes through it if the socket has been closed (socket_leave)
 *     of a mutex, a channel, a group, a run, an offload, a flag   who sleeps there (struct sleeper)
 *
 * The loop's own thread needs none: for its timers, arms, operations, and the list of all. */
void task_wake(struct task *t);

/* The calling task goes to the end of its loop's queue. If it is alone, the loop first looks what
 * has become ready. */
void task_yield(struct loop *l);

/* Calls `fn(arg)`, from a task of a loop on the loop's own stack, which rests meanwhile: what needs
 * much stack so takes no pages of each task's, and is in the cache when the next one needs it. `fn`
 * is in no task: a wait in it would block the thread. */
void task_call_deep(void (*fn)(void *arg), void *arg);

/* What the loop does with tasks; called by its thread, outside any task. */
void task_run_ready(struct loop *l);    /* those that are ready now, each once */
void task_take_inbox(struct loop *l);   /* those that others have woken or started */
void task_take_yielded(struct loop *l); /* the one that has let what is ready now go first */
void task_run_timers(struct loop *l);   /* those whose time is up; tells the turn's time */
void task_cancel_all(struct loop *l);

/* The limit and the shield that hold for the caller hold for `t`, which has not begun. */
static inline void task_inherit(struct task *t)
{
    const struct context *c = context_current();

    t->context.deadline_ns = c->deadline_ns;
    t->context.shielded = c->shielded;
}

/* ---- thread_model.c -------------------------------------------------------------------------- */

/* As task_new, for a task with a thread of its own. `run` may be NULL. */
struct task *thread_task_new(struct run *run, int (*fn)(void *), const void *arg, size_t size);

/* Starts its thread, which frees the task at its end. 0, or -errno: then the task is the caller's
 * still. */
int thread_task_start(struct task *t);
void thread_task_free(struct task *t);

void thread_task_cancel_all(struct run *run);

/* A task with a thread of its own is about to sleep, and has slept. */
void thread_task_notes(struct context *c, enum awaits awaits, uintptr_t object, int fd,
                       uint64_t until_ns);
void thread_task_goes_on(struct context *c);

/* ---- group.c --------------------------------------------------------------------------------- */

/* As weir_go_copy, on that loop of the group's run (NULL: as the group says), and under no limit or
 * shield of the caller. `shown` is the program's function that `fn` calls, for dumps; 0: none. */
int group_go_on(weir_group *g, struct loop *loop, int (*fn)(void *), const void *arg, size_t size,
                uintptr_t shown);

/* Runs what a task is for, and leaves the group. The caller releases the rest. Returns the task's
 * result. */
int group_run_task(struct task *t);

/* ---- signal.c -------------------------------------------------------------------------------- */

/* 0 if the caller can wait for such signals, else -EINVAL. */
int signal_check(const sigset_t *set);

/* ---- run.c ----------------------------------------------------------------------------------- */

/* A task of the run is about to be started. */
static inline void run_task_starts(struct run *run)
{
    size_t live = atomic_fetch_add_explicit(&run->live, 1, memory_order_relaxed) + 1;
    size_t most = atomic_load_explicit(&run->most, memory_order_relaxed);

    while (live > most && !atomic_compare_exchange_weak_explicit(
                              &run->most, &most, live, memory_order_relaxed, memory_order_relaxed))
        continue;
}

/* A task of the run has ended. */
void run_task_ended(struct run *run);

/* What options and environment have come to. settings.c */
struct settings {
    int model, loop;
    unsigned loops;
    size_t stack_size;
};
int settings_read(const weir_run_options *options, struct settings *ret);

#endif
