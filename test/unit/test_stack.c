/* Stacks: always guarded, with bounds that tools know, one page for each that waits. */
#include "support/stack_fixture.h"

#include <stdio.h>
#include <sys/resource.h>

#if SANITIZER_ADDRESS
#include <sanitizer/asan_interface.h>
#endif

/* What is had there is an error to the tool that looks on, if one does. */
static bool out_of_bounds(const void *at)
{
#if SANITIZER_ADDRESS
    return __asan_address_is_poisoned(at);
#else
    char bits;
    return VALGRIND_GET_VBITS(at, &bits, 1) == 3;
#endif
}

/* ---- faults ---------------------------------------------------------------------------------- */

static int no_markers(enum sys_call call)
{
    return call == SYS_GUARD ? -EINVAL : 0;
}

static int no_guards(enum sys_call call)
{
    return call == SYS_GUARD ? -EINVAL : call == SYS_MPROTECT ? -ENOMEM : 0;
}

static int no_page_table(enum sys_call call)
{
    return call == SYS_GUARD ? -ENOMEM : 0;
}

static int no_address_space(enum sys_call call)
{
    return call == SYS_MMAP ? -ENOMEM : 0;
}

static int no_memory(enum sys_call call)
{
    return call == SYS_ALLOC ? -ENOMEM : 0;
}

static int refusals;

static int little_address_space(enum sys_call call)
{
    return call == SYS_MMAP && refusals-- > 0 ? -ENOMEM : 0;
}

/* ---- guards ---------------------------------------------------------------------------------- */

static void what_runs_over_hits_the_guard(void **state)
{
    struct stack *one = stack_take(&arena), *other = stack_take(&arena);

    (void)state;
    assert_non_null(one);
    assert_non_null(other);
    stack_check_guard(one);
    stack_check_guard(other);
    stack_give(&arena, one);
    stack_give(&arena, other);
}

/* Kernels before 6.13, and memory that is locked. */
static void without_markers_pages_are_protected(void **state)
{
    stack_faults(no_markers);
    what_runs_over_hits_the_guard(state);
    assert_true(arena.no_markers);
}

static void what_the_guard_covers(void **state)
{
    struct stack *s = stack_take(&arena);

    (void)state;
    assert_true(stack_guards(&arena, s, s->low - 1));
    assert_true(stack_guards(&arena, s, s->low - arena.page_size));
    assert_false(stack_guards(&arena, s, s->low));
    assert_false(stack_guards(&arena, s, s->low - arena.page_size - 1));
    stack_give(&arena, s);
}

/* Rather no stack than one without a guard; and nothing is spoiled by the attempt. */
static void no_guard_no_stack(void **state)
{
    struct stack_cache cache = {.arena = &arena};
    struct stack *s;

    (void)state;
    stack_faults(no_page_table);
    assert_null(stack_take(&arena));
    assert_false(arena.no_markers);
    stack_faults(no_guards);
    assert_null(stack_take(&arena));
    assert_null(stack_cache_take(&cache));
    assert_int_equal(arena.count, 0);
    stack_faults(no_markers);
    s = stack_take(&arena);
    assert_non_null(s);
    stack_check_guard(s);
    stack_give(&arena, s);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static void check_bounds(const struct stack *s, bool out)
{
    const char *high = (const char *)s + (arena.page_size - (uintptr_t)s % arena.page_size);

    assert_int_equal(out_of_bounds(high - arena.stack_size + arena.page_size), out);
    assert_int_equal(out_of_bounds(s), out);
    assert_int_equal(out_of_bounds(high - 1), out);
}

/* A tool finds who still has a pointer into the stack of a task that has ended. */
static void what_is_in_a_pool_is_out_of_bounds(void **state)
{
    struct stack_cache cache = {.arena = &arena};
    struct stack *s = stack_take(&arena);

    (void)state;
    if (!SANITIZER_ADDRESS && !RUNNING_ON_VALGRIND)
        skip();
    check_bounds(s, false);
    stack_cache_give(&cache, s);
    check_bounds(s, true);
    assert_ptr_equal(stack_cache_take(&cache), s);
    check_bounds(s, false);
    stack_cache_give(&cache, s);
    stack_cache_fini(&cache);
    check_bounds(s, true);
    assert_ptr_equal(stack_take(&arena), s);
    check_bounds(s, false);
    stack_give(&arena, s);
    check_bounds(s, true);
}

#if SANITIZER_ADDRESS
/* Somebody else may be given the addresses of an arena that is gone. */
static void without_their_arena_there_are_no_bounds(void **state)
{
    struct stack_arena a;
    struct stack *s;

    (void)state;
    stack_arena_init(&a, STACK_DEFAULT, STACK_RECORD);
    s = stack_take(&a);
    stack_give(&a, s);
    assert_true(out_of_bounds(s));
    stack_arena_fini(&a);
    assert_false(out_of_bounds(s));
}
#endif

/* ---- where memory ends ----------------------------------------------------------------------- */

static void without_memory_there_is_none(void **state)
{
    struct stack_cache cache = {.arena = &arena};

    (void)state;
    stack_faults(no_address_space);
    assert_null(stack_take(&arena));
    assert_null(stack_cache_take(&cache));
    stack_faults(no_memory);
    assert_null(stack_take(&arena));
    assert_null(stack_cache_take(&cache));
    stack_faults(NULL);
    struct stack *s = stack_cache_take(&cache);
    assert_non_null(s);
    stack_cache_give(&cache, s);
    stack_cache_fini(&cache);
}

static void a_stack_without_measure_is_refused(void **state)
{
    struct stack_arena a;

    (void)state;
    stack_arena_init(&a, SIZE_MAX, STACK_RECORD);
    assert_null(stack_take(&a));
    stack_arena_fini(&a);
}

static void a_little_address_space_is_used(void **state)
{
    struct stack *all[5];

    (void)state;
    refusals = 6; /* of a region for 64, 32, … 2 stacks */
    stack_faults(little_address_space);
    for (int i = 0; i < 5; i++) {
        all[i] = stack_take(&arena);
        assert_non_null(all[i]);
        memset(all[i]->low, 1, (size_t)((char *)all[i] - all[i]->low));
    }
    assert_int_equal(refusals, -2); /* for one; and for 64 more */
    for (int i = 0; i < 5; i++)
        stack_give(&arena, all[i]);
}

static size_t address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return pages * arena.page_size;
}

static void take_all_within_a_limit(void *arg)
{
    struct rlimit limit = {address_space() + ((size_t)100 << 20), RLIM_INFINITY};
    size_t count = 0;
    struct stack *s, *last = NULL;

    (void)arg;
    if (setrlimit(RLIMIT_AS, &limit) < 0)
        _exit(1);
    while ((s = stack_take(&arena))) {
        last = s;
        count++;
    }
    /* 400 would fit; some of the limit may have gone elsewhere. */
    if (count < 300 || sys_readable(last->low - 1) || !sys_readable(last->low))
        _exit(2);
}

static void an_address_space_limit_is_used_up(void **state)
{
    (void)state;
    if (stack_tests_are_slow())
        skip();
    assert_int_equal(stack_in_child(take_all_within_a_limit, NULL), 0);
}

/* ---- layout ---------------------------------------------------------------------------------- */

static void record_and_first_frames_share_a_page(void **state)
{
    static const size_t records[] = {sizeof(struct stack), STACK_RECORD, 512, 576, 900, 1600};

    (void)state;
    for (unsigned i = 0; i < sizeof records / sizeof records[0]; i++) {
        struct stack_arena a;
        struct stack *s, *before = NULL;
        size_t page, places = 0;

        stack_arena_init(&a, STACK_MIN + 1, records[i]);
        page = a.page_size;
        assert_int_equal(a.stack_size, STACK_MIN + page);
        for (int count = 0; count < 32; count++) {
            s = stack_take(&a);
            assert_non_null(s);
            size_t offset = (uintptr_t)s % page;
            assert_int_equal((uintptr_t)s % 64, 0);
            assert_int_equal((uintptr_t)s->low % page, 0);
            assert_int_equal(((char *)s - s->low) / page, (STACK_MIN - page) / page);
            assert_true(offset >= 2432 && offset + records[i] <= page);
            memset(s + 1, 1, records[i] - sizeof *s);
            places += before && (uintptr_t)before % page != offset;
            before = s;
        }
        assert_true(records[i] > 1500 || places == 31);
        stack_arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ARENA(what_runs_over_hits_the_guard),
        IN_ARENA(without_markers_pages_are_protected),
        IN_ARENA(what_the_guard_covers),
        IN_ARENA(no_guard_no_stack),
        IN_ARENA(what_is_in_a_pool_is_out_of_bounds),
#if SANITIZER_ADDRESS
        cmocka_unit_test(without_their_arena_there_are_no_bounds),
#endif
        IN_ARENA(without_memory_there_is_none),
        IN_ARENA(a_stack_without_measure_is_refused),
        IN_ARENA(a_little_address_space_is_used),
        IN_ARENA(an_address_space_limit_is_used_up),
        IN_ARENA(record_and_first_frames_share_a_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
