/* One byte there and back, with raw blocking calls and with weir, on the same connection to the
 * same peer, which is a process of its own: pingpong apart|together ROUNDS TRIPS
 *
 *     apart      the two have a CPU each: each wait is a sleep of its CPU
 *     together   they share one: a wait is a switch from one to the other
 *
 * Prints `ROUND NAME NANOSECONDS` for each block of TRIPS; `self` is raw once more. */
#include "support/bench.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weir.h>

struct line {
    int fd;
    weir_socket *socket;
};

static void trip_raw(const struct line *line)
{
    char c = 'x';

    bench_errno("send", send(line->fd, &c, 1, MSG_NOSIGNAL));
    bench_errno("recv", recv(line->fd, &c, 1, 0));
}

static void trip_weir(const struct line *line)
{
    char c = 'x';

    bench_check("weir_send", weir_send(line->socket, &c, 1));
    bench_check("weir_recv", weir_recv(line->socket, &c, 1));
}

static const struct {
    const char *name;
    void (*trip)(const struct line *line);
} sides[] = {{"raw", trip_raw}, {"weir", trip_weir}, {"self", trip_raw}};

static void block(const struct line *line, size_t side, long round, long trips)
{
    uint64_t start_ns = bench_now_ns();

    for (long i = 0; i < trips; i++)
        sides[side].trip(line);
    printf("%ld %s %lu\n", round, sides[side].name, (unsigned long)(bench_now_ns() - start_ns));
}

int main(int argc, char **argv)
{
    uint16_t port;
    struct line line;

    if (argc != 4) {
        fprintf(stderr, "usage: pingpong apart|together ROUNDS TRIPS\n");
        return 2;
    }
    long rounds = bench_number(argv[2], 1), trips = bench_number(argv[3], 1);
    int listener = bench_listen(&port);
    line.fd = bench_connect(port);
    bench_echo_child((int)bench_errno("accept", accept(listener, NULL, NULL)));
    bench_check("weir_from_fd", weir_from_fd(&line.socket, line.fd));
    bench_pin(strcmp(argv[1], "together") == 0);
    for (long round = 0; round < rounds; round++) {
        for (size_t i = 0; i < BENCH_LENGTH(sides); i++)
            block(&line, i, round, trips);
        for (size_t i = BENCH_LENGTH(sides); i-- > 0;)
            block(&line, i, round, trips);
    }
    weir_close(line.socket);
    return 0;
}
