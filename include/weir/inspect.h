/* Looking inside a running program. */
#ifndef WEIR_INSPECT_H
#define WEIR_INSPECT_H

#include <weir/base.h>
#include <weir/task.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the caller ------------------------------------------------------------------------------ */

/* How the caller runs. */
typedef struct weir_run_info {
    int model;          /* WEIR_TASKS or WEIR_THREADS; a plain thread: 0 */
    const char *loop;   /* "epoll", "io_uring", "poll"; "" where there is none. Static text */
    unsigned loops;     /* how many, 0 without */
    const char *reason; /* why this loop: "asked for", "the default", or what kept a better one from
                           being used; "" where there is none. Valid until weir_run returns */
    uint64_t tasks;     /* that live on the caller's loop; 0 without */
    uint64_t switches;  /* of tasks that this loop has made so far */
} weir_run_info;

/* Tells how the calling task or thread runs. `size` is sizeof(weir_run_info): later versions add to
 * the end.
 *
 * Returns 0, or -EINVAL if `ret` is NULL or `size` is unknown. */
WEIR_API int weir_inspect_run(weir_run_info *ret, size_t size);

/* Names the calling task, for dumps and reports: the first 31 bytes of `name` are copied; "" takes
 * the name away. A task without one is shown by the function that it was started with. In a plain
 * thread it does nothing.
 *
 * Returns 0, or -EINVAL if `name` is NULL. */
WEIR_API int weir_task_name(const char *name);

/* ---- counters -------------------------------------------------------------------------------- */

/* What the process has come to since it began, or was forked, and what there is now. Counts of
 * several threads are not of one instant. */
typedef struct weir_counters {
    /* Since then: */
    uint64_t tasks_started; /* main tasks among them */
    uint64_t tasks_most;    /* the most at a time, in one run */
    uint64_t switches;      /* to tasks of loops */
    uint64_t turns;         /* of loops: how often they have asked the kernel */
    uint64_t wakes;         /* tasks that were woken, or started, by other threads */

    /* Now: */
    uint64_t runs;       /* calls of weir_run that go on */
    uint64_t loops;      /* threads that tasks share */
    uint64_t tasks;      /* that have not ended */
    uint64_t stacks;     /* of these runs, that were made for tasks, in pools or not */
    uint64_t stack_most; /* of the one of these that was used most, how many bytes ever: whole
                            pages. What was used by a stack whose memory has gone back to the system
                            since, or was swapped out, is not seen. 0 where only threads run */

    /* Of weir_serve, since then but for `serving`: */
    uint64_t accepted;     /* connections */
    uint64_t serving;      /* connections that have a handler now */
    uint64_t serve_failed; /* handlers that have returned a failure */
    uint64_t accept_rests; /* how often there was no room for the next connection */
} weir_counters;

/* Counts; from anywhere. `size` is sizeof(weir_counters): later versions add to the end. It costs a
 * system call or two for each of `.stacks`; a task that calls it lets others go on meanwhile.
 *
 * Returns 0, or -EINVAL if `ret` is NULL or `size` is unknown. */
WEIR_API int weir_inspect_counters(weir_counters *ret, size_t size);

/* ---- a dump ---------------------------------------------------------------------------------- */

enum {
    WEIR_INSPECT_TEXT = 1, /* for people */
    WEIR_INSPECT_JSON,     /* one object, in one line */
};

/* Tells of all tasks of all runs of the process, and the counters: each task's name or function,
 * what it waits for, on which descriptor and addresses, since when (the beginning of the loop's
 * turn, some milliseconds less or more), how much is left of a limit, how much of its stack is
 * used, and at most was.
 *
 * From any task or thread. Each loop tells of its tasks itself, between two turns, some hundred at
 * a time, so that its tasks go on meanwhile; a task that begins or ends in that time is told of or
 * not. The caller waits for that, as it waits for all else, but takes no notice of limits and
 * cancels; and if it is a task, it lets others go on while it writes. A loop that says nothing for
 * 100 ms, because a task keeps its thread, or for two seconds, because many do for a while each, is
 * shown as busy, without its tasks; one that has been asked in vain several times is so at once,
 * until it has gone on. Names of functions are looked up as by dladdr(3), which waits while some
 * thread is inside dlopen(3). Of tasks that have threads of their own no stacks are told.
 *
 * Stacks: `at most` is in whole pages, and is that of all tasks that had the stack.
 *
 * `write` gets the text in parts, in order, and returns 0, or what ends the dump: a negative. It
 * may wait. The JSON is
 *
 *     {"counters": {as weir_counters}, "runs": [{"model", "loop", "reason", "live", "loops": [
 *         {"number", "thread", "switches", "state": "answered", "busy" or "ended",
 *          "cut": true (there was no memory for all of its tasks), "tasks": [
 *             {"task", "name", "function", "state": "running", "ready" or "parked",
 *              "waits_for", "object", "offloaded", "fd", "local", "peer", "since_ms", "left_ms",
 *              "cancelled", "shielded", "group", "stack", "stack_most", "stack_size"}]}]}]}
 *
 * with what is not known left out. "waits_for" is "receive", "send", "either", "accept", "connect",
 * "turn" (to send), "descriptor", "signal", "time", "mutex", "item" or "room" (of a channel),
 * "group", "offload", "dump" or "other". Bytes of names that are no UTF-8 become U+FFFD. Later
 * versions may add to it.
 *
 * Returns 0, what `write` returned, -EINVAL, or -ENOMEM. */
WEIR_API int weir_inspect_dump(int form, int (*write)(void *arg, const char *part, size_t size),
                               void *arg);

/* The same to a descriptor. One that is O_NONBLOCK and has no room is waited for, under the limits
 * that hold for the caller, until WEIR_EDEADLINE or -ECANCELED; any other blocks the thread. Other
 * errors are those of write(2). A dump that fails may have been written in part. */
WEIR_API int weir_inspect_dump_fd(int form, int fd);

/* ---- the watcher ----------------------------------------------------------------------------- */

enum {
    WEIR_REPORT_STALL = 1,
    WEIR_REPORT_DEADLOCK,
};

/* What the watcher has found. All of it is there until the callback returns. */
typedef struct weir_report {
    int kind;
    const char *text; /* for people: some lines, each with its end */
    /* Of a stall: */
    const char *task;    /* its name, or function; NULL if that could not be found out */
    const char *place;   /* where it was: function and file, with offsets; NULL as before */
    void *const *frames; /* and the calls that lead there, the innermost first, as backtrace(3) */
    unsigned frame_count;
    unsigned loop;   /* its number in its run, from 0 */
    int thread;      /* the system's number for it (gettid(2)) */
    uint64_t for_ms; /* that it has lasted by now */
} weir_report;

/* Made by WEIR_WATCH_OPTIONS(.stall_ms = 200, .stall_signal = SIGUSR2). Each of the three watches
 * is off unless it is asked for. */
typedef struct weir_watch_options {
    size_t size; /* sizeof(weir_watch_options), set by the macro */
    int fd;      /* dumps and reports go there; 0: to standard error. While it has no room nothing
                    else is looked for */
    /* Who gets the reports instead, in the watcher's thread, which is under no limit, has all
     * signals blocked, and must not call weir_inspect_watch. */
    void (*report)(const weir_report *report, void *arg);
    void *arg;

    int dump_signal; /* each one that comes is answered by a dump. It must be blocked in every
                        thread, as for weir_signal_wait */
    int dump_form;   /* 0: WEIR_INSPECT_TEXT */

    int64_t stall_ms; /* a task that keeps its loop's thread for so long is reported, once: it
                         computes, or is in a call that blocks */
    int stall_signal; /* sent to that thread to find out what it does. A handler for it is there as
                         long as the watcher is; the signal must not be blocked. 0: no signal,
                         and nothing of `.task`, `.place` and `.frames` is known */

    int64_t deadlock_ms; /* after so long without any movement it is looked whether there can be any
                            again; if not, that is reported, once */
} weir_watch_options;

#define WEIR_WATCH_OPTIONS(...)                                                                    \
    (&(const weir_watch_options){.size = sizeof(weir_watch_options), __VA_ARGS__})

/* Starts a thread that watches the process, or ends it, if `options` is NULL. One at a time. After
 * fork(2) the child has none.
 *
 * Dumps are as those of weir_inspect_dump; they come also while all loops compute.
 *
 * Stalls are those of tasks that share a thread. Time in which the whole process was stopped does
 * not count. The handler needs nothing of the task's stack: it runs on one that each loop's thread
 * has for handlers (sigaltstack(2)), made by weir unless the program has set one; if that has less
 * than 12 KiB left, no more than the place is found out. Calls that never go on after a signal,
 * such as nanosleep(2) (signal(7)), end early by it. A signal that had its default effect is
 * ignored after the watcher's end, since one may still be on its way, in a thread that had blocked
 * it meanwhile; a handler that the program had before may get that one. A task that is inside
 * dlopen(3) is told of when that has ended.
 *
 * A deadlock is reported if all of this holds at one moment, and so never without being one:
 *
 *     every task of every run waits in weir_mutex_lock, weir_channel_send, weir_channel_recv,
 *     weir_group_wait or weir_group_close, without a limit;
 *     the process has no other threads than those that are inside weir_run or belong to weir.
 *
 * A task that waits for a socket, time, a signal or an offloaded function can wake; a thread of the
 * program's own could wake others; a part of the tasks that is stuck while others go on is not
 * looked for. The callbacks that a program gives to weir's own threads must wake nobody, or this
 * should not be asked for.
 *
 * Returns 0, or
 *   -EINVAL   unknown options, a signal that is none, or cannot be handled, or `.dump_signal` is
 *             not, or `.stall_signal` is, blocked in the calling thread;
 *             weir_error_detail(NULL, …) says which
 *   -EBUSY    there is a watcher
 *   -EMFILE, -ENFILE, -ENOMEM, -EAGAIN   no descriptors, no memory, no threads
 * The end waits for what the watcher is doing just now, a callback among that, but not for room in
 * `.fd`: what finds none then is cut. (A terminal that is stopped, or a pipe that others fill at
 * the same time, holds it up unless it is O_NONBLOCK.) */
WEIR_API int weir_inspect_watch(const weir_watch_options *options);

#ifdef __cplusplus
}
#endif

#endif
