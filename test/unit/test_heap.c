/* The poller's timers. */
#include "clock.h"
#include "heap.h"
#include "sys.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TIMERS 100

static uint64_t earliest(const struct timer *timers, size_t count)
{
    uint64_t at_ns = NEVER;

    for (size_t i = 0; i < count; i++)
        if (timers[i].place)
            at_ns = earlier(at_ns, timers[i].at_ns);
    return at_ns;
}

/* Whatever is put in, moved and taken out, the first is the earliest of those that are in. */
static void the_first_is_the_earliest(void **state)
{
    struct timer timers[TIMERS] = {{.place = 0}};
    struct heap heap = {.timers = NULL};
    uint32_t random = 1;

    (void)state;
    for (int step = 0; step < 20000; step++) {
        random = random * 1664525 + 1013904223;
        struct timer *t = &timers[(random >> 8) % TIMERS];
        assert_int_equal(heap_reserve(&heap, TIMERS), 0);
        heap_set(&heap, t, random >> 30 ? random >> 20 : NEVER);
        uint64_t at_ns = earliest(timers, TIMERS);
        struct timer *first = heap_first(&heap);
        assert_true(first ? first->at_ns == at_ns : at_ns == NEVER);
    }
    heap_fini(&heap);
}

/* Timers leave in order, also when they were put in out of order. */
static void they_leave_in_order(void **state)
{
    struct timer timers[TIMERS] = {{.place = 0}};
    struct heap heap = {.timers = NULL};

    (void)state;
    for (size_t i = 0; i < TIMERS; i++) {
        assert_int_equal(heap_reserve(&heap, i + 1), 0);
        heap_set(&heap, &timers[i], i * 37 % TIMERS);
    }
    for (uint64_t i = 0; i < TIMERS; i++) {
        assert_int_equal(heap_first(&heap)->at_ns, i);
        heap_set(&heap, heap_first(&heap), NEVER);
    }
    assert_null(heap_first(&heap));
    heap_fini(&heap);
}

static int no_memory(enum sys_call call)
{
    return call == SYS_ALLOC ? -ENOMEM : 0;
}

static void without_memory_nothing_is_lost(void **state)
{
    static const struct sys_faults faults = {.error = no_memory};
    struct timer t = {.place = 0};
    struct heap heap = {.timers = NULL};

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
        cmocka_unit_test(they_leave_in_order),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
