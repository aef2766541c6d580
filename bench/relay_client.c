/* One raw client for all relays, behind which bench/relay_far is, and the one who measures them:
 *
 *     relay_client WHAT CONNECTIONS REQUESTS ROUNDS NAME:PORT:PID:IDLE...
 *
 *     echo      64 bytes there and back, REQUESTS times, over the connections in turn
 *     in, out   RELAY_BATCH bytes through it, REQUESTS times, from here or to here
 *
 * See support/turns.h for the rest. */
#include "support/relay.h"
#include "support/turns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE 64

static const char *what;
static long connections;
static int *all;

static void connect_all(uint16_t port)
{
    all = calloc((size_t)connections, sizeof *all);
    for (long i = 0; all && i < connections; i++) {
        all[i] = bench_connect(port);
        bench_errno("send", send(all[i], what, 1, MSG_NOSIGNAL));
    }
}

static void begin(int fd)
{
    relay_send(fd, what[0] == 'e' ? MESSAGE : what[0] == 'i' ? RELAY_BATCH : 1);
}

static void end(int fd)
{
    relay_receive(fd, what[0] == 'e' ? MESSAGE : what[0] == 'i' ? 1 : RELAY_BATCH);
}

/* Each connection has one on its way. */
static void exchange(long count)
{
    long begun = 0;

    for (; begun < connections && begun < count; begun++)
        begin(all[begun]);
    for (long ended = 0; ended < count; ended++) {
        end(all[ended % connections]);
        if (begun++ < count)
            begin(all[ended % connections]);
    }
}

static void exchange_as_told(uint16_t port, int fd)
{
    connect_all(port);
    for (long count; (count = turns_told(fd)) > 0; turns_done(fd))
        exchange(count);
}

int main(int argc, char **argv)
{
    struct turns turns = {.serve = exchange_as_told};

    if (argc < 6 || (strcmp(argv[1], "echo") != 0 && strcmp(argv[1], "in") != 0 &&
                     strcmp(argv[1], "out") != 0)) {
        fprintf(stderr, "usage: relay_client echo|in|out CONNECTIONS REQUESTS ROUNDS"
                        " NAME:PORT:PID:IDLE...\n");
        return 2;
    }
    what = argv[1];
    connections = bench_number(argv[2], 1);
    turns.requests = bench_number(argv[3], 1);
    turns.rounds = bench_number(argv[4], 0);
    turns.first = connections < turns.requests ? connections : turns.requests;
    turns_take(&turns, argv + 5, argc - 5);
    return 0;
}
