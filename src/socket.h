/* The socket object, as the library's own files see it.
 *
 * `state` joins the reference count with the flags that a call takes at its start, so that a call
 * costs two locked instructions: one to enter, one to leave. A reference is an owner's (weir_ref),
 * that of a call in progress, or that of a look-up; the first are also counted on their own, so
 * that the last weir_close is known.
 *
 * Everything marked (lock) is under `lock`. Lock order: socket, then poller, then resolver. */
#ifndef SOCKET_H
#define SOCKET_H

#include "clock.h"
#include "context.h"
#include "layer/layer.h"
#include "loop/loop.h"
#include "tls/tls.h"
#include "wait.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <weir/address.h>
#include <weir/error.h>
#include <weir/socket.h>

#define STATE_REFERENCE  UINT64_C(1)
#define STATE_REFERENCES UINT64_C(0xffffffff)
#define STATE_CLOSED     (UINT64_C(1) << 32) /* aborted: every call returns WEIR_ECLOSED */
#define STATE_RECEIVING  (UINT64_C(1) << 33) /* somebody receives from the stream */
#define STATE_SENDING    (UINT64_C(1) << 34) /* somebody has the sender's turn */
#define STATE_QUEUED     (UINT64_C(1) << 35) /* others wait for the turn */
#define STATE_UNREADY    (UINT64_C(1) << 36) /* not connected, or broken: calls look closer */
#define STATE_OWNER      (UINT64_C(1) << 40) /* of the references, those of owners, in 24 bits */

enum phase {
    PHASE_NEW,        /* no descriptor, or one of an adopted socket that is not bound */
    PHASE_BOUND,      /* bound; a datagram socket in this phase can receive and send_to */
    PHASE_CONNECTING, /* `connect` is there */
    PHASE_CONNECTED,  /* also anything adopted that can only be read or written */
    PHASE_LISTENING,
};

/* An option set before there was a descriptor, to be applied to each attempt. */
struct setting {
    struct setting *next;
    int level, name;
    socklen_t length;
    unsigned char value[];
};

struct connect;
struct resolve_request;

struct weir_socket {
    /* What a receive or send of a connected stream touches comes first. */
    _Atomic uint64_t state;
    const struct layer_ops *layer;
    struct home home;            /* the loop that watches the descriptor */
    uint64_t receiving, sending; /* the flag a receive, a send takes: 0 where messages go free */
    _Atomic int64_t timeout_ms;  /* < 0: none */
    /* Tasks that wait outside the list of waiters (wait_drained, wait_receive, wait_send), to be
     * woken when the socket ends; read under the lock. */
    _Atomic(struct task *) receiver;
    _Atomic int fd; /* -1 until bound, connected or listening */
    atomic_bool nonblocking;
    atomic_bool tcp; /* a plain TCP stream: after a short read there is nothing left */
    bool drained;    /* such a read was the last (whoever receives) */
    _Atomic(struct task *) sender;

    int type, protocol;
    _Atomic int error; /* of a stream that is broken: returned by every later call; 0 if none */
    _Atomic uint8_t phase;
    bool adopted;          /* by weir_from_fd: not all that is set there is known */
    bool adopted_blocking; /* O_NONBLOCK was off at adoption and is on now (lock) */
    bool connect_untold;   /* no call has said yet how the connect ended (lock) */
    atomic_bool low_mark;  /* SO_RCVLOWAT: what is there need not be reported */
    bool poll_first;       /* not a socket, not O_NONBLOCK: only poll(2) tells what would block */
    atomic_bool wants_destination; /* IP_PKTINFO is on */
    _Atomic sa_family_t family;    /* AF_UNSPEC until it is known */
    int backlog;                   /* of a listener; 0 if it is not known (lock) */
    int connect_error;             /* why the last connect failed; 0 if none (lock) */
    /* No descriptors were left: a poller looks again then; 0 if not (lock). */
    _Atomic uint64_t accept_after_ns;

    pthread_mutex_t lock;
    struct waiter *waiters;         /* (lock) */
    struct turn *turns;             /* senders that wait for their turn, in order (lock) */
    struct connect *connect;        /* (lock) */
    _Atomic(struct tls *) tls;      /* or that of what a listener accepts; set once (lock) */
    struct resolve_request *lookup; /* of a bind by name (lock) */
    struct setting *settings;       /* (lock) */
    weir_address *local;            /* of weir_bind, for later attempts; NULL if none (lock) */
    char *story;                    /* (lock) */
};

/* ---- socket.c: the object -------------------------------------------------------------------- */

/* A new object with one reference, without a descriptor: phase NEW. 0 or -ENOMEM. */
int socket_new(weir_socket **ret, int family, int type, int protocol);

/* Makes a new object, which nobody else knows yet, the owner of a connection. */
void socket_connected(weir_socket *s, int fd);

/* Takes a reference for whoever is no owner. */
static inline weir_socket *socket_ref(weir_socket *s)
{
    atomic_fetch_add_explicit(&s->state, STATE_REFERENCE, memory_order_relaxed);
    return s;
}

/* Takes a reference if the socket still has one. */
bool socket_try_ref(weir_socket *s);
void socket_unref(weir_socket *s);

static inline bool socket_closed(const weir_socket *s)
{
    return atomic_load_explicit(&s->state, memory_order_acquire) & STATE_CLOSED;
}

static inline bool socket_is_stream(const weir_socket *s)
{
    return s->type == SOCK_STREAM;
}

/* In a child after fork(2), with TLS: the connection is the parent's. While OpenSSL works the lock
 * is held for long, and may have been copied in that state. */
static inline bool socket_inherited(const weir_socket *s)
{
    return s->tls && tls_inherited(s->tls);
}

static inline enum phase socket_phase(const weir_socket *s)
{
    return (enum phase)atomic_load_explicit(&s->phase, memory_order_acquire);
}

/* Makes `fd` the descriptor of the socket, owned by it from now on, and sets family and phase.
 * (lock) */
void socket_attach(weir_socket *s, int fd, int family, enum phase phase);

/* Turns O_NONBLOCK of an adopted descriptor on where accept or connect need it. (lock) */
int socket_make_nonblocking(weir_socket *s);

/* ---- accept.c -------------------------------------------------------------------------------- */

/* weir_accept on a listener, whatever its mode, without a wait. -EAGAIN also while the listener is
 * left alone, because accept_exhausted was true of the last result; weir_wait lasts until then. */
int accept_try(weir_socket *s, weir_socket **ret);

/* No descriptors or memory: the connection stays in the queue. */
bool accept_exhausted(int rc);

/* ---- option.c -------------------------------------------------------------------------------- */

/* A fresh kernel socket of `family` with the recorded options, and bound to the recorded address if
 * `with_bind`; or -errno. (lock) */
int socket_descriptor(weir_socket *s, int family, bool with_bind);

/* An open family is decided late: what was set for another one is left out then. */
bool setting_applies(const struct setting *o, int family);

void settings_free(struct setting *list);

/* Gives `s`, which nobody else knows yet, the options that were set on the listener `from`: 0 or
 * -ENOMEM. */
int settings_copy(weir_socket *s, weir_socket *from);

/* ---- bind.c ---------------------------------------------------------------------------------- */

/* The look-up of a bind by name is answered: the next call of weir_bind will not wait. (lock) */
bool socket_lookup_done(weir_socket *s);

/* ---- enter.c: entering and leaving a call, what waiters need --------------------------------- */

/* Each call enters with the flag it needs (0, STATE_RECEIVING, STATE_SENDING) and leaves with the
 * same. socket_enter returns 0, WEIR_ECLOSED, -EINVAL for NULL, or -EBUSY if the flag is taken. */
static inline int socket_enter(weir_socket *s, uint64_t flag)
{
    if (!s)
        return -EINVAL;
    uint64_t old = atomic_load_explicit(&s->state, memory_order_relaxed);
    do {
        if (old & (STATE_CLOSED | flag))
            return old & STATE_CLOSED ? WEIR_ECLOSED : -EBUSY;
    } while (!atomic_compare_exchange_weak_explicit(&s->state, &old, (old + STATE_REFERENCE) | flag,
                                                    memory_order_acquire, memory_order_relaxed));
    return 0;
}

/* The same for the plain case: a connected stream that nobody else uses this way, and nothing that
 * holds for the context `c` has to be looked at. False: enter the careful way. `*ret_before` is for
 * socket_leave_plainly. */
static inline bool socket_enter_plainly(weir_socket *s, uint64_t flag, struct context *c,
                                        uint64_t *ret_before)
{
    uint64_t old = atomic_load_explicit(&s->state, memory_order_relaxed);

    if (old & (STATE_CLOSED | STATE_UNREADY | STATE_QUEUED | flag) || !context_plain(c))
        return false;
    *ret_before = old;
    return atomic_compare_exchange_strong_explicit(&s->state, &old, old + STATE_REFERENCE + flag,
                                                   memory_order_acquire, memory_order_relaxed);
}

/* The last reference, or others wait for the turn, or the socket was closed: whoever did that may
 * be about to wake the caller. */
void socket_leave_slowly(weir_socket *s, uint64_t flag);

static inline void socket_leave(weir_socket *s, uint64_t flag)
{
    uint64_t old = atomic_load_explicit(&s->state, memory_order_relaxed);

    do {
        if (old & (STATE_QUEUED | STATE_CLOSED) || (uint32_t)old == STATE_REFERENCE) {
            socket_leave_slowly(s, flag);
            return;
        }
    } while (!atomic_compare_exchange_weak_explicit(&s->state, &old, old - STATE_REFERENCE - flag,
                                                    memory_order_release, memory_order_relaxed));
}

/* Leaves what was entered plainly. Most often the state is what entering has made of it: then what
 * was before is known to be in order, and nothing has to be looked at. */
static inline void socket_leave_plainly(weir_socket *s, uint64_t flag, uint64_t before)
{
    uint64_t now = before + STATE_REFERENCE + flag;

    if (!atomic_compare_exchange_strong_explicit(&s->state, &now, before, memory_order_release,
                                                 memory_order_relaxed))
        socket_leave(s, flag);
}

/* The start of a call that could wait: its deadline (wait_limit), NEVER in non-blocking mode.
 * Returns 0, or -ECANCELED, or WEIR_EDEADLINE if a limit of the context has passed already. */
static inline int wait_enter(const weir_socket *s, uint64_t *ret_deadline_ns)
{
    struct context *c = context_current();
    uint64_t outer_ns = c->deadline_ns;

    *ret_deadline_ns = NEVER;
    bool spent = context_spends(c);
    if (atomic_load_explicit(&s->nonblocking, memory_order_relaxed)) {
        if (spent)
            c->budget = 0; /* such a call does not wait, for others neither */
        return 0;
    }
    if (spent)
        wait_spent();
    if (context_cancelled(c))
        return -ECANCELED;
    if (outer_ns == NEVER && atomic_load_explicit(&s->timeout_ms, memory_order_relaxed) < 0)
        return 0;
    *ret_deadline_ns = wait_limit(s);
    return wait_expired(outer_ns);
}

/* Enters with the sender's turn after others who have it: 0, -EAGAIN if `dontwait` or in non-
 * blocking mode, WEIR_EDEADLINE, WEIR_ECLOSED. */
int socket_queue_for_turn(weir_socket *s, bool dontwait, uint64_t deadline_ns);

/* Waits until the socket is connected if a connect goes on: 0, -EAGAIN, the connect's error,
 * -ENOTCONN, -EINVAL for a listener. */
int socket_settle(weir_socket *s, uint64_t deadline_ns);

/* Wakes everybody who waits for the socket. (lock) */
void socket_wake(weir_socket *s, enum wake_reason why);

/* Waiters join and leave the socket's list. (lock) */
void waiter_link(weir_socket *s, struct waiter *w);
void waiter_unlink(struct waiter *w);

/* The descriptor is about to be closed or given away, and the socket stays: the loop of the calling
 * thread watches it no more, and no loop takes the next one of that number for it. (lock) */
void socket_leave_home(weir_socket *s);

/* Carries background work on as far as it goes without waiting: a connect, a handshake. (lock) */
void socket_drive(weir_socket *s);

/* What a waiter for `events` has to watch right now. `count` 0, `ready` 0 and NEVER is "nothing as
 * yet". (lock) */
void socket_interest(weir_socket *s, unsigned events, struct interest *ret);

/* ---- stream.c: moving bytes ------------------------------------------------------------------ */

/* One attempt to move bytes, and what it needs; the arguments of the call are in it. */
struct transfer {
    ssize_t (*try)(weir_socket *s, struct transfer *t);
    union {
        void *in;
        const void *out;
        struct msghdr *message;
        const struct msghdr *const_message;
    };
    size_t len;
    int flags;
    bool dontwait;   /* this call does not wait, whatever the mode */
    bool to_address; /* a message with a destination of its own */
};

/* Entered calls that try, wait and try again. */
ssize_t transfer_in(weir_socket *s, struct transfer *t);
ssize_t transfer_out(weir_socket *s, struct transfer *t);

/* A message to an address is about to go: a socket without a descriptor gets one. datagram.c */
int datagram_aim(weir_socket *s, const struct sockaddr *to, socklen_t length);

/* The stream is broken for good: every later call returns `error`, receives once they have taken
 * what is queued. */
void socket_break(weir_socket *s, int error);

/* The program has fetched SO_ERROR itself, which takes it away from the stream. */
void socket_note_error(weir_socket *s, const void *value, socklen_t length);
/* The kernel has told of a reset, but the call has come to something else. */
void socket_note_reset(weir_socket *s);
/* Neither side can say any more. */
bool stream_hung_up(const weir_socket *s);

ssize_t transfer_recvmsg(weir_socket *s, struct transfer *t);
ssize_t transfer_sendmsg(weir_socket *s, struct transfer *t);

#endif
