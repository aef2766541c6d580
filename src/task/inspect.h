/* Looking inside: the runs of the process, and what is asked of their loops.
 *
 * What a loop knows of its tasks belongs to its thread. So it is asked a question, answers between
 * two turns, a slice at a time, and whoever asked sleeps meanwhile, as long as it goes on.
 *
 * Locks: that of the runs is taken first of all, and nobody waits while he holds it. */
#ifndef TASK_INSPECT_H
#define TASK_INSPECT_H

#include "../loop/loop.h"
#include "task.h"

#include <weir/address.h>
#include <weir/inspect.h>

/* ---- inspect.c: the runs --------------------------------------------------------------------- */

/* From here on others see the run, its loops and its main task; until inspect_ends. */
void inspect_begins(struct run *run);
void inspect_ends(struct run *run);

/* All runs of the process, which stay while they are locked. */
struct run *runs_lock(void);
uint64_t runs_generation(void); /* how many have begun and ended (runs) */
void runs_unlock(void);

/* ---- inspect_ask.c: questions ---------------------------------------------------------------- */

/* NEVER if it is not armed. */
static inline uint64_t timer_until(const struct timer *t)
{
    return t->place ? t->at_ns : NEVER;
}

/* A task as it was at one moment. */
struct seen_task {
    const void *self, *group;
    uintptr_t fn, object;
    char name[TASK_NAME_SIZE];
    uint64_t since_ns, until_ns;              /* NEVER: no limit */
    size_t stack_size, stack_most, stack_now; /* 0: not known */
    weir_address local, peer;                 /* AF_UNSPEC: none, or not known */
    int fd;                                   /* -1: none */
    uint8_t awaits, state;
    bool cancelled, shielded, listens;
    bool threaded;
};

/* A loop does not copy what it has told: the list is in parts. */
struct seen_part {
    struct seen_part *next;
    size_t count;
    struct seen_task list[64];
};

struct seen_tasks {
    struct seen_part *first, *last;
    bool cut; /* without memory for more */
};
struct seen_task *seen_more(struct seen_tasks *all);

/* What a loop is asked for: all of its tasks, or whether nothing but tasks could wake them. */
enum asks { ASKS_TASKS, ASKS_DEAD };

/* A question to one loop. It has two owners: who asks, and the loop until it has answered. */
struct question {
    struct question *next;
    struct inquiry *inquiry;
    enum asks asks;
    struct loop *loop; /* there as long as the question is ASKED; NULL for threads */
    /* UNANSWERED: the loop has ended; BUSY: it was not even asked. (inquiry) */
    enum { ASKED, ANSWERED, UNANSWERED, BUSY } state;
    struct seen_tasks seen;
    bool dead;         /* all of its tasks wait for others, for ever */
    uint64_t switches; /* when that was so */
    /* Of the loop, when it was asked. */
    const struct run *run; /* only to be compared */
    int model;
    char reason[128];
    size_t live;
    unsigned loops, number;
    const char *loop_name; /* "": its tasks are threads, and it has answered already */
    pid_t tid;
    uint64_t was_switches;
};

/* Who asks, and all that he asks. */
struct inquiry {
    pthread_mutex_t lock;
    unsigned holders;    /* (lock) */
    unsigned open;       /* questions that are not answered (lock) */
    uint64_t progress;   /* (lock) */
    bool closed;         /* nobody wants to know any more (lock) */
    uint64_t generation; /* of the runs */
    struct sleeper *sleeper;
    unsigned count;
    struct question questions[];
};

/* Asks every loop of the process and waits, until nothing more has been said for a while. NULL
 * without memory. To be closed. */
struct inquiry *inquiry_make(enum asks asks);
/* ASKED: not as yet; what is there of it is the loop's still. */
int question_state(const struct question *question);
void inquiry_close(struct inquiry *q);

/* The loop answers: the part of a turn. */
void question_answer(struct loop *l);
/* It will not, since it ends. */
void question_drop_all(struct loop *l);

/* The tasks of a run of the threads model. (runs) */
void see_threads(struct run *run, struct seen_tasks *all);
/* True if they all wait for others, for ever; and how often they have slept. (runs) */
bool see_threads_dead(struct run *run, uint64_t *ret_sleeps);

/* ---- inspect_see.c --------------------------------------------------------------------------- */

/* What can be seen of a task of the calling thread's loop. */
void see_task(struct loop *l, const struct task *t, struct seen_task *seen);
/* The addresses of a descriptor that stays open. */
void see_addresses(int fd, struct seen_task *seen);

#endif
