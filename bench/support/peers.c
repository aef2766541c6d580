/* The other side of what is measured: children, connections, plain servers. */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

void bench_pin(int which)
{
    static cpu_set_t allowed;
    static bool known;
    cpu_set_t one;
    int first = -1;

    if (!known)
        bench_errno("sched_getaffinity", sched_getaffinity(0, sizeof allowed, &allowed));
    known = true;
    CPU_ZERO(&one);
    for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++) {
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        first = first < 0 ? cpu : first;
        if (seen++ == which)
            CPU_SET(cpu, &one);
    }
    if (CPU_COUNT(&one) == 0)
        CPU_SET(first, &one);
    bench_errno("sched_setaffinity", sched_setaffinity(0, sizeof one, &one));
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons(port),
    };
}

static void set_nodelay(int fd)
{
    int on = 1;

    bench_errno("TCP_NODELAY", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}

static int bind_free_port(int type, uint16_t *ret_port)
{
    struct sockaddr_in a = loopback(0);
    socklen_t length = sizeof a;
    int fd = (int)bench_errno("socket", socket(AF_INET, type | SOCK_CLOEXEC, 0));

    bench_errno("bind", bind(fd, (struct sockaddr *)&a, sizeof a));
    bench_errno("getsockname", getsockname(fd, (struct sockaddr *)&a, &length));
    *ret_port = ntohs(a.sin_port);
    return fd;
}

int bench_listen(uint16_t *ret_port)
{
    int fd = bind_free_port(SOCK_STREAM, ret_port);

    set_nodelay(fd);
    bench_errno("listen", listen(fd, SOMAXCONN));
    return fd;
}

int bench_connect(uint16_t port)
{
    struct sockaddr_in a = loopback(port);
    int fd = (int)bench_errno("socket", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

    set_nodelay(fd);
    bench_errno("connect", connect(fd, (struct sockaddr *)&a, sizeof a));
    return fd;
}

void bench_announce(uint16_t port)
{
    printf("%u %d\n", (unsigned)port, (int)getpid());
    fflush(stdout);
}

int bench_serve(bool nonblocking)
{
    uint16_t port;

    bench_many_descriptors();
    int fd = bench_listen(&port);
    if (nonblocking)
        bench_errno("fcntl", fcntl(fd, F_SETFL, O_NONBLOCK));
    bench_announce(port);
    return fd;
}

pid_t bench_child(void (*fn)(int fd), int fd)
{
    pid_t parent = getpid();

    fflush(NULL);
    pid_t child = (pid_t)bench_errno("fork", fork());
    if (child > 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    bench_pin(1);
    fn(fd);
    _exit(0);
}

static void echo(int fd)
{
    static char buf[65536];
    ssize_t n;

    while ((n = recv(fd, buf, sizeof buf, 0)) > 0) {
        for (ssize_t sent = 0, m; sent < n; sent += m)
            m = bench_errno("send", send(fd, buf + sent, (size_t)(n - sent), MSG_NOSIGNAL));
    }
}

pid_t bench_echo_child(int fd)
{
    return bench_child(echo, fd);
}

uint16_t bench_silent_server(void)
{
    uint16_t port;

    (void)bind_free_port(SOCK_DGRAM, &port);
    return port;
}

const char *bench_server_text(uint16_t port, char buf[static 32])
{
    snprintf(buf, 32, "127.0.0.1:%u", (unsigned)port);
    return buf;
}

/* ---- a name server with one answer --------------------------------------------------------- */

#define HEADER   12
#define MESSAGE  512
#define BATCH    64
#define TYPE_A   1
#define ONE_HOUR 3600

/* Turns the question in `m` into its answer. Returns the length, or 0 if it is no question. */
static size_t answer(unsigned char m[static MESSAGE], size_t len)
{
    static const unsigned char record[] = {0xc0,          HEADER,          0, TYPE_A, 0,   1, 0, 0,
                                           ONE_HOUR >> 8, ONE_HOUR & 0xff, 0, 4,      127, 0, 0, 1};
    static const unsigned char elsewhere[] = {192, 0, 2, 1};
    size_t at = HEADER;

    while (at < len && m[at])
        at += m[at] + 1U;
    size_t end = at + 5;
    if (len < HEADER || end > len || end + sizeof record > MESSAGE)
        return 0;
    bool wants_a = m[at + 1] == 0 && m[at + 2] == TYPE_A;
    m[2] = 0x84 | (m[2] & 1); /* an answer, authoritative; recursion is desired if it was */
    m[3] = 0x80;
    m[6] = 0;
    m[7] = wants_a;
    for (int i = 8; i < HEADER; i++)
        m[i] = 0;
    for (size_t i = 0; wants_a && i < sizeof record; i++)
        m[end++] = record[i];
    if (wants_a && m[HEADER + 1] == 'f')
        memcpy(m + end - 4, elsewhere, sizeof elsewhere);
    return end;
}

static void serve_names(int fd)
{
    static unsigned char bytes[BATCH][MESSAGE];
    static struct sockaddr_in from[BATCH];
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH];

    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){.iov_base = bytes[i], .iov_len = MESSAGE};
            messages[i].msg_hdr = (struct msghdr){
                .msg_name = &from[i],
                .msg_namelen = sizeof from[i],
                .msg_iov = &parts[i],
                .msg_iovlen = 1,
            };
        }
        int n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        int kept = 0;
        for (int i = 0; i < n; i++) {
            parts[i].iov_len = answer(bytes[i], messages[i].msg_len);
            if (parts[i].iov_len > 0)
                messages[kept++].msg_hdr = messages[i].msg_hdr;
        }
        for (int sent = 0, m = 1; sent < kept && m > 0; sent += m)
            m = sendmmsg(fd, messages + sent, (unsigned)(kept - sent), 0);
    }
}

uint16_t bench_name_server(void)
{
    uint16_t port;
    int room = 8 << 20, fd = bind_free_port(SOCK_DGRAM, &port);

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    bench_child(serve_names, fd);
    close(fd);
    return port;
}
