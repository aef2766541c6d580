/* What is behind a relay: on each connection, in a child on the second CPU, what its first byte
 * says:
 *
 *     e   sends back what comes
 *     i   takes what comes, and says a byte for each RELAY_BATCH
 *     o   for each byte, RELAY_BATCH bytes
 *
 * Prints `PORT PID`. */
#include "support/relay.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static void take(int fd)
{
    for (size_t got = 0;; got %= RELAY_BATCH) {
        ssize_t n = recv(fd, relay_buf,
                         RELAY_BATCH - got < RELAY_PIECE ? RELAY_BATCH - got : RELAY_PIECE, 0);
        if (n <= 0)
            return;
        got += (size_t)n;
        if (got == RELAY_BATCH)
            relay_send(fd, 1);
    }
}

static void give(int fd)
{
    while (recv(fd, relay_buf, 1, 0) == 1)
        relay_send(fd, RELAY_BATCH);
}

static void echo(int fd)
{
    for (ssize_t n; (n = recv(fd, relay_buf, RELAY_PIECE, 0)) > 0;)
        relay_send(fd, (size_t)n);
}

static void serve(int fd)
{
    char what;

    if (recv(fd, &what, 1, 0) == 1)
        (what == 'i' ? take : what == 'o' ? give : echo)(fd);
}

int main(void)
{
    int listener_fd = bench_serve(false);

    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = (int)bench_errno("accept", accept(listener_fd, NULL, NULL));
        bench_child(serve, fd);
        close(fd);
    }
}
