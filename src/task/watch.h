/* What the watcher's thread looks for. */
#ifndef TASK_WATCH_H
#define TASK_WATCH_H

#include "inspect.h"

#include <ucontext.h>

/* ---- stall.c --------------------------------------------------------------------------------- */

/* Takes the signal (0: none) by which a thread is asked where it is: 0 or -errno; and gives it
 * back. */
int stall_begin(int signal);
void stall_end(void);
/* The same where no thread has been asked: in a child after fork, or if it cannot begin. */
void stall_forget(void);

/* In a handler of the loop's thread: which calls lead to where it was interrupted, as backtrace(3).
 * 0 if that cannot be told. */
int stall_trace(const struct loop *l, const ucontext_t *interrupted, void **frames, int most);

/* What other watchers have told is told again. */
void stall_look_anew(void);

/* Looks at all loops, as each period; tells of one that has kept to one task for so long, once. */
void stall_look(const weir_watch_options *options, uint64_t period_ns);

/* ---- deadlock.c ------------------------------------------------------------------------------ */

void deadlock_begin(void);

/* Looks whether nothing has moved for so long, and if so, whether anything ever can. */
void deadlock_look(const weir_watch_options *options);

/* ---- watch.c --------------------------------------------------------------------------------- */

/* To whom the program wants it told. */
void watch_report(const weir_watch_options *options, const weir_report *report);

#endif
