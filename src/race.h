/* Which address to connect to, and when: RFC 8305 (Happy Eyeballs) as a machine of its own.
 *
 * It makes no system call and reads no clock. It is told what has happened, and race_next says what
 * to do, step by step: carry each step out, report its outcome, ask again, until the step is to
 * wait or the race is over.
 *
 * Lists are borrowed: they must live as long as the race. */
#ifndef RACE_H
#define RACE_H

#include "clock.h"
#include "resolve/order.h"
#include "wait.h"

#define RACE_RESOLUTION_DELAY_NS (50 * NS_PER_MS)  /* IPv4 is known: how long IPv6 may still take */
#define RACE_ATTEMPT_DELAY_NS    (250 * NS_PER_MS) /* from one attempt to the next */
#define RACE_LIVE_MAX            INTEREST_MAX

enum race_action {
    RACE_WAIT,   /* nothing to do until something is reported, or `at_ns` (NEVER: no such time) */
    RACE_START,  /* start an attempt on the address `index` */
    RACE_CLOSE,  /* close the attempt `index`, nothing is reported back */
    RACE_WON,    /* over: the attempt `index` is the connection */
    RACE_FAILED, /* over: `rc` is why */
};

struct race_step {
    enum race_action action;
    unsigned index;
    int rc;
    uint64_t at_ns;
};

struct race_list {
    const struct ranked *list;
    size_t count;
    size_t next;  /* the first that is not started */
    bool pending; /* the answer is not there yet */
};

struct race {
    struct race_list lists[2]; /* IPv6 (or the only one), IPv4 */
    unsigned live[RACE_LIVE_MAX];
    unsigned live_count, max_live;
    unsigned last; /* the list that the last attempt came from */
    bool started;  /* there was an attempt */
    bool won;
    unsigned winner;
    int abandoned;     /* why the race was ended from outside; 0 if not */
    int rc;            /* of all failures the one that tells most; 0 if none */
    uint64_t start_ns; /* the next attempt not before */
};

/* Begins. `family` is AF_UNSPEC if an answer for AF_INET and one for AF_INET6 will come, else
 * the only one that will. At most `max_live` attempts go on at a time: 1..RACE_LIVE_MAX. */
void race_init(struct race *r, int family, unsigned max_live);

/* The addresses of a family, best first, or why there are none. */
void race_answer(struct race *r, int family, int rc, const struct ranked *list, size_t count,
                 uint64_t now_ns);

/* An attempt has connected. The first one wins; one that comes too late will be closed. */
void race_connected(struct race *r, unsigned index);

/* An attempt has failed, and is closed. */
void race_failed(struct race *r, unsigned index, int rc);

/* Ends the race, unless it is won: each live attempt is to be closed, then it has failed with
 * `rc`. */
void race_abandon(struct race *r, int rc);

/* What to do next. */
struct race_step race_next(struct race *r, uint64_t now_ns);

const weir_address *race_address(const struct race *r, unsigned index);

#endif
