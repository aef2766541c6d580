/* The way of a flight through the sources: hosts file, name servers, getaddrinfo(3). Used by the
 * resolver's thread alone, with the fork_lock. */
#ifndef WALK_H
#define WALK_H

#include "plan.h"

void walk_begin(struct flight *f, struct plan *p); /* one in STAGE_ROUTING; no plan: no memory */
void walk_ask(struct flight *f);                   /* one in STAGE_ASKING: may go on */
void walk_answered(struct dns_question *q);        /* the question of one in STAGE_ASKING */

/* To be called before the thread sleeps: closes what the above have opened. */
void walk_rest(void);

#endif
