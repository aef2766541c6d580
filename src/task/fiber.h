/* Fibers: several stacks in one thread, and the switch between them.
 *
 * switch.h is the switch itself; fiber.c is what the tools need to know: ASan and TSan are told of
 * each stack and each switch, so that a task's stack is a stack to them (Valgrind is told by
 * stack.c). In a release build there is nothing but the switch. */
#ifndef TASK_FIBER_H
#define TASK_FIBER_H

#include "sanitizer.h"
#include "switch.h"

#include <stddef.h>

struct fiber {
    struct switch_point point; /* while it is stopped */
#if SANITIZER_ADDRESS
    const void *low;
    size_t size;
    void *fake_stack;
    void (*entry)(void *);
    void *arg;
#elif SANITIZER_THREAD
    void *tsan;
#endif
};

#if SANITIZER_ADDRESS || SANITIZER_THREAD

/* The fiber of the calling thread's own stack. */
void fiber_adopt(struct fiber *f);
void fiber_disown(struct fiber *f);

/* A new fiber on the stack [low, high): the first switch to it calls `entry(arg)`, which never
 * returns. `high` is aligned to 16. */
void fiber_init(struct fiber *f, void *low, void *high, void (*entry)(void *), void *arg);

/* Stops `from`, which runs, and goes on with `to`. errno is not kept: the caller does that. */
void fiber_switch(struct fiber *from, struct fiber *to);

/* The same for a fiber that has come to its end: it is never switched to again. */
_Noreturn void fiber_leave(struct fiber *from, struct fiber *to);

/* Forgets a fiber that has been left; called from another one. */
void fiber_fini(struct fiber *f);

/* Calls `fn(arg)` on the stack of a fiber that is stopped, which it stays. To the tools each stack
 * has one owner: with them it is the caller's. */
static inline void fiber_call(const struct fiber *stopped, void (*fn)(void *), void *arg)
{
    (void)stopped;
    fn(arg);
}

#else

static inline void fiber_adopt(struct fiber *f)
{
    switch_adopt(&f->point);
}

static inline void fiber_disown(struct fiber *f)
{
    (void)f;
}

static inline void fiber_init(struct fiber *f, void *low, void *high, void (*entry)(void *),
                              void *arg)
{
    switch_prepare(&f->point, low, high, entry, arg);
}

static inline void fiber_switch(struct fiber *from, struct fiber *to)
{
    switch_registers(&from->point, &to->point);
}

_Noreturn static inline void fiber_leave(struct fiber *from, struct fiber *to)
{
    switch_registers(&from->point, &to->point);
    __builtin_unreachable();
}

static inline void fiber_fini(struct fiber *f)
{
    (void)f;
}

static inline void fiber_call(const struct fiber *stopped, void (*fn)(void *), void *arg)
{
    if (RUNNING_ON_VALGRIND)
        fn(arg);
    else
        switch_call(&stopped->point, fn, arg);
}

#endif

#endif
