/* A server: a handler, and one call.
 *
 *     static int echo(weir_socket *s, void *arg)
 *     {
 *         char bytes[4096];
 *         ssize_t n;
 *         int rc = 0;
 *
 *         while (rc == 0 && (n = weir_recv(s, bytes, sizeof bytes)) > 0) {
 *             size_t done = 0;
 *             rc = weir_send_all(s, bytes, (size_t)n, &done);
 *         }
 *         return rc;
 *     }
 *
 *     weir_serve(listener, echo, NULL, NULL);
 *
 * Each connection has a task of its own; where tasks share a thread there can be a hundred thousand
 * of them, on as many loops as weir_run has. */
#ifndef WEIR_SERVE_H
#define WEIR_SERVE_H

#include <sys/select.h> /* sigset_t */
#include <weir/base.h>
#include <weir/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Hears of what went wrong: `rc` is what a handler returned, and `s` its socket, still open; or why
 * no more connections can be taken for the moment (-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM, and for
 * threads -EAGAIN), told once on each loop until it works again, and `s` is NULL, or the connection
 * that is turned away. In the task where it happened, so in several threads at once if there are
 * several loops. */
typedef void weir_serve_failed(void *arg, weir_socket *s, int rc);

/* Made by WEIR_SERVE_OPTIONS(.max_connections = 1000). */
typedef struct weir_serve_options {
    size_t size;              /* sizeof(weir_serve_options), set by the macro */
    unsigned max_connections; /* at a time, on all loops together; the others wait in the listener's
                                 queue. 0: as many as there are descriptors */
    unsigned loops;           /* on so many loops of weir_run at most; 0: on all */
    int64_t idle_ms;          /* each call on a connection waits so long at most: its
                                 weir_set_timeout, to begin with. 0 or less: for ever */
    int64_t total_ms;         /* what a handler waits for ends after so long: a limit around it
                                 (limit.h). 0 or less: never */
    int64_t drain_ms;         /* handlers may go on for so long after the end has begun. 0 or less:
                                 not at all */
    const sigset_t *stop; /* these signals begin the end too: weir_signal_wait, and so blocked in
                                 every thread. NULL: none */
    weir_serve_failed *failed; /* NULL: nobody wants to hear */
} weir_serve_options;

#define WEIR_SERVE_OPTIONS(...)                                                                    \
    (&(const weir_serve_options){.size = sizeof(weir_serve_options), __VA_ARGS__})

/* Accepts from `listener` and calls `handler(s, arg)` for each connection, in a task of its own,
 * until the end begins: the caller is cancelled, a limit of his passes, one of `.stop` comes, or
 * somebody aborts the listener. `options` may be NULL.
 *
 * A connection. The socket is closed when its handler returns, for whoever has a reference too. A
 * handler is under no limit of the caller, only under those of the options, and cancelled only by
 * the end. A negative result is told to `.failed` and concerns nobody else. Over TLS the handshake
 * is part of the handler's first call.
 *
 * Loops. Where weir_run has several, a connection stays on one for its life. A TCP listener is
 * joined by one on each further loop, at the same address (SO_REUSEPORT, socket(7), which is set on
 * `listener` too: from then on whoever has the same user id may listen there as well), and the
 * kernel spreads the connections; those that come unevenly, and all of a Unix listener, and of one
 * that weir_from_fd has adopted, go to the loop that has the fewest.
 *
 * Too much. Beyond `.max_connections`, and without descriptors or memory, connections wait in the
 * kernel's queue, and no processor time is spent on them; as many as fit in there (weir_listen).
 *
 * The end. What the queues hold is accepted, as long as that becomes less, while there are seats
 * and `.drain_ms` is not over; then, at once, the listener is aborted, so that clients are refused
 * from now on, and may be closed by the caller, whose it stays. (A process that shares it goes on.)
 * What still runs after `.drain_ms` is cancelled: every wait of a handler returns -ECANCELED, but
 * for what it does in a shield of its own. Handlers that heed neither are waited for, so that what
 * they use lives as long as they do. When the caller's whole run ends, by the return of its main
 * task, handlers are cancelled at once.
 *
 * Returns when the last handler has: 0 after an end that was asked for; or
 *   WEIR_ECLOSED  the listener was aborted or closed by somebody else, or shut down (shutdown(2))
 *                 by one who shares it
 *   -EINVAL       `listener` or `handler` is NULL, it does not listen, unknown options, or as
 *                 weir_signal_wait for `.stop`
 *   -ENOMEM, -EMFILE, -ENFILE, -EAGAIN   it cannot begin: no memory, descriptors or threads
 * or what else makes the listener unusable (accept(2)). After -EINVAL the listener is as it was,
 * after all else it has been aborted. It does not matter whether it blocks, or has a time-out. */
WEIR_API int weir_serve(weir_socket *listener, int (*handler)(weir_socket *s, void *arg), void *arg,
                        const weir_serve_options *options);

#ifdef __cplusplus
}
#endif

#endif
