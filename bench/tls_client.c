/* One client of raw OpenSSL for all servers with TLS, and the one who measures them:
 *
 *     tls_client WHAT VERSION CONNECTIONS REQUESTS ROUNDS NAME:PORT:PID:IDLE...
 *
 *     echo               each of the connections has a message of 64 bytes on its way; REQUESTS of
 *                        them, to a server that echoes
 *     handshake, again   REQUESTS connections with such a message each; resumed ones
 *     in, out            one connection to a relay, behind which bench/tls_far is: REQUESTS times
 *                        64 KiB through it, from here or to here
 *
 * See support/turns.h for the rest. */
#include "support/tls.h"
#include "support/turns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE 64

static int version;
static long connections;
static SSL **all;
static char buf[BENCH_BULK];

static SSL *connect_to(SSL_CTX *ctx, uint16_t port, bool resume)
{
    SSL *ssl = bench_tls_new(ctx, bench_connect(port), resume);

    bench_tls_check("SSL_connect", ssl, SSL_connect(ssl));
    return ssl;
}

static void connect_all(uint16_t port, long count)
{
    SSL_CTX *ctx = bench_tls_client(version);

    all = calloc((size_t)count, sizeof(SSL *));
    for (long i = 0; all && i < count; i++)
        all[i] = connect_to(ctx, port, false);
}

static void echo(long count)
{
    long begun = 0;

    for (; begun < connections && begun < count; begun++)
        bench_tls_send(all[begun], buf, MESSAGE);
    for (long ended = 0; ended < count; ended++) {
        SSL *ssl = all[ended % connections];
        bench_tls_receive(ssl, buf, MESSAGE);
        if (begun++ < count)
            bench_tls_send(ssl, buf, MESSAGE);
    }
}

static void serve_echo(uint16_t port, int fd)
{
    connect_all(port, connections);
    for (long count; (count = turns_told(fd)) > 0; turns_done(fd))
        echo(count);
}

static void hold_idle(uint16_t port, long count, int fd)
{
    connect_all(port, count);
    turns_done(fd);
}

static void shake(uint16_t port, int fd, bool resume)
{
    SSL_CTX *ctx = bench_tls_client(version);

    for (long count; (count = turns_told(fd)) > 0; turns_done(fd))
        for (; count > 0; count--) {
            SSL *ssl = connect_to(ctx, port, resume);
            bench_tls_send(ssl, buf, MESSAGE);
            bench_tls_receive(ssl, buf, MESSAGE);
            bench_tls_end(ssl);
        }
}

static void serve_handshakes(uint16_t port, int fd)
{
    shake(port, fd, false);
}

static void serve_again(uint16_t port, int fd)
{
    shake(port, fd, true);
}

static void relay(uint16_t port, int fd, char what)
{
    SSL *ssl = connect_to(bench_tls_client(version), port, false);

    for (long count; (count = turns_told(fd)) > 0; turns_done(fd)) {
        struct bench_order o = {.what = what, .bytes = (uint64_t)count * BENCH_BULK};
        bench_tls_send(ssl, &o, sizeof o);
        for (; count > 0; count--) {
            if (what == 's')
                bench_tls_send(ssl, buf, BENCH_BULK);
            else
                bench_tls_receive(ssl, buf, BENCH_BULK);
        }
        if (what == 's')
            bench_tls_receive(ssl, buf, 1);
    }
}

static void serve_in(uint16_t port, int fd)
{
    relay(port, fd, 's');
}

static void serve_out(uint16_t port, int fd)
{
    relay(port, fd, 'r');
}

static const struct {
    const char *name;
    void (*serve)(uint16_t port, int fd);
} works[] = {
    {"echo", serve_echo}, {"handshake", serve_handshakes}, {"again", serve_again}, {"in", serve_in},
    {"out", serve_out},
};

int main(int argc, char **argv)
{
    struct turns turns = {.idle = hold_idle};

    for (size_t i = 0; argc > 6 && i < BENCH_LENGTH(works); i++)
        if (strcmp(argv[1], works[i].name) == 0)
            turns.serve = works[i].serve;
    if (!turns.serve) {
        fprintf(stderr, "usage: tls_client echo|handshake|again|in|out VERSION CONNECTIONS REQUESTS"
                        " ROUNDS NAME:PORT:PID:IDLE...\n");
        return 2;
    }
    version = bench_tls_version(argv[2]);
    connections = bench_number(argv[3], 1);
    turns.requests = bench_number(argv[4], 1);
    turns.rounds = bench_number(argv[5], 0);
    turns.first = connections < turns.requests ? connections : turns.requests;
    turns_take(&turns, argv + 6, argc - 6);
    return 0;
}
