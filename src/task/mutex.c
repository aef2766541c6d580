/* Mutexes that park. While nobody waits the word is all there is; the queue of those who wait is
 * under a lock from a table, chosen by the mutex's address. It is not in the mutex, since whoever
 * was given that may free its memory while the one who gave it is still on his way out. Nor is it a
 * bit of the word to spin on: a thread of high priority could spin for ever, while it keeps the
 * holder off the processor. */
#include "../clock.h"
#include "../wait.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <weir/error.h>
#include <weir/task.h>

/* A mutex that is handed over stays locked; so there are no others. */
enum { FREE, LOCKED, WAITED_FOR };

/* Waits for a mutex; on the stack of who does. */
struct waiting {
    struct sleeper sleeper;
    struct waiting *next, *previous;
    bool given;
};

#define QUEUES_BITS 5
#define QUEUES      (1 << QUEUES_BITS)

static struct {
    _Alignas(64) pthread_mutex_t lock;
} queues[QUEUES];

/* ---- forks ----------------------------------------------------------------------------------- */

static void before_fork(void)
{
    for (size_t i = 0; i < QUEUES; i++)
        pthread_mutex_lock(&queues[i].lock);
}

static void after_fork(void)
{
    for (size_t i = 0; i < QUEUES; i++)
        pthread_mutex_unlock(&queues[i].lock);
}

/* A thread that is gone in the child must not have left one of the locks behind, locked. */
static void first_use(void)
{
    for (size_t i = 0; i < QUEUES; i++)
        pthread_mutex_init(&queues[i].lock, NULL);
    pthread_atfork(before_fork, after_fork, after_fork);
}

/* ---- the queue ------------------------------------------------------------------------------- */

static inline _Atomic uint32_t *word_of(weir_mutex *m)
{
    return (_Atomic uint32_t *)&m->weir_word;
}

static pthread_mutex_t *lock_queue(const weir_mutex *m)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uint64_t mixed = (uintptr_t)m * UINT64_C(0x9e3779b97f4a7c15);
    pthread_mutex_t *lock = &queues[mixed >> (64 - QUEUES_BITS)].lock;

    pthread_once(&once, first_use);
    pthread_mutex_lock(lock);
    return lock;
}

static void enqueue(weir_mutex *m, struct waiting *w)
{
    w->next = NULL;
    w->previous = m->weir_last;
    if (w->previous)
        w->previous->next = w;
    else
        m->weir_first = w;
    m->weir_last = w;
}

static void dequeue(weir_mutex *m, struct waiting *w)
{
    if (w->next)
        w->next->previous = w->previous;
    else
        m->weir_last = w->previous;
    if (w->previous)
        w->previous->next = w->next;
    else
        m->weir_first = w->next;
    if (!m->weir_first)
        atomic_store_explicit(word_of(m), LOCKED, memory_order_relaxed);
}

/* Locks it if it is free, or else sees to it that unlocking looks at the queue. (queue) */
static bool take_or_mark(weir_mutex *m)
{
    uint32_t word = FREE;

    while (!atomic_compare_exchange_weak_explicit(word_of(m), &word,
                                                  word == FREE ? LOCKED : WAITED_FOR,
                                                  memory_order_acquire, memory_order_relaxed))
        continue;
    return word == FREE;
}

/* Once this has given the mutex, and the queue's lock up, it may be gone. */
static int wait_in_queue(weir_mutex *m, uint64_t deadline_ns)
{
    struct waiting self = {.given = false};
    pthread_mutex_t *lock = lock_queue(m);
    int rc = 1;

    if (take_or_mark(m)) {
        pthread_mutex_unlock(lock);
        return 0;
    }
    enqueue(m, &self);
    while (rc > 0 && !self.given) {
        sleeper_init_for(&self.sleeper, AWAITS_MUTEX, m);
        pthread_mutex_unlock(lock);
        rc = sleeper_sleep(&self.sleeper, deadline_ns);
        pthread_mutex_lock(lock);
    }
    if (!self.given)
        dequeue(m, &self);
    pthread_mutex_unlock(lock);
    if (self.given)
        return 0;
    return rc == 0 ? WEIR_EDEADLINE : rc;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static inline bool change(weir_mutex *m, uint32_t from, uint32_t to, memory_order order)
{
    return atomic_compare_exchange_strong_explicit(word_of(m), &from, to, order,
                                                   memory_order_relaxed);
}

int weir_mutex_lock(weir_mutex *m)
{
    uint64_t deadline_ns;

    if (!m)
        return -EINVAL;
    if (change(m, FREE, LOCKED, memory_order_acquire))
        return 0;
    int rc = wait_begin(&deadline_ns);
    return rc < 0 ? rc : wait_in_queue(m, deadline_ns);
}

int weir_mutex_try_lock(weir_mutex *m)
{
    if (!m)
        return -EINVAL;
    return change(m, FREE, LOCKED, memory_order_acquire) ? 0 : -EAGAIN;
}

int weir_mutex_unlock(weir_mutex *m)
{
    if (!m)
        return -EINVAL;
    if (change(m, LOCKED, FREE, memory_order_release))
        return 0;
    if (atomic_load_explicit(word_of(m), memory_order_relaxed) == FREE)
        return -EPERM;
    pthread_mutex_t *lock = lock_queue(m);
    struct waiting *first = m->weir_first;
    if (first) {
        dequeue(m, first);
        first->given = true;
        sleeper_wake(&first->sleeper);
    } else {
        /* Whoever waited has given up meanwhile. */
        atomic_store_explicit(word_of(m), FREE, memory_order_release);
    }
    pthread_mutex_unlock(lock);
    return 0;
}
