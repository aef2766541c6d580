/* The echo server, in a straight line: a task for each peer. */
#include "cli.h"

#include <errno.h>

#define CHUNK_BYTES    (16 * 1024)
#define DATAGRAM_BYTES (64 * 1024)

/* How long a peer is given to end its side when the server is being stopped. */
#define GOODBYE_MS 500

struct echo_server {
    struct server server; /* first: it is what the handler is given */
    const struct echo_options *options;
};

/* A peer that does not read is not read from: this waits for it. */
static int converse(weir_socket *s, struct server *server)
{
    const struct echo_options *options = ((struct echo_server *)server)->options;
    char bytes[CHUNK_BYTES];
    int rc = options->tls ? tls_welcome(s, options->verbose) : 0;
    ssize_t n;

    if (rc < 0)
        return rc;
    while ((n = weir_recv(s, bytes, sizeof(bytes))) > 0) {
        size_t done = 0;
        server_count(&server->there, (uint64_t)n);
        rc = weir_send_all(s, bytes, (size_t)n, &done);
        server_count(&server->back, done);
        if (rc < 0)
            break;
    }
    WEIR_SHIELDED_MS(GOODBYE_MS);
    int goodbye = weir_finish(s);
    return n < 0 ? (int)n : rc < 0 ? rc : goodbye;
}

/* What cannot be answered is dropped, as the network would. */
static int echo_datagrams(struct server *server)
{
    static char bytes[DATAGRAM_BYTES];
    weir_datagram_info info;
    ssize_t n;

    while ((n = weir_recv_from(server->listener, bytes, sizeof(bytes), &info)) >= 0) {
        server_count(&server->there, (uint64_t)n);
        n = weir_send_to(server->listener, bytes, (size_t)n, &info.from);
        server_count(&server->back, n > 0 ? (uint64_t)n : 0);
    }
    return (int)n;
}

int echo_until_signal(weir_socket *s, const struct echo_options *options)
{
    struct echo_server echo = {
        .server = {.listener = s, .stats = options->stats},
        .options = options,
    };

    if (options->datagrams)
        echo.server.work = echo_datagrams;
    else
        echo.server.handler = converse;
    return serve_until_signal(&echo.server);
}
