/* The echo server, in the non-blocking model: one thread, one poller.
 *
 * What a peer has not taken yet is kept for it, and until it has taken that it is not read from. So
 * there is at most one chunk in memory for each peer, and none for those that keep up. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (64 * 1024)
#define EVENTS_MAX  256

/* How many connections or datagrams to take before the others get their turn. */
#define BATCH 64

struct peer {
    struct peer *next, **link;
    weir_socket *socket;
    char *unsent; /* NULL if there is nothing */
    size_t unsent_length, unsent_done;
};

struct server {
    weir_poller *poller;
    weir_socket *listener;
    struct peer *peers;
    bool out_of_descriptors; /* and this was said */
    char chunk[CHUNK_BYTES];
};

static void peer_free(struct peer *p)
{
    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    weir_close(p->socket);
    free(p->unsent);
    free(p);
}

static int peer_new(struct server *server, weir_socket *s)
{
    struct peer *p = calloc(1, sizeof(*p));
    int rc;

    if (!p) {
        weir_close(s);
        return -ENOMEM;
    }
    p->socket = s;
    p->next = server->peers;
    p->link = &server->peers;
    if (p->next)
        p->next->link = &p->next;
    server->peers = p;
    weir_set_blocking(s, false);
    rc = weir_poller_add(server->poller, s, WEIR_READABLE, p);
    if (rc < 0)
        peer_free(p);
    return rc;
}

/* Sends what it can and keeps the rest. */
static int peer_send(struct server *server, struct peer *p, const char *buf, size_t length)
{
    size_t done = 0;
    int rc = weir_send_all(p->socket, buf, length, &done);

    if (!weir_in_progress(rc))
        return rc;
    p->unsent_length = length - done;
    p->unsent_done = 0;
    p->unsent = malloc(p->unsent_length);
    if (!p->unsent)
        return -ENOMEM;
    memcpy(p->unsent, buf + done, p->unsent_length);
    return weir_poller_modify(server->poller, p->socket, WEIR_WRITABLE, p);
}

static int peer_send_unsent(struct server *server, struct peer *p)
{
    int rc = weir_send_all(p->socket, p->unsent, p->unsent_length, &p->unsent_done);

    if (weir_in_progress(rc))
        return 0;
    free(p->unsent);
    p->unsent = NULL;
    return rc < 0 ? rc : weir_poller_modify(server->poller, p->socket, WEIR_READABLE, p);
}

static void peer_ready(struct server *server, struct peer *p)
{
    ssize_t n;
    int rc = 0;

    if (p->unsent) {
        rc = peer_send_unsent(server, p);
    } else {
        n = weir_recv(p->socket, server->chunk, sizeof(server->chunk));
        if (weir_in_progress(n))
            return;
        rc = n > 0 ? peer_send(server, p, server->chunk, (size_t)n) : -ECONNRESET;
    }
    /* The end of a stream comes here too: nothing is unsent then, so the answer is complete. */
    if (rc < 0)
        peer_free(p);
}

static int accept_some(struct server *server)
{
    for (int i = 0; i < BATCH; i++) {
        weir_socket *s = NULL;
        int rc = weir_accept(server->listener, &s);

        if (weir_in_progress(rc)) {
            server->out_of_descriptors = false;
            return 0;
        }
        if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS) {
            if (!server->out_of_descriptors)
                failed(server->listener, rc, "accept; the connection waits until another ends");
            server->out_of_descriptors = true;
            return 0;
        }
        if (rc < 0)
            return rc;
        peer_new(server, s);
    }
    return 0;
}

/* Returns 1 when it is time to stop. */
static int turn(struct server *server, weir_socket *stop)
{
    weir_event events[EVENTS_MAX];
    int rc, count = weir_poller_wait(server->poller, events, EVENTS_MAX, -1);

    for (int i = 0; i < count; i++) {
        if (events[i].socket == stop)
            return 1;
        if (events[i].socket == server->listener) {
            rc = accept_some(server);
            if (rc < 0)
                return rc;
        } else {
            peer_ready(server, events[i].data);
        }
    }
    return count < 0 ? count : 0;
}

int echo_streams(weir_socket *listener, weir_socket *stop)
{
    struct server *server = calloc(1, sizeof(*server));
    int rc;

    if (!server)
        return -ENOMEM;
    server->listener = listener;
    weir_set_blocking(listener, false);
    rc = weir_poller_open(&server->poller);
    if (rc == 0)
        rc = weir_poller_add(server->poller, listener, WEIR_READABLE, NULL);
    if (rc == 0)
        rc = weir_poller_add(server->poller, stop, WEIR_READABLE, NULL);
    while (rc == 0)
        rc = turn(server, stop);

    for (struct peer *p = server->peers, *next; p; p = next) {
        next = p->next;
        peer_free(p);
    }
    weir_poller_close(server->poller);
    free(server);
    return rc < 0 ? rc : 0;
}

/* Answers what is there. An answer that finds no room is dropped, as the network would. */
static int answer_some(weir_socket *s, char *buf, size_t size)
{
    for (int i = 0; i < BATCH; i++) {
        weir_datagram_info info;
        ssize_t n = weir_recv_from(s, buf, size, &info);

        if (n < 0)
            return weir_in_progress(n) ? 0 : (int)n;
        weir_send_to(s, buf, (size_t)n, &info.from);
    }
    return 0;
}

int echo_datagrams(weir_socket *s, weir_socket *stop)
{
    static char buf[CHUNK_BYTES];
    weir_poller *poller = NULL;
    weir_event event = {0};
    int rc;

    weir_set_blocking(s, false);
    rc = weir_poller_open(&poller);
    if (rc == 0)
        rc = weir_poller_add(poller, s, WEIR_READABLE, NULL);
    if (rc == 0)
        rc = weir_poller_add(poller, stop, WEIR_READABLE, NULL);
    while (rc == 0 && event.socket != stop) {
        rc = answer_some(s, buf, sizeof(buf));
        if (rc == 0)
            rc = weir_poller_wait(poller, &event, 1, -1);
        if (rc > 0)
            rc = 0;
    }
    weir_poller_close(poller);
    return rc;
}
