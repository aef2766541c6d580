/* The same echo server with libev. Prints `PORT PID`. */
#include "support/echo.h"

#include <ev.h>

struct connection {
    struct echo echo; /* first: ends as one */
    ev_io io;
};

static void ready(struct ev_loop *loop, ev_io *io, int events)
{
    struct echo *c = io->data;
    ssize_t n = c->rest ? echo_flush(c) : echo_once(c);
    int wanted = c->rest ? EV_WRITE : EV_READ;

    if (n < 0) {
        ev_io_stop(loop, io);
        echo_end(c);
    } else if (!(events & wanted)) {
        ev_io_stop(loop, io);
        ev_io_set(io, c->fd, wanted);
        ev_io_start(loop, io);
    }
}

static void accept_one(struct ev_loop *loop, ev_io *listener, int events)
{
    (void)events;
    int fd = echo_accept(listener->fd);
    struct connection *c = fd < 0 ? NULL : calloc(1, sizeof *c);

    if (!c)
        return;
    c->echo.fd = fd;
    c->io.data = &c->echo;
    ev_io_init(&c->io, ready, fd, EV_READ);
    ev_io_start(loop, &c->io);
}

int main(void)
{
    ev_io listener;
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);

    if (!loop)
        bench_fail("ev_default_loop", -ENOSYS);
    ev_io_init(&listener, accept_one, bench_serve(true), EV_READ);
    ev_io_start(loop, &listener);
    ev_run(loop, 0);
    return 0;
}
