/* Work that would block a loop, on a few threads that come when they are needed and go when they
 * are not. */
#include "offload.h"

#include "../clock.h"
#include "../context.h"
#include "../sys.h"
#include "../wait.h"

#include <errno.h>
#include <weir/error.h>
#include <weir/task.h>

/* A call, on the stack of the task that waits for its end. */
struct work {
    struct sleeper sleeper;
    struct work *next, *previous;
    void (*fn)(void *arg);
    void *arg;
    enum { QUEUED, BEGUN, DONE } state;
};

_Atomic uint64_t offload_idle_ns = 10 * NS_PER_S;

static struct {
    pthread_mutex_t lock; /* for all of it */
    pthread_cond_t queued;
    struct work *first, *last;
    unsigned waiting; /* in the queue */
    unsigned threads, idle;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .queued = PTHREAD_COND_INITIALIZER};

/* ---- forks ----------------------------------------------------------------------------------- */

static void before_fork(void)
{
    pthread_mutex_lock(&pool.lock);
}

static void after_fork_here(void)
{
    pthread_mutex_unlock(&pool.lock);
}

/* The threads, and the tasks that wait for them, stay with the parent. */
static void after_fork_in_child(void)
{
    pool.queued = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    pool.first = pool.last = NULL;
    pool.waiting = pool.threads = pool.idle = 0;
    pthread_mutex_unlock(&pool.lock);
}

static void first_use(void)
{
    pthread_atfork(before_fork, after_fork_here, after_fork_in_child);
    sys_thread_prepare();
}

/* ---- the queue ------------------------------------------------------------------------------- */

static void enqueue(struct work *w)
{
    w->previous = pool.last;
    if (pool.last)
        pool.last->next = w;
    else
        pool.first = w;
    pool.last = w;
    pool.waiting++;
}

static void dequeue(struct work *w)
{
    if (w->next)
        w->next->previous = w->previous;
    else
        pool.last = w->previous;
    if (w->previous)
        w->previous->next = w->next;
    else
        pool.first = w->next;
    pool.waiting--;
}

/* ---- the threads ----------------------------------------------------------------------------- */

static struct timespec idle_until(void)
{
    uint64_t at_ns = sys_now() + atomic_load_explicit(&offload_idle_ns, memory_order_relaxed);

    return (struct timespec){.tv_sec = (time_t)(at_ns / NS_PER_S),
                             .tv_nsec = (long)(at_ns % NS_PER_S)};
}

/* Waits for work: NULL if none came for long. (lock) */
static struct work *next_work(void)
{
    struct timespec until = idle_until();
    int rc = 0;

    pool.idle++;
    while (!pool.first && rc == 0)
        rc = pthread_cond_clockwait(&pool.queued, &pool.lock, CLOCK_MONOTONIC, &until);
    pool.idle--;
    return pool.first;
}

/* If `fn` forks and comes back in the child too, there is nobody there to tell. (lock) */
static void perform(struct work *w)
{
    unsigned forks = context_fork_count();

    dequeue(w);
    w->state = BEGUN;
    pthread_mutex_unlock(&pool.lock);
    w->fn(w->arg);
    if (context_fork_count() != forks)
        sys_exit_child(0);
    pthread_mutex_lock(&pool.lock);
    w->state = DONE;
    sleeper_wake(&w->sleeper);
}

static void *thread_main(void *arg)
{
    struct work *w;

    (void)arg;
    pthread_mutex_lock(&pool.lock);
    while ((w = next_work()))
        perform(w);
    pool.threads--;
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* Sees to it that somebody takes what is in the queue. (lock) */
static int call_thread(void)
{
    if (pool.waiting <= pool.idle || pool.threads == OFFLOAD_THREADS) {
        pthread_cond_signal(&pool.queued);
        return 0;
    }
    int rc = sys_thread(thread_main, NULL);
    if (rc == 0)
        pool.threads++;
    return pool.threads > 0 ? 0 : rc;
}

/* ---- the call -------------------------------------------------------------------------------- */

/* Sleeps until the state of `w` has changed from `state`. (lock) */
static int sleep_while(struct work *w, int state, uint64_t deadline_ns)
{
    int rc = 1;

    while (rc > 0 && (int)w->state == state) {
        sleeper_init_for(&w->sleeper, AWAITS_OFFLOAD, (void *)(uintptr_t)w->fn);
        pthread_mutex_unlock(&pool.lock);
        rc = sleeper_sleep(&w->sleeper, deadline_ns);
        pthread_mutex_lock(&pool.lock);
    }
    return rc;
}

/* It uses what belongs to the caller, so nothing ends this wait early. (lock) */
static void wait_for_end(struct work *w)
{
    weir_scope shield = weir_shield_start(INT64_MAX);

    while (w->state != DONE && sleep_while(w, BEGUN, NEVER) < 0) {
        pthread_mutex_unlock(&pool.lock);
        wait_moment(NS_PER_MS);
        pthread_mutex_lock(&pool.lock);
    }
    weir_scope_end(shield);
}

/* Returns 0 if it has been done, or why it has not been begun. */
static int have_done(struct work *w, uint64_t deadline_ns)
{
    pthread_mutex_lock(&pool.lock);
    enqueue(w);
    int rc = call_thread();
    if (rc == 0) {
        rc = sleep_while(w, QUEUED, deadline_ns);
        rc = rc == 0 ? WEIR_EDEADLINE : rc;
    }
    if (w->state == QUEUED) {
        dequeue(w);
    } else {
        wait_for_end(w);
        rc = 0;
    }
    pthread_mutex_unlock(&pool.lock);
    return rc;
}

int weir_offload(void (*fn)(void *), void *arg)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct work w = {.fn = fn, .arg = arg};
    uint64_t deadline_ns;

    if (!fn)
        return -EINVAL;
    int rc = wait_begin(&deadline_ns);
    if (rc < 0)
        return rc;
    if (context_current()->loop) {
        pthread_once(&once, first_use);
        return have_done(&w, deadline_ns);
    }
    fn(arg);
    return 0;
}
