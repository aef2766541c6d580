/* The same with libuv. What is sent back goes out at once, as far as there is room:
 *
 *     each      every line by itself, as it is found
 *     gathered  the lines of a read together
 *     close     what comes first; then the connection is closed
 *
 * Prints `PORT PID`. */
#include "support/bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct peer {
    uv_tcp_t tcp;
    size_t len; /* of a line that is not complete */
    char part[4096];
};

static enum { EACH, GATHERED, CLOSE } way;
static char buf[65536];

static void ended(uv_handle_t *handle)
{
    free(handle);
}

static void end(struct peer *p)
{
    if (!uv_is_closing((uv_handle_t *)&p->tcp))
        uv_close((uv_handle_t *)&p->tcp, ended);
}

/* Behind what is there of a line. */
static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    const struct peer *p = (const struct peer *)handle;

    (void)suggested;
    memcpy(buf, p->part, p->len);
    *ret = uv_buf_init(buf + p->len, (unsigned)(sizeof buf - p->len));
}

static void written(uv_write_t *request, int status)
{
    struct peer *p = (struct peer *)request->handle;

    free(request);
    if (status < 0)
        end(p);
}

static void write_rest(struct peer *p, const char *from, size_t len)
{
    uv_write_t *request = malloc(sizeof *request + len);

    if (!request)
        bench_fail("malloc", -ENOMEM);
    char *bytes = memcpy(request + 1, from, len);
    uv_buf_t part = uv_buf_init(bytes, (unsigned)len);
    if (uv_write(request, (uv_stream_t *)&p->tcp, &part, 1, written) < 0)
        end(p);
}

static void send_back(struct peer *p, char *from, size_t len)
{
    uv_buf_t part = uv_buf_init(from, (unsigned)len);
    int n = uv_try_write((uv_stream_t *)&p->tcp, &part, 1);

    if (n < 0 && n != UV_EAGAIN)
        end(p);
    else if (n < (int)len)
        write_rest(p, from + (n > 0 ? n : 0), len - (size_t)(n > 0 ? n : 0));
}

/* What is left is kept for the next read. */
static void send_lines_back(struct peer *p, size_t len)
{
    char *from = buf, *end_of_buf = buf + len, *at = buf, *found;

    while ((found = memchr(at, '\n', (size_t)(end_of_buf - at)))) {
        at = found + 1;
        if (way == EACH) {
            send_back(p, from, (size_t)(at - from));
            from = at;
        }
    }
    if (at > from)
        send_back(p, from, (size_t)(at - from));
    p->len = (size_t)(end_of_buf - at);
    if (p->len > sizeof p->part)
        end(p);
    else
        memcpy(p->part, at, p->len);
}

static void readable(uv_stream_t *stream, ssize_t n, const uv_buf_t *got)
{
    struct peer *p = (struct peer *)stream;

    (void)got;
    if (n < 0) {
        end(p);
    } else if (way != CLOSE) {
        send_lines_back(p, p->len + (size_t)n);
    } else if (n > 0) {
        send_back(p, buf, (size_t)n);
        end(p);
    }
}

static void accept_one(uv_stream_t *listener, int status)
{
    struct peer *p = status < 0 ? NULL : malloc(sizeof *p);

    if (!p)
        return;
    p->len = 0;
    uv_tcp_init(listener->loop, &p->tcp);
    if (uv_accept(listener, (uv_stream_t *)&p->tcp) == 0)
        uv_read_start((uv_stream_t *)&p->tcp, give_buffer, readable);
    else
        end(p);
}

int main(int argc, char **argv)
{
    uv_tcp_t listener;
    uv_loop_t *loop = uv_default_loop();
    const char *name = argc > 1 ? argv[1] : "each";

    way = strcmp(name, "close") == 0 ? CLOSE : strcmp(name, "gathered") == 0 ? GATHERED : EACH;
    uv_tcp_init(loop, &listener);
    bench_check("uv_tcp_open", uv_tcp_open(&listener, bench_serve(true)));
    bench_check("uv_listen", uv_listen((uv_stream_t *)&listener, SOMAXCONN, accept_one));
    return uv_run(loop, UV_RUN_DEFAULT);
}
