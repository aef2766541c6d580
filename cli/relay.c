/* netcat's work: two flows of bytes over one poller. */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define FLOW_BYTES ((size_t)64 * 1024)

/* What fits into one packet nearly everywhere. */
#define DATAGRAM_BYTES 1200

/* How often a flow may move bytes before the other has its turn. */
#define BATCH 16

/* UDP has no end: how long to wait for answers after the last message. */
#define DATAGRAM_LINGER_MS 1000

struct flow {
    weir_socket *from, *to;
    const char *from_name, *to_name;
    size_t chunk;      /* how much to take at a time */
    size_t start, end; /* bytes [start, end) wait to be written */
    bool messages;     /* 0 bytes are a message, not the end */
    bool ended;        /* nothing more comes from `from`, and `to` has all of it */
    char bytes[FLOW_BYTES];
};

struct watched {
    weir_socket *socket;
    unsigned events;
};

struct relay {
    const struct relay_options *options;
    weir_poller *poller;
    struct watched input, output, network;
    struct flow out, in; /* to the peer, from the peer */
};

/* Whoever reads our output has gone. Programs that do not ask die of SIGPIPE then, quietly. */
static int output_gone(void)
{
    raise(SIGPIPE);
    return EXIT_FAILED;
}

static int flow_write(struct flow *f)
{
    ssize_t n = weir_send(f->to, f->bytes + f->start, f->end - f->start);

    if (n < 0)
        return (int)n;
    f->start += (size_t)n;
    if (f->start >= f->end)
        f->start = f->end = 0;
    return 0;
}

static int flow_read(struct flow *f)
{
    ssize_t n = weir_recv(f->from, f->bytes, f->chunk);

    if (n < 0)
        return (int)n;
    f->end = (size_t)n;
    f->ended = n == 0 && !f->messages;
    return 0;
}

/* Moves what can be moved. Returns 0, or the error, and in `*ret_name` whose it is. */
static int flow_move(struct flow *f, const char **ret_name)
{
    int rc = 0;

    for (int i = 0; i < BATCH && !f->ended && rc == 0; i++) {
        bool writes = f->end > f->start;
        *ret_name = writes ? f->to_name : f->from_name;
        rc = writes ? flow_write(f) : flow_read(f);
    }
    return weir_in_progress(rc) ? 0 : rc;
}

static unsigned flow_reads(const struct flow *f)
{
    return !f->ended && f->end == f->start ? WEIR_READABLE : 0;
}

static unsigned flow_writes(const struct flow *f)
{
    return f->end > f->start ? WEIR_WRITABLE : 0;
}

/* A descriptor that nothing is wanted from is not watched: a pipe without a peer would be ready for
 * ever. */
static int watch(weir_poller *p, struct watched *w, unsigned events)
{
    unsigned before = w->events;

    if (events == before)
        return 0;
    w->events = events;
    if (events == 0)
        return weir_poller_remove(p, w->socket);
    return before == 0 ? weir_poller_add(p, w->socket, events, NULL)
                       : weir_poller_modify(p, w->socket, events, NULL);
}

static int watch_all(struct relay *r)
{
    int rc = watch(r->poller, &r->input, flow_reads(&r->out));

    if (rc == 0)
        rc = watch(r->poller, &r->output, flow_writes(&r->in));
    if (rc == 0)
        rc = watch(r->poller, &r->network, flow_reads(&r->in) | flow_writes(&r->out));
    return rc;
}

/* Returns an exit status, or -1 to go on. */
static int move(struct relay *r)
{
    bool input_had_ended = r->out.ended;
    const char *name = NULL;
    int rc = flow_move(&r->out, &name);

    if (rc == 0)
        rc = flow_move(&r->in, &name);
    if (rc == -EPIPE && name == r->in.to_name)
        return output_gone();
    if (rc < 0)
        return failed(NULL, rc, "%s", name);
    if (r->out.ended && !input_had_ended && !r->options->datagrams) {
        rc = weir_shutdown(r->network.socket, SHUT_WR);
        if (rc < 0 && rc != -ENOTCONN) /* ENOTCONN: it was reset; reading will say so */
            return failed(r->network.socket, rc, "end the conversation with %s", r->options->peer);
    }
    /* A person at a terminal wants to see that the peer has ended. Otherwise the peer may have
     * ended its side only, and is owed the rest of our input. */
    if (r->in.ended && (r->out.ended || isatty(STDIN_FILENO)))
        return EXIT_SUCCESS;
    return -1;
}

/* Returns an exit status, or -1 to go on. */
static int pause_until_ready(struct relay *r)
{
    weir_event events[3];
    int64_t timeout_ms = r->options->timeout_ms;
    bool lingers = r->options->datagrams && r->out.ended;
    int rc = watch_all(r);

    if (lingers && timeout_ms < 0)
        timeout_ms = DATAGRAM_LINGER_MS;
    if (rc == 0)
        rc = weir_poller_wait(r->poller, events, 3, timeout_ms);
    if (rc < 0)
        return failed(NULL, rc, "wait");
    if (rc > 0)
        return -1;
    if (lingers)
        return EXIT_SUCCESS;
    say("%s: nothing came or went for %g seconds (--timeout)", r->options->peer,
        (double)timeout_ms / 1000);
    return EXIT_FAILED;
}

static int relay_open(struct relay *r, weir_socket *s)
{
    int rc = weir_from_fd(&r->input.socket, STDIN_FILENO);

    if (rc == 0)
        rc = weir_from_fd(&r->output.socket, STDOUT_FILENO);
    if (rc == 0)
        rc = weir_poller_open(&r->poller);
    if (rc < 0)
        return rc;
    r->network.socket = s;
    weir_set_blocking(r->input.socket, false);
    weir_set_blocking(r->output.socket, false);
    weir_set_blocking(s, false);
    r->out = (struct flow){.from = r->input.socket,
                           .to = s,
                           .from_name = "read standard input",
                           .to_name = r->options->peer,
                           .chunk = r->options->datagrams ? DATAGRAM_BYTES : FLOW_BYTES};
    r->in = (struct flow){.from = s,
                          .to = r->output.socket,
                          .from_name = r->options->peer,
                          .to_name = "write standard output",
                          .chunk = FLOW_BYTES,
                          .messages = r->options->datagrams};
    return 0;
}

int relay(weir_socket *s, const struct relay_options *options)
{
    struct relay *r = calloc(1, sizeof(*r));
    int rc, status = -1;

    if (!r)
        return failed(NULL, -ENOMEM, "%s", options->peer);
    r->options = options;
    rc = relay_open(r, s);
    if (rc < 0)
        status = failed(NULL, rc, "standard input and output");
    while (status < 0) {
        status = move(r);
        if (status < 0)
            status = pause_until_ready(r);
    }
    weir_poller_close(r->poller);
    weir_close(r->output.socket);
    weir_close(r->input.socket);
    free(r);
    return status;
}
