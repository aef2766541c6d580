#include "wait.h"

#include "clock.h"
#include "context.h"
#include "socket.h"
#include "sys.h"

#include <weir/error.h>

/* A thread in the waiters' list of a socket. */
struct sleeper {
    struct waiter waiter;
    int wake_fd;
    bool woken; /* under the lock of what it waits for: the eventfd has been written */
};

static void sleeper_wake(struct waiter *waiter, enum wake_reason why)
{
    struct sleeper *sleeper = (struct sleeper *)waiter;

    (void)why;
    if (!sleeper->woken)
        sys_eventfd_raise(sleeper->wake_fd);
    sleeper->woken = true;
}

/* Sleeps until a descriptor is ready or `until_ns`. The number that are, 0 when time is up,
 * -errno. */
static int poll_until(struct pollfd *fds, unsigned count, uint64_t until_ns)
{
    for (;;) {
        struct timespec left;
        int rc = sys_poll(fds, count, clock_left(until_ns, &left));
        if (rc != -EINTR)
            return rc;
    }
}

/* How long a thread sleeps at a time that has no descriptor to be woken by, the process being out
 * of them. It looks again by itself then. */
#define UNWAKEABLE_NS (50 * NS_PER_MS)

/* Sleeps until something happens (> 0) or `until_ns` (0), or fails with -errno. */
static int sleep_on(struct sleeper *sleeper, struct interest *in, uint64_t until_ns)
{
    if (sleeper->wake_fd < 0) {
        uint64_t slice_ns = sys_now() + UNWAKEABLE_NS;
        int rc = poll_until(in->fds, in->count, earlier(until_ns, slice_ns));
        return rc == 0 && slice_ns < until_ns ? 1 : rc;
    }
    in->fds[in->count] = (struct pollfd){.fd = sleeper->wake_fd, .events = POLLIN};
    return poll_until(in->fds, in->count + 1, until_ns);
}

/* The same with the socket's lock given up; it is held on entry and on return. */
static int sleep_unlocked(weir_socket *s, struct interest *in, struct turn *turn, uint64_t until_ns)
{
    struct sleeper sleeper = {
        .waiter.wake = sleeper_wake,
        .wake_fd = context_wake_fd(context_current()),
    };

    waiter_link(s, &sleeper.waiter);
    if (turn)
        turn->waiter = &sleeper.waiter;
    pthread_mutex_unlock(&s->lock);
    int rc = sleep_on(&sleeper, in, until_ns);
    pthread_mutex_lock(&s->lock);
    if (turn)
        turn->waiter = NULL;
    waiter_unlink(&sleeper.waiter);
    if (sleeper.woken && sleeper.wake_fd >= 0)
        sys_eventfd_drain(sleeper.wake_fd);
    return rc;
}

int wait_expired(uint64_t deadline_ns)
{
    return deadline_ns != NEVER && sys_now() >= deadline_ns ? WEIR_EDEADLINE : 0;
}

uint64_t wait_limit(const weir_socket *s)
{
    uint64_t outer_ns = context_current()->deadline_ns;
    int64_t timeout_ms = atomic_load_explicit(&s->timeout_ms, memory_order_relaxed);

    return timeout_ms < 0 ? outer_ns : earlier(outer_ns, clock_deadline(timeout_ms));
}

/* Time that is up does not hide what has happened in the same instant: only a sleep that nothing
 * ended counts as expired. */
static int sleep_outcome(const weir_socket *s, int slept, uint64_t deadline_ns)
{
    if (socket_closed(s))
        return WEIR_ECLOSED;
    if (slept != 0)
        return slept < 0 ? slept : 0;
    return wait_expired(deadline_ns);
}

int wait_always(weir_socket *s, unsigned events, uint64_t deadline_ns, uint64_t retry_ns)
{
    struct interest in;
    int rc = WEIR_ECLOSED;

    pthread_mutex_lock(&s->lock);
    if (events & WAIT_CONNECT && !s->connect && !socket_closed(s)) {
        rc = 0; /* another thread has brought it to its end */
    } else if (!socket_closed(s)) {
        socket_interest(s, events, &in);
        uint64_t until_ns = earlier(deadline_ns, in.wake_at_ns);
        if (retry_ns != NEVER)
            until_ns = earlier(until_ns, sys_now() + retry_ns);
        rc = in.ready ? 1 : sleep_unlocked(s, &in, NULL, until_ns);
        rc = sleep_outcome(s, rc, deadline_ns);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int wait_ready(weir_socket *s, unsigned events, uint64_t deadline_ns, uint64_t retry_ns)
{
    if (atomic_load_explicit(&s->nonblocking, memory_order_relaxed))
        return -EAGAIN;
    return wait_always(s, events, deadline_ns, retry_ns);
}

int wait_turn(weir_socket *s, struct turn *turn, uint64_t deadline_ns)
{
    int rc = 0;

    pthread_mutex_lock(&s->lock);
    while (rc == 0 && !turn->given) {
        struct interest nothing = {.count = 0};
        rc = sleep_unlocked(s, &nothing, turn, deadline_ns);
        rc = sleep_outcome(s, rc, deadline_ns);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

struct wait_flag {
    pthread_mutex_t lock;
    unsigned holders;
    bool raised;
    struct sleeper *sleeper;
};

struct wait_flag *wait_flag_new(void)
{
    struct wait_flag *f = sys_alloc(sizeof *f);

    if (f) {
        pthread_mutex_init(&f->lock, NULL);
        f->holders = 2;
    }
    return f;
}

void wait_flag_raise(struct wait_flag *f)
{
    pthread_mutex_lock(&f->lock);
    f->raised = true;
    if (f->sleeper)
        sleeper_wake(&f->sleeper->waiter, WAKE_CHANGED);
    pthread_mutex_unlock(&f->lock);
}

void wait_flag_free(struct wait_flag *f)
{
    pthread_mutex_lock(&f->lock);
    bool last = --f->holders == 0;
    pthread_mutex_unlock(&f->lock);
    if (last) {
        pthread_mutex_destroy(&f->lock);
        free(f);
    }
}

int wait_for_flag(struct wait_flag *f, uint64_t deadline_ns)
{
    struct sleeper sleeper = {.wake_fd = context_wake_fd(context_current())};
    struct interest nothing = {.count = 0};
    int rc = 0;

    pthread_mutex_lock(&f->lock);
    while (rc == 0 && !f->raised) {
        f->sleeper = &sleeper;
        pthread_mutex_unlock(&f->lock);
        rc = sleep_on(&sleeper, &nothing, deadline_ns);
        pthread_mutex_lock(&f->lock);
        f->sleeper = NULL;
        rc = rc == 0 ? WEIR_EDEADLINE : rc < 0 ? rc : 0;
    }
    if (sleeper.woken && sleeper.wake_fd >= 0)
        sys_eventfd_drain(sleeper.wake_fd);
    if (f->raised)
        rc = 0;
    f->raised = false;
    pthread_mutex_unlock(&f->lock);
    return rc;
}
