/* poll(2): works wherever there are descriptors. The kernel forgets everything between two turns,
 * so that a turn costs as much as there are descriptors waited for, and a descriptor is in the
 * array only until it has been reported: one that has hung up would end every turn otherwise. */
#include "../clock.h"
#include "../sys.h"
#include "loop.h"

#include <string.h>

struct poll_set {
    struct pollfd *fds; /* the first is `wake_fd` */
    int count, room;
    int *places; /* by descriptor: where in `fds` it is, 0: nowhere */
    int place_count;
    int wake_fd;
};

static void poll_close(struct loop *l)
{
    struct poll_set *p = l->backend;

    sys_close(p->wake_fd);
    free(p->fds);
    free(p->places);
    free(p);
    l->backend = NULL;
}

/* `count` pieces of memory in place of the `used` at `old`, which is freed; NULL, and nothing has
 * changed, without memory. */
static void *grown(void *old, size_t used, size_t count, size_t size)
{
    void *memory = sys_alloc(count * size);

    if (memory && old)
        memcpy(memory, old, used * size);
    if (memory)
        free(old);
    return memory;
}

static int reserve(struct poll_set *p, int fd)
{
    if (p->count == p->room) {
        int room = p->room ? 2 * p->room : 64;
        struct pollfd *fds = grown(p->fds, (size_t)p->count, (size_t)room, sizeof *fds);
        if (!fds)
            return -ENOMEM;
        p->fds = fds;
        p->room = room;
    }
    if (fd >= p->place_count) {
        int count = p->place_count ? p->place_count : 64;
        while (count <= fd)
            count *= 2;
        int *places = grown(p->places, (size_t)p->place_count, (size_t)count, sizeof *places);
        if (!places)
            return -ENOMEM;
        p->places = places;
        p->place_count = count;
    }
    return 0;
}

static int poll_open(struct loop *l, const char **ret_step)
{
    struct poll_set *p = sys_alloc(sizeof *p);
    int rc;

    *ret_step = "memory";
    if (!p)
        return -ENOMEM;
    l->backend = p;
    p->wake_fd = -1;
    rc = reserve(p, 0);
    if (rc == 0) {
        *ret_step = "eventfd";
        rc = p->wake_fd = sys_eventfd();
    }
    if (rc < 0) {
        poll_close(l);
        return rc;
    }
    p->fds[0] = (struct pollfd){.fd = p->wake_fd, .events = POLLIN};
    p->count = 1;
    return 0;
}

/* POLLRDHUP tells what POLLIN alone does not: that the end is near. */
static short asked(short events)
{
    return events & POLLIN ? (short)(events | POLLRDHUP) : events;
}

static int poll_watch(struct loop *l, int fd, struct slot *slot, short events, bool fresh)
{
    struct poll_set *p = l->backend;
    int rc = reserve(p, fd);

    (void)fresh;
    if (rc < 0)
        return rc;
    if (p->places[fd] == 0)
        p->places[fd] = p->count++;
    p->fds[p->places[fd]] = (struct pollfd){.fd = fd, .events = asked(events)};
    slot->watched = events;
    return 0;
}

static void take_out(struct poll_set *p, int place)
{
    struct pollfd *last = &p->fds[--p->count];

    p->places[p->fds[place].fd] = 0;
    if (place == p->count)
        return;
    p->fds[place] = *last;
    p->places[last->fd] = place;
}

static void poll_unwatch(struct loop *l, int fd, struct slot *slot, bool gone)
{
    struct poll_set *p = l->backend;

    (void)gone;
    if (fd < p->place_count && p->places[fd] != 0)
        take_out(p, p->places[fd]);
    slot->watched = 0;
}

/* What has come is not asked for again; what else is waited for stays. */
static void report(struct loop *l, int place)
{
    struct poll_set *p = l->backend;
    struct pollfd *entry = &p->fds[place];
    struct slot *slot = &l->slots[entry->fd];
    uint64_t key = loop_key(entry->fd, slot->generation);
    short events = entry->revents;
    short left = slot->watched & (short)~(events & POLLRDHUP ? events | POLLIN : events);

    if (events & ~(POLLIN | POLLOUT | POLLRDHUP))
        left = 0;
    *entry = (struct pollfd){.fd = entry->fd, .events = asked(left)};
    if (left == 0)
        take_out(p, place);
    slot->watched = left;
    loop_report(l, key, events);
}

static int poll_turn(struct loop *l, uint64_t until_ns)
{
    static const struct timespec at_once = {0};
    struct poll_set *p = l->backend;
    struct timespec left;
    int rc = sys_poll(p->fds, (nfds_t)p->count, until_ns ? clock_left(until_ns, &left) : &at_once);

    if (rc < 0)
        return rc == -EINTR ? 0 : rc;
    if (p->fds[0].revents)
        sys_eventfd_drain(p->wake_fd);
    /* From the end: whatever takes the place of one that is taken out has been looked at. */
    for (int i = p->count - 1; i > 0; i--)
        if (p->fds[i].revents)
            report(l, i);
    return 0;
}

static void poll_wake(struct loop *l)
{
    const struct poll_set *p = l->backend;

    sys_eventfd_raise(p->wake_fd);
}

const struct loop_ops loop_poll = {
    .name = "poll",
    .open = poll_open,
    .close = poll_close,
    .watch = poll_watch,
    .unwatch = poll_unwatch,
    .turn = poll_turn,
    .wake = poll_wake,
};
