/* The socket: one object, the same calls, whether they wait or return at once.
 *
 * A socket is in blocking mode (the default) or in non-blocking mode (weir_set_blocking). In
 * blocking mode a call that cannot finish waits, until it can, or until a limit passes
 * (weir_set_timeout, weir_deadline_start), or until the socket is aborted or closed from elsewhere.
 * In non-blocking mode every call returns at once, with one of three outcomes: done (≥ 0), not yet
 * (weir_in_progress), failed.
 *
 * Every call that takes a socket may also return
 *   -EINVAL        the socket is NULL, or an argument makes no sense
 *   WEIR_ECLOSED   the socket was closed or aborted in this process, before or during the call
 *   -ENOMEM        no memory
 * and those that wait also
 *   WEIR_EDEADLINE a limit passed; nothing is lost, the socket is still good
 * Other errors are those of the manual page named with the call. EINTR never reaches the caller,
 * SIGPIPE is never raised.
 *
 * Threads: one may receive, any number may send (they take turns, whole calls in order of arrival),
 * any number may accept, weir_abort and weir_ref may be called by anybody who holds a reference. A
 * thread inside a call is ended by weir_abort, not by pthread_cancel(3). */
#ifndef WEIR_SOCKET_H
#define WEIR_SOCKET_H

#include <weir/address.h>
#include <weir/base.h>

#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Opening, sharing, ending ---------------------------------------------------------------- */

/* Makes a socket, in blocking mode, connected to nothing.
 *
 * `family` is AF_INET, AF_INET6, AF_UNIX, or AF_UNSPEC, which leaves it to connect or bind; `type`
 * is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET (SOCK_NONBLOCK may be or-ed in: it starts in
 * non-blocking mode); `protocol` is 0 or one that socket(2) knows for them. The kernel's socket is
 * made when it is needed: each attempt to connect gets a fresh one, to which options and bind are
 * applied again.
 *
 * Returns 0 and the socket, which is the caller's, to be ended with weir_close, or
 *   -EAFNOSUPPORT, -EPROTONOSUPPORT, -ESOCKTNOSUPPORT   no such family, protocol or type
 * `*ret` is untouched on failure. */
WEIR_API int weir_socket_open(weir_socket **ret, int family, int type, int protocol);

/* Makes two connected Unix sockets of `type` SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET
 * (SOCK_NONBLOCK as above), like socketpair(2). Each is closed on its own.
 *
 * Returns 0 or the errors of socketpair(2). */
WEIR_API int weir_pair(weir_socket *ret[2], int type);

/* Takes over an open descriptor of any kind: a socket in any state (connected, listening, bound,
 * fresh), a pipe, a terminal, a regular file (which is always ready). It is weir's from now on and
 * is closed with the socket, unless weir_detach gives it back.
 *
 * O_NONBLOCK belongs to the open file, which others may share, so it is left as it is, except where
 * accept and connect need it; then it is restored by weir_detach. Reads and writes on something
 * that is not a socket and not O_NONBLOCK wait for poll(2) first; another process that reads the
 * same pipe may then still make them wait.
 *
 * Returns 0 and the socket, in blocking mode, or
 *   -EBADF   `fd` is not an open descriptor (it then remains the caller's, as after any failure) */
WEIR_API int weir_from_fd(weir_socket **ret, int fd);

/* Gives the descriptor back and ends the socket: the caller's reference is gone, the descriptor
 * stays open and is the caller's. One that weir made has O_NONBLOCK on, an adopted one has it as it
 * was.
 *
 * Returns the descriptor, or
 *   -ENOTCONN  there is none: weir_fd says when
 *   -EBUSY     another reference, or a call in another thread, still uses it
 *   -EOPNOTSUPP  a layer such as TLS is on the socket
 * On failure the socket stays as it is. */
WEIR_API int weir_detach(weir_socket *s);

/* Takes a reference for one more owner, who ends it with weir_close. Returns `s`. */
WEIR_API weir_socket *weir_ref(weir_socket *s);

/* Ends the use of the socket by everybody, now: whoever waits in a call on it, in any mode, gets
 * WEIR_ECLOSED, and so does every later call. A poller reports the socket as ready. The references
 * stay; each owner still calls weir_close. May be called by any thread that holds a reference, any
 * number of times.
 *
 * Returns 0 (also for NULL). */
WEIR_API int weir_abort(weir_socket *s);

/* Aborts the socket and gives up the caller's reference. Never waits, unless the program has asked
 * for that with SO_LINGER (socket(7)); the rest of what was sent is still delivered by the kernel
 * (close(2)). A listener stops listening at once. Other processes
 * that share the descriptor are not touched. The descriptor's number is free for others when the
 * last reference is gone and the last call has returned.
 *
 * Returns 0 (also for NULL). */
WEIR_API int weir_close(weir_socket *s);

/* For a child after fork(2): closes the descriptor and gives up the reference without saying
 * anything to the peer and without touching pollers of the parent. For plain sockets it is the same
 * as weir_close.
 *
 * Returns 0 (also for NULL). */
WEIR_API int weir_drop(weir_socket *s);

/* Ends a conversation properly: says that nothing more will be sent, then reads and discards until
 * the peer has ended as well, so that the last bytes sent are not lost to a reset. Without any
 * limit it waits at most 5 seconds. The socket must still be closed.
 *
 * Returns 0 when both directions have ended, -EAGAIN in non-blocking mode as long as the peer has
 * not, WEIR_EDEADLINE, or the error that ended the conversation. */
WEIR_API int weir_finish(weir_socket *s);

/* ---- Modes and options ----------------------------------------------------------------------- */

/* Chooses blocking mode (true) or non-blocking mode (false) for all later calls. Returns 0. */
WEIR_API int weir_set_blocking(weir_socket *s, bool blocking);

/* 1 in blocking mode, 0 in non-blocking mode, or -EINVAL. */
WEIR_API int weir_get_blocking(const weir_socket *s);

/* Bounds every later call on the socket that waits, each on its own, to `timeout_ms` milliseconds.
 * The whole of a weir_send_all or weir_connect counts as one call. In non-blocking mode it bounds a
 * connect that goes on in the background. Negative: no bound (the default). 0: a call that would
 * wait gives WEIR_EDEADLINE.
 *
 * Returns 0. */
WEIR_API int weir_set_timeout(weir_socket *s, int64_t timeout_ms);

/* Sets an option as setsockopt(2) does, at any time: before there is a descriptor it is checked
 * against a fresh socket, remembered, and applied to each attempt to connect. Where the family is
 * open, an option of IPPROTO_IPV6 is for the attempts over IPv6 only.
 *
 * Returns 0, -EINVAL, -ENOPROTOOPT or another error of setsockopt(2). SO_RCVTIMEO and SO_SNDTIMEO
 * have no effect: see weir_set_timeout. */
WEIR_API int weir_set_option(weir_socket *s, int level, int name, const void *value,
                             socklen_t length);

/* Reads an option as getsockopt(2) does. `*length` goes in as the room at `value`, out as what was
 * written.
 *
 * Returns 0, or an error of getsockopt(2). */
WEIR_API int weir_get_option(weir_socket *s, int level, int name, void *value, socklen_t *length);

/* The address of this end, or of the peer (getsockname(2), getpeername(2)).
 *
 * Returns 0, or -ENOTCONN if there is none (yet). */
WEIR_API int weir_local_address(weir_socket *s, weir_address *ret);
WEIR_API int weir_peer_address(weir_socket *s, weir_address *ret);

/* The descriptor, for calls that weir does not have. It stays weir's: do not close it, do not
 * change O_NONBLOCK.
 *
 * Returns it, or -ENOTCONN until the socket is connected, bound or listening: before that it may
 * change. */
WEIR_API int weir_fd(const weir_socket *s);

/* ---- Connecting ------------------------------------------------------------------------------ */

/* Connects to a host, given as a name or as a numeric address, and a port. `host` may also be
 * "unix:/path" or "unix:@name" on a Unix socket; the port is then 0.
 *
 * A name is looked up (weir/names.h), then its addresses are tried as RFC 8305 (Happy Eyeballs)
 * says: IPv6 and IPv4 in turn, the next one 250 ms after the last or as soon as one fails, the
 * first connection that stands wins. Names are host names (RFC 1123), UTF-8 is refused until it is
 * encoded as RFC 5891 says.
 *
 * In blocking mode: waits until connected, failed or out of time. In non-blocking mode: returns
 * within microseconds, also when a name has to be looked up and no name server ever answers. It
 * goes on by itself, driven by a poller that has the socket, by weir_wait and weir_connect_status,
 * or by any later call on the socket. How it ended is told once, by whichever call comes first;
 * only then does another weir_connect begin anew, whatever host it names.
 *
 * Returns 0 when connected, or
 *   -EINPROGRESS     non-blocking: begun
 *   -EALREADY        non-blocking: a connect that was begun is not finished
 *   -EISCONN         it is connected, and that was reported
 *   -EINVAL          a listener; a name that is no host name (empty, an empty or too long label,
 *                    not ASCII)
 *   -ENAMETOOLONG    a host name over 253 bytes, a Unix path over 107
 *   -EAFNOSUPPORT    an address of another family than the socket's
 *   WEIR_ENONAME     no such name
 *   WEIR_ENAMEAGAIN  the name servers could not tell
 *   WEIR_ENAMESERVER no name server answered
 *   WEIR_EDEADLINE   a limit passed; the attempts are closed
 * or what connect(2) said of the last address that failed; weir_error_detail tells of each. After a
 * failure the socket can connect again. */
WEIR_API int weir_connect(weir_socket *s, const char *host, uint16_t port);

/* Connects to an address. As weir_connect, without names. A datagram socket connects at once; its
 * peer can be changed by connecting again. */
WEIR_API int weir_connect_address(weir_socket *s, const weir_address *a);

/* How a connect stands; never waits, in either mode, but drives the connect on.
 *
 * Returns 0 when connected, -EINPROGRESS while it goes on, the error of the last connect if it
 * failed, -ENOTCONN if there was none. */
WEIR_API int weir_connect_status(weir_socket *s);

/* ---- Listening ------------------------------------------------------------------------------- */

/* Gives the socket a local address. `host` is numeric, a name, or NULL, "" or "*" for every local
 * address; port 0 lets the kernel choose (weir_local_address tells). `host` may be "unix:/path" on
 * a Unix socket.
 *
 * A name is looked up as in weir_connect and its first address is used.
 *
 * Returns 0, -EINPROGRESS in non-blocking mode while a name is looked up (call again), -EADDRINUSE,
 * -EADDRNOTAVAIL, -EACCES or another error of bind(2), -EINVAL if it is bound or connected
 * already. */
WEIR_API int weir_bind(weir_socket *s, const char *host, uint16_t port);
WEIR_API int weir_bind_address(weir_socket *s, const weir_address *a);

/* Starts to listen; `backlog` ≤ 0 means the system's limit. A TCP socket that is not bound gets a
 * free port on every local address. Calling it again changes the backlog.
 *
 * Returns 0, -EOPNOTSUPP for datagram sockets, -EISCONN, or an error of listen(2). */
WEIR_API int weir_listen(weir_socket *s, int backlog);

/* Takes the next connection. The new socket is the caller's and starts in blocking mode.
 *
 * When the process has no descriptor left (EMFILE, ENFILE, ENOBUFS, ENOMEM), the connection stays
 * in the queue: a blocking call waits until there is one; a non-blocking call returns that error,
 * and a poller does not report the listener again for 50 ms, so that a loop does not spin. Errors
 * of a single connection (ECONNABORTED and kin, accept(2)) are skipped; after sixteen in a row,
 * which is somebody who does not permit the call (EPERM), it is as without descriptors.
 *
 * Returns 0, -EAGAIN in non-blocking mode if nobody is waiting, -EINVAL if `s` does not listen.
 * `*ret` is untouched on failure. */
WEIR_API int weir_accept(weir_socket *s, weir_socket **ret);

/* ---- Moving bytes ---------------------------------------------------------------------------- */

/* Sends up to `len` bytes, as many as the system takes at once.
 *
 * With no room: a blocking socket waits, a non-blocking one returns. A stream sends at least one
 * byte, maybe fewer than `len`; a datagram or seqpacket socket sends one message, whole. If other
 * threads are sending on `s`, a blocking call waits for its turn.
 *
 * Returns 1..len (0 only for an empty message), or
 *   -EAGAIN      no room, or another thread is sending, and the socket is non-blocking; or a
 *                connect is not finished
 *   -ENOTCONN    not connected
 *   -EPIPE       the peer does not read any more, or this end was shut down
 *   -ECONNRESET  the peer reset the connection; every later call says so again
 *   -EMSGSIZE    the message is too long
 *   -EINVAL      a listener; `buf` is NULL while `len` is not 0; `len` is 0 on a stream
 * or the error of the connect that failed. Other errors are those of send(2). */
WEIR_API ssize_t weir_send(weir_socket *s, const void *buf, size_t len);

/* Receives up to `len` bytes into `buf`, as soon as at least one has arrived; on a datagram or
 * seqpacket socket one message, cut to `len` (weir_recv_from reports the cut).
 *
 * With nothing there yet: a blocking socket waits, a non-blocking one returns.
 *
 * Returns 1..len, 0 at the end of the stream (or for an empty message), or
 *   -EAGAIN      nothing there yet, the socket is non-blocking; or a connect is not finished
 *   -EBUSY       another thread is receiving on `s` (streams only)
 *   -ENOTCONN    not connected
 *   -ECONNRESET  the peer reset the connection; every later call says so again
 *   -EINVAL      a listener; `buf` is NULL; `len` is 0: 0 bytes would read as the end
 * or the error of the connect that failed. Other errors are those of recv(2). */
WEIR_API ssize_t weir_recv(weir_socket *s, void *buf, size_t len);

/* Sends all of `len` bytes. `*done` says how many are sent: it goes in as the number that earlier
 * calls have sent (0 at first) and comes out as the number sent so far, also on failure, so that
 * calling again with the same arguments goes on where it stopped. One limit holds for the whole
 * call. No other sender comes in between.
 *
 * Returns 0 when `*done` is `len`, or
 *   -EAGAIN   non-blocking: what could be sent is sent and counted
 *   -EINVAL   `done` is NULL or `*done` > `len`; not a stream
 * or as weir_send. `len` 0 is done at once. */
WEIR_API int weir_send_all(weir_socket *s, const void *buf, size_t len, size_t *done);

/* Receives exactly `len` bytes; `*done` as in weir_send_all.
 *
 * Returns 0 when `*done` is `len`, or
 *   -EAGAIN    non-blocking: what was there is received and counted
 *   WEIR_EEND  the stream ended before `len` bytes came, even if none came at all
 *   -EINVAL    `done` is NULL or `*done` > `len`; not a stream
 * or as weir_recv. `len` 0 is done at once. */
WEIR_API int weir_recv_exact(weir_socket *s, void *buf, size_t len, size_t *done);

/* Everything that sendmsg(2) and recvmsg(2) have: vectors, addresses, control data, flags.
 * MSG_DONTWAIT in `flags` makes this one call non-blocking; MSG_NOSIGNAL is always there. MSG_PEEK
 * and MSG_TRUNC mean what they mean there; MSG_WAITALL is refused (use weir_recv_exact).
 * Descriptors received are close-on-exec.
 *
 * Returns the count, or as weir_send and weir_recv; -EINVAL for a flag that is refused, for a NULL
 * `message`, for a stream and vectors of no bytes. -ENOTSOCK for flags or control data on something
 * that is not a socket. */
WEIR_API ssize_t weir_sendmsg(weir_socket *s, const struct msghdr *message, int flags);
WEIR_API ssize_t weir_recvmsg(weir_socket *s, struct msghdr *message, int flags);

/* Ends one direction or both: `how` is SHUT_RD, SHUT_WR or SHUT_RDWR, as shutdown(2). After SHUT_WR
 * the peer reads the end of the stream and may go on sending. Ending a direction again is no error.
 *
 * Returns 0, -ENOTCONN if not connected, -EAGAIN while a non-blocking connect is not finished,
 * -EINVAL for another `how`. */
WEIR_API int weir_shutdown(weir_socket *s, int how);

/* ---- Waiting --------------------------------------------------------------------------------- */

/* Events, for weir_wait and pollers. */
enum {
    /* A receive or accept would not wait: bytes, a connection, the end or an error. */
    WEIR_READABLE = 1,
    /* A send would not wait; a connect has succeeded or failed. */
    WEIR_WRITABLE = 2,
};

/* Waits until one of `events` holds, also in non-blocking mode: this is the call that a
 * non-blocking program waits with when it has a single socket. While the socket connects, neither
 * holds until that is decided; the wait drives it.
 *
 * Returns those of `events` that hold (> 0), or
 *   -EINVAL     no event, or an unknown one
 *   -ENOTCONN   a socket that is not connected, connecting or listening, nor a datagram socket that
 *               is bound: there is nothing to wait for */
WEIR_API int weir_wait(weir_socket *s, unsigned events);

#ifdef __cplusplus
}
#endif

#endif
