/* The threads model: a thread for each task. */
#include "../loop/loop.h"
#include "../sys.h"
#include "task.h"

#include <string.h>

struct task *thread_task_new(struct run *run, int (*fn)(void *), const void *arg, size_t size)
{
    struct task *t = sys_alloc(sizeof *t + size);

    if (!t)
        return NULL;
    t->context = (struct context)CONTEXT_INIT;
    t->context.task = t;
    t->context.run = run;
    t->fn = fn;
    if (size)
        t->arg = memcpy(t + 1, arg, size);
    return t;
}

void thread_task_free(struct task *t)
{
    context_release(&t->context);
    free(t);
}

static void link_in_run(struct run *run, struct task *t)
{
    pthread_mutex_lock(&run->lock);
    t->next_of_all = run->threads;
    t->link_of_all = &run->threads;
    if (run->threads)
        run->threads->link_of_all = &t->next_of_all;
    run->threads = t;
    run->started++;
    if (atomic_load(&run->ending))
        atomic_store(&t->context.cancelled, true);
    pthread_mutex_unlock(&run->lock);
}

static void unlink_from_run(struct run *run, struct task *t)
{
    pthread_mutex_lock(&run->lock);
    *t->link_of_all = t->next_of_all;
    if (t->next_of_all)
        t->next_of_all->link_of_all = t->link_of_all;
    pthread_mutex_unlock(&run->lock);
}

/* Who looks at them from elsewhere must be able to tell whether the thread has slept all the time:
 * it was the same sleep before and after, and it had not ended. */
void thread_task_notes(struct context *c, enum awaits awaits, uintptr_t object, int fd,
                       uint64_t until_ns)
{
    struct task *t = c->task;

    atomic_store_explicit(&c->awaited, object, memory_order_relaxed);
    atomic_store_explicit(&t->awaited_fd, fd, memory_order_relaxed);
    atomic_store_explicit(&t->until_ns, until_ns, memory_order_relaxed);
    atomic_store_explicit(&t->sleeps, atomic_load_explicit(&t->sleeps, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store(&c->stamp, (sys_now_coarse() & ~STAMP_KIND) | awaits);
}

/* Before it takes the wake: until then that can be seen. */
void thread_task_goes_on(struct context *c)
{
    atomic_store(&c->stamp, AWAITS_NOTHING);
}

static void *thread_main(void *arg)
{
    struct task *t = arg;
    struct run *run = t->context.run;

    context_here = &t->context;
    if (run)
        link_in_run(run, t);
    (void)group_run_task(t);
    if (run) {
        unlink_from_run(run, t);
        run_task_ended(run);
    }
    context_here = NULL;
    thread_task_free(t);
    return NULL;
}

int thread_task_start(struct task *t)
{
    size_t stack_size = t->context.run ? t->context.run->stack_size : 0;

    return sys_thread_joinable(&t->thread, stack_size, thread_main, t);
}

void thread_task_cancel_all(struct run *run)
{
    pthread_mutex_lock(&run->lock);
    for (struct task *t = run->threads; t; t = t->next_of_all)
        context_cancel(&t->context);
    pthread_mutex_unlock(&run->lock);
}
