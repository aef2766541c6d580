/* For any machine whose C library has makecontext(3). Each switch costs a system call or two. */
#ifndef TASK_SWITCH_UCONTEXT_H
#define TASK_SWITCH_UCONTEXT_H

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

/* Where a stack has stopped is not known: the caller's has to do. */
static inline void switch_call(const struct switch_point *p, void (*fn)(void *), void *arg)
{
    (void)p;
    fn(arg);
}

#endif
