/* What the rig sees of the process from outside: threads that sleep, descriptors that are open,
 * memory, signals that storm. */
#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Returns when thread `tid` of this process sleeps in the kernel, or has ended. */
void watch_until_asleep(pid_t tid);

/* The number of threads of this process. */
int watch_threads(void);

/* What the process has in memory, in KiB; 0 under tools, which have much of their own. */
long watch_memory_kib(void);

#define WATCH_FDS 4096

/* Which descriptors are open. */
struct open_fds {
    bool open[WATCH_FDS];
};
void watch_fds(struct open_fds *ret);
/* The first descriptor that is open and was not in `before`, and what it is; -1 if there is none.
 * With `resolver`, what the resolver keeps is left out. */
int watch_new_fd(const struct open_fds *before, bool resolver, char *what, size_t size);
/* How many are open. */
int watch_fd_count(void);

/* From now on the calling thread is interrupted a thousand times a second, by a handler that
 * restarts nothing. */
void watch_storm_start(void);
void watch_storm_stop(void);
/* In a child after fork(2), which inherits no timers. */
void watch_storm_restart(void);

/* Prints what each thread of a process is doing. */
void watch_print_threads(pid_t pid);

#endif
