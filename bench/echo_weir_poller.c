/* The same echo server with weir's poller. Prints `PORT PID`. */
#include "support/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <weir.h>

struct connection {
    weir_socket *socket;
    char *rest; /* what had no room yet; NULL if nothing */
    size_t rest_len;
};

static char buf[65536];
static weir_poller *poller;

static void watch(struct connection *c, unsigned events)
{
    bench_check("weir_poller_modify", weir_poller_modify(poller, c->socket, events, c));
}

static void end(struct connection *c)
{
    weir_close(c->socket);
    free(c->rest);
    free(c);
}

static void keep_rest(struct connection *c, const char *from, size_t len)
{
    char *rest = malloc(len);

    if (!rest)
        bench_fail("malloc", -ENOMEM);
    memcpy(rest, from, len);
    free(c->rest);
    c->rest = rest;
    c->rest_len = len;
    watch(c, WEIR_WRITABLE);
}

static void readable(struct connection *c)
{
    ssize_t n = weir_recv(c->socket, buf, sizeof buf);

    if (weir_in_progress(n))
        return;
    if (n <= 0) {
        end(c);
        return;
    }
    ssize_t m = weir_send(c->socket, buf, (size_t)n);
    if (m < 0 && !weir_in_progress(m))
        end(c);
    else if (m < n)
        keep_rest(c, buf + (m > 0 ? m : 0), (size_t)(n - (m > 0 ? m : 0)));
}

static void writable(struct connection *c)
{
    ssize_t m = weir_send(c->socket, c->rest, c->rest_len);

    if (weir_in_progress(m))
        return;
    if (m < 0) {
        end(c);
    } else if ((size_t)m < c->rest_len) {
        keep_rest(c, c->rest + m, c->rest_len - (size_t)m);
    } else {
        free(c->rest);
        c->rest = NULL;
        watch(c, WEIR_READABLE);
    }
}

static void accept_one(weir_socket *listener)
{
    weir_socket *s;
    int rc = weir_accept(listener, &s);
    struct connection *c = rc < 0 ? NULL : calloc(1, sizeof *c);

    if (!c)
        return;
    c->socket = s;
    weir_set_blocking(s, false);
    bench_check("weir_poller_add", weir_poller_add(poller, s, WEIR_READABLE, c));
}

int main(void)
{
    weir_event events[256];
    weir_socket *listener;
    weir_address here;

    bench_many_descriptors();
    bench_check("weir_listen_on", weir_listen_on(&listener, "tcp://127.0.0.1:0",
                                                 WEIR_LISTEN_OPTIONS(.nonblocking = true)));
    bench_check("weir_local_address", weir_local_address(listener, &here));
    bench_check("weir_poller_open", weir_poller_open(&poller));
    bench_check("weir_poller_add", weir_poller_add(poller, listener, WEIR_READABLE, NULL));
    bench_announce(weir_address_port(&here));
    for (;;) {
        int n = weir_poller_wait(poller, events, BENCH_LENGTH(events), -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data;
            if (!c)
                accept_one(listener);
            else if (c->rest)
                writable(c);
            else
                readable(c);
        }
    }
}
