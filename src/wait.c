#include "wait.h"

#include "clock.h"
#include "context.h"
#include "loop/loop.h"
#include "loop/witness.h"
#include "socket.h"
#include "sys.h"

#include <weir/error.h>
#include <weir/task.h>

/* ---- sleeping ------------------------------------------------------------------------------ */

static void sleeper_told(struct waiter *waiter, enum wake_reason why)
{
    (void)why;
    sleeper_wake((struct sleeper *)waiter);
}

void sleeper_init_for(struct sleeper *z, enum awaits awaits, const void *object)
{
    struct context *c = context_current();

    *z = (struct sleeper){
        .waiter.wake = sleeper_told,
        .context = c,
        .awaits = awaits,
        .object = (uintptr_t)object,
    };
    if (!c->loop)
        (void)context_wake_fd(c);
}

void sleeper_wake(struct sleeper *z)
{
    if (atomic_load_explicit(&z->woken, memory_order_relaxed))
        return;
    atomic_store_explicit(&z->woken, true, memory_order_release);
    context_wake(z->context);
}

static bool is_woken(const struct sleeper *z)
{
    return atomic_load_explicit(&z->woken, memory_order_acquire);
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

static int block_in_slices(struct interest *in, uint64_t until_ns)
{
    uint64_t slice_ns = sys_now() + UNWAKEABLE_NS;
    int rc = poll_until(in->fds, in->count, earlier(until_ns, slice_ns));

    return rc == 0 && slice_ns < until_ns ? 1 : rc;
}

/* The eventfd may still be raised from a wake that came when the last sleep was over already: then
 * this one ends for no reason. */
static int block(struct sleeper *z, struct interest *in, uint64_t until_ns)
{
    struct pollfd *wake = &in->fds[in->count];
    int fd = z->context->wake_fd;

    if (fd < 0)
        return block_in_slices(in, until_ns);
    *wake = (struct pollfd){.fd = fd, .events = POLLIN};
    if (z->context->task)
        thread_task_notes(z->context, z->awaits, z->object, in->count ? in->fds[0].fd : -1,
                          until_ns);
    int rc = poll_until(in->fds, in->count + 1, until_ns);
    if (z->context->task)
        thread_task_goes_on(z->context);
    if (rc > 0 && wake->revents) {
        sys_eventfd_drain(fd);
        if (rc == 1 && !is_woken(z) && context_cancelled(z->context))
            return -ECANCELED;
    }
    return rc;
}

/* The same for a task: only that waits. */
static int park(struct sleeper *z, struct interest *in, struct home *home, uint64_t until_ns)
{
    struct loop *l = z->context->loop;
    struct arm arms[INTEREST_MAX];
    unsigned count = 0;
    bool in_time = true;
    int rc = 0;

    task_notes(z->context, z->awaits, z->object);
    while (rc == 0 && count < in->count) {
        struct pollfd *fd = &in->fds[count];
        rc = loop_arm(l, &arms[count], fd->fd, fd->events, home);
        count++;
    }
    if (rc == 0)
        in_time = task_park(l, until_ns);
    for (unsigned i = 0; i < count; i++) {
        in->fds[i].revents = arms[i].got;
        if (arms[i].got)
            rc = 1;
        loop_disarm(l, &arms[i], home);
    }
    if (rc != 0 || is_woken(z))
        return rc < 0 ? rc : 1;
    if (context_cancelled(z->context))
        return -ECANCELED;
    return in_time;
}

/* Sleeps until something happens (1) or `until_ns` (0), is cancelled, or fails with -errno. Whoever
 * cancels sets the flag before he looks for the wake descriptor, which is there by now. */
static int sleep_on(struct sleeper *z, struct interest *in, struct home *home, uint64_t until_ns)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (is_woken(z))
        return 1;
    if (context_cancelled(z->context))
        return -ECANCELED;
    if (z->context->loop)
        return park(z, in, home, until_ns);
    int rc = block(z, in, until_ns);
    return rc > 0 ? 1 : rc;
}

int sleeper_sleep(struct sleeper *z, uint64_t until_ns)
{
    struct interest nothing;

    nothing.count = 0;
    return sleep_on(z, &nothing, NULL, until_ns);
}

/* The same with the socket's lock given up; it is held on entry and on return. */
static int sleep_unlocked(weir_socket *s, struct interest *in, enum awaits awaits,
                          struct turn *turn, uint64_t until_ns)
{
    struct sleeper z;
    struct home *home = in->count == 1 && in->fds[0].fd == s->fd ? &s->home : NULL;

    sleeper_init_for(&z, awaits, s);
    waiter_link(s, &z.waiter);
    if (turn)
        turn->sleeper = &z;
    pthread_mutex_unlock(&s->lock);
    int rc = sleep_on(&z, in, home, until_ns);
    pthread_mutex_lock(&s->lock);
    if (turn)
        turn->sleeper = NULL;
    waiter_unlink(&z.waiter);
    return rc;
}

/* What a sleep has come to: time that is up does not hide what has happened in the same instant. */
static int slept(int rc, uint64_t deadline_ns)
{
    if (rc != 0)
        return rc < 0 ? rc : 0;
    return wait_expired(deadline_ns);
}

/* ---- limits and turns ---------------------------------------------------------------------- */

void wait_spent(void)
{
    struct context *c = context_current();

    c->budget = c->loop ? CONTEXT_BUDGET : INT32_MAX;
    if (c->loop)
        task_yield(c->loop);
}

int wait_begin(uint64_t *ret_deadline_ns)
{
    struct context *c = context_current();

    if (context_spends(c))
        wait_spent();
    *ret_deadline_ns = c->deadline_ns;
    return context_cancelled(c) ? -ECANCELED : wait_expired(c->deadline_ns);
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

static int outcome(const weir_socket *s, int rc, uint64_t deadline_ns)
{
    return socket_closed(s) ? WEIR_ECLOSED : slept(rc, deadline_ns);
}

/* What is ready at once can be in vain all the same, again and again. */
static int give_turn(void)
{
    struct context *c = context_current();

    if (context_spends(c))
        wait_spent();
    return context_cancelled(c) ? -ECANCELED : 0;
}

static enum awaits awaited(unsigned events)
{
    if (events & WAIT_CONNECT)
        return AWAITS_CONNECT;
    if (!(events & WEIR_WRITABLE))
        return AWAITS_RECEIVE;
    return events & WEIR_READABLE ? AWAITS_EITHER : AWAITS_SEND;
}

int wait_always(weir_socket *s, unsigned events, uint64_t deadline_ns, uint64_t retry_ns)
{
    struct interest in;
    bool at_once = false;
    int rc = WEIR_ECLOSED;

    pthread_mutex_lock(&s->lock);
    if (events & WAIT_CONNECT && !s->connect && !socket_closed(s)) {
        rc = 0; /* another thread has brought it to its end */
    } else if (!socket_closed(s)) {
        socket_interest(s, events, &in);
        uint64_t until_ns = earlier(deadline_ns, in.wake_at_ns);
        if (retry_ns != NEVER)
            until_ns = earlier(until_ns, sys_now() + retry_ns);
        at_once = in.ready != 0;
        rc = at_once ? 1 : sleep_unlocked(s, &in, awaited(events), NULL, until_ns);
        rc = outcome(s, rc, deadline_ns);
    }
    pthread_mutex_unlock(&s->lock);
    return rc == 0 && at_once ? give_turn() : rc;
}

int wait_ready(weir_socket *s, unsigned events, uint64_t deadline_ns, uint64_t retry_ns)
{
    if (atomic_load_explicit(&s->nonblocking, memory_order_relaxed))
        return -EAGAIN;
    return wait_always(s, events, deadline_ns, retry_ns);
}

/* A task that waits outside the list of waiters is found through `*place`. Whoever ends the socket
 * sets the flag and then looks there, under the lock; the task is put there and then looks at the
 * flag. It is taken out before it leaves the socket, which is where it notices the flag again: then
 * it passes through the lock (socket_leave). So it is not gone while it is woken. */
static bool place_task(weir_socket *s, _Atomic(struct task *) *place, struct task *t)
{
    atomic_store(place, t);
    return !(atomic_load(&s->state) & STATE_CLOSED);
}

static void displace_task(_Atomic(struct task *) *place)
{
    atomic_store_explicit(place, NULL, memory_order_relaxed);
}

bool wait_drained(weir_socket *s, struct context *c, uint64_t deadline_ns)
{
    struct loop *l = c->loop;
    int fd = atomic_load_explicit(&s->fd, memory_order_relaxed);
    bool woken = false;

    if (!s->tcp || atomic_load_explicit(&s->nonblocking, memory_order_relaxed) ||
        context_cancelled(c) || !loop_await(l, fd, &s->home))
        return false;
    task_notes(c, AWAITS_RECEIVE, (uintptr_t)s);
    if (place_task(s, &s->receiver, c->task))
        woken = task_park(l, deadline_ns);
    displace_task(&s->receiver);
    return loop_awaited(l, fd) || woken;
}

/* ---- operations that the loop carries out -------------------------------------------------- */

/* With nothing else to run there is nothing to be done in the same system call: then a plain call
 * is the quicker way, unless it is known to be in vain. */
static bool may_complete(const weir_socket *s, const struct context *c, bool in_vain)
{
    return c->loop->ops->start && (in_vain || c->loop->ready_count > 0) &&
           s->layer == &layer_plain && socket_is_stream(s) && !context_cancelled(c) &&
           !atomic_load_explicit(&s->nonblocking, memory_order_relaxed);
}

/* The kernel has the caller's buffer until the operation is done, whatever happens meanwhile. */
static ssize_t complete(weir_socket *s, struct context *c, struct loop_operation *op,
                        _Atomic(struct task *) *place, uint64_t deadline_ns)
{
    struct loop *l = c->loop;
    bool goes_on = true;

    op->task = c->task;
    op->fd = atomic_load_explicit(&s->fd, memory_order_relaxed);
    witness_start(op);
    if (l->ops->start(l, op) < 0)
        return -EAGAIN;
    task_notes(c, op->kind == LOOP_RECV ? AWAITS_RECEIVE : AWAITS_SEND, (uintptr_t)s);
    bool open = place_task(s, place, c->task);
    while (open && goes_on && !op->done)
        goes_on = task_park(l, deadline_ns) && !context_cancelled(c) && !socket_closed(s);
    if (!op->done)
        l->ops->cancel(l, op);
    while (!op->done)
        (void)task_park(l, NEVER);
    witness_end(op);
    displace_task(place);
    return op->result == -ECANCELED || op->result == -EINTR ? -EAGAIN : op->result;
}

ssize_t wait_receive(weir_socket *s, void *buf, size_t len, uint64_t deadline_ns)
{
    struct loop_operation op = {.kind = LOOP_RECV, .buf = buf, .len = sys_amount(SYS_RECV, len)};
    struct context *c = context_current();

    if (!may_complete(s, c, s->drained))
        return -EAGAIN;
    ssize_t n = complete(s, c, &op, &s->receiver, deadline_ns);
    if (s->tcp)
        s->drained = n > 0 && (size_t)n < op.len;
    return n;
}

ssize_t wait_send(weir_socket *s, const void *buf, size_t len, uint64_t deadline_ns)
{
    struct loop_operation op = {.kind = LOOP_SEND, .out = buf, .len = sys_amount(SYS_SEND, len)};
    struct context *c = context_current();

    return may_complete(s, c, false) ? complete(s, c, &op, &s->sender, deadline_ns) : -EAGAIN;
}

int wait_turn(weir_socket *s, struct turn *turn, uint64_t deadline_ns)
{
    struct interest nothing;
    int rc = 0;

    nothing.count = 0;
    pthread_mutex_lock(&s->lock);
    while (rc == 0 && !turn->given) {
        rc = sleep_unlocked(s, &nothing, AWAITS_TURN, turn, deadline_ns);
        rc = outcome(s, rc, deadline_ns);
    }
    if (turn->given && rc != WEIR_ECLOSED)
        rc = 0;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- other things to wait for -------------------------------------------------------------- */

int wait_for_fd_of(int fd, enum awaits awaits, short poll_events, uint64_t deadline_ns)
{
    struct interest in;
    struct sleeper z;

    in.fds[0] = (struct pollfd){.fd = fd, .events = poll_events};
    in.count = 1;
    sleeper_init_for(&z, awaits, (void *)(uintptr_t)fd);
    return slept(sleep_on(&z, &in, NULL, deadline_ns), deadline_ns);
}

void wait_moment(uint64_t ns)
{
    struct context *c = context_current();
    struct timespec moment = {.tv_nsec = (long)ns};

    if (c->loop) {
        task_notes(c, AWAITS_TIME, 0);
        (void)task_park(c->loop, sys_now() + ns);
    } else {
        (void)sys_poll(NULL, 0, &moment);
    }
}

int weir_sleep(int64_t timeout_ms)
{
    uint64_t deadline_ns, until_ns = clock_deadline(timeout_ms);
    struct sleeper z;
    int rc = wait_begin(&deadline_ns);

    if (rc < 0)
        return rc;
    sleeper_init_for(&z, AWAITS_TIME, NULL);
    do
        rc = sleeper_sleep(&z, earlier(until_ns, deadline_ns));
    while (rc > 0);
    if (rc == 0 && deadline_ns < until_ns)
        rc = WEIR_EDEADLINE;
    return rc;
}

int weir_yield(void)
{
    struct context *c = context_current();

    if (c->loop)
        task_yield(c->loop);
    else
        sys_yield();
    return context_cancelled(c) ? -ECANCELED : wait_expired(c->deadline_ns);
}

/* ---- flags --------------------------------------------------------------------------------- */

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
        sleeper_wake(f->sleeper);
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
    struct sleeper z;
    int rc = 0;

    sleeper_init(&z);
    pthread_mutex_lock(&f->lock);
    while (rc == 0 && !f->raised) {
        f->sleeper = &z;
        pthread_mutex_unlock(&f->lock);
        rc = slept(sleeper_sleep(&z, deadline_ns), deadline_ns);
        pthread_mutex_lock(&f->lock);
        f->sleeper = NULL;
    }
    if (f->raised)
        rc = 0;
    f->raised = false;
    pthread_mutex_unlock(&f->lock);
    return rc;
}
