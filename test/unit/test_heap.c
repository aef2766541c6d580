/* The timers of pollers and loops. */
#include "clock.h"
#include "heap.h"
#include "support/chance.h"
#include "sys.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TIMERS 300

/* Timers, and what is to be true of them: when each would fire, NEVER if it is not armed. */
struct model {
    struct heap heap;
    struct timer timers[TIMERS];
    uint64_t at_ns[TIMERS];
    struct chance chance;
};

static uint64_t earliest(const struct model *m)
{
    uint64_t at_ns = NEVER;

    for (size_t i = 0; i < TIMERS; i++)
        at_ns = earlier(at_ns, m->at_ns[i]);
    return at_ns;
}

static size_t armed(const struct model *m)
{
    size_t count = 0;

    for (size_t i = 0; i < TIMERS; i++)
        count += m->at_ns[i] != NEVER;
    return count;
}

static void arm(struct model *m, size_t i, uint64_t at_ns)
{
    assert_int_equal(heap_reserve(&m->heap, m->heap.count + 1), 0);
    heap_set(&m->heap, &m->timers[i], at_ns);
    m->at_ns[i] = at_ns;
}

static void take_due(struct model *m, uint64_t now_ns)
{
    for (struct timer *t; (t = heap_take_due(&m->heap, now_ns));) {
        size_t i = (size_t)(t - m->timers);
        assert_int_equal(t->place, 0);
        assert_int_equal(m->at_ns[i], earliest(m));
        assert_true(m->at_ns[i] <= now_ns);
        m->at_ns[i] = NEVER;
    }
    assert_true(earliest(m) > now_ns);
}

/* One change, of every kind there is. `now_ns` only ever grows. */
static void change(struct model *m, uint64_t now_ns)
{
    size_t i = chance_below(&m->chance, TIMERS);

    switch (chance_below(&m->chance, 8)) {
    case 0:
        arm(m, i, NEVER);
        assert_int_equal(m->timers[i].place, 0);
        break;
    case 1:
    case 2:
        timer_stop(&m->timers[i]);
        m->at_ns[i] = NEVER;
        break;
    case 3:
        arm(m, i, chance_below(&m->chance, 1000));
        break;
    case 4:
        take_due(m, now_ns);
        break;
    default:
        arm(m, i, now_ns + chance_below(&m->chance, 1000));
    }
}

static struct model *fresh_model(unsigned number)
{
    static struct model m;

    m = (struct model){.chance = chance_of(number)};
    for (size_t i = 0; i < TIMERS; i++)
        m.at_ns[i] = NEVER;
    return &m;
}

/* Whatever is armed, moved, stopped and taken out, the first is the earliest of those that are
 * armed, and none is late. */
static void the_first_is_the_earliest(void **state)
{
    struct model *m = fresh_model(1);

    (void)state;
    for (uint64_t step = 0; step < 40000; step++) {
        change(m, step / 8);
        uint64_t at_ns = earliest(m);
        assert_true(heap_look_ns(&m->heap) <= at_ns);
        if (chance_below(&m->chance, 4) == 0) {
            struct timer *first = heap_first(&m->heap);
            assert_true((first != NULL) == (at_ns != NEVER));
            assert_true(!first || first->at_ns == at_ns);
        }
    }
    take_due(m, NEVER - 1);
    assert_int_equal(armed(m), 0);
    assert_null(heap_first(&m->heap));
    assert_int_equal(m->heap.count, 0);
    heap_fini(&m->heap);
}

/* A look that is too early happens a few times, not for ever: who looks, and takes what is due
 * then, comes to the first timer. */
static void looking_again_and_again_gets_there(void **state)
{
    struct model *m = fresh_model(2);
    uint64_t at_ns = 0;

    (void)state;
    for (size_t i = 0; i < TIMERS; i++)
        arm(m, i, 10 + i);
    for (size_t i = 1; i < TIMERS; i++)
        timer_stop(&m->timers[i]);
    arm(m, 0, 1000);
    for (size_t looks = 0; looks < TIMERS && at_ns < 1000; looks++) {
        at_ns = heap_look_ns(&m->heap);
        if (at_ns < 1000)
            assert_null(heap_take_due(&m->heap, at_ns));
    }
    assert_int_equal(at_ns, 1000);
    assert_ptr_equal(heap_take_due(&m->heap, at_ns), &m->timers[0]);
    heap_fini(&m->heap);
}

/* A timer that has been taken out is its owner's: the heap does not look at it again. */
static void what_is_taken_out_is_forgotten(void **state)
{
    struct timer kept = {.place = 0}, *gone = sys_alloc(sizeof *gone);
    struct heap heap = {.memory = NULL};

    (void)state;
    assert_int_equal(heap_reserve(&heap, 2), 0);
    heap_set(&heap, gone, 1);
    heap_set(&heap, &kept, 2);
    timer_stop(gone);
    heap_set(&heap, gone, NEVER);
    free(gone);
    assert_ptr_equal(heap_first(&heap), &kept);
    assert_int_equal(heap.count, 1);
    heap_fini(&heap);
}

/* Timers leave in order, also when they were put in out of order, while the room grows. */
static void they_leave_in_order(void **state)
{
    struct model *m = fresh_model(3);

    (void)state;
    for (size_t i = 0; i < TIMERS; i++)
        arm(m, i, i * 37 % TIMERS);
    for (uint64_t i = 0; i < TIMERS; i++)
        assert_int_equal(heap_take_due(&m->heap, NEVER - 1) - m->timers, i * 73 % TIMERS);
    assert_null(heap_first(&m->heap));
    heap_fini(&m->heap);
}

static int no_memory(enum sys_call call)
{
    return call == SYS_ALLOC ? -ENOMEM : 0;
}

static void without_memory_nothing_is_lost(void **state)
{
    static const struct sys_faults faults = {.error = no_memory};
    struct timer t = {.place = 0};
    struct heap heap = {.memory = NULL};

    (void)state;
    assert_int_equal(heap_reserve(&heap, 1), 0);
    heap_set(&heap, &t, 7);
    sys_faults = &faults;
    assert_int_equal(heap_reserve(&heap, 1000), -ENOMEM);
    sys_faults = NULL;
    assert_ptr_equal(heap_first(&heap), &t);
    heap_fini(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_the_earliest),
        cmocka_unit_test(looking_again_and_again_gets_there),
        cmocka_unit_test(what_is_taken_out_is_forgotten),
        cmocka_unit_test(they_leave_in_order),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
