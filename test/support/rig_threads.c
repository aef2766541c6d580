#include "support/rig_private.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>

struct rig_thread {
    struct rig *rig;
    rig_function *fn;
    void *arg;
    pthread_t thread;
    pid_t starter;
    bool when_asleep;
    atomic_int tid;      /* 0 until it runs */
    atomic_bool started; /* the starter is out of pthread_create(3), where it might have slept */
};

static __thread pid_t starter;

static void *thread_main(void *arg)
{
    struct rig_thread *t = arg;
    atomic_store(&t->tid, gettid());
    starter = t->starter;
    if (t->rig->eintr)
        watch_storm_start();
    while (!atomic_load(&t->started))
        sched_yield();
    if (t->when_asleep)
        watch_until_asleep(starter);
    t->fn(t->rig, t->arg);
    watch_storm_stop();
    return NULL;
}

static struct rig_thread *start(struct rig *rig, rig_function *fn, void *arg, bool when_asleep)
{
    struct rig_thread *t = calloc(1, sizeof *t);
    CHECK(t != NULL);
    t->rig = rig;
    t->fn = fn;
    t->arg = arg;
    t->starter = gettid();
    t->when_asleep = when_asleep;
    CHECK(!pthread_create(&t->thread, NULL, thread_main, t));
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
    CHECK(!pthread_join(t->thread, NULL));
    free(t);
}

void rig_until_asleep(struct rig_thread *t)
{
    int tid;
    while (!(tid = atomic_load(&t->tid)))
        sched_yield();
    watch_until_asleep(tid);
}

void rig_until_starter_sleeps(void)
{
    watch_until_asleep(starter);
}

pid_t rig_fork(struct rig *rig, rig_function *fn, void *arg)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0)
        return pid;
    if (rig->eintr)
        watch_storm_start();
    fn(rig, arg);
    /* Ends without anybody looking for leaks: what the child inherited is not its own to free. */
    execl("/bin/true", "true", (char *)NULL);
    _exit(0);
}

void rig_wait_child(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
