/* Non-blocking calls under a name server that never answers: connects COUNT PENDING
 *
 * COUNT connects, by name and by address in turn, of which PENDING are always going on: the names
 * wait for the name server, the addresses for a listener whose queue is full. Each connect is
 * followed by one call of each other kind on the socket; all of them have to return at once. Each
 * by address is also done with raw calls, which tells what the machine makes of them.
 *
 * Prints `KIND CALLS P50 P999 MAX CPU_MAX` for each kind of call, in nanoseconds, then the
 * `threads N` of the process. */
#include "support/bench.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weir.h>

enum kind { OPEN, BY_NAME, BY_ADDRESS, STATUS, WATCH, SEND, RECV, WAIT, CLOSE, RAW, KINDS };

static const char *const names[KINDS] = {
    "weir_socket_open",
    "weir_connect(name)",
    "weir_connect(address)",
    "weir_connect_status",
    "weir_poller_add",
    "weir_send",
    "weir_recv",
    "weir_poller_wait",
    "weir_close",
    "raw-socket-connect-close",
};

static struct times {
    uint64_t *wall_ns;
    uint64_t cpu_max_ns;
    size_t count, room;
} times[KINDS];

struct stamp {
    uint64_t cpu_ns, wall_ns;
};

static struct stamp begin(void)
{
    uint64_t cpu_ns = bench_thread_ns();

    return (struct stamp){.cpu_ns = cpu_ns, .wall_ns = bench_now_ns()};
}

static void end(enum kind kind, struct stamp from)
{
    uint64_t wall_ns = bench_now_ns(), cpu_ns = bench_thread_ns();
    struct times *t = &times[kind];

    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 1024;
        t->wall_ns = realloc(t->wall_ns, t->room * sizeof *t->wall_ns);
        if (!t->wall_ns)
            bench_fail("realloc", -ENOMEM);
    }
    t->wall_ns[t->count++] = wall_ns - from.wall_ns;
    if (cpu_ns - from.cpu_ns > t->cpu_max_ns)
        t->cpu_max_ns = cpu_ns - from.cpu_ns;
}

static void expect(const char *what, long rc, long wanted)
{
    if (rc != wanted)
        bench_fail(what, rc);
}

/* A port that lets clients wait: its queue is full and nobody accepts. */
static uint16_t full_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof a;
    int fd = (int)bench_errno("socket", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

    bench_errno("bind", bind(fd, (struct sockaddr *)&a, sizeof a));
    bench_errno("listen", listen(fd, 0));
    bench_errno("getsockname", getsockname(fd, (struct sockaddr *)&a, &length));
    bench_connect(ntohs(a.sin_port));
    return ntohs(a.sin_port);
}

static void connect_raw(uint16_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons(port),
    };
    struct stamp t = begin();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc = connect(fd, (struct sockaddr *)&a, sizeof a);
    int error = errno;

    close(fd);
    end(RAW, t);
    expect("connect", rc < 0 ? -error : rc, -EINPROGRESS);
}

static weir_socket *start(weir_poller *p, long number, uint16_t port)
{
    weir_socket *s;
    char host[64], byte = 'x';
    enum kind kind = number % 2 ? BY_ADDRESS : BY_NAME;

    snprintf(host, sizeof host, "host-%ld.silent.test", number);
    struct stamp t = begin();
    int rc = weir_socket_open(&s, AF_UNSPEC, SOCK_STREAM | SOCK_NONBLOCK, 0);
    end(OPEN, t);
    bench_check("weir_socket_open", rc);

    t = begin();
    rc = weir_connect(s, kind == BY_ADDRESS ? "127.0.0.1" : host, port);
    end(kind, t);
    expect("weir_connect", rc, -EINPROGRESS);

    t = begin();
    rc = weir_connect_status(s);
    end(STATUS, t);
    expect("weir_connect_status", rc, -EINPROGRESS);

    t = begin();
    rc = weir_poller_add(p, s, WEIR_READABLE | WEIR_WRITABLE, NULL);
    end(WATCH, t);
    bench_check("weir_poller_add", rc);

    t = begin();
    ssize_t n = weir_send(s, &byte, 1);
    end(SEND, t);
    expect("weir_send", n, -EAGAIN);

    t = begin();
    n = weir_recv(s, &byte, 1);
    end(RECV, t);
    expect("weir_recv", n, -EAGAIN);
    return s;
}

/* Nothing can have come of any socket; what comes all the same is counted as a failure. */
static void look(weir_poller *p)
{
    weir_event events[16];
    struct stamp t = begin();
    int n = weir_poller_wait(p, events, BENCH_LENGTH(events), 0);

    end(WAIT, t);
    expect("weir_poller_wait", n, 0);
}

static int thread_count(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int count = 0;

    for (struct dirent *d; tasks && (d = readdir(tasks));)
        count += d->d_name[0] != '.';
    if (tasks)
        closedir(tasks);
    return count;
}

static void end_one(weir_socket *s)
{
    struct stamp t = begin();

    weir_close(s);
    end(CLOSE, t);
}

static void print_times(int threads)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct times *t = &times[kind];
        printf("%s %zu %lu %lu %lu %lu\n", names[kind], t->count,
               (unsigned long)bench_quantile(t->wall_ns, t->count, 0.5),
               (unsigned long)bench_quantile(t->wall_ns, t->count, 0.999),
               (unsigned long)bench_quantile(t->wall_ns, t->count, 1.0),
               (unsigned long)t->cpu_max_ns);
    }
    printf("threads %d\n", threads);
}

int main(int argc, char **argv)
{
    weir_poller *p;
    char server[32];

    if (argc != 3) {
        fprintf(stderr, "usage: connects COUNT PENDING\n");
        return 2;
    }
    long count = bench_number(argv[1], 1), pending = bench_number(argv[2], 1);
    bench_many_descriptors();
    bench_check("weir_set_nameservers",
                weir_set_nameservers(bench_server_text(bench_silent_server(), server)));
    uint16_t port = full_port();
    weir_socket **live = calloc((size_t)pending, sizeof(weir_socket *));
    if (!live)
        bench_fail("calloc", -ENOMEM);
    bench_check("weir_poller_open", weir_poller_open(&p));
    for (long i = 0; i < count; i++) {
        weir_socket **place = &live[i % pending];
        if (*place)
            end_one(*place);
        *place = start(p, i, port);
        look(p);
        if (i % 2)
            connect_raw(port);
    }
    int threads = thread_count();
    for (long i = 0; i < pending; i++) {
        if (live[i])
            end_one(live[i]);
    }
    weir_poller_close(p);
    print_times(threads);
    free(live);
    return 0;
}
