/* Waiting: the only place where blocking, returning and parking differ.
 *
 * An operation is: try; if that would block, wait_ready(); try again. What is waited for is an
 * `interest`: some descriptors, events that hold already, and a time to look again. A socket that
 * connects has several descriptors, which change as it goes on; everybody else has one.
 *
 * Whoever waits for a socket has a waiter in the socket's list, so that a change from elsewhere
 * (close, abort, an answer from the resolver, another thread that drives the same connect) reaches
 * it. Threads and tasks put one there for the length of the wait, pollers for as long as they
 * watch.
 *
 * Whoever waits for something that is no socket has a sleeper in the list of that: a mutex, a
 * channel, a group. */
#ifndef WAIT_H
#define WAIT_H

#include "context.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <weir/base.h>

/* The most descriptors a socket waits on at a time: the live attempts of a connect. */
#define INTEREST_MAX 6

struct interest {
    struct pollfd fds[INTEREST_MAX + 1]; /* one to spare, for what wakes the waiter itself */
    unsigned count;
    /* WEIR_READABLE, WEIR_WRITABLE that hold already, whatever the descriptors say. */
    unsigned ready;
    /* Of the descriptors' events, those after which the socket has to be driven before anything can
     * be said of it. */
    short drives;
    /* Look again then at the latest; NEVER if only an event can change something. */
    uint64_t wake_at_ns;
};

enum wake_reason {
    WAKE_CHANGED, /* look again: the interest of the socket may have changed */
    WAKE_CLOSED,  /* the socket was aborted: as WAKE_CHANGED, and it stays ready from now on */
    WAKE_GONE,    /* the last reference is gone: unlink, the socket will not be there any more */
};

struct waiter {
    struct waiter *next;  /* in the socket's list, under the socket's lock */
    struct waiter **link; /* what points here; NULL when in no list */
    /* Called under the socket's lock; must not wait and must not call back into the socket. */
    void (*wake)(struct waiter *w, enum wake_reason why);
};

/* ---- sleeping ------------------------------------------------------------------------------- */

/* One wait of a thread or a task, on its stack. Others find it in some list, and there is a lock
 * that they hold when they wake it and that the sleeper takes before it leaves: so it is there
 * while it is woken. */
struct sleeper {
    struct waiter waiter; /* first: it is what a socket knows */
    struct context *context;
    uintptr_t object; /* what it is for */
    enum awaits awaits;
    atomic_bool woken;
};

void sleeper_init_for(struct sleeper *z, enum awaits awaits, const void *object);
static inline void sleeper_init(struct sleeper *z)
{
    sleeper_init_for(z, AWAITS_OTHER, NULL);
}

/* Ends the sleep, or the next one of this sleeper before it has begun. Under the lock. */
void sleeper_wake(struct sleeper *z);

/* Sleeps, without any lock, until it is woken, the caller is cancelled, or `until_ns` (absolute;
 * NEVER). Returns
 *   1            look again: woken, or for no reason
 *   0            time is up and nothing else has happened
 *   -ECANCELED   only that has happened
 *   -errno       sleeping is impossible
 * A sleeper that has been woken sleeps again only after sleeper_init. */
int sleeper_sleep(struct sleeper *z, uint64_t until_ns);

/* The start of a call that may wait for something that is no socket: WEIR_EDEADLINE or -ECANCELED
 * if that holds already, else 0 and the deadline in `*ret_deadline_ns`. Others get their turn now
 * and then. */
int wait_begin(uint64_t *ret_deadline_ns);

/* Waits, in whatever way the caller waits, until `fd`, which the caller keeps open, has one of
 * `poll_events`, or until the deadline: 0 (try again), WEIR_EDEADLINE, -ECANCELED, -errno. */
int wait_for_fd_of(int fd, enum awaits awaits, short poll_events, uint64_t deadline_ns);
static inline int wait_for_fd(int fd, short poll_events, uint64_t deadline_ns)
{
    return wait_for_fd_of(fd, AWAITS_FD, poll_events, deadline_ns);
}

/* Waits for some time, uninterrupted by cancels. */
void wait_moment(uint64_t ns);

/* ---- sockets -------------------------------------------------------------------------------- */

/* The deadline of a call on `s` that starts now: the earlier of the socket's time-out and the
 * limits of the context; NEVER if none, and then no clock is read. */
uint64_t wait_limit(const weir_socket *s);

/* WEIR_EDEADLINE if the deadline has passed, else 0. Reads no clock for NEVER. */
int wait_expired(uint64_t deadline_ns);

/* The turn of the other tasks of the loop, if the caller has gone ahead without a wait for long. */
void wait_spent(void);

/* Beside WEIR_WRITABLE: only while a connect goes on. Without it the wait is over. */
#define WAIT_CONNECT 4u

/* Waits until one of `events` may hold, something changed, or `retry_ns` from now (NEVER: no such
 * time) has passed. Spurious returns are allowed: the caller tries again. The caller holds a
 * reference and not the lock.
 *
 * Returns 0 (try again), -EAGAIN if the socket is in non-blocking mode, WEIR_EDEADLINE, -ECANCELED,
 * WEIR_ECLOSED, or why waiting is impossible (-ENOMEM). */
int wait_ready(weir_socket *s, unsigned events, uint64_t deadline_ns, uint64_t retry_ns);

/* The same, whatever the mode of the socket. */
int wait_always(weir_socket *s, unsigned events, uint64_t deadline_ns, uint64_t retry_ns);

/* The wait that tasks do most, for a stream that was found empty by the last read, in short: until
 * something comes, the socket ends, or any other reason. False if it has not waited, or not been
 * woken, and the caller has to find out why in the ordinary way. */
struct context;
bool wait_drained(weir_socket *s, struct context *c, uint64_t deadline_ns);

/* Lets the caller's loop receive into, or send from, `buf`, and waits for that: a count, 0 at the
 * end of the stream, or -errno. -EAGAIN: it cannot, or the wait has ended for another reason; the
 * caller goes the ordinary way and finds out. Nothing that was moved is ever lost. */
ssize_t wait_receive(weir_socket *s, void *buf, size_t len, uint64_t deadline_ns);
ssize_t wait_send(weir_socket *s, const void *buf, size_t len, uint64_t deadline_ns);

/* The senders of a socket take turns. A turn belongs to the call that waits for it. */
struct turn {
    struct turn *next;
    struct sleeper *sleeper; /* NULL while nobody sleeps */
    bool given;
};

/* Waits until `turn`, which is in the socket's queue, is given. 0, WEIR_EDEADLINE, WEIR_ECLOSED,
 * -ECANCELED. */
int wait_turn(weir_socket *s, struct turn *turn, uint64_t deadline_ns);

/* ---- flags ---------------------------------------------------------------------------------- */

/* A flag that another thread raises, to be waited for without a socket. It has two holders, the one
 * who waits and the one who raises; each gives it up once. */
struct wait_flag;

struct wait_flag *wait_flag_new(void); /* NULL without memory */
void wait_flag_raise(struct wait_flag *f);
void wait_flag_free(struct wait_flag *f); /* gives up one of the two */

/* Waits until it is raised, and lowers it: 0, WEIR_EDEADLINE, -ECANCELED, -errno. */
int wait_for_flag(struct wait_flag *f, uint64_t deadline_ns);

#endif
