/* epoll(7). Each descriptor is registered once, edge-triggered, and stays so until it is closed:
 * a wait costs no system call of its own. */
#include "../clock.h"
#include "../sys.h"
#include "../task/sanitizer.h"
#include "loop.h"

#define HARVEST 256

struct epoll {
    struct epoll_event events[HARVEST]; /* first: packed, and so without an alignment of its own */
    int epoll_fd, wake_fd;
    bool coarse; /* milliseconds: the kernel, or Valgrind, does not know epoll_pwait2 */
};

static void epoll_loop_close(struct loop *l)
{
    struct epoll *e = l->backend;

    sys_close(e->epoll_fd);
    sys_close(e->wake_fd);
    free(e);
    l->backend = NULL;
}

static int epoll_loop_open(struct loop *l, const char **ret_step)
{
    struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.u64 = loop_key(-1, 0)};
    struct epoll *e = sys_alloc(sizeof *e);
    int rc;

    *ret_step = "memory";
    if (!e)
        return -ENOMEM;
    l->backend = e;
    e->wake_fd = -1;
    e->coarse = RUNNING_ON_VALGRIND;
    *ret_step = "epoll_create1";
    rc = e->epoll_fd = sys_epoll_create();
    if (rc >= 0) {
        *ret_step = "eventfd";
        rc = e->wake_fd = sys_eventfd();
    }
    if (rc >= 0) {
        *ret_step = "epoll_ctl";
        rc = sys_epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->wake_fd, &wake);
    }
    if (rc < 0)
        epoll_loop_close(l);
    return rc < 0 ? rc : 0;
}

static uint32_t epoll_events(short events)
{
    return (events & POLLIN ? EPOLLIN | EPOLLRDHUP | EPOLLPRI : 0U) |
           (events & POLLOUT ? EPOLLOUT : 0U) | EPOLLET;
}

/* EEXIST: the same descriptor is registered from before, its number having been closed and reused
 * only seemingly, or watched without a home. EPERM: a file, which is always ready. */
static int epoll_loop_watch(struct loop *l, int fd, struct slot *slot, short events, bool fresh)
{
    struct epoll *e = l->backend;
    struct epoll_event event = {
        .events = epoll_events(events),
        .data.u64 = loop_key(fd, slot->generation),
    };
    int rc = sys_epoll_ctl(e->epoll_fd, fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);

    if (rc == -EEXIST || rc == -ENOENT)
        rc = sys_epoll_ctl(e->epoll_fd, fresh ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    if (rc == 0)
        slot->watched = events;
    return rc == -EPERM ? 1 : rc;
}

static void epoll_loop_unwatch(struct loop *l, int fd, struct slot *slot, bool gone)
{
    struct epoll *e = l->backend;
    struct epoll_event none = {0};

    if (!gone || slot->watched == 0)
        return;
    (void)sys_epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, fd, &none);
    slot->watched = 0;
}

static int wait_for_events(struct epoll *e, uint64_t until_ns)
{
    struct timespec left;
    int rc = -ENOSYS;

    if (until_ns == 0)
        return sys_epoll_wait(e->epoll_fd, e->events, HARVEST, 0);
    if (until_ns == NEVER)
        return sys_epoll_wait(e->epoll_fd, e->events, HARVEST, -1);
    if (!e->coarse)
        rc = sys_epoll_wait_ns(e->epoll_fd, e->events, HARVEST, clock_left(until_ns, &left));
    if (rc == -ENOSYS || rc == -EPERM) {
        e->coarse = true;
        rc = sys_epoll_wait(e->epoll_fd, e->events, HARVEST, clock_left_ms(until_ns));
    }
    return rc;
}

/* Each raise of the eventfd is an edge of its own: it need not be read, and its key is nobody's.
 * The bits of epoll(7) and of poll(2) are the same on every architecture of Linux. */
static int epoll_loop_turn(struct loop *l, uint64_t until_ns)
{
    struct epoll *e = l->backend;
    int rc = wait_for_events(e, until_ns);

    for (int i = 0; i < rc; i++) {
        /* Of many descriptors what belongs to each is in no cache. */
        if (i + 4 < rc)
            loop_fetch_slot(l, e->events[i + 4].data.u64);
        if (i + 2 < rc)
            loop_fetch_receiver(l, e->events[i + 2].data.u64);
        loop_report(l, e->events[i].data.u64, (short)e->events[i].events);
    }
    return rc < 0 && rc != -EINTR ? rc : 0;
}

static void epoll_loop_wake(struct loop *l)
{
    struct epoll *e = l->backend;

    sys_eventfd_raise(e->wake_fd);
}

const struct loop_ops loop_epoll = {
    .name = "epoll",
    .open = epoll_loop_open,
    .close = epoll_loop_close,
    .watch = epoll_loop_watch,
    .unwatch = epoll_loop_unwatch,
    .turn = epoll_loop_turn,
    .wake = epoll_loop_wake,
};
