/* A poller: waits for many sockets at once, for programs in the non-blocking model.
 *
 * Level-triggered: a socket is reported by every wait for as long as it is ready. The cost of a
 * wait grows with the sockets that are ready, not with those that are watched. A socket that is
 * still connecting, by name or not, may be watched: the poller drives it, and reports it when that
 * has succeeded or failed.
 *
 * One thread waits at a time; any thread may call the others, on any socket that it holds a
 * reference of. The sockets may be in either mode; the poller does not change it.
 *
 * A poller has three descriptors, all close-on-exec. It belongs to the process that made it: in a
 * child after fork(2) every call but weir_poller_close returns -EINVAL, and nothing that the child
 * does with its copies of the sockets reaches the parent's poller. */
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

/* Makes a poller.
 *
 * Returns 0, -EMFILE, -ENFILE, -ENOMEM, or -EINVAL if `ret` is NULL; `*ret` is untouched on
 * failure. */
WEIR_API int weir_poller_open(weir_poller **ret);

/* Ends a poller; sockets that it watches are left as they are. No thread may be waiting, or call
 * anything else on `p` from now on. Returns 0 (also for NULL). */
WEIR_API int weir_poller_close(weir_poller *p);

/* Watches a socket, in any state, for `events` (WEIR_READABLE, WEIR_WRITABLE, both, or 0 for none
 * yet; a connect goes on even then). `data` comes back with its events. A socket that is not
 * connected, connecting, bound or listening is watched in silence until it is.
 *
 * Several pollers may watch a socket. None takes a reference: when its last owner calls weir_close,
 * the socket is gone from all of them, and no wait that begins after that returns an event of it.
 * A wait that is running in another thread at that moment may still.
 *
 * Returns 0, or
 *   -EEXIST  the poller watches it already
 *   -EINVAL  an unknown event; `p` or `s` is NULL
 *   -ENOMEM  no memory
 *   -ENOSPC  the limit of /proc/sys/fs/epoll/max_user_watches */
WEIR_API int weir_poller_add(weir_poller *p, weir_socket *s, unsigned events, void *data);

/* Changes what a watched socket is watched for, and its data.
 *
 * Returns 0, -ENOENT if it is not watched, or -EINVAL, -ENOMEM, -ENOSPC as weir_poller_add, and
 * then nothing has changed. */
WEIR_API int weir_poller_modify(weir_poller *p, weir_socket *s, unsigned events, void *data);

/* Stops watching. Events of `s` that an earlier wait has returned, or that another thread's wait is
 * returning, are the caller's to skip.
 *
 * Returns 0, -ENOENT if it is not watched, or -EINVAL. */
WEIR_API int weir_poller_remove(weir_poller *p, weir_socket *s);

/* Waits until a socket is ready, at most `timeout_ms` milliseconds (negative: without end; 0: not
 * at all) and no longer than the limits of the calling thread allow. If more are ready than there
 * is room for, they are reported in turn by this wait and those that follow.
 *
 * Returns how many of `events` were filled, 1..max, 0 when time is up or weir_poller_wake was
 * called, or
 *   -EINVAL  `p` or `events` is NULL or `max` < 1
 *   -EBUSY   another thread is waiting
 *   WEIR_EDEADLINE  a limit of the calling thread passed (never with a time-out of 0) */
WEIR_API int weir_poller_wait(weir_poller *p, weir_event *events, int max, int64_t timeout_ms);

/* Makes the wait that runs, or else the next one, return at once. From any thread; several calls
 * may wake one wait. Returns 0, or -EINVAL. */
WEIR_API int weir_poller_wake(weir_poller *p);

/* A descriptor for foreign event loops: it becomes readable (poll(2), epoll(7)) when a wait with
 * time-out 0 has something to do or to report. The same until weir_poller_close; watch it for input
 * only, level-triggered. -EINVAL for NULL. */
WEIR_API int weir_poller_fd(const weir_poller *p);

#ifdef __cplusplus
}
#endif

#endif
