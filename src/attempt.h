/* One attempt to connect to one address. */
#ifndef ATTEMPT_H
#define ATTEMPT_H

#include "socket.h"

struct attempt {
    int fd;
    unsigned index; /* what the race calls it */
    bool adopted;   /* the descriptor was the socket's before */
    int broken;     /* it has connected, and the peer has reset it since: what reads will say */
    uint64_t
        retry_ns; /* a Unix listener's queue is full: when to try again; 0: the kernel is at it */
    uint64_t delay_ns; /* before the next retry */
};

/* Starts, with the descriptor that the socket has or a fresh one. Returns 0 if it is connected,
 * -EINPROGRESS, or why it has failed; then there is no descriptor. (lock) */
int attempt_start(struct attempt *a, weir_socket *s, const weir_address *to, uint64_t now_ns);

/* Tries again after `retry_ns`. As attempt_start, but the attempt is still to be closed if it
 * has failed. (lock) */
int attempt_retry(struct attempt *a, const weir_address *to, uint64_t now_ns);

/* What has become of an attempt for which poll(2) says `revents`. As attempt_retry. (lock) */
int attempt_outcome(struct attempt *a, const weir_address *to, short revents);

/* Closes the descriptor unless the socket keeps it. Waiters must have let go of it. (lock) */
void attempt_close(struct attempt *a, weir_socket *s);

#endif
