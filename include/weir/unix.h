/* What only Unix sockets can do: pass descriptors, know the peer (unix(7)). */
#ifndef WEIR_UNIX_H
#define WEIR_UNIX_H

#include <weir/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The most descriptors that one message carries (SCM_MAX_FD). */
#define WEIR_FDS_MAX 253

/* Who is at the other end, as the kernel saw it when the connection was made. */
typedef struct weir_credentials {
    pid_t pid;
    uid_t uid;
    gid_t gid;
} weir_credentials;

/* Sends `len` bytes (at least 1 on a stream) together with `count` descriptors, which stay the
 * caller's.
 *
 * The descriptors go with the first byte: when the call returns ≥ 0 they are sent, even if not all
 * bytes are; send the rest with weir_send_all.
 *
 * Returns the number of bytes sent, or
 *   -EAGAIN   no room, the socket is non-blocking
 *   -EINVAL   `count` is 0 or more than WEIR_FDS_MAX, or `len` is 0 on a stream
 *   -EBADF    one of them is not open
 *   -EOPNOTSUPP  not a Unix socket
 * or as weir_send. */
WEIR_API ssize_t weir_send_fds(weir_socket *s, const void *buf, size_t len, const int *fds,
                               size_t count);

/* Receives up to `len` bytes and the descriptors that came with them, at most `max` into `fds`.
 * They are the caller's and are close-on-exec. If more came than fit, the surplus is closed, and
 * `*ret_surplus` (may be NULL) is how many were at least; 0 if all came through.
 *
 * Returns the number of bytes, 0 at the end of the stream, and `*ret_count`, or as weir_recv.
 *   -EOPNOTSUPP  not a Unix socket
 * `*ret_count` and `*ret_surplus` are 0 on failure. */
WEIR_API ssize_t weir_recv_fds(weir_socket *s, void *buf, size_t len, int *fds, size_t max,
                               size_t *ret_count, size_t *ret_surplus);

/* Who is at the other end (SO_PEERCRED). Returns 0, -ENOTCONN, or -EOPNOTSUPP for other than Unix
 * sockets. */
WEIR_API int weir_peer_credentials(weir_socket *s, weir_credentials *ret);

#ifdef __cplusplus
}
#endif

#endif
