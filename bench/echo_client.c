/* One raw client for all echo servers, and the one who measures them:
 *
 *     echo_client SIZE CONNECTIONS REQUESTS ROUNDS NAME:PORT:PID:IDLE...
 *
 * Each connection has one message of SIZE bytes on its way. A round is REQUESTS of them against
 * each server in turn, then against each in the opposite order, so that whatever drifts meets all
 * alike. A first exchange of REQUESTS with each warms up and is not shown; with 0 ROUNDS it is all
 * there is. IDLE more connections to that server say nothing. Prints `ROUND NAME NANOSECONDS` for
 * each block: the CPU time that the server has used. */
#include "support/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct connection {
    int fd;
    size_t received;
};

struct peer {
    const char *name;
    uint16_t port;
    clockid_t cpu;
    int epoll_fd;
    struct connection *connections;
};

static char out[65536], in[65536];
static size_t size;
static long connections, requests;

static uint64_t cpu_ns(const struct peer *peer)
{
    struct timespec ts;

    bench_errno("clock_gettime", clock_gettime(peer->cpu, &ts));
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void send_message(const struct connection *c)
{
    for (size_t sent = 0; sent < size;)
        sent += (size_t)bench_errno("send", send(c->fd, out + sent, size - sent, MSG_NOSIGNAL));
}

static uint16_t idle_port;
static long idle_count;

static void hold_idle(int ready_fd)
{
    for (long i = 0; i < idle_count; i++)
        (void)bench_connect(idle_port);
    bench_errno("write", write(ready_fd, "", 1));
    pause();
}

/* In a process of their own, so that the descriptors suffice; returns when all are connected. */
static void connect_idle(uint16_t port, long idle)
{
    int ready[2];
    char byte;

    bench_errno("pipe", pipe(ready));
    idle_port = port;
    idle_count = idle;
    bench_child(hold_idle, ready[1]);
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        exit(1);
    close(ready[0]);
}

static void connect_peer(struct peer *peer, long idle)
{
    peer->epoll_fd = (int)bench_errno("epoll_create1", epoll_create1(EPOLL_CLOEXEC));
    peer->connections = calloc((size_t)connections, sizeof *peer->connections);
    if (!peer->connections)
        bench_fail("calloc", -ENOMEM);
    for (long i = 0; i < connections; i++) {
        struct connection *c = &peer->connections[i];
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        c->fd = bench_connect(peer->port);
        bench_errno("epoll_ctl", epoll_ctl(peer->epoll_fd, EPOLL_CTL_ADD, c->fd, &e));
    }
    if (idle > 0)
        connect_idle(peer->port, idle);
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

static void exchange(struct peer *peer)
{
    struct epoll_event events[256];
    long begun = 0, ended = 0;

    for (; begun < connections && begun < requests; begun++)
        send_message(&peer->connections[begun]);
    while (ended < requests) {
        int n = epoll_wait(peer->epoll_fd, events, BENCH_LENGTH(events), -1);
        for (int i = 0; i < n; i++) {
            if (!receive(events[i].data.ptr))
                continue;
            ended++;
            if (begun < requests) {
                send_message(events[i].data.ptr);
                begun++;
            }
        }
    }
}

static void block(struct peer *peer, long round)
{
    uint64_t start_ns = cpu_ns(peer);

    exchange(peer);
    printf("%ld %s %lu\n", round, peer->name, (unsigned long)(cpu_ns(peer) - start_ns));
}

static void parse_peer(struct peer *peer, char *text)
{
    char *part[4] = {NULL};

    for (int i = 0; i < 4; i++)
        part[i] = strsep(&text, ":");
    if (!part[3]) {
        fprintf(stderr, "a server is NAME:PORT:PID:IDLE\n");
        exit(2);
    }
    peer->name = part[0];
    peer->port = (uint16_t)bench_number(part[1], 1);
    int rc = clock_getcpuclockid((pid_t)bench_number(part[2], 1), &peer->cpu);
    bench_check("clock_getcpuclockid", -rc);
    connect_peer(peer, bench_number(part[3], 0));
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr,
                "usage: echo_client SIZE CONNECTIONS REQUESTS ROUNDS NAME:PORT:PID:IDLE...\n");
        return 2;
    }
    int count = argc - 5;
    size = (size_t)bench_number(argv[1], 1);
    connections = bench_number(argv[2], 1);
    requests = bench_number(argv[3], 1);
    long rounds = bench_number(argv[4], 0);
    struct peer *peers = calloc((size_t)count, sizeof *peers);
    if (!peers || size > sizeof out)
        bench_fail("a message of this size", -ENOMEM);
    bench_many_descriptors();
    bench_pin(1);
    for (int i = 0; i < count; i++)
        parse_peer(&peers[i], argv[5 + i]);
    for (int i = 0; i < count; i++)
        exchange(&peers[i]);
    for (long round = 0; round < rounds; round++) {
        for (int i = 0; i < count; i++)
            block(&peers[i], round);
        for (int i = count; i-- > 0;)
            block(&peers[i], round);
    }
    free(peers);
    return 0;
}
