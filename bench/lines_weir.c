/* Sends back every line, through a reader, a task per connection; with the argument "close" it
 * sends back what comes first, and closes. Prints `PORT PID`. */
#include "support/bench.h"

#include <string.h>
#include <weir.h>

static int send_lines_back(weir_socket *s, void *arg)
{
    weir_reader *r = NULL;
    weir_bytes line;
    int rc = weir_reader_open(&r, s, arg);

    while (rc >= 0 && (rc = weir_read_line(r, &line)) > 0)
        if ((rc = weir_write(r, line.data, line.len)) == 0)
            rc = weir_write(r, "\n", 1);
    weir_reader_close(r);
    return rc;
}

static int answer_once(weir_socket *s, void *arg)
{
    char bytes[1024];
    size_t done = 0;
    ssize_t n = weir_recv(s, bytes, sizeof bytes);

    (void)arg;
    return n > 0 ? weir_send_all(s, bytes, (size_t)n, &done) : (int)n;
}

static int serve(void *arg)
{
    weir_socket *listener;
    weir_address here;

    bench_check("weir_listen_on", weir_listen_on(&listener, "tcp://127.0.0.1:0", NULL));
    bench_check("weir_local_address", weir_local_address(listener, &here));
    bench_announce(weir_address_port(&here));
    return weir_serve(listener, arg ? answer_once : send_lines_back, NULL, NULL);
}

int main(int argc, char **argv)
{
    int result = 0;
    bool once = argc > 1 && strcmp(argv[1], "close") == 0;

    bench_many_descriptors();
    bench_check("weir_run", weir_run(serve, once ? argv[1] : NULL, NULL, &result));
    bench_check("weir_serve", result);
    return 0;
}
