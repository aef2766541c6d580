/* A server that runs beside the test, and its clients; on whatever ground the test runs. */
#ifndef SERVE_FIXTURE_H
#define SERVE_FIXTURE_H

#include "support/ground.h"

/* Zeroed, then: .handler, .arg and .options as the test likes, serving_listen, serving_start. Lives
 * until serving_result or serving_end. */
struct serving {
    int (*handler)(weir_socket *s, struct serving *sv);
    void *arg;                  /* the test's own */
    weir_serve_options options; /* but for .size and .failed */
    int64_t within_ms;          /* a limit of the caller of weir_serve; 0: none */
    weir_socket *listener;
    weir_address where;
    weir_group *group;
    struct other other;
    /* What has happened. */
    atomic_int begun, inside, most, ended; /* handlers; and the most at a time */
    atomic_int told, told_rc;              /* of a connection, and the last result */
    atomic_int full, full_rc;              /* of no room for more, and the last reason */
};

/* Listens at a target; "tcp://127.0.0.1:0". */
void serving_listen(struct serving *sv, const char *target);
/* Has the caller's own listener served, which is closed at the end. */
void serving_listen_on(struct serving *sv, weir_socket *listener);
/* Calls weir_serve, in a task beside the caller. */
void serving_start(struct serving *sv);
/* The two of them, on TCP over loopback. */
void serving_begin(struct serving *sv);
/* What weir_serve does in the task that serving_start starts. */
int serving_run(struct serving *sv);
/* The end, by a cancel of the caller. */
void serving_cancel(struct serving *sv);
/* Waits for the end and returns what weir_serve has; the listener is closed. */
int serving_result(struct serving *sv);
/* The end, which is a good one: nobody is left inside. */
void serving_end(struct serving *sv);

/* A client that has connected. Whatever it waits for is an error when it takes too long. */
weir_socket *visitor(const struct serving *sv);
/* The same as a plain descriptor, made and connected one after the other; it does not wait, and
 * is false if nobody listens. */
int visitor_fd(void);
bool visitor_fd_connect(const struct serving *sv, int fd);
/* Sends a byte and receives one, which is the same. */
void visitor_asks(weir_socket *c);
/* What the server has done is the end: nothing else comes. Closes. */
void visitor_sees_the_end(weir_socket *c);
/* Nobody listens there any more. */
void visitor_is_refused(const struct serving *sv);
/* Returns when that is so. */
void until_refused(const struct serving *sv);

/* Returns when `*count` is `least` or more. */
void until(const atomic_int *count, int least);

/* Handlers. */
int echoes(weir_socket *s, struct serving *sv);         /* until the client ends */
int waits_for_ever(weir_socket *s, struct serving *sv); /* returns what ended it */
int says_hello(weir_socket *s, struct serving *sv);     /* "hello", and that is all */

#endif
