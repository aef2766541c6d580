/* netcat's work: a task for each direction. */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define FLOW_BYTES ((size_t)64 * 1024)

/* What fits into one packet nearly everywhere. */
#define DATAGRAM_BYTES 1200

/* UDP has no end: how long to wait for answers after the last message. */
#define DATAGRAM_LINGER_MS 1000

#define UNDECIDED (-1)

struct relay {
    const char *peer;
    bool datagrams;
    int64_t timeout_ms;
    weir_socket *network, *input, *output;
    weir_group *tasks;
    _Atomic uint64_t moved_ns; /* when bytes last came or went */
    atomic_bool input_ended, peer_ended;
    atomic_int status; /* how it ends, or UNDECIDED */
};

/* Whoever is the first to know how it ends says so, and the others stop. True for the first. */
static bool decide(struct relay *r, int status)
{
    int undecided = UNDECIDED;

    if (!atomic_compare_exchange_strong(&r->status, &undecided, status))
        return false;
    weir_group_cancel(r->tasks);
    return true;
}

static int give_up(struct relay *r, const weir_socket *s, int rc, const char *what)
{
    if (rc != -ECANCELED && decide(r, EXIT_FAILED))
        failed(s, rc, "%s", what);
    return rc;
}

static void note_movement(struct relay *r)
{
    atomic_store(&r->moved_ns, now_ns());
}

/* Ends when nothing has moved for the time-out. */
static int watch(void *relay)
{
    struct relay *r = relay;

    for (;;) {
        int64_t idle_ms = (int64_t)((now_ns() - r->moved_ns) / 1000000);
        if (idle_ms >= r->timeout_ms)
            break;
        if (weir_sleep(r->timeout_ms - idle_ms) < 0)
            return 0;
    }
    if (r->datagrams && r->input_ended)
        decide(r, EXIT_SUCCESS);
    else if (decide(r, EXIT_FAILED))
        say("%s: nothing came or went for %g seconds (--timeout)", r->peer,
            (double)r->timeout_ms / 1000);
    return 0;
}

static int write_all(struct relay *r, weir_socket *to, const char *bytes, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = weir_send(to, bytes + done, length - done);
        if (n < 0)
            return (int)n;
        done += (size_t)n;
        note_movement(r);
    }
    return 0;
}

/* ---- standard input to the peer -------------------------------------------------------------- */

/* Ends that direction alone. ENOTCONN: it was reset; reading will say so. */
static int end_input(struct relay *r)
{
    int rc = r->datagrams ? 0 : weir_shutdown(r->network, SHUT_WR);

    if (rc < 0 && rc != -ENOTCONN)
        return rc;
    note_movement(r);
    atomic_store(&r->input_ended, true);
    if (r->peer_ended)
        decide(r, EXIT_SUCCESS);
    if (r->datagrams && r->timeout_ms < 0) {
        r->timeout_ms = DATAGRAM_LINGER_MS;
        watch(r);
    }
    return 0;
}

static int send_input(void *relay)
{
    struct relay *r = relay;
    char bytes[FLOW_BYTES];
    ssize_t n;
    int rc = 0;

    while ((n = weir_recv(r->input, bytes, r->datagrams ? DATAGRAM_BYTES : FLOW_BYTES)) > 0) {
        rc = write_all(r, r->network, bytes, (size_t)n);
        if (rc < 0)
            return give_up(r, r->network, rc, r->peer);
    }
    if (n < 0)
        return give_up(r, r->input, (int)n, "read standard input");
    rc = end_input(r);
    return rc < 0 ? give_up(r, r->network, rc, r->peer) : 0;
}

/* ---- the peer to standard output ------------------------------------------------------------- */

/* Whoever reads our output has gone. Programs that do not ask die of SIGPIPE then, quietly. */
static void output_gone(struct relay *r)
{
    kill(getpid(), SIGPIPE);
    decide(r, EXIT_FAILED);
}

static int receive_output(void *relay)
{
    struct relay *r = relay;
    char bytes[FLOW_BYTES];
    ssize_t n;

    /* A message of 0 bytes is none that ends anything. */
    while ((n = weir_recv(r->network, bytes, sizeof(bytes))) > 0 || (n == 0 && r->datagrams)) {
        int rc = write_all(r, r->output, bytes, (size_t)n);
        note_movement(r);
        if (rc == -EPIPE)
            output_gone(r);
        if (rc < 0)
            return give_up(r, r->output, rc, "write standard output");
    }
    if (n < 0)
        return give_up(r, r->network, (int)n, r->peer);
    atomic_store(&r->peer_ended, true);
    /* A person at a terminal wants to see that the peer has ended. Otherwise the peer may have
     * ended its side only, and is owed the rest of our input. */
    if (r->input_ended || isatty(STDIN_FILENO))
        decide(r, EXIT_SUCCESS);
    return 0;
}

/* ---- both ------------------------------------------------------------------------------------ */

static int start(struct relay *r)
{
    int rc = weir_from_fd(&r->input, STDIN_FILENO);

    if (rc == 0)
        rc = weir_from_fd(&r->output, STDOUT_FILENO);
    if (rc == 0)
        rc = weir_group_open(&r->tasks, NULL);
    if (rc == 0 && r->timeout_ms >= 0) /* before anything can end and change the time-out */
        rc = weir_go(r->tasks, watch, r);
    if (rc == 0)
        rc = weir_go(r->tasks, send_input, r);
    if (rc == 0)
        rc = weir_go(r->tasks, receive_output, r);
    return rc;
}

int relay(weir_socket *s, const struct relay_options *options)
{
    struct relay r = {
        .peer = options->peer,
        .datagrams = options->datagrams,
        .timeout_ms = options->timeout_ms,
        .network = s,
        .moved_ns = now_ns(),
        .status = UNDECIDED,
    };
    int rc = start(&r);

    if (rc < 0)
        give_up(&r, NULL, rc, "standard input and output");
    weir_group_wait(r.tasks, NULL);
    weir_group_close(r.tasks);
    weir_close(r.output);
    weir_close(r.input);
    return r.status;
}
