/* Flights: one name and family that is being looked up, whoever waits for it; and what the
 * resolver's parts share.
 *
 * A flight is in the list of its stage. Those who look it up again meanwhile join it. Who is the
 * last to leave one that nobody has begun takes it away; one that is begun goes on for the cache's
 * sake. */
#ifndef FLIGHT_H
#define FLIGHT_H

#include "cache.h"
#include "dns.h"
#include "settings.h"

#include <pthread.h>
#include <sys/queue.h>

enum stage {
    STAGE_NEW,     /* nobody has looked at it */
    STAGE_ROUTING, /* the resolver's thread is looking where to ask */
    STAGE_READY,   /* name servers are to be asked as soon as few enough others are */
    STAGE_ASKING,
    STAGE_SYSTEM,  /* waits for a thread that may wait */
    STAGE_CALLING, /* that thread has it */
    STAGE_DONE,    /* those who wait are being told */
    STAGE_LOST,    /* of the parent process; what is left of it waits for resolve_answer */
    STAGES,
};

struct plan;

/* The place of one family in a request. */
struct slot {
    TAILQ_ENTRY(slot) link; /* among those who wait for the flight (lock) */
    struct flight *flight;  /* NULL unless it waits (lock) */
    struct answer *_Atomic answer;
    struct resolve_request *request;
};

struct resolve_request {
    struct slot slots[2]; /* IPv4, IPv6 */
    struct resolve_client client;
    unsigned forks;   /* of the process that began what is in flight */
    unsigned missing; /* answers to come (lock) */
    bool told;        /* a thread is calling notify (lock) */
    bool ended;       /* resolve_end came meanwhile (lock) */
    bool released;    /* release was or is being called (lock) */
};

struct flight {
    TAILQ_ENTRY(flight) link;        /* in the list of the stage (lock) */
    LIST_ENTRY(flight) bucket;       /* while it can be joined (lock) */
    TAILQ_HEAD(slots, slot) waiters; /* (lock) */
    enum stage stage;                /* (lock) */
    bool joinable;                   /* (lock) */
    unsigned generation;             /* of the settings it was begun under */
    int family;

    /* Of the thread that has it. */
    struct plan *plan;
    size_t source;    /* the one that is asked */
    bool asked;       /* name servers have been */
    size_t candidate; /* the one of the search list */
    unsigned tries;   /* of this candidate */
    size_t first_server, server;
    unsigned failed_servers; /* a bit each */
    int failure;             /* what to say in the end if no source knows the name */
    struct answer *negative; /* the one that a server gave; NULL if none */
    struct dns_question question;
    weir_resolver *program; /* NULL: getaddrinfo(3) */
    void *program_arg;

    struct name name;
};
TAILQ_HEAD(flights, flight);

#define FLIGHT_BUCKETS 4096

/* At most so many flights at name servers that somebody waits for, so that no datagram is lost for
 * want of room. Those that nobody waits for any more go on beside them; when there are too many,
 * the oldest are given up. */
#define ASKING_MAX       128
#define ASKING_TOTAL_MAX 1024

struct resolver {
    /* Held by the resolver's threads while they do anything but sleep or run foreign code, so that
     * fork(2) finds them at rest and the child can clean up. Outermost: taken before the locks of
     * sockets. */
    pthread_mutex_t fork_lock;

    /* Innermost, held shortly, never across a system call except to start the thread. */
    pthread_mutex_t lock;

    /* All below: (lock) */
    struct cache *cache;   /* NULL until there is something to keep */
    struct cache *garbage; /* one to be freed by the thread */
    struct settings settings;
    struct flights stages[STAGES];
    LIST_HEAD(flight_bucket, flight) buckets[FLIGHT_BUCKETS];
    unsigned counts[STAGES];
    unsigned awaited; /* flights in STAGE_ASKING that somebody waits for */
    bool running;     /* the thread is there */
    bool sleeping;    /* it has to be woken */
    int wake_fd;
    int epoll_fd;
    unsigned system_threads, system_idle;
    uint64_t system_idle_ns; /* after which one that has nothing to do ends */
    pthread_cond_t system_work;
    _Atomic unsigned forks;
};

extern struct resolver resolver;

/* ---- flight.c -------------------------------------------------------------------------------- */

struct flight *flight_new(const struct name *name, int family); /* NULL without memory */
void flight_free(struct flight *f);                             /* NULL is allowed */

/* Puts the slot among those who wait for its name and family, on a flight that is on its way or on
 * `*spare`, which then is gone. Starts the thread if there is none. Returns 0 or -EAGAIN. (lock) */
int flight_join(struct slot *slot, struct flight **spare);

/* Takes the slot off its flight. Returns the flight if that has to be freed. (lock) */
struct flight *flight_leave(struct slot *slot);

/* Moves it to another stage. (lock) */
void flight_move(struct flight *f, enum stage stage);

/* Frees one that the caller has and nobody waits for any more; false if somebody does. (lock) */
bool flight_drop(struct flight *f);

/* Sends it back to the start, to be looked up as the settings are now. (lock) */
void flight_restart(struct flight *f);

/* True if a flight in STAGE_READY may go on. (lock) */
bool flight_room(void);

/* Wakes the thread, after the lock is given up, if `must` is what flight_must_wake said under it.
 */
bool flight_must_wake(void);
void flight_wake(bool must);

/* The end: the answer goes to the cache and to those who wait. Owns both. (fork_lock, not lock) */
void flight_finish(struct flight *f, struct answer *a);

/* Makes fork(2) safe; before the lock is first taken. */
void flight_handle_fork(void);

/* ---- resolve.c ------------------------------------------------------------------------------- */

void request_free(struct resolve_request *r);

/* ---- plan.c ---------------------------------------------------------------------------------- */

/* The flight has no more use for it; from any thread, NULL is allowed. */
void plan_leave(struct plan *p);

/* ---- thread.c -------------------------------------------------------------------------------- */

void *thread_main(void *arg);

/* In a child after fork(2): closes and frees all that the thread had. (lock) */
void thread_forget(void);

/* ---- system.c -------------------------------------------------------------------------------- */

/* A flight has come to STAGE_SYSTEM: sees that a thread takes it. True if system_start_thread has
 * to be called, without the lock. (lock) */
bool system_wake(void);
void system_start_thread(void); /* (fork_lock) */

/* Once at first, and in each child after fork(2): no threads. */
void system_init(void);

#endif
