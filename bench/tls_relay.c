/* A relay with weir: TLS on this side, plain TCP to BENCH_FAR (a port) on the other; two tasks for
 * a connection. Prints `PORT PID`. */
#include "support/serve.h"
#include "support/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *far;

struct way {
    weir_socket *from, *to;
};

/* One way, until its end, which is passed on. */
static int carry(void *arg)
{
    const struct way *way = arg;
    char *buf = malloc(BENCH_BULK);
    ssize_t n = buf ? 0 : -ENOMEM;

    while (n >= 0 && (n = weir_recv(way->from, buf, BENCH_BULK)) > 0) {
        size_t done = 0;
        n = weir_send_all(way->to, buf, (size_t)n, &done);
    }
    if (n == 0)
        n = weir_shutdown(way->to, SHUT_WR);
    free(buf);
    return (int)n;
}

static int relay(weir_socket *s, void *arg)
{
    weir_group *back;
    weir_socket *other;
    char target[64];

    (void)arg;
    snprintf(target, sizeof target, "tcp://127.0.0.1:%s", far);
    int rc = weir_dial(&other, target, NULL);
    if (rc < 0)
        return rc;
    struct way there = {s, other}, here = {other, s};
    rc = weir_group_open(&back, NULL);
    if (rc == 0)
        rc = weir_go(back, carry, &here);
    if (rc == 0)
        rc = carry(&there);
    weir_group_close(back);
    weir_close(other);
    return rc;
}

int main(void)
{
    far = getenv("BENCH_FAR");
    if (!far) {
        fprintf(stderr, "BENCH_FAR is not set\n");
        return 2;
    }
    return bench_run_server((struct bench_service){
        .where = "tls://127.0.0.1:0", .tls = bench_tls_config(0, true, true), .serve = relay});
}
