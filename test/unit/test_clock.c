/* Deadlines, on a clock that stands still. */
#include "clock.h"
#include "sys.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
/* cmocka wants the four above it. */
#include <cmocka.h>

static uint64_t now_ns;

static uint64_t now(void)
{
    return now_ns;
}

static const struct sys_faults faults = {.now = now};

static int set_clock(void **state)
{
    (void)state;
    now_ns = 5 * NS_PER_S + 1;
    sys_faults = &faults;
    return 0;
}

static int reset_clock(void **state)
{
    (void)state;
    sys_faults = NULL;
    return 0;
}

static void deadlines(void **state)
{
    (void)state;
    assert_int_equal(clock_deadline(0), now_ns);
    assert_int_equal(clock_deadline(1500), now_ns + 1500 * NS_PER_MS);
    assert_true(clock_deadline(-1) == NEVER);
    assert_true(clock_deadline(INT64_MIN) == NEVER);
    assert_true(clock_deadline(INT64_MAX) == NEVER);
    /* Just too far away, by the product and by the sum. */
    assert_true(clock_deadline((int64_t)(UINT64_MAX / NS_PER_MS) + 1) == NEVER);
    assert_true(clock_deadline((int64_t)((UINT64_MAX - now_ns) / NS_PER_MS) + 1) == NEVER);
    assert_true(clock_deadline((int64_t)((UINT64_MAX - now_ns) / NS_PER_MS)) < NEVER);
    assert_true(earlier(NEVER, 3) == 3 && earlier(2, NEVER) == 2 && earlier(NEVER, NEVER) == NEVER);
}

static void time_left(void **state)
{
    struct timespec ts = {.tv_sec = 77};

    (void)state;
    assert_null(clock_left(NEVER, &ts));
    assert_ptr_equal(clock_left(now_ns + 3 * NS_PER_S + 4, &ts), &ts);
    assert_int_equal(ts.tv_sec, 3);
    assert_int_equal(ts.tv_nsec, 4);
    clock_left(now_ns + NS_PER_S - 1, &ts);
    assert_int_equal(ts.tv_sec, 0);
    assert_int_equal(ts.tv_nsec, 999999999);
    for (uint64_t past = 0; past <= now_ns; past += now_ns) {
        clock_left(past, &ts);
        assert_true(ts.tv_sec == 0 && ts.tv_nsec == 0);
    }
    clock_left(NEVER - 1, &ts);
    assert_true(ts.tv_sec > 0 && ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000);
}

/* Rounded up: a wait for what is left must not end before the deadline. */
static void milliseconds_left(void **state)
{
    (void)state;
    assert_int_equal(clock_left_ms(NEVER), -1);
    assert_int_equal(clock_left_ms(0), 0);
    assert_int_equal(clock_left_ms(now_ns), 0);
    assert_int_equal(clock_left_ms(now_ns + 1), 1);
    assert_int_equal(clock_left_ms(now_ns + NS_PER_MS), 1);
    assert_int_equal(clock_left_ms(now_ns + NS_PER_MS + 1), 2);
    assert_int_equal(clock_left_ms(now_ns + (INT_MAX - UINT64_C(1)) * NS_PER_MS), INT_MAX - 1);
    assert_int_equal(clock_left_ms(now_ns + (INT_MAX + UINT64_C(1)) * NS_PER_MS), INT_MAX);
    assert_int_equal(clock_left_ms(NEVER - 1), INT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(deadlines, set_clock, reset_clock),
        cmocka_unit_test_setup_teardown(time_left, set_clock, reset_clock),
        cmocka_unit_test_setup_teardown(milliseconds_left, set_clock, reset_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
