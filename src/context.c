#include "context.h"

#include "clock.h"
#include "loop/loop.h"
#include "sys.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <weir/limit.h>

_Thread_local struct context context_of_thread = CONTEXT_INIT;
_Thread_local struct context *context_here;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_end;
static atomic_uint fork_count;
static atomic_bool has_forked;

/* For `inner` of all contexts: whoever cancels follows it to contexts that he has no other lock
 * for. */
static pthread_mutex_t nesting = PTHREAD_MUTEX_INITIALIZER;

void context_release(struct context *c)
{
    sys_close(c->wake_fd);
    c->wake_fd = -1;
    free(c->story);
    c->story = NULL;
    c->kept = false;
}

static void release_at_end(void *arg)
{
    context_release(arg);
}

/* A task that forks goes on in the child as its only thread: the loop stays with the parent. */
static void leave_loop(void)
{
    struct context *c = &context_of_thread, *task = context_here;

    loop_here = NULL;
    if (!task || !task->loop)
        return;
    c->deadline_ns = task->deadline_ns;
    c->depth = task->depth;
    c->shielded = task->shielded;
    context_here = NULL;
}

static void forking(void)
{
    atomic_store_explicit(&has_forked, true, memory_order_relaxed);
}

/* The eventfd is shared with the parent: a wake meant for one could be taken by the other. */
static void forked(void)
{
    atomic_fetch_add_explicit(&fork_count, 1, memory_order_relaxed);
    pthread_mutex_init(&nesting, NULL);
    leave_loop();
    struct context *c = context_current();
    sys_close(c->wake_fd);
    c->wake_fd = -1;
    c->run = NULL;
}

static void first_use(void)
{
    pthread_key_create(&thread_end, release_at_end);
    pthread_atfork(forking, NULL, forked);
}

void context_keep(struct context *c)
{
    if (c->kept || c != &context_of_thread)
        return;
    pthread_once(&once, first_use);
    c->kept = pthread_setspecific(thread_end, c) == 0;
}

int context_wake_fd(struct context *c)
{
    if (c->wake_fd < 0) {
        context_keep(c);
        c->wake_fd = sys_eventfd();
    }
    return c->wake_fd;
}

/* A thread that has no descriptor to be woken by looks now and then. */
void context_wake(struct context *c)
{
    if (c->loop) {
        task_wake(c->task);
        return;
    }
    int fd = atomic_load(&c->wake_fd);
    if (fd >= 0)
        sys_eventfd_raise(fd);
}

static void cancel_one(struct context *c)
{
    if (!atomic_exchange(&c->cancelled, true))
        context_wake(c);
}

/* Here the flag is set before `inner` is looked at, in context_nest it is the other way round: one
 * of the two sees what the other did. */
void context_cancel(struct context *c)
{
    cancel_one(c);
    if (!atomic_load(&c->inner))
        return;
    pthread_mutex_lock(&nesting);
    while ((c = atomic_load(&c->inner)))
        cancel_one(c);
    pthread_mutex_unlock(&nesting);
}

void context_nest(struct context *outer, struct context *inner)
{
    pthread_once(&once, first_use);
    pthread_mutex_lock(&nesting);
    atomic_store(&outer->inner, inner);
    if (atomic_load(&outer->cancelled))
        cancel_one(inner);
    pthread_mutex_unlock(&nesting);
}

void context_unnest(struct context *outer)
{
    pthread_mutex_lock(&nesting);
    atomic_store(&outer->inner, NULL);
    pthread_mutex_unlock(&nesting);
}

unsigned context_fork_count(void)
{
    pthread_once(&once, first_use);
    return atomic_load_explicit(&fork_count, memory_order_relaxed);
}

bool context_has_forked(void)
{
    return atomic_load_explicit(&has_forked, memory_order_relaxed);
}

static weir_scope scope_start(uint64_t deadline_ns, bool shielded)
{
    struct context *c = context_current();
    weir_scope scope = {
        .saved_deadline_ns = c->deadline_ns,
        .depth = c->depth,
        .saved_shielded = c->shielded,
    };

    c->deadline_ns = deadline_ns;
    c->shielded = shielded;
    c->depth++;
    return scope;
}

weir_scope weir_deadline_start(int64_t timeout_ms)
{
    const struct context *c = context_current();

    return scope_start(earlier(c->deadline_ns, clock_deadline(timeout_ms)), c->shielded);
}

weir_scope weir_shield_start(int64_t timeout_ms)
{
    return scope_start(clock_deadline(timeout_ms < 0 ? 0 : timeout_ms), true);
}

void weir_scope_end(weir_scope scope)
{
    struct context *c = context_current();

    if (c->depth <= scope.depth)
        return;
    c->deadline_ns = scope.saved_deadline_ns;
    c->shielded = scope.saved_shielded;
    c->depth = scope.depth;
}

int64_t weir_time_left(void)
{
    uint64_t deadline_ns = context_current()->deadline_ns;

    if (deadline_ns == NEVER)
        return -1;
    uint64_t now_ns = sys_now();
    if (now_ns >= deadline_ns)
        return 0;
    return (int64_t)((deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS);
}
