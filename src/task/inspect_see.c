/* What can be seen of a task, by its own loop, or of a thread by others. */
#include "../clock.h"
#include "../socket.h"
#include "../sys.h"
#include "inspect.h"

#include <string.h>

static void take_address(int (*get)(int, struct sockaddr *, socklen_t *), int fd, weir_address *ret)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;

    if (get(fd, (struct sockaddr *)&address, &length) == 0)
        (void)weir_address_from_sockaddr(ret, (struct sockaddr *)&address, length);
}

void see_addresses(int fd, struct seen_task *seen)
{
    int listens = 0;
    socklen_t length = sizeof listens;

    if (fd < 0)
        return;
    seen->fd = fd;
    take_address(sys_getsockname, fd, &seen->local);
    take_address(sys_getpeername, fd, &seen->peer);
    seen->listens =
        sys_getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens;
}

/* The task is in a call on the socket, which therefore lives. */
static void see_socket(const weir_socket *s, struct seen_task *seen)
{
    see_addresses(atomic_load_explicit(&s->fd, memory_order_relaxed), seen);
}

static void see_wait(const struct task *t, struct seen_task *seen)
{
    uint64_t stamp = atomic_load_explicit(&t->context.stamp, memory_order_relaxed);

    seen->awaits = stamp & STAMP_KIND;
    seen->since_ns = stamp & ~STAMP_KIND;
    seen->object = atomic_load_explicit(&t->context.awaited, memory_order_relaxed);
    seen->until_ns = timer_until(&t->timer);
    switch (seen->awaits) {
    case AWAITS_RECEIVE:
    case AWAITS_SEND:
    case AWAITS_EITHER:
    case AWAITS_CONNECT:
    case AWAITS_TURN:
        see_socket((const weir_socket *)seen->object, seen);
        break;
    case AWAITS_FD:
    case AWAITS_SIGNAL:
        seen->fd = (int)seen->object;
        break;
    default:
        break;
    }
}

static void see_stack(struct loop *l, const struct task *t, struct seen_task *seen)
{
    const struct stack_arena *a = &l->run->stacks;
    const char *high = t->stack.low + (a->stack_size - a->page_size);
    const char *at = switch_stopped_at(&t->fiber.point);

    if (t == l->running)
        at = __builtin_frame_address(0);
    seen->stack_size = (size_t)(high - t->stack.low);
    seen->stack_most = stack_most(a, &t->stack);
    if (at >= t->stack.low && at < high)
        seen->stack_now = (size_t)(high - at);
}

static void see_kept(const struct task *t, struct seen_task *seen)
{
    seen->self = t;
    seen->group = t->group;
    seen->fn = t->shown;
    memcpy(seen->name, t->name, sizeof seen->name);
    seen->cancelled = atomic_load_explicit(&t->context.cancelled, memory_order_relaxed);
}

void see_task(struct loop *l, const struct task *t, struct seen_task *seen)
{
    see_kept(t, seen);
    seen->state = (uint8_t)t->state;
    seen->shielded = t->context.shielded;
    if (t->state == TASK_PARKED)
        see_wait(t, seen);
    see_stack(l, t, seen);
}

/* Its socket may be gone at any moment, but for its number; and that may be another's, unless the
 * thread has slept all the time. */
static void see_thread(const struct task *t, struct seen_task *seen)
{
    uint64_t stamp = atomic_load(&t->context.stamp);
    uint32_t sleeps = atomic_load_explicit(&t->sleeps, memory_order_relaxed);

    see_kept(t, seen);
    seen->threaded = true;
    seen->state = TASK_RUNNING;
    if ((stamp & STAMP_KIND) == AWAITS_NOTHING)
        return;
    seen->object = atomic_load_explicit(&t->context.awaited, memory_order_relaxed);
    seen->until_ns = atomic_load_explicit(&t->until_ns, memory_order_relaxed);
    see_addresses(atomic_load_explicit(&t->awaited_fd, memory_order_relaxed), seen);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load(&t->context.stamp) == stamp &&
        atomic_load_explicit(&t->sleeps, memory_order_relaxed) == sleeps) {
        seen->state = TASK_PARKED;
        seen->awaits = stamp & STAMP_KIND;
        seen->since_ns = stamp & ~STAMP_KIND;
        return;
    }
    seen->object = 0;
    seen->until_ns = NEVER;
    seen->fd = -1;
    seen->listens = false;
    seen->local = seen->peer = (weir_address){.family = AF_UNSPEC};
}

void see_threads(struct run *run, struct seen_tasks *all)
{
    struct seen_task *seen = seen_more(all);

    pthread_mutex_lock(&run->lock);
    if (seen)
        see_thread(run->first, seen);
    for (const struct task *t = run->threads; t && (seen = seen_more(all)); t = t->next_of_all)
        see_thread(t, seen);
    pthread_mutex_unlock(&run->lock);
}

/* A wake that is on its way is still to be seen: a thread says that it goes on before it takes it.
 * (the run's lock) */
static bool is_dead(const struct task *t)
{
    struct pollfd wake = {.fd = atomic_load(&t->context.wake_fd), .events = POLLIN};
    static const struct timespec at_once;

    if (wake.fd < 0 || sys_poll(&wake, 1, &at_once) != 0)
        return false;
    return atomic_load_explicit(&t->until_ns, memory_order_relaxed) == NEVER &&
           awaits_others(atomic_load(&t->context.stamp));
}

/* One that was started and is not in the list as yet, or not any more, is awake. */
bool see_threads_dead(struct run *run, uint64_t *ret_sleeps)
{
    const struct task *t = run->first;
    bool dead = is_dead(t);
    size_t count = 0;

    *ret_sleeps = atomic_load(&t->sleeps);
    pthread_mutex_lock(&run->lock);
    for (t = run->threads; t && dead; t = t->next_of_all, count++) {
        dead = is_dead(t);
        *ret_sleeps += atomic_load(&t->sleeps);
    }
    *ret_sleeps += run->started;
    pthread_mutex_unlock(&run->lock);
    return dead && count == atomic_load(&run->live);
}
