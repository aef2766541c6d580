#include "stack.h"

#include "../sys.h"
#include "sanitizer.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#define LINE         ((size_t)64)
#define FIRST_SLOTS  64
#define REGION_BYTES ((size_t)4 << 30)
#define BATCH_MIN    4
#define BATCH_MAX    64

/* What a task that waits needs of its page, below its record. */
#define STACK_IN_PAGE 2432
#define STAGGERS_MAX  16

struct stack_region {
    struct stack_region *next;
    char *base;
    size_t slots, used;
};

/* ---- what the tools see ---------------------------------------------------------------------- */

#if SANITIZER_ADDRESS
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>

/* What only a task that waits points to is no leak. */
static void show_to_asan(void *low, size_t size)
{
    __asan_unpoison_memory_region(low, size);
    __lsan_register_root_region(low, size);
}

/* Nobody has any business on a stack that is in a pool. */
static void hide_from_asan(void *low, size_t size)
{
    __lsan_unregister_root_region(low, size);
    __asan_poison_memory_region(low, size);
}

/* The addresses may be given to anybody now. */
static void forget_by_asan(const void *low, size_t size)
{
    __asan_unpoison_memory_region(low, size);
}
#else
static inline void show_to_asan(void *low, size_t size)
{
    (void)low;
    (void)size;
}

static inline void hide_from_asan(void *low, size_t size)
{
    (void)low;
    (void)size;
}

static inline void forget_by_asan(const void *low, size_t size)
{
    (void)low;
    (void)size;
}
#endif

static size_t usable_size(const struct stack_arena *a)
{
    return a->stack_size - a->page_size;
}

/* Does not look at the stack, which may be in a pool. */
static char *low_of(const struct stack_arena *a, struct stack *s)
{
    char *high = (char *)s + (a->page_size - ((uintptr_t)s & (a->page_size - 1)));

    return high - usable_size(a);
}

static struct stack *prepare(const struct stack_arena *a, struct stack *s)
{
    size_t size = usable_size(a);
    char *low = low_of(a, s);

    show_to_asan(low, size);
    if (a->under_valgrind) {
        VALGRIND_MAKE_MEM_UNDEFINED(low, size);
        s->tool_id = VALGRIND_STACK_REGISTER(low, low + size);
    }
    s->low = low;
    return s;
}

static void retire(const struct stack_arena *a, struct stack *s)
{
    if (a->under_valgrind) {
        VALGRIND_STACK_DEREGISTER(s->tool_id);
        VALGRIND_MAKE_MEM_NOACCESS(low_of(a, s), usable_size(a));
    }
    hide_from_asan(low_of(a, s), usable_size(a));
}

/* ---- the arena ------------------------------------------------------------------------------- */

void stack_arena_init(struct stack_arena *a, size_t stack_size, size_t record_size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    assert(stack_size >= STACK_MIN && record_size >= sizeof(struct stack));
    if (stack_size > SIZE_MAX / 4)
        stack_size = SIZE_MAX / 4; /* of which there is none either */
    *a = (struct stack_arena){
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .page_size = page,
        .stack_size = (stack_size + page - 1) & ~(page - 1),
        .record_size = (record_size + LINE - 1) & ~(LINE - 1),
        .staggers = STAGGERS_MAX,
        .under_valgrind = RUNNING_ON_VALGRIND,
    };
    while (a->staggers > 1 && a->record_size + a->staggers * LINE + STACK_IN_PAGE > page + LINE)
        a->staggers /= 2;
    assert(a->record_size < page);
}

void stack_arena_fini(struct stack_arena *a)
{
    for (struct stack_region *r = a->regions, *next; r; r = next) {
        next = r->next;
        forget_by_asan(r->base, r->slots * a->stack_size);
        sys_munmap(r->base, r->slots * a->stack_size);
        free(r);
    }
    free(a->cold);
    pthread_mutex_destroy(&a->lock);
}

/* ---- making them (lock) ---------------------------------------------------------------------- */

static int map_region(const struct stack_arena *a, struct stack_region *r)
{
    void *base = NULL;
    int rc;

    for (;;) {
        rc = sys_mmap(r->slots * a->stack_size, &base);
        if (rc == 0 || r->slots == 1)
            break;
        r->slots /= 2; /* limits of address space, or memory that is not overcommitted */
    }
    if (rc < 0)
        return rc;
    r->base = base;
    /* A huge page under a stack would be a hundred times what a task needs. Neighbours that have
     * the same advice become one mapping, of which a process may have only so many. */
    (void)sys_madvise(base, r->slots * a->stack_size, MADV_NOHUGEPAGE);
    return 0;
}

/* Everything else is in use by then: nothing of the old list of cold stacks has to be kept. */
static struct stack_region *grow(struct stack_arena *a)
{
    struct stack_region *r = sys_alloc(sizeof *r);
    size_t most = REGION_BYTES / a->stack_size;

    assert(a->cold_count == 0);
    if (!r)
        return NULL;
    r->slots = a->count < FIRST_SLOTS ? FIRST_SLOTS : a->count;
    if (r->slots > most)
        r->slots = most ? most : 1;
    if (map_region(a, r) < 0)
        goto fail;
    struct stack **cold = sys_alloc((a->count + r->slots) * sizeof(struct stack *));
    if (!cold)
        goto fail;
    free(a->cold);
    a->cold = cold;
    r->next = a->regions;
    a->regions = r;
    return r;

fail:
    if (r->base)
        sys_munmap(r->base, r->slots * a->stack_size);
    free(r);
    return NULL;
}

/* Emulators have been seen to welcome any advice and do nothing: the first guard is tried. */
static bool set_guard(struct stack_arena *a, char *slot)
{
    if (!a->no_markers) {
        int rc = sys_guard(slot, a->page_size);
        if (rc == 0 && (a->count || !sys_readable(slot)))
            return true;
        if (rc == -ENOMEM)
            return false;
        a->no_markers = true;
    }
    return sys_mprotect(slot, a->page_size, PROT_NONE) == 0;
}

static struct stack *make(struct stack_arena *a)
{
    struct stack_region *r = a->regions;

    if (!r || r->used == r->slots)
        r = grow(a);
    if (!r)
        return NULL;
    char *slot = r->base + r->used * a->stack_size;
    if (!set_guard(a, slot))
        return NULL;
    size_t stagger = r->used++ % a->staggers * LINE;
    a->count++;
    return (struct stack *)(void *)(slot + a->stack_size - stagger - a->record_size);
}

/* ---- handing them out ------------------------------------------------------------------------ */

static unsigned fetch(struct stack_arena *a, struct stack **stacks, unsigned wanted)
{
    unsigned count = 0;

    pthread_mutex_lock(&a->lock);
    while (count < wanted && a->warm_count)
        stacks[count++] = a->warm[--a->warm_count];
    while (count < wanted && a->cold_count)
        stacks[count++] = a->cold[--a->cold_count];
    while (count < wanted && (stacks[count] = make(a)))
        count++;
    pthread_mutex_unlock(&a->lock);
    return count;
}

static void cool(const struct stack_arena *a, struct stack *s)
{
    (void)sys_madvise(low_of(a, s), usable_size(a), MADV_DONTNEED);
}

static void put_back(struct stack_arena *a, struct stack *const *stacks, unsigned count)
{
    pthread_mutex_lock(&a->lock);
    for (; count && a->warm_count < STACK_POOL; count--)
        a->warm[a->warm_count++] = *stacks++;
    pthread_mutex_unlock(&a->lock);
    if (!count)
        return;
    for (unsigned i = 0; i < count; i++)
        cool(a, stacks[i]);
    pthread_mutex_lock(&a->lock);
    memcpy(&a->cold[a->cold_count], stacks, count * sizeof(struct stack *));
    a->cold_count += count;
    pthread_mutex_unlock(&a->lock);
}

struct stack *stack_take(struct stack_arena *a)
{
    struct stack *s;

    return fetch(a, &s, 1) ? prepare(a, s) : NULL;
}

void stack_give(struct stack_arena *a, struct stack *s)
{
    retire(a, s);
    put_back(a, &s, 1);
}

/* ---- caches ---------------------------------------------------------------------------------- */

/* Few at first: a program with three tasks pays for four. */
static void refill(struct stack_cache *c)
{
    c->batch = c->batch ? c->batch * 2 : BATCH_MIN;
    if (c->batch > BATCH_MAX)
        c->batch = BATCH_MAX;
    c->first = 0;
    c->count = fetch(c->arena, c->ring, c->batch);
}

/* The oldest leave: what was given last is still in the processor's cache. */
static void spill(struct stack_cache *c)
{
    unsigned count = STACK_POOL - c->first;

    if (count > BATCH_MAX)
        count = BATCH_MAX;
    if (count > c->count)
        count = c->count;
    put_back(c->arena, &c->ring[c->first], count);
    c->first = (c->first + count) % STACK_POOL;
    c->count -= count;
}

struct stack *stack_cache_take(struct stack_cache *c)
{
    if (!c->count)
        refill(c);
    if (!c->count)
        return NULL;
    c->count--;
    return prepare(c->arena, c->ring[(c->first + c->count) % STACK_POOL]);
}

void stack_cache_give(struct stack_cache *c, struct stack *s)
{
    retire(c->arena, s);
    if (c->count == STACK_POOL)
        spill(c);
    c->ring[(c->first + c->count) % STACK_POOL] = s;
    c->count++;
}

void stack_cache_fini(struct stack_cache *c)
{
    while (c->count)
        spill(c);
}

bool stack_guards(const struct stack_arena *a, const struct stack *s, const void *address)
{
    const char *at = address;

    return at < s->low && at >= s->low - a->page_size;
}

/* ---- how much is used ------------------------------------------------------------------------ */

#define PAGES_AT_ONCE 1024

/* How much lies above the first page of [low, high) that has memory. Pages that were swapped out
 * are not seen. */
static size_t touched(const struct stack_arena *a, char *low, const char *high)
{
    unsigned char there[PAGES_AT_ONCE];

    while (low < high) {
        size_t pages = (size_t)(high - low) / a->page_size;
        if (pages > PAGES_AT_ONCE)
            pages = PAGES_AT_ONCE;
        if (sys_resident(low, pages * a->page_size, there) < 0)
            return 0;
        for (size_t i = 0; i < pages; i++)
            if (there[i] & 1)
                return (size_t)(high - low) - i * a->page_size;
        low += pages * a->page_size;
    }
    return 0;
}

size_t stack_most(const struct stack_arena *a, const struct stack *s)
{
    return touched(a, s->low, s->low + usable_size(a));
}

size_t stack_arena_count(struct stack_arena *a)
{
    pthread_mutex_lock(&a->lock);
    size_t count = a->count;
    pthread_mutex_unlock(&a->lock);
    return count;
}

/* Those from `from` on that lie one after the other: the oldest are in the last region. */
static size_t in_a_row(struct stack_arena *a, size_t from, char **ret)
{
    size_t before, count = 0;

    pthread_mutex_lock(&a->lock);
    before = a->count;
    for (const struct stack_region *r = a->regions; r && from < before; r = r->next) {
        count = before;
        before -= r->used;
        if (from >= before)
            *ret = r->base + (from - before) * a->stack_size;
    }
    pthread_mutex_unlock(&a->lock);
    return from < count ? count - from : 0;
}

size_t stack_arena_most(struct stack_arena *a, size_t from, size_t count, uint64_t *most)
{
    char *slot = NULL;
    size_t there = in_a_row(a, from, &slot);

    if (there < count)
        count = there;
    for (size_t i = 0; i < count && *most < usable_size(a); i++, slot += a->stack_size)
        *most += touched(a, slot + a->page_size, slot + a->stack_size - *most);
    return count;
}
