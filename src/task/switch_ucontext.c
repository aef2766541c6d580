#include "switch.h"

#ifdef TASK_SWITCH_UCONTEXT_H
#include <stddef.h>
#include <stdint.h>

struct start {
    ucontext_t context;
    void (*entry)(void *);
    void *arg;
};

/* makecontext(3) hands over ints only. */
static void begin(unsigned high, unsigned low)
{
    struct start *s = (struct start *)(uintptr_t)((uint64_t)high << 32 | low);

    s->entry(s->arg);
    __builtin_unreachable();
}

void switch_prepare(struct switch_point *p, void *low, void *high, void (*entry)(void *), void *arg)
{
    size_t size = (sizeof(struct start) + 63) & ~(size_t)63;
    struct start *s = (void *)((char *)high - size);
    uint64_t address = (uintptr_t)s;

    getcontext(&s->context);
    s->context.uc_link = NULL;
    s->context.uc_stack.ss_sp = low;
    s->context.uc_stack.ss_size = (size_t)((char *)s - (char *)low);
    s->entry = entry;
    s->arg = arg;
    makecontext(&s->context, (void (*)(void))begin, 2, (unsigned)(address >> 32),
                (unsigned)address);
    p->context = &s->context;
}

void switch_registers(struct switch_point *from, struct switch_point *to)
{
    ucontext_t here;

    from->context = &here;
    swapcontext(&here, to->context);
}
#endif
