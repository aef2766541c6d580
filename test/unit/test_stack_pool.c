/* Stacks are given back and used again, and very many cost no more than a page each. */
#include "support/stack_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if SANITIZER_ADDRESS
#include <sanitizer/asan_interface.h>
#endif

#define MANY 3000

/* ---- given back ------------------------------------------------------------------------------ */

static void the_last_one_comes_first(void **state)
{
    struct stack_cache cache = {.arena = &arena};
    struct stack *one = stack_cache_take(&cache), *other = stack_cache_take(&cache);

    (void)state;
    assert_ptr_not_equal(one, other);
    stack_cache_give(&cache, one);
    assert_ptr_equal(stack_cache_take(&cache), one);
    stack_cache_give(&cache, other);
    stack_cache_give(&cache, one);
    assert_ptr_equal(stack_cache_take(&cache), one);
    assert_ptr_equal(stack_cache_take(&cache), other);
    stack_cache_give(&cache, one);
    stack_cache_give(&cache, other);
    stack_cache_fini(&cache);
}

/* What its owner writes into a record. */
struct mark {
    struct stack stack;
    size_t owner;
};

static void mark(struct stack *s, size_t owner)
{
    ((struct mark *)(void *)s)->owner = owner;
    *s->low = 1;
}

static size_t marked(const struct stack *s)
{
    return ((const struct mark *)(const void *)s)->owner;
}

/* Nobody has the stack of somebody else, whichever way they have come. */
static void each_is_had_once(void **state)
{
    static struct stack *held[MANY];
    struct stack_cache caches[] = {{.arena = &arena}, {.arena = &arena}};
    uint32_t random = 1;

    (void)state;
    for (int step = 0; step < 30 * MANY; step++) {
        random = random * 1664525 + 1013904223;
        size_t i = (random >> 8) % MANY;
        struct stack_cache *c = random >> 31 ? &caches[0] : &caches[1];
        bool direct = random >> 28 & 1;
        if (held[i]) {
            assert_int_equal(marked(held[i]), i + 1);
            if (direct)
                stack_give(&arena, held[i]);
            else
                stack_cache_give(c, held[i]);
            held[i] = NULL;
        } else {
            held[i] = direct ? stack_take(&arena) : stack_cache_take(c);
            assert_non_null(held[i]);
            mark(held[i], i + 1);
        }
    }
    assert_true(arena.count <= MANY + 2 * 64);
    for (size_t i = 0; i < MANY; i++)
        if (held[i])
            stack_give(&arena, held[i]);
    memset(held, 0, sizeof held);
    stack_cache_fini(&caches[0]);
    stack_cache_fini(&caches[1]);
}

/* Those that nobody needs soon cost no memory; they have their guards all the same. */
static void many_idle_stacks_lose_their_memory(void **state)
{
    static struct stack *all[MANY];
    struct stack_cache cache = {.arena = &arena};
    struct stack *cold = NULL;
    size_t kept = 0;

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        all[i] = stack_cache_take(&cache);
        assert_non_null(all[i]);
        mark(all[i], i + 1);
    }
    for (size_t i = 0; i < MANY; i++)
        stack_cache_give(&cache, all[i]);
    for (size_t i = 0; i < MANY; i++) {
        all[i] = stack_cache_take(&cache);
        assert_non_null(all[i]);
        stack_look_into(all[i]);
        kept += marked(all[i]) != 0;
        if (!marked(all[i])) {
            assert_int_equal(*all[i]->low, 0);
            cold = all[i];
        }
    }
    assert_in_range(kept, 1, 2 * STACK_POOL);
    assert_non_null(cold);
    stack_check_guard(cold);
    for (size_t i = 0; i < MANY; i++)
        stack_cache_give(&cache, all[i]);
    stack_cache_fini(&cache);
}

static int no_advice(enum sys_call call)
{
    return call == SYS_MADVISE ? -EINVAL : 0;
}

/* A kernel that takes no advice gets no memory back, and that is all. */
static void advice_may_be_refused(void **state)
{
    stack_faults(no_advice);
    each_is_had_once(state);
}

#if SANITIZER_ADDRESS
/* The next owner of a stack knows nothing of the frames that were left on it. */
static void old_frames_are_forgotten(void **state)
{
    struct stack *s = stack_take(&arena);

    (void)state;
    ASAN_POISON_MEMORY_REGION(s->low, (size_t)((char *)s - s->low));
    stack_give(&arena, s);
    s = stack_take(&arena);
    assert_null(__asan_region_is_poisoned(s->low, (size_t)((char *)s - s->low)));
    stack_give(&arena, s);
}
#endif

struct lane {
    int from, to; /* pipes for stacks */
};

/* Takes stacks and hands them on, gives back those of the other. */
static void *swap_stacks(void *arg)
{
    struct lane *lane = arg;
    struct stack_cache cache = {.arena = &arena};
    struct stack *s;

    for (size_t i = 0; i < 5000; i++) {
        s = stack_cache_take(&cache);
        mark(s, i + 1);
        if (write(lane->to, &s, sizeof(struct stack *)) < 0 ||
            read(lane->from, &s, sizeof(struct stack *)) < 0 || marked(s) != i + 1)
            return lane;
        stack_cache_give(&cache, s);
    }
    stack_cache_fini(&cache);
    return NULL;
}

static void stacks_go_between_threads(void **state)
{
    int there[2], back[2];
    pthread_t thread;
    void *failed;

    (void)state;
    assert_int_equal(pipe(there), 0);
    assert_int_equal(pipe(back), 0);
    struct lane one = {back[0], there[1]}, other = {there[0], back[1]};
    assert_int_equal(pthread_create(&thread, NULL, swap_stacks, &one), 0);
    assert_null(swap_stacks(&other));
    pthread_join(thread, &failed);
    assert_null(failed);
    for (int i = 0; i < 2; i++) {
        close(there[i]);
        close(back[i]);
    }
}

/* ---- very many ------------------------------------------------------------------------------- */

/* A line of /proc/self/status, in KiB. */
static size_t status_kib(const char *name)
{
    char line[128];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");

    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtoul(line + strlen(name) + 1, NULL, 10);
    fclose(file);
    return kib;
}

static size_t mappings(void)
{
    size_t lines = 0;
    int c;
    FILE *file = fopen("/proc/self/maps", "r");

    assert_non_null(file);
    while ((c = fgetc(file)) != EOF)
        lines += c == '\n';
    fclose(file);
    return lines;
}

/* A page each, what the kernel needs to find it, and no mapping of their own. */
static void very_many_stacks_cost_a_page_each(void **state)
{
    size_t wanted = stack_tests_are_slow() ? 2000 : 200000;
    struct stack_cache cache = {.arena = &arena};
    size_t mapped = mappings(), memory = status_kib("VmRSS"), tables = status_kib("VmPTE");

    (void)state;
    for (size_t i = 0; i < wanted; i++) {
        struct stack *s = stack_cache_take(&cache);
        if (!s && arena.no_markers && i > 20000)
            skip();
        assert_non_null(s);
        memset((char *)s - 2400, 1, 2400);
        memset(s + 1, 1, STACK_RECORD - sizeof *s);
    }
    if (arena.no_markers || stack_tests_are_slow())
        skip();
    assert_in_range(mappings(), mapped, mapped + 16);
    memory = status_kib("VmRSS") - memory;
    tables = status_kib("VmPTE") - tables;
    assert_in_range(memory * 1024 / wanted, 4000, 4200);
    assert_in_range((memory + tables) * 1024 / wanted, 4000, 4710);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ARENA(the_last_one_comes_first),
        IN_ARENA(each_is_had_once),
        IN_ARENA(many_idle_stacks_lose_their_memory),
        IN_ARENA(advice_may_be_refused),
#if SANITIZER_ADDRESS
        IN_ARENA(old_frames_are_forgotten),
#endif
        IN_ARENA(stacks_go_between_threads),
        IN_ARENA(very_many_stacks_cost_a_page_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
