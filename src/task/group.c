/* Groups: tasks that are waited for and cancelled together, whatever they are made of. */
#include "../clock.h"
#include "../loop/loop.h"
#include "../sys.h"
#include "../wait.h"
#include "task.h"

#include <weir/error.h>
#include <weir/socket.h>

#define COPY_MAX ((size_t)16 * 1024)

/* Somebody waits for the end of the tasks. */
struct joiner {
    struct sleeper sleeper;
    struct joiner *next;
};

struct weir_group {
    pthread_mutex_t lock;
    struct run *run;     /* NULL outside weir_run */
    unsigned fork_count; /* of the process that it belongs to */
    struct loop *loop;   /* where it was opened: for tasks that are started from elsewhere. NULL:
                               its tasks are threads */
    bool fail_fast, spread;
    bool cancelled;         /* (lock) */
    struct task *tasks;     /* (lock) */
    int first_failure;      /* (lock) */
    struct joiner *joiners; /* (lock) */
    /* A thread that has left the group, for the next that leaves, or whoever waits, to join: so
     * there is one at most. (lock) */
    pthread_t zombie;
    bool has_zombie;
};

/* In a child after fork: its tasks, and perhaps a lock that one of them held, are the parent's. */
static bool is_inherited(const weir_group *g)
{
    return g->fork_count != context_fork_count();
}

/* ---- the tasks of a group ------------------------------------------------------------------ */

static void link_task(weir_group *g, struct task *t)
{
    t->group = g;
    t->next_in_group = g->tasks;
    t->link_in_group = &g->tasks;
    if (g->tasks)
        g->tasks->link_in_group = &t->next_in_group;
    g->tasks = t;
}

static void unlink_task(struct task *t)
{
    *t->link_in_group = t->next_in_group;
    if (t->next_in_group)
        t->next_in_group->link_in_group = t->link_in_group;
}

/* (lock) */
static void cancel(weir_group *g)
{
    g->cancelled = true;
    for (struct task *t = g->tasks; t; t = t->next_in_group)
        context_cancel(&t->context);
}

/* Returns true and the thread that has to be joined, if there is one. (lock) */
static bool take_zombie(weir_group *g, pthread_t *ret)
{
    bool some = g->has_zombie;

    *ret = g->zombie;
    g->has_zombie = false;
    return some;
}

/* Once the lock is given up the group may be gone. */
static void leave(weir_group *g, struct task *t, int rc)
{
    bool joins = false;
    pthread_t before;

    pthread_mutex_lock(&g->lock);
    unlink_task(t);
    if (rc < 0 && !g->first_failure)
        g->first_failure = rc;
    if (rc < 0 && g->fail_fast && !g->cancelled)
        cancel(g);
    if (!g->loop) {
        joins = take_zombie(g, &before);
        g->zombie = pthread_self();
        g->has_zombie = true;
    }
    for (struct joiner *j = g->tasks ? NULL : g->joiners; j; j = j->next)
        sleeper_wake(&j->sleeper);
    pthread_mutex_unlock(&g->lock);
    if (joins)
        pthread_join(before, NULL);
}

/* In a child after fork all the rest is the parent's, and there is nothing to go back to. */
int group_run_task(struct task *t)
{
    unsigned forks = context_fork_count();
    int rc;

    if (t->handler) {
        rc = t->handler(t->socket, t->arg);
        weir_close(t->socket);
    } else {
        rc = t->fn(t->arg);
    }
    if (context_fork_count() != forks)
        sys_exit_child(rc < 0);
    if (t->group)
        leave(t->group, t, rc);
    return rc;
}

/* ---- starting ------------------------------------------------------------------------------ */

/* What is to be run, in one of its forms. */
struct job {
    int (*fn)(void *arg);
    int (*handler)(weir_socket *s, void *arg);
    weir_socket *socket;
    void *arg;
    const void *copied;
    size_t size;
    struct loop *loop; /* where it runs; NULL: as the group says */
    bool detached;     /* the caller's limit and shield do not hold for it */
    uintptr_t shown;   /* the program's function that `fn` is for; 0: `fn` itself */
};

static struct loop *choose_loop(weir_group *g, const struct job *job)
{
    const struct context *c = context_current();
    bool here = c->loop && c->run == g->run;

    if (job->loop && !atomic_load(&g->run->ending))
        return job->loop;
    if (g->spread && g->run->loop_count > 1 && !atomic_load(&g->run->ending))
        return g->run->loops[atomic_fetch_add(&g->run->next_loop, 1) % g->run->loop_count];
    return here ? c->loop : g->loop;
}

/* (lock) */
static int start(weir_group *g, struct task *t)
{
    bool ending = g->run && atomic_load(&g->run->ending);
    int rc = 0;

    atomic_store(&t->context.cancelled, g->cancelled || ending);
    link_task(g, t);
    if (g->run)
        run_task_starts(g->run);
    if (g->loop)
        task_start(t);
    else
        rc = thread_task_start(t);
    if (rc < 0) {
        unlink_task(t);
        if (g->run)
            atomic_fetch_sub_explicit(&g->run->live, 1, memory_order_relaxed);
    }
    return rc;
}

static uintptr_t function_shown(const struct job *job)
{
    if (job->shown)
        return job->shown;
    return job->handler ? (uintptr_t)job->handler : (uintptr_t)job->fn;
}

static int go(weir_group *g, const struct job *job)
{
    if (is_inherited(g))
        return -EINVAL;
    struct task *t = g->loop ? task_new(choose_loop(g, job), job->fn, job->copied, job->size)
                             : thread_task_new(g->run, job->fn, job->copied, job->size);

    if (!t)
        return -ENOMEM;
    if (!job->size)
        t->arg = job->arg;
    t->handler = job->handler;
    t->socket = job->socket;
    t->shown = function_shown(job);
    if (!job->detached)
        task_inherit(t);
    /* In the lock, so that the task cannot have ended, and its loop with it, before this is done
     * with them. */
    pthread_mutex_lock(&g->lock);
    int rc = start(g, t);
    pthread_mutex_unlock(&g->lock);
    if (rc < 0)
        thread_task_free(t);
    return rc;
}

int weir_go(weir_group *g, int (*fn)(void *), void *arg)
{
    const struct job job = {.fn = fn, .arg = arg};

    return g && fn ? go(g, &job) : -EINVAL;
}

int weir_go_copy(weir_group *g, int (*fn)(void *), const void *arg, size_t size)
{
    const struct job job = {.fn = fn, .copied = arg, .size = size};

    return g && fn && size <= COPY_MAX && (arg || size == 0) ? go(g, &job) : -EINVAL;
}

int group_go_on(weir_group *g, struct loop *loop, int (*fn)(void *), const void *arg, size_t size,
                uintptr_t shown)
{
    const struct job job = {
        .fn = fn, .copied = arg, .size = size, .loop = loop, .detached = true, .shown = shown};

    return go(g, &job);
}

int weir_go_socket(weir_group *g, int (*handler)(weir_socket *, void *), weir_socket *s, void *arg)
{
    const struct job job = {.handler = handler, .socket = s, .arg = arg};
    int rc = g && handler && s ? go(g, &job) : -EINVAL;

    if (rc < 0)
        weir_close(s);
    return rc;
}

/* ---- the group ----------------------------------------------------------------------------- */

int weir_group_open(weir_group **ret, const weir_group_options *options)
{
    const struct context *c = context_current();

    if (!ret || (options && options->size != sizeof *options))
        return -EINVAL;
    weir_group *g = sys_alloc(sizeof *g);
    if (!g)
        return -ENOMEM;
    pthread_mutex_init(&g->lock, NULL);
    g->run = c->run;
    g->fork_count = context_fork_count();
    g->loop = c->loop;
    g->fail_fast = options && options->fail_fast;
    g->spread = options && options->spread;
    *ret = g;
    return 0;
}

static bool is_own(const weir_group *g)
{
    const struct task *t = context_current()->task;

    return t && t->group == g;
}

/* (lock) */
static void unlink_joiner(weir_group *g, const struct joiner *j)
{
    struct joiner **at = &g->joiners;

    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
}

/* One sleep. (lock) */
static int join(weir_group *g, uint64_t deadline_ns)
{
    struct joiner j;

    sleeper_init_for(&j.sleeper, AWAITS_GROUP, g);
    j.next = g->joiners;
    g->joiners = &j;
    pthread_mutex_unlock(&g->lock);
    int rc = sleeper_sleep(&j.sleeper, deadline_ns);
    pthread_mutex_lock(&g->lock);
    unlink_joiner(g, &j);
    if (rc == 0)
        return WEIR_EDEADLINE;
    return rc < 0 ? rc : 0;
}

int weir_group_wait(weir_group *g, int *first_failure)
{
    uint64_t deadline_ns;
    pthread_t thread;

    if (!g || is_inherited(g))
        return -EINVAL;
    if (is_own(g))
        return -EDEADLK;
    int rc = wait_begin(&deadline_ns);
    pthread_mutex_lock(&g->lock);
    while (rc == 0 && g->tasks)
        rc = join(g, deadline_ns);
    if (!g->tasks)
        rc = 0;
    if (first_failure)
        *first_failure = g->first_failure;
    bool joins = !g->tasks && take_zombie(g, &thread);
    pthread_mutex_unlock(&g->lock);
    if (joins)
        pthread_join(thread, NULL);
    return rc;
}

int weir_group_cancel(weir_group *g)
{
    if (!g || is_inherited(g))
        return 0;
    pthread_mutex_lock(&g->lock);
    cancel(g);
    pthread_mutex_unlock(&g->lock);
    return 0;
}

/* In a child: not what a thread of the parent was at work on when the process forked. */
static void free_inherited(weir_group *g)
{
    if (pthread_mutex_trylock(&g->lock) == 0) {
        pthread_mutex_unlock(&g->lock);
        free(g);
    }
}

/* A thread that finds no memory for its waits goes on all the same: its tasks use what is about to
 * be freed. */
int weir_group_close(weir_group *g)
{
    if (!g)
        return 0;
    if (is_inherited(g)) {
        free_inherited(g);
        return 0;
    }
    if (is_own(g))
        return -EDEADLK;
    weir_group_cancel(g);
    weir_scope shield = weir_shield_start(INT64_MAX);
    while (weir_group_wait(g, NULL) < 0)
        wait_moment(NS_PER_MS);
    weir_scope_end(shield);
    pthread_mutex_destroy(&g->lock);
    free(g);
    return 0;
}
