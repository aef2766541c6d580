/* An echo server on io_uring alone; what the others are measured by. Receives and sends both go
 * through the ring, one submit-and-wait a turn. Prints `PORT PID`. */
#include "support/bench.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENTRIES     256
#define COMPLETIONS 32768

struct connection {
    int fd;
    bool sending;
    char buf[1024];
};

static struct io_uring ring;

static struct io_uring_sqe *next_entry(struct connection *c)
{
    struct io_uring_sqe *e = io_uring_get_sqe(&ring);

    if (!e) {
        bench_check("io_uring_submit", io_uring_submit(&ring));
        e = io_uring_get_sqe(&ring);
    }
    io_uring_sqe_set_data(e, c);
    return e;
}

static void submit_recv(struct connection *c)
{
    c->sending = false;
    io_uring_prep_recv(next_entry(c), c->fd, c->buf, sizeof c->buf, 0);
}

static void submit_send(struct connection *c, size_t len)
{
    c->sending = true;
    /* MSG_WAITALL: the ring goes on by itself until all is sent. */
    io_uring_prep_send(next_entry(c), c->fd, c->buf, len, MSG_NOSIGNAL | MSG_WAITALL);
}

static void submit_accept(int listener_fd)
{
    io_uring_prep_multishot_accept(next_entry(NULL), listener_fd, NULL, NULL, SOCK_CLOEXEC);
}

static void accepted(int fd)
{
    struct connection *c = fd < 0 ? NULL : malloc(sizeof *c);

    if (!c)
        return;
    c->fd = fd;
    submit_recv(c);
}

static void done(struct connection *c, int result)
{
    if (result <= 0) {
        close(c->fd);
        free(c);
    } else if (c->sending) {
        submit_recv(c);
    } else {
        submit_send(c, (size_t)result);
    }
}

static void open_ring(void)
{
    struct io_uring_params p = {
        .flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_CQSIZE,
        .cq_entries = COMPLETIONS,
    };

    bench_check("io_uring_queue_init", io_uring_queue_init_params(ENTRIES, &ring, &p));
}

static void turn(int listener_fd)
{
    struct io_uring_cqe *e;
    unsigned head, count = 0;

    (void)io_uring_submit_and_wait(&ring, 1);
    io_uring_for_each_cqe(&ring, head, e)
    {
        struct connection *c = io_uring_cqe_get_data(e);
        count++;
        if (c)
            done(c, e->res);
        else
            accepted(e->res);
        if (!c && !(e->flags & IORING_CQE_F_MORE))
            submit_accept(listener_fd);
    }
    io_uring_cq_advance(&ring, count);
}

int main(void)
{
    int listener_fd = bench_serve(false);

    open_ring();
    submit_accept(listener_fd);
    for (;;)
        turn(listener_fd);
}
