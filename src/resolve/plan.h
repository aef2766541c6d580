/* A plan: the files and settings as they were at one time, and the sockets to the name servers
 * they name. Flights are finished under the plan they were begun with. Used by the resolver's
 * thread alone, but for plan_leave. */
#ifndef PLAN_H
#define PLAN_H

#include "flight.h"
#include "hosts.h"

struct plan {
    TAILQ_ENTRY(plan) link;
    atomic_uint flights;
    unsigned generation;
    struct conf conf;
    struct hosts *hosts;
    weir_resolver *program; /* in the place of all the rest, unless NULL */
    void *program_arg;
    struct dns *dns;     /* what new questions are asked through; NULL until there is one */
    size_t first_server; /* to be asked first: one that is not silent, or with `rotate` the next */
};

/* The plan of this generation of the settings, read now if need be; NULL without memory. */
struct plan *plan_current(unsigned generation);

/* What to ask the plan's name servers through, with source ports that are not worn; NULL without
 * memory. */
struct dns *plan_dns(struct plan *p);

/* Where answered questions come. */
extern struct dns_questions plan_answered;

/* What dns_ready, dns_expire and dns_timeout_ms do, for all there are. */
void plan_ready(int fd, uint32_t events);
void plan_expire(void);
int plan_timeout_ms(void);

/* Gives up what has been asked through the oldest ports: it is answered with REPLY_DROPPED. */
void plan_give_up(void);

/* Frees what is not used any more. */
void plan_sweep(void);

/* In a child after fork(2): frees everything. */
void plan_forget(void);

#endif
