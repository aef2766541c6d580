/* One raw client for all echo servers, and the one who measures them:
 *
 *     echo_client SIZE CONNECTIONS REQUESTS ROUNDS NAME:PORT:PID:IDLE...
 *
 * Each connection has one message of SIZE bytes on its way. A round is REQUESTS of them against
 * each server in turn, then against each in the opposite order, so that whatever drifts meets all
 * alike. Each block follows a message on every connection that is not counted, so that every
 * server finds its memory in the caches, not only the one that was the last to run. With 0 ROUNDS
 * a first exchange of REQUESTS is all there is. IDLE more connections to that server say nothing.
 * Prints `ROUND NAME CPU TIME` for each block, in nanoseconds: the CPU time that the server has
 * used, and the time that has passed.
 *
 * The connections to each server are in a process of their own, so that the descriptors suffice. */
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
    long idle;
    clockid_t cpu;
    int child_fd; /* takes a number of messages, says a byte when they are back */
};

static char out[65536], in[65536];
static size_t size;
static long connections, requests;

/* ---- a child: the connections to one server -------------------------------------------------- */

static uint16_t port;
static int epoll_fd;
static struct connection *all;

static void send_message(const struct connection *c)
{
    for (size_t sent = 0; sent < size;)
        sent += (size_t)bench_errno("send", send(c->fd, out + sent, size - sent, MSG_NOSIGNAL));
}

static void connect_all(void)
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

static void exchange_as_told(int fd)
{
    long count;

    bench_many_descriptors();
    connect_all();
    while (read(fd, &count, sizeof count) == sizeof count) {
        exchange(count);
        bench_errno("write", write(fd, "", 1));
    }
}

static void hold_idle(int fd)
{
    char byte;

    bench_many_descriptors();
    for (long i = 0; i < connections; i++)
        (void)bench_connect(port);
    bench_errno("write", write(fd, "", 1));
    (void)!read(fd, &byte, 1);
}

/* ---- the parent: whose turn it is ------------------------------------------------------------ */

static void await(int fd)
{
    char byte;

    if (read(fd, &byte, 1) != 1)
        exit(1); /* the child has said why */
}

static void tell(const struct peer *peer, long count)
{
    bench_errno("write", write(peer->child_fd, &count, sizeof count));
    await(peer->child_fd);
}

static int start_child(void (*fn)(int fd))
{
    int pair[2];

    bench_errno("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    bench_child(fn, pair[1]);
    close(pair[1]);
    return pair[0];
}

static uint64_t cpu_ns(const struct peer *peer)
{
    struct timespec ts;

    bench_errno("clock_gettime", clock_gettime(peer->cpu, &ts));
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void block(const struct peer *peer, long round)
{
    tell(peer, connections < requests ? connections : requests);
    uint64_t start_ns = bench_now_ns(), start_cpu_ns = cpu_ns(peer);
    tell(peer, requests);
    uint64_t used_ns = cpu_ns(peer) - start_cpu_ns;
    printf("%ld %s %lu %lu\n", round, peer->name, (unsigned long)used_ns,
           (unsigned long)(bench_now_ns() - start_ns));
}

static void connect_peer(struct peer *peer)
{
    port = peer->port;
    if (peer->idle > 0) {
        long busy = connections;
        connections = peer->idle;
        await(start_child(hold_idle));
        connections = busy;
    }
    peer->child_fd = start_child(exchange_as_told);
    tell(peer, requests);
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
    peer->idle = bench_number(part[3], 0);
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
    bench_pin(1);
    for (int i = 0; i < count; i++) {
        parse_peer(&peers[i], argv[5 + i]);
        connect_peer(&peers[i]);
    }
    for (long round = 0; round < rounds; round++) {
        for (int i = 0; i < count; i++)
            block(&peers[(round + i) % count], round);
        for (int i = count; i-- > 0;)
            block(&peers[(round + i) % count], round);
    }
    free(peers);
    return 0;
}
