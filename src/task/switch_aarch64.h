/* AArch64, AAPCS64.
 *
 * The floating point modes are loaded only if they differ, since that makes the processor wait.
 *
 * Branch target identification holds: everything that is jumped to begins with a landing pad, which
 * is no operation to processors without it. Neither a guarded control stack nor a shadow call stack
 * in x18 is switched. */
#ifndef TASK_SWITCH_AARCH64_H
#define TASK_SWITCH_AARCH64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

struct switch_point {
    void *sp, *pc, *fp; /* x29 may be a frame pointer, which cannot be declared as spoiled */
    uint64_t fpcr;
};

_Static_assert(offsetof(struct switch_point, fp) == 16 && offsetof(struct switch_point, fpcr) == 24,
               "as the assembly below has it");

/* What lies on a new stack, and what comes first there: it calls the function. */
struct switch_start {
    void (*entry)(void *);
    void *arg;
};
extern char switch_begin[] __attribute__((visibility("hidden")));

void switch_call_at(void *sp, void (*fn)(void *), void *arg) __attribute__((visibility("hidden")));

#ifdef __ARM_FEATURE_SVE
#define SWITCH_SPOILS_SVE                                                                          \
    , "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13",      \
        "p14", "p15"
#else
#define SWITCH_SPOILS_SVE
#endif

static inline void switch_adopt(struct switch_point *p)
{
    __asm__ volatile("mrs %0, fpcr" : "=r"(p->fpcr));
}

static inline void switch_prepare(struct switch_point *p, void *low, void *high,
                                  void (*entry)(void *), void *arg)
{
    struct switch_start *start = (struct switch_start *)high - 1;

    (void)low;
    *start = (struct switch_start){entry, arg};
    switch_adopt(p);
    p->sp = start;
    p->pc = switch_begin;
    p->fp = NULL; /* ends a backtrace by frame pointers */
}

__attribute__((always_inline)) static inline void switch_registers(struct switch_point *from,
                                                                   struct switch_point *to)
{
    register struct switch_point *x0 __asm__("x0") = from;
    register struct switch_point *x1 __asm__("x1") = to;

    __asm__ volatile("adr  x9, 2f\n\t"
                     "mov  x10, sp\n\t"
                     "mrs  x11, fpcr\n\t"
                     "stp  x10, x9, [%0]\n\t"
                     "stp  x29, x11, [%0, #16]\n\t"
                     "ldp  x10, x17, [%1]\n\t"
                     "ldp  x29, x12, [%1, #16]\n\t"
                     "cmp  x11, x12\n\t"
                     "b.eq 1f\n\t"
                     "msr  fpcr, x12\n"
                     "1:\t"
                     "mov  sp, x10\n\t"
                     "br   x17\n"
                     "2:\t"
                     "hint #36\n\t" /* bti j */
                     "mov  x17, xzr"
                     : "+r"(x0), "+r"(x1)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                       "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24",
                       "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6",
                       "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
                       "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                       "v29", "v30", "v31", "cc", "memory" SWITCH_SPOILS_SVE);
}

static inline const char *switch_stopped_at(const struct switch_point *p)
{
    return p->sp;
}

/* Before the registers are of two stacks x17 is where it goes, and is cleared when it is there. */
static inline bool switch_begun(const struct switch_point *p, const ucontext_t *interrupted)
{
    return (void *)interrupted->uc_mcontext.regs[17] == p->pc;
}

static inline void switch_call(const struct switch_point *p, void (*fn)(void *), void *arg)
{
    switch_call_at(p->sp, fn, arg);
}

#endif
