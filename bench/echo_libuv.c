/* The same echo server with libuv: one buffer for all, and a write at once where there is room.
 * Prints `PORT PID`. */
#include "support/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct rest {
    uv_write_t request;
    char bytes[];
};

static char buf[65536];

static void ended(uv_handle_t *handle)
{
    free(handle);
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    (void)handle;
    (void)suggested;
    *ret = uv_buf_init(buf, sizeof buf);
}

static void readable(uv_stream_t *stream, ssize_t n, const uv_buf_t *got);

static void written(uv_write_t *request, int status)
{
    uv_stream_t *stream = request->handle;

    free(request->data);
    if (status < 0) {
        if (!uv_is_closing((uv_handle_t *)stream))
            uv_close((uv_handle_t *)stream, ended);
        return;
    }
    uv_read_start(stream, give_buffer, readable);
}

static void keep_rest(uv_stream_t *stream, const char *from, size_t len)
{
    struct rest *rest = malloc(sizeof *rest + len);

    if (!rest)
        bench_fail("malloc", -ENOMEM);
    memcpy(rest->bytes, from, len);
    rest->request.data = rest;
    uv_buf_t part = uv_buf_init(rest->bytes, (unsigned)len);
    uv_read_stop(stream);
    uv_write(&rest->request, stream, &part, 1, written);
}

static void readable(uv_stream_t *stream, ssize_t n, const uv_buf_t *got)
{
    if (n == 0)
        return;
    if (n < 0) {
        uv_close((uv_handle_t *)stream, ended);
        return;
    }
    uv_buf_t part = uv_buf_init(got->base, (unsigned)n);
    int m = uv_try_write(stream, &part, 1);
    if (m < 0 && m != UV_EAGAIN)
        uv_close((uv_handle_t *)stream, ended);
    else if (m < n)
        keep_rest(stream, got->base + (m > 0 ? m : 0), (size_t)(n - (m > 0 ? m : 0)));
}

static void accept_one(uv_stream_t *listener, int status)
{
    uv_tcp_t *tcp = status < 0 ? NULL : calloc(1, sizeof *tcp);

    if (!tcp)
        return;
    uv_tcp_init(listener->loop, tcp);
    if (uv_accept(listener, (uv_stream_t *)tcp) == 0)
        uv_read_start((uv_stream_t *)tcp, give_buffer, readable);
    else
        uv_close((uv_handle_t *)tcp, ended);
}

int main(void)
{
    uv_tcp_t listener;
    uv_loop_t *loop = uv_default_loop();

    uv_tcp_init(loop, &listener);
    bench_check("uv_tcp_open", uv_tcp_open(&listener, bench_serve(true)));
    bench_check("uv_listen", uv_listen((uv_stream_t *)&listener, SOMAXCONN, accept_one));
    return uv_run(loop, UV_RUN_DEFAULT);
}
