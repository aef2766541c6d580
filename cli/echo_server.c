/* The echo server, in a straight line: a task for each peer. */
#include "cli.h"

#include <errno.h>

#define CHUNK_BYTES    (16 * 1024)
#define DATAGRAM_BYTES (64 * 1024)

/* How long a peer is given to end its side when the server is being stopped. */
#define GOODBYE_MS 500

/* How long one may take to shake hands. */
#define WELCOME_MS 10000

static int shake_hands(weir_socket *s)
{
    WEIR_WITHIN_MS(WELCOME_MS);
    return weir_handshake(s);
}

/* Who cannot shake hands is no reason to stop, but whoever runs the server may want to know. */
static int welcome(weir_socket *s, bool verbose)
{
    char who[WEIR_ADDRESS_TEXT_MAX] = "a peer";
    weir_address address;
    int rc = shake_hands(s);

    if (!verbose || rc == -ECANCELED)
        return rc;
    if (weir_peer_address(s, &address) == 0)
        weir_address_format(&address, who, sizeof(who));
    if (rc < 0)
        tls_failed(s, rc, who);
    else
        tls_say(s, who);
    return rc;
}

/* A peer that does not read is not read from: this waits for it. */
static int converse(weir_socket *s, void *how)
{
    const struct echo_options *options = how;
    char bytes[CHUNK_BYTES];
    ssize_t n;

    if (options->tls && welcome(s, options->verbose) < 0)
        return 0;
    while ((n = weir_recv(s, bytes, sizeof(bytes))) > 0) {
        size_t done = 0;
        if (weir_send_all(s, bytes, (size_t)n, &done) < 0)
            break;
    }
    WEIR_SHIELDED_MS(GOODBYE_MS);
    return weir_finish(s);
}

/* A listener in blocking mode would wait for a descriptor in silence; this one says so, once. */
static int echo_streams(weir_socket *listener, weir_group *peers, struct echo_options *options)
{
    bool said = false;
    weir_socket *s;
    int rc;

    weir_set_blocking(listener, false);
    do {
        rc = weir_accept(listener, &s);
        if (rc == 0) {
            rc = weir_go_socket(peers, converse, s, options);
            if (rc < 0)
                failed(NULL, rc, "start a task for a peer, which is turned away");
            rc = 0;
        } else if (weir_in_progress(rc) || out_of_descriptors(rc)) {
            if (out_of_descriptors(rc) && !said)
                failed(listener, rc, "accept; the connection waits until another ends");
            said = out_of_descriptors(rc);
            rc = weir_wait(listener, WEIR_READABLE);
        }
    } while (rc >= 0);
    return rc;
}

/* What cannot be answered is dropped, as the network would. */
static int echo_datagrams(weir_socket *s)
{
    static char bytes[DATAGRAM_BYTES];
    weir_datagram_info info;
    ssize_t n;

    while ((n = weir_recv_from(s, bytes, sizeof(bytes), &info)) >= 0)
        weir_send_to(s, bytes, (size_t)n, &info.from);
    return (int)n;
}

int echo_until_signal(weir_socket *s, struct echo_options *options)
{
    weir_group *tasks = NULL;
    int rc = weir_group_open(&tasks, WEIR_GROUP_OPTIONS(.spread = true));

    if (rc == 0)
        rc = weir_go(tasks, abort_at_signal, s);
    if (rc == 0)
        rc = options->datagrams ? echo_datagrams(s) : echo_streams(s, tasks, options);
    weir_group_close(tasks);
    return rc == WEIR_ECLOSED ? 0 : rc;
}
