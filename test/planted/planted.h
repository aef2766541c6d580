/* Programs that have a bug if they are called with an argument, for a tool to find, and none
 * otherwise. What each tool has to say stands at the beginning of the program, as
 *
 *     TOOL: REGULAR EXPRESSION
 *     ASAN_OPTIONS: what is added to those of the other tests
 *
 * of TOOL asan, tsan and valgrind; one that is not named need not see it. */
#ifndef PLANTED_H
#define PLANTED_H

#include <stdbool.h>
#include <weir.h>

extern bool planted;

/* What it is about: each program has one. The first task, of a run that has two loops at most. */
int scene(void *arg);

/* Ends the program unless a call has gone well. */
void must(int rc);

/* A group with one task, which is waited for. */
void in_task(int (*fn)(void *arg), void *arg);

#endif
