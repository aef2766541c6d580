/* A line with a relay in the middle, for tests on a ground: x — a = b — y */
#ifndef RELAY_LINE_H
#define RELAY_LINE_H

#include "support/ground.h"

#include <weir/relay.h>

struct line {
    weir_socket *near[2], *far[2]; /* x and a, b and y */
    weir_relay_options options;
    weir_relay_result result;
};

/* TCP on one side, a Unix stream on the other; `swapped` says on which. */
void line_open(struct line *l, bool swapped);
void line_close(struct line *l);

/* Two ends of a connection. */
void line_tcp_pair(weir_socket *ret[2]);

/* A task: weir_relay of the struct line. */
int line_relay(void *line);

/* What goes over a line in one direction. */
struct line_talk {
    weir_socket *s;
    size_t amount, moved;
    int rc;
};

/* Tasks: `amount` bytes and the end; whatever comes until the end or an error, which has to be
 * those bytes. Both return 0. */
int line_say(void *talk);
int line_hear(void *talk);

/* Starts both in `g`: what is said at one end is heard at the other. */
void line_check(weir_socket *from, weir_socket *to, size_t amount, weir_group *g,
                struct line_talk talk[2]);

#endif
