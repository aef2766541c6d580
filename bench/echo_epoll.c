/* An echo server on epoll(7) alone; what the others are measured by. Prints `PORT PID`. */
#include "support/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    int fd;
    char *rest; /* what had no room yet; NULL if nothing */
    size_t rest_len;
};

static char buf[65536];
static int epoll_fd;

static void watch(struct connection *c, int op, unsigned events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};

    bench_errno("epoll_ctl", epoll_ctl(epoll_fd, op, c->fd, &e));
}

static void end(struct connection *c)
{
    close(c->fd);
    free(c->rest);
    free(c);
}

static void keep_rest(struct connection *c, const char *from, size_t len)
{
    char *rest = malloc(len);

    if (!rest)
        bench_fail("malloc", -ENOMEM);
    memcpy(rest, from, len);
    free(c->rest);
    c->rest = rest;
    c->rest_len = len;
    watch(c, EPOLL_CTL_MOD, EPOLLOUT);
}

static void readable(struct connection *c)
{
    ssize_t n = recv(c->fd, buf, sizeof buf, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        end(c);
        return;
    }
    ssize_t m = send(c->fd, buf, (size_t)n, MSG_NOSIGNAL);
    if (m < 0 && errno != EAGAIN)
        end(c);
    else if (m < n)
        keep_rest(c, buf + (m > 0 ? m : 0), (size_t)(n - (m > 0 ? m : 0)));
}

static void writable(struct connection *c)
{
    ssize_t m = send(c->fd, c->rest, c->rest_len, MSG_NOSIGNAL);

    if (m < 0 && errno == EAGAIN)
        return;
    if (m < 0) {
        end(c);
    } else if ((size_t)m < c->rest_len) {
        keep_rest(c, c->rest + m, c->rest_len - (size_t)m);
    } else {
        free(c->rest);
        c->rest = NULL;
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
    }
}

static void accept_one(struct connection *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct connection *c = fd < 0 ? NULL : calloc(1, sizeof *c);

    if (!c)
        return;
    c->fd = fd;
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

int main(void)
{
    struct epoll_event events[256];
    struct connection listener = {.fd = -1};
    uint16_t port;

    bench_many_descriptors();
    listener.fd = bench_listen(&port);
    epoll_fd = (int)bench_errno("epoll_create1", epoll_create1(EPOLL_CLOEXEC));
    watch(&listener, EPOLL_CTL_ADD, EPOLLIN);
    printf("%u %d\n", (unsigned)port, (int)getpid());
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, BENCH_LENGTH(events), -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c == &listener)
                accept_one(c);
            else if (c->rest)
                writable(c);
            else
                readable(c);
        }
    }
}
