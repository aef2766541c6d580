/* A raw connection that echoes, for servers that are told when it is ready. All inline: nothing is
 * added to what the server would do itself. */
#ifndef BENCH_ECHO_H
#define BENCH_ECHO_H

#include "bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct echo {
    int fd;
    char *rest; /* what had no room yet; NULL if nothing */
    size_t rest_len;
};

static char echo_buf[65536];

static inline void echo_keep(struct echo *e, const char *from, size_t len)
{
    e->rest = malloc(len);
    if (!e->rest)
        bench_fail("malloc", -ENOMEM);
    memcpy(e->rest, from, len);
    e->rest_len = len;
}

/* Sends what is left. Returns the count of what is still left, or -1 at the end. */
static inline ssize_t echo_flush(struct echo *e)
{
    ssize_t n = send(e->fd, e->rest, e->rest_len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN ? (ssize_t)e->rest_len : -1;
    e->rest_len -= (size_t)n;
    memmove(e->rest, e->rest + n, e->rest_len);
    if (e->rest_len > 0)
        return (ssize_t)e->rest_len;
    free(e->rest);
    e->rest = NULL;
    return 0;
}

/* Receives once and sends it back. Returns how much was received, 0 if there was nothing, or -1 at
 * the end of the connection. */
static inline ssize_t echo_once(struct echo *e)
{
    ssize_t n = recv(e->fd, echo_buf, sizeof echo_buf, MSG_DONTWAIT);

    if (n <= 0)
        return n < 0 && errno == EAGAIN ? 0 : -1;
    ssize_t m = send(e->fd, echo_buf, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (m < 0 && errno != EAGAIN)
        return -1;
    if (m < n)
        echo_keep(e, echo_buf + (m > 0 ? m : 0), (size_t)(n - (m > 0 ? m : 0)));
    return n;
}

static inline void echo_end(struct echo *e)
{
    close(e->fd);
    free(e->rest);
    free(e);
}

/* The next connection of the listener, or -1. */
static inline int echo_accept(int listener_fd)
{
    return accept4(listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

#endif
