/* weir_run: sets a run up, runs the main task, and takes everything down. */
#include "../clock.h"
#include "../loop/loop.h"
#include "../story.h"
#include "../sys.h"
#include "../wait.h"
#include "inspect.h"
#include "task.h"

#include <stdio.h>
#include <string.h>
#include <weir/error.h>

/* The order in which `auto` tries, as measured: docs/performance.md. */
static const int preferred[] = {WEIR_LOOP_IO_URING, WEIR_LOOP_EPOLL, WEIR_LOOP_POLL};

/* ---- the end of a run ---------------------------------------------------------------------- */

static void wake_loops(struct run *run)
{
    for (unsigned i = 0; i < run->loop_count; i++)
        run->loops[i]->ops->wake(run->loops[i]);
}

/* Once nothing is left the run may be gone at any moment, but for what its own thread uses. */
void run_task_ended(struct run *run)
{
    if (run->model == WEIR_TASKS) {
        bool last = atomic_fetch_sub(&run->live, 1) == 1;
        if (last && run->loop_count > 1)
            wake_loops(run);
        return;
    }
    pthread_mutex_lock(&run->lock);
    if (atomic_fetch_sub(&run->live, 1) == 1 && run->waiter)
        sleeper_wake(run->waiter);
    pthread_mutex_unlock(&run->lock);
}

static bool is_done(struct loop *l)
{
    struct run *run = l->run;

    if (!atomic_load(&run->ending))
        return false;
    if (!l->cancelled_all) {
        l->cancelled_all = true;
        task_cancel_all(l);
    }
    return atomic_load(&run->live) == 0 && l->tasks == 0;
}

/* ---- the threads model --------------------------------------------------------------------- */

static void wait_for_threads(struct run *run)
{
    weir_scope shield = weir_shield_start(INT64_MAX);
    struct sleeper z;

    pthread_mutex_lock(&run->lock);
    while (atomic_load(&run->live) > 0) {
        sleeper_init(&z);
        run->waiter = &z;
        pthread_mutex_unlock(&run->lock);
        (void)sleeper_sleep(&z, NEVER);
        pthread_mutex_lock(&run->lock);
        run->waiter = NULL;
    }
    pthread_mutex_unlock(&run->lock);
    weir_scope_end(shield);
}

static int run_threads(struct run *run)
{
    struct context *before = context_here;
    struct task *t = thread_task_new(run, run->main, NULL, 0);

    if (!t)
        return -ENOMEM;
    t->arg = run->arg;
    t->shown = (uintptr_t)run->main;
    task_inherit(t);
    context_nest(run->outer, &t->context);
    context_here = &t->context;
    run->first = t;
    inspect_begins(run);
    run->result = group_run_task(t);
    atomic_store(&run->ending, true);
    context_here = before;
    context_unnest(run->outer);
    thread_task_cancel_all(run);
    wait_for_threads(run);
    inspect_ends(run);
    thread_task_free(t);
    return 0;
}

/* ---- the tasks model ----------------------------------------------------------------------- */

static int run_main(void *arg)
{
    struct run *run = arg;

    run->result = run->main(run->arg);
    context_unnest(run->outer);
    atomic_store(&run->ending, true);
    wake_loops(run);
    return run->result;
}

static int open_named(struct run *run, int kind, struct loop **ret)
{
    const struct loop_ops *ops = loop_find(kind);
    const char *step = "this build does not have it";
    int rc = ops ? loop_open(ret, ops, run, &step) : -ENOSYS;

    if (rc < 0)
        return story_tell(rc, "the loop that was asked for does not work: %s: %s", step,
                          weir_strerror(rc));
    (void)snprintf(run->reason, sizeof run->reason, "asked for");
    return 0;
}

/* The first that works; why those before it do not is kept. */
static int open_preferred(struct run *run, struct loop **ret)
{
    int rc = -ENOSYS;

    (void)snprintf(run->reason, sizeof run->reason, "the default");
    for (size_t i = 0; i < sizeof preferred / sizeof *preferred; i++) {
        const struct loop_ops *ops = loop_find(preferred[i]);
        const char *step;
        if (!ops)
            continue;
        rc = loop_open(ret, ops, run, &step);
        if (rc == 0)
            return 0;
        (void)snprintf(run->reason, sizeof run->reason, "%s: %s: %s", ops->name, step,
                       weir_strerror(rc));
    }
    return story_tell(rc, "no loop works: %s", run->reason);
}

static int open_loop(struct run *run, int kind, struct loop **ret)
{
    return kind == WEIR_LOOP_AUTO ? open_preferred(run, ret) : open_named(run, kind, ret);
}

/* All loops of a run are of one kind. */
static int open_another(struct run *run, struct loop **ret)
{
    const struct loop_ops *ops = run->loops[0]->ops;
    const char *step;
    int rc = loop_open(ret, ops, run, &step);

    return rc < 0 ? story_tell(rc, "%s: %s: %s", ops->name, step, weir_strerror(rc)) : 0;
}

static void *loop_thread(void *arg)
{
    loop_run(arg, is_done);
    return NULL;
}

/* A ring belongs to the thread that made it, or that first uses it. */
static int start_loops(struct run *run, const struct settings *settings)
{
    run->loop_threads[0] = pthread_self();
    while (run->loop_count < settings->loops) {
        struct loop *l;
        int rc = run->loop_count == 0 ? open_loop(run, settings->loop, &l) : open_another(run, &l);
        if (rc < 0)
            return rc;
        l->number = run->loop_count;
        run->loops[run->loop_count] = l;
        if (l->number > 0)
            rc = sys_thread_joinable(&run->loop_threads[l->number], 0, loop_thread, l);
        if (rc < 0) {
            loop_close(l);
            return rc;
        }
        run->loop_count++;
    }
    return 0;
}

static void end_loops(struct run *run)
{
    atomic_store(&run->ending, true);
    wake_loops(run);
    for (unsigned i = 1; i < run->loop_count; i++)
        pthread_join(run->loop_threads[i], NULL);
    for (unsigned i = 0; i < run->loop_count; i++)
        loop_close(run->loops[i]);
}

static int run_tasks(struct run *run, const struct settings *settings)
{
    struct context *before = context_here;
    int rc;

    stack_arena_init(&run->stacks, settings->stack_size, sizeof(struct task));
    rc = start_loops(run, settings);
    struct task *t = rc < 0 ? NULL : task_new(run->loops[0], run_main, NULL, 0);
    if (rc == 0 && !t)
        rc = -ENOMEM;
    if (rc == 0) {
        t->arg = run;
        t->shown = (uintptr_t)run->main;
        task_inherit(t);
        context_nest(run->outer, &t->context);
        run_task_starts(run);
        task_start(t);
        inspect_begins(run);
        loop_run(run->loops[0], is_done);
        inspect_ends(run);
    }
    end_loops(run);
    stack_arena_fini(&run->stacks);
    context_here = before;
    return rc;
}

/* ---- the call ------------------------------------------------------------------------------ */

int weir_run(int (*main)(void *), void *arg, const weir_run_options *options, int *result)
{
    struct settings settings;

    if (!main)
        return -EINVAL;
    if (context_current()->loop || loop_here)
        return story_tell(-EBUSY, "weir_run inside a task that shares its thread");
    int rc = settings_read(options, &settings);
    if (rc < 0)
        return rc;
    struct run *run = sys_alloc(sizeof *run);
    if (!run)
        return -ENOMEM;
    run->model = settings.model;
    run->stack_size = settings.stack_size;
    run->outer = context_current();
    run->main = main;
    run->arg = arg;
    pthread_mutex_init(&run->lock, NULL);
    rc = run->model == WEIR_THREADS ? run_threads(run) : run_tasks(run, &settings);
    if (rc == 0 && result)
        *result = run->result;
    pthread_mutex_destroy(&run->lock);
    free(run);
    return rc;
}
