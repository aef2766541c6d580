#include "poller_watch.h"

#include "context.h"
#include "socket.h"
#include "sys.h"

/* When the kernel has no memory or no room to watch a descriptor, look again after this. */
#define RETRY_NS (50 * NS_PER_MS)

/* So many removed watches are kept for a thread that waits, then it is made to let them go. */
#define GRAVES_MAX 64

bool poller_inherited(const struct weir_poller *p)
{
    return p->fork_count != context_fork_count();
}

void poller_raise(struct weir_poller *p)
{
    if (!p->raised)
        sys_eventfd_raise(p->wake_fd);
    p->raised = true;
}

void poller_lower(struct weir_poller *p)
{
    if (!p->raised || p->woken || node_linked(&p->look) || p->grave_count >= GRAVES_MAX)
        return;
    sys_eventfd_drain(p->wake_fd);
    p->raised = false;
}

void poller_arm(struct weir_poller *p)
{
    const struct timer *first = heap_first(&p->timers);

    if (!first || first->at_ns >= p->armed_ns)
        return;
    p->armed_ns = first->at_ns;
    (void)sys_timerfd_set(p->timer_fd, p->armed_ns);
}

/* ---- the epoll set --------------------------------------------------------------------------- */

/* Takes out the i-th descriptor. Closing it would not do: the kernel keeps the entry for as long as
 * a child or a duplicate has the file open. (both locks) */
static void drop_fd(struct watch *w, unsigned i)
{
    /* If this fails, the descriptor was closed behind our back. */
    if (sys_epoll_ctl(w->poller->epoll_fd, EPOLL_CTL_DEL, w->fds[i].fd, NULL) < 0)
        w->orphaned = true;
    w->fds[i] = w->fds[--w->count];
}

static bool wants_fd(const struct interest *in, int fd)
{
    for (unsigned i = 0; i < in->count; i++)
        if (in->fds[i].fd == fd && in->fds[i].events)
            return true;
    return false;
}

/* Puts a descriptor in, or changes its entry, unless it is known to be there like that. 0 or
 * -errno. (both locks) */
static int put_fd(struct watch *w, int fd, uint32_t events, bool trusted)
{
    struct epoll_event event = {
        .events = events,
        .data.ptr = w->connecting ? &w->attempt_source : &w->socket_source,
    };
    unsigned i = 0;

    while (i < w->count && w->fds[i].fd != fd)
        i++;
    if (i < w->count) {
        if (trusted && w->fds[i].events == events)
            return 0;
        int rc = sys_epoll_ctl(w->poller->epoll_fd, EPOLL_CTL_MOD, fd, &event);
        if (rc == 0)
            w->fds[i].events = events;
        if (rc != -ENOENT)
            return rc;
        w->fds[i] = w->fds[--w->count]; /* another file has got the number */
    }
    int rc = sys_epoll_ctl(w->poller->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    if (rc == 0) {
        w->fds[w->count].fd = fd;
        w->fds[w->count++].events = events;
    }
    return rc;
}

/* Makes the epoll set hold what is wanted, nothing else. 0, or the first failure. (both locks) */
static int put_fds(struct watch *w, const struct interest *in, bool connecting)
{
    /* An attempt may have given way to another that got its number. */
    bool trusted = !connecting && !w->connecting;
    int failure = 0;

    for (unsigned i = w->count; i-- > 0;)
        if (!wants_fd(in, w->fds[i].fd))
            drop_fd(w, i);
    w->connecting = connecting;
    w->socket_source = connecting ? SOURCE_STALE : SOURCE_SOCKET;
    w->attempt_source = connecting ? SOURCE_ATTEMPT : SOURCE_STALE;
    for (unsigned i = 0; i < in->count; i++) {
        if (!in->fds[i].events || in->fds[i].fd == w->always_fd)
            continue;
        int rc = put_fd(w, in->fds[i].fd, (uint32_t)in->fds[i].events, trusted);
        if (rc == -EPERM) /* a regular file and its like */
            w->always_fd = in->fds[i].fd;
        else if (rc < 0 && failure == 0)
            failure = rc;
    }
    return failure;
}

/* ---- the socket's changes -------------------------------------------------------------------- */

/* To be looked at by the waiting thread: `at_once` before, otherwise behind all others. (lock) */
static void look_later(struct watch *w, bool at_once)
{
    struct weir_poller *p = w->poller;

    if (!node_linked(&w->look))
        node_link(&w->look, at_once ? p->look.next : &p->look);
    if (!w->looking)
        poller_raise(p);
}

static bool fails_for_now(int rc)
{
    return rc == -ENOMEM || rc == -ENOSPC;
}

int watch_sync(struct watch *w)
{
    struct weir_poller *p = w->poller;
    struct interest in;

    socket_interest(w->socket, w->events, &in);
    bool at_once = in.wake_at_ns == 0;
    pthread_mutex_lock(&p->lock);
    int rc = put_fds(w, &in, w->socket->connect != NULL);
    w->drives = in.drives;
    w->ready = in.ready & w->events;
    if ((rc < 0 && !fails_for_now(rc)) || wants_fd(&in, w->always_fd))
        w->ready = w->events;
    if (fails_for_now(rc))
        in.wake_at_ns = earlier(in.wake_at_ns, sys_now() + RETRY_NS);
    heap_set(&p->timers, &w->timer, at_once ? NEVER : in.wake_at_ns);
    poller_arm(p);
    if (w->ready || at_once) {
        look_later(w, at_once);
    } else {
        node_unlink(&w->look);
        poller_lower(p);
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

static void watch_wake(struct waiter *waiter, enum wake_reason why)
{
    struct watch *w = (struct watch *)waiter;
    struct weir_poller *p = w->poller;

    if (poller_inherited(p)) {
        /* The poller's lock may have been copied while another thread had it. */
        if (why == WAKE_GONE)
            waiter_unlink(waiter);
    } else if (why == WAKE_GONE) {
        pthread_mutex_lock(&p->lock);
        watch_end(w);
        pthread_mutex_unlock(&p->lock);
    } else {
        (void)watch_sync(w);
    }
}

/* ---- beginning and end ----------------------------------------------------------------------- */

struct watch *watch_new(struct weir_poller *p, weir_socket *s, unsigned events, void *data)
{
    struct watch *w = sys_alloc(sizeof *w);

    if (!w)
        return NULL;
    w->waiter.wake = watch_wake;
    w->poller = p;
    w->socket = s;
    w->events = events;
    w->data = data;
    w->always_fd = -1;
    w->timer.at_ns = NEVER;
    node_init(&w->look);
    node_init(&w->all);
    return w;
}

struct watch *watch_find(struct weir_poller *p, weir_socket *s)
{
    for (struct waiter *waiter = s->waiters; waiter; waiter = waiter->next) {
        struct watch *w = (struct watch *)waiter;
        if (waiter->wake == watch_wake && w->poller == p)
            return w;
    }
    return NULL;
}

int watch_begin(struct watch *w)
{
    struct weir_poller *p = w->poller;

    pthread_mutex_lock(&p->lock);
    int rc = heap_reserve(&p->timers, p->watch_count + 1);
    if (rc == 0) {
        node_link(&w->all, &p->watches);
        p->watch_count++;
    }
    pthread_mutex_unlock(&p->lock);
    if (rc < 0) {
        free(w);
        return rc;
    }
    waiter_link(w->socket, &w->waiter);
    rc = watch_sync(w);
    if (rc < 0) {
        pthread_mutex_lock(&p->lock);
        watch_end(w);
        pthread_mutex_unlock(&p->lock);
    }
    return rc;
}

void watch_end(struct watch *w)
{
    struct weir_poller *p = w->poller;

    waiter_unlink(&w->waiter);
    while (w->count)
        drop_fd(w, w->count - 1);
    heap_set(&p->timers, &w->timer, NEVER);
    node_unlink(&w->look);
    node_unlink(&w->all);
    w->socket_source = w->attempt_source = SOURCE_STALE;
    w->ready = 0;
    w->dead = true;
    p->watch_count--;
    pthread_cond_signal(&p->watch_ended);
    if (w->orphaned) {
        w->next_dead = p->orphans;
        p->orphans = w;
    } else if (atomic_load_explicit(&p->waiting, memory_order_relaxed)) {
        w->next_dead = p->graves;
        p->graves = w;
        if (++p->grave_count >= GRAVES_MAX)
            poller_raise(p);
    } else {
        /* No thread can come to hold an event of it any more: it is out of the epoll set, and
         * `waiting` is raised before epoll_wait is called. */
        free(w);
    }
    poller_lower(p);
}
