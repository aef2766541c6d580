/* Replies of name servers, RFC 1035. */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "answer.h"

enum reply {
    REPLY_ADDRESSES,
    REPLY_NODATA,   /* the name exists and has no address of this family */
    REPLY_NXDOMAIN, /* the name does not exist */
    REPLY_FAILED,   /* the server could not tell, or what it sent makes no sense */
    REPLY_NONE,     /* there was no reply */
    REPLY_DROPPED,  /* it was not waited for to the end */
};

/* How long answers are kept, whatever the server says. */
#define TTL_MIN_S      1
#define TTL_MAX_S      3600
#define TTL_NEGATIVE_S 60
#define TTL_UNSAID_S   10 /* of a negative reply that does not say */

/* Reads a reply to a question for addresses of `family`; never the last two. With REPLY_ADDRESSES,
 * REPLY_NODATA and REPLY_NXDOMAIN `*ret` is the answer, not ranked, or NULL without memory. */
enum reply message_read(const unsigned char *buf, size_t len, int family, uint64_t now_ns,
                        struct answer **ret);

#endif
