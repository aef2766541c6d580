/* Tasks: the blocking program, many times at once.
 *
 * A task is a function that runs beside others, on a stack of its own. Where a thread would block,
 * in weir_recv, weir_connect, weir_sleep, only the task waits. What a task is made of is chosen
 * when the program starts:
 *
 *     tasks     stacks that share one thread; a wait parks the task and costs no thread. A hundred
 *               thousand at a time.
 *     threads   a thread of the system for each task.
 *
 * The calls, their results and their rules are the same in both. Tasks that share a thread switch
 * only inside calls of weir: between two calls nothing else of that loop runs, and a loop that
 * computes for long keeps the others waiting (weir_yield, weir_offload). They share the thread's
 * thread-local variables; errno is kept for each.
 *
 * Tasks belong to groups, and a group is closed only when its tasks have ended, so no task outlives
 * what it uses. A task stays on the loop that it was started on.
 *
 * In a child after fork(2) made inside a task, that task goes on as the child's only thread. When
 * its function returns the child ends, by _exit(2), with status 0, or 1 if the result was negative.
 * Groups that were opened before stay with the parent: in the child weir_go and weir_group_wait
 * return -EINVAL on them, weir_group_cancel does nothing, weir_group_close only frees memory. */
#ifndef WEIR_TASK_H
#define WEIR_TASK_H

#include <sys/select.h> /* sigset_t */
#include <weir/base.h>
#include <weir/limit.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- starting ------------------------------------------------------------------------------- */

/* What tasks can be made of. */
enum {
    WEIR_TASKS = 1,
    WEIR_THREADS = 2,
};

/* What waits for the descriptors of the tasks of a thread. */
enum {
    WEIR_LOOP_AUTO = 0, /* what measures best and works here */
    WEIR_LOOP_EPOLL,
    WEIR_LOOP_IO_URING,
    WEIR_LOOP_POLL,
};

/* How to run. Made by WEIR_RUN_OPTIONS(.models = WEIR_TASKS | WEIR_THREADS); what is not named has
 * its default. Later versions add to the end: `size` says how much of it the program knows. */
typedef struct weir_run_options {
    size_t size; /* sizeof(weir_run_options), set by the macro */
    /* What the program is written for; the environment chooses among these. 0: WEIR_TASKS. With
     * several the first of them, in the order above, is the default. */
    unsigned models;
    /* The loop; 0: automatic. One that is named here and does not work is an error. */
    int loop;
    /* How many loops the program is written for, each in a thread of its own. 0: one. So many are
     * started as the machine has processors for, at most. */
    unsigned max_loops;
    /* The stack of a task, in bytes of address space, of which only what is touched costs memory;
     * at least 128 KiB. 0: 256 KiB. */
    size_t stack_size;
} weir_run_options;

#define WEIR_RUN_OPTIONS(...)                                                                      \
    (&(const weir_run_options){.size = sizeof(weir_run_options), __VA_ARGS__})

/* Calls `main(arg)` as the first task and returns when it has returned and every other task started
 * since has ended. Tasks that are left when `main` returns are cancelled.
 *
 * The environment chooses, among what `options` (may be NULL) allows:
 *
 *     WEIR_MODEL   tasks, threads
 *     WEIR_LOOP    auto, epoll, io_uring, poll
 *     WEIR_LOOPS   how many loops; at most .max_loops
 *
 * A value that does not fit is an error, never ignored; weir_error_detail(NULL, …) says which.
 * Programs with raised privileges do not read it (secure_getenv(3)).
 *
 * It may be called again, and in several threads at once: each call has its own tasks and loops.
 * Called in a task that has a thread of its own, the limit and the shield that hold there hold for
 * `main` too, and a cancel of that task is one of `main`.
 *
 * Returns 0, and what `main` returned in `*result` if that is not NULL; or, and then `main` has not
 * been called,
 *   -EINVAL  `main` is NULL, unknown options, a stack that is too small, or the environment asks
 *            for what is unknown or not allowed
 *   -EBUSY   the caller is a task that shares its thread
 *   -ENOMEM, -EMFILE, -ENFILE, -EAGAIN   no memory, descriptors or threads
 *   -ENOSYS, -EPERM or another errno of the kernel: the loop that was named does not work here */
WEIR_API int weir_run(int (*main)(void *), void *arg, const weir_run_options *options, int *result);

/* ---- groups --------------------------------------------------------------------------------- */

/* Tasks that are waited for and cancelled together. Outside weir_run its tasks are threads. */
typedef struct weir_group weir_group;

/* Made by WEIR_GROUP_OPTIONS(.fail_fast = true). */
typedef struct weir_group_options {
    size_t size;    /* sizeof(weir_group_options), set by the macro */
    bool fail_fast; /* the first task that returns a negative result cancels the group */
    bool spread;    /* new tasks go round the loops of weir_run and do not stay on the caller's */
} weir_group_options;

#define WEIR_GROUP_OPTIONS(...)                                                                    \
    (&(const weir_group_options){.size = sizeof(weir_group_options), __VA_ARGS__})

/* Opens a group. Whoever opens it closes it. `options` may be NULL.
 *
 * Returns 0, -ENOMEM, or -EINVAL if `ret` is NULL or the options are unknown. */
WEIR_API int weir_group_open(weir_group **ret, const weir_group_options *options);

/* Starts a task that calls `fn(arg)`: 0 or more is success, negative is failure. It runs when the
 * caller waits or yields next, or at once on another thread. The limit and the shield that hold for
 * the caller now hold for it too.
 *
 * A task that was started always runs, in a group that is cancelled too, if only to see that. May
 * be called from any task or thread while the group is open.
 *
 * Returns 0, or
 *   -EINVAL  `g` or `fn` is NULL
 *   -ENOMEM  no memory, or no address space for a stack with its guard
 *   -EAGAIN  threads: the limit of the system is reached */
WEIR_API int weir_go(weir_group *g, int (*fn)(void *arg), void *arg);

/* The same with a copy of `size` bytes at `arg`, at most 16 KiB, which lives as long as the task,
 * aligned for any type. Also -EINVAL if it is larger, or `arg` is NULL and `size` is not 0. */
WEIR_API int weir_go_copy(weir_group *g, int (*fn)(void *arg), const void *arg, size_t size);

/* Starts a task for a connection: `handler(s, arg)`, then weir_close(s). The task has the caller's
 * reference of `s` from now on; it is closed also if the task cannot be started.
 *
 * Returns as weir_go. */
WEIR_API int weir_go_socket(weir_group *g, int (*handler)(weir_socket *s, void *arg),
                            weir_socket *s, void *arg);

/* Waits until all tasks of the group have ended. More may be started afterwards.
 *
 * Returns 0 (whatever the tasks returned), or why it stopped waiting:
 *   -ECANCELED      the caller's own group was cancelled
 *   WEIR_EDEADLINE  a limit of the caller passed
 *   -EDEADLK        the caller is a task of this group
 *   -EINVAL         `g` is NULL
 * In each case but the last the result of the first task that failed is in `*first_failure`, 0 if
 * none has as yet; it may be NULL. */
WEIR_API int weir_group_wait(weir_group *g, int *first_failure);

/* Cancels all tasks of the group, and those that are started later: every call of theirs that waits
 * or would wait returns -ECANCELED, again and again, until the task returns. What has happened in
 * the same instant is not lost: a call that has moved bytes, accepted or connected says so. Calls
 * on sockets in non-blocking mode do not wait and take no notice.
 *
 * From any task or thread. Returns 0 (also for NULL). */
WEIR_API int weir_group_cancel(weir_group *g);

/* Cancels the group, waits for the end of its tasks, whatever limits or cancels hold for the
 * caller, and frees it. NULL is allowed.
 *
 * Returns 0, or -EDEADLK, with nothing done, if the caller is a task of this group. */
WEIR_API int weir_group_close(weir_group *g);

/* ---- inside a task, or a thread -------------------------------------------------------------- */

/* Waits for `timeout_ms` milliseconds; negative: until cancelled, or for ever in a plain thread.
 *
 * Returns 0, -ECANCELED, or WEIR_EDEADLINE if a limit passes first. */
WEIR_API int weir_sleep(int64_t timeout_ms);

/* Lets the other tasks of the thread that can run go first; if there are none, those that have
 * become ready meanwhile.
 *
 * Returns 0, -ECANCELED or WEIR_EDEADLINE: a loop that computes and calls it can be ended. */
WEIR_API int weir_yield(void);

/* Calls `fn(arg)` on a thread where it may block or compute for long, and waits for its end; in a
 * task that has a thread of its own, and in a plain thread, right there. A process has at most four
 * threads for this, which come when they are needed and go when they are not; further calls wait
 * their turn. Once `fn` has begun neither limits nor cancels are looked at, since it uses what
 * belongs to the caller; calls of weir inside `fn` on such a thread are those of a plain thread,
 * under no limit. If `fn` forks there and returns in the child too, the child ends, by _exit(2)
 * with status 0.
 *
 * Returns 0: `fn` has been called and has returned; or, and then it has not been called,
 *   -ECANCELED, WEIR_EDEADLINE   as ever
 *   -EINVAL                      `fn` is NULL
 *   -ENOMEM, -EAGAIN             there is no thread, and none can be started */
WEIR_API int weir_offload(void (*fn)(void *arg), void *arg);

/* Waits for one of the signals of `set` and takes it (signalfd(2)); one that has come already is
 * there to be taken. Of several that wait for the same signal one gets it.
 *
 * Nothing is installed and nothing is blocked: the signals must be blocked in every thread, or they
 * take their usual effect. So block them with pthread_sigmask(3) before weir_run, and before there
 * are other threads; programs that are started later inherit that, unless they are told otherwise.
 *
 * Returns the signal's number, or
 *   -ECANCELED, WEIR_EDEADLINE
 *   -EINVAL                      `set` is NULL, has no signal that could be waited for, or has one
 *                                that is not blocked in the calling thread
 *   -EMFILE, -ENFILE, -ENOMEM    no descriptor, no memory */
WEIR_API int weir_signal_wait(const sigset_t *set);

/* ---- mutex ----------------------------------------------------------------------------------- */

/* A lock that may be held while waiting, between tasks, threads and loops, in any mixture. A value:
 * zeroed is unlocked, there is nothing to free; not to be copied or moved. Whoever waits longest
 * gets it next. Whoever knows that nobody else will lock it may unlock it and free its memory at
 * once. The fields are weir's own. */
typedef struct weir_mutex {
    uint32_t weir_word;
    uint32_t weir_spare;
    void *weir_first, *weir_last;
} weir_mutex;

#define WEIR_MUTEX_INIT                                                                            \
    {                                                                                              \
        0, 0, NULL, NULL                                                                           \
    }

/* Locks. Not recursive: a second lock by its holder waits for ever.
 *
 * Returns 0: locked; or, and then it is not,
 *   -ECANCELED, WEIR_EDEADLINE   only if it had to wait
 *   -EINVAL                      `m` is NULL
 *   -ENOMEM                      no memory to wait with */
WEIR_API int weir_mutex_lock(weir_mutex *m);

/* The same without waiting: 0, -EAGAIN if somebody holds it, or -EINVAL. */
WEIR_API int weir_mutex_try_lock(weir_mutex *m);

/* Unlocks; never waits. By whoever locked it. Returns 0, or -EINVAL if `m` is NULL, -EPERM if it is
 * not locked. */
WEIR_API int weir_mutex_unlock(weir_mutex *m);

/* ---- channel --------------------------------------------------------------------------------- */

/* Items of one size, in order, between tasks, threads and loops, in any mixture and number. */
typedef struct weir_channel weir_channel;

/* Opens a channel with room for `capacity` items; 0: each item is handed over, the sender waits for
 * its receiver.
 *
 * Returns 0, -ENOMEM, or -EINVAL if `ret` is NULL, `item_size` is 0, or all items together are
 * larger than any memory. */
WEIR_API int weir_channel_open(weir_channel **ret, size_t item_size, size_t capacity);

/* One more owner; each ends its own with weir_channel_close. Returns `c`. */
WEIR_API weir_channel *weir_channel_ref(weir_channel *c);

/* Sends a copy of the item. Waits while there is no room; senders go in order.
 *
 * Returns 0: the item is in the channel, or was handed over; or, and then it is not,
 *   WEIR_ECLOSED   no more items are taken
 *   -ECANCELED, WEIR_EDEADLINE
 *   -EINVAL        `c` or `item` is NULL
 *   -ENOMEM        no memory to wait with */
WEIR_API int weir_channel_send(weir_channel *c, const void *item);

/* Receives an item into `item`. Waits while there is none; receivers go in order.
 *
 * Returns 1, 0 if the channel is shut and empty, or, and then no item was taken, -ECANCELED,
 * WEIR_EDEADLINE, -EINVAL, -ENOMEM. */
WEIR_API int weir_channel_recv(weir_channel *c, void *item);

/* The same without waiting: -EAGAIN where the others would. */
WEIR_API int weir_channel_try_send(weir_channel *c, const void *item);
WEIR_API int weir_channel_try_recv(weir_channel *c, void *item);

/* Takes no more items: senders, those that wait too, get WEIR_ECLOSED; receivers get what is there
 * and then 0. From any task or thread. Returns 0 (also for NULL). */
WEIR_API int weir_channel_shut(weir_channel *c);

/* Shuts the channel and ends the caller's ownership; with the last it is freed, and items that
 * nobody has received are gone. Nobody may be in a call on `c` without owning it. Returns 0 (also
 * for NULL). */
WEIR_API int weir_channel_close(weir_channel *c);

#ifdef __cplusplus
}
#endif

#endif
