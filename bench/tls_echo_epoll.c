/* An echo server of OpenSSL and epoll(7) alone; what weir's is measured by. Level-triggered: after
 * what a read has brought there is no need for another one. Prints `PORT PID`.
 *
 * Messages are small: who does not take the answer at once is given up. */
#include "support/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int epoll_fd;
static SSL_CTX *ctx;

static void watch(int fd, void *data)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = data};

    bench_errno("epoll_ctl", epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e));
}

static void accept_one(int listener_fd)
{
    int fd = accept4(listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0)
        watch(fd, bench_tls_new(ctx, fd, false));
}

/* Also carries the handshake on. */
static void ready(SSL *ssl)
{
    char buf[1024];
    int n;

    do {
        n = SSL_read(ssl, buf, sizeof buf);
        if (n > 0)
            n = SSL_write(ssl, buf, n);
    } while (n > 0 && SSL_has_pending(ssl));
    if (n > 0 || SSL_get_error(ssl, n) == SSL_ERROR_WANT_READ)
        return;
    ERR_clear_error();
    bench_tls_end(ssl);
}

int main(void)
{
    struct epoll_event events[256];
    int listener_fd = bench_serve(true);

    ctx = bench_tls_server(0);
    epoll_fd = (int)bench_errno("epoll_create1", epoll_create1(EPOLL_CLOEXEC));
    watch(listener_fd, NULL);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, BENCH_LENGTH(events), -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                ready(events[i].data.ptr);
            else
                accept_one(listener_fd);
        }
    }
}
