/* An echo server with weir and TLS: a task per connection, in a straight line. The loop is that of
 * WEIR_LOOP. Prints `PORT PID`. */
#include "support/tls.h"

static int serve(weir_socket *s, void *arg)
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

static int accept_all(void *arg)
{
    weir_group *connections;
    weir_socket *listener, *s;
    weir_address here;

    (void)arg;
    bench_check("weir_listen_on",
                weir_listen_on(&listener, "tls://127.0.0.1:0",
                               WEIR_LISTEN_OPTIONS(.tls = bench_tls_config(0, true, true))));
    bench_check("weir_local_address", weir_local_address(listener, &here));
    bench_check("weir_group_open", weir_group_open(&connections, NULL));
    bench_announce(weir_address_port(&here));
    while (bench_check("weir_accept", weir_accept(listener, &s)) == 0)
        bench_check("weir_go_socket", weir_go_socket(connections, serve, s, NULL));
    return 0;
}

int main(void)
{
    bench_many_descriptors();
    bench_check("weir_run", weir_run(accept_all, NULL, NULL, NULL));
    return 0;
}
