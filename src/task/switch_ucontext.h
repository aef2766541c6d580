/* For any machine whose C library has makecontext(3). Each switch costs a system call or two. */
#ifndef TASK_SWITCH_UCONTEXT_H
#define TASK_SWITCH_UCONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <ucontext.h>

struct switch_point {
    ucontext_t *context; /* on the stack that is stopped */
};

static inline void switch_adopt(struct switch_point *p)
{
    (void)p;
}

void switch_prepare(struct switch_point *p, void *low, void *high, void (*entry)(void *),
                    void *arg);
void switch_registers(struct switch_point *from, struct switch_point *to);

static inline const char *switch_stopped_at(const struct switch_point *p)
{
    (void)p;
    return NULL;
}

/* That is so for some instructions of swapcontext(3), and cannot be told. */
static inline bool switch_begun(const struct switch_point *p, const ucontext_t *interrupted)
{
    (void)p;
    (void)interrupted;
    return false;
}

/* Where a stack has stopped is not known: the caller's has to do. */
static inline void switch_call(const struct switch_point *p, void (*fn)(void *), void *arg)
{
    (void)p;
    fn(arg);
}

#endif
