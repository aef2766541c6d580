/* x86-64, System V ABI.
 *
 * Floating point modes are in two registers, mxcsr and the x87 control word, and to read the first
 * takes longer than all the rest. So it is looked at only if the second has changed, which is what
 * every function of <fenv.h> that sets a mode does. Whoever sets mxcsr alone, by an intrinsic (to
 * flush denormals to zero, say), sets it for all stacks of the thread.
 *
 * Indirect branch tracking holds, since everything that is jumped to begins with endbr64. Shadow
 * stacks are not switched; switch_x86_64.S sees to it that they stay off. */
#ifndef TASK_SWITCH_X86_64_H
#define TASK_SWITCH_X86_64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

struct switch_point {
    void *sp, *pc, *bp; /* rbp may be a frame pointer, which cannot be declared as spoiled */
    uint32_t mxcsr;     /* when the x87 control word was as here */
    uint16_t x87, x87_now;
};

_Static_assert(offsetof(struct switch_point, mxcsr) == 24 &&
                   offsetof(struct switch_point, x87) == 28 &&
                   offsetof(struct switch_point, x87_now) == 30,
               "as the assembly below has it");

/* What lies on a new stack, and what comes first there: it calls the function. */
struct switch_start {
    void (*entry)(void *);
    void *arg;
};
extern char switch_begin[] __attribute__((visibility("hidden")));

/* Below what a function without calls may keep under its stack pointer. */
#define SWITCH_RED_ZONE 128
void switch_call_at(void *sp, void (*fn)(void *), void *arg) __attribute__((visibility("hidden")));

#ifdef __AVX512F__
#define SWITCH_SPOILS_AVX512                                                                       \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",    \
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6",  \
        "k7"
#else
#define SWITCH_SPOILS_AVX512
#endif
#ifdef __APX_F__
#define SWITCH_SPOILS_APX                                                                          \
    , "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", "r28",   \
        "r29", "r30", "r31"
#else
#define SWITCH_SPOILS_APX
#endif

static inline void switch_adopt(struct switch_point *p)
{
    __asm__ volatile("stmxcsr %0" : "=m"(p->mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(p->x87));
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
    p->bp = NULL; /* ends a backtrace by frame pointers */
}

__attribute__((always_inline)) static inline void switch_registers(struct switch_point *from,
                                                                   struct switch_point *to)
{
    __asm__ volatile("leaq    6f(%%rip), %%rax\n\t"
                     "fnstcw  30(%0)\n\t"
                     "movq    %%rsp, (%0)\n\t"
                     "movq    %%rax, 8(%0)\n\t"
                     "movq    %%rbp, 16(%0)\n\t"
                     "movzwl  30(%0), %%ecx\n\t"
                     "cmpw    28(%0), %%cx\n\t"
                     "jne     3f\n"
                     "1:\t"
                     "cmpw    28(%1), %%cx\n\t"
                     "jne     4f\n"
                     "2:\t"
                     "movq    8(%1), %%rdx\n\t"
                     "movq    16(%1), %%rbp\n\t"
                     "movq    (%1), %%rsp\n\t"
                     "jmpq    *%%rdx\n"
                     "3:\t"
                     "movw    %%cx, 28(%0)\n\t"
                     "stmxcsr 24(%0)\n\t"
                     "jmp     1b\n"
                     "4:\t"
                     "fnclex\n\t" /* or another's sticky flag would trap with the new modes */
                     "fldcw   28(%1)\n\t"
                     "ldmxcsr 24(%1)\n\t"
                     "jmp     2b\n"
                     "6:\t"
                     "endbr64\n\t"
                     "xorl    %%edx, %%edx"
                     : "+D"(from), "+S"(to)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st",
                       "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc",
                       "memory" SWITCH_SPOILS_AVX512 SWITCH_SPOILS_APX);
}

static inline const char *switch_stopped_at(const struct switch_point *p)
{
    return p->sp;
}

/* Before the registers are of two stacks rdx is where it goes, and is cleared when it is there. */
static inline bool switch_begun(const struct switch_point *p, const ucontext_t *interrupted)
{
    return (void *)interrupted->uc_mcontext.gregs[REG_RDX] == p->pc;
}

static inline void switch_call(const struct switch_point *p, void (*fn)(void *), void *arg)
{
    switch_call_at((char *)p->sp - SWITCH_RED_ZONE, fn, arg);
}

#endif
