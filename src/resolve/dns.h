/* Questions to name servers. Used by the resolver's thread alone. */
#ifndef DNS_H
#define DNS_H

#include "conf.h"
#include "message.h"

#include <sys/queue.h>

struct dns_channel;

/* A question on its way, to be embedded in what asks it. */
struct dns_question {
    TAILQ_ENTRY(dns_question) link; /* among those that are answered */
    struct dns_channel *channel;    /* while it is on its way */
    int family;
    char name[CONF_NAME_MAX + 1];
    enum reply reply;
    struct answer *answer; /* as message_read has it; owned by the asker once it is answered */
};
TAILQ_HEAD(dns_questions, dns_question);

/* One set of source ports to a list of name servers. */
struct dns;

/* Servers beyond CONF_SERVERS_MAX are left out. A server has `timeout_ms` for a question, with one
 * repetition after a third of that. Sockets are put into the epoll set with their descriptor as
 * data. Answered questions are put into `answered`, also from inside dns_ask. Returns 0, -ENOMEM.
 */
int dns_open(struct dns **ret, const weir_address *servers, size_t count, unsigned timeout_ms,
             int epoll_fd, struct dns_questions *answered);

/* Questions on their way are answered with REPLY_DROPPED. */
void dns_close(struct dns *d);

/* In a child after fork(2), before dns_close: the epoll set is the parent's. */
void dns_forget_epoll(struct dns *d);

/* Asks for the name and family that the question says. */
void dns_ask(struct dns *d, size_t server, struct dns_question *q);

/* The descriptor is ready for these epoll events; it need not be one of this `d`. */
void dns_ready(struct dns *d, int fd, uint32_t events);

/* Gives up what has waited too long. */
void dns_expire(struct dns *d);

/* How long to sleep at most before dns_expire; -1 if nothing is on its way. */
int dns_timeout_ms(const struct dns *d);

bool dns_idle(const struct dns *d);

/* True when it is time for other source ports. */
bool dns_worn(const struct dns *d, uint64_t now_ns);

#endif
