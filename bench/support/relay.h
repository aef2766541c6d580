/* What is in front of a relay and what is behind it. */
#ifndef BENCH_RELAY_H
#define BENCH_RELAY_H

#include "bench.h"

#include <sys/socket.h>

#define RELAY_BATCH ((size_t)1 << 20)
#define RELAY_PIECE ((size_t)64 * 1024)

static char relay_buf[RELAY_PIECE];

/* `len` bytes, whatever they are. */
static inline void relay_send(int fd, size_t len)
{
    while (len > 0) {
        size_t piece = len < RELAY_PIECE ? len : RELAY_PIECE;
        len -= (size_t)bench_errno("send", send(fd, relay_buf, piece, MSG_NOSIGNAL));
    }
}

static inline void relay_receive(int fd, size_t len)
{
    while (len > 0) {
        size_t piece = len < RELAY_PIECE ? len : RELAY_PIECE;
        ssize_t n = bench_errno("recv", recv(fd, relay_buf, piece, 0));
        if (n == 0)
            bench_fail("the relay ended the connection", 0);
        len -= (size_t)n;
    }
}

#endif
