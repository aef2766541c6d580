/* The echo server, in a straight line: a task for each peer. */
#include "cli.h"

#define CHUNK_BYTES    (16 * 1024)
#define DATAGRAM_BYTES (64 * 1024)

/* How long a peer is given to end its side when the server is being stopped. */
#define GOODBYE_MS 500

/* A peer that does not read is not read from: this waits for it. */
static int converse(weir_socket *s, void *unused)
{
    char bytes[CHUNK_BYTES];
    ssize_t n;

    (void)unused;
    while ((n = weir_recv(s, bytes, sizeof(bytes))) > 0) {
        size_t done = 0;
        if (weir_send_all(s, bytes, (size_t)n, &done) < 0)
            break;
    }
    WEIR_SHIELDED_MS(GOODBYE_MS);
    return weir_finish(s);
}

/* A listener in blocking mode would wait for a descriptor in silence; this one says so, once. */
static int echo_streams(weir_socket *listener, weir_group *peers)
{
    bool said = false;
    weir_socket *s;
    int rc;

    weir_set_blocking(listener, false);
    do {
        rc = weir_accept(listener, &s);
        if (rc == 0) {
            rc = weir_go_socket(peers, converse, s, NULL);
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

int echo_until_signal(weir_socket *s, bool datagrams)
{
    weir_group *tasks = NULL;
    int rc = weir_group_open(&tasks, WEIR_GROUP_OPTIONS(.spread = true));

    if (rc == 0)
        rc = weir_go(tasks, abort_at_signal, s);
    if (rc == 0)
        rc = datagrams ? echo_datagrams(s) : echo_streams(s, tasks);
    weir_group_close(tasks);
    return rc == WEIR_ECLOSED ? 0 : rc;
}
