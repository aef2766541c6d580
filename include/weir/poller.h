/* A poller: waits for many sockets at once, for programs in the non-blocking model.
 *
 * Level-triggered: a socket is reported by every wait for as long as it is ready. The cost of a
 * wait grows with the sockets that are ready, not with those that are watched. A socket that is
 * still connecting, by name or not, may be watched: the poller drives it, and reports it when that
 * has succeeded or failed.
 *
 * One thread waits at a time; any thread may call the others. The sockets may be in either mode;
 * the poller does not change it. */
#ifndef WEIR_POLLER_H
#define WEIR_POLLER_H

#include <weir/base.h>
#include <weir/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_poller weir_poller;

/* A socket that is ready. */
typedef struct weir_event {
    weir_socket *socket;
    void *data;      /* as given to weir_poller_add */
    unsigned events; /* those of WEIR_READABLE, WEIR_WRITABLE that were asked for and hold; all that
                        were asked for if the socket has failed, has hung up or was aborted */
} weir_event;

/* Makes a poller. Returns 0, -EMFILE, -ENFILE, -ENOMEM. */
WEIR_API int weir_poller_open(weir_poller **ret);

/* Ends a poller; sockets that it watches are left as they are. No thread may be waiting. After
 * fork(2) the child may only do this with a poller of the parent. Returns 0 (also for NULL). */
WEIR_API int weir_poller_close(weir_poller *p);

/* Watches a socket, in any state, for `events` (WEIR_READABLE, WEIR_WRITABLE, both, or 0 for none
 * yet). `data` comes back with its events. No reference is taken: the last weir_close removes the
 * socket from every poller.
 *
 * Returns 0, or
 *   -EEXIST  the poller watches it already
 *   -EINVAL  an unknown event
 *   -ENOSPC, -ENOMEM  a limit of epoll_ctl(2) */
WEIR_API int weir_poller_add(weir_poller *p, weir_socket *s, unsigned events, void *data);

/* Changes what a watched socket is watched for. Returns 0, -ENOENT if it is not watched,
 * -EINVAL. */
WEIR_API int weir_poller_modify(weir_poller *p, weir_socket *s, unsigned events, void *data);

/* Stops watching. Events of `s` that an earlier wait has returned are the caller's to skip. Returns
 * 0, or -ENOENT. */
WEIR_API int weir_poller_remove(weir_poller *p, weir_socket *s);

/* Waits until a socket is ready, at most `timeout_ms` milliseconds (negative: without end; 0: not
 * at all) and no longer than the limits of the calling thread allow.
 *
 * Returns how many of `events` were filled, 1..max, 0 when time is up or weir_poller_wake was
 * called, or
 *   -EINVAL  `events` is NULL or `max` < 1
 *   -EBUSY   another thread is waiting
 *   WEIR_EDEADLINE  a limit of the calling thread passed */
WEIR_API int weir_poller_wait(weir_poller *p, weir_event *events, int max, int64_t timeout_ms);

/* Makes the wait that runs, or else the next one, return at once. From any thread; several calls
 * may wake one wait. Returns 0. */
WEIR_API int weir_poller_wake(weir_poller *p);

/* A descriptor for foreign event loops: it becomes readable (poll(2), epoll(7)) when a wait with
 * time-out 0 has something to do or to report. The same until weir_poller_close; watch it for input
 * only, level-triggered. */
WEIR_API int weir_poller_fd(const weir_poller *p);

#ifdef __cplusplus
}
#endif

#endif
