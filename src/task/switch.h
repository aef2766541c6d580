/* Leaving one stack and going on with another: what differs between machines.
 *
 * The switch is a piece of assembly in the middle of a function: it says that it spoils every
 * register, so the compiler saves those that it needs, and only those. It is no function of its own
 * also for the sake of the processor, which predicts that a function returns to where it was called
 * from; one that switches never does.
 *
 * What stays where it was is the signal mask and errno. The floating point modes (rounding, traps,
 * precision) belong to each stack, as the calling conventions demand. */
#ifndef TASK_SWITCH_H
#define TASK_SWITCH_H

#if !defined(WEIR_PORTABLE_SWITCH) && defined(__x86_64__) && !defined(__ILP32__)
#include "switch_x86_64.h"
#elif !defined(WEIR_PORTABLE_SWITCH) && defined(__aarch64__) && !defined(__ILP32__)
#include "switch_aarch64.h"
#else
#include "switch_ucontext.h"
#endif

/* Each of them has
 *
 *     struct switch_point    where a stopped stack goes on
 *     switch_adopt(p)        the stack that the caller is on
 *     switch_prepare(p, low, high, entry, arg)
 *                            the first switch to `p` calls `entry(arg)`, which never returns; with
 *                            the floating point modes of now
 *     switch_registers(from, to)
 *                            stops at `from`, goes on at `to`
 *     switch_stopped_at(p)   the stack pointer there; NULL if it is not known
 *     switch_begun(p, context)
 *                            a thread that was interrupted, which has that context, may be in the
 *                            middle of a switch to `p`: its registers are of two stacks
 *     switch_call(p, fn, arg)
 *                            calls `fn(arg)` on the stack that is stopped at `p`, below what is on
 *                            it, which stays as it is; `fn` returns and switches to nowhere */

#endif
