/* Somebody whom others wait for until he sleeps: a thread, or a task that shares its thread. */
#ifndef ASLEEP_H
#define ASLEEP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

struct task;

struct somebody {
    _Atomic pid_t tid;           /* of his thread, which he may share; 0 until he runs */
    _Atomic(struct task *) task; /* NULL if he has the thread for himself */
    atomic_bool ended;
};

/* He is whoever calls this, from now until somebody_ends. */
void somebody_is_me(struct somebody *b);
void somebody_ends(struct somebody *b);

/* Returns when he sleeps, or has ended. The others of the caller's thread get their turn at least
 * once, whatever limits and cancels hold for the caller. */
void somebody_until_asleep(const struct somebody *b);

/* Lets others go first, whoever the caller is, whatever holds for him. */
void give_way(void);

#endif
