/* Tasks that share a thread: parking, waking, switching. */
#include "task.h"

#include "../clock.h"
#include "../loop/loop.h"
#include "../sys.h"

#include <string.h>

/* How many tasks run until the loop looks what has become ready, if not more were: what busy ones
 * may cost the others. */
#define TURN_MIN 64

/* ---- the queue of those that can run ------------------------------------------------------- */

static struct task *next_in_turn(struct loop *l)
{
    struct task *t = l->ready;

    if (!t || l->switches == l->turn_end)
        return NULL;
    l->ready = t->next_ready;
    if (!l->ready)
        l->ready_end = &l->ready;
    l->ready_count--;
    return t;
}

/* ---- switching ----------------------------------------------------------------------------- */

/* The stack that was left last is nobody's any more. If somebody has just posted the task to the
 * inbox, it is given back from there. */
static void bury(struct loop *l)
{
    struct task *t = l->ended;

    l->ended = NULL;
    fiber_fini(&t->fiber);
    if (!atomic_load_explicit(&t->posted, memory_order_acquire))
        stack_cache_give(&l->stacks, &t->stack);
}

/* With thousands of tasks what the next one needs is in no cache, and each stack is a page of its
 * own: it is fetched while the one before it runs. (Always inline: gcc 12 drops calls of functions
 * that do nothing but prefetch.) */
static inline __attribute__((always_inline)) void look_ahead(const struct task *t)
{
#if !SANITIZER_ADDRESS && !SANITIZER_THREAD
    const char *sp = t->fiber.point.sp;

    __builtin_prefetch(&t->context);
    for (size_t line = 0; line < 5; line++)
        __builtin_prefetch(sp + line * 64);
#endif
    if (t->next_ready)
        __builtin_prefetch(t->next_ready);
}

static inline struct fiber *enter(struct loop *l, struct task *next)
{
    l->running = next;
    if (!next) {
        context_here = NULL;
        return &l->fiber;
    }
    if (next->next_ready)
        look_ahead(next->next_ready);
    next->state = TASK_RUNNING;
    next->context.budget = CONTEXT_BUDGET;
    context_here = &next->context;
    loop_count(&l->switches, 1);
    return &next->fiber;
}

static inline void arrived(struct loop *l)
{
    if (l->ended)
        bury(l);
}

/* Goes on with the next task in this turn, or with the loop itself. */
static inline void switch_from(struct loop *l, struct task *t)
{
    int saved_errno = *l->errno_here;
    struct fiber *to = enter(l, next_in_turn(l));

    fiber_switch(&t->fiber, to);
    arrived(l);
    *l->errno_here = saved_errno;
}

bool task_park(struct loop *l, uint64_t until_ns)
{
    struct task *t = l->running;

    t->state = TASK_PARKED;
    if (until_ns == NEVER) {
        switch_from(l, t);
        return true;
    }
    t->timed_out = false;
    heap_set(&l->timers, &t->timer, until_ns);
    switch_from(l, t);
    timer_stop(&t->timer);
    return !t->timed_out;
}

void task_yield(struct loop *l)
{
    struct task *t = l->running;

    if (l->ready) {
        loop_make_ready(l, t);
    } else {
        t->state = TASK_READY;
        l->yielded = t;
    }
    switch_from(l, t);
}

void task_call_deep(void (*fn)(void *arg), void *arg)
{
    struct context *here = context_here;

    if (!here || !here->loop) {
        fn(arg);
        return;
    }
    context_here = NULL;
    fiber_call(&here->loop->fiber, fn, arg);
    context_here = here;
}

void task_take_yielded(struct loop *l)
{
    struct task *t = l->yielded;

    l->yielded = NULL;
    if (t)
        loop_make_ready(l, t);
}

/* ---- waking -------------------------------------------------------------------------------- */

static void post(struct loop *l, struct task *t)
{
    if (atomic_exchange(&t->posted, true))
        return;
    struct task *head = atomic_load_explicit(&l->inbox, memory_order_relaxed);
    do {
        atomic_store_explicit(&t->next_posted, head, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak(&l->inbox, &head, t));
    if (atomic_load(&l->asleep) && atomic_exchange(&l->asleep, false))
        l->ops->wake(l);
}

void task_wake(struct task *t)
{
    struct loop *l = t->context.loop;

    if (l != loop_here)
        post(l, t);
    else
        task_wake_here(l, t);
}

/* The inbox is a stack: turned round, those who came first go first. */
static struct task *reversed(struct task *t)
{
    struct task *list = NULL;

    while (t) {
        struct task *next = atomic_load_explicit(&t->next_posted, memory_order_relaxed);
        atomic_store_explicit(&t->next_posted, list, memory_order_relaxed);
        list = t;
        t = next;
    }
    return list;
}

static void link_in_all(struct loop *l, struct task *t)
{
    t->next_of_all = l->all;
    t->link_of_all = &l->all;
    if (l->all)
        l->all->link_of_all = &t->next_of_all;
    l->all = t;
    l->tasks++;
    loop_count(&l->started, 1);
    if (atomic_load(&l->run->ending))
        atomic_store(&t->context.cancelled, true);
}

/* From another thread comes what was woken, and what was started, there. A task that there is no
 * room for comes again in the next turn. */
static void take(struct loop *l, struct task *t)
{
    if (t->state == TASK_ENDED) {
        stack_cache_give(&l->stacks, &t->stack);
    } else if (t->state != TASK_NEW) {
        task_wake_here(l, t);
    } else if (heap_reserve(&l->timers, l->tasks + 1) < 0) {
        post(l, t);
    } else {
        link_in_all(l, t);
        loop_make_ready(l, t);
    }
}

void task_take_inbox(struct loop *l)
{
    if (!atomic_load_explicit(&l->inbox, memory_order_relaxed))
        return;
    struct task *t = reversed(atomic_exchange(&l->inbox, NULL));
    while (t) {
        struct task *next = atomic_load_explicit(&t->next_posted, memory_order_relaxed);
        /* From here on it may be posted again. */
        atomic_store(&t->posted, false);
        loop_count(&l->posts, 1);
        take(l, t);
        t = next;
    }
}

/* ---- the loop's turn ----------------------------------------------------------------------- */

void task_run_timers(struct loop *l)
{
    if (l->timers.count == 0)
        return;
    uint64_t now_ns = sys_now();
    l->turn_ns = now_ns & ~STAMP_KIND;
    for (struct timer *due; (due = heap_take_due(&l->timers, now_ns));) {
        struct task *t = (struct task *)(void *)((char *)due - offsetof(struct task, timer));
        t->timed_out = true;
        task_wake_here(l, t);
    }
}

void task_run_ready(struct loop *l)
{
    l->turn_end = l->switches + (l->ready_count < TURN_MIN ? TURN_MIN : l->ready_count);
    struct task *next = next_in_turn(l);
    if (!next)
        return;
    fiber_switch(&l->fiber, enter(l, next));
    arrived(l);
}

void task_cancel_all(struct loop *l)
{
    for (struct task *t = l->all; t; t = t->next_of_all)
        context_cancel(&t->context);
}

/* ---- beginning and end --------------------------------------------------------------------- */

static _Noreturn void end(struct loop *l, struct task *t)
{
    context_release(&t->context);
    heap_set(&l->timers, &t->timer, NEVER);
    *t->link_of_all = t->next_of_all;
    if (t->next_of_all)
        t->next_of_all->link_of_all = t->link_of_all;
    if (l->next_told == t)
        l->next_told = t->next_of_all;
    t->link_of_all = NULL;
    l->tasks--;
    t->state = TASK_ENDED;
    l->ended = t;
    run_task_ended(l->run);
    fiber_leave(&t->fiber, enter(l, next_in_turn(l)));
}

static _Noreturn void begin(void *arg)
{
    struct task *t = arg;
    struct loop *l = t->context.loop;

    arrived(l);
    (void)group_run_task(t);
    end(l, t);
}

static struct stack *take_stack(struct loop *l)
{
    if (loop_here && loop_here->run == l->run)
        return stack_cache_take(&loop_here->stacks);
    return stack_take(&l->run->stacks);
}

struct task *task_new(struct loop *l, int (*fn)(void *), const void *arg, size_t size)
{
    if (l == loop_here && heap_reserve(&l->timers, l->tasks + 1) < 0)
        return NULL;
    struct stack *stack = take_stack(l);
    if (!stack)
        return NULL;
    struct task *t = (struct task *)(void *)stack;
    /* Of a size that the compiler does not know it is a call, which is quicker than what gcc makes
     * of it otherwise. */
    memset((char *)t + sizeof t->stack, 0, l->run->stacks.record_size - sizeof t->stack);
    t->context = (struct context)CONTEXT_INIT;
    t->context.task = t;
    t->context.loop = l;
    t->context.run = l->run;
    t->state = TASK_NEW;
    t->fn = fn;
    char *high = (char *)t;
    if (size) {
        high -= (size + 15) & ~(size_t)15;
        memcpy(high, arg, size);
        t->arg = high;
    }
    fiber_init(&t->fiber, stack->low, high, begin, t);
    return t;
}

void task_start(struct task *t)
{
    struct loop *l = t->context.loop;

    if (l != loop_here) {
        post(l, t);
        return;
    }
    link_in_all(l, t);
    loop_make_ready(l, t);
}
