/* One raw client for all echo servers, and the one who measures them:
 *
 *     echo_client SIZE CONNECTIONS REQUESTS ROUNDS NAME:PORT:PID:IDLE...
 *
 * Each connection has one message of SIZE bytes on its way, in lines of 64 bytes. A round is
 * REQUESTS of them against each server in turn, then against each in the opposite order, so that
 * whatever drifts meets all alike. Each block follows a message on every connection that is not
 * counted, so that every server finds its memory in the caches, not only the one that was the last
 * to run. With 0 ROUNDS a first exchange of REQUESTS is all there is. IDLE more connections to that
 * server say nothing.
 * Prints `ROUND NAME CPU TIME` for each block, in nanoseconds: the CPU time that the server has
 * used, and the time that has passed.
 *
 * The connections to each server are in a process of their own, so that the descriptors suffice. */
#include "support/turns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

struct connection {
    int fd;
    size_t received;
};

static char out[65536], in[65536];
static size_t size;
static long connections;

static int epoll_fd;
static struct connection *all;

static void send_message(const struct connection *c)
{
    for (size_t sent = 0; sent < size;)
        sent += (size_t)bench_errno("send", send(c->fd, out + sent, size - sent, MSG_NOSIGNAL));
}

static void connect_all(uint16_t port)
{
    epoll_fd = (int)bench_errno("epoll_create1", epoll_create1(EPOLL_CLOEXEC));
    all = calloc((size_t)connections, sizeof *all);
    if (!all)
        bench_fail("calloc", -ENOMEM);
    for (long i = 0; i < connections; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = bench_connect(port);
        bench_errno("epoll_ctl", epoll_ctl(epoll_fd, EPOLL_CTL_ADD, all[i].fd, &e));
    }
}

/* Receives once. Returns 1 when the whole message is back. */
static int receive(struct connection *c)
{
    ssize_t n = recv(c->fd, in, size - c->received, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        bench_fail("the server ended the connection", n < 0 ? -errno : 0);
    c->received += (size_t)n;
    if (c->received < size)
        return 0;
    c->received = 0;
    return 1;
}

static void exchange(long count)
{
    struct epoll_event events[256];
    long begun = 0, ended = 0;

    for (; begun < connections && begun < count; begun++)
        send_message(&all[begun]);
    while (ended < count) {
        int n = epoll_wait(epoll_fd, events, BENCH_LENGTH(events), -1);
        for (int i = 0; i < n; i++) {
            if (!receive(events[i].data.ptr))
                continue;
            ended++;
            if (begun < count) {
                send_message(events[i].data.ptr);
                begun++;
            }
        }
    }
}

static void exchange_as_told(uint16_t port, int fd)
{
    connect_all(port);
    for (long count; (count = turns_told(fd)) > 0;) {
        exchange(count);
        turns_done(fd);
    }
}

static void hold_idle(uint16_t port, long count, int fd)
{
    for (long i = 0; i < count; i++)
        (void)bench_connect(port);
    turns_done(fd);
}

int main(int argc, char **argv)
{
    struct turns turns = {.serve = exchange_as_told, .idle = hold_idle};

    if (argc < 6) {
        fprintf(stderr,
                "usage: echo_client SIZE CONNECTIONS REQUESTS ROUNDS NAME:PORT:PID:IDLE...\n");
        return 2;
    }
    size = (size_t)bench_number(argv[1], 1);
    connections = bench_number(argv[2], 1);
    turns.requests = bench_number(argv[3], 1);
    turns.rounds = bench_number(argv[4], 0);
    turns.first = connections < turns.requests ? connections : turns.requests;
    if (size > sizeof out)
        bench_fail("a message of this size", -ENOMEM);
    for (size_t end = 64; end <= size; end += 64)
        out[end - 1] = '\n';
    turns_take(&turns, argv + 5, argc - 5);
    return 0;
}
