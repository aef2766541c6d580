/* Entering and leaving a call, and what those who wait need to know. */
#include "connect.h"
#include "socket.h"
#include "sys.h"

/* Gives the turn to the first in the queue, or back. (lock) */
static void turn_pass_on(weir_socket *s)
{
    struct turn *turn = s->turns;

    if (!turn) {
        atomic_fetch_and_explicit(&s->state, ~(STATE_SENDING | STATE_QUEUED), memory_order_release);
        return;
    }
    s->turns = turn->next;
    turn->given = true;
    if (turn->sleeper)
        sleeper_wake(turn->sleeper);
}

/* Clears the flag first: once the reference is given up the socket may be gone. Whoever closes the
 * socket after that finds no task to wake there; whoever has closed it is waited for. */
void socket_leave_slowly(weir_socket *s, uint64_t flag)
{
    if (flag & STATE_SENDING) {
        pthread_mutex_lock(&s->lock);
        turn_pass_on(s);
        pthread_mutex_unlock(&s->lock);
        flag &= ~STATE_SENDING;
    }
    if (flag && atomic_fetch_and_explicit(&s->state, ~flag, memory_order_release) & STATE_CLOSED) {
        pthread_mutex_lock(&s->lock);
        pthread_mutex_unlock(&s->lock);
    }
    socket_unref(s);
}

/* Takes the turn if it is free; otherwise marks that there is a queue. (lock) */
static bool turn_take_or_queue(weir_socket *s, struct turn *turn)
{
    uint64_t old = atomic_load_explicit(&s->state, memory_order_relaxed), new;

    do {
        new = old | (old & STATE_SENDING ? STATE_QUEUED : STATE_SENDING);
    } while (!atomic_compare_exchange_weak_explicit(&s->state, &old, new, memory_order_acquire,
                                                    memory_order_relaxed));
    if (!(old & STATE_SENDING))
        return true;
    struct turn **end = &s->turns;
    while (*end)
        end = &(*end)->next;
    *end = turn;
    return false;
}

static void turn_give_up(weir_socket *s, struct turn *turn)
{
    pthread_mutex_lock(&s->lock);
    if (turn->given) {
        turn_pass_on(s);
    } else {
        struct turn **at = &s->turns;
        while (*at != turn)
            at = &(*at)->next;
        *at = turn->next;
    }
    pthread_mutex_unlock(&s->lock);
}

int socket_queue_for_turn(weir_socket *s, bool dontwait, uint64_t deadline_ns)
{
    struct turn turn = {.given = false};

    if (dontwait || atomic_load_explicit(&s->nonblocking, memory_order_relaxed))
        return -EAGAIN;
    int rc = socket_enter(s, 0);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&s->lock);
    turn.given = turn_take_or_queue(s, &turn);
    pthread_mutex_unlock(&s->lock);
    rc = wait_turn(s, &turn, deadline_ns);
    if (rc < 0) {
        turn_give_up(s, &turn);
        socket_leave(s, 0);
    }
    return rc;
}

int socket_settle(weir_socket *s, uint64_t deadline_ns)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        socket_drive(s);
        enum phase phase = socket_phase(s);
        int rc = phase == PHASE_CONNECTING ? -EINPROGRESS : connect_outcome(s);
        pthread_mutex_unlock(&s->lock);
        if (phase == PHASE_LISTENING)
            return -EINVAL;
        if (rc != -EINPROGRESS)
            return rc;
        rc = wait_ready(s, WEIR_WRITABLE | WAIT_CONNECT, deadline_ns, NEVER);
        if (rc < 0)
            return rc;
    }
}

/* ---- waiters ------------------------------------------------------------------------------- */

void waiter_link(weir_socket *s, struct waiter *w)
{
    w->next = s->waiters;
    w->link = &s->waiters;
    if (w->next)
        w->next->link = &w->next;
    s->waiters = w;
}

void waiter_unlink(struct waiter *w)
{
    if (!w->link)
        return;
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
    w->link = NULL;
}

void socket_wake(weir_socket *s, enum wake_reason why)
{
    struct waiter *next;

    for (struct waiter *w = s->waiters; w; w = next) {
        next = w->next;
        w->wake(w, why);
    }
}

void socket_drive(weir_socket *s)
{
    if (s->connect)
        connect_drive(s);
    else if (s->layer->drive && socket_phase(s) == PHASE_CONNECTED)
        (void)s->layer->drive(s);
    if (s->accept_after_ns && sys_now() >= s->accept_after_ns)
        s->accept_after_ns = 0;
}

/* Nothing can come to it or go from it as yet. The kernel would say "hung up, writable". */
static bool is_idle(const weir_socket *s)
{
    enum phase phase = socket_phase(s);

    return phase == PHASE_NEW || (phase == PHASE_BOUND && s->receiving);
}

void socket_interest(weir_socket *s, unsigned events, struct interest *ret)
{
    *ret = (struct interest){.wake_at_ns = NEVER};
    if (socket_closed(s)) {
        ret->ready = events;
    } else if (s->connect) {
        connect_interest(s, ret);
    } else if (s->lookup && socket_phase(s) == PHASE_NEW) {
        ret->ready = socket_lookup_done(s) ? events : 0;
    } else if (is_idle(s)) {
        ret->ready = s->connect_error ? events : 0;
    } else if (s->accept_after_ns && sys_now() < s->accept_after_ns) {
        ret->wake_at_ns = s->accept_after_ns;
    } else {
        s->layer->interest(s, events, ret);
    }
}

/* Those of `events` that hold now, 0 if none does, -ENOTCONN if none ever will. */
static int ready_now(weir_socket *s, unsigned events)
{
    struct interest in;
    static const struct timespec at_once = {0};

    if (socket_inherited(s))
        return (int)events; /* every call says what is wrong */
    pthread_mutex_lock(&s->lock);
    socket_drive(s);
    socket_interest(s, events, &in);
    bool connecting = s->connect, idle = !connecting && !s->lookup && !in.ready && in.count == 0;
    pthread_mutex_unlock(&s->lock);
    if (socket_closed(s))
        return WEIR_ECLOSED;
    if (in.ready)
        return (int)in.ready;
    if (connecting || in.count == 0)
        return idle && in.wake_at_ns == NEVER ? -ENOTCONN : 0;
    int rc = sys_poll(in.fds, in.count, &at_once);
    if (rc <= 0)
        return rc == -EINTR ? 0 : rc;
    short got = in.fds[0].revents;
    if (got & in.drives)
        return 0;
    if (got & (POLLERR | POLLHUP | POLLNVAL))
        return (int)events;
    return (got & POLLIN ? WEIR_READABLE : 0) | (got & POLLOUT ? WEIR_WRITABLE : 0);
}

int weir_wait(weir_socket *s, unsigned events)
{
    uint64_t deadline_ns;
    int rc = events == 0 || events & ~(unsigned)(WEIR_READABLE | WEIR_WRITABLE) ? -EINVAL : 0;

    if (rc == 0)
        rc = socket_enter(s, 0);
    if (rc < 0)
        return rc;
    rc = wait_begin(&deadline_ns);
    deadline_ns = wait_limit(s);
    while (rc == 0) {
        rc = ready_now(s, events);
        if (rc == 0)
            rc = wait_always(s, events, deadline_ns, NEVER);
    }
    socket_leave(s, 0);
    return rc;
}
