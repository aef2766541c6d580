/* Stacks: always guarded, one page for each that waits, given back, used again. */
#include "sys.h"
#include "task/sanitizer.h"
#include "task/stack.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#if SANITIZER_ADDRESS
#include <sanitizer/asan_interface.h>
#endif

#define RECORD 400
#define MANY   3000

static struct stack_arena arena;

static int open_arena(void **state)
{
    (void)state;
    stack_arena_init(&arena, STACK_DEFAULT, RECORD);
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    sys_faults = NULL;
    stack_arena_fini(&arena);
    return 0;
}

static bool slow(void)
{
    return getenv("WEIR_SLOW") || SANITIZER_ADDRESS || SANITIZER_THREAD;
}

/* Calls `fn(arg)` in a child; returns the signal that ends it, 0 if it ends by itself. */
static int in_child(void (*fn)(void *arg), void *arg)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL); /* also where a sanitizer has put its own */
        fn(arg);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        return WTERMSIG(status);
    assert_int_equal(WEXITSTATUS(status), 0);
    return 0;
}

static void write_there(void *at)
{
    *(volatile char *)at = 1;
}

/* Lets a test look at what is in a stack: to Valgrind nothing is. */
static void look_into(const struct stack *s)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(s, RECORD);
    (void)VALGRIND_MAKE_MEM_DEFINED(s->low, 64);
}

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

static void check_guard(const struct stack *s)
{
    look_into(s);
    assert_true(sys_readable(s->low));
    assert_false(sys_readable(s->low - 1));
    assert_false(sys_readable(s->low - arena.page_size));
    if (getenv("WEIR_SLOW")) /* Valgrind has much to say about a child that crashes */
        return;
    assert_int_equal(in_child(write_there, s->low), 0);
    assert_int_equal(in_child(write_there, s->low - 1), SIGSEGV);
    assert_int_equal(in_child(write_there, s->low - arena.page_size), SIGSEGV);
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

static int no_advice(enum sys_call call)
{
    return call == SYS_MADVISE ? -EINVAL : 0;
}

static void bend(int (*error)(enum sys_call call))
{
    static struct sys_faults faults;

    faults.error = error;
    sys_faults = error ? &faults : NULL;
}

/* ---- guards ---------------------------------------------------------------------------------- */

static void what_runs_over_hits_the_guard(void **state)
{
    struct stack *one = stack_take(&arena), *other = stack_take(&arena);

    (void)state;
    assert_non_null(one);
    assert_non_null(other);
    check_guard(one);
    check_guard(other);
    stack_give(&arena, one);
    stack_give(&arena, other);
}

/* Kernels before 6.13, and memory that is locked. */
static void without_markers_pages_are_protected(void **state)
{
    bend(no_markers);
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
    bend(no_page_table);
    assert_null(stack_take(&arena));
    assert_false(arena.no_markers);
    bend(no_guards);
    assert_null(stack_take(&arena));
    assert_null(stack_cache_take(&cache));
    assert_int_equal(arena.count, 0);
    bend(no_markers);
    s = stack_take(&arena);
    assert_non_null(s);
    check_guard(s);
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
    stack_arena_init(&a, STACK_DEFAULT, RECORD);
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
    bend(no_address_space);
    assert_null(stack_take(&arena));
    assert_null(stack_cache_take(&cache));
    bend(no_memory);
    assert_null(stack_take(&arena));
    assert_null(stack_cache_take(&cache));
    bend(NULL);
    struct stack *s = stack_cache_take(&cache);
    assert_non_null(s);
    stack_cache_give(&cache, s);
    stack_cache_fini(&cache);
}

static void a_stack_without_measure_is_refused(void **state)
{
    struct stack_arena a;

    (void)state;
    stack_arena_init(&a, SIZE_MAX, RECORD);
    assert_null(stack_take(&a));
    stack_arena_fini(&a);
}

static void a_little_address_space_is_used(void **state)
{
    struct stack *all[5];

    (void)state;
    refusals = 6; /* of a region for 64, 32, … 2 stacks */
    bend(little_address_space);
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
    if (slow())
        skip();
    assert_int_equal(in_child(take_all_within_a_limit, NULL), 0);
}

/* ---- layout ---------------------------------------------------------------------------------- */

static void record_and_first_frames_share_a_page(void **state)
{
    static const size_t records[] = {sizeof(struct stack), RECORD, 512, 576, 900, 1600};

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

/* ---- pools ----------------------------------------------------------------------------------- */

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
        look_into(all[i]);
        kept += marked(all[i]) != 0;
        if (!marked(all[i])) {
            assert_int_equal(*all[i]->low, 0);
            cold = all[i];
        }
    }
    assert_in_range(kept, 1, 2 * STACK_POOL);
    assert_non_null(cold);
    check_guard(cold);
    for (size_t i = 0; i < MANY; i++)
        stack_cache_give(&cache, all[i]);
    stack_cache_fini(&cache);
}

/* A kernel that takes no advice gets no memory back, and that is all. */
static void advice_may_be_refused(void **state)
{
    bend(no_advice);
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
    size_t wanted = slow() ? 2000 : 200000;
    struct stack_cache cache = {.arena = &arena};
    size_t mapped = mappings(), memory = status_kib("VmRSS"), tables = status_kib("VmPTE");

    (void)state;
    for (size_t i = 0; i < wanted; i++) {
        struct stack *s = stack_cache_take(&cache);
        if (!s && arena.no_markers && i > 20000)
            skip();
        assert_non_null(s);
        memset((char *)s - 2400, 1, 2400);
        memset(s + 1, 1, RECORD - sizeof *s);
    }
    if (arena.no_markers || slow())
        skip();
    assert_in_range(mappings(), mapped, mapped + 16);
    memory = status_kib("VmRSS") - memory;
    tables = status_kib("VmPTE") - tables;
    assert_in_range(memory * 1024 / wanted, 4000, 4200);
    assert_in_range((memory + tables) * 1024 / wanted, 4000, 4710);
}

#define IN_ARENA(test) cmocka_unit_test_setup_teardown(test, open_arena, close_arena)

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
