/* Waiting: what a poller costs is decided here. A wait that finds sockets ready makes one system
 * call and takes the poller's lock once. */
#include "clock.h"
#include "context.h"
#include "poller_watch.h"
#include "socket.h"
#include "sys.h"

#include <limits.h>

/* More than so many events are not taken from the kernel at once. */
#define HARVEST_MAX 1024

/* ---- what epoll has said --------------------------------------------------------------------- */

/* Tells the program of the socket, and that its turn in the list of those to look at is over.
 * (lock) */
static int report(struct watch *w, uint32_t said, weir_event *event)
{
    unsigned holds = w->ready;

    if (said & EPOLLIN)
        holds |= WEIR_READABLE;
    if (said & EPOLLOUT)
        holds |= WEIR_WRITABLE;
    if (said & (EPOLLERR | EPOLLHUP))
        holds = w->events;
    holds &= w->events;
    if (!holds)
        return 0;
    *event = (weir_event){.socket = w->socket, .data = w->data, .events = holds};
    if (node_linked(&w->look)) {
        w->turn = w->poller->turn;
        node_unlink(&w->look);
        node_link(&w->look, &w->poller->look);
    }
    return 1;
}

/* Before all that are only waiting to be reported. (lock) */
static void look_first(struct watch *w)
{
    if (!node_linked(&w->look))
        node_link(&w->look, w->poller->look.next);
}

/* (lock) */
static int take_event(struct watch *w, uint32_t said, weir_event *event)
{
    if (said & (uint32_t)w->drives)
        look_first(w);
    return report(w, said & ~(uint32_t)w->drives, event);
}

/* (lock) */
static void timer_fired(struct weir_poller *p)
{
    struct timer *first;
    uint64_t now_ns = sys_now();

    while ((first = heap_first(&p->timers)) && first->at_ns <= now_ns) {
        struct watch *w = CONTAINER(first, struct watch, timer);
        heap_set(&p->timers, &w->timer, NEVER);
        look_first(w);
    }
    /* Setting it anew, to no time if need be, is what makes it unreadable. */
    p->armed_ns = first ? first->at_ns : NEVER;
    (void)sys_timerfd_set(p->timer_fd, p->armed_ns);
}

/* ---- sockets to look at ---------------------------------------------------------------------- */

/* Drives the socket and sees what has become of it. The lock is given up in between; a watch that
 * is removed meanwhile stays in memory until poller_bury. (lock) */
static void look_at(struct watch *w)
{
    struct weir_poller *p = w->poller;
    weir_socket *s = w->socket;

    w->turn = p->turn;
    node_unlink(&w->look);
    if (!socket_try_ref(s)) {
        w->ready = 0;
        return;
    }
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_lock(&s->lock);
    if (!w->dead) {
        w->looking = true;
        socket_drive(s);
        (void)watch_sync(w);
        w->looking = false;
    }
    pthread_mutex_unlock(&s->lock);
    socket_unref(s);
    pthread_mutex_lock(&p->lock);
}

/* Each once per turn. Those that are ready come back to the end of the list, so that all get into
 * `events` in turn; epoll does the same with its own, and the eventfd has its turn among them.
 * Returns how many are filled then. (lock) */
static int look_around(struct weir_poller *p, weir_event *events, int filled, int max)
{
    while (node_linked(&p->look)) {
        struct watch *w = CONTAINER(p->look.next, struct watch, look);
        if (w->turn == p->turn || (w->ready && filled == max))
            break;
        look_at(w);
        if (w->ready && filled < max)
            filled += report(w, 0, &events[filled]);
    }
    return filled;
}

/* ---- one wait -------------------------------------------------------------------------------- */

/* (lock) */
static int gather(struct weir_poller *p, int count, weir_event *events, int max)
{
    int filled = 0;

    p->turn++;
    for (int i = 0; i < count; i++) {
        enum source *source = p->harvest[i].data.ptr;
        if (*source == SOURCE_SOCKET)
            filled += take_event(CONTAINER(source, struct watch, socket_source),
                                 p->harvest[i].events, &events[filled]);
        else if (*source == SOURCE_ATTEMPT)
            look_first(CONTAINER(source, struct watch, attempt_source));
        else if (*source == SOURCE_TIMER)
            timer_fired(p);
    }
    return look_around(p, events, filled, max);
}

/* Leaves the eventfd as it has to be for the next wait, in this thread or in poll(2) by a foreign
 * loop. (lock) */
static void settle(struct weir_poller *p)
{
    if (p->graves)
        poller_bury(p);
    if (node_linked(&p->look))
        poller_raise(p);
    else if (p->raised)
        poller_lower(p);
}

/* More events than `max` are not to be taken: those that the program does not get would have had
 * their turn. */
static int harvest_room(struct weir_poller *p, int max)
{
    int room = max < HARVEST_MAX ? max : HARVEST_MAX;

    if (room > p->harvest_room) {
        struct epoll_event *harvest = sys_alloc((size_t)room * sizeof *harvest);
        if (harvest) {
            free(p->harvest);
            p->harvest = harvest;
            p->harvest_room = room;
        }
    }
    return room < p->harvest_room ? room : p->harvest_room;
}

/* A task, or a thread that can be cancelled, waits in a way of its own, and then only looks. What
 * it has come to goes to `*ret_waited`. */
static int wait_for_epoll(struct weir_poller *p, int room, uint64_t until_ns, int *ret_waited)
{
    bool in_task = context_current()->task && until_ns != 0;

    *ret_waited = in_task ? wait_for_fd(p->epoll_fd, POLLIN, until_ns) : 0;
    return sys_epoll_wait(p->epoll_fd, p->harvest, room,
                          in_task || until_ns == 0 ? 0 : clock_left_ms(until_ns));
}

/* Returns the number of events, 0 after weir_poller_wake, WEIR_EDEADLINE, -ECANCELED, or -errno. */
static int wait_until(struct weir_poller *p, weir_event *events, int max, uint64_t until_ns)
{
    int room = harvest_room(p, max);
    bool last = false;

    for (;;) {
        int left_ms = until_ns ? clock_left_ms(until_ns) : 0, waited;
        int n = wait_for_epoll(p, room, until_ns, &waited);

        pthread_mutex_lock(&p->lock);
        int rc = n > 0 ? gather(p, n, events, max) : 0;
        bool leave = rc > 0 || p->woken;
        if (!leave && n < 0 && n != -EINTR) {
            rc = n;
            leave = true;
        } else if (!leave && waited < 0 && waited != WEIR_EDEADLINE) {
            rc = waited;
            leave = true;
        } else if (!leave && (last || (n == 0 && until_ns != NEVER && sys_now() >= until_ns))) {
            rc = WEIR_EDEADLINE;
            leave = true;
        }
        /* A socket that was driven may be ready now: that is worth one more look. */
        last = left_ms == 0;
        if (leave) {
            p->woken = false;
            settle(p);
            atomic_store_explicit(&p->waiting, false, memory_order_release);
            pthread_mutex_unlock(&p->lock);
            return rc;
        }
        settle(p);
        pthread_mutex_unlock(&p->lock);
    }
}

int weir_poller_wait(weir_poller *p, weir_event *events, int max, int64_t timeout_ms)
{
    uint64_t limit_ns = timeout_ms == 0 ? NEVER : context_current()->deadline_ns;

    if (!p || !events || max < 1 || poller_inherited(p))
        return -EINVAL;
    if (timeout_ms != 0 && context_spends(context_current()))
        wait_spent();
    int rc = wait_expired(limit_ns);
    if (rc == 0 && timeout_ms != 0 && context_cancelled(context_current()))
        rc = -ECANCELED;
    if (rc < 0)
        return rc;
    if (atomic_exchange_explicit(&p->waiting, true, memory_order_acquire))
        return -EBUSY;
    uint64_t deadline_ns = timeout_ms == 0 ? 0 : clock_deadline(timeout_ms);
    rc = wait_until(p, events, max, earlier(deadline_ns, limit_ns));
    return rc == WEIR_EDEADLINE && deadline_ns <= limit_ns ? 0 : rc;
}
