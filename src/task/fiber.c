#include "fiber.h"

#if SANITIZER_ADDRESS
#include <sanitizer/common_interface_defs.h>

/* Who switched last: where its stack is comes to light on arrival, which is how a thread's own
 * stack becomes known. */
static _Thread_local struct fiber *switched_from;

static void arrive(struct fiber *f)
{
    struct fiber *from = switched_from;

    __sanitizer_finish_switch_fiber(f->fake_stack, &from->low, &from->size);
}

static void begin(void *arg)
{
    struct fiber *f = arg;

    arrive(f);
    f->entry(f->arg);
}

void fiber_adopt(struct fiber *f)
{
    *f = (struct fiber){.fake_stack = NULL};
    switch_adopt(&f->point);
}

void fiber_disown(struct fiber *f)
{
    (void)f;
}

void fiber_init(struct fiber *f, void *low, void *high, void (*entry)(void *), void *arg)
{
    *f = (struct fiber){
        .low = low,
        .size = (size_t)((char *)high - (char *)low),
        .entry = entry,
        .arg = arg,
    };
    switch_prepare(&f->point, low, high, begin, f);
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
    switched_from = from;
    __sanitizer_start_switch_fiber(&from->fake_stack, to->low, to->size);
    switch_registers(&from->point, &to->point);
    arrive(from);
}

/* Without a place to keep it the fake stack is freed. */
void fiber_leave(struct fiber *from, struct fiber *to)
{
    switched_from = from;
    __sanitizer_start_switch_fiber(NULL, to->low, to->size);
    switch_registers(&from->point, &to->point);
    __builtin_unreachable();
}

void fiber_fini(struct fiber *f)
{
    (void)f;
}

#elif SANITIZER_THREAD
#include <sanitizer/tsan_interface.h>

void fiber_adopt(struct fiber *f)
{
    f->tsan = __tsan_get_current_fiber();
    switch_adopt(&f->point);
}

void fiber_disown(struct fiber *f)
{
    (void)f;
}

void fiber_init(struct fiber *f, void *low, void *high, void (*entry)(void *), void *arg)
{
    f->tsan = __tsan_create_fiber(0);
    switch_prepare(&f->point, low, high, entry, arg);
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
    __tsan_switch_to_fiber(to->tsan, 0);
    switch_registers(&from->point, &to->point);
}

void fiber_leave(struct fiber *from, struct fiber *to)
{
    fiber_switch(from, to);
    __builtin_unreachable();
}

void fiber_fini(struct fiber *f)
{
    __tsan_destroy_fiber(f->tsan);
}
#endif
