/* Fibers: each has its registers, its floating point modes and its stack to itself. */
#include "task/fiber.h"
#include "task/stack.h"

#include <fenv.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <unwind.h>

#include <cmocka.h>

/* A fiber at the top of its stack, and what it does. */
struct strand {
    struct stack stack;
    struct fiber fiber;
    void (*fn)(struct strand *s);
    bool over;
    int number;
    uint64_t count, result;
};

static struct stack_arena arena;
static struct fiber home;

static void begin(void *arg)
{
    struct strand *s = arg;

    s->fn(s);
    s->over = true;
    fiber_leave(&s->fiber, &home);
}

static struct strand *start(void (*fn)(struct strand *s), int number)
{
    struct stack *stack = stack_take(&arena);

    assert_non_null(stack);
    struct strand *s = (struct strand *)(void *)stack;
    *s = (struct strand){.stack = *stack, .fn = fn, .number = number};
    fiber_init(&s->fiber, stack->low, s, begin, s);
    return s;
}

static void finish(struct strand *s)
{
    assert_true(s->over);
    fiber_fini(&s->fiber);
    stack_give(&arena, &s->stack);
}

/* No part of their callers, who therefore keep what they need in the registers that a function has
 * to preserve. */
__attribute__((noinline)) static void go_on(struct strand *s)
{
    fiber_switch(&home, &s->fiber);
}

__attribute__((noinline)) static void pause_here(struct strand *s)
{
    fiber_switch(&s->fiber, &home);
}

__attribute__((noinline)) static uint64_t hidden(uint64_t n)
{
    __asm__ volatile("" : "+r"(n));
    return n;
}

/* ---- registers ------------------------------------------------------------------------------- */

#define ROUNDS 50

/* More values than there are registers, all of them needed after each switch. */
static void juggle(struct strand *s)
{
    uint64_t n = hidden((uint64_t)s->number);
    uint64_t a = n * 3, b = n * 5, c = n * 7, d = n * 11, e = n * 13, f = n * 17, g = n * 19;
    uint64_t h = n * 23, i = n * 29, j = n * 31;
    double p = (double)a, q = (double)b, r = (double)c, t = (double)d, u = (double)e;
    double v = (double)f, w = (double)g, x = (double)h, y = (double)i;

    for (int round = 0; round < ROUNDS; round++) {
        pause_here(s);
        a += b, b += c, c += d, d += e, e += f, f += g, g += h, h += i, i += j, j += a & 7;
        p += 1, q += 2, r += 3, t += 4, u += 5, v += 6, w += 7, x += 8, y += 9;
    }
    s->result = a ^ b ^ c ^ d ^ e ^ f ^ g ^ h ^ i ^ j;
    s->result += (uint64_t)(p + q + r + t + u + v + w + x + y);
}

static uint64_t juggled_alone(int number)
{
    struct strand *s = start(juggle, number);
    uint64_t result;

    while (!s->over)
        go_on(s);
    result = s->result;
    finish(s);
    return result;
}

/* What a function may expect to find again after a call, it finds again after a switch. */
static void registers_survive(void **state)
{
    struct strand *one = start(juggle, 1000003), *other = start(juggle, 77777777);
    uint64_t n = hidden(9), a = n, b = n * 2, c = n * 3, d = n * 4, e = n * 5, f = n * 6;
    double p = (double)a, q = (double)b;

    (void)state;
    while (!one->over) {
        go_on(one);
        a++, b++, c++, d++, e++, f++, p += 1;
        go_on(other);
        a++, b++, c++, d++, e++, f++, q += 1;
    }
    assert_true(other->over);
    assert_true(one->result != other->result);
    assert_int_equal(one->result, juggled_alone(1000003));
    assert_int_equal(other->result, juggled_alone(77777777));
    assert_int_equal(a + b + c + d + e + f, 21 * 9 + 12 * (ROUNDS + 1));
    assert_true(p == 9 + ROUNDS + 1 && q == 18 + ROUNDS + 1);
    finish(one);
    finish(other);
}

/* ---- floating point modes -------------------------------------------------------------------- */

/* Which way the machine rounds, in both kinds of arithmetic. */
static int rounds(void)
{
    volatile double two = 2.5, three = 3.5;
    volatile long double long_two = 2.5L, long_three = 3.5L;
    long from_two = lrint(two), from_three = lrint(three);

    assert_int_equal(lrintl(long_two), from_two);
    assert_int_equal(lrintl(long_three), from_three);
    if (from_two == 3)
        return FE_UPWARD;
    return from_three == 3 ? FE_DOWNWARD : FE_TONEAREST;
}

static void round_upward(struct strand *s)
{
    assert_int_equal(rounds(), s->number);
    pause_here(s);
    assert_int_equal(rounds(), s->number);
    fesetround(FE_UPWARD);
    for (int i = 0; i < 3; i++) {
        pause_here(s);
        assert_int_equal(fegetround(), FE_UPWARD);
        assert_int_equal(rounds(), FE_UPWARD);
    }
    fesetround(FE_DOWNWARD);
    pause_here(s);
    assert_int_equal(rounds(), FE_DOWNWARD);
    fesetround(FE_UPWARD);
}

static void keep_mode(struct strand *s)
{
    for (int i = 0; i < 5; i++) {
        assert_int_equal(rounds(), s->number);
        pause_here(s);
    }
}

/* A mode holds for the stack that has set it and for no other, in whatever order they go on; a new
 * one has the modes of whoever made it. */
static void modes_are_kept(void **state)
{
    struct strand *changes = start(round_upward, FE_TONEAREST);
    struct strand *late = start(round_upward, FE_TONEAREST);
    struct strand *plain = start(keep_mode, FE_TONEAREST);

    (void)state;
    fesetround(FE_UPWARD);
    struct strand *heir = start(keep_mode, FE_UPWARD);
    struct strand *all[] = {changes, plain, heir, late};

    for (unsigned step = 0; step < 8; step++) {
        fesetround(step % 3 == 0 ? FE_TONEAREST : step % 3 == 1 ? FE_UPWARD : FE_DOWNWARD);
        int mode = fegetround();
        for (unsigned i = 0; i < 4; i++) {
            struct strand *s = all[(i + step) % 4];
            if (!s->over)
                go_on(s);
            assert_int_equal(rounds(), mode);
        }
    }
    fesetround(FE_TONEAREST);
    for (unsigned i = 0; i < 4; i++)
        finish(all[i]);
}

/* To a stack that rounds alike already: what has changed here must be noted all the same. */
static void change_and_pass_on(struct strand *s)
{
    struct strand *other = (struct strand *)(uintptr_t)s->result;

    assert_int_equal(rounds(), FE_TONEAREST);
    fesetround(FE_UPWARD);
    fiber_switch(&s->fiber, &other->fiber);
    assert_int_equal(rounds(), FE_UPWARD);
}

static void modes_are_kept_between_equals(void **state)
{
    struct strand *nearest = start(change_and_pass_on, 0);

    (void)state;
    fesetround(FE_UPWARD);
    struct strand *upward = start(keep_mode, FE_UPWARD);
    fesetround(FE_TONEAREST);
    nearest->result = (uintptr_t)upward;
    go_on(nearest); /* and from there to the other one, which comes back here */
    while (!upward->over)
        go_on(upward);
    assert_int_equal(rounds(), FE_TONEAREST);
    go_on(nearest);
    assert_int_equal(rounds(), FE_TONEAREST);
    finish(nearest);
    finish(upward);
}

/* ---- stacks ---------------------------------------------------------------------------------- */

__attribute__((noinline)) static void look_at_frame(struct strand *s)
{
    _Alignas(16) volatile char room[48];
    char *frame = __builtin_frame_address(0);

    room[0] = 1;
    assert_int_equal((uintptr_t)room % 16, 0);
    assert_int_equal((uintptr_t)frame % 16, 0);
    assert_true(frame > s->stack.low && frame < (char *)s);
}

/* Code that the compiler has made relies on it, as soon as it saves a vector register. */
static void stacks_are_aligned(void **state)
{
    struct strand *s = start(look_at_frame, 0);

    (void)state;
    go_on(s);
    finish(s);
}

__attribute__((noinline)) static unsigned descend(struct strand *s, unsigned depth)
{
    volatile char room[512];

    if ((char *)__builtin_frame_address(0) - s->stack.low < 16384)
        return depth;
    room[0] = room[511] = (char)depth;
    if (depth % 16 == 0)
        pause_here(s);
    unsigned deepest = descend(s, depth + 1);
    assert_int_equal(room[0], (char)depth);
    assert_int_equal(room[511], (char)depth);
    return deepest;
}

static void go_deep(struct strand *s)
{
    s->result = descend(s, 0);
}

/* The whole of a stack can be used, and stays as it is while others do the same. */
static void stacks_are_deep(void **state)
{
    struct strand *one = start(go_deep, 1), *other = start(go_deep, 2);

    (void)state;
    while (!one->over || !other->over) {
        if (!one->over)
            go_on(one);
        if (!other->over)
            go_on(other);
    }
    assert_true(one->result > 50);
    assert_in_range(other->result, one->result - 5, one->result + 5);
    finish(one);
    finish(other);
}

static void leave_from_the_deep(struct strand *s)
{
    volatile char room[3000];

    room[0] = room[2999] = 1;
    if (s->count++ < 20)
        s->fn(s);
    s->over = true;
    fiber_leave(&s->fiber, &home);
}

/* What one fiber leaves behind is nothing to the next on the same stack. */
static void stacks_are_used_again(void **state)
{
    size_t before = arena.count;

    (void)state;
    for (int i = 0; i < 200; i++) {
        struct strand *s = start(i % 2 ? go_deep : leave_from_the_deep, i);
        while (!s->over)
            go_on(s);
        finish(s);
    }
    assert_true(arena.count <= before + 4);
}

/* ---- many ------------------------------------------------------------------------------------ */

static void count_up(struct strand *s)
{
    while (s->count < s->result) {
        s->count++;
        pause_here(s);
    }
}

static void a_million_switches(void **state)
{
    struct strand *s = start(count_up, 0);

    (void)state;
    s->result = 500000;
    while (!s->over)
        go_on(s);
    assert_int_equal(s->count, 500000);
    finish(s);
}

static void many_fibers(void **state)
{
    static struct strand *all[1000];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        all[i] = start(count_up, i);
        all[i]->result = (uint64_t)i % 5 + 1;
    }
    for (uint64_t round = 1; round <= 6; round++) {
        for (int i = 0; i < 1000; i++) {
            if (!all[i]->over)
                go_on(all[i]);
            assert_int_equal(all[i]->over, round > all[i]->result);
        }
    }
    for (int i = 0; i < 1000; i++)
        finish(all[i]);
}

/* ---- on another's stack ---------------------------------------------------------------------- */

#if SANITIZER_ADDRESS || SANITIZER_THREAD || defined(WEIR_PORTABLE_SWITCH)
#define BORROWS false
#else
#define BORROWS (!RUNNING_ON_VALGRIND)
#endif

struct visit {
    struct strand *visitor;
    uint64_t sum;
};

/* More than the visitor's stack could hold, if the other one is larger. */
__attribute__((noinline)) static void sum_up(void *arg)
{
    _Alignas(16) volatile char room[100000];
    struct visit *v = arg;
    char *frame = __builtin_frame_address(0);

    assert_int_equal((uintptr_t)room % 16, 0);
    assert_int_equal(frame > v->visitor->stack.low && frame < (char *)v->visitor, !BORROWS);
    for (size_t i = 0; i < sizeof room; i++)
        room[i] = (char)(i % 7);
    for (size_t i = 0; i < sizeof room; i++)
        v->sum += (uint64_t)room[i];
}

static void visit_home(struct strand *s)
{
    struct visit v = {.visitor = s};
    uint64_t kept = hidden((uint64_t)s->number), before = rounds();

    for (int i = 0; i < 3; i++) {
        fiber_call(&home, sum_up, &v);
        assert_int_equal(kept, s->number);
        assert_int_equal(rounds(), before);
        pause_here(s);
    }
    s->result = v.sum;
}

/* What lies on it stays as it is, and whoever called comes back to his own. */
static void a_stopped_stack_can_be_borrowed(void **state)
{
    struct strand *one = start(visit_home, 1), *other = start(visit_home, 2);
    volatile char mine[500];

    (void)state;
    for (size_t i = 0; i < sizeof mine; i++)
        mine[i] = (char)(i % 11);
    while (!one->over) {
        go_on(one);
        go_on(other);
    }
    for (size_t i = 0; i < sizeof mine; i++)
        assert_int_equal(mine[i], (char)(i % 11));
    assert_int_equal(one->result, 3 * 299995);
    assert_int_equal(other->result, 3 * 299995);
    finish(one);
    finish(other);
}

/* ---- backtraces ------------------------------------------------------------------------------ */

struct trace {
    uint64_t frames;
    uintptr_t low, high, last;
};

static _Unwind_Reason_Code see_frame(struct _Unwind_Context *context, void *arg)
{
    struct trace *t = arg;
    uintptr_t at = _Unwind_GetCFA(context);

    if (t->frames++ > 1000 || at < t->low || at > t->high || at < t->last)
        return _URC_FATAL_PHASE1_ERROR;
    t->last = at;
    return _URC_NO_REASON;
}

__attribute__((noinline)) static void trace(struct strand *s, unsigned depth)
{
    struct trace t = {.low = (uintptr_t)s->stack.low, .high = (uintptr_t)s};
    volatile unsigned again = depth;

    if (depth) {
        trace(s, depth - 1);
        again--;
        return;
    }
    pause_here(s);
    assert_int_equal(_Unwind_Backtrace(see_frame, &t), _URC_END_OF_STACK);
    s->result = t.frames;
}

static void trace_10(struct strand *s)
{
    trace(s, 10);
}

static void trace_30(struct strand *s)
{
    trace(s, 30);
}

/* The way back leads through every frame, and ends where the fiber began. */
static void backtraces_end_at_the_entry(void **state)
{
    struct strand *one = start(trace_10, 0), *other = start(trace_30, 0);

    (void)state;
    go_on(one);
    go_on(other);
    go_on(one);
    go_on(other);
    assert_in_range(one->result, 12, 16); /* 11 of them, and what comes before */
    assert_int_equal(other->result - one->result, 20);
    finish(one);
    finish(other);
}

static _Unwind_Reason_Code count_frame(struct _Unwind_Context *context, void *arg)
{
    struct trace *t = arg;

    (void)context;
    return t->frames++ > 1000 ? _URC_FATAL_PHASE1_ERROR : _URC_NO_REASON;
}

__attribute__((noinline)) static void trace_through(void *arg)
{
    struct trace t = {.frames = 0};
    struct strand *s = arg;

    assert_int_equal(_Unwind_Backtrace(count_frame, &t), _URC_END_OF_STACK);
    s->result = t.frames;
}

__attribute__((noinline)) static void trace_from(struct strand *s, unsigned depth)
{
    volatile unsigned again = depth;

    if (depth) {
        trace_from(s, depth - 1);
        again--;
        return;
    }
    fiber_call(&home, trace_through, s);
    again++;
}

static void trace_from_10(struct strand *s)
{
    trace_from(s, 10);
}

static void trace_from_30(struct strand *s)
{
    trace_from(s, 30);
}

/* From a borrowed stack it leads back to the own one. */
static void backtraces_find_their_way_home(void **state)
{
    struct strand *one = start(trace_from_10, 0), *other = start(trace_from_30, 0);

    (void)state;
    go_on(one);
    go_on(other);
    assert_in_range(one->result, 12, 24); /* 11 of them, and what is around */
    assert_int_equal(other->result - one->result, 20);
    finish(one);
    finish(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_survive),
        cmocka_unit_test(modes_are_kept),
        cmocka_unit_test(modes_are_kept_between_equals),
        cmocka_unit_test(stacks_are_aligned),
        cmocka_unit_test(stacks_are_deep),
        cmocka_unit_test(stacks_are_used_again),
        cmocka_unit_test(a_million_switches),
        cmocka_unit_test(many_fibers),
        cmocka_unit_test(a_stopped_stack_can_be_borrowed),
        cmocka_unit_test(backtraces_end_at_the_entry),
        cmocka_unit_test(backtraces_find_their_way_home),
    };

    stack_arena_init(&arena, STACK_DEFAULT, sizeof(struct strand));
    fiber_adopt(&home);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fiber_disown(&home);
    stack_arena_fini(&arena);
    return failed;
}
