/* One call of weir_serve. On each loop an acceptor: a task that accepts from a listener of the
 * loop, and the group of the connections that live there. The caller of weir_serve owns all of it
 * and waits; an acceptor's task starts connections, also in the groups of others.
 *
 *     server.taken   seats; when there is none left no more connections are accepted
 *     acceptor.open  connections that live there, which decides where the next one goes */
#ifndef SERVE_H
#define SERVE_H

#include "loop/loop.h"
#include "wait.h"

#include <stdatomic.h>
#include <weir/serve.h>
#include <weir/task.h>

struct server;

struct acceptor {
    struct server *server;
    struct loop *loop;     /* NULL where tasks are threads */
    weir_socket *listener; /* NULL if it only gets what others accept */
    weir_group *connections;
    atomic_uint open;
    unsigned forks; /* of the process that it belongs to */
    bool starved;   /* there was no room for the next, and that has been told (its task) */
};

struct server {
    struct waiter watch; /* first; in the listener's list until that is ended here */
    int (*handler)(weir_socket *s, void *arg);
    void *arg;
    weir_serve_options options;
    weir_socket *listener;
    atomic_bool lost;        /* somebody else has ended it */
    weir_group *tasks;       /* of the acceptors */
    atomic_uint taken;       /* seats */
    weir_channel *bell;      /* rings when a seat has been given up; NULL: there is no limit */
    _Atomic uint64_t end_ns; /* until then handlers may go on; 0: the end has not begun */
    unsigned count;
    struct acceptor acceptors[];
};

/* As dumps call the tasks of a server that are not its handlers'. */
#define SERVE_TASK_NAME "weir_serve"

/* The task of an acceptor: accepts until it is cancelled, then what is still in the queue, and ends
 * the listener. Returns why it stopped. */
int acceptor_run(void *acceptor);

/* The end has begun: how many milliseconds are left for handlers to go on. */
int64_t server_time_left(struct server *v);

/* Ends the listener of an acceptor, which is no loss. */
void server_end_listener(struct server *v, weir_socket *listener);

/* A listener at the address of `s`, with the same options and TLS, that the kernel gives a share of
 * the connections; owned by the caller. 0, -EOPNOTSUPP where there is no such thing, or -errno. */
int listener_share(weir_socket *s, weir_socket **ret);

/* What all servers of the process have come to. */
struct serve_counts {
    uint64_t accepted, failed; /* connections; handlers */
    uint64_t rests;            /* how often there was no room for the next connection */
    unsigned serving;          /* connections now */
};
void serve_count(struct serve_counts *ret);

#endif
