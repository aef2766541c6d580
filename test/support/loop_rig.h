/* A loop without tasks: a test plays those who wait, one step after another, directly through
 * loop.h. Whatever ends a wait is written into a trace, which has to be the same on every
 * backend. */
#ifndef LOOP_RIG_H
#define LOOP_RIG_H

#include "loop/loop.h"

#include <stdio.h>

/* Somebody who waits. As every waiter he looks himself whether what he waits for holds, and waits
 * on if it does not. */
struct actor {
    struct task task; /* first; never runs */
    struct arm arm;
    const char *name;
    struct home *home;
    int fd;
    short events;
    bool waiting;
    short now; /* what ended the wait, until it is traced */
};

struct loop_rig {
    int kind;
    struct loop *loop;
    struct run run;
    FILE *trace;
    char *text;
    size_t size;
    struct actor **ended; /* not traced yet */
    size_t count, room;
    unsigned in_vain;           /* wakes after which somebody waited on */
    struct stage {              /* what a script plays with */
        struct actor actors[3]; /* "a" to "c" */
        struct home home;       /* of fds[0] */
        int fds[2];             /* two Unix streams; -1: closed */
    } stage;
};

/* The backends in the order in which they are compared. */
#define LOOP_KINDS 3
extern const int loop_kinds[LOOP_KINDS];

/* False, with the reason printed, if that loop is not to be had here. */
bool loop_rig_open(struct loop_rig *rig, int kind);
void loop_rig_close(struct loop_rig *rig);

/* What has been traced so far. */
const char *loop_rig_text(struct loop_rig *rig);

/* `home` as in loop_arm. An actor that is zeroed takes part from his first wait on. */
void actor_waits(struct loop_rig *rig, struct actor *a, const char *name, int fd, short events,
                 struct home *home);
void actor_leaves(struct loop_rig *rig, struct actor *a);
/* What he waits for holds. */
bool actor_could_go_on(const struct actor *a);

/* Turns until `count` waits have ended since the last call, and traces who and what: by name, since
 * the order within a turn is nobody's business. */
void loop_rig_await(struct loop_rig *rig, size_t count);

/* The same without a trace; how many it were. */
size_t loop_rig_await_quietly(struct loop_rig *rig, size_t count);

/* Turns once, until something happens. */
void loop_rig_turn(struct loop_rig *rig);

/* Turns until nothing new comes, and traces what there was, or "-". */
void loop_rig_look(struct loop_rig *rig);
/* The same without a trace. */
void loop_rig_settle(struct loop_rig *rig);

/* Turns for some milliseconds in which nothing happens, and traces whether the loop sleeps. */
void loop_rig_sleep(struct loop_rig *rig);

/* ---- scripts ------------------------------------------------------------------------------- */

/* The actor of that name waits, for the first stream unless it is said for what. */
void waits(struct loop_rig *rig, const char *name, int fd, short events, struct home *home);
void reads(struct loop_rig *rig, const char *name);
void writes(struct loop_rig *rig, const char *name);
void leaves(struct loop_rig *rig, const char *name);

/* Something comes for the first stream, and so many waits end. */
void comes(struct loop_rig *rig, size_t count);
/* It takes what is there. */
void stage_take(struct loop_rig *rig);
void stage_close(struct loop_rig *rig, int end);

struct loop_script {
    const char *name;
    void (*play)(struct loop_rig *rig);
    const char *trace; /* on every backend */
};

#define LOOP_SCRIPT(script, text)                                                                  \
    {                                                                                              \
        .name = #script, .play = (script), .trace = (text)                                         \
    }

/* Plays them on every backend as tests of cmocka. Returns what main has to. */
int loop_rig_play(const char *group, const struct loop_script *scripts, size_t count);

/* ---- descriptors ----------------------------------------------------------------------------- */

void unix_pair(int ret_fds[2]);
void close_both(const int fds[2]);
/* Another pair, of which the first takes over the number, in place of a pair that is closed. */
void replace_pair(int fds[2]);
void put(int fd);  /* a byte */
void fill(int fd); /* until there is no room */
void take_all(int fd);

#endif
