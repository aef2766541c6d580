/* As much of cmocka as tests need that are built for another machine, for which there is no cmocka:
 * the first check that fails ends the program. */
#ifndef AARCH64_CMOCKA_H
#define AARCH64_CMOCKA_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct CMUnitTest {
    const char *name;
    void (*test)(void **state);
    int (*setup)(void **state);
    int (*teardown)(void **state);
};

#define cmocka_unit_test(test)                                                                     \
    {                                                                                              \
#test, (test), NULL, NULL                                                                  \
    }
#define cmocka_unit_test_setup_teardown(test, setup, teardown)                                     \
    {                                                                                              \
#test, (test), (setup), (teardown)                                                         \
    }

static jmp_buf skipped;

static inline void check(int holds, const char *what, const char *file, int line)
{
    if (holds)
        return;
    printf("%s:%d: %s does not hold\n", file, line, what);
    exit(1);
}

#define CHECK_THAT(condition) check((condition), #condition, __FILE__, __LINE__)

#define assert_true(condition)     CHECK_THAT(!!(condition))
#define assert_false(condition)    CHECK_THAT(!(condition))
#define assert_null(p)             CHECK_THAT((p) == NULL)
#define assert_non_null(p)         CHECK_THAT((p) != NULL)
#define assert_ptr_equal(a, b)     CHECK_THAT((a) == (b))
#define assert_ptr_not_equal(a, b) CHECK_THAT((a) != (b))
#define assert_int_equal(a, b)     CHECK_THAT((uint64_t)(a) == (uint64_t)(b))
#define assert_in_range(n, low, high)                                                              \
    CHECK_THAT((uint64_t)(n) >= (uint64_t)(low) && (uint64_t)(n) <= (uint64_t)(high))
#define skip() longjmp(skipped, 1)

#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    run_tests((tests), sizeof(tests) / sizeof(tests)[0])

static inline int run_tests(const struct CMUnitTest *tests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct CMUnitTest *t = &tests[i];
        void *state = NULL;
        printf("%s", t->name);
        fflush(stdout); /* a child would write it once more */
        if (t->setup)
            check(t->setup(&state) == 0, "its beginning", t->name, 0);
        if (setjmp(skipped) == 0) {
            t->test(&state);
            printf("\n");
        } else {
            printf(": skipped\n");
        }
        if (t->teardown)
            check(t->teardown(&state) == 0, "its end", t->name, 0);
    }
    return 0;
}

#endif
