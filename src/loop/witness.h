/* What the tools are told of the operations that a loop carries out. Of a system call they know
 * what it reads and writes, and that what comes out of a socket has been put in before; of the
 * kernel's work on an operation they see nothing.
 *
 * To be called on the stack of the task that waits, which is then in the report. */
#ifndef LOOP_WITNESS_H
#define LOOP_WITNESS_H

#include "../sys.h"
#include "../task/sanitizer.h"
#include "loop.h"

#if SANITIZER_ADDRESS
#include <sanitizer/asan_interface.h>

static inline void witness_start(const struct loop_operation *op)
{
    (void)op;
}

static inline void witness_sent(const struct loop_operation *op)
{
    char *out = (char *)(uintptr_t)op->out;
    const volatile char *bad = __asan_region_is_poisoned(out, (size_t)op->result);

    if (bad)
        (void)*bad;
}

static inline void witness_received(const struct loop_operation *op)
{
    volatile char *bad = __asan_region_is_poisoned(op->buf, (size_t)op->result);

    if (bad)
        *bad = 0;
}

#elif SANITIZER_THREAD
void __tsan_read_range(void *at, long size);
void __tsan_write_range(void *at, long size);

static inline void witness_start(const struct loop_operation *op)
{
    if (op->kind == LOOP_SEND)
        sys_write_nothing(op->fd);
}

static inline void witness_sent(const struct loop_operation *op)
{
    __tsan_read_range((char *)(uintptr_t)op->out, op->result);
}

static inline void witness_received(const struct loop_operation *op)
{
    sys_read_nothing(op->fd);
    __tsan_write_range(op->buf, op->result);
}

#else
static inline bool under_valgrind(const struct loop_operation *op)
{
    return op->task->context.loop->stacks.arena->under_valgrind;
}

static inline void witness_start(const struct loop_operation *op)
{
    (void)op;
}

static inline void witness_sent(const struct loop_operation *op)
{
    if (under_valgrind(op))
        (void)VALGRIND_CHECK_MEM_IS_DEFINED(op->out, op->result);
}

static inline void witness_received(const struct loop_operation *op)
{
    if (under_valgrind(op))
        (void)VALGRIND_CHECK_MEM_IS_ADDRESSABLE(op->buf, op->result);
}
#endif

static inline void witness_end(const struct loop_operation *op)
{
    if (op->result < 0)
        return;
    if (op->kind == LOOP_RECV)
        witness_received(op);
    else
        witness_sent(op);
}

#endif
