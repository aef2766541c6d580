/* A poller and what it watches.
 *
 * A watch is one socket in one poller: a waiter in the socket's list that stays there until it is
 * removed. Whenever the interest of the socket changes, the watch is brought in line at once, under
 * the socket's lock, by whoever changes it. So what the epoll set holds never outlives a
 * descriptor, and the thread that waits learns of everything from epoll_wait(2).
 *
 * Locks: the socket's, then the poller's. Fields marked (lock) are under the poller's, (both) are
 * changed under both, so that either is enough to read. */
#ifndef POLLER_WATCH_H
#define POLLER_WATCH_H

#include "heap.h"
#include "wait.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <weir/poller.h>

/* What an entry of the epoll set stands for; its data points to one of these. */
enum source {
    SOURCE_STALE,   /* nothing any more, the event comes too late */
    SOURCE_WAKE,    /* the poller's eventfd */
    SOURCE_TIMER,   /* the poller's timerfd */
    SOURCE_ATTEMPT, /* something by which a connect goes on */
    SOURCE_SOCKET,  /* the socket itself: its events are what the program asked for */
};

struct node {
    struct node *next, *prev; /* to itself when in no list */
};

struct watch {
    struct waiter waiter; /* first: it is what the socket knows */
    weir_socket *socket;
    struct weir_poller *poller;
    void *data;                 /* (both) */
    unsigned events;            /* asked for (both) */
    unsigned ready;             /* of these, what holds whatever the descriptors say (lock) */
    enum source socket_source;  /* (lock) */
    enum source attempt_source; /* (lock) */
    struct node look;           /* in the poller's list of those to look at (lock) */
    struct watch *next_dead;    /* (lock) */
    uint64_t turn;              /* the last in which it was looked at (lock) */
    struct node all;            /* (lock) */
    struct timer timer;         /* (lock) */
    bool dead;                  /* removed (both) */
    bool looking;               /* the waiting thread drives the socket right now (socket's lock) */
    bool connecting;            /* what is registered are attempts (both) */
    short drives;   /* events of the socket's descriptor after which it is driven (both) */
    bool orphaned;  /* an entry could not be taken out of the epoll set (lock) */
    int always_fd;  /* the descriptor that epoll refuses: always ready; -1 (both) */
    unsigned count; /* of `fds`, in the epoll set right now (both) */
    struct {
        int fd;
        uint32_t events;
    } fds[INTEREST_MAX];
};

struct weir_poller {
    pthread_mutex_t lock;
    int epoll_fd, wake_fd, timer_fd;
    atomic_bool waiting; /* a thread is in weir_poller_wait */
    bool woken;          /* weir_poller_wake was called (lock) */
    bool raised;         /* the eventfd is readable (lock) */
    unsigned fork_count; /* of the process that it belongs to */
    enum source wake_source, timer_source;
    uint64_t turn;               /* counts what epoll_wait returned (lock) */
    struct node look;            /* watches that are ready or have a connect to drive (lock) */
    struct epoll_event *harvest; /* the waiting thread's */
    int harvest_room;
    struct watch *graves;  /* removed while a thread waited, which may hold their events (lock) */
    unsigned grave_count;  /* (lock) */
    struct node watches;   /* (lock) */
    struct watch *orphans; /* removed, but the epoll set may still point to them (lock) */
    size_t watch_count;    /* (lock) */
    struct heap timers;    /* (lock) */
    uint64_t armed_ns;     /* when the timerfd fires; NEVER (lock) */
    pthread_cond_t watch_ended; /* (lock) */
};

static inline bool node_linked(const struct node *n)
{
    return n->next != n;
}

static inline void node_init(struct node *n)
{
    n->next = n->prev = n;
}

/* Takes `n` out of its list, if it is in one. */
static inline void node_unlink(struct node *n)
{
    n->next->prev = n->prev;
    n->prev->next = n->next;
    node_init(n);
}

/* Puts `n` before `at`: at the end of the list, if that is the list's head. */
static inline void node_link(struct node *n, struct node *at)
{
    n->next = at;
    n->prev = at->prev;
    at->prev->next = n;
    at->prev = n;
}

/* The structure of which `pointer` is the member. */
#define CONTAINER(pointer, type, member)                                                           \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* True in a child of the process that opened the poller: the epoll set is the parent's. */
bool poller_inherited(const struct weir_poller *p);

/* Makes a wait return, the running one or the next. (lock) */
void poller_raise(struct weir_poller *p);

/* Takes that back unless there is still a reason for it. (lock) */
void poller_lower(struct weir_poller *p);

/* Sets the timerfd to the first of the timers if that is earlier than what it is set to. (lock) */
void poller_arm(struct weir_poller *p);

/* Frees the watches that were removed while the calling thread was waiting. (lock) */
void poller_bury(struct weir_poller *p);

/* A new watch, known to nobody; NULL without memory. */
struct watch *watch_new(struct weir_poller *p, weir_socket *s, unsigned events, void *data);

/* The watch of `s` in `p`, or NULL. (socket's lock) */
struct watch *watch_find(struct weir_poller *p, weir_socket *s);

/* Starts to watch; on failure the watch is gone. 0, -ENOMEM or as watch_sync. (socket's lock) */
int watch_begin(struct watch *w);

/* Brings the watch in line with what the socket has to say. 0, or why epoll does not take a
 * descriptor; the watch then tries again by itself or counts as ready. (socket's lock) */
int watch_sync(struct watch *w);

/* Stops watching and lets go of the watch. (both locks) */
void watch_end(struct watch *w);

#endif
