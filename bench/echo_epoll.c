/* An echo server on epoll(7) alone; what the others are measured by. Each connection is registered
 * once, edge-triggered, and is not tried again after a short read. Prints `PORT PID`. */
#include "support/echo.h"

#include <sys/epoll.h>

static int epoll_fd;

static void watch(int fd, unsigned events, void *data)
{
    struct epoll_event e = {.events = events, .data.ptr = data};

    bench_errno("epoll_ctl", epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e));
}

/* Until nothing can be left, since what is left is not reported again: that is after a short read,
 * unless the peer has ended, which would be seen by the next one. */
static void ready(struct echo *c, unsigned events)
{
    bool ending = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    ssize_t n;

    do {
        ssize_t left = c->rest ? echo_flush(c) : 0;
        if (left > 0)
            return;
        n = left < 0 ? -1 : echo_once(c);
    } while (n > 0 && (n == sizeof echo_buf || c->rest || ending));
    if (n < 0)
        echo_end(c);
}

static void accept_one(int listener_fd)
{
    int fd = echo_accept(listener_fd);
    struct echo *c = fd < 0 ? NULL : calloc(1, sizeof *c);

    if (!c)
        return;
    c->fd = fd;
    watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, c);
}

int main(void)
{
    struct epoll_event events[256];
    int listener_fd = bench_serve(true);

    epoll_fd = (int)bench_errno("epoll_create1", epoll_create1(EPOLL_CLOEXEC));
    watch(listener_fd, EPOLLIN, NULL);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, BENCH_LENGTH(events), -1);
        for (int i = 0; i < n; i++) {
            struct echo *c = events[i].data.ptr;
            if (c)
                ready(c, events[i].events);
            else
                accept_one(listener_fd);
        }
    }
}
