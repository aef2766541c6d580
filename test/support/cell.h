/* Cells: an operation that waits, a moment, and what ends it. The result must be right, nothing may
 * be lost or done twice, nobody may hang, and what is left must work as before. */
#ifndef CELL_H
#define CELL_H

#include "support/ground.h"
#include "support/stub_dns.h"

enum moment {
    WAITING,    /* nothing happens but the end */
    COMPLETING, /* what it waits for happens, then the end */
    COMPLETED,  /* the loop has had the time to see it in between */
    REPORTED,   /* the loop has seen it, and whoever ends comes first */
    LATE,       /* the end comes, then what it waits for */
    MOMENTS
};

enum ender {
    BY_LIMIT,
    BY_CANCEL,
    BY_ABORT,
    BY_CLOSE,
    BY_CANCEL_OF_THREAD,
    BY_ABORT_OF_THREAD,
    BY_CLOSE_OF_THREAD,
    ENDERS,
    BY_SHUTDOWN = ENDERS
};

struct cell;

struct op {
    const char *name;
    bool has_socket; /* that can be aborted */
    bool tasks_only; /* elsewhere it does not wait */
    void (*prepare)(struct cell *c);
    ssize_t (*call)(struct cell *c);
    void (*complete)(struct cell *c); /* NULL: it cannot be done at will */
    /* Nothing is lost and all works, after the call gave c->rc; c->ended is true if the socket was
     * aborted, c->completed if `complete` was called. */
    void (*check)(struct cell *c);
};

struct cell {
    const struct op *op;
    enum moment moment;
    enum ender ender;
    weir_group *group;
    struct other victim, helper;
    ssize_t rc;
    bool completed;
    atomic_bool ended;

    weir_socket *s, *peer, *accepted;
    weir_poller *poller;
    weir_mutex mutex;
    weir_channel *channel;
    weir_group *inner;
    struct stub_dns *dns;
    weir_address where;
    size_t filled, done;
    int fds[8], fd_count;
    int item;
    char buf[16];
    atomic_int called, blocked;
    atomic_bool released;
};

/* Tries the operation again, as somebody whom nothing ends: it gives `want`. */
void cell_expect_good(struct cell *c, ssize_t want);

/* Ends the operation in every cell; by the end of the run. */
void cell_end_by_everything(const struct op *op);
void cell_end_by_shutdown(const struct op *op);

/* The tests of each operation of FOR_EACH_OP(X). */
#define CELL_TESTS(op)                                                                             \
    static void end_of_##op(void)                                                                  \
    {                                                                                              \
        cell_end_by_everything(&op_##op);                                                          \
    }                                                                                              \
    static void shutdown_of_##op(void)                                                             \
    {                                                                                              \
        cell_end_by_shutdown(&op_##op);                                                            \
    }
#define CELL_ENTRIES(op)                                                                           \
    GROUND_TEST(EVERYWHERE, end_of_##op), GROUND_TEST(BEFORE_RUN, shutdown_of_##op),

#endif
