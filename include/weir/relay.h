/* Two streams made one. */
#ifndef WEIR_RELAY_H
#define WEIR_RELAY_H

#include <weir/base.h>
#include <weir/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Made by WEIR_RELAY_OPTIONS(.idle_ms = 60000). */
typedef struct weir_relay_options {
    size_t size;     /* sizeof(weir_relay_options), set by the macro */
    int64_t idle_ms; /* it ends when nothing has moved for so long, in either direction, whether
                        nobody sends or somebody does not read; 0 or less: never */
    /* Is told of all that has moved, when it has, in a task of the relay; of both directions at the
     * same time, where these have threads. It may wait, which slows that direction down; while it
     * does, the relay is not idle. */
    void (*moved)(void *arg, bool to_b, size_t n);
    void *arg;
} weir_relay_options;

#define WEIR_RELAY_OPTIONS(...)                                                                    \
    (&(const weir_relay_options){.size = sizeof(weir_relay_options), __VA_ARGS__})

/* What has moved. */
typedef struct weir_relay_result {
    uint64_t a_to_b, b_to_a; /* bytes that the other end has taken, counted as by weir_send */
    uint64_t a_lost, b_lost; /* bytes taken from that socket which the other end has not taken: 0
                                unless the relay was cut short, less than 1 MiB if it was */
    int a_error, b_error;    /* of that socket; 0 if there was none */
} weir_relay_result;

/* Moves bytes from `a` to `b` and from `b` to `a` until both have ended, or one has failed. An end
 * on one side ends that direction on the other (weir_shutdown) and leaves the other one as it is.
 * Both sockets stay the caller's; neither is closed. What a side does not read yet holds up the
 * other, and memory does not grow. In the kernel (splice(2)) where both sides are plain and that
 * pays. `options` and `ret` may be NULL.
 *
 * A side that takes no more (-EPIPE, -ECONNRESET) may have said something before: that is still
 * moved, and then the relay ends with the error. A failure to read ends it at once, as do limits
 * and cancels, which can find bytes on their way; `ret` says how many were lost.
 *
 * What one side has not ended properly (-ECONNRESET, WEIR_ETRUNCATED) does not look whole to the
 * other: once what came before has arrived there, for which the relay waits five seconds at most,
 * that socket is one whose close resets the connection (SO_LINGER, socket(7)), or with TLS one
 * whose close says no close_notify. A Unix stream knows only one end. After limits and cancels that
 * is left to the caller.
 *
 * For streams in blocking mode: TCP, TLS, Unix streams, and what weir_from_fd has adopted, where an
 * end that cannot be passed on (pipes, terminals) is left to the caller's weir_close, and what can
 * only be written to is not read. In a task or a thread: it takes two more for its time. A time-out
 * of either socket (weir_set_timeout) is an idle limit too; the shortest counts. One that is set or
 * changed meanwhile holds for a direction from when it has moved something the next time. Under a
 * shield the failure of one direction ends the other when the shield ends.
 *
 * Returns 0 when both directions have ended; or
 *   WEIR_EDEADLINE   nothing has moved for too long, or a limit of the caller passed
 *   -ECANCELED       the caller was cancelled
 *   -EINVAL          `a` or `b` is NULL, both are the same, or one is in non-blocking mode; unknown
 *                    options
 *   -EOPNOTSUPP      one is no stream
 *   WEIR_ECLOSED     one was closed here, before or meanwhile
 *   -ENOMEM          no memory
 *   -EAGAIN          threads: the limit of the system is reached
 * or the first error of a socket; `ret` says whose it is. `ret` is filled in in any case. */
WEIR_API int weir_relay(weir_socket *a, weir_socket *b, const weir_relay_options *options,
                        weir_relay_result *ret);

#ifdef __cplusplus
}
#endif

#endif
