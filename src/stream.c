/* Moving bytes: each operation is "try; if it would block, wait; try again". */
#include "layer/plain.h"
#include "socket.h"
#include "sys.h"

#include <string.h>

/* Errors that end a stream for good. The kernel tells them once; here they stay, so that a reset
 * does not turn into a clean end. */
static bool breaks_stream(ssize_t rc)
{
    switch (rc) {
    case -ECONNRESET:
    case -ECONNABORTED:
    case -ETIMEDOUT:
    case -ENETRESET:
    case -ENETDOWN:
    case -ENETUNREACH:
    case -EHOSTDOWN:
    case -EHOSTUNREACH:
    case WEIR_ETLS:
    case WEIR_ECERT:
    case WEIR_ETRUNCATED:
        return true;
    default:
        return false;
    }
}

static inline int stream_error(const weir_socket *s)
{
    return atomic_load_explicit(&s->error, memory_order_relaxed);
}

void socket_break(weir_socket *s, int error)
{
    atomic_store_explicit(&s->error, error, memory_order_relaxed);
    atomic_fetch_or_explicit(&s->state, STATE_UNREADY, memory_order_release);
}

void socket_note_error(weir_socket *s, const void *value, socklen_t length)
{
    int error;

    if (length != sizeof error || !s->receiving)
        return;
    memcpy(&error, value, sizeof error);
    if (breaks_stream(-error) && !stream_error(s))
        socket_break(s, -error);
}

void socket_note_reset(weir_socket *s)
{
    if (!stream_error(s))
        socket_break(s, -ECONNRESET);
}

/* What a call returns that moved nothing. */
static __attribute__((noinline)) ssize_t failure(weir_socket *s, ssize_t n)
{
    if (n == -EAGAIN || n == WEIR_EDEADLINE)
        return n;
    if (socket_closed(s))
        return WEIR_ECLOSED;
    if (stream_error(s))
        return stream_error(s);
    if (s->receiving && breaks_stream(n) && socket_phase(s) == PHASE_CONNECTED)
        socket_break(s, (int)n);
    return n;
}

/* A connected socket, or a bound one that messages can come to or, with an address each, go
 * from. */
static inline int usable(weir_socket *s, bool unconnected, uint64_t deadline_ns)
{
    enum phase phase = socket_phase(s);

    if (phase == PHASE_CONNECTED)
        return 0;
    if (phase == PHASE_BOUND && !s->receiving)
        return unconnected ? 0 : -ENOTCONN;
    return socket_settle(s, deadline_ns);
}

/* A full Unix receiver: poll(2) says writable all the while, so look again by time. */
#define FULL_PEER_FIRST_NS NS_PER_MS
#define FULL_PEER_LAST_NS  (50 * NS_PER_MS)

/* So many tries in one call that found nothing, though poll(2) said so, are chance. */
#define VAIN_TRIES 8

/* With a layer between, what has come may be a part of something that is of no use yet. */
static bool waits_in_vain(const weir_socket *s, unsigned vain)
{
    return vain > VAIN_TRIES && !s->layer->drive;
}

/* Goes on after a try that gave `n`: waits and tries again as long as that is "would block". */
static ssize_t persist(weir_socket *s, struct transfer *t, ssize_t n, unsigned direction,
                       uint64_t deadline_ns)
{
    uint64_t retry_ns = NEVER;
    unsigned vain = 0;

    while (n == -EINTR || (n == -EAGAIN && !t->dontwait)) {
        /* poll(2) may say "ready" for ever where a try says "would block": errors queued, a
         * receiving side that was shut down. Neither the limit nor the processor may suffer from
         * that. */
        if (n == -EAGAIN && vain++ > 0 && wait_expired(deadline_ns))
            return WEIR_EDEADLINE;
        if ((t->to_address && s->family == AF_UNIX) || waits_in_vain(s, vain)) {
            retry_ns =
                retry_ns == NEVER ? FULL_PEER_FIRST_NS : earlier(2 * retry_ns, FULL_PEER_LAST_NS);
            direction = 0;
        }
        int rc = n == -EINTR ? 0 : wait_ready(s, direction, deadline_ns, retry_ns);
        if (rc < 0)
            return rc;
        n = t->try(s, t);
    }
    return n;
}

bool stream_hung_up(const weir_socket *s)
{
    static const struct timespec at_once = {0};
    struct pollfd fd = {.fd = s->fd};

    return sys_poll(&fd, 1, &at_once) > 0 && fd.revents & POLLHUP;
}

#define MOMENT_NS 100000

/* The kernel tells a reset once. If a sender has been told of it just now, what is read next looks
 * like an end until that sender has noted the error. It fails at once, so this does not take
 * long. */
static void let_sender_tell(const weir_socket *s)
{
    while (!stream_error(s) && !socket_closed(s) &&
           atomic_load_explicit(&s->state, memory_order_acquire) & STATE_SENDING &&
           stream_hung_up(s))
        wait_moment(MOMENT_NS);
}

static ssize_t try_recv(weir_socket *s, struct transfer *t)
{
    return s->layer->recv(s, t->in, t->len);
}

static ssize_t try_send(weir_socket *s, struct transfer *t)
{
    return s->layer->send(s, t->out, t->len);
}

/* The first try of a task of a loop, which may wait already: where a try is known to be in vain, or
 * where the loop receives by itself. */
static inline ssize_t first_receive(weir_socket *s, void *buf, size_t len, struct context *c,
                                    uint64_t deadline_ns)
{
    if (c->loop->ops->start) {
        ssize_t n = wait_receive(s, buf, len, deadline_ns);
        if (n != -EAGAIN)
            return n;
    }
    if (s->drained)
        (void)wait_drained(s, c, deadline_ns);
    ssize_t n;
    do
        n = layer_recv(s, buf, len);
    while (n == -EAGAIN && wait_drained(s, c, deadline_ns));
    return n;
}

/* The loop sends by itself if that pays. */
static __attribute__((noinline)) ssize_t send_by_loop(weir_socket *s, const void *buf, size_t len,
                                                      uint64_t *ret_deadline_ns)
{
    *ret_deadline_ns = wait_limit(s);
    ssize_t n = wait_send(s, buf, len, *ret_deadline_ns);

    return n == -EAGAIN ? layer_send(s, buf, len) : n;
}

static inline ssize_t first_send(weir_socket *s, const void *buf, size_t len, struct context *c,
                                 uint64_t *ret_deadline_ns)
{
    if (c->loop && c->loop->ops->start)
        return send_by_loop(s, buf, len, ret_deadline_ns);
    return layer_send(s, buf, len);
}

static ssize_t receive_on(weir_socket *s, struct transfer *t, ssize_t n, uint64_t deadline_ns)
{
    n = persist(s, t, n, WEIR_READABLE, deadline_ns);
    if (n == 0 && socket_is_stream(s))
        let_sender_tell(s);
    return n > 0 || (n == 0 && !stream_error(s)) ? n : failure(s, n);
}

static ssize_t receive_entered(weir_socket *s, struct transfer *t, uint64_t deadline_ns)
{
    int rc = usable(s, true, deadline_ns);

    if (rc < 0)
        return failure(s, rc);
    struct context *c = context_current();
    ssize_t n = t->try == try_recv && c->loop && !s->tls
                    ? first_receive(s, t->in, t->len, c, deadline_ns)
                    : t->try(s, t);
    return receive_on(s, t, n, deadline_ns);
}

static int drive(weir_socket *s)
{
    pthread_mutex_lock(&s->lock);
    int rc = s->layer->drive(s);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* The layer has taken the bytes, so they have been sent, come what may; but who may wait stays
 * until the kernel has them. */
static void hand_on(weir_socket *s, const struct transfer *t, uint64_t deadline_ns)
{
    int rc = 0;

    while (!t->dontwait && rc == 0 && drive(s) == -EAGAIN) {
        rc = wait_ready(s, WEIR_WRITABLE, deadline_ns, NEVER);
        if (rc == 0)
            rc = wait_expired(deadline_ns);
    }
}

static ssize_t send_on(weir_socket *s, struct transfer *t, ssize_t n, uint64_t deadline_ns)
{
    n = persist(s, t, n, WEIR_WRITABLE, deadline_ns);
    if (n > 0 && s->layer->drive)
        hand_on(s, t, deadline_ns);
    return n >= 0 ? n : failure(s, n);
}

static ssize_t send_entered(weir_socket *s, struct transfer *t, uint64_t deadline_ns)
{
    int rc = stream_error(s) ? stream_error(s) : usable(s, t->to_address, deadline_ns);

    return rc < 0 ? failure(s, rc) : send_on(s, t, t->try(s, t), deadline_ns);
}

static int enter_receiving(weir_socket *s, uint64_t *ret_deadline_ns)
{
    int rc = socket_inherited(s) ? -EPERM : wait_enter(s, ret_deadline_ns);

    return rc < 0 ? rc : socket_enter(s, s->receiving);
}

static int enter_sending(weir_socket *s, bool dontwait, uint64_t *ret_deadline_ns)
{
    int rc = socket_inherited(s) ? -EPERM : wait_enter(s, ret_deadline_ns);

    if (rc == 0)
        rc = socket_enter(s, s->sending);
    return rc == -EBUSY ? socket_queue_for_turn(s, dontwait, *ret_deadline_ns) : rc;
}

ssize_t transfer_in(weir_socket *s, struct transfer *t)
{
    uint64_t deadline_ns;
    int rc = enter_receiving(s, &deadline_ns);

    if (rc < 0)
        return rc;
    ssize_t n = receive_entered(s, t, deadline_ns);
    socket_leave(s, s->receiving);
    return n;
}

ssize_t transfer_out(weir_socket *s, struct transfer *t)
{
    uint64_t deadline_ns;
    int rc = enter_sending(s, t->dontwait, &deadline_ns);

    if (rc < 0)
        return rc;
    ssize_t n = send_entered(s, t, deadline_ns);
    socket_leave(s, s->sending);
    return n;
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* Plainly entered and tried, with a result that needs a closer look. The deadline is that of the
 * call if it has been looked at already, else 0. */
static __attribute__((noinline)) ssize_t recv_rest(weir_socket *s, void *buf, size_t len, ssize_t n,
                                                   uint64_t deadline_ns)
{
    struct transfer t = {.try = try_recv, .in = buf, .len = len};

    return receive_on(s, &t, n, deadline_ns ? deadline_ns : wait_limit(s));
}

static __attribute__((noinline)) ssize_t recv_carefully(weir_socket *s, void *buf, size_t len)
{
    struct transfer t = {.try = try_recv, .in = buf, .len = len};

    return transfer_in(s, &t);
}

/* The plain case in a thread, and in a task of a loop. */
static __attribute__((noinline)) ssize_t recv_in_thread(weir_socket *s, void *buf, size_t len,
                                                        uint64_t before)
{
    ssize_t n = layer_recv(s, buf, len);

    if (n <= 0)
        n = recv_rest(s, buf, len, n, 0);
    socket_leave_plainly(s, s->receiving, before);
    return n;
}

static __attribute__((noinline)) ssize_t recv_in_task(weir_socket *s, void *buf, size_t len,
                                                      struct context *c, uint64_t before)
{
    bool unlimited = atomic_load_explicit(&s->timeout_ms, memory_order_relaxed) < 0;
    uint64_t deadline_ns = unlimited ? NEVER : wait_limit(s);
    ssize_t n = first_receive(s, buf, len, c, deadline_ns);

    if (n <= 0)
        n = recv_rest(s, buf, len, n, deadline_ns);
    socket_leave_plainly(s, s->receiving, before);
    return n;
}

/* Nothing but jumps to the others, so that each saves only the registers that it needs. Those that
 * wait are reached in one way: so debuggers can tell that the call was this one. */
ssize_t weir_recv(weir_socket *s, void *buf, size_t len)
{
    struct context *c = context_current();
    uint64_t before;

    if (!s || !buf || len == 0)
        return -EINVAL;
    if (!socket_enter_plainly(s, s->receiving, c, &before))
        return recv_carefully(s, buf, len);
    return c->loop ? recv_in_task(s, buf, len, c, before) : recv_in_thread(s, buf, len, before);
}

static __attribute__((noinline)) ssize_t send_rest(weir_socket *s, const void *buf, size_t len,
                                                   ssize_t n, uint64_t deadline_ns)
{
    struct transfer t = {.try = try_send, .out = buf, .len = len};

    return send_on(s, &t, n, deadline_ns ? deadline_ns : wait_limit(s));
}

static __attribute__((noinline)) ssize_t send_carefully(weir_socket *s, const void *buf, size_t len)
{
    struct transfer t = {.try = try_send, .out = buf, .len = len};

    if ((!buf && len > 0) || (len == 0 && socket_is_stream(s)))
        return -EINVAL;
    return transfer_out(s, &t);
}

ssize_t weir_send(weir_socket *s, const void *buf, size_t len)
{
    uint64_t before, deadline_ns = 0;

    if (!s)
        return -EINVAL;
    struct context *c = context_current();
    if (!buf || len == 0 || !socket_enter_plainly(s, s->sending, c, &before))
        return send_carefully(s, buf, len);
    ssize_t n = first_send(s, buf, len, c, &deadline_ns);
    if (n < 0)
        n = send_rest(s, buf, len, n, deadline_ns);
    socket_leave_plainly(s, s->sending, before);
    return n;
}

/* A call that moves much, for however long, leaves the other tasks their turns. */
static void spend(const weir_socket *s)
{
    if (context_spends(context_current()) && weir_get_blocking(s))
        wait_spent();
}

/* Counts what an attempt moved. Time that is up ends the call also if the peer is always ready. */
static int advance(size_t *done, size_t len, ssize_t n, uint64_t deadline_ns)
{
    if (n < 0)
        return (int)n;
    *done += (size_t)n;
    return *done < len ? wait_expired(deadline_ns) : 0;
}

/* The rest of a call that has entered, `rc` being what has come of it so far. */
static int send_all_entered(weir_socket *s, const void *buf, size_t len, size_t *done, int rc,
                            uint64_t deadline_ns)
{
    while (rc == 0 && *done < len) {
        spend(s);
        struct transfer t = {
            .try = try_send,
            .out = (const char *)buf + *done,
            .len = len - *done,
        };
        rc = advance(done, len, send_entered(s, &t, deadline_ns), deadline_ns);
    }
    socket_leave(s, s->sending);
    return rc;
}

/* Plainly entered and tried, and not all of it went: `n`. */
static __attribute__((noinline)) int send_all_rest(weir_socket *s, const void *buf, size_t len,
                                                   size_t *done, ssize_t n, uint64_t deadline_ns)
{
    struct transfer t = {
        .try = try_send,
        .out = (const char *)buf + *done,
        .len = len - *done,
    };

    if (!deadline_ns)
        deadline_ns = wait_limit(s);
    if (n < 0)
        n = send_on(s, &t, n, deadline_ns);
    return send_all_entered(s, buf, len, done, advance(done, len, n, deadline_ns), deadline_ns);
}

static __attribute__((noinline)) int send_all_carefully(weir_socket *s, const void *buf, size_t len,
                                                        size_t *done)
{
    uint64_t deadline_ns;
    int rc = socket_is_stream(s) ? enter_sending(s, false, &deadline_ns) : -EINVAL;

    return rc < 0 ? rc : send_all_entered(s, buf, len, done, 0, deadline_ns);
}

int weir_send_all(weir_socket *s, const void *buf, size_t len, size_t *done)
{
    uint64_t before, deadline_ns = 0;
    struct context *c = context_current();

    if (!s || !done || *done > len || (!buf && len > 0))
        return -EINVAL;
    size_t left = len - *done;
    if (left == 0 || !s->tcp || !socket_enter_plainly(s, s->sending, c, &before))
        return send_all_carefully(s, buf, len, done);
    ssize_t n = first_send(s, (const char *)buf + *done, left, c, &deadline_ns);
    if (n != (ssize_t)left)
        return send_all_rest(s, buf, len, done, n, deadline_ns);
    *done = len;
    socket_leave_plainly(s, s->sending, before);
    return 0;
}

int weir_recv_exact(weir_socket *s, void *buf, size_t len, size_t *done)
{
    uint64_t deadline_ns;

    if (!s || !done || *done > len || (!buf && len > 0) || !socket_is_stream(s))
        return -EINVAL;
    int rc = enter_receiving(s, &deadline_ns);
    if (rc < 0)
        return rc;
    while (rc == 0 && *done < len) {
        spend(s);
        struct transfer t = {.try = try_recv, .in = (char *)buf + *done, .len = len - *done};
        ssize_t n = receive_entered(s, &t, deadline_ns);
        rc = n == 0 ? WEIR_EEND : advance(done, len, n, deadline_ns);
    }
    socket_leave(s, s->receiving);
    return rc;
}

/* ---- messages ------------------------------------------------------------------------------ */

ssize_t transfer_recvmsg(weir_socket *s, struct transfer *t)
{
    return s->layer->recvmsg(s, t->message, t->flags);
}

ssize_t transfer_sendmsg(weir_socket *s, struct transfer *t)
{
    return s->layer->sendmsg(s, t->const_message, t->flags);
}

static bool message_fits(const weir_socket *s, const struct msghdr *message, int flags)
{
    size_t len = 0;

    if (!s || !message || flags & MSG_WAITALL || (message->msg_iovlen > 0 && !message->msg_iov))
        return false;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        len += message->msg_iov[i].iov_len;
    return len > 0 || !socket_is_stream(s);
}

ssize_t weir_sendmsg(weir_socket *s, const struct msghdr *message, int flags)
{
    struct transfer t = {
        .try = transfer_sendmsg,
        .const_message = message,
        .flags = flags & ~MSG_DONTWAIT,
        .dontwait = flags & MSG_DONTWAIT,
    };

    if (!message_fits(s, message, flags))
        return -EINVAL;
    t.to_address = message->msg_name != NULL;
    int rc = t.to_address ? datagram_aim(s, message->msg_name, message->msg_namelen) : 0;
    return rc < 0 ? rc : transfer_out(s, &t);
}

ssize_t weir_recvmsg(weir_socket *s, struct msghdr *message, int flags)
{
    struct transfer t = {
        .try = transfer_recvmsg,
        .message = message,
        .flags = flags & ~MSG_DONTWAIT,
        .dontwait = flags & (MSG_DONTWAIT | MSG_ERRQUEUE),
    };

    if (!message_fits(s, message, flags))
        return -EINVAL;
    if (flags & MSG_OOB)
        s->tcp = false; /* reads stop short at the place where the byte was */
    return transfer_in(s, &t);
}

/* ---- ends ---------------------------------------------------------------------------------- */

/* How long weir_finish waits for the peer where the program gives no limit. */
#define FINISH_MS 5000

/* A peer that goes on sending does not keep a non-blocking call. */
#define FINISH_READS 64

static int shut(weir_socket *s, int how, uint64_t deadline_ns)
{
    int rc = socket_settle(s, deadline_ns);

    while (rc == 0) {
        rc = s->layer->shutdown(s, how);
        if (rc != -EAGAIN)
            break;
        rc = wait_ready(s, WEIR_WRITABLE, deadline_ns, NEVER);
        if (rc == 0)
            rc = wait_expired(deadline_ns);
    }
    return rc < 0 ? (int)failure(s, rc) : 0;
}

int weir_shutdown(weir_socket *s, int how)
{
    uint64_t deadline_ns;
    int rc = how == SHUT_RD || how == SHUT_WR || how == SHUT_RDWR ? socket_enter(s, 0) : -EINVAL;

    if (rc < 0)
        return rc;
    rc = socket_inherited(s) ? -EPERM : wait_enter(s, &deadline_ns);
    if (rc == 0)
        rc = shut(s, how, deadline_ns);
    socket_leave(s, 0);
    return rc;
}

static int drain(weir_socket *s, uint64_t deadline_ns)
{
    char scratch[4096];
    struct transfer t = {.try = try_recv, .in = scratch, .len = sizeof scratch};
    bool waits = weir_get_blocking(s);

    for (unsigned reads = 0;; reads++) {
        spend(s);
        ssize_t n = receive_entered(s, &t, deadline_ns);
        if (n <= 0)
            return (int)n;
        if (wait_expired(deadline_ns))
            return WEIR_EDEADLINE;
        if (!waits && reads == FINISH_READS)
            return -EAGAIN;
    }
}

int weir_finish(weir_socket *s)
{
    uint64_t deadline_ns;
    int rc = s ? enter_receiving(s, &deadline_ns) : -EINVAL;

    if (rc < 0)
        return rc;
    if (deadline_ns == NEVER && weir_get_blocking(s))
        deadline_ns = clock_deadline(FINISH_MS);
    rc = shut(s, SHUT_WR, deadline_ns);
    if (rc == 0 && s->receiving)
        rc = drain(s, deadline_ns);
    socket_leave(s, s->receiving);
    return rc;
}
