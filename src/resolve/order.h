/* Which address first: RFC 6724.
 *
 * The source address that the system would use is found once, when an answer arrives, in the
 * resolver thread (it takes system calls); comparing costs none. Rules 3, 4 and 7 are about what a
 * program is not told (deprecated and home addresses, native transport) and do not apply. */
#ifndef ORDER_H
#define ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <weir/address.h>

struct ranked {
    weir_address address; /* port 0 */
    bool reachable;       /* there is a source address for it: rule 1 */
    bool same_scope;      /* rule 2 */
    bool same_label;      /* rule 5 */
    uint8_t precedence;   /* rule 6 */
    uint8_t scope;        /* rule 8 */
    uint8_t prefix;       /* IPv6: bits in common with the source, at most 64: rule 9 */
};

/* The sockets that sources are found with, opened when needed; to be closed when much has been
 * ranked, as a new one costs more than all else. */
struct order_probe {
    int fds[2];
};
#define ORDER_PROBE_NONE ((struct order_probe){{-1, -1}})
void order_probe_close(struct order_probe *p);

/* Fills what is known of the addresses beside the addresses themselves. Makes system calls. */
void order_rank(struct order_probe *p, struct ranked *list, size_t count);

/* The same for one, given the source address that the system would use; NULL if it has none. */
void order_rank_from(struct ranked *r, const weir_address *source);

/* Sorts, best first; equals keep their order. Without memory the list stays as it is. */
void order_sort(struct ranked *list, size_t count);

/* < 0 if `a` goes before `b`. */
int order_compare(const struct ranked *a, const struct ranked *b);

#endif
