/* Stacks: address space with a guard below, pooled.
 *
 * An arena belongs to a run and is shared by its loops; a cache belongs to a loop and only its
 * thread touches it. A stack may be taken from one cache and given to another of the same arena.
 * Every stack has its guard: where none can be had, there is no stack.
 *
 * At the top of each stack there is room for a record, in the same page as the first bytes of the
 * stack, so that a task that waits costs one page. The records of different stacks begin at
 * different offsets in their pages, or they would all compete for the same sets of the cache.
 *
 *     guard | low ......... stack grows down ......... | struct stack + record | stagger | high
 *
 * Nothing is kept in a stack that is in a pool: its memory may have gone back to the system. */
#ifndef TASK_STACK_H
#define TASK_STACK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins the record; the stack grows down from here. */
struct stack {
    char *low;        /* the lowest byte that can be used; the guard is below */
    unsigned tool_id; /* by which Valgrind knows it */
};

struct stack_region;

#define STACK_POOL 1024 /* how many keep their memory, in each cache and in the arena */

struct stack_arena {
    pthread_mutex_t lock;
    size_t page_size;
    size_t stack_size;  /* address space of each, its guard included */
    size_t record_size; /* rounded up to whole lines of the cache */
    unsigned staggers;  /* different places of the record */
    bool under_valgrind;
    bool no_markers;              /* guards are made by mprotect(2) (lock) */
    struct stack_region *regions; /* the newest first, others are used up (lock) */
    size_t count;                 /* stacks made so far (lock) */
    unsigned warm_count;          /* (lock) */
    struct stack *warm[STACK_POOL];
    size_t cold_count;   /* (lock) */
    struct stack **cold; /* without memory; room for all that were ever made */
};

struct stack_cache {
    struct stack_arena *arena;
    unsigned first, count; /* a ring, the oldest first */
    unsigned batch;        /* how many were fetched last */
    struct stack *ring[STACK_POOL];
};

/* `stack_size` is rounded up to whole pages. The least that is allowed is STACK_MIN. `record_size`
 * includes `struct stack`. */
#define STACK_MIN     131072 /* 128 KiB */
#define STACK_DEFAULT 262144 /* 256 KiB */
void stack_arena_init(struct stack_arena *a, size_t stack_size, size_t record_size);
/* All stacks are gone from now on, wherever they are. */
void stack_arena_fini(struct stack_arena *a);

/* A stack, or NULL without memory or address space, or where it cannot be guarded. Its record is
 * aligned to 64 and not zeroed, apart from `struct stack`. From any thread. */
struct stack *stack_take(struct stack_arena *a);
void stack_give(struct stack_arena *a, struct stack *s);

/* The same through a cache, which is zeroed but for its arena. The memory of stacks beyond some
 * number goes back to the system; their address space and guards stay. */
struct stack *stack_cache_take(struct stack_cache *c);
void stack_cache_give(struct stack_cache *c, struct stack *s);

/* Gives what is in the cache to its arena. */
void stack_cache_fini(struct stack_cache *c);

/* How many stacks were made. From any thread, as what follows, but not during stack_arena_fini. */
size_t stack_arena_count(struct stack_arena *a);

/* How much was used of the one that was used most, of `count` stacks from the one numbered `from`
 * on: whole pages, as far as their memory has not gone back to the system. Raises `*most`. Returns
 * how many it has looked at, 0 if there are no more. */
size_t stack_arena_most(struct stack_arena *a, size_t from, size_t count, uint64_t *most);

/* How much of the stack was ever used, by this task or those that had it before: whole pages. */
size_t stack_most(const struct stack_arena *a, const struct stack *s);

/* True if `address` is in the guard of `s`: what a fault there means. */
bool stack_guards(const struct stack_arena *a, const struct stack *s, const void *address);

#endif
