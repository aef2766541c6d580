/* What the poller's tests share: a poller for each test, and a check that nothing is left open. */
#ifndef POLLER_FIXTURE_H
#define POLLER_FIXTURE_H

#include "support/watch.h"

#include <stdbool.h>
#include <weir.h>

#define BOTH (WEIR_READABLE | WEIR_WRITABLE)

/* Room in one wait of these tests. */
#define EVENTS 16

struct poller_fixture {
    weir_poller *p;
    weir_event events[EVENTS];
    bool resolver; /* the test may start the resolver, which keeps descriptors */
    struct open_fds before;
};

/* For cmocka_unit_test_setup_teardown. */
int poller_fixture_open(void **state);
int poller_fixture_close(void **state);
#define POLLER_TEST(fn)                                                                            \
    cmocka_unit_test_setup_teardown(fn, poller_fixture_open, poller_fixture_close)

/* Waits for exactly one event, which is of `s`, for `events`, with `data`. */
void expect_one(struct poller_fixture *f, weir_socket *s, unsigned events, const void *data);

/* Nothing is to be reported right now. */
void expect_nothing(struct poller_fixture *f);

/* Waits once, however long it takes; the number of events. */
int wait_once(struct poller_fixture *f);

/* True if poll(2) finds the poller's descriptor readable. */
bool poller_fd_ready(const weir_poller *p);

/* Two connected Unix stream sockets in non-blocking mode. */
void pair_open(weir_socket *pair[2]);
void conversation_close(weir_socket *pair[2]);

/* One byte from here to there. */
void send_byte(weir_socket *s);
void recv_byte(weir_socket *s);

/* A non-blocking TCP listener on a free port of 127.0.0.1. */
weir_socket *listener_open(weir_address *ret_where);

/* A fresh non-blocking TCP socket. */
weir_socket *tcp_open(void);

/* A Unix listener whose queue is full, so that a connect to it retries, and where it is. Accepting
 * what is in the queue makes room. */
struct full_listener {
    weir_socket *listener, *client;
    weir_address where;
};
void full_listener_open(struct full_listener *l);
void full_listener_drain(struct full_listener *l);
void full_listener_close(struct full_listener *l);

/* Counting faults: the next `error_count` of `error_call` fail with `error_rc`; all of them are
 * counted. Undone when the fixture is closed. */
void faults_start(int error_call, int error_rc, int error_count);
int faults_calls(int call);

#endif
