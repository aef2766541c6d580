#include <weir/poller.h>

#include "clock.h"
#include "context.h"
#include "poller_watch.h"
#include "socket.h"
#include "sys.h"

#define HARVEST_FIRST 16

static void free_all(struct watch *dead)
{
    while (dead) {
        struct watch *next = dead->next_dead;
        free(dead);
        dead = next;
    }
}

void poller_bury(struct weir_poller *p)
{
    free_all(p->graves);
    p->graves = NULL;
    p->grave_count = 0;
}

/* Frees a poller that watches nothing; the destructor of one that is half made, too. */
static void poller_free(struct weir_poller *p)
{
    sys_close(p->epoll_fd);
    sys_close(p->wake_fd);
    sys_close(p->timer_fd);
    free_all(p->orphans);
    heap_fini(&p->timers);
    free(p->harvest);
    pthread_cond_destroy(&p->watch_ended);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static int add_own(struct weir_poller *p, int fd, enum source *source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};

    return fd < 0 ? fd : sys_epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* The timerfd is made now and not when it is first needed, which may be in the middle of another
 * thread's connect, where there is nobody to tell that there are no descriptors left. */
static int open_descriptors(struct weir_poller *p)
{
    p->epoll_fd = sys_epoll_create();
    if (p->epoll_fd < 0)
        return p->epoll_fd;
    p->wake_fd = sys_eventfd();
    int rc = add_own(p, p->wake_fd, &p->wake_source);
    if (rc < 0)
        return rc;
    p->timer_fd = sys_timerfd();
    return add_own(p, p->timer_fd, &p->timer_source);
}

int weir_poller_open(weir_poller **ret)
{
    int rc = -ENOMEM;

    if (!ret)
        return -EINVAL;
    struct weir_poller *p = sys_alloc(sizeof *p);
    if (!p)
        return -ENOMEM;
    p->epoll_fd = p->wake_fd = p->timer_fd = -1;
    p->wake_source = SOURCE_WAKE;
    p->timer_source = SOURCE_TIMER;
    p->armed_ns = NEVER;
    p->fork_count = context_fork_count();
    node_init(&p->look);
    node_init(&p->watches);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->watch_ended, NULL);
    p->harvest = sys_alloc(HARVEST_FIRST * sizeof *p->harvest);
    p->harvest_room = HARVEST_FIRST;
    if (!p->harvest)
        goto fail;
    rc = open_descriptors(p);
    if (rc < 0)
        goto fail;
    *ret = p;
    return 0;

fail:
    poller_free(p);
    return rc;
}

/* False if the socket cannot be told, because its lock was copied while another thread had it. */
static bool forget_watch(struct watch *w)
{
    if (w->waiter.link) {
        if (pthread_mutex_trylock(&w->socket->lock))
            return false;
        waiter_unlink(&w->waiter);
        pthread_mutex_unlock(&w->socket->lock);
    }
    node_unlink(&w->all);
    free(w);
    return true;
}

/* In a child: touches nothing that is shared with the parent. Of the copied memory, what another
 * thread was at work on when the process forked is left alone and not freed. */
static void close_inherited(struct weir_poller *p)
{
    struct node *next;

    sys_close(p->epoll_fd);
    sys_close(p->wake_fd);
    sys_close(p->timer_fd);
    p->epoll_fd = p->wake_fd = p->timer_fd = -1;
    if (pthread_mutex_trylock(&p->lock))
        return;
    bool complete = true;
    for (struct node *n = p->watches.next; n != &p->watches; n = next) {
        next = n->next;
        complete &= forget_watch(CONTAINER(n, struct watch, all));
    }
    poller_bury(p);
    pthread_mutex_unlock(&p->lock);
    if (complete)
        poller_free(p);
}

/* -ENOENT if the socket is not watched. The caller holds a reference. */
static int end_watch_of(struct weir_poller *p, weir_socket *s)
{
    pthread_mutex_lock(&s->lock);
    struct watch *w = watch_find(p, s);
    if (w) {
        pthread_mutex_lock(&p->lock);
        watch_end(w);
        pthread_mutex_unlock(&p->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return w ? 0 : -ENOENT;
}

int weir_poller_close(weir_poller *p)
{
    if (!p)
        return 0;
    if (poller_inherited(p)) {
        close_inherited(p);
        return 0;
    }
    pthread_mutex_lock(&p->lock);
    while (node_linked(&p->watches)) {
        weir_socket *s = CONTAINER(p->watches.next, struct watch, all)->socket;
        if (!socket_try_ref(s)) {
            /* Another thread is giving up the last reference and will end the watch itself. */
            pthread_cond_wait(&p->watch_ended, &p->lock);
            continue;
        }
        pthread_mutex_unlock(&p->lock);
        (void)end_watch_of(p, s);
        socket_unref(s);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    poller_free(p);
    return 0;
}

static bool unusable(const struct weir_poller *p, const weir_socket *s, unsigned events)
{
    return !p || !s || events & ~(unsigned)(WEIR_READABLE | WEIR_WRITABLE) || poller_inherited(p);
}

int weir_poller_add(weir_poller *p, weir_socket *s, unsigned events, void *data)
{
    if (unusable(p, s, events))
        return -EINVAL;
    struct watch *w = watch_new(p, s, events, data);
    if (!w)
        return -ENOMEM;
    pthread_mutex_lock(&s->lock);
    bool there = watch_find(p, s) != NULL;
    int rc = there ? -EEXIST : watch_begin(w);
    pthread_mutex_unlock(&s->lock);
    if (there)
        free(w);
    return rc;
}

static int watch_change(struct watch *w, unsigned events, void *data)
{
    pthread_mutex_lock(&w->poller->lock);
    w->events = events;
    w->data = data;
    pthread_mutex_unlock(&w->poller->lock);
    return watch_sync(w);
}

int weir_poller_modify(weir_poller *p, weir_socket *s, unsigned events, void *data)
{
    int rc = -ENOENT;

    if (unusable(p, s, events))
        return -EINVAL;
    pthread_mutex_lock(&s->lock);
    struct watch *w = watch_find(p, s);
    if (w) {
        unsigned old_events = w->events;
        void *old_data = w->data;
        rc = watch_change(w, events, data);
        if (rc < 0)
            (void)watch_change(w, old_events, old_data);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int weir_poller_remove(weir_poller *p, weir_socket *s)
{
    return unusable(p, s, 0) ? -EINVAL : end_watch_of(p, s);
}

int weir_poller_wake(weir_poller *p)
{
    if (!p || poller_inherited(p))
        return -EINVAL;
    pthread_mutex_lock(&p->lock);
    p->woken = true;
    poller_raise(p);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

int weir_poller_fd(const weir_poller *p)
{
    return p ? p->epoll_fd : -EINVAL;
}
