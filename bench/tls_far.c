/* What is behind a relay: takes orders without TLS (support/tls.h), from any number of connections,
 * on the second CPU. Prints `PORT PID`. */
#include "support/tls.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static void serve(int fd)
{
    bench_tls_serve(NULL, fd);
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
