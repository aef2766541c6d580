/* foreign_loop HOST PORT: weir in another loop, libuv's, which watches a poller's descriptor. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>
#include <weir.h>

static weir_poller *poller;
static ssize_t result;

/* Nothing may wait in here: the loop has other work. */
static void on_ready(uv_poll_t *handle, int status, int events)
{
    weir_event e;
    char response[1024];

    (void)status, (void)events;
    if (weir_poller_wait(poller, &e, 1, 0) < 1)
        return;
    if (e.events & WEIR_WRITABLE) { /* connected, or failed to */
        result = weir_send(e.socket, "Hello, world!", 13);
        weir_poller_modify(poller, e.socket, WEIR_READABLE, NULL);
    } else {
        result = weir_recv(e.socket, response, sizeof(response));
        printf("received: %.*s\n", result > 0 ? (int)result : 0, response);
    }
    if (result < 0 || !(e.events & WEIR_WRITABLE))
        uv_stop(handle->loop);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    printf("the loop does other work meanwhile\n");
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_poll_t watch;
    uv_timer_t timer;
    weir_socket *s;

    if (argc != 3 || weir_poller_open(&poller) < 0 ||
        weir_socket_open(&s, AF_UNSPEC, SOCK_STREAM | SOCK_NONBLOCK, 0) < 0)
        return 2;
    result = weir_connect(s, argv[1], (uint16_t)strtoul(argv[2], NULL, 10));
    weir_poller_add(poller, s, WEIR_WRITABLE, NULL);
    uv_poll_init(loop, &watch, weir_poller_fd(poller));
    uv_poll_start(&watch, UV_READABLE, on_ready);
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, on_tick, 0, 50);
    if (weir_in_progress(result))
        uv_run(loop, UV_RUN_DEFAULT);
    if (result < 0)
        fprintf(stderr, "%s: %s\n", argv[1], weir_strerror((int)result));
    weir_close(s);
    weir_poller_close(poller);
    return result < 0;
}
