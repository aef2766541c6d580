/* Wakes from other threads: none is lost, whenever it comes, and none keeps a loop from sleeping
 * afterwards. */
#include "clock.h"
#include "support/loop_rig.h"
#include "sys.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- the backend alone --------------------------------------------------------------------- */

static void before_the_turn(struct loop_rig *rig)
{
    const struct loop_ops *ops = rig->loop->ops;

    for (int i = 0; i < 3; i++) {
        for (int wakes = 0; wakes <= i; wakes++)
            ops->wake(rig->loop);
        assert_int_equal(ops->turn(rig->loop, NEVER), 0);
    }
    loop_rig_sleep(rig);
    ops->wake(rig->loop);
    assert_int_equal(ops->turn(rig->loop, 0), 0);
    loop_rig_sleep(rig);
}

/* ---- tasks that threads wake --------------------------------------------------------------- */

struct rally {
    struct task *task;
    atomic_uint asked, answered;
    atomic_bool over; /* nobody wakes the task any more: it may end */
    unsigned rounds;
    pthread_t thread;
};

static int answers(void *arg)
{
    struct rally *r = *(struct rally **)arg;
    unsigned answered = 0;

    while (answered < r->rounds) {
        if (atomic_load(&r->asked) == answered)
            (void)task_park(loop_here, NEVER);
        else
            atomic_store(&r->answered, ++answered);
    }
    while (!atomic_load(&r->over))
        sched_yield();
    return 0;
}

static void *asks(void *arg)
{
    struct rally *r = arg;

    for (unsigned i = 1; i <= r->rounds; i++) {
        atomic_store(&r->asked, i);
        task_wake(r->task);
        while (atomic_load(&r->answered) != i)
            sched_yield();
    }
    atomic_store(&r->over, true);
    return NULL;
}

static bool nothing_lives(struct loop *l)
{
    return atomic_load(&l->run->live) == 0;
}

static struct task *start(struct loop *l, int (*fn)(void *), void *arg)
{
    struct task *t = task_new(l, fn, &arg, sizeof arg);

    assert_non_null(t);
    atomic_fetch_add(&l->run->live, 1);
    task_start(t);
    return t;
}

#define RALLIES 4

static void rally(struct loop_rig *rig, int count, unsigned rounds)
{
    struct rally rallies[RALLIES];

    for (int i = 0; i < count; i++) {
        struct rally *r = &rallies[i];
        *r = (struct rally){.rounds = rounds};
        r->task = start(rig->loop, answers, r);
        assert_int_equal(pthread_create(&r->thread, NULL, asks, r), 0);
    }
    loop_run(rig->loop, nothing_lives);
    for (int i = 0; i < count; i++) {
        pthread_join(rallies[i].thread, NULL);
        fprintf(rig->trace, "%u ", atomic_load(&rallies[i].answered));
    }
}

static void one_thread_asks(struct loop_rig *rig)
{
    rally(rig, 1, 1000);
}

static void several_threads_ask(struct loop_rig *rig)
{
    rally(rig, RALLIES, 250);
}

/* ---- a storm of wakes ---------------------------------------------------------------------- */

struct storm {
    struct loop *loop;
    atomic_bool over;
};

static void *storms(void *arg)
{
    struct storm *s = arg;

    while (!atomic_load(&s->over)) {
        s->loop->ops->wake(s->loop);
        sched_yield();
    }
    return NULL;
}

static void events_in_a_storm(struct loop_rig *rig)
{
    struct storm storm = {.loop = rig->loop};
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, storms, &storm), 0);
    for (int i = 0; i < 200; i++) {
        reads(rig, "a");
        put(rig->stage.fds[1]);
        loop_rig_await_quietly(rig, 1);
        stage_take(rig);
    }
    atomic_store(&storm.over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    loop_rig_settle(rig);
    loop_rig_sleep(rig);
}

/* ---- two loops ----------------------------------------------------------------------------- */

/* Goes to and fro between two tasks of two loops. */
struct ball {
    atomic_uint throws;
    unsigned last;
    struct task *tasks[2];
    atomic_bool over[2]; /* he does not throw any more */
};

struct player {
    struct ball *ball;
    unsigned number;
};

static int plays(void *arg)
{
    struct player *p = *(struct player **)arg;
    struct ball *b = p->ball;
    unsigned throws;

    while ((throws = atomic_load(&b->throws)) < b->last) {
        if (throws % 2 != p->number) {
            (void)task_park(loop_here, NEVER);
            continue;
        }
        atomic_store(&b->throws, throws + 1);
        task_wake(b->tasks[1 - p->number]);
    }
    atomic_store(&b->over[p->number], true);
    while (!atomic_load(&b->over[1 - p->number]))
        sched_yield();
    return 0;
}

static void *runs_a_loop(void *arg)
{
    loop_run(arg, nothing_lives);
    return NULL;
}

static void to_and_fro(struct loop_rig *rig)
{
    struct loop_rig second;
    struct ball ball = {.last = 2000};
    struct player players[2] = {{&ball, 0}, {&ball, 1}};
    pthread_t thread;

    assert_true(loop_rig_open(&second, rig->kind));
    ball.tasks[0] = start(rig->loop, plays, &players[0]);
    ball.tasks[1] = start(second.loop, plays, &players[1]);
    assert_int_equal(pthread_create(&thread, NULL, runs_a_loop, second.loop), 0);
    loop_run(rig->loop, nothing_lives);
    pthread_join(thread, NULL);
    loop_rig_close(&second);
    fprintf(rig->trace, "%u ", atomic_load(&ball.throws));
}

static const struct loop_script scripts[] = {
    LOOP_SCRIPT(before_the_turn, "slept slept "),
    LOOP_SCRIPT(one_thread_asks, "1000 "),
    LOOP_SCRIPT(several_threads_ask, "250 250 250 250 "),
    LOOP_SCRIPT(events_in_a_storm, "slept "),
    LOOP_SCRIPT(to_and_fro, "2000 "),
};

int main(void)
{
    return loop_rig_play("loop_wake", scripts, sizeof scripts / sizeof *scripts);
}
