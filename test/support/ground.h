/* Grounds: what tests of tasks stand on. A test is written once and runs on each ground it is for:
 * in plain threads, in the threads model, in tasks on each loop.
 *
 * Tasks have stacks of their own and threads have no test runner, so what does not hold ends the
 * program, after telling where. */
#ifndef GROUND_H
#define GROUND_H

#include "support/asleep.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <weir.h>

struct ground {
    const char *name;
    unsigned models; /* as weir_run takes them; 0: outside of it */
    int loop;
    bool tasks; /* share a thread */
};

/* Of the test that runs. */
extern const struct ground *ground;

enum ground_kind {
    EVERYWHERE, /* as the first task, and in a plain thread */
    IN_RUNS,    /* as the first task */
    IN_TASKS,   /* as the first task where tasks share a thread */
    BEFORE_RUN, /* outside of weir_run, once for each ground that it has */
    ONCE,       /* outside of weir_run */
};

struct ground_test {
    const char *name;
    enum ground_kind kind;
    void (*run)(void);
};

#define GROUND_TEST(kind, name)                                                                    \
    {                                                                                              \
#name, (kind), (name)                                                                      \
    }

/* Runs the tests, each on its grounds; the first argument is a pattern for their names. */
int ground_main(int argc, char **argv, const char *name, const struct ground_test *tests,
                size_t count);

/* Runs `fn` as the first task on the ground; checks that both it and weir_run return 0. */
void ground_run(int (*fn)(void *), void *arg);
const weir_run_options *ground_options(void);

/* The test starts threads or descriptors that the process keeps: the resolver's, the pool's. */
void ground_keeps_threads(void);

/* Keeps the thread to the caller for so long: what is due by then is due at the same time. */
void ground_hold_up(int64_t ms);

/* True where things are slow: sanitizers, Valgrind. */
bool ground_is_slow(void);

/* ---- what must hold ------------------------------------------------------------------------- */

#define EXPECT(call, want) ground_expect(__FILE__, __LINE__, #call, (call), (want))
#define CHECK(condition)   ground_check(__FILE__, __LINE__, #condition, (condition))

void ground_expect(const char *file, int line, const char *what, long long got, long long want);
void ground_check(const char *file, int line, const char *what, bool holds);

/* ---- others --------------------------------------------------------------------------------- */

/* A task that runs beside the caller. Lives until its group has ended. */
struct other {
    struct somebody self;
    int (*fn)(void *arg);
    void *arg;
    int rc; /* once it has ended */
};

/* Starts `fn(arg)` in `g`. */
void other_go(struct other *o, weir_group *g, int (*fn)(void *arg), void *arg);
static inline void other_until_asleep(const struct other *o)
{
    somebody_until_asleep(&o->self);
}
/* Returns when it has ended, whatever holds for the caller. */
void other_until_ended(const struct other *o);

weir_group *group_open(void);
/* Waits for all of its tasks and closes it. */
void group_end(weir_group *g);

/* Two connected streams. */
void stream_pair(weir_socket *ret[2]);
void pair_close(weir_socket *pair[2]);

/* Returns when the child has ended, which it has to do with that status. */
void child_ends(pid_t child, int status);

/* Longer than anything takes that goes well, and a moment. */
#define LONG_MS   30000
#define MOMENT_MS 10

#endif
