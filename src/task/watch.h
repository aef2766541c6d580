/* What the watcher's thread looks for. */
#ifndef TASK_WATCH_H
#define TASK_WATCH_H

#include "inspect.h"

/* ---- stall.c --------------------------------------------------------------------------------- */

/* Takes the signal (0: none) by which a thread is asked where it is: 0 or -errno; and gives it
 * back. */
int stall_begin(int signal);
void stall_end(void);
/* In a child after fork: the handler is not the child's, if it is there. */
void stall_forget(void);

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
