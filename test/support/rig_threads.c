#include "support/asleep.h"
#include "support/rig_private.h"

#include "context.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct rig_thread {
    struct rig_thread *next; /* (estate) */
    struct rig *rig;
    rig_function *fn;
    void *arg;
    const struct context *context; /* by which it finds itself (estate) */
    struct somebody self, starter;
    bool when_asleep;
    atomic_bool started; /* the starter is out of pthread_create(3), where it might have slept */
    pthread_t thread;
    weir_group *group; /* of a task, which has it to itself; NULL for a thread */
};

static void enlist(struct rig_thread *t)
{
    struct estate *e = t->rig->estate;
    pthread_mutex_lock(&e->lock);
    t->context = context_current();
    t->next = e->threads;
    e->threads = t;
    pthread_mutex_unlock(&e->lock);
}

static void delist(struct rig_thread *t)
{
    struct estate *e = t->rig->estate;
    pthread_mutex_lock(&e->lock);
    struct rig_thread **at = &e->threads;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    pthread_mutex_unlock(&e->lock);
}

static const struct rig_thread *calling_thread(struct rig *rig)
{
    pthread_mutex_lock(&rig->estate->lock);
    const struct rig_thread *t = rig->estate->threads;
    while (t && t->context != context_current())
        t = t->next;
    pthread_mutex_unlock(&rig->estate->lock);
    CHECK(t != NULL);
    return t;
}

static void run_thread(struct rig_thread *t)
{
    somebody_is_me(&t->self);
    enlist(t);
    if (t->rig->eintr && !atomic_load(&t->self.task))
        watch_storm_start();
    while (!atomic_load(&t->started))
        give_way();
    if (t->when_asleep)
        somebody_until_asleep(&t->starter);
    t->fn(t->rig, t->arg);
    if (!atomic_load(&t->self.task))
        watch_storm_stop();
    delist(t);
    somebody_ends(&t->self);
}

static void *thread_main(void *arg)
{
    run_thread(arg);
    return NULL;
}

static int task_main(void *arg)
{
    run_thread(arg);
    return 0;
}

static struct rig_thread *start(struct rig *rig, rig_function *fn, void *arg, bool when_asleep)
{
    struct rig_thread *t = calloc(1, sizeof *t);
    CHECK(t != NULL);
    t->rig = rig;
    t->fn = fn;
    t->arg = arg;
    t->when_asleep = when_asleep;
    somebody_is_me(&t->starter);
    if (rig->inside) {
        EXPECT(weir_group_open(&t->group, NULL), 0);
        EXPECT(weir_go(t->group, task_main, t), 0);
    } else {
        CHECK(!pthread_create(&t->thread, NULL, thread_main, t));
    }
    atomic_store(&t->started, true);
    return t;
}

struct rig_thread *rig_go(struct rig *rig, rig_function *fn, void *arg)
{
    return start(rig, fn, arg, false);
}

struct rig_thread *rig_when_asleep(struct rig *rig, rig_function *fn, void *arg)
{
    return start(rig, fn, arg, true);
}

void rig_join(struct rig_thread *t)
{
    if (!t)
        return;
    if (t->group) {
        WEIR_SHIELDED_MS(INT64_MAX);
        EXPECT(weir_group_wait(t->group, NULL), 0);
        EXPECT(weir_group_close(t->group), 0);
    } else {
        CHECK(!pthread_join(t->thread, NULL));
    }
    free(t);
}

static void wait_for_room(struct rig *rig, void *arg)
{
    CHECK(rig_wait(rig, arg, WEIR_WRITABLE) > 0);
}

struct rig_thread *rig_push(struct rig *rig, weir_socket *s)
{
    return rig_go(rig, wait_for_room, s);
}

void rig_until_asleep(struct rig_thread *t)
{
    somebody_until_asleep(&t->self);
}

void rig_until_starter_sleeps(struct rig *rig)
{
    somebody_until_asleep(&calling_thread(rig)->starter);
}

void rig_give_way(void)
{
    give_way();
}

void rig_cancel(struct rig_thread *t)
{
    CHECK(t->rig->scenario->needs & TASKS);
    EXPECT(weir_group_cancel(t->group), 0);
}

/* Whoever forks is alone in the child, a task too. */
pid_t rig_fork(struct rig *rig, rig_function *fn, void *arg)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* of the parent, should it hang */
    rig->inside = false;
    if (rig->eintr)
        watch_storm_restart();
    fn(rig, arg);
    /* Ends without anybody looking for leaks: what the child inherited is not its own to free. */
    execl("/bin/true", "true", (char *)NULL);
    _exit(0);
}

void rig_wait_child(pid_t pid)
{
    /* The child may be served by other tasks of this thread. */
    int status = -1, flags = context_current()->loop ? WNOHANG : 0;
    pid_t ended;
    while ((ended = waitpid(pid, &status, flags)) != pid) {
        CHECK(ended == 0 || errno == EINTR);
        give_way();
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
