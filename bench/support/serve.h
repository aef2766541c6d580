/* A server with weir: a task per connection, in a straight line. The loop is that of WEIR_LOOP. All
 * inline, as the servers that it is compared with. */
#ifndef BENCH_SERVE_H
#define BENCH_SERVE_H

#include "bench.h"

#include <weir.h>

struct bench_service {
    const char *where; /* "tcp://127.0.0.1:0" */
    weir_tls_config *tls;
    int (*serve)(weir_socket *s, void *arg);
};

static inline int bench_accept_all(void *arg)
{
    const struct bench_service *service = arg;
    weir_group *connections;
    weir_socket *listener, *s;
    weir_address here;

    bench_check("weir_listen_on", weir_listen_on(&listener, service->where,
                                                 WEIR_LISTEN_OPTIONS(.tls = service->tls)));
    bench_check("weir_local_address", weir_local_address(listener, &here));
    bench_check("weir_group_open", weir_group_open(&connections, NULL));
    bench_announce(weir_address_port(&here));
    while (bench_check("weir_accept", weir_accept(listener, &s)) == 0)
        bench_check("weir_go_socket", weir_go_socket(connections, service->serve, s, NULL));
    return 0;
}

/* Prints `PORT PID`; never returns but for a failure. */
static inline int bench_run_server(struct bench_service service)
{
    bench_many_descriptors();
    bench_check("weir_run", weir_run(bench_accept_all, &service, NULL, NULL));
    return 0;
}

static inline int bench_echo(weir_socket *s, void *arg)
{
    char buf[1024];
    ssize_t n;

    (void)arg;
    while ((n = weir_recv(s, buf, sizeof buf)) > 0) {
        size_t done = 0;
        int rc = weir_send_all(s, buf, (size_t)n, &done);
        if (rc < 0)
            return rc;
    }
    return (int)n;
}

#endif
