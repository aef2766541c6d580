#include "loop.h"

#include "../clock.h"
#include "../sys.h"
#include "../task/inspect.h"
#include "../task/signal_stack.h"

#include <string.h>

_Thread_local struct loop *loop_here;

static atomic_uint last_id;

const struct loop_ops *loop_find(int kind)
{
    switch (kind) {
    case WEIR_LOOP_EPOLL:
        return &loop_epoll;
    case WEIR_LOOP_POLL:
        return &loop_poll;
#if WEIR_HAVE_IO_URING
    case WEIR_LOOP_IO_URING:
        return &loop_io_uring;
#endif
    default:
        return NULL;
    }
}

int loop_open(struct loop **ret, const struct loop_ops *ops, struct run *run, const char **ret_step)
{
    struct loop *l = sys_alloc(sizeof *l);

    *ret_step = "memory";
    if (!l)
        return -ENOMEM;
    l->ops = ops;
    l->run = run;
    l->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
    l->ready_end = &l->ready;
    l->stacks.arena = &run->stacks;
    int rc = ops->open(l, ret_step);
    if (rc < 0) {
        free(l);
        return rc;
    }
    *ret = l;
    return 0;
}

void loop_close(struct loop *l)
{
    if (!l)
        return;
    question_drop_all(l);
    l->ops->close(l);
    stack_cache_fini(&l->stacks);
    heap_fini(&l->timers);
    free(l->slots);
    free(l);
}

static uint64_t next_time(struct loop *l)
{
    return l->ready || l->yielded || l->question ? 0 : heap_look_ns(&l->timers);
}

/* Whoever posts to the inbox after the look at it sees `asleep` and ends the turn. */
static int sleep_turn(struct loop *l)
{
    uint64_t until_ns = next_time(l);

    if (until_ns != 0) {
        atomic_store(&l->asleep, true);
        if (atomic_load(&l->inbox) || atomic_load(&l->asked))
            until_ns = 0;
    }
    loop_count(&l->turns, 1);
    int rc = l->ops->turn(l, until_ns);
    loop_count(&l->turns, 1);
    atomic_store_explicit(&l->asleep, false, memory_order_relaxed);
    return rc;
}

/* The clock is read once: exactly if there are timers. */
static void take_time(struct loop *l)
{
    if (l->timers.count > 0)
        task_run_timers(l);
    else
        l->turn_ns = sys_now_coarse() & ~STAMP_KIND;
}

void loop_run(struct loop *l, bool (*done)(struct loop *l))
{
    static const struct timespec moment = {.tv_nsec = NS_PER_MS};
    struct signal_stack handlers;

    fiber_adopt(&l->fiber);
    l->errno_here = &errno;
    atomic_store_explicit(&l->tid, sys_tid(), memory_order_relaxed);
    signal_stack_begin(&handlers);
    loop_here = l;
    task_take_inbox(l);
    take_time(l);
    for (;;) {
        task_run_ready(l);
        if (done(l))
            break;
        /* Nothing can be done about a turn that fails but not to spin. */
        if (sleep_turn(l) < 0)
            (void)sys_poll(NULL, 0, &moment);
        task_take_inbox(l);
        take_time(l);
        task_take_yielded(l);
        if (l->question || atomic_load_explicit(&l->asked, memory_order_relaxed))
            question_answer(l);
    }
    loop_count(&l->turns, 1); /* nobody computes here any more */
    loop_here = NULL;
    signal_stack_end(&handlers);
    fiber_disown(&l->fiber);
}

/* ---- slots --------------------------------------------------------------------------------- */

static int make_room(struct loop *l, int fd)
{
    int count = l->slot_count ? l->slot_count : 64;

    while (count <= fd)
        count *= 2;
    struct slot *slots = sys_alloc((size_t)count * sizeof *slots);
    if (!slots)
        return -ENOMEM;
    if (l->slots)
        memcpy(slots, l->slots, (size_t)l->slot_count * sizeof *slots);
    free(l->slots);
    l->slots = slots;
    l->slot_count = count;
    return 0;
}

/* Others may be waiting for what the number stood for before, or, without a home, still stands
 * for: they stay, and are watched for along with what is new. */
static short renew(struct loop *l, struct slot *slot, struct home *home)
{
    short events = 0;

    slot->generation = ++l->generation;
    if (slot->generation == 0)
        slot->generation = ++l->generation;
    slot->watched = slot->ready = 0;
    slot->ended = slot->told = false;
    if (home)
        atomic_store_explicit(&home->key, (uint64_t)l->id << 32 | slot->generation,
                              memory_order_relaxed);
    for (const struct arm *a = slot->arms; a; a = a->next)
        events |= a->events;
    return slot->receiver ? (short)(events | POLLIN) : events;
}

static void wake_receiver(struct loop *l, struct slot *slot)
{
    struct task *t = slot->receiver;

    slot->receiver = NULL;
    if (t)
        task_wake_here(l, t);
}

/* Nobody will tell them what they wait for: they look for themselves. */
static void let_look(struct loop *l, struct slot *slot)
{
    wake_receiver(l, slot);
    for (struct arm *a; (a = slot->arms);) {
        slot->arms = a->next;
        a->linked = false;
        a->got = a->events;
        task_wake(a->task);
    }
}

static void link_arm(struct slot *slot, struct arm *a)
{
    a->generation = slot->generation;
    a->next = slot->arms;
    a->linked = true;
    slot->arms = a;
}

int loop_arm(struct loop *l, struct arm *a, int fd, short events, struct home *home)
{
    *a = (struct arm){.task = l->running, .fd = fd, .events = events};
    if (fd >= l->slot_count && make_room(l, fd) < 0)
        return -ENOMEM;
    struct slot *slot = &l->slots[fd];
    bool fresh = !slot_is_home(l, slot, home);
    short wanted = (short)(events | (fresh ? renew(l, slot, home) : slot->watched));

    a->got = slot->ready & events;
    slot->ready &= (short)~events;
    if (a->got) {
        slot->told = true;
        return 1;
    }
    if (events & ~slot->watched) {
        int rc = l->ops->watch(l, fd, slot, wanted, fresh);
        if (rc != 0) {
            a->got = rc > 0 ? events : 0;
            if (fresh)
                let_look(l, slot);
            return rc;
        }
    }
    link_arm(slot, a);
    return 0;
}

static void unlink_arm(struct slot *slot, struct arm *a)
{
    struct arm **at = &slot->arms;

    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    a->linked = false;
}

static void unwatch_unless_awaited(struct loop *l, int fd, bool gone)
{
    struct slot *slot = &l->slots[fd];

    if (!slot->arms && !slot->receiver && slot->watched != 0)
        l->ops->unwatch(l, fd, slot, gone);
}

void loop_disarm(struct loop *l, struct arm *a, const struct home *home)
{
    if (a->generation == 0)
        return; /* it was never armed */
    struct slot *slot = &l->slots[a->fd];
    if (a->linked)
        unlink_arm(slot, a);
    unwatch_unless_awaited(l, a->fd, !home && a->generation == slot->generation);
}

void loop_await_no_more(struct loop *l, int fd)
{
    l->slots[fd].receiver = NULL;
    unwatch_unless_awaited(l, fd, false);
}

void loop_forget(struct loop *l, int fd, struct home *home)
{
    if (fd < 0 || fd >= l->slot_count || !slot_is_home(l, &l->slots[fd], home))
        return;
    l->ops->unwatch(l, fd, &l->slots[fd], true);
    atomic_store_explicit(&home->key, 0, memory_order_relaxed);
}

void loop_closing(struct loop *l, int fd, struct home *home)
{
    if (l->ops->keeps_files)
        loop_forget(l, fd, home);
}

/* ---- what backends report -------------------------------------------------------------------- */

#define ENDED (POLLERR | POLLHUP | POLLRDHUP | POLLNVAL | POLLPRI)

/* What lets a waiter for POLLIN or POLLOUT go on. */
static short ways(short events)
{
    if (events & (POLLERR | POLLHUP | POLLNVAL))
        return (short)(events | POLLIN | POLLOUT);
    return events & (POLLRDHUP | POLLPRI) ? (short)(events | POLLIN) : events;
}

void loop_report_to_all(struct loop *l, struct slot *slot, short events)
{
    short holds = ways(events), untold = holds & (POLLIN | POLLOUT);

    if (events & ENDED)
        slot->ended = true;
    if (slot->receiver && holds & POLLIN) {
        untold &= (short)~POLLIN;
        wake_receiver(l, slot);
    }
    for (struct arm **at = &slot->arms, *a; (a = *at);) {
        if (!(a->events & holds)) {
            at = &a->next;
            continue;
        }
        untold &= (short)~a->events;
        slot->told = true;
        a->got = holds;
        *at = a->next;
        a->linked = false;
        task_wake(a->task);
    }
    slot->ready |= untold & slot->watched;
}

void loop_done(struct loop *l, struct loop_operation *op, ssize_t result)
{
    (void)l;
    op->result = result;
    op->done = true;
    task_wake(op->task);
}
