#include "turns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct server {
    const char *name;
    uint16_t port;
    long idle;
    clockid_t cpu;
    int child_fd; /* takes a number, says a byte when so much is done */
};

/* ---- a child --------------------------------------------------------------------------------- */

static const struct turns *turns;
static const struct server *at; /* the server of this child */

long turns_told(int fd)
{
    long count;

    return read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

void turns_done(int fd)
{
    bench_errno("write", write(fd, "", 1));
}

static void serve(int fd)
{
    bench_many_descriptors();
    turns->serve(at->port, fd);
}

static void hold_idle(int fd)
{
    char byte;

    bench_many_descriptors();
    turns->idle(at->port, at->idle, fd);
    (void)!read(fd, &byte, 1);
}

/* ---- the parent: whose turn it is ------------------------------------------------------------ */

static void await(int fd)
{
    char byte;

    if (read(fd, &byte, 1) != 1)
        exit(1); /* the child has said why */
}

static void tell(const struct server *server, long count)
{
    bench_errno("write", write(server->child_fd, &count, sizeof count));
    await(server->child_fd);
}

static int start_child(void (*fn)(int fd))
{
    int pair[2];

    bench_errno("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    bench_child(fn, pair[1]);
    close(pair[1]);
    return pair[0];
}

static uint64_t cpu_ns(const struct server *server)
{
    struct timespec ts;

    bench_errno("clock_gettime", clock_gettime(server->cpu, &ts));
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void block(const struct server *server, long round)
{
    tell(server, turns->first);
    uint64_t start_ns = bench_now_ns(), start_cpu_ns = cpu_ns(server);
    tell(server, turns->requests);
    uint64_t used_ns = cpu_ns(server) - start_cpu_ns;
    printf("%ld %s %lu %lu\n", round, server->name, (unsigned long)used_ns,
           (unsigned long)(bench_now_ns() - start_ns));
}

static void meet(struct server *server)
{
    at = server;
    if (server->idle > 0)
        await(start_child(hold_idle));
    server->child_fd = start_child(serve);
    tell(server, turns->requests);
}

static void parse(struct server *server, char *text)
{
    char *part[4] = {NULL};

    for (int i = 0; i < 4; i++)
        part[i] = strsep(&text, ":");
    if (!part[3]) {
        fprintf(stderr, "a server is NAME:PORT:PID:IDLE\n");
        exit(2);
    }
    server->name = part[0];
    server->port = (uint16_t)bench_number(part[1], 1);
    int rc = clock_getcpuclockid((pid_t)bench_number(part[2], 1), &server->cpu);
    bench_check("clock_getcpuclockid", -rc);
    server->idle = bench_number(part[3], 0);
}

void turns_take(const struct turns *t, char **servers, int count)
{
    struct server *all = calloc((size_t)count, sizeof *all);

    if (!all)
        bench_fail("calloc", -ENOMEM);
    turns = t;
    bench_pin(1);
    for (int i = 0; i < count; i++) {
        parse(&all[i], servers[i]);
        meet(&all[i]);
    }
    for (long round = 0; round < t->rounds; round++) {
        for (int i = 0; i < count; i++)
            block(&all[(round + i) % count], round);
        for (int i = count; i-- > 0;)
            block(&all[(round + i) % count], round);
    }
    free(all);
}
