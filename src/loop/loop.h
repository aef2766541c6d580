/* A loop: what waits for descriptors and timers on behalf of one thread's tasks.
 *
 * loop.c keeps a slot for each descriptor and knows who waits for it; the backends, one file each
 * behind one table, only learn what to watch and report what has happened. They know nothing of
 * sockets. All but `wake` is called by the loop's own thread.
 *
 * A slot lives longer than what the descriptor's number stands for: each time a number is watched
 * anew the slot's generation changes, and an event carries the generation it was asked for under.
 * So nothing stale reaches whoever has the number next, and nobody has to tell a loop that a
 * descriptor was closed. */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include "../heap.h"
#include "../task/task.h"

#include <poll.h>
#include <stdatomic.h>

/* A task waits for a descriptor; on its stack. */
struct arm {
    struct arm *next;
    struct task *task;
    int fd;
    uint32_t generation; /* of the slot when it was armed */
    bool linked;         /* in the list of its slot */
    short events;        /* POLLIN, POLLOUT */
    short got;           /* what ended the wait; POLLERR, POLLHUP and POLLNVAL may be among it */
};

struct slot {
    struct arm *arms;
    /* Waits for POLLIN without an arm and receives next, whatever has come (loop_await). */
    struct task *receiver;
    uint32_t generation;
    short watched; /* what the backend reports without being asked again */
    short ready;   /* reported while nobody waited for it: possibly stale */
    bool told;     /* something has come, and whoever heard of it may have left it where it was */
    bool ended;    /* hung up, or failed: what is read next may be the end */
};

/* Where a descriptor is being watched: in which loop (the upper half), under which generation. Kept
 * by whoever owns the descriptor; zero is nowhere. Any loop may change it. */
struct home {
    _Atomic uint64_t key;
};

/* An operation that a loop carries out itself (optional in a backend): LOOP_RECV waits until there
 * is something, LOOP_SEND does not wait for room (-EAGAIN). */
enum loop_operation_kind { LOOP_RECV, LOOP_SEND };

struct loop_operation {
    enum loop_operation_kind kind;
    int fd;
    union {
        void *buf;       /* of LOOP_RECV */
        const void *out; /* of LOOP_SEND */
    };
    size_t len;
    int flags;
    struct task *task; /* woken when it is done */
    ssize_t result;    /* a count or -errno */
    bool done;
    struct loop_operation *next; /* the backend's */
};

struct loop_ops {
    const char *name;
    /* What is watched, or was until just now, keeps the kernel's file open. */
    bool keeps_files;
    /* Sets up `l->backend`: 0 or -errno, with the step that failed in `*ret_step`. */
    int (*open)(struct loop *l, const char **ret_step);
    void (*close)(struct loop *l);
    /* From now on, reports through loop_report when one of `events` holds or comes to hold on `fd`,
     * a first time even if it holds already; at least once, repeatedly if `slot->watched` is left
     * set when it has reported. `fresh`: nothing is known of this number under the
     * slot's generation; otherwise `slot->watched` was asked for before. Sets `slot->watched` to
     * what it will go on reporting. 0, 1 if the descriptor is of a kind that is always ready, or
     * -errno. */
    int (*watch)(struct loop *l, int fd, struct slot *slot, short events, bool fresh);
    /* Nobody waits for the descriptor any more, or (`gone`) the number is about to be closed. Sets
     * `slot->watched`. */
    void (*unwatch)(struct loop *l, int fd, struct slot *slot, bool gone);
    /* Waits until something happens, `until_ns` (NEVER) at the latest, 0: only looks; and reports.
     * 0 or -errno; -EINTR is 0. */
    int (*turn)(struct loop *l, uint64_t until_ns);
    /* Ends a turn, from any thread. */
    void (*wake)(struct loop *l);
    /* Optional. Starts an operation: 0 or -errno. When it is done, loop_done is called. */
    int (*start)(struct loop *l, struct loop_operation *op);
    /* Asks for its end; it still ends by loop_done, possibly with success. */
    void (*cancel)(struct loop *l, struct loop_operation *op);
};

extern const struct loop_ops loop_epoll;
extern const struct loop_ops loop_io_uring; /* not in every build: see loop_find */
extern const struct loop_ops loop_poll;

struct loop {
    const struct loop_ops *ops;
    void *backend;
    struct run *run;
    uint32_t id;     /* never 0, never used again in this process */
    unsigned number; /* in its run */

    struct slot *slots; /* by descriptor */
    int slot_count;
    uint32_t generation; /* the last that a slot was given */

    int *errno_here;      /* the thread's: to ask for the address takes a call */
    struct fiber fiber;   /* the thread's own stack, where the loop itself runs */
    struct task *running; /* NULL on the loop's own stack */
    struct task *ready, **ready_end;
    unsigned ready_count;
    uint64_t switches;    /* to tasks; others look at it (loop_count) */
    uint64_t turn_end;    /* so many may there be until the loop looks again */
    struct task *yielded; /* waits for the loop to have looked, and nothing else */
    struct task *ended;   /* has just left its stack, which the next one gives back */
    struct task *all;
    size_t tasks;
    uint64_t turn_ns;   /* when this turn began, about, without its lowest byte */
    uint64_t turns;     /* odd: it waits for the kernel, or has ended; others look at it */
    uint64_t started;   /* tasks; others look at it */
    uint64_t posts;     /* that others have made; they look at it */
    bool cancelled_all; /* the run is ending, and its tasks know */
    struct heap timers;
    struct stack_cache stacks;

    _Atomic(struct task *) inbox;
    atomic_bool asleep; /* or about to be: whoever posts has to wake it */

    /* What others want to know (inspect_ask.c). */
    _Atomic(struct question *) asked;
    struct question *question; /* that is being answered */
    struct task *next_told;    /* where that goes on */
    atomic_uint abandoned;     /* of all questions, those that nobody waits for any more */
    _Atomic pid_t tid;
    struct {
        uint64_t turns, switches; /* when it was looked at last, and that was */
        uint64_t looked_ns;       /* then; 0: never */
        uint64_t for_ns;          /* so long they have been the same by then, at least */
        bool told;
    } watched; /* the watcher's (stall.c) */
};

/* Counts for others to see: one thread writes. */
static inline void loop_count(uint64_t *counter, uint64_t more)
{
    __atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

static inline uint64_t loop_counted(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* The loop of the calling thread, NULL if it has none. */
extern _Thread_local struct loop *loop_here
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The backend of that kind (WEIR_LOOP_EPOLL …), or NULL if it is not in this build. */
const struct loop_ops *loop_find(int kind);

/* A loop of the run for the calling thread: 0 or -errno, and the step that failed. */
int loop_open(struct loop **ret, const struct loop_ops *ops, struct run *run,
              const char **ret_step);
void loop_close(struct loop *l);

/* Runs tasks until `*done`, which a task or a turn makes true. */
void loop_run(struct loop *l, bool (*done)(struct loop *l));

/* Lets `a` wait for `events` on `fd`: when one of them holds, its task is woken and `a->got` says
 * which; a first time even if it holds already. `home` remembers where the descriptor is watched,
 * so that the next wait costs nothing; NULL for one that is waited for only once. Returns 0, or 1
 * if it may hold already (then nothing is armed), or -errno. */
int loop_arm(struct loop *l, struct arm *a, int fd, short events, struct home *home);
/* Ends the wait, whether or not something came. `home` as before. */
void loop_disarm(struct loop *l, struct arm *a, const struct home *home);

/* The number is about to be closed, or taken away: it is not watched any more. */
void loop_forget(struct loop *l, int fd, struct home *home);

/* The same for one that is really closed right after, which epoll(7) notices by itself. */
void loop_closing(struct loop *l, int fd, struct home *home);

/* ---- for backends ---------------------------------------------------------------------------- */

/* What a backend gets back from the kernel: a descriptor and its generation. */
static inline uint64_t loop_key(int fd, uint32_t generation)
{
    return (uint64_t)generation << 32 | (uint32_t)fd;
}

void loop_done(struct loop *l, struct loop_operation *op, ssize_t result);

/* ---- the short way --------------------------------------------------------------------------- */

static inline bool slot_is_home(const struct loop *l, const struct slot *slot,
                                const struct home *home)
{
    return home && atomic_load_explicit(&home->key, memory_order_relaxed) ==
                       ((uint64_t)l->id << 32 | slot->generation);
}

/* The wait that tasks do most: the running one waits for what comes to `fd`, which the last read
 * has found empty. False, and nobody waits, if that is not watched for here, or if something may
 * have come since. */
static inline bool loop_await(struct loop *l, int fd, const struct home *home)
{
    if ((unsigned)fd >= (unsigned)l->slot_count)
        return false;
    struct slot *slot = &l->slots[fd];
    if (!slot_is_home(l, slot, home) || slot->ended || slot->told || slot->ready & POLLIN ||
        !(slot->watched & POLLIN) || slot->receiver) {
        slot->told = false;
        return false;
    }
    slot->receiver = l->running;
    return true;
}

void loop_await_no_more(struct loop *l, int fd);

/* Ends the wait. True if something has come. */
static inline bool loop_awaited(struct loop *l, int fd)
{
    if (l->slots[fd].receiver != l->running)
        return true;
    loop_await_no_more(l, fd);
    return false;
}

static inline void loop_make_ready(struct loop *l, struct task *t)
{
    t->state = TASK_READY;
    t->next_ready = NULL;
    *l->ready_end = t;
    l->ready_end = &t->next_ready;
    l->ready_count++;
}

/* The running task, whose context this is, is about to wait. */
static inline void task_notes(struct context *c, enum awaits awaits, uintptr_t object)
{
    atomic_store_explicit(&c->awaited, object, memory_order_relaxed);
    atomic_store_explicit(&c->stamp, c->loop->turn_ns | awaits, memory_order_relaxed);
}

/* task_wake, for a task of the loop whose thread this is. */
static inline void task_wake_here(struct loop *l, struct task *t)
{
    if (t->state == TASK_PARKED)
        loop_make_ready(l, t);
}

void loop_report_to_all(struct loop *l, struct slot *slot, short events);

/* For backends. `events` (POLLIN, POLLOUT, POLLERR, POLLHUP, POLLRDHUP, POLLNVAL) hold on a
 * descriptor. Stale keys are ignored. */
static inline void loop_report(struct loop *l, uint64_t key, short events)
{
    uint32_t fd = (uint32_t)key;

    if (fd >= (uint32_t)l->slot_count || l->slots[fd].generation != (uint32_t)(key >> 32))
        return;
    struct slot *slot = &l->slots[fd];
    struct task *t = slot->receiver;
    if (events != POLLIN || !t || slot->arms) {
        loop_report_to_all(l, slot, events);
        return;
    }
    slot->receiver = NULL;
    task_wake_here(l, t);
}

/* Before events are reported. */
static inline void loop_fetch_slot(const struct loop *l, uint64_t key)
{
    if ((uint32_t)key < (uint32_t)l->slot_count)
        __builtin_prefetch(&l->slots[(uint32_t)key]);
}

static inline void loop_fetch_receiver(const struct loop *l, uint64_t key)
{
    if ((uint32_t)key < (uint32_t)l->slot_count)
        __builtin_prefetch(l->slots[(uint32_t)key].receiver);
}

#endif
