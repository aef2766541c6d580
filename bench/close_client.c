/* Connects, sends a message, hears it and the end of the connection; again and again:
 *
 *     close_client SIZE CONNECTIONS REQUESTS ROUNDS NAME:PORT:PID:0...
 *
 * CONNECTIONS at a time, REQUESTS in a block. Who takes turns, and what is printed: echo_client. */
#include "support/turns.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static char bytes[65536];
static size_t size;
static long connections;

static uint16_t port;
static int epoll_fd;

/* What has come so far is in the event, so that a connection needs no memory. */
static void watch(int how, int fd, size_t received)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)received << 32 | (unsigned)fd};

    bench_errno("epoll_ctl", epoll_ctl(epoll_fd, how, fd, &e));
}

static void begin(void)
{
    int fd = bench_connect(port);

    bench_errno("send", send(fd, bytes, size, MSG_NOSIGNAL));
    watch(EPOLL_CTL_ADD, fd, 0);
}

/* A reset, so that a million ended connections do not fill the tables of the kernel. */
static void end(int fd)
{
    struct linger now = {.l_onoff = 1};

    bench_errno("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    close(fd);
}

/* Returns 1 if that was the end. */
static int hear(const struct epoll_event *e)
{
    int fd = (int)(uint32_t)e->data.u64;
    size_t received = e->data.u64 >> 32;

    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0 || (n == 0 && received != size))
            bench_fail("the server ended the connection early", n < 0 ? -errno : 0);
        if (n == 0) {
            end(fd);
            return 1;
        }
        received += (size_t)n;
    }
    watch(EPOLL_CTL_MOD, fd, received);
    return 0;
}

static void converse(long count)
{
    struct epoll_event events[256];
    long begun = 0, ended = 0;

    while (ended < count) {
        for (; begun < count && begun - ended < connections; begun++)
            begin();
        int n = epoll_wait(epoll_fd, events, BENCH_LENGTH(events), -1);
        for (int i = 0; i < n; i++)
            ended += hear(&events[i]);
    }
}

static void converse_as_told(uint16_t server, int fd)
{
    port = server;
    epoll_fd = (int)bench_errno("epoll_create1", epoll_create1(EPOLL_CLOEXEC));
    for (long count; (count = turns_told(fd)) > 0;) {
        converse(count);
        turns_done(fd);
    }
}

int main(int argc, char **argv)
{
    struct turns turns = {.serve = converse_as_told};

    if (argc < 6) {
        fprintf(stderr,
                "usage: close_client SIZE CONNECTIONS REQUESTS ROUNDS NAME:PORT:PID:0...\n");
        return 2;
    }
    size = (size_t)bench_number(argv[1], 1);
    connections = bench_number(argv[2], 1);
    turns.requests = bench_number(argv[3], 1);
    turns.rounds = bench_number(argv[4], 0);
    turns.first = connections;
    if (size > sizeof bytes)
        bench_fail("a message of this size", -ENOMEM);
    memset(bytes, '\n', size);
    turns_take(&turns, argv + 5, argc - 5);
    return 0;
}
