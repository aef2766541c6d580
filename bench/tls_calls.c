/* Blocking calls with TLS, alternately with raw OpenSSL and with weir, each against the same raw
 * peer, which is a process of its own on the second CPU:
 *
 *     tls_calls WHAT VERSION ROUNDS COUNT
 *
 *     accept, accept-again     connections that are accepted, handshake and all; resumed ones
 *     connect, connect-again   the same from the client's side
 *     send, send-16k           64 KiB, 16 KiB in a call of send_all
 *     recv                     up to 64 KiB in a call
 *     pingpong                 64 bytes there and back
 *
 * With WEIR_BENCH_TASK in the environment all is done in a task. Prints `ROUND NAME CPU TIME` for
 * each block of COUNT, in nanoseconds: the CPU time that this process has used, and the time that
 * has passed; `self` is raw once more. */
#include "support/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PING 64

enum { RAW, WEIR, KINDS };

static char buf[BENCH_BULK];
static long count;
static int version;
static bool again;

static SSL_CTX *ctx;
static weir_tls_config *config;
static int listener_fd; /* of the raw server that is measured, or of the peer */
static weir_socket *listener;
static uint16_t ports[KINDS];
static int orders_fd; /* to the peer: connects to a port so often */
static SSL *raw;
static weir_socket *line;

/* ---- the peer -------------------------------------------------------------------------------- */

struct visits {
    uint16_t port;
    long count;
};

/* The byte comes after the tickets, so that they have been read too. */
static void visit(SSL_CTX *client, uint16_t port)
{
    SSL *ssl = bench_tls_new(client, bench_connect(port), again);

    bench_tls_receive(ssl, buf, 1);
    bench_tls_end(ssl);
}

static void visit_as_told(int fd)
{
    struct visits v;
    SSL_CTX *client = bench_tls_client(version);

    while (read(fd, &v, sizeof v) == sizeof v)
        for (long i = 0; i < v.count; i++)
            visit(client, v.port);
}

static void be_visited(int fd)
{
    SSL_CTX *server = bench_tls_server(version);

    for (;;) {
        SSL *ssl = bench_tls_new(server, (int)bench_errno("accept", accept(fd, NULL, NULL)), false);
        bench_tls_send(ssl, buf, 1);
        (void)SSL_read(ssl, buf, 1);
        bench_tls_end(ssl);
    }
}

static void take_orders(int fd)
{
    fd = (int)bench_errno("accept", accept(fd, NULL, NULL));
    SSL *ssl = bench_tls_new(bench_tls_server(version), fd, false);

    bench_tls_serve(ssl, fd);
}

/* ---- handshakes ------------------------------------------------------------------------------ */

static void accept_raw(void)
{
    SSL *ssl =
        bench_tls_new(ctx, (int)bench_errno("accept", accept(listener_fd, NULL, NULL)), false);

    bench_tls_check("SSL_accept", ssl, SSL_accept(ssl));
    bench_tls_send(ssl, buf, 1);
    (void)SSL_read(ssl, buf, 1);
    bench_tls_end(ssl);
}

static void accept_weir(void)
{
    weir_socket *s;

    bench_check("weir_accept", weir_accept(listener, &s));
    bench_check("weir_handshake", weir_handshake(s));
    bench_check("weir_send", weir_send(s, buf, 1));
    bench_check("weir_recv", weir_recv(s, buf, 1));
    weir_close(s);
}

static void connect_raw(void)
{
    SSL *ssl = bench_tls_new(ctx, bench_connect(ports[RAW]), again);

    bench_tls_check("SSL_connect", ssl, SSL_connect(ssl));
    bench_tls_receive(ssl, buf, 1);
    bench_tls_end(ssl);
}

static weir_socket *dial(void)
{
    weir_socket *s;
    char target[64];

    snprintf(target, sizeof target, "tls://127.0.0.1:%u", (unsigned)ports[WEIR]);
    bench_check(
        "weir_dial",
        weir_dial(&s, target, WEIR_DIAL_OPTIONS(.tls = config, .tls_name = BENCH_TLS_NAME)));
    return s;
}

static void connect_weir(void)
{
    weir_socket *s = dial();

    bench_check("weir_recv", weir_recv(s, buf, 1));
    weir_close(s);
}

static void prepare_accept(void)
{
    weir_address here;
    int pair[2];

    ctx = bench_tls_server(version);
    config = bench_tls_config(version, true, true);
    listener_fd = bench_listen(&ports[RAW]);
    bench_check("weir_listen_on",
                weir_listen_on(&listener, "tls://127.0.0.1:0", WEIR_LISTEN_OPTIONS(.tls = config)));
    bench_check("weir_local_address", weir_local_address(listener, &here));
    ports[WEIR] = weir_address_port(&here);
    bench_errno("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    bench_child(visit_as_told, pair[1]);
    orders_fd = pair[0];
}

static void prepare_connect(void)
{
    ctx = bench_tls_client(version);
    config = bench_tls_config(version, false, again);
    int fd = bench_listen(&ports[RAW]);
    ports[WEIR] = ports[RAW];
    bench_child(be_visited, fd);
    close(fd);
}

static void invite(int kind)
{
    struct visits v = {.port = ports[kind], .count = count};

    bench_errno("write", write(orders_fd, &v, sizeof v));
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void prepare_line(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        int fd = bench_listen(&ports[kind]);
        bench_child(take_orders, fd);
        close(fd);
    }
    ctx = bench_tls_client(version);
    config = bench_tls_config(version, false, false);
    raw = bench_tls_new(ctx, bench_connect(ports[RAW]), false);
    line = dial();
}

static void send_weir(const void *bytes, size_t len)
{
    size_t done = 0;

    bench_check("weir_send_all", weir_send_all(line, bytes, len, &done));
}

static void receive_weir(void *into, size_t len)
{
    size_t done = 0;

    bench_check("weir_recv_exact", weir_recv_exact(line, into, len, &done));
}

static void order(int kind, char what, uint64_t bytes)
{
    struct bench_order o = {.what = what, .bytes = bytes, .piece = PING};

    if (kind == RAW)
        bench_tls_send(raw, &o, sizeof o);
    else
        send_weir(&o, sizeof o);
}

static void send_pieces(int kind, size_t piece)
{
    order(kind, 's', (uint64_t)count * piece);
    for (long i = 0; i < count; i++) {
        if (kind == RAW)
            bench_tls_send(raw, buf, piece);
        else
            send_weir(buf, piece);
    }
    if (kind == RAW)
        bench_tls_receive(raw, buf, 1);
    else
        receive_weir(buf, 1);
}

static void send_64k(int kind)
{
    send_pieces(kind, 65536);
}

static void send_16k(int kind)
{
    send_pieces(kind, 16384);
}

static void receive(int kind)
{
    uint64_t left = (uint64_t)count * BENCH_BULK;

    order(kind, 'r', left);
    while (left > 0) {
        size_t len = left < BENCH_BULK ? left : BENCH_BULK;
        ssize_t n = kind == RAW ? bench_tls_check("SSL_read", raw, SSL_read(raw, buf, (int)len))
                                : bench_check("weir_recv", weir_recv(line, buf, len));
        if (n == 0)
            bench_fail("the peer ended the connection", 0);
        left -= (size_t)n;
    }
}

static void ping(int kind)
{
    order(kind, 'e', (uint64_t)count * PING);
    for (long i = 0; i < count; i++) {
        if (kind == RAW) {
            bench_tls_send(raw, buf, PING);
            bench_tls_receive(raw, buf, PING);
        } else {
            bench_check("weir_send", weir_send(line, buf, PING));
            bench_check("weir_recv", weir_recv(line, buf, PING));
        }
    }
}

/* ---- taking turns ---------------------------------------------------------------------------- */

static void accept_all(int kind)
{
    invite(kind);
    for (long i = 0; i < count; i++)
        kind == RAW ? accept_raw() : accept_weir();
}

static void connect_all(int kind)
{
    for (long i = 0; i < count; i++)
        kind == RAW ? connect_raw() : connect_weir();
}

static const struct work {
    const char *name;
    bool again;
    void (*prepare)(void);
    void (*run)(int kind);
} works[] = {
    {"accept", false, prepare_accept, accept_all},
    {"accept-again", true, prepare_accept, accept_all},
    {"connect", false, prepare_connect, connect_all},
    {"connect-again", true, prepare_connect, connect_all},
    {"send", false, prepare_line, send_64k},
    {"send-16k", false, prepare_line, send_16k},
    {"recv", false, prepare_line, receive},
    {"pingpong", false, prepare_line, ping},
};

static const struct {
    const char *name;
    int kind;
} sides[] = {{"raw", RAW}, {"weir", WEIR}, {"self", RAW}};

static const struct work *work;
static long rounds;

static uint64_t cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/* Those that are resumed follow one that need not be: before them the peer was connected to the
 * other server. */
static void begin_anew(int kind)
{
    long all = count;

    count = 1;
    work->run(kind);
    count = all;
}

static void block(size_t side, long round)
{
    begin_anew(sides[side].kind);
    uint64_t start_ns = bench_now_ns(), start_cpu_ns = cpu_ns();
    work->run(sides[side].kind);
    uint64_t used_ns = cpu_ns() - start_cpu_ns;
    printf("%ld %s %lu %lu\n", round, sides[side].name, (unsigned long)used_ns,
           (unsigned long)(bench_now_ns() - start_ns));
}

static int take_turns(void *arg)
{
    (void)arg;
    work->prepare();
    bench_pin(0);
    work->run(RAW); /* the first handshakes are like no others: sessions, memory */
    work->run(WEIR);
    for (long round = 0; round < rounds; round++) {
        for (size_t i = 0; i < BENCH_LENGTH(sides); i++)
            block(i, round);
        for (size_t i = BENCH_LENGTH(sides); i-- > 0;)
            block(i, round);
    }
    return 0;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 5 && i < BENCH_LENGTH(works); i++)
        if (strcmp(argv[1], works[i].name) == 0)
            work = &works[i];
    if (!work) {
        fprintf(stderr, "usage: tls_calls accept|accept-again|connect|connect-again|send|send-16k|"
                        "recv|pingpong VERSION ROUNDS COUNT\n");
        return 2;
    }
    again = work->again;
    version = bench_tls_version(argv[2]);
    rounds = bench_number(argv[3], 1);
    count = bench_number(argv[4], 1);
    if (getenv("WEIR_BENCH_TASK"))
        bench_check("weir_run", weir_run(take_turns, NULL, NULL, NULL));
    else
        take_turns(NULL);
    return 0;
}
